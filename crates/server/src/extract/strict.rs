//! A reader of JSON values that takes a structure from an object only, and says where in the value something is wrong.
//!
//! `serde_json` by itself reads a structure from a list as well, by the order of its fields, so that `[]` is a structure whose
//! fields all have defaults. A client that sends one has made a mistake and is told so here.

use std::fmt;

use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess,
    Visitor,
};
use serde_json::{Map, Value};

/// A value that is read strictly.
pub(super) struct Strict {
    value: Value,
    /// Whether numbers and truth values are written as text, as in the query of a URL.
    is_text: bool,
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct Error {
    /// From the outside in: `config`, `.rows`, `[3]`.
    path: Vec<String>,
    reason: String,
    field: Option<String>,
}

impl Strict {
    /// A body.
    pub(super) fn json(value: Value) -> Self {
        Self { value, is_text: false }
    }

    /// The parameters of a URL: an object of strings.
    pub(super) fn text(value: Value) -> Self {
        Self { value, is_text: true }
    }

    fn with(&self, value: Value) -> Self {
        Self { value, is_text: self.is_text }
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match &self.value {
            Value::Null => Unexpected::Other("null"),
            Value::Bool(value) => Unexpected::Bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => Unexpected::Unsigned(value),
                (_, Some(value), _) => Unexpected::Signed(value),
                (_, _, Some(value)) => Unexpected::Float(value),
                _ => Unexpected::Other("number"),
            },
            Value::String(text) => Unexpected::Str(text),
            Value::Array(_) => Unexpected::Other("a list"),
            Value::Object(_) => Unexpected::Other("an object"),
        }
    }

    /// A text that stands for a number or a truth value becomes one.
    fn scalar(self) -> Self {
        let Value::String(text) = &self.value else { return self };
        if !self.is_text {
            return self;
        }
        match serde_json::from_str(text) {
            Ok(value @ (Value::Number(_) | Value::Bool(_))) => self.with(value),
            _ => self,
        }
    }
}

impl Error {
    /// The field, as it is written in a path: `config.operations[2]`.
    pub(super) fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    fn inside(mut self, step: String) -> Self {
        self.path.insert(0, step);
        let mut field = String::new();
        for (place, step) in self.path.iter().enumerate() {
            if place > 0 && !step.starts_with('[') {
                field.push('.');
            }
            field.push_str(step);
        }
        self.field = Some(field);
        self
    }

    fn at(step: &str, reason: String) -> Self {
        Self { path: Vec::new(), reason, field: None }.inside(step.to_owned())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: Vec::new(), reason: message.to_string(), field: None }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match unexpected {
            Unexpected::Unit => de::Error::custom(format_args!("it is null, and must be {expected}")),
            Unexpected::Map => de::Error::custom(format_args!("it is an object, and must be {expected}")),
            Unexpected::Seq => de::Error::custom(format_args!("it is a list, and must be {expected}")),
            other => de::Error::custom(format_args!("it is {other}, and must be {expected}")),
        }
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        de::Error::custom(format_args!("it is {unexpected}, and must be {expected}"))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let known = expected.join(", ");
        match store::did_you_mean(variant, expected.iter().copied()) {
            Some(near) => de::Error::custom(format_args!("`{variant}` is none of {known}; did you mean `{near}`?")),
            None => de::Error::custom(format_args!("`{variant}` is none of {known}")),
        }
    }

    fn missing_field(field: &'static str) -> Self {
        Self::at(field, "it is missing".to_owned())
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let near = store::did_you_mean(field, expected.iter().copied());
        let reason = match near {
            Some(near) => format!("there is no such field; did you mean `{near}`?"),
            None => format!("there is no such field; there are {}", expected.join(", ")),
        };
        Self::at(field, reason)
    }
}

macro_rules! scalars {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.scalar().deserialize_any(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let is_text = self.is_text;
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), _, _) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (_, _, Some(value)) => visitor.visit_f64(value),
                _ => Err(de::Error::invalid_type(Unexpected::Other("number"), &visitor)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(values) => visitor.visit_seq(List { values: values.into_iter().enumerate(), is_text }),
            Value::Object(fields) => visitor.visit_map(Fields::new(fields, is_text)),
        }
    }

    scalars! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_unit() } else { self.deserialize_any(visitor) }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(fields) => visitor.visit_map(Fields::new(fields, self.is_text)),
            _ => Err(de::Error::invalid_type(self.unexpected(), &"an object")),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let is_text = self.is_text;
        match self.value {
            Value::String(name) => visitor.visit_enum(Choice { name, content: None, is_text }),
            Value::Object(fields) if fields.len() == 1 => {
                let (name, content) = fields.into_iter().next().expect("there is one");
                visitor.visit_enum(Choice { name, content: Some(content), is_text })
            }
            _ => Err(de::Error::invalid_type(self.unexpected(), &"a name, or an object with one field")),
        }
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit_struct seq tuple tuple_struct map identifier
    }
}

/// A list, element by element.
struct List {
    values: std::iter::Enumerate<std::vec::IntoIter<Value>>,
    is_text: bool,
}

impl<'de> SeqAccess<'de> for List {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((place, value)) = self.values.next() else { return Ok(None) };
        let read = seed.deserialize(Strict { value, is_text: self.is_text });
        read.map(Some).map_err(|error| error.inside(format!("[{place}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.values.len())
    }
}

/// An object, field by field.
struct Fields {
    rest: serde_json::map::IntoIter,
    current: Option<(String, Value)>,
    is_text: bool,
}

impl Fields {
    fn new(fields: Map<String, Value>, is_text: bool) -> Self {
        Self { rest: fields.into_iter(), current: None, is_text }
    }
}

impl<'de> MapAccess<'de> for Fields {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some((name, value)) = self.rest.next() else { return Ok(None) };
        let key = seed.deserialize(name.as_str().into_deserializer())?;
        self.current = Some((name, value));
        Ok(Some(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (name, value) = self.current.take().expect("a field's name is read before its value");
        seed.deserialize(Strict { value, is_text: self.is_text }).map_err(|error| error.inside(name))
    }
}

/// A variant of an enumeration.
struct Choice {
    name: String,
    content: Option<Value>,
    is_text: bool,
}

impl<'de> EnumAccess<'de> for Choice {
    type Error = Error;
    type Variant = Content;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content), Error> {
        let content = Content { name: self.name.clone(), value: self.content, is_text: self.is_text };
        Ok((seed.deserialize(self.name.into_deserializer())?, content))
    }
}

/// What a variant holds.
struct Content {
    name: String,
    value: Option<Value>,
    is_text: bool,
}

impl Content {
    fn held(self) -> (String, Strict) {
        (self.name, Strict { value: self.value.unwrap_or(Value::Null), is_text: self.is_text })
    }
}

impl<'de> VariantAccess<'de> for Content {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(Error::at(&self.name, "it holds nothing: give its name alone".to_owned())),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        let (name, value) = self.held();
        seed.deserialize(value).map_err(|error| error.inside(name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        let (name, value) = self.held();
        value.deserialize_any(visitor).map_err(|error| error.inside(name))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Error> {
        let (name, value) = self.held();
        value.deserialize_struct("", fields, visitor).map_err(|error| error.inside(name))
    }
}
