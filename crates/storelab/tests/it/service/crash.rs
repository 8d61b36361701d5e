//! A service that is killed at random moments, under requests and under load: nothing that it acknowledged is lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use provision::Server;
use serde_json::{Value, json};

use super::client::{Service, request, store_of};
use crate::support::{Lab, connections_to, eventually};

/// How often the service is killed; the long form of the test says another number in the environment.
const KILLS: usize = 30;
const KILLS_VARIABLE: &str = "SERVER_KILLS";

/// How long the service may go on before it is killed, at most: beyond its start, its recovery and the first seconds of a run.
const LIFE_MILLISECONDS_MAX: u64 = 2_500;

/// How long a killed service's connections may last, and its runs be shown as going on: the promise.
const CONNECTIONS_END_MAX: Duration = Duration::from_secs(2);
const RUNNING_MAX: Duration = Duration::from_secs(5);

/// Seconds of a run that may be missing: the one that was under way, and one that a busy machine was late with.
const SECONDS_LOST_MAX: f64 = 2.0;

/// What was acknowledged: it must be there for ever.
#[derive(Default)]
struct Acknowledged {
    experiments: Vec<String>,
    runs: Vec<String>,
}

/// A run that was seen to go on, with the seconds that were read of it and how long it had gone on.
struct Seen {
    run: String,
    seconds: usize,
    elapsed: f64,
}

/// A generator of moments; a failure says its seed.
struct Moments(u64);

impl Moments {
    fn next(&mut self, most: u64) -> u64 {
        // Knuth's MMIX generator; its upper bits are random enough for moments.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

fn target_of(server: Option<&Server>) -> (&'static str, Option<String>) {
    match server {
        Some(server) => ("postgres", Some(server.url().to_owned())),
        None => ("null", Some("null:?latency=1ms".to_owned())),
    }
}

/// A run of a minute, in mid of which the service is killed.
fn long_run(database_type: &str, target: Option<&String>, on_restart: &str) -> Value {
    json!({
        "name": format!("long, {on_restart}"),
        "database_type": database_type,
        "config": {
            "workload": "ycsb:b", "settings": { "records": 100 }, "target": target, "on_restart": on_restart,
            "load": { "rate": "200/s", "for": "60s", "sessions": 4, "workers": 1, "warm_up": "0s" },
            "collect": [],
        },
    })
}

#[test]
fn what_was_acknowledged_outlives_every_kill() {
    let lab = Lab::new();
    let server = lab.server("postgres");
    let (database_type, target) = target_of(server.as_ref());
    let kills = std::env::var(KILLS_VARIABLE).ok().and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let seed = std::process::id().into();
    let mut moments = Moments(seed);
    let acknowledged = Mutex::new(Acknowledged::default());
    let mut seen: Vec<Seen> = Vec::new();
    for kill in 0..kills {
        let service = Service::start(&lab);
        check_recovered(&service, &seen);
        let on_restart = if kill % 3 == 0 { "rerun" } else { "interrupt" };
        let life = Duration::from_millis(moments.next(LIFE_MILLISECONDS_MAX));
        seen = live_and_die(service, &acknowledged, &long_run(database_type, target.as_ref(), on_restart), life);
        if let Some(server) = &server {
            eventually("the connections end", CONNECTIONS_END_MAX, || connections_to(server.port()) == 0);
        }
        check_integrity(&lab, kill, seed);
    }
    let service = Service::start(&lab);
    check_recovered(&service, &seen);
    let acknowledged = acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(acknowledged.experiments.len() >= kills, "{} were created", acknowledged.experiments.len());
    for id in &acknowledged.experiments {
        service.experiment(id);
    }
    for run in &acknowledged.runs {
        let answer = service.get(&format!("/api/v1/runs/{run}"));
        assert_eq!(answer.status, 200, "seed {seed}: {run} was acknowledged: {}", answer.text());
    }
    check_never_at_once(&service);
}

/// Requests and a run, until the service is killed in the midst of them.
fn live_and_die(mut service: Service, acknowledged: &Mutex<Acknowledged>, plan: &Value, life: Duration) -> Vec<Seen> {
    let is_over = AtomicBool::new(false);
    let address = service.address.clone();
    let mut seen = Vec::new();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| create_until(&address, acknowledged, &is_over));
        }
        let id = service.create(plan);
        let run = service.run(&id);
        let mut known = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        known.experiments.push(id);
        known.runs.push(run);
        drop(known);
        thread::sleep(life);
        seen = running(&service);
        service.child.kill().expect("our child");
        service.child.wait().expect("our child");
        is_over.store(true, Ordering::Relaxed);
    });
    seen
}

