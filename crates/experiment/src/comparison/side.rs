//! A run in the least that a comparison needs: its record, and what happened in each second of the phases that count.

use std::collections::BTreeMap;
use std::time::Duration;

use stats::{Observed, Unit};

use crate::record::{PhaseRecord, Record, SampleRecord};

/// Units that a run is cut into at the most: longer runs get units of several seconds, which an interval is as sure with.
const UNITS_MAX: f64 = 120.0;

/// Units of a phase from which on it is drawn for itself; with fewer all phases are one series.
const UNITS_OF_PHASE_MIN: usize = 4;

/// The name under which all operations together go.
pub(crate) const TOTAL: &str = "total";

/// A run and its seconds.
#[derive(Debug, Clone)]
pub struct RunData {
    pub(super) record: Record,
    /// Of each phase of the run, recorded or not.
    timelines: Vec<Timeline>,
    /// By operation, then phase.
    operations: BTreeMap<String, Vec<Vec<Unit>>>,
}

/// What is compared: runs of the same, in the order in which they were made.
#[derive(Debug, Clone)]
pub struct SideData {
    pub(crate) label: String,
    pub(crate) runs: Vec<RunData>,
}

/// Where a phase's units begin and end, in seconds since the run's start; empty for a phase that does not count.
#[derive(Debug, Clone, Default)]
struct Timeline(Vec<f64>);

impl Timeline {
    /// Units of whole seconds. The pieces of a second with which a phase begins and ends belong to the units beside them,
    /// over the time that they took, so that neither rate nor sum is biased.
    fn of(phase: &PhaseRecord, seconds_a_unit: f64) -> Self {
        if !phase.recorded || phase.duration_seconds <= 0.0 {
            return Self::default();
        }
        let (start, end) = (phase.start_seconds, phase.start_seconds + phase.duration_seconds);
        let mut edges = vec![start];
        let mut edge = (start + 0.5).ceil() + seconds_a_unit - 1.0;
        while edge <= end - seconds_a_unit / 2.0 {
            edges.push(edge);
            edge += seconds_a_unit;
        }
        edges.push(end);
        Self(edges)
    }

    fn units(&self) -> Vec<Unit> {
        self.0.windows(2).map(|edges| Unit::lasting(Duration::from_secs_f64(edges[1] - edges[0]))).collect()
    }

    /// The unit that a second of the run falls into; what ends after the phase belongs to its last one.
    fn place(&self, second: u64) -> usize {
        let middle = second as f64 + 0.5;
        self.0.partition_point(|edge| *edge <= middle).saturating_sub(1).min(self.0.len().saturating_sub(2))
    }
}

impl RunData {
    /// A run whose seconds are yet to be [added](Self::add).
    pub fn new(record: Record) -> Self {
        let seconds_a_unit = (record.duration_seconds / UNITS_MAX).ceil().max(1.0);
        let timelines: Vec<_> = record.phases.iter().map(|phase| Timeline::of(phase, seconds_a_unit)).collect();
        let mut data = Self { record, timelines, operations: BTreeMap::new() };
        data.operations.insert(TOTAL.to_owned(), data.empty());
        data
    }

    /// Adds a second.
    pub fn add(&mut self, sample: &SampleRecord) {
        for sampled in &sample.operations {
            let phase = usize::from(sampled.phase);
            let Some(timeline) = self.timelines.get(phase).filter(|timeline| !timeline.0.is_empty()) else { continue };
            let place = timeline.place(sample.second);
            let empty = self.empty();
            let operation = self.operations.entry(sampled.operation.clone()).or_insert(empty);
            operation[phase][place].add(sampled.succeeded, sampled.failed, &sampled.latency);
            let total = self.operations.get_mut(TOTAL).expect("it is made with the run");
            total[phase][place].add(sampled.succeeded, sampled.failed, &sampled.latency);
        }
    }

    /// What is published of it.
    pub fn record(&self) -> &Record {
        &self.record
    }

    fn empty(&self) -> Vec<Vec<Unit>> {
        self.timelines.iter().map(Timeline::units).collect()
    }

