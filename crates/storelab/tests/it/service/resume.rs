//! A run that is cut off twice and goes on each time is one run in the end.

use serde_json::{Value, json};

use super::client::Service;
use crate::support::Lab;

const SECONDS: u64 = 8;
const RATE: u64 = 100;

fn experiment(target: &str, database_type: &str) -> Value {
    json!({
        "name": "goes on",
        "database_type": database_type,
        "config": {
            "workload": "ycsb:a", "settings": { "records": 100 }, "target": target, "on_restart": "resume", "seed": 7,
            "load": { "rate": format!("{RATE}/s"), "for": format!("{SECONDS}s"), "sessions": 4, "workers": 1, "warm_up": "0s" },
            "collect": [],
        },
    })
}

/// Each second of a run and what ended in it.
fn seconds(service: &Service, run: &str) -> Vec<(u64, u64)> {
    let samples = service.get(&format!("/api/v1/runs/{run}/samples?limit=100")).json();
    let samples = samples["items"].as_array().expect("a list");
    let ended = |sample: &Value| {
        let operations = sample["operations"].as_array().expect("a list");
        operations.iter().map(|operation| operation["succeeded"].as_u64().expect("a count")).sum()
    };
    samples.iter().map(|sample| (sample["second"].as_u64().expect("a number"), ended(sample))).collect()
}

fn goes_on(database_type: &str, target: &str) {
    let lab = Lab::new();
    let (id, mut runs) = {
        let mut service = Service::start(&lab);
        let id = service.create(&experiment(target, database_type));
        let run = service.run(&id);
        service.await_seconds(&run, 2);
        service.child.kill().expect("our child");
        service.child.wait().expect("our child");
        (id, vec![run])
    };
    // The second time it is asked to end, and says how far it came.
    {
        let mut service = Service::start(&lab);
        let found = service.await_status(&id, &["running"]);
        let run = found["run_id"].as_str().expect("an id").to_owned();
        service.await_seconds(&run, 4);
        crate::support::signal(&service.child, rustix::process::Signal::TERM);
        assert!(service.child.wait().expect("our child").success());
        runs.push(run);
    }
    let service = Service::start(&lab);
    let found = service.await_status(&id, &["completed"]);
    let run = found["run_id"].as_str().expect("an id");
    let record = service.get(&format!("/api/v1/runs/{run}")).json();
    let kept: Vec<_> = runs.iter().map(|run| seconds(&service, run)).collect();
    for run in &runs {
        assert_eq!(service.get(&format!("/api/v1/runs/{run}")).json()["status"], "interrupted");
    }
    let resumed = &record["resumed"];
    assert_eq!(resumed["run"].as_str(), Some(runs[1].as_str()), "{resumed}");
    let taken_over = resumed["seconds"].as_u64().expect("a count");
    assert!((4..=SECONDS).contains(&taken_over), "{resumed}");
    let warnings = record["verdict"]["warnings"].to_string();
    assert!(warnings.contains(&format!("the first {taken_over} s are those of run {}", runs[1])), "{warnings}");

    let whole = seconds(&service, run);
    assert!(whole.iter().map(|(second, _)| *second).eq(0..whole.len() as u64), "each once, in order: {whole:?}");
    // The first run's seconds are the second one's, and those are the third one's.
    let first = kept[0].len();
    assert!(kept[1].starts_with(&kept[0]) && whole.starts_with(&kept[1][..taken_over as usize]), "{first}: {whole:?}");
    assert!((SECONDS..=SECONDS + 1).contains(&(whole.len() as u64)), "{whole:?}");
    let total: u64 = whole.iter().map(|(_, ended)| ended).sum();
    let accounting = &record["accounting"];
    assert_eq!(accounting["succeeded"].as_u64(), Some(total), "{accounting}");
    assert_eq!(accounting["scheduled"].as_u64(), Some(total), "{accounting}");
    // Of the second that was cut off nothing is kept, and what it had left of the one before is lost: a few operations each time.
    assert!((SECONDS * RATE - 8..=SECONDS * RATE).contains(&total), "{total} of {whole:?}");
    let lasted = record["duration_seconds"].as_f64().expect("a number");
    assert!((lasted - SECONDS as f64).abs() < 0.5, "{lasted}");
    assert_eq!(record["verification"]["passed"], true, "{}", record["verification"]);
}

#[test]
fn a_run_that_is_cut_off_goes_on_from_its_last_second() {
    goes_on("null", "null:?latency=1ms");
}

#[test]
fn a_run_on_a_server_goes_on_from_its_last_second() {
    let lab = Lab::new();
    let Some(server) = lab.server("postgres") else { return };
    goes_on("postgres", server.url());
}
