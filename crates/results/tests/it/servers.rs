//! A server that many hosts share: started again while runs go on, migrated by several at once, owned by others.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use experiment::{Record, SampleRecord, Sink, Status};
use provision::{Process, Server};
use results::{Error, Location, Results};
use uuid::Uuid;

use crate::on::{On, client, number, place, server, url_of, written};
use crate::{CHILD_VARIABLE, fixture, keep, open, short_run};

/// How long something may take that takes a moment.
const PATIENCE: Duration = Duration::from_mins(1);

/// Processes that make the tables at the same time.
const MIGRATING: usize = 6;

pub(crate) fn started_again(_: On) {
    let mut server = server();
    goes_on_through(&mut server, |server| {
        let process = rustix::process::Pid::from_raw(server.process_id().cast_signed()).expect("a process");
        // What PostgreSQL calls a fast shutdown: connections are ended, everything is written down.
        rustix::process::kill_process(process, rustix::process::Signal::INT).expect("it is ours");
    });
}

pub(crate) fn crashed(_: On) {
    let mut server = server();
    goes_on_through(&mut server, |server| server.kill().expect("it is ours"));
}

/// Keeps a run during which the server goes away twice; all that was acknowledged must be there, and the run whole.
fn goes_on_through(server: &mut Server, end: impl Fn(&Server)) {
    let location = Location::Postgres(server.url().to_owned());
    let mut results = open(&location);
    let (record, samples, histograms) = short_run("through thick and thin");
    results.started(&fixture::started("through thick and thin", record.id)).expect("started");
    let mut acknowledged: Vec<SampleRecord> = Vec::new();
    for sample in &samples {
        let is_turning_point = [2, 5].contains(&acknowledged.len());
        if is_turning_point {
            let process = Process::find(server.process_id()).expect("it runs");
            end(server);
            wait_until("the server is gone", || !process.is_alive());
        }
        results.sampled(record.id, sample).expect("acknowledged, also while the server is away");
        acknowledged.push(sample.clone());
        if is_turning_point {
            server.restart().expect("it starts again");
        }
    }
    results.ended(&record, &histograms).expect("ended");
    assert_eq!(results.record(record.id).expect("a lost connection is made again"), record);
    let mut other = open(&location);
    assert_eq!(other.samples(record.id).expect("there"), acknowledged);
    assert_eq!(other.record(record.id).expect("there"), record);
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn several_migrate(on: On) {
    let (_folder, location) = place(on);
    let opening: Vec<Child> = (0..MIGRATING)
        .map(|_| {
            Command::new(std::env::current_exe().expect("this binary"))
                .env(CHILD_VARIABLE, format!("open:{}", written(&location)))
                .spawn()
                .expect("a child")
        })
        .collect();
    for mut child in opening {
        assert!(child.wait().expect("collected").success(), "each of them opens it");
    }
    assert_eq!(number(&location, "SELECT count(*) FROM version"), 1);
    let mut results = open(&location);
    let kept = keep(&mut results, "after");
    assert_eq!(results.record(kept.id).expect("there"), kept);
}

pub(crate) fn of_others(on: On) {
    let (_folder, location) = place(on);
    let mut client = client(url_of(&location));
    client.batch_execute("CREATE SCHEMA storelab; CREATE TABLE storelab.runs (mine BIGINT)").expect("made");
    let error = Results::open(&location).expect_err("refused");
    assert!(matches!(error, Error::NotADatabase { .. }) && error.hint().is_some(), "{error}");
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'storelab'::regnamespace";
    assert_eq!(client.query_one(tables, &[]).expect("a row").get::<_, i64>(0), 1, "it was left as it was");
}

pub(crate) fn newer(on: On) {
    let (_folder, location) = place(on);
    let kept = keep(&mut open(&location), "before");
    let known = number(&location, "SELECT version FROM version");
    let mut client = client(url_of(&location));
    let mut version = |version: i64| {
        client.execute("UPDATE storelab.version SET version = $1", &[&version]).expect("set");
    };
    version(1_000);
    let error = Results::open(&location).expect_err("refused");
    assert!(matches!(error, Error::NewerVersion { found: 1_000, .. }), "{error}");
    version(known);
    assert_eq!(open(&location).record(kept.id).expect("there"), kept);
}

pub(crate) fn secret(on: On) {
    let (_folder, location) = place(on);
    let url = url_of(&location);
    let password = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).expect("a user").0;
    let (_, password) = password.split_once(':').expect("throw-away servers want a password");
    let wrong = url.replace(password, "canary-of-the-store");
    let results = open(&location);
    let mut said = format!("{} {results:?}", results.location());
    for location in [wrong, url.replace("/results_", "/nowhere_"), url.replace("127.0.0.1:", "127.0.0.1:1")] {
        let Ok(location) = Location::parse(Some(&location)) else { continue };
        let error = Results::open(&location).expect_err("refused");
        assert!(matches!(error, Error::Unreachable { .. }) && error.hint().is_some(), "{error:?}");
        let whole = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        said.extend(whole.map(|error| format!("{error} {error:?}")));
        said.extend([format!("{:?}", store::Error::from(error))]);
    }
    assert!(!said.contains(password) && !said.contains("canary"), "{said}");
    assert!(said.contains("***"), "{said}");
}

pub(crate) fn elsewhere(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let id = Uuid::now_v7();
    results.started(&fixture::started("elsewhere", id)).expect("started");
    let mut client = client(url_of(&location));
    client.batch_execute("UPDATE storelab.runs SET owner_boot_id = 'another machine'").expect("set");
    let status = || open(&location).record(id).map(|record: Record| record.status).expect("there");
    assert_eq!(status(), Status::Running, "it was just heard of, although no second was kept");
    let seconds = number(&location, "SELECT heard_at_us FROM runs");
    wait_until("it is heard of once a second", || number(&location, "SELECT heard_at_us FROM runs") > seconds);
    assert_eq!(status(), Status::Running);
    drop(results);
    wait_until("it has fallen silent", || status() == Status::Interrupted);
    // Whoever reads and the server judge silence by their own clocks: what the one shows the other may write a moment later.
    let written = || number(&location, "SELECT count(*) FROM runs WHERE status = 'interrupted'") == 1;
    wait_until("it is written down", || status() == Status::Interrupted && written());
}
