//! The knee of a server whose capacity is known, found by the program as a user runs it.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Ended, Lab, ProcessorTime, assert_exact, eventually, signal, skipped, text};

/// What the virtual server takes for a request.
const SERVICE_SECONDS: f64 = 500e-6;
/// The condition on p99. Eight service times: the limit is far above what timers add (a hundred microseconds), and the curve
/// is steep enough there for p99's scatter not to matter much.
const LIMIT_SECONDS: f64 = 4e-3;
const QUANTILE: f64 = 0.99;

/// Of the queue M/D/1, the share of requests that wait at most `wait` seconds (Erlang 1909; Crommelin 1932):
/// P(W ≤ t) = (1 − λD) Σₖ₌₀^⌊t/D⌋ (λ(kD − t))ᵏ/k! · e^(−λ(kD − t)).
///
/// The terms' signs alternate, and the greatest is about e^(λt): with λt up to 8 that costs four of the sixteen digits.
fn share_that_waits_at_most(wait: f64, rate: f64, service: f64) -> f64 {
    let terms = (wait / service).floor() as i32;
    let mut sum = 0.0;
    let mut factorial = 1.0;
    for k in 0..=terms {
        factorial *= f64::from(k.max(1));
        let exponent = rate * (f64::from(k) * service - wait);
        sum += exponent.powi(k) / factorial * (-exponent).exp();
    }
    (1.0 - rate * service) * sum
}

/// The rate at which a percentile of the time in the system is `limit`.
fn known_knee(quantile: f64, limit: f64, service: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0 / service);
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        let keeps = share_that_waits_at_most(limit - service, middle, service) > quantile;
        (low, high) = if keeps { (middle, high) } else { (low, middle) };
    }
    low
}

/// A simulation knows nothing of the formula.
#[test]
fn the_formula_is_what_a_simulated_queue_does() {
    let service = 1.0;
    for rate in [0.3, 0.6, 0.72] {
        let (mut state, mut wait) = (1_u64, 0.0_f64);
        let mut waits: Vec<f64> = Vec::new();
        for _ in 0..400_000 {
            // SplitMix64; 53 bits of it are a number in (0, 1].
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let bits = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            let uniform = (((bits ^ (bits >> 31)) >> 11) + 1) as f64 / (1_u64 << 53) as f64;
            wait = (wait + service + uniform.ln() / rate).max(0.0);
            waits.push(wait);
        }
        for at in [0.0, 0.5, 1.5, 3.0, 7.0] {
            let told = waits.iter().filter(|wait| **wait <= at).count() as f64 / waits.len() as f64;
            let exact = share_that_waits_at_most(at, rate, service);
            assert!((told - exact).abs() < 0.01, "rate {rate}, wait {at}: simulated {told}, computed {exact}");
        }
    }
}

/// The p99 of seconds scatters by a tenth near saturation, and what else the host does makes it longer: a search may be further
/// off than 5 %, and three in a row are not. A search during which other guests had the processors says nothing of the queue,
/// and is made again; where there was no other, the test says so.
#[test]
fn the_knee_of_a_queue_is_where_theory_puts_it() {
    const TRIES: usize = 3;
    const HINDERED_MAX: usize = 4;
    let known = known_knee(QUANTILE, LIMIT_SECONDS, SERVICE_SECONDS);
    assert!((1_400.0..1_480.0).contains(&known), "{known}");
    let (mut told, mut hindered) = (Vec::new(), Vec::new());
    while told.len() < TRIES && hindered.len() < HINDERED_MAX {
        let lab = Lab::alone();
        let before = ProcessorTime::so_far();
        let plan = lab.write(
            "knee.yaml",
            "{ target: 'null:?latency=500us&servers=1', workload: ycsb:c, collect: [], load: { arrivals: poisson, \
             sessions: 64, for: 1s, find: { rate: { from: 400/s }, under: p99 < 4ms, for: 3s, precision: 3%, then: 50% } } }",
        );
        let ended = lab.run(&["run", text(&plan), "--json"]);
        let record = ended.record();
        assert_exact(&record);
        let search = &record["search"];
        let (stolen, was_hindered) = (before.stolen_since(), before.was_hindered());
        let mut tell = |knee: f64| {
            let tries = if was_hindered { &mut hindered } else { &mut told };
            tries.push(format!(
                "{knee} in {}, {} ({:.1} % stolen)",
                search["interval"],
                search["notes"],
                stolen * 100.0
            ));
        };
        let Some(found) = search["found"].as_f64() else {
            tell(0.0);
            continue;
        };
        let offered = record["accounting"]["scheduled"].as_f64().expect("a count");
        // Half of what was found, for a second, as a Poisson process.
        assert!((offered / (found / 2.0) - 1.0).abs() < 0.2, "{offered} of {found}");
        let knee = search["knee"].as_f64().unwrap_or_default();
        if search["confirmed"] == Value::Bool(true) && (knee / known - 1.0).abs() <= 0.05 {
            return;
        }
        tell(knee);
    }
    assert!(told.len() < TRIES, "{known} being exact: {told:#?}, {hindered:#?}");
    skipped(&format!("the knee of a known queue, since others had the processors: {}", hindered.join("; ")));
}

