//! Values as the protocol carries them: rows of prepared statements in binary, all others as text.

use std::fmt::Write;

use ::store::Value;
use mysql_common::constants::{ColumnFlags, ColumnType};

use super::packet::{OutOfStep, Reader, sized};

/// The character set of bytes that are no text.
const CHARSET_BINARY: u16 = 63;

/// What byte strings without a character set become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    /// [`Value::Bytes`].
    Bytes,
    /// [`Value::Text`] where they are UTF-8: keys of records are bytes for their order, but they are text.
    Text,
}

/// How a column's bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Tiny {
        signed: bool,
    },
    Short {
        signed: bool,
    },
    Long {
        signed: bool,
    },
    LongLong {
        signed: bool,
    },
    Float,
    Double,
    Date,
    DateTime,
    Time,
    /// NULL, always.
    Null,
    Text,
    Bytes,
}

impl Column {
    /// From the definition of a column.
    pub(super) fn of(definition: &[u8], binary: Binary) -> Result<Self, OutOfStep> {
        let mut reader = Reader(definition);
        // The catalogue, the database, and the names of the table and the column, each as it is called and as it is.
        for _ in 0..6 {
            reader.sized()?;
        }
        // The length of what follows.
        reader.variable()?;
        let charset = reader.short()?;
        // How wide it is shown.
        reader.number()?;
        let kind = reader.byte()?;
        let flags = ColumnFlags::from_bits_truncate(reader.short()?);
        Ok(Self::of_type(kind, charset, !flags.contains(ColumnFlags::UNSIGNED_FLAG), binary))
    }

    fn of_type(kind: u8, charset: u16, signed: bool, binary: Binary) -> Self {
        // Types that came later than we know are sent as strings, as all that are neither number nor time.
        let Ok(kind) = ColumnType::try_from(kind) else { return Self::Text };
        match kind {
            ColumnType::MYSQL_TYPE_TINY => Self::Tiny { signed },
            ColumnType::MYSQL_TYPE_SHORT | ColumnType::MYSQL_TYPE_YEAR => Self::Short { signed },
            ColumnType::MYSQL_TYPE_LONG | ColumnType::MYSQL_TYPE_INT24 => Self::Long { signed },
            ColumnType::MYSQL_TYPE_LONGLONG => Self::LongLong { signed },
            ColumnType::MYSQL_TYPE_FLOAT => Self::Float,
            ColumnType::MYSQL_TYPE_DOUBLE => Self::Double,
            ColumnType::MYSQL_TYPE_DATE => Self::Date,
            ColumnType::MYSQL_TYPE_DATETIME | ColumnType::MYSQL_TYPE_TIMESTAMP => Self::DateTime,
            ColumnType::MYSQL_TYPE_TIME => Self::Time,
            ColumnType::MYSQL_TYPE_NULL => Self::Null,
            ColumnType::MYSQL_TYPE_BIT | ColumnType::MYSQL_TYPE_GEOMETRY => Self::Bytes,
            ColumnType::MYSQL_TYPE_VAR_STRING | ColumnType::MYSQL_TYPE_STRING | ColumnType::MYSQL_TYPE_BLOB
                if charset == CHARSET_BINARY && binary == Binary::Bytes =>
            {
                Self::Bytes
            }
            _ => Self::Text,
        }
    }

    /// The value of a column in a row of a prepared statement, which is not NULL. Times are written into `scratch`.
    pub(super) fn read<'a: 'v, 'v>(
        self,
        row: &mut Reader<'a>,
        scratch: &'v mut String,
    ) -> Result<Value<'v>, OutOfStep> {
        Ok(match self {
            Self::Text => text(row.sized()?),
            Self::LongLong { signed: true } => Value::Integer(i64::from_le_bytes(row.array()?)),
            Self::LongLong { signed: false } => unsigned(u64::from_le_bytes(row.array()?)),
            Self::Long { signed: true } => Value::Integer(i32::from_le_bytes(row.array()?).into()),
            Self::Long { signed: false } => Value::Integer(u32::from_le_bytes(row.array()?).into()),
            Self::Short { signed: true } => Value::Integer(i16::from_le_bytes(row.array()?).into()),
            Self::Short { signed: false } => Value::Integer(u16::from_le_bytes(row.array()?).into()),
            Self::Tiny { signed: true } => Value::Integer(i8::from_le_bytes(row.array()?).into()),
            Self::Tiny { signed: false } => Value::Integer(row.byte()?.into()),
            Self::Double => Value::Real(f64::from_le_bytes(row.array()?)),
            Self::Float => Value::Real(f32::from_le_bytes(row.array()?).into()),
            Self::Bytes => Value::Bytes(row.sized()?),
            Self::Null => Value::Null,
            Self::Date | Self::DateTime => {
                write_date(row.sized()?, self == Self::DateTime, scratch)?;
                Value::Text(scratch)
            }
            Self::Time => {
                write_time(row.sized()?, scratch)?;
                Value::Text(scratch)
            }
        })
    }

    /// The value of a column in a row of text.
    pub(super) fn parse(self, bytes: Option<&[u8]>) -> Value<'_> {
        let Some(bytes) = bytes else { return Value::Null };
        match (self, text(bytes)) {
            (Self::Bytes, _) => Value::Bytes(bytes),
            (
                Self::Tiny { .. } | Self::Short { .. } | Self::Long { .. } | Self::LongLong { .. },
                Value::Text(digits),
            ) => match (digits.parse(), digits.parse()) {
                (Ok(number), _) => Value::Integer(number),
                (Err(_), Ok(number)) => unsigned(number),
                (Err(_), Err(_)) => Value::Text(digits),
            },
            (Self::Float | Self::Double, Value::Text(digits)) => {
                digits.parse().map_or(Value::Text(digits), Value::Real)
            }
            (_, value) => value,
        }
    }
}

