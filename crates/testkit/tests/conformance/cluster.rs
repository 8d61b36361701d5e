//! A data store of three nodes: only those that are listed are reached, and work goes on while one of them is dead.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};
use provision::{Cluster, Options};
use store::{
    DataSize, Dataset, Driver, ErrorKind, Fields, Namespace, OperationRows, RecordTable, Request, Session, SessionSpec,
    Store, Target, Values, execute,
};

use crate::data::{FIELD_COUNT, KEY_LENGTH_MAX, Seen, fields, key};
use crate::lab::{TABLE, connect, load, rows_of};
use crate::raw::clients_of;
use crate::sentence::runtime;

/// Whoever waits longer than this for servers on a busy machine waits for ever.
const PATIENCE: Duration = Duration::from_mins(3);

/// Sessions that work, each with records of its own, and operations that must succeed before and after a node is killed.
const SESSIONS: u64 = 2;
const RECORDS_EACH: u64 = 20;
const SUCCESSES: u64 = 400;

const LENGTH: usize = 10;

/// For drivers whose engine can have so many nodes and whose nodes' clients can be counted.
pub(crate) fn trials(driver: &'static dyn Driver) -> Vec<Trial> {
    if driver.name() != "cassandra" {
        return Vec::new();
    }
    let name = format!("{}::three_nodes::quorum_goes_on_with_one_of_them_killed", driver.name());
    vec![Trial::ignorable_test(name, move || {
        let targets = testkit::targets(driver);
        match targets.available.iter().find_map(testkit::TestTarget::engine) {
            Some(engine) => {
                let cluster = Cluster::start(engine, 3, &Options::default())?;
                runtime().block_on(show(driver, cluster))?;
                Ok(Completion::Completed)
            }
            None => Ok(Completion::ignored_with("no engine of it is installed")),
        }
    })]
}

