//! Comma-separated values (RFC 4180), lines ended as on Unix.

use std::borrow::Cow;

use super::Output;
use crate::Result;

/// Writes a row.
pub(super) fn write_row<'a>(out: Output<'_>, fields: impl IntoIterator<Item = Cow<'a, str>>) -> Result<()> {
    for (place, field) in fields.into_iter().enumerate() {
        if place > 0 {
            out.write_all(b",")?;
        }
        out.write_all(quoted(&field).as_bytes())?;
    }
    Ok(out.write_all(b"\n")?)
}

/// A number; nothing where there is none.
pub(super) fn real(value: f64) -> Cow<'static, str> {
    if value.is_finite() { Cow::Owned(value.to_string()) } else { Cow::Borrowed("") }
}

/// A field in quotes where it holds what would end it.
fn quoted(field: &str) -> Cow<'_, str> {
    if field.contains(['"', ',', '\n', '\r']) {
        Cow::Owned(format!("\"{}\"", field.replace('"', "\"\"")))
    } else {
        Cow::Borrowed(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        for (field, expect) in [
            ("read", "read"),
            ("a b", "a b"),
            ("a,b", "\"a,b\""),
            ("say \"so\"", "\"say \"\"so\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("", ""),
        ] {
            assert_eq!(quoted(field), expect);
        }
        assert_eq!((real(0.25), real(f64::NAN)), (Cow::Borrowed("0.25"), Cow::Borrowed("")));
    }
}
