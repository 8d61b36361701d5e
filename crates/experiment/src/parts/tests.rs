//! Laws: dividing loses and doubles nothing, and what is put together is what one host would have counted.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;
use runner::{Accounting, Arrivals, Cell, Io, Limit, Load, OperationCells, PhaseOutcome, Rate, Recovery, SecondGauges};
use runner::{Outcome, Sample, Schedule};
use stats::Histogram;

use super::*;

const OPERATIONS: u16 = 3;
const PHASES: u16 = 2;

fn count(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).expect("not zero")
}

#[test]
fn impossible_divisions_are_refused() {
    for (sessions, parts, hint) in [(2, 3, "at least as many"), (5_000, 1_001, "at most 1000")] {
        let error = divide(count(sessions), count(parts)).expect_err("refused");
        assert!(error.hint().is_some_and(|said| said.contains(hint)), "{error}");
    }
}

proptest! {
    #[test]
    fn every_session_is_in_one_part(sessions in 1_u32..5_000, parts in 1_u32..64) {
        prop_assume!(parts <= sessions);
        let divided = divide(count(sessions), count(parts)).expect("possible");
        let mut next = 0;
        for part in &divided {
            prop_assert_eq!(part.first, next);
            next += part.sessions.get();
        }
        prop_assert_eq!(next, sessions);
        let sizes = || divided.iter().map(|part| part.sessions.get());
        prop_assert!(sizes().max().zip(sizes().min()).is_some_and(|(most, least)| most - least <= 1));
    }

    #[test]
    fn parts_have_the_arrivals_of_the_whole(sessions in 1_u32..40, parts in 1_u32..8, rate in 1_u32..5_000, millis in 1_u64..900) {
        prop_assume!(parts <= sessions);
        let limit = Limit::Duration(Duration::from_millis(millis));
        let rate = Rate::per_second(rate.into()).expect("possible");
        let load = Load::open(count(sessions), rate, Arrivals::Constant, limit);
        let of = |first: u32, ours: u32| Schedule::new(&load.phases[0], 7, first, ours, sessions).expect("open");
        let whole: Vec<_> = of(0, sessions).collect();
        let divided = divide(count(sessions), count(parts)).expect("possible");
        let mut together: Vec<_> = divided.iter().flat_map(|part| of(part.first, part.sessions.get())).collect();
        together.sort_unstable();
        prop_assert_eq!(together, whole);
    }
}

proptest! {
    // Each case holds a hundred histograms of 270 kB.
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever was seen by whom in which second: told through the store and put together, it is the sum, bit for bit.
    #[test]
    fn merged_equals_the_sum(
        seen in prop::collection::vec((0_usize..4, 0_u64..6, 0..PHASES, 0..OPERATIONS, 1_u64..10_000_000_000, any::<bool>()), 0..100)
    ) {
        let mut whole: Vec<_> = (0..6).map(sample).collect();
        let mut parts: Vec<Vec<_>> = (0..4).map(|_| (0..6).map(sample).collect()).collect();
        let mut outcome = outcome();
        let mut outcomes: Vec<_> = (0..4).map(|_| self::outcome()).collect();
        for (part, second, phase, operation, latency, open) in seen {
            let cell = cell(latency, open);
            for sample in [&mut whole[second as usize], &mut parts[part][second as usize]] {
                sample.phases[usize::from(phase)].1.add(operation, &cell);
            }
            for outcome in [&mut outcome, &mut outcomes[part]] {
                add(outcome, phase, operation, &cell);
            }
        }
        let mut merger = Merger::new(4);
        let mut merged = Vec::new();
        for second in 0..6 {
            for (part, samples) in parts.iter().enumerate() {
                prop_assert!(merger.whole().is_empty(), "a part has not told the second");
                let told = encode_sample(&samples[second]).expect("told");
                merger.take(part, &decode_sample(&told).expect("read"));
            }
            merged.extend(merger.whole());
        }
        prop_assert_eq!(merged.len(), whole.len());
        for (merged, whole) in merged.iter().zip(&whole) {
            prop_assert_eq!(merged.second, whole.second);
            for ((_, merged), (_, whole)) in merged.phases.iter().zip(&whole.phases) {
                prop_assert!(merged.iter().eq(whole.iter()), "{merged:?} is not {whole:?}");
            }
        }
        let told = |outcome: &Outcome| decode_outcome(&encode_outcome(outcome).expect("told")).expect("read");
        let mut together = told(&outcomes[0]);
        outcomes[1..].iter().for_each(|part| together.merge(told(part)));
        for (mine, theirs) in together.phases.iter().zip(&outcome.phases) {
            prop_assert_eq!(&mine.cells.total(), &theirs.cells.total());
            prop_assert_eq!(mine.accounting, theirs.accounting);
            prop_assert!(mine.cells.iter().eq(theirs.cells.iter()));
        }
        prop_assert_eq!(together.lateness, outcome.lateness);
        let settled = outcome_of_samples(usize::from(PHASES), whole);
        for (settled, counted) in settled.phases.iter().zip(&outcome.phases) {
            prop_assert_eq!(settled.cells.total(), counted.cells.total());
            prop_assert!(settled.accounting.is_exact());
        }
    }
}

