//! What goes into a statement and comes out of a row.

use crate::{Error, Result};

/// A value of either database.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Nothing.
    Null,
    /// A whole number, a time in microseconds, or a boolean as 0 or 1.
    Integer(i64),
    /// A number.
    Real(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row(pub(super) Vec<Value>);

/// What can be read from a [`Row`].
pub(crate) trait FromValue: Sized {
    /// The value, where it is one of that kind.
    fn from_value(value: &Value) -> Option<Self>;
}

impl Row {
    /// The value at that place, counted from 0.
    ///
    /// # Errors
    /// `Damaged` where it is missing or of another kind.
    pub(crate) fn get<T: FromValue>(&self, place: usize) -> Result<T> {
        self.0.get(place).and_then(T::from_value).ok_or_else(|| Error::Damaged {
            what: "a row".to_owned(),
            reason: format!(
                "column {place} is {}, where {} is expected",
                self.0.get(place).map_or("absent", Value::kind),
                std::any::type_name::<T>()
            ),
        })
    }
}

impl Value {
    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Integer(_) => "an integer",
            Self::Real(_) => "a real",
            Self::Text(_) => "text",
            Self::Blob(_) => "bytes",
        }
    }
}

macro_rules! into_value {
    ($($from:ty => |$value:ident| $made:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $made
            }
        })*
    };
}

into_value! {
    i64 => |value| Self::Integer(value);
    u16 => |value| Self::Integer(value.into());
    u32 => |value| Self::Integer(value.into());
    bool => |value| Self::Integer(value.into());
    f64 => |value| Self::Real(value);
    &str => |value| Self::Text(value.to_owned());
    &String => |value| Self::Text(value.clone());
    String => |value| Self::Text(value);
    &[u8] => |value| Self::Blob(value.to_vec());
    Vec<u8> => |value| Self::Blob(value);
}

/// Numbers past `i64::MAX` are kept by their bits, and come back as they were.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Integer(value.cast_signed())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Integer(value) = value { Some(*value) } else { None }
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(i64::cast_unsigned)
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for u16 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(|value| value != 0)
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Real(value) => Some(*value),
            Value::Integer(value) => Some(*value as f64),
            _ => None,
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(value) = value { Some(value.clone()) } else { None }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Blob(value) = value { Some(value.clone()) } else { None }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_or_is_an_error() {
        let row = Row(vec![
            7_i64.into(),
            1.5.into(),
            "text".into(),
            vec![1_u8, 2].into(),
            None::<i64>.into(),
            u64::MAX.into(),
            true.into(),
        ]);
        assert_eq!(row.get::<i64>(0).expect("an integer"), 7);
        assert_eq!(row.get::<Option<f64>>(0).expect("a number"), Some(7.0));
        assert_eq!(row.get::<Option<f64>>(1).expect("a number"), Some(1.5));
        assert_eq!(row.get::<String>(2).expect("text"), "text");
        assert_eq!(row.get::<Vec<u8>>(3).expect("bytes"), [1, 2]);
        assert_eq!(row.get::<Option<String>>(4).expect("nothing"), None);
        assert_eq!(row.get::<u64>(5).expect("by its bits"), u64::MAX);
        assert!(row.get::<bool>(6).expect("a boolean"));
        for error in [
            row.get::<i64>(2).map(drop),
            row.get::<i64>(4).map(drop),
            row.get::<String>(7).map(drop),
            row.get::<u16>(5).map(drop),
        ] {
            assert!(matches!(error, Err(Error::Damaged { .. })), "{error:?}");
        }
    }
}
