//! Values as the protocol carries them, binary where that is known and as text otherwise.

use std::io::Write;

use ::store::{Error, Result, Value};

use super::message::OutOfStep;
use crate::contents::ColumnKind;

/// Numbers of types (`src/include/catalog/pg_type.dat`).
const BOOL: u32 = 16;
const BYTEA: u32 = 17;
pub(super) const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
pub(super) const TEXT: u32 = 25;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const NUMERIC: u32 = 1700;

/// A column's format in a Bind or a row description.
pub(super) const FORMAT_TEXT: u16 = 0;
pub(super) const FORMAT_BINARY: u16 = 1;

/// Before every binary JSONB.
const JSONB_VERSION: u8 = 1;

/// How a column's bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Bool,
    Bytes,
    Float4,
    Float8,
    Int2,
    Int4,
    Int8,
    /// A decimal in binary: what it is asked for as where all columns are.
    Numeric,
    /// Texts, and all types that are asked for as text.
    Text,
}

impl Column {
    /// A column of that type: how it is best asked for.
    pub(super) fn of(oid: u32) -> (Self, u16) {
        match oid {
            BOOL => (Self::Bool, FORMAT_BINARY),
            BYTEA => (Self::Bytes, FORMAT_BINARY),
            FLOAT4 => (Self::Float4, FORMAT_BINARY),
            FLOAT8 => (Self::Float8, FORMAT_BINARY),
            INT2 => (Self::Int2, FORMAT_BINARY),
            INT4 => (Self::Int4, FORMAT_BINARY),
            INT8 => (Self::Int8, FORMAT_BINARY),
            _ => (Self::Text, FORMAT_TEXT),
        }
    }

    /// A column of that type in binary, whatever it is best asked for as.
    pub(super) fn in_binary(oid: u32) -> Self {
        if oid == NUMERIC { Self::Numeric } else { Self::of(oid).0 }
    }

    /// The value of a column.
    pub(super) fn read(self, bytes: Option<&[u8]>) -> Result<Value<'_>, OutOfStep> {
        let Some(bytes) = bytes else { return Ok(Value::Null) };
        Ok(match self {
            Self::Int8 => Value::Integer(i64::from_be_bytes(exact(bytes)?)),
            Self::Text => std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text),
            Self::Int4 => Value::Integer(i32::from_be_bytes(exact(bytes)?).into()),
            Self::Int2 => Value::Integer(i16::from_be_bytes(exact(bytes)?).into()),
            Self::Bool => Value::Integer(exact::<1>(bytes)?[0].into()),
            Self::Float8 => Value::Real(f64::from_be_bytes(exact(bytes)?)),
            Self::Float4 => Value::Real(f32::from_be_bytes(exact(bytes)?).into()),
            Self::Numeric => decimal(bytes)?,
            Self::Bytes => Value::Bytes(bytes),
        })
    }
}

/// A decimal: a whole number where it is one of 64 bits, which sums are; else as near as a floating-point number gets.
/// How many digits of base 10,000, the weight of the first, the sign, the digits that are shown, and the digits
/// (`numeric_send` in `src/backend/utils/adt/numeric.c`).
fn decimal<'a>(bytes: &[u8]) -> Result<Value<'a>, OutOfStep> {
    const BASE: i64 = 10_000;
    const NEGATIVE: u16 = 0x4000;
    let (header, digits) = bytes.split_first_chunk::<8>().ok_or(OutOfStep)?;
    let part = |place: usize| u16::from_be_bytes([header[place], header[place + 1]]);
    let (count, weight, sign) = (part(0), part(2).cast_signed(), part(4));
    if digits.len() != usize::from(count) * 2 || !matches!(sign, 0 | NEGATIVE) {
        return Err(OutOfStep);
    }
    let digits = digits.chunks_exact(2).map(|digit| i64::from(u16::from_be_bytes([digit[0], digit[1]])));
    let (mut whole, mut real, mut place) = (Some(0_i64), 0.0, weight);
    for digit in digits {
        real += digit as f64 * (BASE as f64).powi(i32::from(place));
        whole = if place >= 0 { whole.and_then(|whole| whole.checked_mul(BASE)?.checked_add(digit)) } else { None };
        place = place.saturating_sub(1);
    }
    // Zeros at the end are not sent.
    for _ in 0..=place.min(i16::from(u8::MAX)) {
        whole = whole.and_then(|whole| whole.checked_mul(BASE));
    }
    let factor = if sign == NEGATIVE { -1 } else { 1 };
    Ok(whole.map_or(Value::Real(real * factor as f64), |whole| Value::Integer(whole * factor)))
}

fn exact<const N: usize>(bytes: &[u8]) -> Result<[u8; N], OutOfStep> {
    bytes.try_into().map_err(|_| OutOfStep)
}

/// Whether values of a type are numbers that can be counted with.
pub(super) fn is_number(oid: u32) -> bool {
    matches!(oid, INT8 | INT4 | INT2 | FLOAT8 | FLOAT4 | NUMERIC)
}

/// The type that a value has by itself.
pub(super) fn type_of(value: &Value<'_>) -> u32 {
    match value {
        Value::Null => 0,
        Value::Integer(_) => INT8,
        Value::Real(_) => FLOAT8,
        Value::Text(_) => TEXT,
        Value::Bytes(_) => BYTEA,
    }
}

/// The format in which a value is given to a parameter of that type.
pub(super) fn format_of(value: &Value<'_>, oid: u32) -> u16 {
    match (value, oid) {
        (Value::Integer(_), INT8 | INT4 | INT2)
        | (Value::Real(_), FLOAT8 | FLOAT4)
        | (Value::Text(_) | Value::Bytes(_), BYTEA) => FORMAT_BINARY,
        _ => FORMAT_TEXT,
    }
}

