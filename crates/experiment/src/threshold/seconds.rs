//! What conditions about single seconds need of a run, second by second: a number each, not its histograms.

use std::borrow::Cow;
use std::collections::BTreeMap;

use stats::Histogram;

use super::Condition;
use super::metric::{Count, Gauge, Metric, Statistic};
use crate::record::SampleRecord;

/// The seconds of a run as far as its conditions are about them. Takes each [`SampleRecord`] as it comes and keeps a
/// number a condition, so that a day's run fits where its histograms would not.
#[derive(Debug, Clone, Default)]
pub struct Seconds {
    wanted: Vec<Wanted>,
}

#[derive(Debug, Clone)]
struct Wanted {
    value: Value,
    phases: Vec<u16>,
    by_second: BTreeMap<u64, Option<f64>>,
}

/// What is wanted of each second.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Gauge(&'static Gauge),
    Metric(Metric),
}

impl Seconds {
    /// Empty, for these conditions.
    pub fn of<'a>(conditions: impl IntoIterator<Item = &'a Condition>) -> Self {
        let mut seconds = Self::default();
        for (value, phases) in conditions.into_iter().filter_map(Condition::wanted) {
            if seconds.find(value, phases).is_none() {
                seconds.wanted.push(Wanted {
                    value: value.clone(),
                    phases: phases.to_vec(),
                    by_second: BTreeMap::new(),
                });
            }
        }
        seconds
    }

    /// Takes a second that has ended.
    pub fn add(&mut self, sample: &SampleRecord) {
        for wanted in &mut self.wanted {
            let value = match &wanted.value {
                Value::Gauge(gauge) => sample.gauges.get(gauge.name).copied(),
                Value::Metric(metric) => of_second(metric, &wanted.phases, sample),
            };
            wanted.by_second.insert(sample.second, value.filter(|value| value.is_finite()));
        }
    }

    /// The values by second; nothing where these seconds were not made for them, or none has been taken.
    pub(super) fn values(&self, value: &Value, phases: &[u16]) -> Option<&BTreeMap<u64, Option<f64>>> {
        self.find(value, phases).map(|wanted| &wanted.by_second).filter(|values| !values.is_empty())
    }

    fn find(&self, value: &Value, phases: &[u16]) -> Option<&Wanted> {
        self.wanted.iter().find(|wanted| wanted.value == *value && wanted.phases == phases)
    }
}

/// A metric of one second: of what ended in it, of operations that were scheduled in these phases.
fn of_second(metric: &Metric, phases: &[u16], sample: &SampleRecord) -> Option<f64> {
    let cells = |operation: &Option<String>| {
        let operation = operation.clone();
        sample.operations.iter().filter(move |cell| {
            phases.contains(&cell.phase) && operation.as_ref().is_none_or(|operation| cell.operation == *operation)
        })
    };
    let succeeded = |operation| cells(operation).map(|cell| cell.succeeded).sum::<u64>() as f64;
    let failed = |operation| cells(operation).map(|cell| cell.failed).sum::<u64>() as f64;
    match metric {
        Metric::Latency { statistic, operation, .. } => {
            merge(cells(operation).map(|cell| &cell.latency)).and_then(|latency| of_histogram(&latency, *statistic))
        }
        Metric::Rate { operation } | Metric::Count { count: Count::Succeeded, operation, .. } => {
            Some(succeeded(operation))
        }
        Metric::Count { count: Count::Failed, operation, .. } => Some(failed(operation)),
        Metric::Count { count: Count::Ended, operation, .. } => Some(succeeded(operation) + failed(operation)),
        Metric::Errors { operation, .. } => {
            let failed = failed(operation);
            let ended = succeeded(operation) + failed;
            (ended > 0.0).then(|| failed / ended * 100.0)
        }
        // What is not kept of seconds was refused when the names were resolved.
        Metric::Shed | Metric::Unfinished | Metric::Offered | Metric::Lateness(_) => None,
    }
}

/// All histograms in one; copied only where there are several that are not empty.
pub(super) fn merge<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Option<Cow<'a, Histogram>> {
    let mut merged: Option<Cow<'_, Histogram>> = None;
    for histogram in histograms.filter(|histogram| !histogram.is_empty()) {
        match &mut merged {
            None => merged = Some(Cow::Borrowed(histogram)),
            Some(merged) => merged.to_mut().merge(histogram),
        }
    }
    merged
}

/// A statistic of latencies, in microseconds.
pub(super) fn of_histogram(histogram: &Histogram, statistic: Statistic) -> Option<f64> {
    let nanoseconds = match statistic {
        Statistic::Mean => histogram.mean(),
        Statistic::Max => histogram.max() as f64,
        Statistic::Percentile(percentile) => histogram.quantile(percentile.quantile()) as f64,
        // Of latencies neither the least nor the last is kept; resolving refuses them.
        Statistic::Min | Statistic::Last => return None,
    };
    (!histogram.is_empty()).then_some(nanoseconds / 1e3)
}

/// A statistic of values in their order; of percentiles the nearest rank.
pub(super) fn of_values(values: &[f64], statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::Min => values.iter().copied().min_by(f64::total_cmp),
        Statistic::Max => values.iter().copied().max_by(f64::total_cmp),
        Statistic::Last => values.last().copied(),
        Statistic::Mean => (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64),
        Statistic::Percentile(percentile) => {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            let rank = (percentile.quantile() * sorted.len() as f64).ceil().max(1.0) as usize;
            sorted.get(rank - 1).copied()
        }
    }
}
