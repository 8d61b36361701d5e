//! Whether the load ran in a steady state: of a level that changes, or of a run with holes, one figure does not tell all.
//!
//! In closed phases the level is the operations of each second, in open ones, where the rate is given, their median latency.
//! That it changes is tested by [`stats::stationarity`]; how much it matters is how far the medians of its thirds are apart.

use runner::{Arrivals, Mode, Phase};
use stats::{STATIONARITY_SAMPLES_MIN, Stationarity, median, stationarity};

use super::load::keeps_up;
use super::{Evidence, Found};
use crate::record::{CheckOutcome, PhaseRecord};
use crate::seconds::{PhaseSeconds, Point};

/// Percent by which the thirds of a phase differ in throughput: 5 % is what comparisons of runs are about; at 20 % it
/// depends on the length of the run which figure comes out.
pub(super) const THROUGHPUT_LIMITS: (f64, f64) = (5.0, 20.0);
/// The same in median latency, which moves more with the weather of a host: it is the reciprocal of an idle resource.
const LATENCY_LIMITS: (f64, f64) = (10.0, 50.0);

/// A second in which less than this share of the median ended is a hole.
const HOLE_SHARE: f64 = 0.5;
/// Seconds of Poisson arrivals are empty by chance; a hole is also so many standard deviations below the median.
const HOLE_DEVIATIONS: f64 = 5.0;
/// Below so many operations a second the border of a second decides what is in it.
const HOLE_OPERATIONS_MIN: f64 = 4.0;
/// Holes want something around them.
const HOLE_POINTS_MIN: usize = 5;
/// Stretches of holes that are named.
const HOLES_NAMED_MAX: usize = 4;

/// What is found about one phase.
struct PhaseState {
    outcome: CheckOutcome,
    spread_percent: Option<f64>,
    limits: (f64, f64),
    detail: String,
}

/// The phase that is worst off.
pub(super) fn state(evidence: &Evidence<'_>) -> Found {
    let phases = evidence.load.phases.iter().zip(evidence.phases).zip(evidence.seconds.phases());
    let states = phases
        .filter(|((phase, _), _)| phase.recorded && is_constant(phase))
        .filter_map(|((phase, record), seconds)| of_phase(evidence, phase, record, seconds));
    let severity = |state: &PhaseState| {
        let rank = match state.outcome {
            CheckOutcome::Failed => 2,
            CheckOutcome::Doubtful => 1,
            CheckOutcome::Passed | CheckOutcome::NotApplicable => 0,
        };
        (rank, (state.spread_percent.unwrap_or(-1.0) * 1e3) as i64)
    };
    match states.max_by_key(severity) {
        None => Found::nothing("no recorded phase with a constant load is long enough: it takes ten whole seconds"),
        Some(state) => {
            let found = state
                .spread_percent
                .map_or_else(|| Found::nothing(&state.detail), |spread| Found::value(spread, state.detail.clone()));
            found.with_outcome(state.outcome).with_limits(state.limits)
        }
    }
}

/// Whether the load is the same from a phase's start to its end.
fn is_constant(phase: &Phase) -> bool {
    match phase.mode {
        Mode::Closed => true,
        Mode::Open { from, to, .. } => from == to,
    }
}

/// None where the phase is too short to say anything.
fn of_phase(
    evidence: &Evidence<'_>,
    phase: &Phase,
    record: &PhaseRecord,
    seconds: &PhaseSeconds,
) -> Option<PhaseState> {
    let points = seconds.whole(record.start_seconds, end_of(evidence, phase, record));
    let is_open = phase.mode != Mode::Closed;
    let values: Vec<f64> = if is_open {
        points.iter().filter(|(_, point)| point.succeeded > 0).map(|(_, point)| point.latency_us_p50).collect()
    } else {
        points.iter().map(|(_, point)| point.succeeded as f64).collect()
    };
    let holes = holes(phase, &points, seconds.width());
    let test = stationarity(&values);
    if test.is_none() && holes.is_empty() {
        return None;
    }
    let limits = if is_open { LATENCY_LIMITS } else { THROUGHPUT_LIMITS };
    let spread_percent = test.map(|test| test.spread * 100.0);
    let is_beyond = |limit: f64| test.is_some_and(|test| test.is_rejected() && test.spread * 100.0 > limit);
    // What differs so much may be chance, but is no level either.
    let is_unsettled = spread_percent.is_some_and(|spread| spread > limits.1);
    // What the store did is a finding about the store; it does not spoil the run that found it.
    let is_explained = evidence.recovery.outages > 0 || !keeps_up(evidence, phase, record, seconds);
    let outcome = if is_beyond(limits.1) && !is_explained {
        CheckOutcome::Failed
    } else if is_beyond(limits.0) || is_unsettled || !holes.is_empty() {
        CheckOutcome::Doubtful
    } else {
        CheckOutcome::Passed
    };
    let mut parts = Vec::new();
    parts.extend(test.map(|test| level(is_open, &test, seconds.width())));
    parts.extend(told(&holes, seconds.width()));
    let detail = format!("phase `{}`: {}", phase.name, parts.join("; "));
    Some(PhaseState { outcome, spread_percent, limits, detail })
}

