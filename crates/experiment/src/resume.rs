//! A run that goes on where another of the same experiment was cut off.
//!
//! The checkpoint is the seconds that were kept: they become the first seconds of the run that goes on, and what they leave of
//! the load is driven. What had been sent in the second that was cut off is not among them and is sent once more; a phase that
//! counts operations goes on behind those that had ended.

use std::time::Duration;

use runner::{
    Cell, Ended, Limit, Load, Mode, OperationCells, Outcome, Phase, Quarter, Rate, RunSpec, Sample, SecondGauges,
};
use serde::{Deserialize, Serialize};
use store::{Error, ErrorKind, Result};
use uuid::Uuid;

use crate::figures::errors_gauge;
use crate::parts::{Seen, outcome_of_samples};
use crate::record::{SampleRecord, Verdict};
use crate::spec::Spec;

/// From where a run goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResumedRecord {
    /// The run that was cut off.
    pub run: Uuid,
    /// How many seconds were taken over from it: they are the first ones of this run.
    pub seconds: u64,
    /// From its end to the start of what it had left, in seconds.
    pub away_seconds: f64,
}

/// Refuses what has no checkpoint.
///
/// # Errors
/// `Config`, with the reason.
pub fn check_resumable(spec: &Spec) -> Result<()> {
    if spec.sought.is_some() {
        return Err(Error::config("a load that is searched for has no checkpoint to go on from")
            .with_hint("have it searched for anew, or give the load that was found"));
    }
    Ok(())
}

/// What was taken over weakens what the run says, and whoever reads it must know.
pub(crate) fn judge(resumed: Option<&ResumedRecord>, verdict: &mut Verdict) {
    let Some(ResumedRecord { run, seconds, away_seconds }) = resumed else { return };
    verdict.warnings.push(format!(
        "the first {seconds} s are those of run {run}, which was cut off; {away_seconds:.1} s later the rest went on with new \
         connections, and a data store that may have been warm or idle by then"
    ));
}

