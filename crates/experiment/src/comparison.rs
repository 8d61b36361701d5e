//! Whether one run is faster than another: what is kept of the answer, and how it is found ([`compare`]).

#[cfg(test)]
mod fixture;
mod judge;
mod markdown;
mod noise;
mod sameness;
mod side;
mod words;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use judge::{CompareOptions, compare};
pub use markdown::comparison_markdown;
pub use noise::{Calibration, ERRORS_NOISE_DEFAULT, MeasuredNoise, NOISE_DEFAULT, Noise, Subject};
pub use side::{RunData, SideData};
pub use words::{change_text, change_word_text, interval_text, p_value_text, value_text, verdicts};

/// The name of the shape.
pub const COMPARISON_SCHEMA: &str = "storelab.comparison/1";

/// Runs beside a baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`COMPARISON_SCHEMA`].
    pub schema: String,
    /// What is compared: the baseline first.
    pub sides: Vec<Side>,
    /// Every operation and metric of every side but the first, beside the first.
    pub metrics: Vec<ComparedMetric>,
    /// The share of intervals that hold the true change: 0.95.
    pub confidence: f64,
    /// How intervals were made, and how many comparisons at once were allowed for, in words.
    pub method: String,
    /// What differs in versions, settings and hosts.
    pub differences: Vec<Difference>,
    /// Why these runs are not to be compared, which the user has overruled.
    pub overruled: Vec<String>,
}

/// One of what is compared: a run, or repeats of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// What to call it in tables.
    pub label: String,
    /// The runs' names and ids, in the order in which they were made.
    pub runs: Vec<(Uuid, String)>,
    /// Whether all of them are valid.
    pub valid: bool,
}

/// An operation's metric on one side, beside the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparedMetric {
    /// The side's place in `sides`, from 1.
    pub side: usize,
    /// The operation, or `total`.
    pub operation: String,
    /// `throughput`, `mean`, `p50`, `p90`, `p95`, `p99`, `p99.9`, `errors`.
    pub metric: String,
    /// `/s`, `us`, `%`.
    pub unit: String,
    /// Whether it is one of the few that the words above the table are about.
    pub is_headline: bool,
    /// Whether more is better.
    pub more_is_better: bool,
    /// On the baseline.
    pub baseline: f64,
    /// On the side.
    pub value: f64,
    /// What changed, as a share of the baseline: 0.05 is 5 % more. Of `errors`, whose baseline may be 0, the difference of
    /// the two shares: 0.05 is five percentage points more. `interval` and `noise` are the same.
    pub change: f64,
    /// The change lies between these two, with the comparison's confidence.
    pub interval: [f64; 2],
    /// The chance of such a change where there is none but noise, adjusted for the number of metrics.
    pub p_value: f64,
    /// Cliff's delta of the seconds, or of the repeats: from -1, all less, to 1, all more.
    pub effect_size: f64,
    /// Changes up to here are noise, as a share of the baseline.
    pub noise: f64,
    /// In a word.
    pub change_word: Change,
}

/// What became of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Better than the baseline.
    Faster,
    /// Worse than the baseline.
    Slower,
    /// Nothing that is more than noise.
    NoSignificantChange,
}

/// Something that is not the same on two sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What: `server`, `host.kernel`, `settings.shared_buffers` …
    pub what: String,
    /// Its value on each side; none where a side has it not.
    pub values: Vec<Option<String>>,
}