/// When a phase ended: as planned, where that is known and it came so far.
fn end_of(evidence: &Evidence<'_>, phase: &Phase, record: &PhaseRecord) -> f64 {
    let took = record.duration_seconds;
    let planned = phase.duration().map_or(took, |duration| duration.as_secs_f64());
    // The last completion of a phase that was stopped is the best that is known of its end.
    record.start_seconds + if evidence.interrupted { planned.min(took) } else { planned }
}

/// The level in words.
fn level(is_open: bool, test: &Stationarity, width: u64) -> String {
    let what = if is_open { "median latency" } else { "throughput" };
    let [first, middle, last] = test.thirds;
    let thirds = if is_open {
        format!("{first:.0}, {middle:.0}, {last:.0} µs")
    } else {
        let per_second = |operations: f64| operations / width as f64;
        format!("{:.0}, {:.0}, {:.0}/s", per_second(first), per_second(middle), per_second(last))
    };
    let change = if test.is_rejected() { "changes" } else { "does not change beyond chance" };
    format!(
        "{what} {change} (thirds of the phase: {thirds}; KPSS {:.2}, critical {:.2})",
        test.statistic, test.critical_value
    )
}

/// The seconds in which far less ended than in the others: from the first to the last of each stretch.
fn holes(phase: &Phase, points: &[(u64, Point)], width: u64) -> Vec<(u64, u64)> {
    let counts: Vec<f64> = points.iter().map(|(_, point)| point.ended as f64).collect();
    let usual = median(&counts);
    if counts.len() < HOLE_POINTS_MIN || usual < HOLE_OPERATIONS_MIN * width as f64 {
        return Vec::new();
    }
    let is_even = matches!(phase.mode, Mode::Open { arrivals: Arrivals::Constant, .. });
    let by_chance = if is_even { f64::INFINITY } else { usual - HOLE_DEVIATIONS * usual.sqrt() };
    let mut stretches: Vec<(u64, u64)> = Vec::new();
    for (second, point) in points {
        if point.ended as f64 >= usual * HOLE_SHARE || point.ended as f64 > by_chance {
            continue;
        }
        let last = second + width - 1;
        match stretches.last_mut() {
            Some(stretch) if stretch.1 + 1 == *second => stretch.1 = last,
            _ => stretches.push((*second, last)),
        }
    }
    stretches
}

/// The holes in words; seconds are counted from the run's start, the first is 0.
fn told(holes: &[(u64, u64)], width: u64) -> Option<String> {
    if holes.is_empty() {
        return None;
    }
    let name =
        |(first, last): &(u64, u64)| if first == last { format!("{first}") } else { format!("{first} to {last}") };
    let mut names: Vec<_> = holes.iter().take(HOLES_NAMED_MAX).map(name).collect();
    if holes.len() > HOLES_NAMED_MAX {
        names.push(format!("{} more", holes.len() - HOLES_NAMED_MAX));
    }
    let seconds = if holes.len() == 1 && holes[0].0 == holes[0].1 && width == 1 { "second" } else { "seconds" };
    Some(format!("in {seconds} {} less than half of the usual number of operations ended", names.join(", ")))
}

/// So long a phase must be to be tested.
const _: () = assert!(STATIONARITY_SAMPLES_MIN == 10, "the text says ten seconds");
