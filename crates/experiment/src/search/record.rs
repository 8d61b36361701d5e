//! The greatest load that keeps a condition: what is kept of a search for it.

use serde::{Deserialize, Serialize};

/// A search for the greatest load that keeps a condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchRecord {
    /// What was varied.
    pub dimension: Dimension,
    /// The condition, as the user wrote it.
    pub condition: String,
    /// Every load that was tried, in the order in which it was.
    pub points: Vec<SearchPoint>,
    /// The greatest load that was seen to keep the condition; none where not even the least one did.
    pub found: Option<f64>,
    /// The knee, where the condition is just kept: of all tries, whereas what was found had to hold by itself and so lies
    /// below it on average. None where no load broke the condition.
    #[serde(default)]
    pub knee: Option<f64>,
    /// The knee lies between these two.
    pub interval: Option<[f64; 2]>,
    /// Whether a longer run at what was found kept the condition too.
    pub confirmed: bool,
    /// The share of it at which the run was then made.
    pub share: Option<f64>,
    /// What the search could not do, in words.
    pub notes: Vec<String>,
    /// Of a search over sessions: how throughput grows with them.
    pub scalability: Option<ScalabilityRecord>,
}

/// What a search varies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// Operations a second of an open load.
    Rate,
    /// Sessions of a closed load.
    Sessions,
}

impl Dimension {
    /// What follows a load.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Rate => "/s",
            Self::Sessions => " sessions",
        }
    }
}

/// A load that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchPoint {
    /// Why it was.
    pub stage: Stage,
    /// Operations a second that were offered, or sessions.
    pub load: f64,
    /// How long it was kept up.
    pub seconds: f64,
    /// Operations that succeeded, a second.
    pub throughput_per_second: f64,
    /// The figure that the condition is about, in the condition's unit; none where nothing was measured.
    pub value: Option<f64>,
    /// Median latency in microseconds.
    pub latency_us_p50: f64,
    /// 99th percentile of latency in microseconds.
    pub latency_us_p99: f64,
    /// Whether the condition held.
    pub kept: bool,
    /// Whether the generator did what was planned.
    pub valid: bool,
}

impl SearchPoint {
    /// A load that the store did not even take.
    pub(crate) fn unanswered(stage: Stage, load: f64) -> Self {
        Self {
            stage,
            load,
            seconds: 0.0,
            throughput_per_second: 0.0,
            value: None,
            latency_us_p50: 0.0,
            latency_us_p99: 0.0,
            kept: false,
            valid: true,
        }
    }
}

/// A part of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// From little to much in large steps.
    Coarse,
    /// Between the greatest load that kept the condition and the least that did not.
    Bisection,
    /// Once more at what was found, for longer.
    Confirmation,
}

/// The Universal Scalability Law (Gunther 2007): X(N) = λ N / (1 + σ (N - 1) + κ N (N - 1)).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScalabilityRecord {
    /// λ: operations a second of one session alone.
    pub lambda: f64,
    /// σ: contention, the share of the work that only one can do at a time.
    pub sigma: f64,
    /// κ: coherency, the cost of agreeing with every other.
    pub kappa: f64,
    /// Sessions with the greatest throughput; none where it grows for ever.
    pub peak_sessions: Option<f64>,
    /// Share of the variance that the law explains.
    pub r_squared: f64,
}
