//! What a history is about: a metric as it stands on the left of a threshold.

use std::fmt;
use std::str::FromStr;

use stats::{Histogram, Summary};
use store::{Error, Result, did_you_mean};

use crate::record::{HistogramRecord, Metric, OperationRecord, Record};
use crate::threshold::Percentile;

/// All operations together.
const TOTAL: &str = "total";

/// What may be written, without percentiles.
const NAMES: [&str; 4] = ["errors", "max", "mean", "rate"];

/// A metric of a whole run, `rate`, `errors(read)`, `p99(read)`: of one operation, or of all together.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryMetric {
    figure: Figure,
    /// None for all together.
    operation: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    /// Succeeded, a second.
    Rate,
    /// Failed, of those that ended, in per cent.
    Errors,
    /// Of latencies, in microseconds, as the rest.
    Mean,
    Max,
    /// In per cent.
    Percentile(Percentile),
}

impl HistoryMetric {
    /// The unit of its values: `us`, `/s`, `%`.
    pub const fn unit(&self) -> &'static str {
        match self.figure {
            Figure::Rate => "/s",
            Figure::Errors => "%",
            Figure::Mean | Figure::Max | Figure::Percentile(_) => "us",
        }
    }

    /// Whether a greater value is the better one.
    pub const fn more_is_better(&self) -> bool {
        matches!(self.figure, Figure::Rate)
    }

    /// The operation that it is of; none for all together.
    pub fn operation(&self) -> Option<&str> {
        self.operation.as_deref()
    }

    /// Its value in a run; none where the run has no such operation, or nothing of it was measured. `histograms` is
    /// asked only for a percentile that no record has.
    ///
    /// # Errors
    /// What `histograms` gives.
    pub fn of<E>(
        &self,
        record: &Record,
        histograms: impl FnOnce() -> Result<Vec<HistogramRecord>, E>,
    ) -> Result<Option<f64>, E> {
        let found = match &self.operation {
            None => Some(&record.total),
            Some(name) => record.operations.iter().find(|operation| operation.name == *name),
        };
        let Some(OperationRecord { succeeded, failed, latency_us, .. }) = found else { return Ok(None) };
        let ended = succeeded + failed;
        if ended == 0 {
            return Ok(None);
        }
        let latency = |value: f64| (*succeeded > 0).then_some(value);
        Ok(match self.figure {
            Figure::Rate => (record.duration_seconds > 0.0).then(|| *succeeded as f64 / record.duration_seconds),
            Figure::Errors => Some(*failed as f64 / ended as f64 * 100.0),
            Figure::Mean => latency(latency_us.mean),
            Figure::Max => latency(latency_us.max),
            Figure::Percentile(percentile) => match summarised(latency_us, percentile) {
                Some(value) => latency(value),
                None => self.percentile(percentile, record, &histograms()?),
            },
        })
    }

    /// A percentile from the histograms of the recorded phases.
    fn percentile(&self, percentile: Percentile, record: &Record, histograms: &[HistogramRecord]) -> Option<f64> {
        let is_recorded =
            |kept: &HistogramRecord| record.phases.get(usize::from(kept.phase)).is_some_and(|phase| phase.recorded);
        let is_asked = |kept: &HistogramRecord| self.operation.as_ref().is_none_or(|name| kept.operation == *name);
        let mut all = Histogram::new();
        for kept in
            histograms.iter().filter(|kept| kept.metric == Metric::Latency && is_recorded(kept) && is_asked(kept))
        {
            all.merge(&kept.histogram);
        }
        (!all.is_empty()).then(|| all.quantile(percentile.quantile()) as f64 / 1e3)
    }
}

/// A percentile that every record has.
fn summarised(summary: &Summary, percentile: Percentile) -> Option<f64> {
    let kept =
        [(50.0, summary.p50), (90.0, summary.p90), (95.0, summary.p95), (99.0, summary.p99), (99.9, summary.p99_9)];
    kept.into_iter().find(|(kept, _)| (kept / 100.0 - percentile.quantile()).abs() < 1e-9).map(|(_, value)| value)
}

impl FromStr for HistoryMetric {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let wrong = |message: String| {
            Error::config(message)
                .with_hint("write p99, p99.9(read), mean, max, rate(read) or errors, of an operation or of all")
        };
        let (name, operation) = match text.split_once('(') {
            None => (text, None),
            Some((name, rest)) => match rest.strip_suffix(')').map(str::trim) {
                Some(operation) if !operation.is_empty() && !operation.contains(['(', ')', ',']) => {
                    (name.trim_end(), Some(operation))
                }
                _ => return Err(wrong(format!("`{text}` is no metric: the parentheses hold one operation"))),
            },
        };
        let figure = match name {
            "rate" => Figure::Rate,
            "errors" => Figure::Errors,
            "mean" => Figure::Mean,
            "max" => Figure::Max,
            _ => Figure::Percentile(Percentile::named(name).ok_or_else(|| match did_you_mean(name, NAMES) {
                Some(near) => {
                    Error::config(format!("there is no metric `{name}`")).with_hint(format!("did you mean `{near}`?"))
                }
                None => wrong(format!("there is no metric `{name}`")),
            })?),
        };
        Ok(Self { figure, operation: operation.filter(|name| *name != TOTAL).map(str::to_owned) })
    }
}

/// In one spelling: `p99.9(read)`.
impl fmt::Display for HistoryMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.figure {
            Figure::Rate => f.write_str("rate"),
            Figure::Errors => f.write_str("errors"),
            Figure::Mean => f.write_str("mean"),
            Figure::Max => f.write_str("max"),
            Figure::Percentile(percentile) => write!(f, "{percentile}"),
        }?;
        self.operation.as_ref().map_or(Ok(()), |operation| write!(f, "({operation})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_and_written() {
        for (text, expect, unit) in [
            ("p99(read)", "p99(read)", "us"),
            (" p99_9 ( read ) ", "p99.9(read)", "us"),
            ("p50", "p50", "us"),
            ("mean(total)", "mean", "us"),
            ("max", "max", "us"),
            ("rate", "rate", "/s"),
            ("errors(read)", "errors(read)", "%"),
        ] {
            let metric: HistoryMetric = text.parse().expect(text);
            assert_eq!((metric.to_string().as_str(), metric.unit()), (expect, unit), "{text}");
        }
    }

    #[test]
    fn what_is_no_metric_is_refused_with_a_remedy() {
        for (text, message, hint) in [
            ("p100", "there is no metric `p100`", "write p99"),
            ("p0", "there is no metric `p0`", "write p99"),
            ("raet", "there is no metric `raet`", "did you mean `rate`?"),
            ("p99(read", "`p99(read` is no metric", "write p99"),
            ("p99()", "`p99()` is no metric", "write p99"),
            ("p99(a, phase=b)", "is no metric", "write p99"),
            ("", "there is no metric ``", "write p99"),
        ] {
            let error = text.parse::<HistoryMetric>().expect_err(text);
            assert!(error.to_string().contains(message), "{text}: {error}");
            assert!(error.hint().is_some_and(|said| said.contains(hint)), "{text}: {:?}", error.hint());
        }
    }
}
