//! A store in memory that does what the contract says and, on demand, what it forbids.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use store::{
    Capabilities, Capability, Completion, Counters, Dataset, Driver, Effect, Error, Fields, LoadPart, LoadState,
    LocalBoxFuture, Namespace, Operation, Outcome, OwnedObject, Record, RecordSource, Request, Result, Rows,
    ServerInfo, Session, SessionSpec, Store, Target, TargetOption, Token, Value,
};
use workload::{Client, Instance, Progress, Turn};

/// A driver for the toy, whose name and abilities are chosen.
pub(crate) struct Toy {
    pub(crate) name: &'static str,
    pub(crate) capabilities: Capabilities,
    pub(crate) operations: &'static [Operation],
}

/// Everything that a workload can ask for.
pub(crate) static TOY: Toy = Toy {
    name: "toy",
    capabilities: Capabilities::of(&[Capability::KeyValue, Capability::OrderedScan]),
    operations: &[
        Operation::new("insert", Effect::Adds, ""),
        Operation::new("select", Effect::Reads, ""),
        Operation::new("update", Effect::Changes, ""),
        Operation::new("delete", Effect::Removes, ""),
    ],
};

impl Driver for Toy {
    fn name(&self) -> &'static str {
        self.name
    }
    fn title(&self) -> &'static str {
        "Toy"
    }
    fn schemes(&self) -> &'static [&'static str] {
        &["toy"]
    }
    fn default_port(&self) -> Option<u16> {
        None
    }
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }
    fn operations(&self) -> &'static [Operation] {
        self.operations
    }
    fn options(&self) -> &'static [TargetOption] {
        &[]
    }
    fn connect<'a>(&'a self, _target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async { Err(Error::unsupported("tests make a toy store themselves")) })
    }
}

/// What a toy store holds.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) records: BTreeMap<String, Vec<Vec<u8>>>,
    pub(crate) rows: BTreeSet<u64>,
    /// Every how many requests one is refused and not done; 0 for none.
    pub(crate) refused_every: u64,
    requests: u64,
}

/// A toy store; clones are the same store.
#[derive(Clone, Default)]
pub(crate) struct ToyStore(Arc<Mutex<Data>>);

impl ToyStore {
    /// With an instance's data in it.
    pub(crate) fn loaded(instance: &dyn Instance) -> Self {
        let store = Self::default();
        let dataset = instance.dataset().expect("both workloads have data");
        match dataset {
            Dataset::Records(table) => {
                let mut record = Record::default();
                for number in 0..table.records {
                    instance.source().fill(number, &mut record);
                    assert!(record.key.len() <= table.key_length_max);
                    let fields: Vec<_> =
                        record.values(table.field_length).iter().map(|(_, value)| value.to_vec()).collect();
                    assert_eq!(fields.len(), usize::from(table.field_count));
                    assert!(store.data().records.insert(record.key.clone(), fields).is_none(), "keys are unique");
                }
            }
            Dataset::Operations(rows) => store.data().rows.extend(0..rows.rows),
            Dataset::Tables(_) => panic!("the toy store has no tables"),
        }
        store
    }

    pub(crate) fn data(&self) -> MutexGuard<'_, Data> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does a request, and shows its rows.
    pub(crate) fn answer(&self, token: Token, request: &Request<'_>, rows: &mut dyn Rows) -> Result<Outcome> {
        let data = &mut *self.data();
        data.requests += 1;
        if data.refused_every > 0 && data.requests.is_multiple_of(data.refused_every) {
            return Err(Error::rejected("refused on demand"));
        }
        rows.begin(token);
        let done = match *request {
            Request::Read { key, fields } => {
                let record = data.records.get(key);
                if let Some(record) = record {
                    show(None, record, fields, rows);
                }
                u64::from(record.is_some())
            }
            Request::Scan { start, limit } => {
                let range = data.records.range(start.to_owned()..).take(limit as usize);
                range.map(|(key, record)| show(Some(key), record, Fields::All, rows)).count() as u64
            }
            Request::Insert { key, values } => {
                let fields = values.iter().map(|(_, value)| value.to_vec()).collect();
                u64::from(data.records.insert(key.to_owned(), fields).is_none())
            }
            Request::Update { key, values } => data.records.get_mut(key).map_or(0, |record| {
                values.iter().for_each(|(field, value)| record[usize::from(field)] = value.to_vec());
                1
            }),
            Request::Operation { operation, row } => u64::from(match TOY.operations[usize::from(operation)].effect {
                Effect::Adds => data.rows.insert(row),
                Effect::Removes => data.rows.remove(&row),
                Effect::Reads | Effect::Changes => data.rows.contains(&row),
            }),
            _ => return Err(Error::unsupported("no workload asks this of the toy")),
        };
        Ok(Outcome { rows: done })
    }
}

