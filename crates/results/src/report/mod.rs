//! A run as one self-contained HTML file: figures, charts, verdict and provenance, readable for years without a server.
//!
//! Charts are static SVG made here, so that they show without JavaScript and in print; a few lines of script add a
//! crosshair. Nothing is fetched from anywhere, and the record as JSON is inside.

mod axis;
mod chart;
mod charts;
mod format;
mod page;
mod resources;
mod sections;
mod series;
mod table;

use experiment::{HistogramRecord, Record, SampleRecord};

pub use series::Series;

/// The report of a run.
pub fn html(record: &Record, samples: &[SampleRecord], histograms: &[HistogramRecord]) -> String {
    let mut series = Series::default();
    for sample in samples {
        series.add(sample);
    }
    html_of(record, &series, histograms)
}

/// The report of a run whose samples were added to a [`Series`] one at a time, which takes a thousandth of the memory.
pub fn html_of(record: &Record, series: &Series, histograms: &[HistogramRecord]) -> String {
    page::render(record, series, histograms)
}

#[cfg(test)]
mod tests;
