//! A database as a whole: what is made, loaded, counted and dropped in it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use store::{
    Counters, Dataset, Error, ErrorKind, LoadPart, LoadState, LocalBoxFuture, Namespace, OwnedObject, Record,
    RecordSource, RecordTable, Result, ServerInfo, Session, SessionSpec, Store, Target,
};
use tokio::runtime;

use super::address::Address;
use super::connection::{Connection, counted};
use super::document::{append, document, document_of};
use super::members::{Members, Memory};
use super::session::{FieldNames, Work, Worker};
use super::{CAPABILITIES, manifest, operations, server};
use crate::contents::{Contents, Table};
use crate::lane::{LaneSession, serve};
use crate::rows::RowBuffer;

/// Bytes of documents in one command: enough to hide the round trip, and far from the 48 MB that the server takes.
const LOAD_BATCH_BYTES: usize = 1 << 20;

/// Documents in one command: between two of them one sees how far the load is.
const LOAD_BATCH_DOCUMENTS: usize = 1000;

/// A database.
pub(crate) struct MongoStore {
    address: Arc<Address>,
    memory: Memory,
    /// For [`counters`](Store::counters), with the runtime that drives it: on another one it would never wake.
    counting: Mutex<Option<(runtime::Id, Members)>>,
}

/// Documents on their way into a collection.
struct Batch {
    collection: String,
    identity: Option<[u8; 16]>,
    documents: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    /// Into a collection, by its identity where the server knows that: what is left of a load that was given up must not
    /// bring back a collection that was dropped since.
    async fn into(members: &mut Members, collection: String) -> Result<Self> {
        let identity = identity(members, &collection).await?;
        Ok(Self { collection, identity, documents: Vec::new(), ends: Vec::new() })
    }

    fn push(&mut self, write: impl FnOnce(&mut super::document::Writer<'_>)) {
        append(&mut self.documents, write);
        self.ends.push(self.documents.len());
    }

    fn is_full(&self) -> bool {
        self.documents.len() >= LOAD_BATCH_BYTES || self.ends.len() >= LOAD_BATCH_DOCUMENTS
    }

    async fn send(&mut self, connection: &mut Connection) -> Result<()> {
        if self.ends.is_empty() {
            return Ok(());
        }
        let command = document_of(self.documents.len() + 16 * self.ends.len() + 256, |command| {
            command.text("insert", &self.collection).boolean("ordered", false);
            if let Some(identity) = self.identity {
                command.uuid("collectionUUID", identity);
            }
            command.array("documents", |documents| documents.written(&self.documents, &self.ends));
            // What the load ends with waits for all of it to be safe.
            command.document("writeConcern", |concern| concern.small("w", 1).end());
        });
        let inserted = counted(&connection.command(command).await?)?;
        if inserted != self.ends.len() as u64 {
            return Err(Error::wrong_result(format!("{inserted} of {} documents were inserted", self.ends.len())));
        }
        self.documents.clear();
        self.ends.clear();
        Ok(())
    }
}

/// The identity of a collection, where the server has commands that can name it.
async fn identity(members: &mut Members, collection: &str) -> Result<Option<[u8; 16]>> {
    if !members.hello.knows_identities() {
        return Ok(None);
    }
    manifest::identity(&mut members.writer, collection).await
}

/// The name of a records' collection.
pub(crate) fn collection_of(table: &RecordTable) -> String {
    table.namespace.object(table.table)
}

/// The collections that a dataset needs.
fn collections(dataset: &Dataset) -> Result<Vec<String>> {
    match dataset {
        Dataset::Records(table) => Ok(vec![collection_of(table)]),
        Dataset::Operations(rows) => Ok(operations::TABLES.map(|table| rows.namespace.object(table.name())).to_vec()),
        Dataset::Tables(_) => Err(Error::unsupported("MongoDB has no relational tables")),
    }
}

impl MongoStore {
    /// Reaches the server and checks that it lets us in.
    pub(crate) async fn connect(target: &Target) -> Result<Self> {
        let address = Arc::new(Address::of(target)?);
        let store = Self { address, memory: Memory::default(), counting: Mutex::new(None) };
        let mut members = store.open().await?;
        // A server that wants a password says who it is without one, and no more.
        let look = document(|command| {
            command.text("find", manifest::COLLECTION).small("limit", 1).boolean("singleBatch", true);
        });
        members.writer.find(look, |_| Ok(())).await?;
        Ok(store)
    }

    async fn open(&self) -> Result<Members> {
        Members::open(&self.address, &self.memory).await
    }