fn show(key: Option<&str>, record: &[Vec<u8>], fields: Fields, rows: &mut dyn Rows) {
    rows.row(key);
    for (field, value) in record.iter().enumerate() {
        if fields == Fields::All || fields == Fields::One(field as u16) {
            rows.value(field, Value::Bytes(value));
        }
    }
}

/// Lets a client do its next operation, of the given place where operations are run one after another, and gives
/// its place and its end.
pub(crate) fn step(client: &mut dyn Client, store: &ToyStore, operation: Option<u16>) -> (u16, Result<()>) {
    let mut seen = Seen::default();
    let call = client.next(Turn { token: 0, operation });
    let place = call.operation;
    let mut outcome = store.answer(0, &call.request, &mut seen);
    loop {
        seen.replay(client);
        match client.complete(0, outcome) {
            Ok(Progress::Done) => return (place, Ok(())),
            Err(error) => return (place, Err(error)),
            Ok(Progress::More) => {
                seen = Seen::default();
                outcome = store.answer(0, &client.resume(0), &mut seen);
            }
        }
    }
}

/// Rows kept to be shown again: the request borrows the client that they are to be shown to.
#[derive(Default)]
struct Seen(Vec<Shown>);

enum Shown {
    Begin(Token),
    Row(Option<String>),
    Value(usize, Vec<u8>),
}

impl Rows for Seen {
    fn begin(&mut self, token: Token) {
        self.0.push(Shown::Begin(token));
    }
    fn row(&mut self, key: Option<&str>) {
        self.0.push(Shown::Row(key.map(str::to_owned)));
    }
    fn value(&mut self, column: usize, value: Value<'_>) {
        self.0.push(Shown::Value(column, value.as_bytes().expect("the toy has text only").to_vec()));
    }
}

impl Seen {
    fn replay(&self, rows: &mut (impl Rows + ?Sized)) {
        for shown in &self.0 {
            match shown {
                Shown::Begin(token) => rows.begin(*token),
                Shown::Row(key) => rows.row(key.as_deref()),
                Shown::Value(column, value) => rows.value(*column, Value::Bytes(value)),
            }
        }
    }
}

/// Waits for a future that is always ready: the toy never keeps anybody waiting.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("the toy store never waits"),
    }
}

/// A session keeps the one request in flight as the answer that was computed when it was submitted.
struct ToySession {
    store: ToyStore,
    answer: Option<(Token, Seen, Result<Outcome>)>,
}

impl Session for ToySession {
    fn depth(&self) -> usize {
        1
    }
    fn in_flight(&self) -> usize {
        usize::from(self.answer.is_some())
    }
    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        let mut seen = Seen::default();
        let result = self.store.answer(token, request, &mut seen);
        self.answer = Some((token, seen, result));
        Ok(())
    }
    fn poll_completion(&mut self, _context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion> {
        let (token, seen, result) = self.answer.take().expect("polled with a request in flight");
        seen.replay(rows);
        Poll::Ready(Completion { token, result })
    }
    fn is_broken(&self) -> bool {
        false
    }
}

impl Store for ToyStore {
    fn session<'a>(&'a self, _spec: SessionSpec<'a>) -> LocalBoxFuture<'a, Result<Box<dyn Session>>> {
        Box::pin(async { Ok(Box::new(ToySession { store: self.clone(), answer: None }) as Box<dyn Session>) })
    }
    fn server(&self) -> LocalBoxFuture<'_, Result<ServerInfo>> {
        Box::pin(async { Ok(ServerInfo::default()) })
    }
    fn counters(&self) -> LocalBoxFuture<'_, Result<Counters>> {
        Box::pin(async { Ok(Counters::new()) })
    }
    fn load_state<'a>(&'a self, dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<LoadState>> {
        Box::pin(async { Ok(LoadState::Loaded(dataset.fingerprint())) })
    }
    fn create<'a>(&'a self, _dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn load<'a>(
        &'a self,
        _dataset: &'a Dataset,
        _part: LoadPart,
        _source: &'a dyn RecordSource,
        _progress: &'a AtomicU64,
    ) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn finish_load<'a>(&'a self, _dataset: &'a Dataset) -> LocalBoxFuture<'a, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn owned(&self) -> LocalBoxFuture<'_, Result<Vec<OwnedObject>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn clean<'a>(&'a self, _namespace: Option<&'a Namespace>) -> LocalBoxFuture<'a, Result<Vec<OwnedObject>>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}
