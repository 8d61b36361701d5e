//! A run's thresholds while it goes on and at its end.

use std::collections::BTreeMap;

use runner::{Limit, OperationCells, Phase, Sample};

use super::{Evidence, Seconds, ThresholdSpec};
use crate::record::{
    HistogramRecord, Lateness, Metric, OperationRecord, PhaseRecord, Record, SampleRecord, ThresholdRecord, add_errors,
};

/// Follows a run second by second, and judges its thresholds.
pub(crate) struct Watch<'a> {
    thresholds: &'a [ThresholdSpec],
    seconds: Seconds,
    /// What was measured so far; nothing where no threshold can end the run.
    so_far: Option<SoFar<'a>>,
    /// Those that ended the run, by their places.
    ended_it: BTreeMap<usize, ThresholdRecord>,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(thresholds: &'a [ThresholdSpec], phases: &'a [Phase], operations: &'a [&'static str]) -> Self {
        let can_end_it = thresholds.iter().any(|threshold| threshold.abort_after.is_some());
        Self {
            thresholds,
            seconds: Seconds::of(thresholds.iter().map(|threshold| &threshold.condition)),
            so_far: can_end_it.then(|| SoFar::new(phases, operations)),
            ended_it: BTreeMap::new(),
        }
    }

    /// Takes a second that has ended, as the runner saw it and as it is kept.
    pub(crate) fn take(&mut self, sample: &Sample, kept: &SampleRecord) {
        self.seconds.add(kept);
        if let Some(so_far) = &mut self.so_far {
            so_far.take(sample);
        }
    }

    /// Whether a threshold that may end the run has failed by now. Once one has, it stays so.
    pub(crate) fn ends_the_run(&mut self) -> bool {
        let Some(so_far) = self.so_far.as_ref().filter(|so_far| self.ended_it.is_empty() && !so_far.is_over()) else {
            return !self.ended_it.is_empty();
        };
        let evidence = so_far.evidence(&self.seconds);
        for (place, ThresholdSpec { condition, abort_after }) in self.thresholds.iter().enumerate() {
            let is_due =
                abort_after.is_some_and(|delay| condition.measured_seconds(evidence.phases) >= delay.as_secs_f64());
            let Some(judged) = is_due.then(|| condition.evaluate(&evidence)) else { continue };
            // What was not measured yet may be measured later.
            if !judged.passed && judged.value.is_some() {
                self.ended_it.insert(place, ThresholdRecord { aborted_at_seconds: Some(so_far.now()), ..judged });
            }
        }
        !self.ended_it.is_empty()
    }

    /// Every threshold of the run, in the plan's order. One that ended the run has the value for which it did.
    pub(crate) fn judge(&self, record: &Record, histograms: &[HistogramRecord]) -> Vec<ThresholdRecord> {
        let evidence = Evidence::of(record, histograms, &self.seconds);
        let judged = self.thresholds.iter().enumerate().map(|(place, threshold)| {
            self.ended_it.get(&place).cloned().unwrap_or_else(|| threshold.condition.evaluate(&evidence))
        });
        judged.collect()
    }
}

/// The phases of a run that goes on, as far as seconds tell.
struct SoFar<'a> {
    planned: &'a [Phase],
    names: &'a [&'static str],
    phases: Vec<PhaseRecord>,
    histograms: Vec<HistogramRecord>,
    /// Seconds that have ended.
    seconds: u64,
}

