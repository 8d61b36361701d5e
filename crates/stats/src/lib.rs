//! Numbers only: histograms, per-second series, percentile curves.
//!
//! **No I/O and no async runtime**: values go in, numbers come out.

mod bootstrap;
#[cfg(test)]
mod bootstrap_tests;
mod effect;
mod evidence;
mod histogram;
mod multiple;
mod ranks;
mod resampling;
mod series;
mod summary;
mod unit;

pub use bootstrap::{Observed, Pairing, Statistic, compared, measured};
pub use effect::{cliffs_delta, cliffs_word};
pub use evidence::Evidence;
pub use histogram::{Histogram, HistogramError, LATENCY_NS_MAX};
pub use multiple::holm;
pub use ranks::quantile_ranks;
pub use series::{Keep, Percentiles, Points, Second, Series, downsampled};
pub use summary::{CurvePoint, Summary};
pub use unit::Unit;