/// Makes experiments and runs of a moment, and notes those that were acknowledged.
fn create_until(address: &str, acknowledged: &Mutex<Acknowledged>, is_over: &AtomicBool) {
    let body = json!({
        "name": "short", "database_type": "null",
        "config": { "workload": "ycsb:c", "settings": { "records": 10 }, "target": "null:", "load": { "operations": 10, "workers": 1 }, "collect": [] },
    });
    while !is_over.load(Ordering::Relaxed) {
        let Ok(created) = request(address, "POST", "/api/v1/experiments", Some(&body)) else { continue };
        if created.status != 201 {
            continue;
        }
        let id = created.json()["id"].as_str().expect("an id").to_owned();
        acknowledged.lock().unwrap_or_else(PoisonError::into_inner).experiments.push(id.clone());
        let Ok(accepted) = request(address, "POST", &format!("/api/v1/experiments/{id}/run"), None) else { continue };
        if accepted.status == 202 {
            let run = accepted.json()["run_id"].as_str().expect("an id").to_owned();
            acknowledged.lock().unwrap_or_else(PoisonError::into_inner).runs.push(run);
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The runs that go on, as far as they can be read.
fn running(service: &Service) -> Vec<Seen> {
    let listed = service.get("/api/v1/runs?status=running").json();
    let mut found = Vec::new();
    for run in listed["items"].as_array().expect("a list") {
        let id = run["id"].as_str().expect("an id").to_owned();
        let samples = service.get(&format!("/api/v1/runs/{id}/samples?limit=200")).json();
        let started: jiff::Timestamp = run["started_at"].as_str().expect("a time").parse().expect("a time");
        let elapsed = jiff::Timestamp::now().duration_since(started).as_secs_f64();
        found.push(Seen { run: id, seconds: samples["items"].as_array().map_or(0, Vec::len), elapsed });
    }
    found
}

/// Whether the runs that went on when the service was killed are over, and have all their seconds but the last.
fn check_recovered(service: &Service, seen: &[Seen]) {
    for Seen { run, seconds, elapsed } in seen {
        let path = format!("/api/v1/runs/{run}");
        eventually("the run is not shown as going on", RUNNING_MAX, || {
            let answer = service.get(&path);
            assert_eq!(answer.status, 200, "{}", answer.text());
            answer.json()["status"] != "running"
        });
        let samples = service.get(&format!("{path}/samples?limit=200")).json();
        let kept = samples["items"].as_array().map_or(0, Vec::len);
        assert!(kept >= *seconds, "{run}: {kept} seconds are kept, and {seconds} had been read");
        // A run that lasted into its end has no more seconds than it took.
        let status = service.get(&path).json()["status"].clone();
        if status == "interrupted" {
            assert!(kept as f64 + SECONDS_LOST_MAX >= *elapsed, "{run}: {kept} seconds are kept of {elapsed:.1}");
        }
    }
}

fn check_integrity(lab: &Lab, kill: usize, seed: u64) {
    let location = results::Location::File(store_of(lab));
    let mut results = results::Results::open(&location).expect("opens");
    assert_eq!(results.integrity().expect("readable"), Vec::<String>::new(), "kill {kill}, seed {seed}");
}

/// Whether no two runs on the long runs' target went on at the same time, and none has two records.
fn check_never_at_once(service: &Service) {
    let (mut spans, mut ids, mut cursor) = (Vec::new(), BTreeSet::new(), String::new());
    loop {
        let page = service.get(&format!("/api/v1/runs?limit=200{cursor}")).json();
        for run in page["items"].as_array().expect("a list") {
            let time = |field: &str| run[field].as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time");
            assert!(ids.insert(run["id"].to_string()), "{} is listed twice", run["id"]);
            if run["driver"] == "postgres" && run["status"] != "running" {
                spans.push((time("started_at"), time("ended_at")));
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    spans.sort_unstable();
    for pair in spans.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two runs on one target at once: {pair:?}");
    }
}

#[test]
fn a_run_is_made_again_where_its_plan_says_so_and_only_there() {
    let lab = Lab::new();
    let target = Some("null:?latency=1ms".to_owned());
    let (mut experiments, mut runs) = (Vec::new(), Vec::new());
    {
        let mut service = Service::start(&lab);
        for on_restart in ["rerun", "interrupt"] {
            let id = service.create(&long_run("null", target.as_ref(), on_restart));
            runs.push(service.run(&id));
            experiments.push(id);
        }
        for run in &runs {
            service.await_seconds(run, 1);
        }
        service.child.kill().expect("our child");
        service.child.wait().expect("our child");
    }
    let mut service = Service::start(&lab);
    service.await_status(&experiments[1], &["interrupted"]);
    let again = service.await_status(&experiments[0], &["running"]);
    let rerun = again["run_id"].as_str().expect("an id").to_owned();
    assert_ne!(rerun, runs[0]);
    service.await_seconds(&rerun, 1);
    assert_eq!(service.get(&format!("/api/v1/runs/{}", runs[0])).json()["status"], "interrupted");
    let measured = service.experiment(&experiments[1]);
    assert!(
        measured["results"]["performance_metrics"]["total_queries"].as_u64().is_some_and(|count| count > 0),
        "{measured}"
    );
    service.child.kill().expect("our child");
    service.child.wait().expect("our child");
    let service = Service::start(&lab);
    let over = service.await_status(&experiments[0], &["interrupted", "running"]);
    assert_eq!((&over["status"], &over["run_id"]), (&json!("interrupted"), &json!(rerun)), "once, and not for ever");
}

#[test]
fn a_viewer_goes_on_without_a_gap_after_the_service_was_killed() {
    let lab = Lab::new();
    let target = Some("null:?latency=1ms".to_owned());
    let (run, before);
    {
        let mut service = Service::start(&lab);
        let id = service.create(&long_run("null", target.as_ref(), "interrupt"));
        run = service.run(&id);
        service.await_seconds(&run, 2);
        before = numbers(&service, &run, 0, Some(4));
        service.child.kill().expect("our child");
        service.child.wait().expect("our child");
    }
    assert!(
        before.len() >= 4 && before.iter().zip(1..).all(|((number, _), expected)| *number == expected),
        "{before:?}"
    );
    let service = Service::start(&lab);
    let (last, _) = before.last().expect("there are some");
    let after = numbers(&service, &run, *last, None);
    assert!(after.iter().zip(last + 1..).all(|((number, _), expected)| *number == expected), "{before:?} {after:?}");
    assert_eq!(after.last().map(|(_, kind)| kind.as_str()), Some("ended"), "{after:?}");
    let whole = numbers(&service, &run, 0, None);
    assert!(whole.iter().eq(before.iter().chain(&after)), "{whole:?}");
    assert_eq!(numbers(&service, &run, *last + after.len() as u64, None), [], "nothing comes behind the end");
}

/// Numbers and kinds of the messages of a run behind one: so many, or to the end of the stream.
fn numbers(service: &Service, run: &str, after: u64, at_most: Option<usize>) -> Vec<(u64, String)> {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::net::TcpStream::connect(&service.address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_mins(1))).expect("a time-out");
    let address = &service.address;
    write!(
        stream,
        "GET /api/v1/runs/{run}/live HTTP/1.1\r\nHost: {address}\r\nLast-Event-ID: {after}\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut found = Vec::new();
    let started = Instant::now();
    for line in BufReader::new(stream).lines() {
        let Ok(line) = line else { break };
        if let Some(data) = line.strip_prefix("data: ") {
            let message: Value = serde_json::from_str(data).expect("JSON");
            found.push((
                message["number"].as_u64().expect("a number"),
                message["kind"].as_str().expect("a kind").to_owned(),
            ));
        }
        if at_most.is_some_and(|most| found.len() >= most) {
            break;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "{found:?}");
    }
    found
}
