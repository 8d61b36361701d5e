//! Items of the library: attributes by their names.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

/// Attributes by name.
pub(super) type Item = HashMap<String, AttributeValue>;

/// A text.
pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A number.
pub(super) fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// An attribute that is a text.
pub(super) fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

/// An attribute that is a whole number.
pub(super) fn number_of(item: &Item, name: &str) -> Option<i64> {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|digits| digits.parse().ok())
}
