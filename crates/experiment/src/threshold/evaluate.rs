//! Conditions, judged by what was measured.

use runner::Phase;

use super::metric::{Count, LatenessStatistic, Metric, Statistic};
use super::seconds::{Value, merge, of_histogram, of_values};
use super::{Quantity, Relation, Seconds, Threshold};
use crate::figures::per_second;
use crate::record::{
    HistogramRecord, Lateness, Metric as Recorded, OperationRecord, PhaseRecord, Record, ThresholdRecord,
};
use crate::verdict::DEVIATIONS_MAX;

/// How much of a second may lie outside of the phases before it is not whole: phases limited by count begin when the last
/// operation of the one before has ended.
const SECOND_SHARE_MIN: f64 = 0.98;

/// What conditions are judged by; a run of a few seconds has it as well as a long one.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Its phases.
    pub phases: &'a [PhaseRecord],
    /// How late its sends were.
    pub lateness_us: Lateness,
    /// Those of its phases.
    pub histograms: &'a [HistogramRecord],
    /// Its seconds; needed by conditions about single seconds only.
    pub seconds: &'a Seconds,
}

impl<'a> Evidence<'a> {
    /// That of a run that has ended.
    pub fn of(record: &'a Record, histograms: &'a [HistogramRecord], seconds: &'a Seconds) -> Self {
        Self { phases: &record.phases, lateness_us: record.generator.lateness_us, histograms, seconds }
    }
}

/// A [`Threshold`] whose names are known to mean something in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    threshold: Threshold,
    measure: Measure,
    phases: Vec<u16>,
    /// What each was to be.
    planned: Vec<Phase>,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Measure {
    /// A number of its phases together.
    Phases(Metric),
    /// A statistic of the values that its seconds have.
    Seconds(Statistic, Value),
}

impl Measure {
    pub(super) const fn quantity(&self) -> Quantity {
        match self {
            Self::Phases(metric) | Self::Seconds(_, Value::Metric(metric)) => metric.quantity(),
            Self::Seconds(_, Value::Gauge(gauge)) => gauge.quantity,
        }
    }
}

/// A value, or why there is none.
type Measured = Result<f64, String>;

impl Condition {
    pub(super) fn new(threshold: &Threshold, measure: Measure, phases: Vec<u16>, planned: Vec<Phase>) -> Self {
        Self { threshold: threshold.clone(), measure, phases, planned }
    }

    /// What it was made of.
    pub fn threshold(&self) -> &Threshold {
        &self.threshold
    }

    /// Whether it can fail for good while the run goes on: it is about what is known by then, and a value that only grows
    /// is not to reach its limit.
    pub fn can_end_a_run(&self) -> bool {
        let has_ceiling = matches!(self.threshold.relation, Relation::Less | Relation::AtMost);
        match &self.measure {
            Measure::Phases(Metric::Count { .. }) => has_ceiling,
            Measure::Phases(metric) => metric.is_known_before_the_end(),
            Measure::Seconds(..) => true,
        }
    }

    /// For how long its phases have been measured.
    pub(crate) fn measured_seconds(&self, phases: &[PhaseRecord]) -> f64 {
        self.of_phases(phases).map(|phase| phase.duration_seconds).sum()
    }

    /// Judges it. What could not be measured does not hold: its value is none, and the record says why.
    pub fn evaluate(&self, evidence: &Evidence<'_>) -> ThresholdRecord {
        let Threshold { relation, limit, .. } = &self.threshold;
        let measured = self.measure(evidence);
        ThresholdRecord {
            expression: self.threshold.text().to_owned(),
            passed: measured.as_ref().is_ok_and(|value| relation.holds(*value, limit.value())),
            value: measured.as_ref().ok().copied(),
            limit: Some(limit.value()),
            unit: limit.quantity().unit().to_owned(),
            aborted_at_seconds: None,
            reason: measured.err(),
        }
    }