#[test]
fn a_part_that_is_over_is_not_waited_for() {
    let mut merger = Merger::new(2);
    merger.take(0, &sample(0));
    merger.take(0, &sample(1));
    merger.take(1, &sample(0));
    let seconds = |merger: &mut Merger| merger.whole().iter().map(|sample| sample.second).collect::<Vec<_>>();
    assert_eq!(seconds(&mut merger), [0]);
    merger.end(1);
    assert_eq!(seconds(&mut merger), [1]);
    merger.take(0, &sample(2));
    merger.end(0);
    assert_eq!(seconds(&mut merger), [2]);
    assert_eq!(seconds(&mut merger), [0; 0]);
}

#[test]
fn what_is_no_part_is_refused() {
    for bytes in [&b"{"[..], b"{}", b"[]"] {
        assert!(decode_sample(bytes).is_err() && decode_outcome(bytes).is_err());
    }
}

#[test]
fn a_lost_part_makes_a_run_invalid() {
    let part = |state, cpu_percent_max| PartRecord {
        part: 1,
        first_session: 4,
        sessions: 4,
        agent: "host/1".to_owned(),
        state,
        reason: Some("it fell silent".to_owned()),
        clock_offset_us: -20,
        clock_bound_us: 150_000,
        cpu_percent_max,
        seconds: 3,
    };
    for (state, cpu, valid, reason) in [
        (PartState::Ended, Some(40.0), true, None),
        (PartState::Lost, None, false, Some("was lost: it fell silent")),
        (PartState::Failed, None, false, Some("failed: it fell silent")),
        (PartState::Ended, Some(99.0), false, Some("used 99 % of its processors")),
    ] {
        let mut verdict = Verdict { valid: true, ..Verdict::default() };
        judge(&[part(state, cpu)], &mut verdict);
        assert_eq!(verdict.valid, valid, "{state:?}");
        assert_eq!(verdict.reasons.len(), usize::from(reason.is_some()));
        assert!(reason.is_none_or(|reason| verdict.reasons[0].contains(reason)), "{:?}", verdict.reasons);
        assert_eq!(verdict.warnings.len(), 1, "the bound is large");
    }
}

fn sample(second: u64) -> Sample {
    let phases = (0..PHASES).map(|phase| (phase, OperationCells::new(OPERATIONS.into()))).collect();
    Sample { second, phases, gauges: SecondGauges::default() }
}

fn cell(latency: u64, open: bool) -> Cell {
    let mut cell = Cell::default();
    if latency.is_multiple_of(7) {
        cell.failed = 1;
        cell.errors[(latency % 5) as usize] = 1;
        return cell;
    }
    cell.succeeded = 1;
    cell.latency.record(latency);
    if open {
        cell.service_time.get_or_insert_default().record(latency / 2 + 1);
        cell.queueing_time.get_or_insert_default().record(latency / 3 + 1);
    }
    cell
}

fn outcome() -> Outcome {
    let phase = || PhaseOutcome {
        cells: OperationCells::new(OPERATIONS.into()),
        accounting: Accounting::default(),
        start: Duration::ZERO,
        duration: Duration::ZERO,
    };
    Outcome {
        phases: (0..PHASES).map(|_| phase()).collect(),
        lateness: Histogram::new(),
        errors: Vec::new(),
        reconnects: 0,
        connects_failed: 0,
        recovery: Recovery::default(),
        workers: 1,
        io: Io::Epoll,
        interrupted: false,
        duration: Duration::ZERO,
    }
}

fn add(outcome: &mut Outcome, phase: u16, operation: u16, cell: &Cell) {
    outcome.lateness.record(cell.latency.count() + 1);
    let phase = &mut outcome.phases[usize::from(phase)];
    phase.cells.add(operation, cell);
    phase.accounting.add(&Accounting {
        scheduled: 1,
        succeeded: cell.succeeded,
        failed: cell.failed,
        shed: 0,
        unfinished: 0,
    });
}