    /// The units of an operation, by phase; only phases in which it occurred. Phases that are too short to be drawn for
    /// themselves make one series.
    fn units(&self, operation: &str) -> Vec<Vec<Unit>> {
        let occurred = |units: &&Vec<Unit>| units.iter().any(|unit| unit.succeeded + unit.failed > 0);
        let phases: Vec<Vec<Unit>> =
            self.operations.get(operation).into_iter().flatten().filter(occurred).cloned().collect();
        if phases.iter().any(|units| units.len() < UNITS_OF_PHASE_MIN) {
            return vec![phases.into_iter().flatten().collect()];
        }
        phases
    }
}

impl SideData {
    /// Runs of the same, in any order. `label` is what tables call them.
    pub fn new(label: impl Into<String>, mut runs: Vec<RunData>) -> Self {
        runs.sort_by_key(|run| (run.record.started_at, run.record.id));
        Self { label: label.into(), runs }
    }

    /// Its runs, in the order in which they were made.
    pub fn runs(&self) -> impl Iterator<Item = &RunData> {
        self.runs.iter()
    }

    /// The operations of all runs, the total apart.
    pub(crate) fn operations(&self) -> impl Iterator<Item = &str> {
        let names = self.runs.iter().flat_map(|run| run.operations.keys());
        names.map(String::as_str).filter(|name| *name != TOTAL)
    }

    /// What was observed of an operation; none where a run has too few units of it.
    pub(crate) fn observed(&self, operation: &str) -> Option<Observed> {
        let runs: Vec<_> = self.runs.iter().map(|run| run.units(operation)).collect();
        let is_enough = runs.iter().all(|phases| phases.iter().map(Vec::len).sum::<usize>() >= UNITS_OF_PHASE_MIN);
        is_enough.then(|| Observed::new(&runs))
    }

    /// Whether each run was made beside one of the other side's: `A B B A A B`.
    pub(crate) fn alternates_with(&self, other: &Self) -> bool {
        if self.runs.len() != other.runs.len() || self.runs.len() < 2 {
            return false;
        }
        let starts = |side: &Self, is_ours: bool| {
            side.runs.iter().map(move |run| (run.record.started_at, is_ours)).collect::<Vec<_>>()
        };
        let mut starts = [starts(self, true), starts(other, false)].concat();
        starts.sort();
        starts.chunks(2).all(|pair| pair[0].1 != pair[1].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::comparison::fixture::{Seconds, run_of};

    #[test]
    fn units_hold_everything_that_counts_over_exactly_its_time() {
        for (start, duration, units) in [
            (1.0, 10.0, 10),
            (0.7, 10.0, 10),
            (1.2, 9.9, 10),
            (0.0, 0.3, 1),
            (2.0, 600.0, 120),
            (1.5, 4.0, 4),
            (0.25, 250.0, 84),
        ] {
            let data = run_of(&Seconds { start, duration, ..Seconds::default() });
            let found = data.units(TOTAL);
            assert_eq!(found.len(), 1, "one recorded phase");
            let found = &found[0];
            assert!(found.len().abs_diff(units) <= 1, "{start} {duration}: {} units", found.len());
            let time: f64 = found.iter().map(|unit| unit.duration.as_secs_f64()).sum();
            assert!((time - duration).abs() < 1e-6, "{start} {duration}: {time}");
            let succeeded: u64 = found.iter().map(|unit| unit.succeeded).sum();
            assert_eq!(succeeded, data.record().total.succeeded, "{start} {duration}");
            if found.len() > 1 {
                let least = found.iter().map(|unit| unit.duration.as_secs_f64()).fold(f64::INFINITY, f64::min);
                assert!(least >= 0.5, "{start} {duration}: a unit of {least} s");
            }
        }
    }

    #[test]
    fn runs_that_alternate_are_pairs() {
        let side = |starts: &[i64]| {
            let run = |start: &i64| run_of(&Seconds { started_at: *start, duration: 1.0, ..Seconds::default() });
            SideData::new("side", starts.iter().map(run).collect())
        };
        for (a, b, expect) in [
            (&[1, 4, 5][..], &[2, 3, 6][..], true),
            (&[1, 3], &[2, 4], true),
            (&[1, 2], &[3, 4], false),
            (&[1], &[2], false),
            (&[1, 3], &[2], false),
        ] {
            assert_eq!(side(a).alternates_with(&side(b)), expect, "{a:?} {b:?}");
        }
    }
}