    /// What it wants of each second.
    pub(super) fn wanted(&self) -> Option<(&Value, &[u16])> {
        match &self.measure {
            Measure::Phases(_) => None,
            Measure::Seconds(_, value) => Some((value, &self.phases)),
        }
    }

    fn of_phases<'a>(&'a self, all: &'a [PhaseRecord]) -> impl Iterator<Item = &'a PhaseRecord> {
        self.phases.iter().filter_map(|place| all.get(usize::from(*place)))
    }

    fn measure(&self, evidence: &Evidence<'_>) -> Measured {
        let is_reached = |phase: &PhaseRecord| phase.accounting.scheduled > 0 || phase.duration_seconds > 0.0;
        if !self.of_phases(evidence.phases).any(is_reached) {
            return Err("the run ended before that phase".to_owned());
        }
        let value = match &self.measure {
            Measure::Phases(metric) => self.of_whole(metric, evidence)?,
            Measure::Seconds(statistic, value) => self.of_seconds(value, *statistic, evidence)?,
        };
        if value.is_finite() { Ok(value) } else { Err(format!("{value} was measured")) }
    }

    /// A metric of its phases together.
    fn of_whole(&self, metric: &Metric, evidence: &Evidence<'_>) -> Measured {
        let sum = |count: &dyn Fn(&PhaseRecord) -> u64| self.of_phases(evidence.phases).map(count).sum::<u64>();
        let of = |operation: &Option<String>, count: &dyn Fn(&OperationRecord) -> u64| {
            sum(&|phase| operation_of(phase, operation.as_deref()).map_or(0, count))
        };
        let ended = |operation: &OperationRecord| operation.succeeded + operation.failed;
        let failed = |kind: Option<store::ErrorKind>| {
            move |operation: &OperationRecord| match kind {
                None => operation.failed,
                Some(kind) => operation.errors.get(kind.name()).copied().unwrap_or(0),
            }
        };
        let name = |operation: &Option<String>| operation.clone().unwrap_or_else(|| "operation".to_owned());
        match metric {
            Metric::Latency { of, statistic, operation } => {
                let found = merge(self.histograms(evidence, *of, operation.as_deref()));
                let value = found.and_then(|histogram| of_histogram(&histogram, *statistic));
                value.ok_or_else(|| format!("no {} succeeded", name(operation)))
            }
            Metric::Errors { operation, kind } => {
                let all = of(operation, &ended);
                let share = of(operation, &failed(*kind)) as f64 / all as f64 * 100.0;
                if all > 0 { Ok(share) } else { Err(format!("no {} ended", name(operation))) }
            }
            Metric::Count { count, operation, kind } => Ok(match count {
                Count::Ended => of(operation, &ended),
                Count::Succeeded => of(operation, &|operation| operation.succeeded),
                Count::Failed => of(operation, &failed(*kind)),
            } as f64),
            Metric::Rate { operation } => {
                let seconds = self.measured_seconds(evidence.phases);
                let succeeded = of(operation, &|operation| operation.succeeded);
                if seconds > 0.0 { Ok(per_second(succeeded, seconds)) } else { Err("no time passed".to_owned()) }
            }
            Metric::Shed => Ok(sum(&|phase| phase.accounting.shed) as f64),
            Metric::Unfinished => Ok(sum(&|phase| phase.accounting.unfinished) as f64),
            Metric::Offered => self.offered(evidence),
            Metric::Delivered => {
                let scheduled = sum(&|phase| phase.accounting.scheduled);
                let carried_out = sum(&|phase| phase.accounting.succeeded + phase.accounting.failed);
                let share = carried_out as f64 / scheduled as f64 * 100.0;
                if scheduled > 0 { Ok(share) } else { Err("nothing was due".to_owned()) }
            }
            Metric::Lateness(statistic) => {
                let lateness = evidence.lateness_us;
                Ok(match statistic {
                    LatenessStatistic::P50 => lateness.p50,
                    LatenessStatistic::P99 => lateness.p99,
                    LatenessStatistic::Max => lateness.max,
                })
            }
        }
    }

