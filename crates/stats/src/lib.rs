//! Numbers only: histograms, per-second series, percentile curves, tests, change points.
//!
//! **No I/O and no async runtime**: values go in, numbers come out.

pub mod change_points;
mod histogram;
mod series;
mod stationarity;
mod summary;

pub use histogram::{Histogram, HistogramError, LATENCY_NS_MAX};
pub use series::{Keep, Percentiles, Points, Second, Series, downsampled};
pub use stationarity::{STATIONARITY_SAMPLES_MIN, Stationarity, median, stationarity};
pub use summary::{CurvePoint, Summary};
