//! The table of a run's seconds, of which CSV and Parquet are two spellings.
//!
//! A row is one operation in one phase in one second. After those of a phase comes one of the operation `total`, with all of
//! them together; the last of a second has the gauges too. So a second in which a phase ends and another begins has two such
//! rows, and the sum over the recorded ones is the record's.

use experiment::{SampleRecord, SampledOperation};
use jiff::{SignedDuration, Timestamp};
use stats::{Histogram, Summary};

use super::Source;
use crate::Result;

/// What all operations together are called, as in the record.
const TOTAL: &str = "total";

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A count.
    Whole,
    /// A number, or nothing.
    Real,
    Text,
    Flag,
    /// To the microsecond, in UTC.
    Time,
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// A field.
#[derive(Debug)]
pub(super) enum Value<'a> {
    Whole(u64),
    Real(Option<f64>),
    Text(&'a str),
    Flag(bool),
    Time(Timestamp),
}

/// The columns that every run has.
const COLUMNS: &[(&str, Kind)] = &[
    ("second", Kind::Whole),
    ("time", Kind::Time),
    ("phase", Kind::Text),
    ("recorded", Kind::Flag),
    ("operation", Kind::Text),
    ("succeeded", Kind::Whole),
    ("failed", Kind::Whole),
    ("latency_us_mean", Kind::Real),
    ("latency_us_p50", Kind::Real),
    ("latency_us_p90", Kind::Real),
    ("latency_us_p95", Kind::Real),
    ("latency_us_p99", Kind::Real),
    ("latency_us_p99_9", Kind::Real),
    ("latency_us_max", Kind::Real),
];

/// The columns of a run with these gauges.
pub(super) fn columns(gauges: &[String]) -> Vec<Column> {
    let fixed = COLUMNS.iter().map(|(name, kind)| Column { name: (*name).to_owned(), kind: *kind });
    fixed.chain(gauges.iter().map(|name| Column { name: name.clone(), kind: Kind::Real })).collect()
}

/// Hands over every row, its values in the order of [`columns`].
pub(super) fn each_row(
    source: &Source<'_>,
    gauges: &[String],
    mut take: impl FnMut(&[Value<'_>]) -> Result<()>,
) -> Result<()> {
    let mut merged = Histogram::new();
    source.each_sample(|sample| {
        let mut phases: Vec<&[SampledOperation]> =
            sample.operations.chunk_by(|one, next| one.phase == next.phase).collect();
        if phases.is_empty() {
            // Nothing ended in this second: it has its gauges, and a total of none.
            phases.push(&[]);
        }
        let last = phases.len() - 1;
        for (place, operations) in phases.into_iter().enumerate() {
            let phase = match operations.first() {
                Some(operation) => source.phase(operation.phase),
                None => source.phase_at(sample.second),
            };
            let nothing = || gauges.iter().map(|_| Value::Real(None));
            merged.clear();
            let (mut all_succeeded, mut all_failed) = (0, 0);
            for SampledOperation { operation, succeeded, failed, latency, .. } in operations {
                let mut row = start(source, &sample, phase, operation, (*succeeded, *failed), latency);
                row.extend(nothing());
                take(&row)?;
                all_succeeded += succeeded;
                all_failed += failed;
                merged.merge(latency);
            }
            let mut row = start(source, &sample, phase, TOTAL, (all_succeeded, all_failed), &merged);
            if place == last {
                row.extend(gauges.iter().map(|name| Value::Real(sample.gauges.get(name.as_str()).copied())));
            } else {
                row.extend(nothing());
            }
            take(&row)?;
        }
        Ok(())
    })
}

fn start<'a>(
    source: &Source<'_>,
    sample: &SampleRecord,
    (phase, recorded): (&'a str, bool),
    operation: &'a str,
    (succeeded, failed): (u64, u64),
    latency: &Histogram,
) -> Vec<Value<'a>> {
    let since = SignedDuration::from_secs(sample.second.cast_signed());
    let time = source.record.started_at.checked_add(since).unwrap_or(Timestamp::MAX);
    let mut row = vec![
        Value::Whole(sample.second),
        Value::Time(time),
        Value::Text(phase),
        Value::Flag(recorded),
        Value::Text(operation),
        Value::Whole(succeeded),
        Value::Whole(failed),
    ];
    let summary = (!latency.is_empty()).then(|| latency.summary());
    let figures: [fn(&Summary) -> f64; 7] = [
        |summary| summary.mean,
        |summary| summary.p50,
        |summary| summary.p90,
        |summary| summary.p95,
        |summary| summary.p99,
        |summary| summary.p99_9,
        |summary| summary.max,
    ];
    row.extend(figures.map(|figure| Value::Real(summary.as_ref().map(figure))));
    row
}
