//! Records in a map of this process: the reference model that other stores are compared with.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use store::{
    Capabilities, Capability, Completion, Counters, Dataset, Driver, Effect, Error, Fields, LoadPart, LoadState,
    LocalBoxFuture, Namespace, Operation, OperationRows, Outcome, OwnedObject, Record, RecordSource, Request, Result,
    Rows, ServerInfo, Session, SessionSpec, Store, Target, TargetOption, Token, Value, Values,
};

/// The driver.
pub(crate) struct Memory;

/// A session answers at once, so more than this in flight only grows its queue.
const DEPTH_MAX: usize = 1024;

static OPERATIONS: [Operation; 4] = [
    Operation::new("insert", Effect::Adds, "adds a row; an existing one is refused"),
    Operation::new("select", Effect::Reads, "reads a row; its contents are compared"),
    Operation::new("update", Effect::Changes, "overwrites a row"),
    Operation::new("delete", Effect::Removes, "removes a row"),
];

impl Driver for Memory {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn title(&self) -> &'static str {
        "Memory"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn default_port(&self) -> Option<u16> {
        None
    }

    fn capabilities(&self) -> Capabilities {
        const CAPABILITIES: Capabilities = Capabilities::of(&[
            Capability::KeyValue,
            Capability::OrderedScan,
            Capability::Pipelining,
            Capability::Embedded,
        ]);
        CAPABILITIES
    }

    fn operations(&self) -> &'static [Operation] {
        &OPERATIONS
    }

    fn options(&self) -> &'static [TargetOption] {
        &[]
    }

    fn connect<'a>(&'a self, _target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async { Ok(Arc::new(MemoryStore::default()) as Arc<dyn Store>) })
    }
}

/// What was made in a store that lives in this process, and how far its load came.
#[derive(Debug, Default)]
pub(crate) struct Manifest(Mutex<BTreeMap<Namespace, LoadState>>);

impl Manifest {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Namespace, LoadState>> {
        lock(&self.0)
    }

    /// What there is of the dataset.
    pub(crate) fn load_state(&self, dataset: &Dataset) -> LoadState {
        self.entries().get(dataset.namespace()).cloned().unwrap_or(LoadState::Absent)
    }

    /// Notes that the dataset is about to be loaded.
    pub(crate) fn begin(&self, dataset: &Dataset) {
        self.entries().insert(dataset.namespace().clone(), LoadState::Partial);
    }

    /// Notes that all of the dataset is there.
    pub(crate) fn finish(&self, dataset: &Dataset) {
        self.entries().insert(dataset.namespace().clone(), LoadState::Loaded(dataset.fingerprint()));
    }

    /// What there is.
    pub(crate) fn owned(&self) -> Vec<OwnedObject> {
        self.entries().keys().map(owned_object).collect()
    }

    /// Forgets one namespace or all, and says which they were.
    pub(crate) fn clean(&self, namespace: Option<&Namespace>) -> Vec<OwnedObject> {
        let mut entries = self.entries();
        let gone = entries.extract_if(.., |name, _| namespace.is_none_or(|wanted| wanted == name));
        gone.map(|(name, _)| owned_object(&name)).collect()
    }
}

fn owned_object(namespace: &Namespace) -> OwnedObject {
    OwnedObject { namespace: namespace.to_string(), kind: "records".to_owned(), name: namespace.to_string() }
}

/// A panic elsewhere cannot leave a map half changed, so its lock is as good as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What lives in one namespace.
#[derive(Debug, Default)]
struct Space {
    /// Fields by number, under the record's key.
    records: BTreeMap<String, Vec<Vec<u8>>>,
    /// Contents by the row's number.
    rows: BTreeMap<u64, Vec<u8>>,
}

#[derive(Default)]
struct MemoryStore {
    manifest: Manifest,
    spaces: Mutex<BTreeMap<Namespace, Arc<Mutex<Space>>>>,
}

impl MemoryStore {
    fn space(&self, namespace: &Namespace) -> Arc<Mutex<Space>> {
        Arc::clone(lock(&self.spaces).entry(namespace.clone()).or_default())
    }

