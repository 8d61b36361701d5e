//! Every check at its limits, and what the verdict makes of them.

use std::num::NonZeroU32;
use std::time::Duration;

use runner::{Arrivals, Limit, Rate};
use telemetry::{ByResource, CpuSeconds, HostSummary, PressureShare, Stops};

use super::*;
use crate::conditions::{Waits, WorkerTimes};
use crate::seconds::Point;

/// Seconds of the only phase, which starts with the run.
const SECONDS: u64 = 30;
const RATE: u64 = 1_000;

/// A run as it might have been; what is not said otherwise is as it should be.
struct Run {
    load: Load,
    phase: PhaseRecord,
    /// Operations that ended in each second, and their median latency in microseconds.
    seconds: Vec<(u64, f64)>,
    generator: GeneratorRecord,
    conditions: Conditions,
    recovery: RecoveryRecord,
    placement: Placement,
    latency_us_p50: f64,
    measures_harness: bool,
    interrupted: bool,
    accepts_invalid: bool,
}

impl Run {
    fn open() -> Self {
        Self::of(|limit| {
            let rate = Rate::per_second(RATE as f64).expect("positive");
            Load::open(NonZeroU32::MIN, rate, Arrivals::Constant, limit)
        })
    }

    fn closed() -> Self {
        Self::of(|limit| Load::closed(NonZeroU32::MIN, limit))
    }

