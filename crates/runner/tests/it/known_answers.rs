//! Runs whose right answer is known beforehand.

use std::time::Duration;

use runner::{Arrivals, Limit, Load, Mode, Phase};

use crate::support::{count, for_ms, rate, run, spec};

/// Open load, the server stopped for a tenth of the run: latency must be told from the intended start. With arrivals at
/// constant rate and a stall of S in a run of T, the share 1 - S/T of them see nothing, and the others wait for what is left
/// of the stall, evenly from S to 0: so p95 = S/2 and p99 = 0.9·S where S = T/10.
#[test]
fn a_stall_of_a_tenth_of_the_run_is_seen_in_full_by_an_open_load() {
    let stall = 0.4;
    for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
        let load = Load::open(count(16), rate(2000.0), arrivals, for_ms(4000));
        let (outcome, _) = run(&spec("null:?stall_at=1500ms&stall_for=400ms", load));
        let total = outcome.phases[0].cells.total();
        for (name, told, exact) in [
            ("p95", total.latency.quantile(0.95), stall / 2.0),
            ("p99", total.latency.quantile(0.99), stall * 0.9),
            ("max", total.latency.max(), stall),
        ] {
            let seconds = told as f64 / 1e9;
            // Poisson arrivals spread the share that is hit: 800 ± 28 of 8,000.
            let tolerance = if arrivals == Arrivals::Constant { 0.02 } else { 0.15 };
            assert!((seconds - exact).abs() <= tolerance * exact, "{name} of {arrivals:?}: {seconds} s, not {exact} s");
        }
        let queueing = total.queueing_time.expect("an open load queues").max();
        assert!(queueing > 300_000_000, "what waited for a session is queueing time: {queueing} ns");
    }
}

#[test]
fn what_waits_for_a_stalled_server_is_the_backlog_of_each_second() {
    let load = Load::open(count(4), rate(1000.0), Arrivals::Constant, for_ms(3500));
    let (_, samples) = run(&spec("null:?stall_at=500ms&stall_for=2800ms", load));
    let backlog = |second: usize| samples[second].gauges.backlog;
    // The store's clock is a little ahead of the load's, and four are in flight; a busy host looks a little late.
    assert!((450..=700).contains(&backlog(0)), "{samples:?}");
    assert!((900..=1100).contains(&(backlog(1) - backlog(0))), "{samples:?}");
}

#[test]
fn a_stall_is_hidden_from_a_closed_load() {
    let (outcome, _) =
        run(&spec("null:?latency=1ms&stall_at=500ms&stall_for=400ms", Load::closed(count(4), for_ms(2000))));
    let total = outcome.phases[0].cells.total();
    assert!(total.latency.quantile(0.99) < 100_000_000, "only one operation a session met the stall");
    assert!(total.latency.max() > 300_000_000);
    assert!(total.queueing_time.is_none() && total.service_time.is_none());
}

#[test]
fn a_constant_rate_is_offered_exactly_whatever_the_workers() {
    for workers in [1, 2, 3] {
        let mut spec = spec("null:", Load::open(count(7), rate(1000.0), Arrivals::Constant, for_ms(500)));
        spec.workers = Some(count(workers));
        let (outcome, _) = run(&spec);
        assert_eq!(outcome.phases[0].accounting.succeeded, 500, "{workers} workers");
        assert_eq!(outcome.workers, workers);
    }
}

#[test]
fn counts_are_kept_to_the_operation() {
    let open = Mode::Open { from: rate(5000.0), to: rate(5000.0), arrivals: Arrivals::Poisson };
    for (mode, sessions) in [(Mode::Closed, 1), (Mode::Closed, 7), (open, 3)] {
        let mut load = Load::closed(count(sessions), Limit::Count(1001));
        load.phases[0].mode = mode;
        let (outcome, _) = run(&spec("null:", load));
        assert_eq!(outcome.phases[0].accounting.succeeded, 1001, "{mode:?} on {sessions} sessions");
    }
}

#[test]
fn phases_follow_one_another_and_keep_their_own_operations() {
    let phase =
        |name: &str, recorded, mode, limit| Phase { name: name.to_owned(), recorded, mode, limit, operation: None };
    let open = |from, to| Mode::Open { from: rate(from), to: rate(to), arrivals: Arrivals::Constant };
    let mut load = Load::closed(count(4), for_ms(100));
    load.phases = vec![
        phase("warm-up", false, open(1000.0, 1000.0), for_ms(200)),
        phase("ramp", true, open(1000.0, 3000.0), for_ms(300)),
        phase("counted", true, Mode::Closed, Limit::Count(321)),
        phase("last", true, open(1000.0, 1000.0), Limit::Count(50)),
    ];
    let (outcome, _) = run(&spec("null:", load));
    let succeeded: Vec<_> = outcome.phases.iter().map(|phase| phase.accounting.succeeded).collect();
    assert_eq!(succeeded, [200, 600, 321, 50]);
    assert!(outcome.phases.windows(2).all(|pair| pair[0].start < pair[1].start));
    assert_eq!(outcome.phases[1].start, Duration::from_millis(200));
}

#[test]
fn thinking_time_passes_between_an_answer_and_the_next_request() {
    let mut load = Load::closed(count(5), for_ms(1000));
    load.think = Duration::from_millis(100);
    let (outcome, _) = run(&spec("null:", load));
    // Each session starts at 0, 100 … 900 ms: ten times, or fewer where the host was busy.
    let succeeded = outcome.phases[0].accounting.succeeded;
    assert!((25..=50).contains(&succeeded), "{succeeded}");
}

#[test]
fn a_pipelined_session_keeps_its_depth_in_flight() {
    let mut load = Load::closed(count(1), for_ms(600));
    load.depth = count(8);
    let (outcome, _) = run(&spec("null:?latency=20ms", load.clone()));
    load.depth = count(1);
    let (alone, _) = run(&spec("null:?latency=20ms", load));
    let ratio = outcome.phases[0].accounting.succeeded as f64 / alone.phases[0].accounting.succeeded as f64;
    assert!((5.0..=11.0).contains(&ratio), "eight in flight do eight times as much: {ratio}");
}