    fn load_part(&self, dataset: &Dataset, part: LoadPart, source: &dyn RecordSource, progress: &AtomicU64) {
        let space = self.space(dataset.namespace());
        let mut record = Record::default();
        for number in dataset.part(part.index, part.of) {
            match dataset {
                Dataset::Records(table) => {
                    source.fill(number, &mut record);
                    let fields = record.values(table.field_length).iter().map(|(_, value)| value.to_vec()).collect();
                    lock(&space).records.insert(record.key.clone(), fields);
                }
                Dataset::Operations(rows) => {
                    lock(&space).rows.insert(number, row_contents(rows, number));
                }
                // It has no SQL, so nothing could ask for them.
                Dataset::Tables(_) => {}
            }
            progress.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Store for MemoryStore {
    fn session<'a>(&'a self, spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async move {
            Ok(Box::new(MemorySession {
                space: spec.dataset.map(|dataset| self.space(dataset.namespace())).unwrap_or_default(),
                rows: match spec.dataset {
                    Some(Dataset::Operations(rows)) => Some(rows.clone()),
                    _ => None,
                },
                depth: spec.depth.clamp(1, DEPTH_MAX),
                queue: VecDeque::new(),
                spare: Vec::new(),
            }) as Box<dyn Session>)
        })
    }

    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(async { Ok(ServerInfo { version: "Memory".to_owned(), ..ServerInfo::default() }) })
    }

    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(async { Ok(Counters::new()) })
    }

    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async { Ok(self.manifest.load_state(dataset)) })
    }

    fn create<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.manifest.begin(dataset);
            *lock(&self.space(dataset.namespace())) = Space::default();
            Ok(())
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
            self.load_part(dataset, part, source, progress);
            Ok(())
        })
    }

    fn finish_load<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async {
            self.manifest.finish(dataset);
            Ok(())
        })
    }

    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async { Ok(self.manifest.owned()) })
    }

    fn clean<'a>(&'a self, namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async move {
            let gone = self.manifest.clean(namespace);
            for (name, space) in lock(&self.spaces).iter() {
                if namespace.is_none_or(|wanted| wanted == name) {
                    *lock(space) = Space::default();
                }
            }
            Ok(gone)
        })
    }
}

/// What a row holds: printable, and different from row to row.
fn row_contents(rows: &OperationRows, row: u64) -> Vec<u8> {
    let mut state = rows.seed ^ row.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..rows.size.payload_bytes())
        .map(|_| {
            // Knuth's constants for a linear congruence modulo 2^64 (MMIX); the upper bits are the good ones.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b'a' + ((state >> 59) % 26) as u8
        })
        .collect()
}

struct MemorySession {
    space: Arc<Mutex<Space>>,
    rows: Option<OperationRows>,
    depth: usize,
    queue: VecDeque<Queued>,
    /// Requests that ended, for their buffers.
    spare: Vec<Queued>,
}

/// A request that waits for its poll, with buffers that are used again.
#[derive(Default)]
struct Queued {
    token: Token,
    verb: Verb,
    key: String,
    values: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
enum Verb {
    Read {
        fields: Fields,
    },
    Scan {
        limit: u32,
    },
    Insert {
        length: usize,
    },
    Update {
        length: usize,
        first: u16,
    },
    #[default]
    Delete,
    Operation {
        operation: u16,
        row: u64,
    },
}

impl Session for MemorySession {
    fn depth(&self) -> usize {
        self.depth
    }

    fn in_flight(&self) -> usize {
        self.queue.len()
    }

    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        let nothing = Values { bytes: b"", length: 1, first: 0 };
        let (verb, key, values) = match *request {
            Request::Read { key, fields } => (Verb::Read { fields }, key, nothing),
            Request::Scan { start, limit } => (Verb::Scan { limit }, start, nothing),
            Request::Insert { key, values } => (Verb::Insert { length: values.length }, key, values),
            Request::Update { key, values } => {
                (Verb::Update { length: values.length, first: values.first }, key, values)
            }
            Request::Delete { key } => (Verb::Delete, key, nothing),
            Request::Operation { operation, row } if self.rows.is_some() => {
                (Verb::Operation { operation, row }, "", nothing)
            }
            Request::Operation { .. } => return Err(Error::bug("the session was opened without rows for operations")),
            Request::Statement { .. }
            | Request::Planned { .. }
            | Request::Begin
            | Request::Commit
            | Request::Rollback => {
                return Err(Error::unsupported("this store has neither SQL nor transactions"));
            }
        };
        let mut queued = self.spare.pop().unwrap_or_default();
        (queued.token, queued.verb) = (token, verb);
        queued.key.clear();
        queued.key.push_str(key);
        queued.values.clear();
        queued.values.extend_from_slice(values.bytes);
        self.queue.push_back(queued);
        Ok(())
    }

