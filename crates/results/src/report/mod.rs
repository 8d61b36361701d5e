//! A run as one self-contained HTML file: figures, charts, verdict and provenance, readable for years without a server.
//!
//! Charts are static SVG made here, so that they show without JavaScript and in print; a few lines of script add a
//! crosshair. Nothing is fetched from anywhere, and the record as JSON is inside.

mod axis;
mod beside;
mod chart;
mod charts;
mod comparison;
pub(crate) mod format;
mod history;
mod knee;
mod page;
mod profiles;
mod prometheus;
mod resources;
mod sections;
mod table;
mod verdict;

pub use beside::{Drawn, side_by_side};
pub use comparison::comparison;
use experiment::{HistogramRecord, Record, SampleRecord};
pub use history::history;
pub use profiles::Picture;
use stats::Series;
pub(crate) use verdict::{counted, exact};

/// The report of a run.
pub fn html(record: &Record, samples: &[SampleRecord], histograms: &[HistogramRecord]) -> String {
    let mut series = Series::default();
    for sample in samples {
        add_sample(&mut series, sample);
    }
    html_of(record, &series, histograms)
}

/// Adds a second of a run to its series.
pub fn add_sample(series: &mut Series, sample: &SampleRecord) {
    let operations = sample.operations.iter();
    series.add(
        sample.second,
        operations.map(|one| (one.operation.as_str(), one.succeeded, one.failed, &one.latency)),
        sample.gauges.iter().map(|(name, value)| (*name, *value)),
    );
}

/// The report of a run whose samples were added to a [`Series`] one at a time, which takes a thousandth of the memory.
pub fn html_of(record: &Record, series: &Series, histograms: &[HistogramRecord]) -> String {
    html_with(record, series, histograms, &[])
}

/// The same with pictures that are kept with the run.
pub fn html_with(record: &Record, series: &Series, histograms: &[HistogramRecord], pictures: &[Picture]) -> String {
    page::render(record, series, histograms, pictures)
}

#[cfg(test)]
mod tests;
