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
use crate::relational::load::{self, Batch, Batches};
use crate::relational::{Link, Plan, RowBuffer, manifest};

/// How long making and dropping waits for transactions that use a table; the server's own limit is a day or a year.
const METADATA_LOCK_TIMEOUT_SECONDS: u32 = 30;

/// Words of a full-text search that are shorter than this are not found, and the operation's have three letters.
const FULLTEXT_TOKEN_SIZE_MAX: u32 = 3;

/// What a number takes on the wire at most, its type included.
const NUMBER_BYTES: usize = 12;

/// Settings that decide how fast a server is, and how much it promises.
const SETTINGS: [&str; 27] = [
    "binlog_format",
    "innodb_adaptive_hash_index",
    "innodb_buffer_pool_size",
    "innodb_doublewrite",
    "innodb_flush_log_at_trx_commit",
    "innodb_flush_method",
    "innodb_ft_min_token_size",
    "innodb_io_capacity",
    "innodb_lock_wait_timeout",
    "innodb_log_file_size",
    "innodb_page_size",
    "innodb_redo_log_capacity",
    "innodb_thread_concurrency",
    "log_bin",
    "max_allowed_packet",
    "max_connections",
    "max_prepared_stmt_count",
    "performance_schema",
    "query_cache_size",
    "query_cache_type",
    "slow_query_log",
    "sync_binlog",
    "table_open_cache",
    "thread_cache_size",
    "thread_handling",
    "transaction_isolation",
    "tx_isolation",
];

/// A database on a server.
pub(super) struct MySqlStore {
    address: Address,
    product: Product,
    packet_bytes_max: usize,
    /// For [`counters`](Store::counters), with the runtime that drives it: on another one it would never wake.
    counting: Mutex<Option<(runtime::Id, Connection)>>,
}

impl MySqlStore {
    /// Reaches the server, checks that it lets us in and learns what it is.
    pub(super) async fn connect(target: &Target) -> Result<Self> {
        let address = Address::of(target)?;
        let (_, (version, packet_bytes_max)) = Connection::open_with(&address, identify).await?;
        Ok(Self { address, product: Product::of(&version)?, packet_bytes_max, counting: Mutex::new(None) })
    }

    /// A connection for the work around a run.
    async fn link(&self) -> Result<Connection> {
        let mut link = Connection::open(&self.address).await?;
        let text = format!("SET SESSION lock_wait_timeout = {METADATA_LOCK_TIMEOUT_SECONDS}");
        link.run(&text, &[], &mut RowBuffer::default()).await?;
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

    async fn server_info(&self, link: &mut Connection) -> Result<ServerInfo> {
        let names = SETTINGS.map(|name| format!("'{name}'")).join(", ");
        let text = format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})");
        let mut rows = RowBuffer::default();
        link.run(&text, &[], &mut rows).await?;
        let settings: BTreeMap<_, _> = pairs(&rows).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(ServerInfo {
            version: self.product.to_string(),
            operations_missing: operations_missing(&self.product, &settings),
            settings,
            process_id: None,
        })
    }

    async fn read_counters(&self) -> Result<Counters> {
        let runtime = runtime::Handle::current().id();
        let kept = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut link = match kept {
            Some((kept_by, link)) if kept_by == runtime => link,
            _ => self.link().await?,
        };
        let counters = match counters_of(&mut link).await {
            // The server may have been started anew since the last look.
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                link = self.link().await?;
                counters_of(&mut link).await?
            }
            result => result?,
        };
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, link));
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
        Box::pin(self.once(async |link| self.server_info(link).await))
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

/// What the server cannot do, with the reason.
fn operations_missing(product: &Product, settings: &BTreeMap<String, String>) -> BTreeMap<&'static str, String> {
    let mut missing = BTreeMap::new();
    let (since, title) = (product.quirks.window_since, product.quirks.title);
    if product.version < since {
        missing.insert("window", format!("window functions came with {title} {since}; this is {product}"));
    }
    let token_size = settings.get("innodb_ft_min_token_size").and_then(|value| value.parse::<u32>().ok());
    if let Some(size) = token_size.filter(|size| *size > FULLTEXT_TOKEN_SIZE_MAX) {
        let reason =
            format!("innodb_ft_min_token_size is {size}: words of {FULLTEXT_TOKEN_SIZE_MAX} letters are not found");
        missing.insert("fulltext", reason);
    }
    missing
}

async fn counters_of(link: &mut Connection) -> Result<Counters> {
    let mut rows = RowBuffer::default();
    link.run("SHOW GLOBAL STATUS", &[], &mut rows).await?;
    Ok(pairs(&rows).filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
}

/// Rows of a name and a value.
fn pairs(rows: &RowBuffer) -> impl Iterator<Item = (&str, &str)> {
    (0..rows.len()).filter_map(|row| Some((rows.text(row, 0)?, rows.text(row, 1)?)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_lacks_has_a_reason() {
        for (version, token_size, expected) in [
            ("10.11.6-MariaDB", "3", &[][..]),
            ("8.0.33", "2", &[]),
            ("8.0.33", "4", &["fulltext"]),
            ("5.7.44", "3", &["window"]),
        ] {
            let settings = [("innodb_ft_min_token_size".to_owned(), token_size.to_owned())].into();
            let missing = operations_missing(&Product::of(version).expect("valid"), &settings);
            assert_eq!(missing.keys().copied().collect::<Vec<_>>(), expected, "{missing:?}");
        }
    }
}