/// A second as it was kept, as the load's driver had told it; the names are those of the workload's operations.
///
/// Of errors the kinds are kept by second and not by operation: where several operations failed in one second, the kinds are
/// given to them in their order. Where a latency comes from (waiting or the data store) is not kept by second at all.
///
/// # Errors
/// `Config` for an operation that the workload has not.
pub fn sample_of(record: &SampleRecord, names: &[&'static str]) -> Result<Sample> {
    let gauge = |name: &str| record.gauges.get(name).copied().unwrap_or(0.0);
    let mut kinds = ErrorKind::ALL.map(|kind| gauge(errors_gauge(kind)) as u64);
    let mut phases: Vec<(u16, OperationCells)> = Vec::new();
    for sampled in &record.operations {
        let place = names.iter().position(|name| *name == sampled.operation).ok_or_else(|| {
            Error::config(format!(
                "the run that was cut off has an operation `{}` that this one has not",
                sampled.operation
            ))
        })?;
        let mut cell = Cell {
            succeeded: sampled.succeeded,
            failed: sampled.failed,
            latency: sampled.latency.clone(),
            ..Cell::default()
        };
        let mut unnamed = sampled.failed;
        for (kind, left) in cell.errors.iter_mut().zip(&mut kinds) {
            let taken = unnamed.min(*left);
            (*kind, *left, unnamed) = (taken, *left - taken, unnamed - taken);
        }
        let known = phases.iter().position(|(phase, _)| *phase == sampled.phase).unwrap_or_else(|| {
            phases.push((sampled.phase, OperationCells::new(names.len())));
            phases.len() - 1
        });
        phases[known].1.add(place as u16, &cell);
    }
    phases.sort_by_key(|(phase, _)| *phase);
    let gauges = SecondGauges {
        backlog: gauge("generator.backlog") as u64,
        in_flight: gauge("generator.in_flight") as u64,
        connected: gauge("generator.connected") as u32,
        lateness_ns_max: (gauge("generator.lateness_us_max") * 1e3) as u64,
    };
    Ok(Sample { second: record.second, phases, gauges })
}

/// How far a load had come.
#[derive(Debug)]
pub struct Progress {
    outcome: Outcome,
    seconds: u64,
    phases: Vec<PhaseProgress>,
}

#[derive(Debug, Clone, Copy, Default)]
struct PhaseProgress {
    /// The second in which something of it first ended.
    first: Option<u64>,
    ended: u64,
}

impl Progress {
    /// Of a load of so many phases that has not begun.
    pub fn new(phases: usize) -> Self {
        Self { outcome: outcome_of_samples(phases, []), seconds: 0, phases: vec![PhaseProgress::default(); phases] }
    }

    /// Takes the next second.
    pub fn take(&mut self, sample: Sample) {
        self.seconds = sample.second + 1;
        for (phase, cells) in &sample.phases {
            let Some(phase) = self.phases.get_mut(usize::from(*phase)) else { continue };
            let counted = cells.total();
            phase.first.get_or_insert(sample.second);
            phase.ended += counted.succeeded + counted.failed;
        }
        self.outcome.merge(outcome_of_samples(self.phases.len(), [sample]));
    }

    /// Whole seconds that it had come to.
    pub fn seconds(&self) -> u64 {
        self.seconds
    }

    /// Drives what is left of the load; what came of all of it.
    ///
    /// # Errors
    /// As [`runner::run`].
    pub fn go_on(self, spec: &RunSpec, watchers: &runner::Watch, observe: &mut dyn FnMut(Seen<'_>)) -> Result<Outcome> {
        let Some(rest) = self.rest(&spec.load) else { return Ok(self.outcome) };
        if spec.stop.is_requested() {
            return Ok(Outcome { interrupted: true, ..self.outcome });
        }
        // The same seed would repeat what the first seconds asked.
        let rest_spec = RunSpec { load: rest.load.clone(), seed: spec.seed.wrapping_add(rest.seconds), ..spec.clone() };
        let outcome = runner::run_watched(&rest_spec, watchers, &mut |ended| match ended {
            Ended::Second(sample) => observe(Seen::Second(&rest.second(sample))),
            Ended::Quarter(Quarter { quarter, sample }) => {
                observe(Seen::Quarter(&Quarter { quarter: *quarter, sample: rest.second(sample) }));
            }
        })?;
        let mut whole = self.outcome;
        whole.merge(rest.outcome(outcome));
        Ok(whole)
    }

    /// What is left of the load; nothing where it had come to its end.
    fn rest(&self, load: &Load) -> Option<Rest> {
        let done = Duration::from_secs(self.seconds);
        // When the phase began, as far as the clock decides.
        let mut start = Some(Duration::ZERO);
        for (place, phase) in load.phases.iter().enumerate() {
            let known = self.phases.get(place).copied().unwrap_or_default();
            let has_passed = self.phases.iter().skip(place + 1).any(|later| later.first.is_some());
            let began = start.unwrap_or_else(|| known.first.map_or(done, Duration::from_secs));
            if !has_passed && let Some(left) = left_of(phase, known.ended, done.saturating_sub(began)) {
                let phases = [&[left], &load.phases[place + 1..]].concat();
                return Some(Rest {
                    load: Load { phases, ..load.clone() },
                    phases_done: place as u16,
                    seconds: self.seconds,
                });
            }
            start = match phase.limit {
                Limit::Duration(duration) => Some(began + duration),
                Limit::Count(_) => None,
            };
        }
        None
    }
}

/// What is left of a phase of which so many operations have ended, and that has gone on for so long.
fn left_of(phase: &Phase, ended: u64, spent: Duration) -> Option<Phase> {
    match phase.limit {
        Limit::Count(count) => {
            let left = count.checked_sub(ended).filter(|left| *left > 0)?;
            Some(Phase { limit: Limit::Count(left), ..phase.clone() })
        }
        Limit::Duration(duration) => {
            let left = duration.checked_sub(spent).filter(|left| !left.is_zero())?;
            let mode = match phase.mode {
                Mode::Open { from, to, arrivals } => {
                    let passed = spent.as_secs_f64() / duration.as_secs_f64();
                    // Between two rates that are possible there are only such.
                    let now = Rate::per_second(from.get() + (to.get() - from.get()) * passed).unwrap_or(to);
                    Mode::Open { from: now, to, arrivals }
                }
                Mode::Closed => Mode::Closed,
            };
            Some(Phase { limit: Limit::Duration(left), mode, ..phase.clone() })
        }
    }
}

/// What is left of a load.
#[derive(Debug)]
struct Rest {
    load: Load,
    phases_done: u16,
    seconds: u64,
}

impl Rest {
    /// A second of it, as one of the whole load.
    fn second(&self, sample: &Sample) -> Sample {
        let phases = sample.phases.iter().map(|(phase, cells)| (phase + self.phases_done, cells.clone()));
        Sample { second: sample.second + self.seconds, phases: phases.collect(), gauges: sample.gauges }
    }

    /// What came of it, as of the whole load.
    fn outcome(&self, outcome: Outcome) -> Outcome {
        let before = Duration::from_secs(self.seconds);
        let mut whole = outcome_of_samples(usize::from(self.phases_done), []);
        let mut phases = std::mem::take(&mut whole.phases);
        phases.extend(outcome.phases.into_iter().map(|mut phase| {
            phase.start += before;
            phase
        }));
        let mut recovery = outcome.recovery;
        recovery.longest_start += before;
        Outcome { phases, recovery, duration: outcome.duration + before, ..outcome }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;

    use proptest::prelude::*;
    use runner::Arrivals;
    use stats::Histogram;

    use super::*;
    use crate::record::SampledOperation;

    const NAMES: &[&str] = &["read", "update"];

    fn phase(mode: Mode, limit: Limit) -> Phase {
        Phase { mode, limit, ..Load::closed(NonZeroU32::MIN, limit).phases.remove(0) }
    }

    fn open(from: f64, to: f64) -> Mode {
        let rate = |value| Rate::per_second(value).expect("positive");
        Mode::Open { from: rate(from), to: rate(to), arrivals: Arrivals::Constant }
    }

    fn seconds(count: u64) -> Limit {
        Limit::Duration(Duration::from_secs(count))
    }

    fn load(phases: Vec<Phase>) -> Load {
        Load { phases, ..Load::closed(NonZeroU32::MIN, seconds(1)) }
    }

    /// A second in which so many operations of each of those phases ended well.
    fn second(second: u64, ended: &[(u16, u64)]) -> SampleRecord {
        let operations = ended.iter().map(|(phase, count)| {
            let mut latency = Histogram::new();
            (0..*count).for_each(|place| latency.record(1_000 + place));
            SampledOperation { phase: *phase, operation: "read".to_owned(), succeeded: *count, failed: 0, latency }
        });
        SampleRecord { second, operations: operations.collect(), gauges: BTreeMap::new() }
    }

    fn progress(phases: usize, kept: &[SampleRecord]) -> Progress {
        let mut progress = Progress::new(phases);
        for record in kept {
            progress.take(sample_of(record, NAMES).expect("known operations"));
        }
        progress
    }

    #[test]
    fn what_is_left_is_what_the_kept_seconds_do_not_have() {
        let phases = vec![
            phase(Mode::Closed, Limit::Count(10)),
            phase(open(100.0, 300.0), seconds(4)),
            phase(Mode::Closed, seconds(2)),
        ];
        let load = load(phases);
        for (kept, expected) in [
            (vec![], Some((0, Mode::Closed, Limit::Count(10)))),
            (vec![second(0, &[(0, 4)])], Some((0, Mode::Closed, Limit::Count(6)))),
            (vec![second(0, &[(0, 10)])], Some((1, open(100.0, 300.0), seconds(4)))),
            // Two operations of the first phase had not ended when the second one began: they are lost, not repeated.
            (
                vec![second(0, &[(0, 8)]), second(1, &[(1, 100)]), second(2, &[(1, 150)])],
                Some((1, open(200.0, 300.0), seconds(2))),
            ),
            (
                vec![second(0, &[(0, 10)]), second(1, &[(1, 100)]), second(4, &[(1, 100)]), second(5, &[(2, 9)])],
                Some((2, Mode::Closed, seconds(1))),
            ),
            (vec![second(0, &[(0, 10)]), second(1, &[(1, 1)]), second(5, &[(2, 9)]), second(6, &[(2, 9)])], None),
        ] {
            let rest = progress(3, &kept).rest(&load);
            let told =
                rest.as_ref().map(|rest| (rest.phases_done, rest.load.phases[0].mode, rest.load.phases[0].limit));
            assert_eq!(told, expected, "{kept:?}");
            if let Some(rest) = rest {
                assert_eq!(rest.load.phases.len() + usize::from(rest.phases_done), 3);
                assert_eq!(rest.load.phases[1..], load.phases[usize::from(rest.phases_done) + 1..]);
                rest.load.validate().expect("it can be run");
            }
        }
    }

    #[test]
    fn errors_keep_their_kinds_and_unknown_operations_are_refused() {
        let failing = |operation: &str, failed| SampledOperation {
            phase: 1,
            operation: operation.to_owned(),
            succeeded: 3,
            failed,
            latency: Histogram::new(),
        };
        let gauges =
            BTreeMap::from([("errors.timeout", 5.0), ("errors.unreachable", 2.0), ("generator.connected", 7.0)]);
        let record = SampleRecord { second: 4, operations: vec![failing("read", 4), failing("update", 3)], gauges };
        let sample = sample_of(&record, NAMES).expect("known operations");
        let (_, cells) = &sample.phases[0];
        let total = cells.total();
        assert_eq!((total.failed, total.errors.iter().sum::<u64>()), (7, 7));
        assert_eq!(total.errors[ErrorKind::Timeout.index()], 5);
        assert!(cells.iter().all(|(_, cell)| cell.errors.iter().sum::<u64>() == cell.failed));
        assert_eq!((sample.second, sample.gauges.connected, sample.phases.len()), (4, 7, 1));
        let record = SampleRecord { operations: vec![failing("scan", 0)], ..record };
        assert!(sample_of(&record, NAMES).expect_err("no such operation").to_string().contains("`scan`"));
    }

    proptest! {
        /// Wherever a load is cut, what was kept and what is left plan as many operations as all of it.
        #[test]
        fn nothing_is_left_out_or_planned_twice(
            parts in prop::collection::vec((1_u64..20, 1.0_f64..500.0, 1.0_f64..500.0), 1..5),
            cut in 0_u64..100,
        ) {
            let phases: Vec<_> = parts.iter().map(|(length, from, to)| phase(open(*from, *to), seconds(*length))).collect();
            let whole = load(phases);
            let length: u64 = parts.iter().map(|(length, _, _)| length).sum();
            let cut = cut.min(length);
            let of = |second: u64| {
                let mut end = 0;
                parts.iter().position(|(length, _, _)| { end += length; second < end }).unwrap_or(parts.len() - 1) as u16
            };
            let kept: Vec<_> = (0..cut).map(|place| second(place, &[(of(place), 1)])).collect();
            let rest = progress(parts.len(), &kept).rest(&whole);
            let planned = |load: &Load| load.phases.iter().filter_map(|phase| match (phase.mode, phase.limit) {
                (Mode::Open { from, to, .. }, Limit::Duration(duration)) => {
                    Some(f64::midpoint(from.get(), to.get()) * duration.as_secs_f64())
                }
                _ => None,
            }).sum::<f64>();
            let left = rest.as_ref().map_or(0.0, |rest| planned(&rest.load));
            let before = whole.planned_by(cut as f64).expect("all by the clock");
            prop_assert!((before + left - planned(&whole)).abs() < 1e-6 * planned(&whole), "{before} + {left}");
            prop_assert_eq!(rest.is_none(), cut == length);
        }
    }
}
