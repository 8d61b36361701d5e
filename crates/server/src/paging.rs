//! Lists in pages: at most so many items, and an opaque cursor to what follows.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::problem::Problem;

/// Items of a page at most: a page of the largest is some 200 kB.
pub(crate) const LIMIT_MAX: u32 = 200;

/// Items of a page where nobody says.
pub(crate) const LIMIT_DEFAULT: u32 = 50;

/// Bytes of what a cursor holds: a time and an id have some 60.
const CURSOR_BYTES_MAX: usize = 256;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items, in the order of the list.
    pub(crate) items: Vec<T>,
    /// What to give as `cursor` for the next page; null on the last.
    #[schema(example = "MTA1")]
    pub(crate) next: Option<String>,
}

/// How many items a page is to have: the parameter `limit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit(u32);

/// Where a page begins: the parameter `cursor`. What it holds is the list's business; a client gives back what it got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor(String);

/// Which items a page has, where nothing else can be asked of the list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Items of the page.
    #[serde(default)]
    #[param(required = false, value_type = u32, minimum = 1, maximum = 200, example = 50)]
    pub(crate) limit: Limit,
    /// `next` of the page before.
    #[param(required = false, value_type = Option<String>, example = "NTA")]
    pub(crate) cursor: Option<Cursor>,
}

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT_DEFAULT)
    }
}

impl Limit {
    /// How many.
    pub(crate) fn get(self) -> u32 {
        self.0
    }

    /// How many to ask the store for: one more tells whether there is another page.
    pub(crate) fn and_one(self) -> u32 {
        self.0 + 1
    }
}

impl Cursor {
    /// A cursor that holds something.
    pub(crate) fn of(held: impl fmt::Display) -> Self {
        Self(held.to_string())
    }

    /// A cursor of a list by time: behind what is of that moment and has that id.
    pub(crate) fn behind(moment: Timestamp, id: Uuid) -> Self {
        Self(format!("{} {id}", moment.as_microsecond()))
    }

    /// The moment and the id that it is behind.
    ///
    /// # Errors
    /// 422 for a cursor of another list.
    pub(crate) fn moment(&self) -> Result<(Timestamp, Uuid), Problem> {
        let parsed = self.0.split_once(' ').and_then(|(at, id)| {
            let moment = Timestamp::from_microsecond(at.parse().ok()?).ok()?;
            Some((moment, id.parse().ok()?))
        });
        parsed.ok_or_else(Self::refused)
    }

    /// What is said of a cursor of another list.
    pub(crate) fn refused() -> Problem {
        Problem::invalid("cursor", "it is none of this list")
            .with_remedy("take `next` of the page before, or leave it out")
    }

    /// What it holds.
    pub(crate) fn held(&self) -> &str {
        &self.0
    }

    /// As a client sees it.
    pub(crate) fn written(&self) -> String {
        URL_SAFE_NO_PAD.encode(&self.0)
    }
}

impl<T> Page<T> {
    /// A page of what was found when one more than the limit was asked for.
    pub(crate) fn cut(mut found: Vec<T>, limit: Limit, cursor: impl Fn(&T) -> Cursor) -> Self {
        let has_more = found.len() > limit.0 as usize;
        found.truncate(limit.0 as usize);
        let next = found.last().filter(|_| has_more).map(|last| cursor(last).written());
        Self { items: found, next }
    }

    /// A list that is short enough to be one page.
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None }
    }

    /// The same page of what each item becomes.
    pub(crate) fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = u64::deserialize(deserializer)?;
        let limit = u32::try_from(given).ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
        limit
            .map(Self)
            .ok_or_else(|| de::Error::custom(format_args!("it is {given}, and must be from 1 to {LIMIT_MAX}")))
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = String::deserialize(deserializer)?;
        let held = URL_SAFE_NO_PAD.decode(&given).ok().filter(|bytes| bytes.len() <= CURSOR_BYTES_MAX);
        let held = held.and_then(|bytes| String::from_utf8(bytes).ok());
        held.map(Self).ok_or_else(|| de::Error::custom("it is none that was given: take `next` of the page before"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_whether_there_is_another() {
        let limit: Limit = serde_json::from_str("2").expect("a limit");
        let page = Page::cut(vec![9, 8, 7], limit, |number| Cursor::of(number));
        assert_eq!(page.items, [9, 8]);
        let next = page.next.expect("there is more");
        let cursor: Cursor = serde_json::from_value(next.into()).expect("ours");
        assert_eq!(cursor.held(), "8");
        assert_eq!(Page::cut(vec![9, 8], limit, |number| Cursor::of(number)).next, None);
        for limit in ["0", "201", "-1", "null"] {
            assert!(serde_json::from_str::<Limit>(limit).is_err(), "{limit}");
        }
        assert!(serde_json::from_str::<Cursor>("\"not ours!\"").is_err());
    }

    #[test]
    fn cursors_of_other_lists_are_refused() {
        for held in ["", "5", "x 0197a7a0-5b7a-7e3e-9d4c-6f6d2f1c2b3b", "9223372036854775807 x", "-1 y"] {
            assert!(Cursor::of(held).moment().is_err(), "{held}");
        }
        let (moment, id) = (Timestamp::UNIX_EPOCH, Uuid::nil());
        assert_eq!(Cursor::behind(moment, id).moment().expect("ours"), (moment, id));
    }
}
