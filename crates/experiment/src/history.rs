//! One metric over many runs: what is kept of where it changed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The name of the shape.
pub const HISTORY_SCHEMA: &str = "storelab.history/1";

/// One metric over the runs of one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// [`HISTORY_SCHEMA`].
    pub schema: String,
    /// The runs' name.
    pub name: String,
    /// The metric, as in a threshold: `p99(read)`.
    pub metric: String,
    /// `us`, `/s`, `%`, `1`.
    pub unit: String,
    /// The runs, oldest first.
    pub points: Vec<HistoryPoint>,
    /// Where the metric changed for good.
    pub change_points: Vec<ChangePoint>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// A run of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// The run.
    pub run: Uuid,
    /// When it started.
    pub started_at: Timestamp,
    /// Its server's product and version.
    pub server: String,
    /// The metric.
    pub value: f64,
}

/// Where a metric changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// The place among the points of the first run after the change.
    pub index: usize,
    /// Mean from the change before it.
    pub before: f64,
    /// Mean up to the next change.
    pub after: f64,
    /// What changed, as a share of what was before.
    pub change: f64,
    /// The chance of it where nothing changed.
    pub p_value: f64,
}
