//! Two services on one PostgreSQL that crashes and is started again under them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use provision::Server;
use serde_json::{Value, json};

use super::client::{Service, request};
use crate::support::{Lab, connections_to};

/// Sessions of a run: two processes that carried the same one out, or two runs at once, would have twice as many.
const SESSIONS: usize = 6;

/// Between two looks at the target's connections.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Between two experiments of a client.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// What was acknowledged: it must be there for ever.
#[derive(Default)]
struct Acknowledged {
    experiments: Vec<String>,
    runs: Vec<String>,
}

fn service(lab: &Lab, store: &Server) -> Service {
    let mut command = lab.command(&["serve", "--listen", "127.0.0.1:0"]);
    command.env("STORELAB_STORE", store.url());
    Service::of(command)
}

fn plan(target: &Server) -> Value {
    json!({
        "name": "through a crash",
        "database_type": "redis",
        "config": {
            "workload": "ycsb:b", "settings": { "records": 100 }, "target": target.url(),
            "load": { "rate": "200/s", "sessions": SESSIONS, "for": "5s", "warm_up": "0s", "drain": "2s", "workers": 1 },
            "collect": [],
        },
    })
}

#[test]
fn a_store_that_crashes_under_two_services_loses_nothing_and_has_nothing_done_twice() {
    let lab = Lab::new();
    let (Some(mut store), Some(target)) = (lab.server("postgres"), lab.server("redis")) else { return };
    let services = [service(&lab, &store), service(&lab, &store)];
    let acknowledged = Mutex::new(Acknowledged::default());
    let (is_over, connections_max) = (AtomicBool::new(false), AtomicUsize::new(0));
    let runs = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                connections_max.fetch_max(connections_to(target.port()), Ordering::Relaxed);
                thread::sleep(LOOK_INTERVAL);
            }
        });
        for service in &services {
            let (address, acknowledged, is_over) = (&service.address, &acknowledged, &is_over);
            scope.spawn(move || ask_until(address, acknowledged, is_over));
        }
        let ended = through_a_crash(&services, &mut store, &target);
        is_over.store(true, Ordering::Relaxed);
        ended
    });
    let most = connections_max.into_inner();
    assert!((SESSIONS..2 * SESSIONS).contains(&most), "never two at once: {most} connections");
    check_one_after_the_other(&services[0], &runs);
    let acknowledged = acknowledged.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(!acknowledged.runs.is_empty());
    for (place, id) in acknowledged.experiments.iter().enumerate() {
        services[place % 2].experiment(id);
    }
    for (place, run) in acknowledged.runs.iter().enumerate() {
        let answer = services[place % 2].get(&format!("/api/v1/runs/{run}"));
        assert_eq!(answer.status, 200, "{run} was acknowledged: {}", answer.text());
    }
}

/// Makes experiments and runs of a moment, whatever the answer, and notes those that were acknowledged.
fn ask_until(address: &str, acknowledged: &Mutex<Acknowledged>, is_over: &AtomicBool) {
    let body = json!({
        "name": "short", "database_type": "null",
        "config": { "workload": "ycsb:c", "settings": { "records": 10 }, "target": "null:", "load": { "operations": 10, "workers": 1 }, "collect": [] },
    });
    let acknowledge = |path: &str, body: Option<&Value>, status: u16, id: &str| {
        let answer = request(address, "POST", path, body).ok().filter(|answer| answer.status == status)?;
        Some(answer.json()[id].as_str().expect("an id").to_owned())
    };
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(ASK_INTERVAL);
        let Some(id) = acknowledge("/api/v1/experiments", Some(&body), 201, "id") else { continue };
        let run = acknowledge(&format!("/api/v1/experiments/{id}/run"), None, 202, "run_id");
        let mut known = acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
        known.experiments.push(id);
        known.runs.extend(run);
    }
}

/// A run that each service was asked for, on one target, the first of which the crash meets; their ids, once both are over.
fn through_a_crash(services: &[Service; 2], store: &mut Server, target: &Server) -> [String; 2] {
    let first = services[0].create(&plan(target));
    let first_run = services[0].run(&first);
    services[1].await_seconds(&first_run, 2);
    let second = services[1].create(&plan(target));
    let second_run = services[1].run(&second);
    store.kill().expect("it is ours");
    store.restart().expect("it comes back");
    // Each hears of both from the one store.
    for (service, experiment) in [(&services[1], &first), (&services[0], &second)] {
        service.await_status(experiment, &["completed", "interrupted"]);
    }
    [first_run, second_run]
}

/// Each has one record, with every second that it says it lasted; and the one began after the other was over.
fn check_one_after_the_other(service: &Service, runs: &[String; 2]) {
    let mut ended: Option<Timestamp> = None;
    for run in runs {
        let record = service.get(&format!("/api/v1/runs/{run}")).json();
        let time =
            |field: &str| record[field].as_str().and_then(|text| text.parse::<Timestamp>().ok()).expect("a time");
        assert!(ended.is_none_or(|ended| ended <= time("started_at")), "{ended:?}: {record}");
        ended = Some(time("ended_at"));
        let samples = service.get(&format!("/api/v1/runs/{run}/samples?limit=200")).json();
        let samples = samples["items"].as_array().expect("a list");
        let seconds: Vec<_> = samples.iter().map(|sample| sample["second"].as_u64()).collect();
        assert!(seconds.iter().copied().eq((0..seconds.len() as u64).map(Some)), "no second is missing: {seconds:?}");
        let count = |name: &str| record["accounting"][name].as_u64().expect("a count");
        if record["status"] == "completed" {
            assert_eq!(count("scheduled"), 1_000, "all of it, once: {record}");
        }
        let kept = |name: &str| -> u64 { samples.iter().map(|sample| sample[name].as_u64().expect("a count")).sum() };
        assert_eq!((kept("succeeded"), kept("failed")), (count("succeeded"), count("failed")), "{record}");
    }
}
