//! `HdrHistogram`'s interval log: a histogram a second, for the tools of that library in any language.
//!
//! Values are nanoseconds, so that `HistogramLogProcessor` tells milliseconds without being told a ratio. Lines with a tag
//! are those of one operation; lines without are of all together, which is what tools show when asked for no tag.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, IntervalLogWriterError, Tag};
use stats::Histogram;

use super::{Format, Output, Source, refused};
use crate::Result;

pub(super) static FORMAT: Format = Format {
    name: "hdr-log",
    extension: "hlog",
    summary: "HdrHistogram's interval log: the latencies of each recorded second in nanoseconds, a tag an operation",
    is_text: true,
    write,
};

/// What Java's writer puts above the intervals.
const LEGEND: &str = "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\"\n";

/// In nanoseconds: the column of greatest values is told in milliseconds, as Java's writer has it.
const MAX_VALUE_DIVISOR: f64 = 1e6;

fn write(source: &Source<'_>, mut out: Output<'_>) -> Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let start = SystemTime::from(source.record.started_at);
    // Two writers, since the legend belongs between the head and the intervals: one for the head, one for the rest.
    IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment(&format!("[Logged by storelab {}]", source.record.provenance.storelab))
        .add_comment(
            "[Latencies of the recorded phases in nanoseconds; lines without a tag are all operations together]",
        )
        .with_base_time(start)
        .with_start_time(start)
        .begin_log_with(&mut out, &mut serializer)?;
    out.write_all(LEGEND.as_bytes())?;
    let mut intervals = IntervalLogWriterBuilder::new();
    let mut log = intervals.with_max_value_divisor(MAX_VALUE_DIVISOR).begin_log_with(&mut out, &mut serializer)?;
    source.each_sample(|sample| {
        // An operation of two phases in one second is one interval.
        let mut operations: BTreeMap<&str, Histogram> = BTreeMap::new();
        let mut total = Histogram::new();
        for operation in sample.operations.iter().filter(|operation| source.phase(operation.phase).1) {
            operations.entry(&operation.operation).or_default().merge(&operation.latency);
            total.merge(&operation.latency);
        }
        let tagged = operations.iter().map(|(name, histogram)| (Some(tag_of(name)), histogram));
        for (tag, histogram) in [(None, &total)].into_iter().chain(tagged).filter(|(_, found)| !found.is_empty()) {
            let tag = tag.as_deref().map(|tag| Tag::new(tag).expect("what a tag may not hold was replaced"));
            let (at, length) = (Duration::from_secs(sample.second), Duration::from_secs(1));
            log.write_histogram(histogram.as_hdr(), at, length, tag).map_err(|error| match error {
                IntervalLogWriterError::IoError(error) => error.into(),
                IntervalLogWriterError::SerializeError(error) => refused(error),
            })?;
        }
        Ok(())
    })
}

/// A name as a tag, which holds no comma and no white space: those become `%` and their code, as in URLs.
fn tag_of(name: &str) -> String {
    let mut tag = String::with_capacity(name.len());
    for character in name.chars() {
        if character == ',' || character == '%' || character.is_whitespace() || character.is_control() {
            let mut bytes = [0; 4];
            tag.extend(character.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")));
        } else {
            tag.push(character);
        }
    }
    tag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_hold_nothing_that_ends_them() {
        for (name, expect) in [
            ("read", "read"),
            ("new order", "new%20order"),
            ("a,b\n", "a%2Cb%0A"),
            ("100%", "100%25"),
            ("\u{a0}", "%C2%A0"),
        ] {
            assert_eq!(tag_of(name), expect);
            assert!(Tag::new(&tag_of(name)).is_some());
        }
    }
}