async fn show(driver: &dyn Driver, mut cluster: Cluster) -> Result<(), Failed> {
    let namespace = |name| Namespace::new(name).expect("short and plain");
    let records = Dataset::Records(RecordTable {
        namespace: namespace("records"),
        table: TABLE,
        records: SESSIONS * RECORDS_EACH,
        field_count: FIELD_COUNT,
        field_length: LENGTH,
        key_length_max: KEY_LENGTH_MAX,
    });
    let rows = OperationRows { namespace: namespace("rows"), rows: 10, size: DataSize::Small, seed: 7 };
    let rows = Dataset::Operations(rows);
    let store = connect(&format!("{}&consistency=quorum", cluster.url())).await?;
    load(store.as_ref(), &records).await?;
    load(store.as_ref(), &rows).await?;
    only_listed(&cluster, &records).await;

    let work = Work::default();
    std::thread::scope(|scope| {
        for number in 0..SESSIONS {
            let (work, store, records) = (&work, store.as_ref(), &records);
            scope.spawn(move || runtime().block_on(work.run(store, records, number)));
        }
        let _stop = Stop(&work.stop);
        work.await_successes(SUCCESSES);
        cluster.nodes()[2].kill().expect("it can be killed");
        let done = work.successes.load(Ordering::Relaxed);
        work.await_successes(done + SUCCESSES);
    });
    work.verify(store.as_ref(), &records).await;

    let (quorum, all) = (operation(driver, "consistency_quorum"), operation(driver, "consistency_all"));
    let mut session = open(store.as_ref(), &rows).await.expect("two nodes are up");
    assert_eq!(rows_of(session.as_mut(), quorum).await, 1);
    let error = execute(session.as_mut(), &all, &mut ()).await.expect_err("not all replicas are up");
    assert!(matches!(error.kind(), ErrorKind::Rejected | ErrorKind::Timeout), "{error} ({})", error.kind());
    assert!(!session.is_broken() && error.hint().is_some(), "{error}");
    assert_eq!(rows_of(session.as_mut(), quorum).await, 1, "the session is as good as before");

    cluster.nodes_mut()[2].restart()?;
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = execute(session.as_mut(), &all, &mut ()).await {
        assert!(Instant::now() < deadline, "the node that returned is not taken for one: {error}");
        if session.is_broken() {
            session = open(store.as_ref(), &rows).await.expect("three nodes are up");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    work.verify(store.as_ref(), &records).await;
    drop(session);
    store.clean(None).await?;
    cluster.stop()?;
    Ok(())
}

async fn open(store: &dyn Store, dataset: &Dataset) -> store::Result<Box<dyn Session>> {
    store.session(SessionSpec { dataset: Some(dataset), depth: 1 }).await
}

fn operation(driver: &dyn Driver, name: &str) -> Request<'static> {
    let place = driver.operations().iter().position(|operation| operation.name == name);
    Request::Operation { operation: place.expect("the driver has it") as u16, row: 3 }
}

/// The other nodes are known to whoever is told of one, and are left alone, by all that a store does.
async fn only_listed(cluster: &Cluster, records: &Dataset) {
    let targets: Vec<_> = cluster.nodes().iter().map(|node| Target::parse(node.url()).expect("a URL")).collect();
    let deadline = Instant::now() + PATIENCE;
    while targets.iter().any(|target| clients_of(target) > 0) {
        assert!(Instant::now() < deadline, "those that loaded the data have gone");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let store = connect(cluster.nodes()[0].url()).await.expect("it is up");
    let mut session = open(store.as_ref(), records).await.expect("it is up");
    for number in 0..records.rows() {
        let request = Request::Read { key: &key(number), fields: Fields::All };
        assert_eq!(rows_of(session.as_mut(), request).await, 1, "through the node that is listed");
    }
    store.counters().await.expect("counters can be read");
    let info = store.server().await.expect("it describes itself");
    assert_eq!((info.settings["nodes"].as_str(), info.settings["nodes_listed"].as_str()), ("3", "1"));
    let clients: Vec<_> = targets.iter().map(clients_of).collect();
    assert!(clients[0] > 0 && clients[1..] == [0, 0], "{clients:?}");
}

/// Ends the work also where the trial fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What sessions did together.
#[derive(Default)]
struct Work {
    stop: AtomicBool,
    successes: AtomicU64,
    /// By kind.
    errors: Mutex<BTreeMap<ErrorKind, u64>>,
    /// What a record may hold: what was acknowledged last, and what was tried since and came to nobody knows what.
    possible: Mutex<BTreeMap<u64, Vec<u64>>>,
}

impl Work {
    /// Writes and reads records of its own until it is told to stop, on a new session wherever one is lost.
    async fn run(&self, store: &dyn Store, dataset: &Dataset, number: u64) {
        let (mut session, mut version) = (None, 0);
        while !self.stop.load(Ordering::Relaxed) {
            let open_session = match session.take() {
                Some(session) => Ok(session),
                None => open(store, dataset).await,
            };
            let mut open_session = match open_session {
                Ok(open_session) => open_session,
                Err(error) => {
                    self.failed(error.kind());
                    continue;
                }
            };
            version += 1;
            let record = number * RECORDS_EACH + version % RECORDS_EACH;
            match self.write_and_read(open_session.as_mut(), record, 1_000_000 * (number + 1) + version).await {
                Ok(()) => {
                    self.successes.fetch_add(1, Ordering::Relaxed);
                }
                Err(kind) => self.failed(kind),
            }
            if !open_session.is_broken() {
                session = Some(open_session);
            }
        }
    }

    async fn write_and_read(&self, session: &mut dyn Session, record: u64, version: u64) -> Result<(), ErrorKind> {
        let (key, bytes) = (key(record), fields(version, FIELD_COUNT, LENGTH));
        let values = Values { bytes: &bytes, length: LENGTH, first: 0 };
        let written = execute(session, &Request::Update { key: &key, values }, &mut ()).await;
        {
            let mut possible = self.possible.lock().unwrap_or_else(PoisonError::into_inner);
            let possible = possible.entry(record).or_insert_with(|| vec![record]);
            if written.is_ok() {
                possible.clear();
            }
            possible.push(version);
        }
        written.map_err(|error| error.kind())?;
        let mut seen = Seen::default();
        execute(session, &Request::Read { key: &key, fields: Fields::All }, &mut seen).await.map_err(|e| e.kind())?;
        assert!(seen.rows.len() == 1 && seen.rows[0].joined() == bytes, "{key} is what was written");
        Ok(())
    }

    fn failed(&self, kind: ErrorKind) {
        let told = [ErrorKind::Unreachable, ErrorKind::Rejected, ErrorKind::Timeout];
        assert!(told.contains(&kind), "a dead node is no reason for {kind}");
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default() += 1;
    }

    fn await_successes(&self, wanted: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.successes.load(Ordering::Relaxed) < wanted {
            assert!(Instant::now() < deadline, "it does not go on: {:?}", self.errors);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Nothing that was acknowledged is lost.
    async fn verify(&self, store: &dyn Store, dataset: &Dataset) {
        let mut session = open(store, dataset).await.expect("a quorum is up");
        let possible = self.possible.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(possible.len() as u64, dataset.rows(), "every record was written");
        for (record, possible) in possible {
            let mut seen = Seen::default();
            let request = Request::Read { key: &key(record), fields: Fields::All };
            execute(session.as_mut(), &request, &mut seen).await.expect("a quorum is up");
            let found = seen.rows[0].joined();
            let holds = possible.iter().any(|version| found == fields(*version, FIELD_COUNT, LENGTH));
            assert!(holds, "record {record} holds none of {possible:?}");
        }
    }
}
