//! Numbers only: histograms, per-second series, percentile curves.
//!
//! **No I/O and no async runtime**: values go in, numbers come out.

mod crossing;
mod histogram;
mod scalability;
mod series;
mod summary;

pub use crossing::{Crossing, CrossingPoint};
pub use histogram::{Histogram, HistogramError, LATENCY_NS_MAX};
pub use scalability::Scalability;
pub use series::{Keep, Percentiles, Points, Second, Series, downsampled};
pub use summary::{CurvePoint, Summary};