fn text(bytes: &[u8]) -> Value<'_> {
    std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text)
}

/// Numbers beyond the signed ones lose their last digits rather than their sign.
fn unsigned(number: u64) -> Value<'static> {
    i64::try_from(number).map_or(Value::Real(number as f64), Value::Integer)
}

/// Parts that are zero from some place on are left out: 0, 4, 7 or 11 bytes.
fn padded<const N: usize>(bytes: &[u8]) -> Result<[u8; N], OutOfStep> {
    let mut parts = [0; N];
    parts.get_mut(..bytes.len()).ok_or(OutOfStep)?.copy_from_slice(bytes);
    Ok(parts)
}

fn write_date(bytes: &[u8], with_time: bool, out: &mut String) -> Result<(), OutOfStep> {
    let [y, ear, month, day, hour, minute, second, micros @ ..] = padded::<11>(bytes)?;
    let year = u16::from_le_bytes([y, ear]);
    out.clear();
    let _ = write!(out, "{year:04}-{month:02}-{day:02}");
    if with_time {
        let _ = write!(out, " {hour:02}:{minute:02}:{second:02}");
        write_micros(u32::from_le_bytes(micros), out);
    }
    Ok(())
}

fn write_time(bytes: &[u8], out: &mut String) -> Result<(), OutOfStep> {
    let [negative, d, a, y, s, hours, minutes, seconds, micros @ ..] = padded::<12>(bytes)?;
    let days = u32::from_le_bytes([d, a, y, s]);
    let (sign, hours) = (if negative == 0 { "" } else { "-" }, u64::from(days) * 24 + u64::from(hours));
    out.clear();
    let _ = write!(out, "{sign}{hours:02}:{minutes:02}:{seconds:02}");
    write_micros(u32::from_le_bytes(micros), out);
    Ok(())
}

fn write_micros(micros: u32, out: &mut String) {
    if micros != 0 {
        let _ = write!(out, ".{micros:06}");
    }
}

/// The type that a parameter is sent as.
pub(super) fn type_of(value: &Value<'_>) -> u8 {
    let kind = match value {
        Value::Null => ColumnType::MYSQL_TYPE_NULL,
        Value::Integer(_) => ColumnType::MYSQL_TYPE_LONGLONG,
        Value::Real(_) => ColumnType::MYSQL_TYPE_DOUBLE,
        Value::Text(_) | Value::Bytes(_) => ColumnType::MYSQL_TYPE_VAR_STRING,
    };
    kind as u8
}

/// Appends a parameter; nothing for NULL, which a bit says.
pub(super) fn write(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Null => {}
        Value::Integer(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Real(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Text(text) => sized(out, text.as_bytes()),
        Value::Bytes(bytes) => sized(out, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_values_are_read_as_they_were_written() {
        let signed = true;
        for (column, bytes, expected) in [
            (Column::LongLong { signed }, &[0xfe, 255, 255, 255, 255, 255, 255, 255][..], Value::Integer(-2)),
            (Column::LongLong { signed: false }, &[255; 8], Value::Real(u64::MAX as f64)),
            (Column::Long { signed }, &[0xff; 4], Value::Integer(-1)),
            (Column::Long { signed: false }, &[0xff; 4], Value::Integer(u32::MAX.into())),
            (Column::Short { signed }, &[0xff; 2], Value::Integer(-1)),
            (Column::Short { signed: false }, &[0xff; 2], Value::Integer(65_535)),
            (Column::Tiny { signed }, &[0xff], Value::Integer(-1)),
            (Column::Tiny { signed: false }, &[0xff], Value::Integer(255)),
            (Column::Float, &[0, 0, 128, 62], Value::Real(0.25)),
            (Column::Text, b"\x02\xc3\xa4", Value::Text("ä")),
            (Column::Text, b"\x01\xff", Value::Bytes(b"\xff")),
            (Column::Bytes, b"\x01a", Value::Bytes(b"a")),
            (Column::Date, b"\x00", Value::Text("0000-00-00")),
            (Column::Date, b"\x04\xe4\x07\x01\x02", Value::Text("2020-01-02")),
            (Column::DateTime, b"\x04\xe4\x07\x01\x02", Value::Text("2020-01-02 00:00:00")),
            (Column::Time, b"\x00", Value::Text("00:00:00")),
            (Column::Time, b"\x08\x01\x02\0\0\0\x03\x04\x05", Value::Text("-51:04:05")),
        ] {
            let mut scratch = String::new();
            assert_eq!(column.read(&mut Reader(bytes), &mut scratch), Ok(expected), "{column:?}");
            let cut = &bytes[..bytes.len() - 1];
            assert_eq!(column.read(&mut Reader(cut), &mut scratch), Err(OutOfStep), "{column:?} is cut");
        }
        let mut scratch = String::new();
        assert_eq!(Column::Date.read(&mut Reader(b"\x0c123456789012"), &mut scratch), Err(OutOfStep));
    }

    #[test]
    fn text_values_keep_their_kind() {
        let integer = Column::LongLong { signed: true };
        for (column, bytes, expected) in [
            (integer, Some(&b"-12"[..]), Value::Integer(-12)),
            (integer, Some(b"18446744073709551615"), Value::Real(u64::MAX as f64)),
            (integer, Some(b"x"), Value::Text("x")),
            (Column::Double, Some(b"1.5e0"), Value::Real(1.5)),
            (Column::Date, Some(b"2020-01-02"), Value::Text("2020-01-02")),
            (Column::Bytes, Some(b"a"), Value::Bytes(b"a")),
            (Column::Text, None, Value::Null),
        ] {
            assert_eq!(column.parse(bytes), expected, "{column:?}");
        }
    }
}
