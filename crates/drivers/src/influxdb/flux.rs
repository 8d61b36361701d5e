//! Texts in Flux (<https://docs.influxdata.com/flux/v0/>), within the JSON that a query is sent as.
//!
//! What is put into them are names of ours, numbers, and keys in the alphabet of [`line`](super::line): nothing of it needs an
//! escape. Quotes of the Flux text are written as JSON wants them.

use std::fmt::Write;

/// What comes before every query's text: replies without annotations are a fifth shorter, and nothing in them is missed.
const OPEN: &str = r#"{"dialect":{"annotations":[]},"query":""#;
const CLOSE: &str = r#""}"#;

/// All records of a table: they are at one moment.
pub(crate) struct Records {
    /// Up to the condition on the key.
    from: String,
}

impl Records {
    pub(crate) fn new(bucket: &str, measurement: &str) -> Self {
        let range = range(bucket, 0, 1);
        Self { from: format!(r#"{OPEN}{range} |> filter(fn: (r) => r._measurement == \"{measurement}\""#) }
    }

    /// Every field of a record, or one: `_field`, `_value`.
    pub(crate) fn read(&self, tag: &str, field: Option<u16>, text: &mut String) {
        text.clear();
        text.push_str(&self.from);
        write!(text, r#" and r.id == \"{tag}\""#).expect("a String takes everything");
        if let Some(field) = field {
            write!(text, r#" and r._field == \"field{field}\""#).expect("a String takes everything");
        }
        text.push_str(r#") |> group() |> keep(columns: [\"_field\", \"_value\"])"#);
        text.push_str(CLOSE);
    }

    /// The keys from a tag's value on (`>=`) or behind it (`>`), in order: `_value`. The server answers it from its index, of which it goes through
    /// all keys: comparisons of tags are not among what it asks its index.
    pub(crate) fn keys(&self, from: &str, first: &str, limit: u32, text: &mut String) {
        text.clear();
        text.push_str(&self.from);
        text.push_str(r#") |> keep(columns: [\"id\"]) |> group() |> distinct(column: \"id\")"#);
        if !first.is_empty() {
            write!(text, r#" |> filter(fn: (r) => r._value {from} \"{first}\")"#).expect("a String takes everything");
        }
        write!(text, " |> sort() |> limit(n: {limit}){CLOSE}").expect("a String takes everything");
    }

    /// All fields of those records: `id`, `_field`, `_value`.
    pub(crate) fn read_all<'a>(&self, tags: impl Iterator<Item = &'a str>, text: &mut String) {
        text.clear();
        text.push_str(&self.from);
        for (position, tag) in tags.enumerate() {
            let before = if position == 0 { " and (" } else { " or " };
            write!(text, r#"{before}r.id == \"{tag}\""#).expect("a String takes everything");
        }
        text.push_str(r#")) |> group() |> keep(columns: [\"id\", \"_field\", \"_value\"])"#);
        text.push_str(CLOSE);
    }
}

/// The predicate that takes a record out, as the body of a deletion.
pub(crate) fn deletion(measurement: &str, tag: &str, text: &mut String) {
    text.clear();
    write!(
        text,
        r#"{{"start":"1970-01-01T00:00:00Z","stop":"1970-01-01T00:00:01Z","predicate":"_measurement=\"{measurement}\" AND id=\"{tag}\""}}"#
    )
    .expect("a String takes everything");
}

/// What devices measured.
pub(crate) struct Readings {
    bucket: String,
    measurement: &'static str,
}

impl Readings {
    pub(crate) fn new(bucket: &str, measurement: &'static str) -> Self {
        Self { bucket: bucket.to_owned(), measurement }
    }

    /// A device's points from one second up to another: `_time`, `_field`, `_value`, the fields one after the other.
    pub(crate) fn query(&self, device: u64, start_s: u64, stop_s: u64, text: &mut String) {
        text.clear();
        text.push_str(OPEN);
        self.points(device, start_s, stop_s, text);
        text.push_str(r#") |> keep(columns: [\"_time\", \"_field\", \"_value\"])"#);
        text.push_str(CLOSE);
    }

    /// The mean, the maximum and the count of each minute's values: `result` with the function's name, `_time` where the
    /// minute ends, `_value`.
    pub(crate) fn aggregate(&self, device: u64, start_s: u64, stop_s: u64, text: &mut String) {
        text.clear();
        text.push_str(OPEN);
        text.push_str("data = ");
        self.points(device, start_s, stop_s, text);
        text.push_str(r#" and r._field == \"value\")"#);
        for function in ["mean", "max", "count"] {
            write!(
                text,
                r#"\ndata |> aggregateWindow(every: 1m, fn: {function}, createEmpty: false) |> keep(columns: [\"_time\", \"_value\"]) |> yield(name: \"{function}\")"#
            )
            .expect("a String takes everything");
        }
        text.push_str(CLOSE);
    }

    /// Up to the end of the condition, which is left open.
    fn points(&self, device: u64, start_s: u64, stop_s: u64, text: &mut String) {
        let Self { bucket, measurement } = self;
        write!(
            text,
            r#"from(bucket: \"{bucket}\") |> range(start: {start_s}, stop: {stop_s}) |> filter(fn: (r) => r._measurement == \"{measurement}\" and r.device == \"d{device}\""#
        )
        .expect("a String takes everything");
    }
}

/// What a bucket holds between two seconds.
fn range(bucket: &str, start_s: u64, stop_s: u64) -> String {
    format!(r#"from(bucket: \"{bucket}\") |> range(start: {start_s}, stop: {stop_s})"#)
}

/// Appends a second since 1970 as the server writes times (RFC 3339).
pub(crate) fn push_time(seconds: u64, text: &mut String) {
    const DAY_S: u64 = 86_400;
    let (days, second) = (seconds / DAY_S, seconds % DAY_S);
    // Howard Hinnant's `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>), for days since 1970.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    write!(text, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
        .expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the server makes of a body.
    fn flux(body: &str) -> String {
        let value: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(value["dialect"]["annotations"], serde_json::json!([]));
        value["query"].as_str().expect("a text").to_owned()
    }

    #[test]
    fn texts_are_flux_within_json() {
        let records = Records::new("storelab_a", "usertable");
        let from = "from(bucket: \"storelab_a\") |> range(start: 0, stop: 1) \
            |> filter(fn: (r) => r._measurement == \"usertable\"";
        let mut text = String::new();
        records.read("k", None, &mut text);
        assert_eq!(
            flux(&text),
            format!("{from} and r.id == \"k\") |> group() |> keep(columns: [\"_field\", \"_value\"])")
        );
        records.read("k", Some(3), &mut text);
        assert!(flux(&text).contains(" and r.id == \"k\" and r._field == \"field3\") |> "), "{text}");
        records.keys(">=", "k", 7, &mut text);
        assert!(flux(&text).ends_with("filter(fn: (r) => r._value >= \"k\") |> sort() |> limit(n: 7)"), "{text}");
        records.read_all(["a", "b"].into_iter(), &mut text);
        assert!(flux(&text).contains(" and (r.id == \"a\" or r.id == \"b\")) |> group()"), "{text}");
        let readings = Readings::new("storelab_b", "readings");
        readings.aggregate(3, 60, 120, &mut text);
        let aggregate = flux(&text);
        assert_eq!((aggregate.lines().count(), aggregate.matches("aggregateWindow(every: 1m, fn: ").count()), (4, 3));
        readings.query(3, 60, 120, &mut text);
        assert!(
            flux(&text).contains("range(start: 60, stop: 120) |> filter(fn: (r) => r._measurement == \"readings\"")
        );
        deletion("usertable", "k", &mut text);
        let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(value["predicate"], "_measurement=\"usertable\" AND id=\"k\"");
    }

    #[test]
    fn times_are_written_as_the_server_writes_them() {
        for (seconds, expect) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_577_836_810, "2020-01-01T00:00:10Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            let mut text = String::new();
            push_time(seconds, &mut text);
            assert_eq!(text, expect);
        }
    }
}