    fn poll_completion(&mut self, _context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion> {
        let Some(queued) = self.queue.pop_front() else {
            return Poll::Pending;
        };
        let result = self.run(&queued, rows).map(|rows| Outcome { rows });
        let token = queued.token;
        self.spare.push(queued);
        Poll::Ready(Completion { token, result })
    }

    fn is_broken(&self) -> bool {
        false
    }
}

impl MemorySession {
    fn run(&self, queued: &Queued, visitor: &mut dyn Rows) -> Result<u64> {
        let mut space = lock(&self.space);
        let key = &queued.key;
        match queued.verb {
            Verb::Read { fields } => Ok(space.records.get(key).map_or(0, |record| {
                visitor.begin(queued.token);
                visitor.row(None);
                show(record, fields, visitor);
                1
            })),
            Verb::Scan { limit } => {
                visitor.begin(queued.token);
                let from = (Bound::Included(key.as_str()), Bound::Unbounded);
                let mut count = 0;
                for (key, record) in space.records.range::<str, _>(from).take(limit as usize) {
                    visitor.row(Some(key));
                    show(record, Fields::All, visitor);
                    count += 1;
                }
                Ok(count)
            }
            Verb::Insert { .. } if space.records.contains_key(key) => {
                Err(Error::rejected(format!("the key `{key}` exists")).with_hint("insert keys that are not there yet"))
            }
            Verb::Insert { length } => {
                let fields = queued.values.chunks_exact(length).map(<[u8]>::to_vec).collect();
                space.records.insert(key.clone(), fields);
                Ok(1)
            }
            Verb::Update { length, first } => Ok(space.records.get_mut(key).map_or(0, |record| {
                let fields = record.iter_mut().skip(first.into());
                for (field, value) in fields.zip(queued.values.chunks_exact(length)) {
                    field.clear();
                    field.extend_from_slice(value);
                }
                1
            })),
            Verb::Delete => Ok(u64::from(space.records.remove(key).is_some())),
            Verb::Operation { operation, row } => {
                let rows = self.rows.as_ref().ok_or_else(|| Error::bug("an operation without rows was accepted"))?;
                operate(&mut space, OPERATIONS.get(usize::from(operation)), row, rows)
            }
        }
    }
}

fn show(record: &[Vec<u8>], fields: Fields, visitor: &mut dyn Rows) {
    let (first, count) = match fields {
        Fields::All => (0, record.len()),
        Fields::One(field) => (usize::from(field), 1),
    };
    for (column, value) in record.iter().enumerate().skip(first).take(count) {
        visitor.value(column, Value::Bytes(value));
    }
}

/// One of [`OPERATIONS`] on the row of that number.
fn operate(space: &mut Space, operation: Option<&Operation>, row: u64, rows: &OperationRows) -> Result<u64> {
    let effect = operation.ok_or_else(|| Error::bug("an operation that is not in the list"))?.effect;
    match effect {
        Effect::Adds if space.rows.contains_key(&row) => Err(Error::rejected(format!("row {row} exists"))),
        Effect::Adds => {
            space.rows.insert(row, row_contents(rows, row));
            Ok(1)
        }
        Effect::Reads => match space.rows.get(&row) {
            None => Err(Error::wrong_result(format!("row {row} is missing"))),
            Some(found) if *found == row_contents(rows, row) => Ok(1),
            Some(_) => Err(Error::wrong_result(format!("row {row} holds something else than was written"))),
        },
        Effect::Changes => Ok(space.rows.get_mut(&row).map_or(0, |contents| {
            *contents = row_contents(rows, row);
            1
        })),
        Effect::Removes => Ok(u64::from(space.rows.remove(&row).is_some())),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use store::{DataSize, ErrorKind, NullSource, RecordTable, execute};

    use super::*;

    /// Writes down what it is shown.
    #[derive(Default)]
    struct Seen(String);

    impl Rows for Seen {
        fn row(&mut self, key: Option<&str>) {
            write!(self.0, "[{}]", key.unwrap_or("-")).expect("a string takes everything");
        }

        fn value(&mut self, column: usize, value: Value<'_>) {
            let text = String::from_utf8_lossy(value.as_bytes().unwrap_or(b"?")).into_owned();
            write!(self.0, " {column}={text}").expect("a string takes everything");
        }
    }

    fn records() -> Dataset {
        let namespace = Namespace::new("test").expect("valid");
        Dataset::Records(RecordTable {
            namespace,
            table: "t",
            records: 0,
            field_count: 2,
            field_length: 2,
            key_length_max: 8,
        })
    }

    fn rows() -> Dataset {
        let namespace = Namespace::new("rows").expect("valid");
        Dataset::Operations(OperationRows { namespace, rows: 10, size: DataSize::Small, seed: 7 })
    }

    async fn session(dataset: &Dataset) -> (Arc<dyn Store>, Box<dyn Session>) {
        let store = Memory.connect(&Target::parse("memory:").expect("valid")).await.expect("always there");
        store.create(dataset).await.expect("nothing can be in the way");
        let all = LoadPart { index: 0, of: 1 };
        store.load(dataset, all, &NullSource, &AtomicU64::new(0)).await.expect("nothing can be in the way");
        store.finish_load(dataset).await.expect("nothing can be in the way");
        let session = store.session(SessionSpec { dataset: Some(dataset), depth: 4 }).await.expect("always there");
        (store, session)
    }

    #[tokio::test]
    async fn the_verbs_do_what_their_contract_says() {
        let dataset = records();
        let (_store, mut session) = session(&dataset).await;
        let values = |bytes| Values { bytes, length: 2, first: 0 };
        let script: &[(Request<'_>, Result<u64, ErrorKind>, &str)] = &[
            (Request::Read { key: "b", fields: Fields::All }, Ok(0), ""),
            (Request::Insert { key: "b", values: values(b"aabb") }, Ok(1), ""),
            (Request::Insert { key: "b", values: values(b"xxyy") }, Err(ErrorKind::Rejected), ""),
            (Request::Insert { key: "a", values: values(b"ccdd") }, Ok(1), ""),
            (Request::Read { key: "b", fields: Fields::All }, Ok(1), "[-] 0=aa 1=bb"),
            (Request::Update { key: "b", values: Values { bytes: b"zz", length: 2, first: 1 } }, Ok(1), ""),
            (Request::Read { key: "b", fields: Fields::One(1) }, Ok(1), "[-] 1=zz"),
            (Request::Update { key: "c", values: values(b"zz") }, Ok(0), ""),
            (Request::Scan { start: "", limit: 9 }, Ok(2), "[a] 0=cc 1=dd[b] 0=aa 1=zz"),
            (Request::Scan { start: "aa", limit: 1 }, Ok(1), "[b] 0=aa 1=zz"),
            (Request::Delete { key: "a" }, Ok(1), ""),
            (Request::Delete { key: "a" }, Ok(0), ""),
            (Request::Begin, Err(ErrorKind::Unsupported), ""),
        ];
        for (request, expect, shown) in script {
            let mut seen = Seen::default();
            let result = execute(session.as_mut(), request, &mut seen).await;
            assert_eq!(result.map(|outcome| outcome.rows).map_err(|error| error.kind()), *expect, "{request:?}");
            assert_eq!(seen.0, *shown, "{request:?}");
        }
    }

    #[tokio::test]
    async fn operations_verify_numbered_rows() {
        let dataset = rows();
        let (store, mut session) = session(&dataset).await;
        let script = [
            ("select", 3, Ok(1)),
            ("insert", 3, Err(ErrorKind::Rejected)),
            ("insert", 10, Ok(1)),
            ("select", 10, Ok(1)),
            ("update", 10, Ok(1)),
            ("delete", 10, Ok(1)),
            ("delete", 10, Ok(0)),
            ("update", 10, Ok(0)),
            ("select", 10, Err(ErrorKind::WrongResult)),
        ];
        for (name, row, expect) in script {
            let operation = OPERATIONS.iter().position(|operation| operation.name == name).expect("listed") as u16;
            let result = execute(session.as_mut(), &Request::Operation { operation, row }, &mut ()).await;
            assert_eq!(result.map(|outcome| outcome.rows).map_err(|error| error.kind()), expect, "{name} {row}");
        }
        assert_eq!(store.load_state(&dataset).await.expect("known"), LoadState::Loaded(dataset.fingerprint()));
        assert_eq!(store.clean(None).await.expect("possible").len(), 1);
        assert_eq!(store.load_state(&dataset).await.expect("known"), LoadState::Absent);
        let gone = execute(session.as_mut(), &Request::Operation { operation: 1, row: 3 }, &mut ()).await;
        assert_eq!(gone.expect_err("cleaned").kind(), ErrorKind::WrongResult);
    }
}
