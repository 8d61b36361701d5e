//! Real servers that are stopped for 2.0 s of a 10 s run: the answer is known, and an open load must give it.

use std::thread;
use std::time::{Duration, Instant};

use experiment::SampleRecord;
use provision::Server;
use serde_json::Value;

use crate::crash::await_load;
use crate::support::{Ended, Lab, ProcessorTime, assert_exact, skipped};

/// The place of the phase that counts, after its warm-up.
const RECORDED: u16 = 1;

/// How long the server does not answer, a fifth of the run.
const STALL: Duration = Duration::from_secs(2);

/// Runs with the server stopped for [`STALL`], well within the recorded 10 s.
fn run_with_stall(lab: &Lab, server: &Server, load: &[&str]) -> Value {
    let mut arguments =
        vec!["run", server.url(), "--workload", "ycsb:c", "--set", "records=500", "--json", "--for", "10s"];
    arguments.extend(load);
    let mut child = lab.spawn(&arguments);
    await_load(lab, &mut child, server.port());
    // The stall has no event to wait for: it only has to fall within the rest of the run.
    thread::sleep(Duration::from_secs(2));
    let stalled = Instant::now();
    server.pause().expect("the server is ours");
    thread::sleep(STALL.saturating_sub(stalled.elapsed()));
    server.resume().expect("the server is ours");
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    let record = ended.record();
    assert_exact(&record);
    assert_hole(lab, &record);
    record
}

/// The stall is a hole in the run's seconds, which the verdict names. That the store stood still is a finding about the
/// store: it makes nothing invalid but what a busy host does too.
fn assert_hole(lab: &Lab, record: &Value) {
    const FAULTS: [&str; 6] =
        ["delivered", "generator_stopped", "harness_floor", "offered", "steady_state", "throttled"];
    let location = results::Location::File(lab.path("results.db"));
    let mut results = results::Results::open(&location).expect("the run is kept there");
    let run = record["id"].as_str().and_then(|id| id.parse().ok()).expect("an id");
    let ended = |sample: &SampleRecord| {
        let operations = sample.operations.iter().filter(|operation| operation.phase == RECORDED);
        operations.map(|operation| operation.succeeded + operation.failed).sum::<u64>()
    };
    let samples = results.samples(run).expect("they are kept");
    let seconds: Vec<(u64, u64)> = samples.iter().map(|sample| (sample.second, ended(sample))).collect();
    let total: u64 = seconds.iter().map(|(_, ended)| ended).sum();
    // Second by second from the first after the warm-up to the last before what is left at the end.
    let empty = (1..=10).find(|second| !seconds.iter().any(|(known, ended)| known == second && *ended > 0));
    let empty = empty.unwrap_or_else(|| panic!("two seconds have a whole one in them: {seconds:?}"));
    assert!(total > 0 && seconds.iter().any(|(second, ended)| *second > empty && *ended > 0), "{seconds:?}");
    let checks = record["verdict"]["checks"].as_array().expect("a list");
    let check = |name: &str| checks.iter().find(|check| check["name"] == name).expect("a check of that name");
    // Others took the processors, on this machine or beside it: then the generator did stand still, and says so.
    let is_disturbed = check("host_contention")["outcome"] == "failed" || check("host_steal")["outcome"] != "passed";
    let steady = check("steady_state");
    assert!(steady["outcome"] == "doubtful" || is_disturbed, "{steady}");
    let detail = steady["detail"].as_str().expect("words");
    assert!(is_disturbed || names_second(detail, empty), "{empty}: {steady}");
    let failed: Vec<_> = checks.iter().filter(|check| check["outcome"] == "failed").collect();
    let faults = failed.iter().filter(|check| FAULTS.iter().any(|fault| check["name"] == *fault));
    assert!(faults.count() == 0 || is_disturbed, "{failed:?}");
    assert_eq!(record["verdict"]["valid"], failed.is_empty(), "{}", record["verdict"]);
}

/// Whether a stretch such as `4 to 5` in the text holds the second.
fn names_second(text: &str, second: u64) -> bool {
    let words = text.replace(',', " ");
    let words: Vec<Option<u64>> = words.split_whitespace().map(|word| word.parse().ok()).collect();
    let alone = words.contains(&Some(second));
    alone
        || words
            .windows(3)
            .any(|three| matches!(three, [Some(from), None, Some(to)] if (*from..=*to).contains(&second)))
}

/// With arrivals at a constant rate, a fifth of them meets the stall and waits for what is left of it: p90 is half of the
/// stall, p99 19 twentieths, max the whole. The rate leaves the server the strength to work off what waited in a time that
/// is small against 2 % of the answer.
///
/// Whatever else the host does can only make latencies longer, so the best of a few tries is what the program measured. Tries
/// during which other guests had the processors do not count; where there were no others, the test says so.
fn check(lab: &Lab, engine: &str) -> Result<(), String> {
    const TRIES: usize = 3;
    const HINDERED_MAX: usize = 3;
    /// An engine and what it is asked for a second, where it is not [`RATE`].
    const RATES: &[(&str, u32)] = &[("redis", 250), ("cassandra", 40), ("dynamodb", 40), ("influxdb", 10)];
    const RATE: u32 = 50;
    let Some(server) = lab.server(engine) else { return Ok(()) };
    let rate = RATES.iter().find(|(name, _)| *name == engine).map_or(RATE, |(_, rate)| *rate);
    let rate_text = format!("{rate}/s");
    let (mut told, mut hindered) = (Vec::new(), Vec::new());
    while told.len() < TRIES && hindered.len() < HINDERED_MAX {
        let before = ProcessorTime::so_far();
        let record = run_with_stall(lab, &server, &["--rate", &rate_text, "--sessions", "64"]);
        let accounting = &record["accounting"];
        assert_eq!(accounting["succeeded"].as_u64(), Some(u64::from(rate) * 10), "{engine}: {accounting}");
        let seconds = |name: &str| record["total"]["latency_us"][name].as_f64().expect("a number") / 1e6;
        let answers = [("p90", 1.0), ("p99", 1.9), ("max", 2.0)].map(|(name, exact)| (name, seconds(name), exact));
        // Where in the stall the first arrival falls moves every answer by up to the time between two.
        let spacing = 1.0 / f64::from(rate);
        if answers.iter().all(|(_, told, exact)| (told - exact).abs() <= 0.02 * exact + spacing) {
            return Ok(());
        }
        if before.was_hindered() { &mut hindered } else { &mut told }.push(answers);
    }
    if told.len() == TRIES {
        return Err(format!("{engine}: (figure, told, exact) in seconds: {told:?}, {hindered:?} while hindered"));
    }
    skipped(&format!("the latencies of a stalled {engine}, since others had the processors: {hindered:?}"));
    Ok(())
}

#[test]
fn a_stalled_server_of_every_kind_is_seen_in_full() {
    let failed = provision::ENGINES.iter().filter_map(|engine| check(&Lab::alone(), engine.name()).err());
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_closed_load_says_that_it_is_blind_to_a_stall() {
    let lab = Lab::alone();
    let Some(server) = lab.server("redis") else { return };
    let record = run_with_stall(&lab, &server, &["--sessions", "8", "--think", "1ms"]);
    let warnings = record["verdict"]["warnings"].as_array().expect("a list");
    assert!(warnings.iter().any(|warning| warning == "closed load: blind to stalls"), "{warnings:?}");
    let p99 = record["total"]["latency_us"]["p99"].as_f64().expect("a number");
    assert!(p99 < 1e6, "eight operations met the stall, thousands did not: {p99} µs");
}
