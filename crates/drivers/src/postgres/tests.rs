//! The driver against a real server, which all tests of the process share while they run; each has its own database.

mod hostile;
mod operations;
mod ownership;
mod records;
mod refusals;
mod transport;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ::store::{
    Completion, DataSize, Dataset, Driver, Error, LoadPart, LoadState, Namespace, NullSource, OperationRows, Outcome,
    Record, RecordSource, RecordTable, Request, Result, Rows, Session, SessionSpec, Store, Target, Value, execute,
};
use provision::{Options, Server};

use super::address::Address;
use super::connection::Connection;
use super::{POSTGRES, Postgres};
use crate::relational::{Link, RowBuffer};

/// Starts a server of its own; none where it is not installed.
#[expect(clippy::print_stderr, reason = "a test's report goes to whoever runs it")]
fn start(settings: &[(&str, &str)]) -> Option<Server> {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let options = Options { settings, ..Options::default() };
    match Server::start(provision::engine("postgres").expect("known"), &options) {
        Ok(server) => Some(server),
        Err(error) if error.kind() == provision::ErrorKind::NotInstalled => {
            assert!(std::env::var_os("STORELAB_REQUIRE_ENGINES").is_none(), "{error}");
            eprintln!("skipped: postgres is not installed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A database of a test's own on the server that all share.
struct Database {
    server: Arc<Server>,
    url: String,
}

impl Database {
    async fn new() -> Option<Self> {
        static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let server = {
            let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(server) = shared.upgrade() {
                server
            } else {
                let server = Arc::new(start(&[("fsync", "off")])?);
                *shared = Arc::downgrade(&server);
                server
            }
        };
        let name = format!("test{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        run(server.url(), &format!("CREATE DATABASE {name}")).await;
        let url = with_database(server.url(), &name);
        Some(Self { server, url })
    }

    async fn store(&self) -> Arc<dyn Store> {
        connect(&self.url).await.expect("reached")
    }

    /// The store as a URL parameter has it.
    async fn store_with(&self, option: &str) -> Arc<dyn Store> {
        connect(&format!("{}?{option}", self.url)).await.expect("reached")
    }

    /// Everything that the database holds, by name.
    async fn objects(&self) -> Vec<String> {
        run(&self.url, "SELECT relkind::text || ' ' || relnamespace::text || '.' || relname FROM pg_class ORDER BY 1")
            .await
    }
}

fn with_database(url: &str, name: &str) -> String {
    let (server, _) = url.rsplit_once('/').expect("a URL with a database");
    format!("{server}/{name}")
}

/// The URL with another user and password.
fn as_user(url: &str, user: &str, password: &str) -> String {
    let (_, place) = url.rsplit_once('@').expect("a URL with a user");
    format!("postgres://{user}:{password}@{place}")
}

async fn connect(url: &str) -> Result<Arc<dyn Store>> {
    Postgres(&POSTGRES).connect(&Target::parse(url).expect("a URL")).await
}

async fn refused(url: &str) -> Error {
    connect(url).await.err().unwrap_or_else(|| panic!("{url} lets us in"))
}

/// Runs a statement from outside the store; gives the first column as text.
async fn run(url: &str, text: &str) -> Vec<String> {
    let target = Target::parse(url).expect("a URL");
    let mut connection = Connection::open(&Address::of(&POSTGRES, &target).expect("valid")).await.expect("reached");
    let mut rows = RowBuffer::default();
    connection.run(text, &[], &mut rows).await.unwrap_or_else(|error| panic!("{text}: {error}"));
    let text = |row| match rows.value(row, 0) {
        Value::Text(text) => text.to_owned(),
        other => format!("{other:?}"),
    };
    (0..rows.len()).map(text).collect()
}

fn operations(rows: u64, size: DataSize) -> Dataset {
    let namespace = Namespace::new("ops").expect("valid");
    Dataset::Operations(OperationRows { namespace, rows, size, seed: 11 })
}

const RECORDS: u64 = 20;

fn records() -> Dataset {
    Dataset::Records(RecordTable {
        namespace: Namespace::new("kv").expect("valid"),
        table: "usertable",
        records: RECORDS,
        field_count: 3,
        field_length: 4,
        key_length_max: 8,
    })
}

/// Keys in another order than their numbers.
struct Keyed;

impl RecordSource for Keyed {
    fn fill(&self, number: u64, record: &mut Record) {
        record.key = format!("user{:02}", number * 7 % RECORDS);
        record.fields = format!("{number:04}").repeat(3).into_bytes();
    }
}

async fn loaded(store: &dyn Store, dataset: &Dataset) {
    let source: &dyn RecordSource = if matches!(dataset, Dataset::Records(_)) { &Keyed } else { &NullSource };
    store.create(dataset).await.expect("created");
    assert_eq!(store.load_state(dataset).await.expect("state"), LoadState::Partial);
    let progress = AtomicU64::new(0);
    let part = |index| store.load(dataset, LoadPart { index, of: 3 }, source, &progress);
    let (one, two, three) = tokio::join!(part(0), part(1), part(2));
    one.and(two).and(three).expect("loaded");
    store.finish_load(dataset).await.expect("finished");
    assert_eq!(progress.into_inner(), dataset.rows());
    assert_eq!(store.load_state(dataset).await.expect("state"), LoadState::Loaded(dataset.fingerprint()));
}

async fn session(store: &dyn Store, dataset: Option<&Dataset>, depth: usize) -> Box<dyn Session> {
    store.session(SessionSpec { dataset, depth }).await.expect("session")
}

/// Runs all requests with as many in flight as the session takes; their ends in the order of the requests.
async fn pipelined(session: &mut dyn Session, requests: &[Request<'_>]) -> Vec<Result<Outcome>> {
    let mut results: Vec<Option<Result<Outcome>>> = requests.iter().map(|_| None).collect();
    let mut submitted = 0;
    let mut numbers = BTreeMap::new();
    while submitted < requests.len() || !numbers.is_empty() {
        while submitted < requests.len() && session.in_flight() < session.depth() {
            let token = (0..session.depth() as u32).find(|token| !numbers.contains_key(token)).expect("one is free");
            session.submit(token, &requests[submitted]).expect("taken");
            numbers.insert(token, submitted);
            submitted += 1;
        }
        let Completion { token, result } = poll_fn(|context| session.poll_completion(context, &mut ())).await;
        let number = numbers.remove(&token).expect("in flight");
        results[number] = Some(result);
    }
    assert_eq!(session.in_flight(), 0);
    results.into_iter().map(|result| result.expect("each has ended")).collect()
}

/// Rows with the values as text.
#[derive(Default)]
struct Seen(Vec<(Option<String>, BTreeMap<usize, String>)>);

impl Rows for Seen {
    fn row(&mut self, key: Option<&str>) {
        self.0.push((key.map(str::to_owned), BTreeMap::new()));
    }

    fn value(&mut self, column: usize, value: Value<'_>) {
        let text = match value {
            Value::Text(text) => text.to_owned(),
            other => format!("{other:?}"),
        };
        self.0.last_mut().expect("begun").1.insert(column, text);
    }
}

async fn verb(session: &mut dyn Session, request: Request<'_>) -> (u64, Seen) {
    let mut seen = Seen::default();
    let outcome = execute(session, &request, &mut seen).await.expect("done");
    (outcome.rows, seen)
}
