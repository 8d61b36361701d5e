//! A cluster as a whole: what is made, loaded, counted and dropped in it.

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::try_join_all;
use store::{
    Counters, Dataset, Error, ErrorKind, LoadPart, LoadState, LocalBoxFuture, Namespace, OperationRows, Outcome,
    OwnedObject, Record, RecordSource, RecordTable, Request, Result, ServerInfo, Session, SessionSpec, Store, Target,
};
use tokio::runtime;

use super::address::Address;
use super::client::{Client, Purpose};
use super::counters::{self, Nodes};
use super::manifest::{Definition, Manifest};
use super::operations::{Operations, Plan, definitions};
use super::records::{Records, Shared, Verb, definition};
use crate::lane::{LaneClient, LaneSession, serve};
use crate::rows::RowBuffer;

/// Rows of a part that are on their way at the same time: enough to keep a few servers busy with one connection to each,
/// and few enough that a small one is not overrun by several parts.
const LOAD_IN_FLIGHT: usize = 64;

/// A cluster.
pub(crate) struct CassandraStore {
    address: Arc<Address>,
    /// For [`counters`](Store::counters), with the runtime that drives it: on another one it would never wake.
    counting: Mutex<Option<(runtime::Id, Client)>>,
    nodes: Mutex<Nodes>,
    /// What sessions on the same data share.
    records: Mutex<Option<(RecordTable, Arc<Shared<Verb>>)>>,
    plan: Mutex<Option<Arc<Plan>>>,
}

impl CassandraStore {
    /// Reaches the cluster, and checks that it lets us in and has the keyspace.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let address = Arc::new(Address::of(target)?);
        let client = Client::open(&address, Purpose::Administration).await?;
        if !address.is_own_keyspace {
            let keyspace = &address.keyspace;
            let text = format!("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'");
            if client.run(text).await?.is_empty() {
                return Err(Error::rejected(format!("cassandra: there is no keyspace `{keyspace}`")).with_hint(
                    "create it, or leave the keyspace out of the URL, so that Storelab makes one of its own",
                ));
            }
        }
        Ok(Self {
            address,
            counting: Mutex::default(),
            nodes: Mutex::default(),
            records: Mutex::default(),
            plan: Mutex::default(),
        })
    }

    async fn open(&self, purpose: Purpose) -> Result<Client> {
        Client::open(&self.address, purpose).await
    }

    fn records(&self, table: &RecordTable) -> Records {
        let mut kept = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = match kept.as_ref().filter(|(known, _)| known == table) {
            Some((_, shared)) => Arc::clone(shared),
            None => Arc::clone(&kept.insert((table.clone(), Arc::default())).1),
        };
        let name = self.address.table(&table.namespace.object(table.table));
        Records::new(table.clone(), name, self.address.shards, shared)
    }

    fn operations(&self, rows: &OperationRows) -> Operations {
        let mut kept = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = match kept.as_ref().filter(|plan| plan.rows == *rows) {
            Some(plan) => Arc::clone(plan),
            None => Arc::clone(kept.insert(Arc::new(Plan::new(rows)))),
        };
        Operations::new(plan, Arc::clone(&self.address))
    }

    fn worker(&self, client: Client, dataset: Option<&Dataset>) -> Worker {
        let work = match dataset {
            Some(Dataset::Records(table)) => Work::Records(Box::new(self.records(table))),
            Some(Dataset::Operations(rows)) => Work::Operations(Box::new(self.operations(rows))),
            Some(Dataset::Tables(_)) | None => Work::Nothing,
        };
        Worker { client, work }
    }

    async fn load_records(
        &self,
        table: &RecordTable,
        numbers: Range<u64>,
        source: &dyn RecordSource,
        progress: &AtomicU64,
    ) -> Result<()> {
        let client = self.open(Purpose::Work).await?;
        let next = Cell::new(numbers.start);
        let lane = async || {
            let (mut records, mut record, mut rows) = (self.records(table), Record::default(), RowBuffer::default());
            while let Some(number) = take(&next, numbers.end) {
                source.fill(number, &mut record);
                let values = record.values(table.field_length);
                records.run(&client, &Request::Insert { key: &record.key, values }, &mut rows).await?;
                progress.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        try_join_all((0..lanes(&numbers)).map(|_| lane())).await.map(|_: Vec<()>| ())
    }

    async fn load_rows(&self, rows: &OperationRows, numbers: Range<u64>, progress: &AtomicU64) -> Result<()> {
        let client = self.open(Purpose::Work).await?;
        let next = Cell::new(numbers.start);
        let lane = async || {
            let (mut operations, mut answer) = (self.operations(rows), RowBuffer::default());
            while let Some(number) = take(&next, numbers.end) {
                operations.load(&client, number, &mut answer).await?;
                progress.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        try_join_all((0..lanes(&numbers)).map(|_| lane())).await.map(|_: Vec<()>| ())
    }

    async fn read_counters(&self) -> Result<Counters> {
        let runtime = runtime::Handle::current().id();
        let kept = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut client = match kept {
            Some((kept_by, client)) if kept_by == runtime => client,
            _ => self.open(Purpose::Administration).await?,
        };
        let mut nodes = std::mem::take(&mut *self.nodes.lock().unwrap_or_else(PoisonError::into_inner));
        let mut counters = nodes.read(&client).await;
        // The servers may have been started anew since the last look, and their counters with them.
        if counters.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unreachable) {
            client = self.open(Purpose::Administration).await?;
            nodes = Nodes::default();
            counters = nodes.read(&client).await;
        }
        let counters = counters?;
        *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, client));
        Ok(counters)
    }

    /// What the manifest says of a dataset that is complete. Where records lie depends on the shards.
    fn content(&self, dataset: &Dataset) -> String {
        match dataset {
            Dataset::Records(_) => format!("{} shards {}", dataset.fingerprint(), self.address.shards),
            Dataset::Operations(_) | Dataset::Tables(_) => dataset.fingerprint(),
        }
    }
}