/// Appends a parameter of that type, in the format that [`format_of`] gives.
///
/// # Errors
/// `Config` for a number that the type cannot hold.
pub(super) fn write_parameter(out: &mut Vec<u8>, value: Value<'_>, oid: u32) -> Result<()> {
    match value {
        Value::Null => out.extend_from_slice(&(-1_i32).to_be_bytes()),
        Value::Text(text) => sized(out, text.as_bytes()),
        Value::Bytes(bytes) => sized(out, bytes),
        Value::Integer(number) => match oid {
            INT8 => sized(out, &number.to_be_bytes()),
            INT4 => sized(out, &i32::try_from(number).map_err(|_| too_large(number, "integer"))?.to_be_bytes()),
            INT2 => sized(out, &i16::try_from(number).map_err(|_| too_large(number, "smallint"))?.to_be_bytes()),
            _ => shown(out, number),
        },
        Value::Real(number) => match oid {
            FLOAT8 => sized(out, &number.to_be_bytes()),
            FLOAT4 => sized(out, &(number as f32).to_be_bytes()),
            _ => shown(out, number),
        },
    }
    Ok(())
}

/// Appends a column of a row for `COPY`, binary.
pub(super) fn write_copied(out: &mut Vec<u8>, value: Value<'_>, kind: ColumnKind) {
    match (value, kind) {
        (Value::Text(text), ColumnKind::Json) => {
            out.extend_from_slice(&(text.len() as u32 + 1).to_be_bytes());
            out.push(JSONB_VERSION);
            out.extend_from_slice(text.as_bytes());
        }
        // Workloads say which numbers fit; one that does not is cut, and then found by whoever reads it.
        (Value::Integer(number), ColumnKind::Integer32) => sized(out, &(number as i32).to_be_bytes()),
        (Value::Integer(number), _) => sized(out, &number.to_be_bytes()),
        (Value::Real(number), _) => sized(out, &number.to_be_bytes()),
        (Value::Text(text), _) => sized(out, text.as_bytes()),
        (Value::Bytes(bytes), _) => sized(out, bytes),
        (Value::Null, _) => out.extend_from_slice(&(-1_i32).to_be_bytes()),
    }
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A number as text, its length before it.
fn shown(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write!(out, "{number}").expect("a Vec takes everything");
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn too_large(number: i64, type_name: &str) -> Error {
    Error::config(format!("the parameter {number} does not fit the type {type_name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_they_were_given() {
        for (value, oid) in [
            (Value::Integer(i64::MIN), INT8),
            (Value::Integer(-7), INT4),
            (Value::Integer(7), INT2),
            (Value::Real(-0.5), FLOAT8),
            (Value::Real(0.25), FLOAT4),
            (Value::Text("ä"), TEXT),
            (Value::Bytes(b"\0\xff"), BYTEA),
            (Value::Null, INT8),
        ] {
            let mut out = Vec::new();
            write_parameter(&mut out, value, oid).expect("fits");
            let (column, format) = Column::of(oid);
            let mut reader = super::super::message::Reader(&out);
            assert_eq!(column.read(reader.column().expect("whole")), Ok(value), "{oid}");
            assert!(value == Value::Null || format == format_of(&value, oid), "{oid}");
        }
    }

    #[test]
    fn decimals_are_whole_numbers_where_they_can_be() {
        let check = |weight: i16, sign: u16, digits: &[u16], expect: Option<Value<'_>>| {
            let parts = [digits.len() as u16, weight.cast_unsigned(), sign, 0];
            let bytes: Vec<u8> = parts.iter().chain(digits).flat_map(|part| part.to_be_bytes()).collect();
            assert_eq!(Column::Numeric.read(Some(&bytes)).ok(), expect, "{digits:?}");
        };
        check(0, 0, &[], Some(Value::Integer(0)));
        check(0, 0, &[7], Some(Value::Integer(7)));
        check(1, 0x4000, &[12, 3456], Some(Value::Integer(-123_456)));
        check(2, 0, &[1], Some(Value::Integer(100_000_000)));
        check(4, 0, &[922, 3372, 368, 5477, 5807], Some(Value::Integer(i64::MAX)));
        check(0, 0, &[1, 5000], Some(Value::Real(1.5)));
        check(-1, 0x4000, &[2500], Some(Value::Real(-0.25)));
        check(5, 0, &[1], Some(Value::Real(1e20)));
        check(0, 0xC000, &[], None);
        assert_eq!(Column::Numeric.read(Some(b"\0\x02\0\0\0\0\0\0\0\x07")), Err(OutOfStep));
        assert_eq!(Column::Numeric.read(Some(b"")), Err(OutOfStep));
    }

    #[test]
    fn numbers_are_written_as_text_for_other_types_and_refused_where_they_do_not_fit() {
        for (value, oid, expect) in [
            (Value::Integer(-12), NUMERIC, &b"\0\0\0\x03-12"[..]),
            (Value::Real(1.5), NUMERIC, b"\0\0\0\x031.5"),
            (Value::Integer(1), TEXT, b"\0\0\0\x011"),
        ] {
            let mut out = Vec::new();
            write_parameter(&mut out, value, oid).expect("fits");
            assert_eq!((out.as_slice(), format_of(&value, oid)), (expect, FORMAT_TEXT));
        }
        for (number, oid) in [(1 << 31, INT4), (1 << 15, INT2)] {
            let error = write_parameter(&mut Vec::new(), Value::Integer(number), oid).expect_err("does not fit");
            assert_eq!(error.kind(), ::store::ErrorKind::Config);
        }
        assert_eq!(Column::Int8.read(Some(b"1")), Err(OutOfStep));
    }
}