    async fn load_records(
        &self,
        table: &RecordTable,
        numbers: std::ops::Range<u64>,
        source: &dyn RecordSource,
        progress: &AtomicU64,
    ) -> Result<()> {
        let mut members = self.open().await?;
        let mut batch = Batch::into(&mut members, collection_of(table)).await?;
        let (names, mut record) = (FieldNames::of(table), Record::default());
        for number in numbers.clone() {
            source.fill(number, &mut record);
            batch.push(|document| {
                document.text("_id", &record.key);
                for (field, value) in record.values(table.field_length).iter() {
                    document.ascii(names.name(field), value);
                }
            });
            if batch.is_full() || number + 1 == numbers.end {
                let count = batch.ends.len() as u64;
                batch.send(&mut members.writer).await?;
                progress.fetch_add(count, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn load_rows(&self, contents: &Contents, numbers: std::ops::Range<u64>, progress: &AtomicU64) -> Result<()> {
        let mut members = self.open().await?;
        let mut batches = Vec::new();
        for table in operations::TABLES {
            let collection = contents.namespace.object(table.name());
            batches.push((table, Batch::into(&mut members, collection).await?));
        }
        let (mut rows, mut loaded) = (RowBuffer::default(), 0);
        for number in numbers.clone() {
            for (table, batch) in &mut batches {
                rows.clear();
                contents.fill(*table, number, &mut rows);
                push_rows(batch, *table, &rows);
            }
            loaded += 1;
            if number + 1 == numbers.end || batches.iter().any(|(_, batch)| batch.is_full()) {
                for (_, batch) in &mut batches {
                    batch.send(&mut members.writer).await?;
                }
                progress.fetch_add(loaded, Ordering::Relaxed);
                loaded = 0;
            }
        }
        Ok(())
    }

    async fn build_indexes(&self, connection: &mut Connection, namespace: &Namespace) -> Result<()> {
        for (table, index) in operations::INDEXES {
            let command = document(|command| {
                command.text("createIndexes", &namespace.object(table.name())).array("indexes", |indexes| {
                    indexes.document(index);
                });
            });
            connection.command(command).await?;
        }
        Ok(())
    }

    async fn read_counters(&self) -> Result<Counters> {
        let runtime = runtime::Handle::current().id();
        let kept = self.counting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut members = match kept {
            Some((kept_by, members)) if kept_by == runtime => members,
            _ => self.open().await?,
        };
        let counters = match server::counters(&mut members.writer).await {
            // The server may have been started anew since the last look.
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                members = self.open().await?;
                server::counters(&mut members.writer).await?
            }
            result => result?,
        };
        *self.counting.lock().unwrap_or_else(PoisonError::into_inner) = Some((runtime, members));
        Ok(counters)
    }

    async fn open_session(&self, spec: SessionSpec<'_>) -> Result<Box<dyn Session>> {
        let mut members = self.open().await?;
        let work = match spec.dataset {
            None => Work::Nothing,
            Some(Dataset::Records(table)) => Work::records(table, identity(&mut members, &collection_of(table)).await?),
            Some(Dataset::Operations(rows)) => {
                let items = rows.namespace.object(Table::Items.name());
                Work::operations(rows, identity(&mut members, &items).await?)
            }
            Some(Dataset::Tables(_)) => return Err(Error::unsupported("MongoDB has no relational tables")),
        };
        let worker = Worker::new(members, work, Arc::clone(&self.address));
        Ok(Box::new(LaneSession::new(CAPABILITIES, None, |slot| Box::pin(serve(worker, slot)))))
    }
}

/// Adds the rows that a number has in a table.
fn push_rows(batch: &mut Batch, table: Table, rows: &RowBuffer) {
    for row in 0..rows.len() {
        batch.push(|document| {
            for ((name, _), value) in table.columns().iter().zip(rows.row(row)) {
                let name = if *name == "id" { "_id" } else { name };
                match value {
                    store::Value::Integer(number) => document.integer(name, number).end(),
                    store::Value::Text(text) => document.text(name, text).end(),
                    store::Value::Null | store::Value::Real(_) | store::Value::Bytes(_) => {}
                }
            }
        });
    }
}

impl Store for MongoStore {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(self.open_session(spec))
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(async {
            let mut members = self.open().await?;
            server::info(&mut members.writer, &members.hello).await
        })
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(self.read_counters())
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async move {
            let wanted = collections(dataset)?;
            manifest::load_state(&mut self.open().await?.writer, dataset, &wanted).await
        })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let wanted = collections(dataset)?;
            manifest::begin(&mut self.open().await?.writer, dataset, &wanted).await
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
                Dataset::Operations(rows) => self.load_rows(&Contents::new(rows), numbers, progress).await,
                Dataset::Tables(_) => Err(Error::unsupported("MongoDB has no relational tables")),
            }
        })
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let wanted = collections(dataset)?;
            let connection = &mut self.open().await?.writer;
            if let Dataset::Operations(rows) = dataset {
                self.build_indexes(connection, &rows.namespace).await?;
            }
            manifest::finish(connection, dataset, &wanted).await
        })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async { manifest::owned(&mut self.open().await?.writer).await })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move { manifest::clean(&mut self.open().await?.writer, namespace).await })
    }
}