#[test]
fn the_sessions_of_a_closed_load_are_found_and_their_scalability_is_told() {
    const TRIES: usize = 3;
    let mut told = Vec::new();
    for _ in 0..TRIES {
        // Four servers of 2 ms: N sessions are answered at N/2ms up to four of them, and wait for one another beyond, so 5 ms
        // are exceeded by the median once there are more than ten.
        let lab = Lab::alone();
        let plan = lab.write(
            "knee.yaml",
            "{ target: 'null:?latency=2ms&servers=4', workload: ycsb:c, load: { for: 300ms, find: { sessions, under: p50 < \
             5ms, for: 500ms, then: 50% } } }",
        );
        let ended = lab.run(&["run", text(&plan), "--json"]);
        let record = ended.record();
        let search = &record["search"];
        let found = search["found"].as_f64().unwrap_or_default();
        // One session is answered 500 times a second.
        let lambda = search["scalability"]["lambda"].as_f64().unwrap_or_default();
        if ended.code != Some(0) || !(8.0..=10.0).contains(&found) || !(350.0..650.0).contains(&lambda) {
            told.push(format!("{found} {lambda} {}", ended.stderr));
            continue;
        }
        assert_eq!(record["load"]["sessions"].as_f64(), Some((found / 2.0).round()), "{}", record["load"]);
        return;
    }
    panic!("{told:#?}");
}

#[test]
fn what_was_found_before_ctrl_c_is_kept() {
    let lab = Lab::new();
    let child = lab.spawn(&["run", "null:?latency=1ms", "--find-rate", "p99 < 500ms", "--name", "stopped", "--json"]);
    // The first try takes four seconds and more; the run is listed when it starts.
    eventually("the run starts", Duration::from_secs(20), || lab.run(&["show", "stopped"]).code == Some(0));
    signal(&child, rustix::process::Signal::INT);
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let record = ended.record();
    assert_eq!(record["status"], "interrupted");
    assert_eq!(record["search"]["condition"], "p99 < 500ms", "{}", record["search"]);
    assert_eq!(lab.run(&["show", "stopped", "--json"]).record()["search"], record["search"]);
}

#[test]
fn a_condition_that_nothing_keeps_makes_no_run() {
    let lab = Lab::new();
    let plan = lab.write(
        "knee.yaml",
        "{ target: 'null:?latency=5ms', workload: ycsb:c, load: { find: { sessions: { from: 2 }, under: p50 < 1ms, for: 300ms } } }",
    );
    let ended = lab.run(&["run", text(&plan)]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stdout.contains("knee        none under p50 < 1ms"), "{}", ended.stdout);
    assert!(ended.stderr.contains("did not hold even at 2 sessions"), "{}", ended.stderr);
}

/// Clients of a later try would add rows that those of an earlier one have added.
#[test]
fn data_that_a_try_changed_are_made_anew() {
    let lab = Lab::new();
    let plan = lab.write(
        "knee.yaml",
        "{ target: 'sqlite:', workload: { ycsb: { variant: d, records: 200 } }, load: { for: 300ms, find: { sessions: { to: 4 }, \
         under: p50 < 30s, for: 300ms } } }",
    );
    let ended = lab.run(&["run", text(&plan), "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let record = ended.record();
    assert_eq!(record["search"]["found"].as_f64(), Some(4.0), "{}", record["search"]);
    let loads: Vec<_> =
        record["search"]["points"].as_array().expect("points").iter().map(|point| &point["load"]).collect();
    assert_eq!(loads, [1.0, 2.0, 4.0, 4.0], "three steps and a confirmation");
    assert!(record["verification"]["passed"].as_bool().expect("a flag"), "{}", record["verification"]);
    assert_eq!(record["accounting"]["failed"].as_u64(), Some(0), "{}", record["error_messages"]);
}

#[test]
fn a_search_that_contradicts_the_load_is_refused_with_the_remedy() {
    let lab = Lab::new();
    for (arguments, part, hint) in [
        (&["--find-rate", "p99(raed) < 10ms"][..], "raed", "read"),
        (&["--find-rate", "p99 < 10"], "", "hint"),
        (&["--then", "70%"], "`--then`", "--find-rate"),
        (&["--find-rate", "p99 < 10ms", "--then", "900%"], "`load.find.then`", "hint"),
        (&["--find-rate", "p99 < 10ms", "--rate", "5/s"], "--rate", "cannot be used with"),
    ] {
        let ended = lab.run(&[&["run", "null:", "--workload", "ycsb:c"], arguments].concat());
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(part) && ended.stderr.contains(hint), "{arguments:?}: {}", ended.stderr);
    }
}
