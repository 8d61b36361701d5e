//! Numbers only: histograms, per-second series, percentile curves