    /// What came due, in per cent of what was planned. What chance may have done counts as planned.
    fn offered(&self, evidence: &Evidence<'_>) -> Measured {
        let (mut planned, mut offered) = (0.0, 0.0);
        for (phase, found) in self.planned.iter().zip(self.of_phases(evidence.phases)) {
            let expected = phase.arrivals().unwrap_or(0.0);
            let chance = if phase.has_random_arrivals() { DEVIATIONS_MAX * expected.sqrt() } else { 0.0 };
            let off = found.accounting.scheduled as f64 - expected;
            planned += expected;
            offered += expected + (off.abs() - chance).max(0.0) * off.signum();
        }
        if planned > 0.0 { Ok(offered / planned * 100.0) } else { Err("nothing was planned".to_owned()) }
    }

    /// The histograms of a metric; in closed phases the service time is the latency.
    fn histograms<'a>(
        &'a self,
        evidence: &Evidence<'a>,
        of: Recorded,
        operation: Option<&'a str>,
    ) -> impl Iterator<Item = &'a stats::Histogram> {
        let all = evidence.histograms;
        let has = |phase: u16, metric: Recorded| {
            all.iter().any(|found| found.phase == phase && found.metric == metric && !found.histogram.is_empty())
        };
        self.phases.iter().flat_map(move |phase| {
            let is_closed = of == Recorded::ServiceTime && !has(*phase, of);
            let kept = if is_closed { Recorded::Latency } else { of };
            all.iter()
                .filter(move |found| found.phase == *phase && found.metric == kept)
                .filter(move |found| operation.is_none_or(|operation| found.operation == operation))
                .map(|found| &found.histogram)
        })
    }

    /// A statistic of what the whole seconds of its phases have.
    fn of_seconds(&self, value: &Value, statistic: Statistic, evidence: &Evidence<'_>) -> Measured {
        let by_second = evidence.seconds.values(value, &self.phases).ok_or_else(|| "no second was kept".to_owned())?;
        let counts = matches!(value, Value::Metric(Metric::Rate { .. } | Metric::Count { .. }));
        let whole: Vec<u64> = self.whole_seconds(evidence.phases);
        let values: Vec<f64> = whole
            .iter()
            .filter_map(|second| match by_second.get(second) {
                Some(value) => *value,
                // Of a second without a sample it is known that nothing ended in it.
                None => counts.then_some(0.0),
            })
            .collect();
        of_values(&values, statistic).ok_or_else(|| match (whole.as_slice(), value) {
            ([], _) => "its phases had no whole second".to_owned(),
            (_, Value::Gauge(gauge)) => format!("{} could not be sampled", gauge.name),
            (_, Value::Metric(_)) => "nothing ended in any second".to_owned(),
        })
    }

    /// The seconds that lie in its phases, drains not counted.
    fn whole_seconds(&self, phases: &[PhaseRecord]) -> Vec<u64> {
        let spans: Vec<(f64, f64)> = self
            .of_phases(phases)
            .zip(&self.planned)
            .map(|(phase, planned)| {
                // What ends later ends in a drain.
                let planned = planned.duration().map_or(f64::INFINITY, |duration| duration.as_secs_f64());
                let seconds = phase.duration_seconds.min(planned);
                (phase.start_seconds, phase.start_seconds + seconds)
            })
            .collect();
        let end = spans.iter().map(|(_, end)| *end).fold(0.0, f64::max).ceil() as u64;
        let covered = |second: u64| -> f64 {
            let (from, to) = (second as f64, second as f64 + 1.0);
            spans.iter().map(|(start, end)| (end.min(to) - start.max(from)).max(0.0)).sum()
        };
        (0..end).filter(|second| covered(*second) >= SECOND_SHARE_MIN).collect()
    }
}

/// The figures of an operation, or of all together.
fn operation_of<'a>(phase: &'a PhaseRecord, operation: Option<&str>) -> Option<&'a OperationRecord> {
    match operation {
        None => Some(&phase.total),
        Some(name) => phase.operations.iter().find(|found| found.name == name),
    }
}
