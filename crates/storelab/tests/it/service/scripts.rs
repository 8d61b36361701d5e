//! The script of the user guide, against a fresh service, for every data store that this machine can start.

use std::process::{Command, Stdio};

use provision::Engine;
use serde_json::{Value, json};

use super::client::Service;
use crate::support::{Ended, Lab, skipped, with_every_engine};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples/experiments.sh");

/// What `results` of the description has, and nothing else.
const METRICS: [&str; 6] =
    ["cpu_percent", "duration_seconds", "latency_ms", "memory_mb", "ops_per_second", "total_queries"];

fn is_missing(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
}

/// Runs the script and checks what it says at its end.
fn check(lab: &Lab, database_type: &str, target: &str) {
    let service = Service::start(lab);
    let url = format!("http://{}", service.address);
    let output = Command::new("sh").args([SCRIPT, &url, database_type, target]).output().expect("sh runs");
    let ended = Ended::of(output);
    assert_eq!(ended.code, Some(0), "{database_type}: {} {} {}", ended.stdout, ended.stderr, service.said());
    let shown: Value = serde_json::from_str(ended.stdout.trim()).expect("one JSON document");
    assert_eq!((&shown["status"], &shown["database_type"]), (&json!("completed"), &json!(database_type)));
    let results = &shown["results"];
    let metrics = results["performance_metrics"].as_object().expect("an object");
    let mut names: Vec<_> = metrics.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, METRICS, "{database_type}");
    let latency: Vec<_> = metrics["latency_ms"].as_object().expect("an object").keys().collect();
    assert_eq!(latency, ["avg", "p50", "p95", "p99"]);
    for gauge in ["cpu_percent", "memory_mb"] {
        let names: Vec<_> = metrics[gauge].as_object().into_iter().flat_map(|gauge| gauge.keys()).collect();
        assert!(names.is_empty() || names == ["avg", "max"], "{database_type}: {names:?}");
    }
    check_operations(database_type, results);
    let run = shown["run_id"].as_str().expect("an id");
    let record = service.get(&format!("/api/v1/runs/{run}")).json();
    assert_eq!(metrics["total_queries"], record["total"]["succeeded"], "the numbers are those of the record");
    assert_eq!(metrics["ops_per_second"], record["throughput_per_second"]);
}

fn check_operations(database_type: &str, results: &Value) {
    let operations = results["benchmark_results"].as_object().expect("an object");
    assert!(!operations.is_empty(), "{database_type}");
    for (name, result) in operations {
        let mut names: Vec<_> = result.as_object().expect("an object").keys().map(String::as_str).collect();
        names.sort_unstable();
        let adds = names == ["rows_inserted", "rows_per_second", "time_seconds"];
        let asks = names == ["avg_time_seconds", "max_time_seconds", "min_time_seconds", "queries_executed"];
        assert!(adds || asks, "{database_type}: {name}: {result}");
        if asks {
            let seconds = |field: &str| result[field].as_f64().expect("a number");
            assert!(seconds("min_time_seconds") <= seconds("avg_time_seconds"), "{database_type}: {name}: {result}");
            assert!(seconds("avg_time_seconds") <= seconds("max_time_seconds"), "{database_type}: {name}: {result}");
            // A removal that finds nothing left to remove adds a row first, and counts as that.
            let executed = result["queries_executed"].as_u64().expect("a count");
            assert!((1..=1000).contains(&executed), "{database_type}: {name}: {result}");
        }
    }
}

#[test]
fn the_script_runs_against_a_store_within_the_service() {
    if is_missing("curl") {
        return skipped("curl is not installed");
    }
    check(&Lab::new(), "sqlite", "");
}

#[test]
fn the_script_runs_against_every_engine() {
    if is_missing("curl") {
        return skipped("curl is not installed");
    }
    with_every_engine(|lab, engine: &'static dyn Engine| {
        // Of an engine that is not installed this says so; one that is, the service starts by itself.
        let Some(server) = lab.server(engine.name()) else { return };
        drop(server);
        let Ok((driver, _)) = experiment::resolve_target(&format!("local:{}", engine.name()), &|_| None) else {
            return skipped(&format!("this build has no driver for {}", engine.name()));
        };
        if driver.operations().is_empty() {
            return skipped(&format!("{} has no operations of its own", driver.name()));
        }
        check(lab, driver.name(), &format!("local:{}", engine.name()));
    });
}
