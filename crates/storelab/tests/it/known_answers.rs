//! Real servers that are stopped for 2.0 s of a 20 s run: the answer is known, and an open load must give it.

use std::thread;
use std::time::{Duration, Instant};

use provision::Server;
use serde_json::Value;

use crate::support::{Ended, Lab, assert_exact};

/// How long the server does not answer, a tenth of the run.
const STALL: Duration = Duration::from_secs(2);

/// Runs with the server stopped for [`STALL`], well within the recorded 20 s.
fn run_with_stall(lab: &Lab, server: &Server, load: &[&str]) -> Value {
    let mut arguments =
        vec!["run", server.url(), "--workload", "ycsb:c", "--set", "records=1000", "--json", "--for", "20s"];
    arguments.extend(load);
    let child = lab.spawn(&arguments);
    // The stall has no event to wait for: it only has to fall within the run.
    thread::sleep(Duration::from_secs(8));
    let stalled = Instant::now();
    server.pause().expect("the server is ours");
    thread::sleep(STALL.saturating_sub(stalled.elapsed()));
    server.resume().expect("the server is ours");
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    let record = ended.record();
    assert_exact(&record);
    record
}

/// With arrivals at a constant rate, a tenth of them meets the stall and waits for what is left of it: p95 is half of the
/// stall, p99 nine tenths, max the whole. The rate leaves the server the strength to work off what waited in a time that
/// is small against 2 % of the answer.
///
/// Whatever else the host does can only make latencies longer, so the best of a few tries is what the program measured.
fn check(engine: &str, rate: u32) {
    const TRIES: usize = 3;
    let lab = Lab::alone();
    let Some(server) = lab.server(engine) else { return };
    let rate_text = format!("{rate}/s");
    let mut told = Vec::new();
    for _ in 0..TRIES {
        let record = run_with_stall(&lab, &server, &["--rate", &rate_text, "--sessions", "64"]);
        let accounting = &record["accounting"];
        assert_eq!(accounting["succeeded"].as_u64(), Some(u64::from(rate) * 20), "{engine}: {accounting}");
        let seconds = |name: &str| record["total"]["latency_us"][name].as_f64().expect("a number") / 1e6;
        let answers = [("p95", 1.0), ("p99", 1.8), ("max", 2.0)].map(|(name, exact)| (name, seconds(name), exact));
        if answers.iter().all(|(_, told, exact)| (told - exact).abs() <= 0.02 * exact) {
            return;
        }
        told.push(answers);
    }
    panic!("{engine}: (figure, told, exact) in seconds: {told:?}");
}

#[test]
fn a_stalled_redis_is_seen_in_full() {
    check("redis", 250);
}

#[test]
fn a_stalled_postgres_is_seen_in_full() {
    check("postgres", 100);
}

#[test]
fn a_stalled_mariadb_is_seen_in_full() {
    check("mariadb", 100);
}

#[test]
fn a_closed_load_says_that_it_is_blind_to_a_stall() {
    let lab = Lab::alone();
    let Some(server) = lab.server("redis") else { return };
    let record = run_with_stall(&lab, &server, &["--sessions", "4", "--think", "1ms"]);
    let warnings = record["verdict"]["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|warning| warning == "closed load: blind to stalls"), "{warnings:?}");
    let p99 = record["total"]["latency_us"]["p99"].as_f64().expect("a number");
    assert!(p99 < 1e6, "four operations met the stall, thousands did not: {p99} µs");
}