impl<'a> SoFar<'a> {
    fn new(planned: &'a [Phase], names: &'a [&'static str]) -> Self {
        let phases = planned.iter().map(PhaseRecord::expected).collect();
        Self { planned, names, phases, histograms: Vec::new(), seconds: 0 }
    }

    fn now(&self) -> f64 {
        self.seconds as f64
    }

    fn evidence<'b>(&'b self, seconds: &'b Seconds) -> Evidence<'b> {
        Evidence { phases: &self.phases, lateness_us: Lateness::default(), histograms: &self.histograms, seconds }
    }

    fn take(&mut self, sample: &Sample) {
        for (place, cells) in &sample.phases {
            self.count(*place, cells);
            self.merge(*place, cells);
        }
        self.seconds = self.seconds.max(sample.second + 1);
        self.tell_time();
    }

    fn count(&mut self, place: u16, cells: &OperationCells) {
        let Some(phase) = self.phases.get_mut(usize::from(place)) else { return };
        for (operation, cell) in cells.iter() {
            let name = self.names[usize::from(operation)];
            let known = phase.operations.iter().position(|found| found.name == name).unwrap_or_else(|| {
                phase.operations.push(OperationRecord { name: name.to_owned(), ..OperationRecord::default() });
                phase.operations.len() - 1
            });
            for figures in [&mut phase.operations[known], &mut phase.total] {
                figures.succeeded += cell.succeeded;
                figures.failed += cell.failed;
                add_errors(&mut figures.errors, cell);
            }
            phase.accounting.scheduled += cell.succeeded + cell.failed;
            phase.accounting.succeeded += cell.succeeded;
            phase.accounting.failed += cell.failed;
        }
    }

    fn merge(&mut self, phase: u16, cells: &OperationCells) {
        for (operation, cell) in cells.iter() {
            let name = self.names[usize::from(operation)];
            let measured = [
                (Metric::Latency, Some(&cell.latency)),
                (Metric::ServiceTime, cell.service_time.as_deref()),
                (Metric::QueueingTime, cell.queueing_time.as_deref()),
            ];
            for (metric, histogram) in measured {
                let Some(histogram) = histogram.filter(|histogram| !histogram.is_empty()) else { continue };
                let is_it = |kept: &&mut HistogramRecord| {
                    kept.phase == phase && kept.metric == metric && kept.operation == name
                };
                match self.histograms.iter_mut().find(is_it) {
                    Some(kept) => kept.histogram.merge(histogram),
                    None => self.histograms.push(HistogramRecord {
                        phase,
                        operation: name.to_owned(),
                        metric,
                        histogram: histogram.clone(),
                    }),
                }
            }
        }
    }

    /// When phases began and how long they have gone on: by the plan where it says, else by when they were first seen.
    fn tell_time(&mut self) {
        let now = self.now();
        let mut start = Some(0.0);
        for place in 0..self.phases.len() {
            let phase = &mut self.phases[place];
            let is_seen = phase.accounting.scheduled > 0;
            let begun = match start {
                Some(start) => start,
                // Where no plan says it, a phase begins with the second in which something of it ended first.
                None if is_seen && phase.duration_seconds > 0.0 => phase.start_seconds,
                None if is_seen => now - 1.0,
                None => return,
            };
            let planned = self.planned[place].duration().map(|duration| duration.as_secs_f64());
            phase.start_seconds = begun;
            phase.duration_seconds = planned.map_or(now - begun, |planned| planned.min(now - begun)).max(0.0);
            start = planned.map(|planned| begun + planned);
        }
    }

    /// Whether the last phase has come to its planned end.
    fn is_over(&self) -> bool {
        let (Some(planned), Some(phase)) = (self.planned.last(), self.phases.last()) else { return true };
        match planned.limit {
            Limit::Duration(duration) => phase.duration_seconds >= duration.as_secs_f64(),
            Limit::Count(count) => phase.accounting.scheduled >= count,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use runner::{Load, SecondGauges};

    use super::*;
    use crate::threshold::{Names, Threshold};

    const OPERATIONS: [&str; 1] = ["read"];

    /// The second at which `text` ends a run of a warm-up of a second and ten more, if at all, where gauges are as given.
    fn ended_at(text: &str, delay: u64, load: &[f64]) -> Option<f64> {
        let limit = |seconds| Limit::Duration(Duration::from_secs(seconds));
        let steady = Load::closed(NonZeroU32::MIN, limit(10)).phases.remove(0);
        let warm_up = Phase { name: "warm-up".to_owned(), recorded: false, limit: limit(1), ..steady.clone() };
        let phases = [warm_up, steady];
        let names = Names { operations: &OPERATIONS, phases: &phases, unsampled: Vec::new() };
        let condition = Threshold::parse(text).and_then(|threshold| threshold.resolve(&names)).expect(text);
        let thresholds = [ThresholdSpec { condition, abort_after: Some(Duration::from_secs(delay)) }];
        let mut watch = Watch::new(&thresholds, &phases, &OPERATIONS);
        for (second, load) in (0..).zip(load) {
            let sample = Sample { second, phases: Vec::new(), gauges: SecondGauges::default() };
            let gauges = BTreeMap::from([("host.cpu_percent", *load)]);
            watch.take(&sample, &SampleRecord { second, operations: Vec::new(), gauges });
            if watch.ends_the_run() {
                assert!(watch.ends_the_run(), "it stays so");
                return watch.ended_it[&0].aborted_at_seconds;
            }
        }
        None
    }

    #[test]
    fn a_run_is_ended_once_its_phases_were_measured_for_the_delay() {
        let high = [99.0; 11];
        for (delay, expect) in [(0, Some(2.0)), (1, Some(2.0)), (3, Some(4.0)), (9, Some(10.0)), (10, None)] {
            assert_eq!(ended_at("mean(host.cpu) < 80%", delay, &high), expect, "after {delay} s");
        }
    }

    #[test]
    fn what_recovers_before_the_delay_or_is_not_measured_ends_nothing() {
        let spike = [99.0, 99.0, 10.0, 10.0, 10.0, 10.0];
        assert_eq!(ended_at("mean(host.cpu) < 80%", 2, &spike), None);
        assert_eq!(ended_at("max(host.cpu) < 80%", 2, &spike), Some(3.0), "the greatest stays");
        assert_eq!(ended_at("p99(read) < 1us", 2, &spike), None, "nothing was read");
        assert_eq!(ended_at("min(rate) >= 1/s", 2, &spike), Some(3.0), "that nothing ended is known");
        assert_eq!(ended_at("max(host.cpu, phase=warm-up) < 80%", 1, &spike), Some(1.0));
    }
}