/// The next number, where there is one.
fn take(next: &Cell<u64>, end: u64) -> Option<u64> {
    let number = next.get();
    next.set(number + 1);
    (number < end).then_some(number)
}

fn lanes(numbers: &Range<u64>) -> usize {
    LOAD_IN_FLIGHT.min((numbers.end - numbers.start) as usize)
}

fn no_tables() -> Error {
    Error::unsupported("Cassandra has no relational tables")
}

/// What a session's lane runs.
struct Worker {
    client: Client,
    work: Work,
}

enum Work {
    Records(Box<Records>),
    Operations(Box<Operations>),
    Nothing,
}

impl LaneClient for Worker {
    async fn run(&mut self, request: &Request<'_>, rows: &mut RowBuffer) -> Result<Outcome> {
        let rows = match (request, &mut self.work) {
            (Request::Operation { operation, row }, Work::Operations(operations)) => {
                let done = operations.run(&self.client, *operation, *row, rows).await?;
                // What was verified here need not be shown.
                rows.clear();
                done
            }
            (request, Work::Records(records)) => records.run(&self.client, request, rows).await?,
            _ => return Err(Error::bug("the session was opened for other data than the request is about")),
        };
        Ok(Outcome { rows })
    }

    /// A loss is an error of its kind.
    fn is_broken(&self) -> bool {
        false
    }
}

impl Store for CassandraStore {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move {
            let purpose = if spec.dataset.is_some() { Purpose::Work } else { Purpose::Administration };
            let worker = self.worker(self.open(purpose).await?, spec.dataset);
            let session =
                LaneSession::new(super::CAPABILITIES, None, |slot| Box::pin(async move { serve(worker, slot).await }));
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(async {
            let client = self.open(Purpose::Administration).await?;
            let rows = client.run("SELECT release_version FROM system.local").await?;
            let version = format!("Cassandra {}", rows.text(0, 0).unwrap_or("of an unknown version"));
            let mut settings = counters::settings(&client, &self.address.keyspace).await?;
            settings.insert("consistency".to_owned(), self.address.consistency.to_owned());
            settings.insert("serial_consistency".to_owned(), self.address.serial_consistency.to_owned());
            settings.insert("shards".to_owned(), self.address.shards.to_string());
            Ok(ServerInfo { version, settings, ..ServerInfo::default() })
        })
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(self.read_counters())
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async {
            let client = self.open(Purpose::Administration).await?;
            Manifest::new(&client, &self.address).load_state(dataset, &self.content(dataset)).await
        })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let definitions: Vec<Definition> = match dataset {
                Dataset::Records(table) => vec![definition(table)],
                Dataset::Operations(rows) => definitions(&rows.namespace).into(),
                Dataset::Tables(_) => return Err(no_tables()),
            };
            let client = self.open(Purpose::Administration).await?;
            let manifest = Manifest::new(&client, &self.address);
            manifest.create(dataset.namespace(), &self.content(dataset), &definitions).await
        })
    }

    fn load<'a>(
        &'a self,
        dataset: &'a Dataset,
        part: LoadPart,
        source: &'a dyn RecordSource,
        progress: &'a AtomicU64,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let numbers = dataset.part(part.index, part.of);
            match dataset {
                Dataset::Records(table) => self.load_records(table, numbers, source, progress).await,
                Dataset::Operations(rows) => self.load_rows(rows, numbers, progress).await,
                Dataset::Tables(_) => Err(no_tables()),
            }
        })
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            let client = self.open(Purpose::Administration).await?;
            Manifest::new(&client, &self.address).finish(dataset.namespace(), &self.content(dataset)).await
        })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async {
            let client = self.open(Purpose::Administration).await?;
            Manifest::new(&client, &self.address).owned().await
        })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move {
            let client = self.open(Purpose::Administration).await?;
            Manifest::new(&client, &self.address).clean(namespace).await
        })
    }
}
