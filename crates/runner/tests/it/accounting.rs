//! Where operations go when things go wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use runner::{Arrivals, Limit, Load};
use store::{ErrorKind, Request};

use crate::support::{Repeat, count, for_ms, rate, run, spec};

#[test]
fn rejections_and_lost_connections_are_counted_by_kind() {
    let (outcome, _) = run(&spec("null:?fail_every=10&lose_every=33", Load::closed(count(3), Limit::Count(5000))));
    let total = outcome.phases[0].cells.total();
    assert!(total.errors[ErrorKind::Rejected.index()] > 100, "{:?}", total.errors);
    assert!(total.errors[ErrorKind::Unreachable.index()] > 50, "{:?}", total.errors);
    assert!(outcome.reconnects > 50 && !outcome.errors.is_empty());
}

#[test]
fn what_does_not_end_in_time_fails_as_timeout_and_gives_up_its_connection() {
    let mut load = Load::open(count(2), rate(100.0), Arrivals::Constant, for_ms(500));
    load.timeout = Duration::from_millis(300);
    load.drain = Duration::from_secs(1);
    let (outcome, _) = run(&spec("null:?stall_at=0ms&stall_for=60s", load));
    let accounting = outcome.phases[0].accounting;
    let timeouts = outcome.phases[0].cells.total().errors[ErrorKind::Timeout.index()];
    assert_eq!(accounting.scheduled, 50);
    assert_eq!(accounting.succeeded, 0);
    assert!(timeouts >= 2 && accounting.unfinished > 0, "{accounting:?}, {timeouts} time-outs");
}

#[test]
fn the_first_operations_take_as_long_as_they_do() {
    let (outcome, _) = run(&spec("null:?latency=2ms", Load::closed(count(4), Limit::Count(8))));
    let latency = &outcome.phases[0].cells.total().latency;
    assert_eq!(latency.count(), 8);
    assert!(latency.quantile(0.0) >= 2_000_000, "{} ns", latency.quantile(0.0));
}

#[test]
fn what_exceeds_the_backlog_is_shed() {
    let mut load = Load::open(count(1), rate(1000.0), Arrivals::Constant, for_ms(500));
    load.backlog_max = 10;
    load.drain = Duration::from_millis(100);
    let (outcome, samples) = run(&spec("null:?stall_at=0ms&stall_for=60s", load));
    let accounting = outcome.phases[0].accounting;
    assert_eq!((accounting.scheduled, accounting.shed, accounting.unfinished), (500, 489, 11));
    assert!(samples.iter().all(|sample| sample.gauges.backlog <= 10));
}

#[test]
fn a_stop_ends_a_run_within_a_second_and_keeps_what_was_measured() {
    for load in
        [Load::closed(count(4), for_ms(60_000)), Load::open(count(4), rate(1000.0), Arrivals::Poisson, for_ms(60_000))]
    {
        let spec = spec("null:?latency=1ms", load);
        let mut samples = 0;
        let mut asked = None;
        let outcome = runner::run(&spec, &mut |_| {
            samples += 1;
            spec.stop.request();
            asked.get_or_insert_with(Instant::now);
        })
        .expect("runs");
        assert!(outcome.interrupted && samples >= 1);
        assert!(outcome.phases[0].accounting.is_exact() && outcome.phases[0].accounting.succeeded > 0);
        // The first second's end asked for the stop; the run must not have gone on to its sixtieth.
        assert!(outcome.duration < Duration::from_secs(20), "{:?}", outcome.duration);
    }
}

#[test]
fn a_store_that_cannot_do_the_work_ends_the_run_with_its_reason() {
    let mut spec = spec("memory:", Load::closed(count(2), for_ms(60_000)));
    spec.instance = Arc::new(Repeat(Request::Begin));
    let error = runner::run(&spec, &mut |_| {}).map(|outcome| outcome.phases[0].accounting).expect_err("cannot run");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn every_operation_is_accounted_for(
        sessions in 1_u32..9, depth in 1_u32..4, workers in 1_u32..4, open in any::<bool>(),
        fail_every in 2_u32..50, lose_every in 20_u32..400, operations in 1_u64..2000,
    ) {
        let limit = Limit::Count(operations);
        let mut load = if open {
            Load::open(count(sessions), rate(20_000.0), Arrivals::Poisson, limit)
        } else {
            Load::closed(count(sessions), limit)
        };
        load.depth = count(depth);
        let url = format!("null:?fail_every={fail_every}&lose_every={lose_every}");
        let mut spec = spec(&url, load);
        spec.workers = Some(count(workers));
        let (outcome, _) = run(&spec);
        let accounting = outcome.phases[0].accounting;
        prop_assert_eq!(accounting.scheduled, operations);
        prop_assert_eq!(accounting.unfinished, 0);
    }
}