    fn of(load: impl FnOnce(Limit) -> Load) -> Self {
        let load = load(Limit::Duration(Duration::from_secs(SECONDS)));
        let mut phase = PhaseRecord::expected(&load.phases[0]);
        let operations = RATE * SECONDS;
        phase.duration_seconds = SECONDS as f64;
        phase.accounting = AccountingRecord { scheduled: operations, succeeded: operations, ..Default::default() };
        let mut generator = GeneratorRecord { cpu_share: 0.3, harness_floor_us: 0.5, ..GeneratorRecord::default() };
        generator.lateness_us.p99 = 60.0;
        generator.lateness_us.max = 900.0;
        let calm = pressure(0.5);
        let host = HostSummary {
            elapsed_seconds: SECONDS as f64,
            cores_online: Some(2),
            // Of 60 s: the generator's 18, the server's 12 and others' 1.2.
            cpu_percent_by_mode: Some(CpuSeconds { user: 40.0, system: 12.0, ..CpuSeconds::default() }),
            pressure: ByResource { cpu: Some(calm), io: Some(calm), memory: Some(calm) },
            throttled_seconds: Some(0.0),
            ..HostSummary::default()
        };
        let waits = Waits {
            seconds: SECONDS as f64,
            generator_cpu_seconds: 18.0,
            workers: vec![WorkerTimes { cpu_seconds: 9.0, run_queue_seconds: 3.0 }; 2],
        };
        Self {
            load,
            phase,
            seconds: (0..SECONDS).map(|second| (RATE + second * 7 % 5, 200.0 + (second * 3 % 7) as f64)).collect(),
            generator,
            conditions: Conditions {
                host: Some(host),
                generator_cpu_seconds: 18.0,
                server_cpu_seconds: Some(12.0),
                waits: Some(waits),
                stops: Some(Stops { watched_seconds: SECONDS as f64, ..Stops::default() }),
            },
            recovery: RecoveryRecord::default(),
            placement: Placement::Beside,
            latency_us_p50: 200.0,
            measures_harness: false,
            interrupted: false,
            accepts_invalid: false,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    fn host(&mut self) -> &mut HostSummary {
        self.conditions.host.as_mut().expect("a run as it should be has it")
    }

    fn modes(&mut self) -> &mut CpuSeconds {
        self.host().cpu_percent_by_mode.as_mut().expect("a run as it should be has them")
    }

    fn verdict(&self) -> Verdict {
        let mut seconds = RunSeconds::new(1);
        for (second, (ended, latency_us_p50)) in (0..).zip(&self.seconds) {
            seconds.add(0, second, &Point { succeeded: *ended, ended: *ended, latency_us_p50: *latency_us_p50 });
        }
        let mut total = OperationRecord { succeeded: self.phase.accounting.succeeded, ..OperationRecord::default() };
        total.latency_us.p50 = self.latency_us_p50;
        judge(&Evidence {
            load: &self.load,
            phases: std::slice::from_ref(&self.phase),
            seconds: &seconds,
            accounting: self.phase.accounting,
            total: &total,
            generator: &self.generator,
            conditions: &self.conditions,
            recovery: self.recovery,
            placement: self.placement,
            measures_harness: self.measures_harness,
            interrupted: self.interrupted,
            accepts_invalid: self.accepts_invalid,
        })
    }

    /// What comes of a check, and what is said of it.
    fn check(&self, name: &str) -> (CheckOutcome, String) {
        let verdict = self.verdict();
        let check = verdict.checks.iter().find(|check| check.name == name).expect("a check of that name");
        (check.outcome, check.detail.clone())
    }
}

const fn pressure(some_percent: f64) -> PressureShare {
    PressureShare { some_percent, full_percent: None }
}

#[test]
fn a_run_as_it_should_be_is_valid_without_a_word() {
    for (name, run) in [
        ("open", Run::open()),
        (
            "remote",
            Run::open().with(|run| {
                run.placement = Placement::Remote;
                run.modes().user = 20.0;
            }),
        ),
    ] {
        let verdict = run.verdict();
        assert!(verdict.valid && !verdict.accepted, "{name}: {verdict:?}");
        assert_eq!((verdict.reasons.len(), &verdict.warnings[..]), (0, &[][..]), "{name}");
    }
    let closed = Run::closed().verdict();
    assert!(closed.valid, "{closed:?}");
    assert_eq!(closed.warnings, ["closed load: blind to stalls"]);
}

#[test]
fn nothing_known_is_nothing_held_against_a_run() {
    let verdict = Run::open().with(|run| run.conditions = Conditions::default()).verdict();
    assert!(verdict.valid && verdict.warnings.is_empty(), "{verdict:?}");
    let silent = verdict.checks.iter().filter(|check| check.outcome == CheckOutcome::NotApplicable);
    assert!(silent.clone().all(|check| check.value.is_none() && !check.detail.is_empty()), "{verdict:?}");
    assert_eq!(silent.count(), 8);
}

#[test]
fn every_check_has_a_name_of_its_own_and_a_remedy() {
    let names: std::collections::BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(names.len(), CHECKS.len());
    for check in CHECKS {
        assert!(!check.remedy.is_empty() && check.doubtful_limit.is_some(), "{}", check.name);
        assert!(check.limit.is_none_or(|limit| Some(limit) > check.doubtful_limit), "{}", check.name);
    }
}

/// A check, what a figure does to a run, and figures that are just right, doubtful and too much.
type Limits = (&'static str, fn(&mut Run, f64), [f64; 2], [f64; 2], Option<f64>);

#[test]
fn figures_are_judged_by_their_limits() {
    use CheckOutcome::{Doubtful, Failed, Passed};
    let table: &[Limits] = &[
        ("generator_cpu", |run, share| run.generator.cpu_share = share, [0.0, 0.80], [0.801, 0.95], Some(0.951)),
        (
            "generator_starved",
            // The server had 12 s and the other worker 9.
            |run, seconds| run.conditions.waits.as_mut().expect("there").workers[1].run_queue_seconds = 21.0 + seconds,
            [0.0, 1.49],
            [1.51, 5.99],
            Some(6.01),
        ),
        (
            "generator_stopped",
            |run, seconds| {
                run.conditions.stops =
                    Some(Stops { count: 1, seconds, watched_seconds: 30.0, longest_seconds: seconds });
            },
            [0.0, 0.029],
            [0.031, 0.299],
            Some(0.301),
        ),
        (
            "send_lateness",
            |run, late| run.generator.lateness_us.p99 = late,
            [0.0, 1_000.0],
            [1_001.0, 1e4],
            Some(10_001.0),
        ),
        (
            "offered",
            |run, missing| {
                let operations = RATE * SECONDS - missing as u64;
                run.phase.accounting =
                    AccountingRecord { scheduled: operations, succeeded: operations, ..Default::default() };
            },
            [0.0, 30.0],
            [31.0, 300.0],
            Some(301.0),
        ),
        (
            "delivered",
            |run, missing| {
                run.phase.accounting.succeeded -= missing as u64;
                run.phase.accounting.shed = missing as u64;
            },
            [0.0, 300.0],
            [301.0, 15_000.0],
            Some(15_001.0),
        ),
        ("harness_floor", |run, floor| run.generator.harness_floor_us = floor, [0.0, 20.0], [20.1, 100.0], Some(100.1)),
        (
            "throttled",
            |run, seconds| run.host().throttled_seconds = Some(seconds),
            [0.0, 0.03],
            [0.031, 0.3],
            Some(0.31),
        ),
        ("host_steal", |run, percent| run.modes().steal = percent, [0.0, 1.0], [1.1, 10.0], Some(10.1)),
        // Half of the processors' time is ours.
        ("host_contention", |run, percent| run.modes().user = 38.0 + percent, [0.0, 9.9], [10.1, 39.9], Some(40.1)),
        (
            "pressure_cpu",
            |run, percent| {
                (run.placement, run.host().pressure.cpu) = (Placement::Remote, Some(pressure(percent)));
            },
            [0.0, 20.0],
            [20.1, 100.0],
            None,
        ),
        (
            "pressure_io",
            |run, percent| {
                (run.placement, run.host().pressure.io) = (Placement::Remote, Some(pressure(percent)));
            },
            [0.0, 20.0],
            [20.1, 100.0],
            None,
        ),
        (
            "pressure_memory",
            |run, percent| run.host().pressure.memory = Some(pressure(percent)),
            [0.0, 1.0],
            [1.1, 20.0],
            Some(20.1),
        ),
    ];
    for (name, change, passed, doubtful, failed) in table {
        let figures =
            passed.map(|figure| (figure, Passed)).into_iter().chain(doubtful.map(|figure| (figure, Doubtful)));
        for (figure, expect) in figures.chain(failed.map(|figure| (figure, Failed))) {
            let run = Run::open().with(|run| change(run, figure));
            let (outcome, detail) = run.check(name);
            assert_eq!(outcome, expect, "{name} {figure}: {detail}");
            let verdict = run.verdict();
            let told = |texts: &[String]| texts.iter().any(|text| text.starts_with(&detail));
            assert_eq!(told(&verdict.reasons), expect == Failed, "{name} {figure}: {verdict:?}");
            assert_eq!(told(&verdict.warnings), expect == Doubtful, "{name} {figure}: {verdict:?}");
            assert!(verdict.valid || !verdict.reasons.is_empty(), "{name} {figure}: {verdict:?}");
        }
    }
    // `steady_state` has figures of its own kind.
    assert_eq!(table.len(), CHECKS.len() - 1);
}

#[test]
fn what_a_check_says_nothing_about() {
    for (name, run) in [
        (
            "generator_cpu",
            Run::open().with(|run| (run.placement, run.generator.cpu_share) = (Placement::Embedded, 1.0)),
        ),
        ("send_lateness", Run::closed().with(|run| run.generator.lateness_us.p99 = 1e6)),
        ("send_lateness", Run::open().with(|run| run.generator.lateness_us = crate::record::Lateness::default())),
        ("offered", Run::closed()),
        ("offered", Run::open().with(|run| (run.interrupted, run.phase.accounting.scheduled) = (true, 30))),
        ("delivered", Run::open().with(|run| (run.interrupted, run.phase.accounting.unfinished) = (true, 9_000))),
        (
            "harness_floor",
            Run::closed().with(|run| {
                (run.placement, run.measures_harness, run.latency_us_p50) = (Placement::Embedded, true, 0.5);
            }),
        ),
        ("host_contention", Run::open().with(|run| run.conditions.server_cpu_seconds = None)),
        ("generator_starved", Run::open().with(|run| run.conditions.server_cpu_seconds = None)),
        ("pressure_cpu", Run::open().with(|run| run.host().pressure.cpu = Some(pressure(100.0)))),
        ("pressure_io", Run::open().with(|run| run.host().pressure.io = Some(pressure(100.0)))),
    ] {
        let (outcome, detail) = run.check(name);
        assert_eq!(outcome, CheckOutcome::NotApplicable, "{name}: {detail}");
    }
}

#[test]
fn a_worker_that_waits_for_an_unknown_server_is_doubtful_where_it_waits_for_long() {
    let run = Run::open().with(|run| {
        run.conditions.server_cpu_seconds = None;
        run.conditions.waits.as_mut().expect("there").workers[0].run_queue_seconds = 20.0;
    });
    assert_eq!(run.check("generator_starved").0, CheckOutcome::Doubtful);
    assert!(run.verdict().valid, "{:?}", run.verdict());
}

#[test]
fn chance_may_take_from_poisson_arrivals_what_it_likes() {
    let run = |missing: u64| {
        Run::of(|limit| {
            let rate = Rate::per_second(RATE as f64).expect("positive");
            Load::open(NonZeroU32::MIN, rate, Arrivals::Poisson, limit)
        })
        .with(|run| run.phase.accounting.scheduled -= missing)
    };
    // Four standard deviations of 30,000 arrivals are 693 of them.
    for (missing, expect) in [(0, CheckOutcome::Passed), (690, CheckOutcome::Passed), (1_100, CheckOutcome::Failed)] {
        assert_eq!(run(missing).check("offered").0, expect, "{missing}");
    }
}

#[test]
fn a_level_that_changes_is_told_with_how_much() {
    let drifting = |by: f64| {
        move |run: &mut Run| {
            for (second, (ended, latency)) in (0_u32..).zip(&mut run.seconds) {
                let factor = 1.0 + by * f64::from(second) / SECONDS as f64;
                *ended = (*ended as f64 * factor) as u64;
                *latency *= factor;
            }
        }
    };
    // Thirds of a straight line are two thirds of it apart.
    for (run, by, expect) in [
        (Run::closed(), 0.0, CheckOutcome::Passed),
        (Run::closed(), 0.05, CheckOutcome::Passed),
        (Run::closed(), 0.12, CheckOutcome::Doubtful),
        (Run::closed(), -0.5, CheckOutcome::Failed),
        (Run::open(), 0.05, CheckOutcome::Passed),
        (Run::open(), 0.3, CheckOutcome::Doubtful),
        (Run::open(), 3.0, CheckOutcome::Failed),
    ] {
        let is_open = run.load.phases[0].mode != Mode::Closed;
        // The rate of an open load is given: only its latency can drift.
        let run = run.with(drifting(by)).with(|run| {
            if is_open {
                run.seconds.iter_mut().for_each(|(ended, _)| *ended = RATE);
            }
        });
        let (outcome, detail) = run.check("steady_state");
        assert_eq!(outcome, expect, "{is_open} {by}: {detail}");
        assert!(detail.contains("phase `steady`") && detail.contains("KPSS"), "{detail}");
    }
    let explained = Run::closed().with(drifting(-0.5)).with(|run| run.recovery.outages = 1);
    assert_eq!(explained.check("steady_state").0, CheckOutcome::Doubtful, "an outage is the store's");
}

#[test]
fn a_store_that_stalls_is_a_finding_and_not_a_fault() {
    for run in [Run::closed(), Run::open()] {
        let run = run.with(|run| run.seconds[12..14].fill((0, 0.0)));
        let verdict = run.verdict();
        assert!(verdict.valid, "{verdict:?}");
        let (outcome, detail) = run.check("steady_state");
        assert_eq!(outcome, CheckOutcome::Doubtful, "{detail}");
        assert!(detail.contains("in seconds 12 to 13 less than half"), "{detail}");
    }
}

#[test]
fn a_store_that_does_not_keep_up_is_a_finding_and_not_a_fault() {
    // It does two thirds of what is offered, and the rest after its time.
    let run = Run::open().with(|run| {
        let last = SECONDS + SECONDS / 2;
        run.seconds = (0..last).map(|second| (RATE * 2 / 3, 1e5 * (second + 1) as f64)).collect();
        run.phase.duration_seconds = last as f64;
    });
    let verdict = run.verdict();
    assert!(verdict.valid, "{verdict:?}");
    let (outcome, detail) = run.check("delivered");
    assert_eq!(outcome, CheckOutcome::Doubtful, "{detail}");
    assert!(detail.contains("33.4 %"), "{detail}");
    assert_eq!(run.check("steady_state").0, CheckOutcome::Doubtful);
}

#[test]
fn what_differs_much_is_doubtful_even_where_it_may_be_chance() {
    let run = Run::closed().with(|run| {
        run.load.phases[0].limit = Limit::Duration(Duration::from_secs(10));
        run.seconds = [(1_000, 200.0), (400, 200.0)].repeat(5);
    });
    let (outcome, detail) = run.check("steady_state");
    assert_eq!(outcome, CheckOutcome::Doubtful, "{detail}");
    assert!(detail.contains("does not change beyond chance"), "{detail}");
}

#[test]
fn short_phases_and_ramps_have_no_level() {
    let short = Run::closed().with(|run| run.load.phases[0].limit = Limit::Duration(Duration::from_secs(9)));
    assert_eq!(short.check("steady_state").0, CheckOutcome::NotApplicable);
    let ramp = Run::open().with(|run| {
        let rate = |value| Rate::per_second(value).expect("positive");
        run.load.phases[0].mode = Mode::Open { from: rate(500.0), to: rate(1500.0), arrivals: Arrivals::Constant };
        run.seconds.iter_mut().zip(0_u32..).for_each(|((_, latency), second)| *latency += f64::from(second) * 50.0);
    });
    assert_eq!(ramp.check("steady_state").0, CheckOutcome::NotApplicable);
    assert!(ramp.verdict().valid, "{:?}", ramp.verdict());
}

#[test]
fn what_is_accepted_is_what_checks_say_and_nothing_else() {
    let late = |run: &mut Run| run.generator.lateness_us.p99 = 2e4;
    let accepting = |run: Run| run.with(|run| run.accepts_invalid = true);
    for (name, run, accepted) in [
        ("late", accepting(Run::open().with(late)), true),
        ("late, not accepted", Run::open().with(late), false),
        ("valid", accepting(Run::open()), false),
        (
            "nothing",
            accepting(Run::open().with(|run| {
                (run.phase.accounting.succeeded, run.phase.accounting.failed) = (0, RATE * SECONDS);
            })),
            false,
        ),
        ("inexact", accepting(Run::open().with(|run| run.phase.accounting.succeeded -= 1)), false),
    ] {
        let verdict = run.verdict();
        assert_eq!(verdict.accepted, accepted, "{name}: {verdict:?}");
        assert_eq!(verdict.valid, name == "valid", "{name}: {verdict:?}");
    }
}

#[test]
fn a_store_that_was_gone_is_told_with_its_time() {
    let check = |recovery, expect: Option<&str>| assert_eq!(gone(&recovery).as_deref(), expect);
    check(RecoveryRecord { session_seconds_max: 1.0, ..RecoveryRecord::default() }, None);
    let once = RecoveryRecord {
        outages: 1,
        gone_seconds: 2.5,
        longest_seconds: 2.5,
        longest_start_seconds: Some(4.0),
        is_gone: false,
        session_seconds_max: 3.0,
    };
    check(once, Some("nobody answered for 2.500 s from 4.0 s on"));
    check(
        RecoveryRecord { outages: 2, gone_seconds: 3.0, is_gone: true, ..once },
        Some(
            "nobody answered for 2.500 s from 4.0 s on (2 times, 3.000 s in all); the store had not come back when \
             the run ended",
        ),
    );
}
