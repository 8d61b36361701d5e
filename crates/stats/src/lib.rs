//! Numbers only: histograms, per-second series, percentile curves, tests, change points.
//!
//! **No I/O and no async runtime**: values go in, numbers come out.

mod bootstrap;
#[cfg(test)]
mod bootstrap_tests;
pub mod change_points;
mod crossing;
mod effect;
mod evidence;
mod histogram;
mod multiple;
mod ranks;
mod resampling;
mod scalability;
mod series;
mod stationarity;
mod summary;
mod unit;

pub use bootstrap::{Observed, Pairing, Statistic, compared, measured};
pub use crossing::{Crossing, CrossingPoint};
pub use effect::{cliffs_delta, cliffs_word};
pub use evidence::Evidence;
pub use histogram::{Histogram, HistogramError, LATENCY_NS_MAX};
pub use multiple::holm;
pub use ranks::quantile_ranks;
pub use scalability::Scalability;
pub use series::{Keep, Percentiles, Points, Second, Series, downsampled};
pub use stationarity::{STATIONARITY_SAMPLES_MIN, Stationarity, median, stationarity};
pub use summary::{CurvePoint, Summary};
pub use unit::Unit;
