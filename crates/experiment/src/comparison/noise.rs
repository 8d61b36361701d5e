//! What runs of the same differ by on a host: the noise that a change must exceed, assumed or measured.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Comparison;
use crate::record::Record;

/// Noise where nobody measured it, as a share of the baseline.
pub const NOISE_DEFAULT: f64 = 0.01;

/// Noise of the share of failures where nobody measured it, as a difference of shares: a tenth of a percentage point.
pub const ERRORS_NOISE_DEFAULT: f64 = 0.001;

/// Measured noise is taken for this at the least: what a quiet afternoon shows is not what the next week will.
const NOISE_MIN: f64 = 0.005;

/// The metric whose changes are differences of shares.
pub(crate) const ERRORS: &str = "errors";

/// The quantile of differences that counts as noise.
const QUANTILE: f64 = 0.95;

/// The least change that is more than noise, by metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    relative: f64,
    by_metric: BTreeMap<String, f64>,
    source: String,
}

impl Default for Noise {
    fn default() -> Self {
        Self {
            relative: NOISE_DEFAULT,
            by_metric: BTreeMap::new(),
            source: format!("{} % by default; `storelab calibrate` measures it", percent(NOISE_DEFAULT)),
        }
    }
}

impl Noise {
    /// As the user says: a share of the baseline, the same for all metrics but errors.
    pub fn given(relative: f64) -> Self {
        Self { relative, by_metric: BTreeMap::new(), source: format!("{} % as given", percent(relative)) }
    }

    /// Of a metric.
    pub(crate) fn of(&self, metric: &str) -> f64 {
        let assumed = if metric == ERRORS { ERRORS_NOISE_DEFAULT } else { self.relative };
        self.by_metric.get(metric).copied().unwrap_or(assumed)
    }

    /// Where it comes from, in words.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }
}

/// A share as a percentage, without the digits that binary fractions add.
fn percent(share: f64) -> f64 {
    (share * 1e4).round() / 1e2
}

/// What pairs of identical runs differed by: what `storelab calibrate` measures and keeps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// What it is about; comparisons of such runs use it.
    pub subject: Subject,
    /// When it was measured.
    pub measured_at: Timestamp,
    /// How many pairs of runs there were.
    pub pairs: usize,
    /// How long each run counted, in seconds.
    pub duration_seconds: f64,
    /// By metric of all operations together.
    pub metrics: BTreeMap<String, MeasuredNoise>,
}

/// A host, and the kind of run on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// Processor, cores and memory of the host, and its kernel.
    pub host: String,
    /// The data store's driver.
    pub driver: String,
    /// The workload, with its variant.
    pub workload: String,
}

/// What a metric differed by between identical runs, as a share of the first run's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredNoise {
    /// Nineteen of twenty differences stay below it.
    pub noise: f64,
    /// It lies between these two with a confidence of 95 %; the second is none where there were too few pairs to bound it,
    /// as of fewer than 72.
    pub interval: (f64, Option<f64>),
    /// Every difference, in the order of the pairs.
    pub differences: Vec<f64>,
}

impl Subject {
    /// Of a run.
    pub fn of(record: &Record) -> Self {
        let host = &record.provenance.host;
        let fields = ["cpu_model", "cores_allowed", "memory_bytes", "kernel"];
        let host = fields.map(|field| match &host[field] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let workload = match &record.workload.variant {
            Some(variant) => format!("{}:{variant}", record.workload.name),
            None => record.workload.name.clone(),
        };
        Self { host: host.join(", "), driver: record.target.driver.clone(), workload }
    }
}

impl Calibration {
    /// From comparisons of pairs of identical runs.
    pub fn of(subject: Subject, measured_at: Timestamp, duration_seconds: f64, pairs: &[Comparison]) -> Self {
        let mut differences: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for metric in
            pairs.iter().flat_map(|pair| &pair.metrics).filter(|metric| metric.operation == super::side::TOTAL)
        {
            differences.entry(metric.metric.clone()).or_default().push(metric.change);
        }
        let metrics = differences.into_iter().map(|(metric, differences)| (metric, MeasuredNoise::of(differences)));
        Self { subject, measured_at, pairs: pairs.len(), duration_seconds, metrics: metrics.collect() }
    }

    /// The noise that comparisons take.
    pub fn noise(&self) -> Noise {
        let floor = |metric: &str| if metric == ERRORS { ERRORS_NOISE_DEFAULT } else { NOISE_MIN };
        let by_metric = self.metrics.iter().map(|(metric, found)| (metric.clone(), found.noise.max(floor(metric))));
        Noise {
            relative: NOISE_DEFAULT,
            by_metric: by_metric.collect(),
            source: format!(
                "measured on {} by {} pairs of identical runs of {} on {}",
                self.measured_at.strftime("%Y-%m-%d"),
                self.pairs,
                self.subject.workload,
                self.subject.driver
            ),
        }
    }
}

impl MeasuredNoise {
    fn of(differences: Vec<f64>) -> Self {
        let mut sizes: Vec<f64> = differences.iter().map(|difference| difference.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        // Order statistics, which hold for any distribution.
        let at_least = (QUANTILE * sizes.len() as f64).ceil() as usize;
        let [low, high] = stats::quantile_ranks(sizes.len(), QUANTILE, 0.95);
        let at = |rank: usize| rank.checked_sub(1).and_then(|place| sizes.get(place)).copied();
        Self { noise: at(at_least).unwrap_or(0.0), interval: (at(low).unwrap_or(0.0), at(high)), differences }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_what_nineteen_of_twenty_stay_below() {
        let check = |count: i32, noise: f64, low: f64, high: Option<f64>| {
            // Signs do not matter.
            let differences = (1..=count).map(|n| f64::from(n) * if n % 2 == 0 { 0.001 } else { -0.001 }).collect();
            let found = MeasuredNoise::of(differences);
            assert!((found.noise - noise).abs() < 1e-9 && (found.interval.0 - low).abs() < 1e-9, "{count}: {found:?}");
            assert_eq!(found.interval.1.map(|high| (high * 1e3).round()), high, "{count}: {found:?}");
        };
        check(20, 0.019, 0.017, None);
        check(200, 0.190, 0.184, Some(197.0));
    }

    #[test]
    fn the_default_is_one_percent_and_a_tenth_of_a_percentage_point() {
        let noise = Noise::default();
        assert!((noise.of("p99") - 0.01).abs() < 1e-12 && (noise.of(ERRORS) - 0.001).abs() < 1e-12);
        let noise = Noise::given(0.07);
        assert_eq!(noise.source(), "7 % as given");
        assert!((noise.of("p99") - 0.07).abs() < 1e-12 && (noise.of(ERRORS) - 0.001).abs() < 1e-12);
    }
}
