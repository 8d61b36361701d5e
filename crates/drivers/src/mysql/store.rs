//! A server as a whole: what is made, loaded, counted and dropped in it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use store::{
    Counters, Dataset, Error, ErrorKind, LoadPart, LoadState, LocalBoxFuture, Namespace, OwnedObject, RecordSource,
    Result, ServerInfo, Session, SessionSpec, Store, Target, Value,
};
use tokio::runtime;

use super::address::Address;
use super::connection::Connection;
use super::dialect::Product;
use super::session::MySqlSession;
use super::statement::Statement;
use super::{Member, observe};
use crate::relational::load::{self, Batch, Batches};
use crate::relational::{Link, Plan, RowBuffer, manifest};

/// How long making and dropping waits for transactions that use a table; the server's own limit is a day or a year.
const METADATA_LOCK_TIMEOUT_SECONDS: u32 = 30;

/// What a number takes on the wire at most, its type included.
const NUMBER_BYTES: usize = 12;

/// A database on a server.
pub(super) struct MySqlStore {
    address: Address,
    product: Product,
    packet_bytes_max: usize,
    counting: Mutex<Option<Counting>>,
}

/// For [`counters`](Store::counters).
struct Counting {
    /// The runtime that drives the connection: on another one it would never wake.
    runtime: runtime::Id,
    link: Connection,
    /// What the server can be asked.
    statements: Vec<&'static str>,
}

impl MySqlStore {
    /// Reaches the server, checks that it lets us in and learns what it is.
    pub(super) async fn connect(member: &Member, target: &Target) -> Result<Self> {
        let address = Address::of(member, target)?;
        let (_, (version, packet_bytes_max)) = Connection::open_with(&address, identify).await?;
        Ok(Self { address, product: member.product(&version)?, packet_bytes_max, counting: Mutex::new(None) })
    }

    /// A connection for the work around a run.
    async fn link(&self) -> Result<Connection> {
        let mut link = Connection::open(&self.address).await?;
        let text = format!("SET SESSION lock_wait_timeout = {METADATA_LOCK_TIMEOUT_SECONDS}");
        for text in [Some(text.as_str()), self.product.quirks.watch.setup].into_iter().flatten() {
            link.run(text, &[], &mut RowBuffer::default()).await?;
        }
        Ok(link)
    }

    /// Does something on a connection of its own.
    async fn once<T>(&self, work: impl AsyncFnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        let mut link = self.link().await?;
        work(&mut link).await
    }

    async fn load_part(
        &self,
        dataset: &Dataset,
        part: LoadPart,
        source: &dyn RecordSource,
        progress: &AtomicU64,
        connection: &mut Connection,
    ) -> Result<()> {
        let mut rows = RowBuffer::default();
        let mut returned = RowBuffer::default();
        let mut inserts = Inserts::default();
        let mut batches = Batches::new(self.product.dialect, dataset, part, source);
        while let Some(batch) = batches.next(&mut rows) {
            let fit = (self.packet_bytes_max / 2 / row_bytes_max(&rows)).max(1);
            // A batch is one statement, and so one transaction, unless the server takes only small packets.
            for first in (0..rows.len()).step_by(fit) {
                let last = (first + fit).min(rows.len());
                let statement = inserts.prepared(connection, &batch, last - first).await?;
                let values: Vec<_> = (first..last).flat_map(|row| rows.row(row)).collect();
                connection.execute(statement, &values, &mut returned).await?;
            }
            progress.fetch_add(batch.completed, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn server_info(&self) -> Result<ServerInfo> {
        // As a session has them, without what the work around a run wants otherwise.
        let mut connection = Connection::open(&self.address).await?;
        let settings = observe::settings(&mut connection, &self.product).await?;
        Ok(ServerInfo {
            version: self.product.to_string(),
            operations_missing: observe::operations_missing(&self.product, &settings),
            settings,
            process_id: None,
        })
    }

    async fn counting(&self) -> Result<Counting> {
        let runtime = runtime::Handle::current().id();
        let kept = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        match kept {
            Some(counting) if counting.runtime == runtime => Ok(counting),
            _ => Ok(Counting {
                runtime,
                link: self.link().await?,
                statements: self.product.quirks.watch.counters.to_vec(),
            }),
        }
    }

    async fn read_counters(&self) -> Result<Counters> {
        let mut counting = self.counting().await?;
        let counters = match observe::counters(&mut counting.link, &mut counting.statements).await {
            // The server may have been started anew since the last look.
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                counting.link = self.link().await?;
                observe::counters(&mut counting.link, &mut counting.statements).await?
            }
            result => result?,
        };
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = Some(counting);
        Ok(counters)
    }
}

impl Store for MySqlStore {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move {
            let plan = Plan::new(self.product.dialect, spec.dataset);
            let session = MySqlSession::new(Connection::open(&self.address).await?.settle()?, plan);
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(self.server_info())
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(self.read_counters())
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(self.once(async |link| load::state(link, self.product.dialect, dataset).await))
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(self.once(async |link| load::create(link, self.product.dialect, dataset).await))
    }

    fn load<'a>(
        &'a self,
        dataset: &'a Dataset,
        part: LoadPart,
        source: &'a dyn RecordSource,
        progress: &'a AtomicU64,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(self.once(async move |link| self.load_part(dataset, part, source, progress, link).await))
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(self.once(async |link| load::finish(link, self.product.dialect, dataset).await))
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(self.once(async |link| manifest::owned(link, self.product.dialect).await))
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(self.once(async move |link| manifest::clean(link, self.product.dialect, namespace).await))
    }
}

/// The version that the server states, and the largest packet that it takes.
async fn identify(connection: &mut Connection) -> Result<(String, usize)> {
    let mut rows = RowBuffer::default();
    connection.run("SELECT VERSION(), @@max_allowed_packet", &[], &mut rows).await?;
    match (rows.text(0, 0), rows.value(0, 1).as_integer()) {
        (Some(version), Some(bytes)) => Ok((version.to_owned(), usize::try_from(bytes).unwrap_or(usize::MAX))),
        _ => Err(Error::rejected("the server does not state its version")),
    }
}

/// What the largest row takes on the wire.
fn row_bytes_max(rows: &RowBuffer) -> usize {
    let bytes_of = |value: Value<'_>| NUMBER_BYTES + value.as_bytes().map_or(0, <[u8]>::len);
    (0..rows.len()).map(|row| rows.row(row).map(bytes_of).sum()).max().unwrap_or(NUMBER_BYTES)
}

/// The statements of one load: most batches of a table have the same number of rows.
#[derive(Default)]
struct Inserts(BTreeMap<(String, usize), Statement>);

impl Inserts {
    async fn prepared(
        &mut self,
        connection: &mut Connection,
        batch: &Batch<'_>,
        rows: usize,
    ) -> Result<&mut Statement> {
        Ok(match self.0.entry((batch.table.clone(), rows)) {
            Entry::Occupied(place) => place.into_mut(),
            Entry::Vacant(place) => place.insert(connection.prepare(&batch.insert(rows)).await?),
        })
    }
}
