//! The seconds of a run as comma-separated values.

use std::borrow::Cow;

use super::seconds::{self, Value};
use super::{Format, Output, Source, csv};
use crate::Result;

pub(super) static FORMAT: Format = Format {
    name: "csv-seconds",
    extension: "seconds.csv",
    summary: "a row a second and operation: counts and latencies; rows of `total` have what was measured beside them",
    is_text: true,
    write,
};

fn write(source: &Source<'_>, out: Output<'_>) -> Result<()> {
    let gauges = source.gauge_names()?;
    csv::write_row(out, seconds::columns(&gauges).iter().map(|column| column.name.as_str().into()))?;
    seconds::each_row(source, &gauges, |row| csv::write_row(out, row.iter().map(field)))
}

fn field<'a>(value: &Value<'a>) -> Cow<'a, str> {
    match value {
        Value::Whole(value) => value.to_string().into(),
        Value::Real(value) => value.map_or(Cow::Borrowed(""), csv::real),
        Value::Text(text) => Cow::Borrowed(text),
        Value::Flag(flag) => Cow::Borrowed(if *flag { "true" } else { "false" }),
        Value::Time(time) => time.to_string().into(),
    }
}
