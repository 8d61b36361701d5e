//! Requests are written by hand into reused buffers, and replies are read straight into rows.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::io::Write as _;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use store::{Error, Fields, Result, Value, Values};

use super::failure::not_understood;
use crate::rows::RowBuffer;

/// What a record's fields are called, with their numbers behind.
const FIELD: &str = "field";

/// Appends a string with its quotation marks.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut written = 0;
    for (place, byte) in text.iter().enumerate() {
        if !matches!(byte, b'"' | b'\\' | ..b' ') {
            continue;
        }
        out.extend_from_slice(&text[written..place]);
        written = place + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            control => push(out, format_args!("\\u{control:04x}")),
        }
    }
    out.extend_from_slice(&text[written..]);
    out.push(b'"');
}

/// Appends what needs no escape.
pub(super) fn push(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes everything");
}

/// Appends a record's fields, each with a comma before it where `comma` says so or it is not the first.
pub(super) fn push_fields(out: &mut Vec<u8>, values: Values<'_>, mut comma: bool) {
    for (number, value) in values.iter() {
        if comma {
            out.push(b',');
        }
        comma = true;
        push(out, format_args!("\"{FIELD}{number}\":"));
        push_text(out, value);
    }
}

/// Appends what asks for one field only.
pub(super) fn push_field_filter(path: &mut String, field: u16) {
    write!(path, "?_source_includes={FIELD}{field}").expect("a String takes everything");
}

/// The reply to a read by key.
#[derive(Deserialize)]
pub(super) struct Document<'a> {
    pub(super) found: bool,
    #[serde(rename = "_source", borrow)]
    pub(super) source: Option<&'a RawValue>,
}

/// The reply to a write of one document.
#[derive(Deserialize)]
pub(super) struct Written<'a> {
    #[serde(rename = "_id", borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) result: Cow<'a, str>,
}

/// The reply to a search.
#[derive(Deserialize)]
pub(super) struct Found<'a, A = IgnoredAny> {
    timed_out: bool,
    #[serde(borrow)]
    hits: Hits<'a>,
    pub(super) aggregations: Option<A>,
}

#[derive(Deserialize)]
struct Hits<'a> {
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

/// A document that a search found.
#[derive(Deserialize)]
pub(super) struct Hit<'a> {
    #[serde(rename = "_id", borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(rename = "_source", borrow)]
    pub(super) source: &'a RawValue,
}

impl<'a, A: Deserialize<'a>> Found<'a, A> {
    /// Reads it.
    ///
    /// # Errors
    /// `WrongResult` where the search was cut short, `Rejected` where it is no such reply.
    pub(super) fn of(body: &'a [u8]) -> Result<Self> {
        let found: Self = parse(body)?;
        if found.timed_out {
            return Err(Error::wrong_result("the search was cut short and gave a part of its result"));
        }
        Ok(found)
    }

    /// What was found, in order.
    pub(super) fn hits(&self) -> &[Hit<'a>] {
        &self.hits.hits
    }
}

/// Reads a reply.
///
/// # Errors
/// `Rejected` where it is not what such a reply is.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T> {
    serde_json::from_slice(body).map_err(|source| not_understood(body, source))
}

/// Appends a record's fields to the row that was begun, in the order of their numbers.
///
/// # Errors
/// `WrongResult` where the record does not have the fields of one.
pub(super) fn push_record(source: &RawValue, fields: Fields, rows: &mut RowBuffer) -> Result<()> {
    let next = match fields {
        Fields::All => 0,
        Fields::One(field) => field,
    };
    let mut reader = serde_json::Deserializer::from_str(source.get());
    let pushed = (FieldsInto { rows, next }).deserialize(&mut reader).map_err(|source| {
        Error::wrong_result(format!("a record holds something else than was written: {source}")).with_source(source)
    })?;
    if pushed == 0 && fields != Fields::All {
        rows.push(Value::Null);
    }
    Ok(())
}

/// Takes a record apart; how many fields it had. They come in their order, unless somebody else has written the record.
struct FieldsInto<'r> {
    rows: &'r mut RowBuffer,
    next: u16,
}

impl<'de> DeserializeSeed<'de> for FieldsInto<'_> {
    type Value = u16;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u16, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FieldsInto<'_> {
    type Value = u16;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record's fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u16, A::Error> {
        let Self { rows, mut next } = self;
        let first = next;
        // Those that came before their turn.
        let mut early: Vec<(u16, String)> = Vec::new();
        while let Some(name) = map.next_key_seed(FieldName)? {
            match name {
                None => drop(map.next_value::<IgnoredAny>()?),
                Some(number) if number == next => {
                    map.next_value_seed(TextInto(rows))?;
                    next += 1;
                    while let Some(place) = early.iter().position(|(number, _)| *number == next) {
                        rows.push(Value::Text(&early.swap_remove(place).1));
                        next += 1;
                    }
                }
                Some(number) => early.push((number, map.next_value()?)),
            }
        }
        match early.first() {
            None => Ok(next - first),
            Some((number, _)) => Err(A::Error::custom(format_args!("{FIELD}{number} where {FIELD}{next} comes next"))),
        }
    }
}

/// The number in a field's name; none where it is the name of something else.
struct FieldName;

impl<'de> DeserializeSeed<'de> for FieldName {
    type Value = Option<u16>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u16>, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for FieldName {
    type Value = Option<u16>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Option<u16>, E> {
        // The last number is left out, so that the one behind it can be counted.
        Ok(name.strip_prefix(FIELD).and_then(|number| number.parse().ok()).filter(|number| *number < u16::MAX))
    }
}

/// Copies a string to where rows are kept.
struct TextInto<'r>(&'r mut RowBuffer);

impl<'de> DeserializeSeed<'de> for TextInto<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for TextInto<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push(Value::Text(text));
        Ok(())
    }
}
