//! A target as somebody wrote it. It may hold a password, and is shown without whatever could be a part of one.

use std::fmt;

use serde::{Deserialize, Serialize};
use store::Target;

use crate::spec::LOCAL_PREFIX;

/// The text of a target: a URL, `local:NAME`, a store's name, or whatever else somebody gave for one. Shown, it tells the scheme and
/// where it is, and nothing that a password could hide in; serialised, it is whole.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetText(String);

impl TargetText {
    /// The text itself, for whoever connects.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for TargetText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for TargetText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for TargetText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_word = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_".contains(letter));
        if is_word(&self.0) || self.0.strip_prefix(LOCAL_PREFIX).is_some_and(is_word) {
            return f.write_str(&self.0);
        }
        let Some(target) = Target::parse(&self.0).ok().filter(|target| self.is_understood_as(target)) else {
            return f.write_str("***");
        };
        write!(f, "{}://{}", target.scheme(), target.host())?;
        target.port().map_or(Ok(()), |port| write!(f, ":{port}"))?;
        f.write_str("/***")
    }
}

impl TargetText {
    /// Whether what stands before the host was read as a user and a password: where a password with a slash or a question mark was not
    /// encoded, a part of it is taken for a host, a port or a path.
    fn is_understood_as(&self, target: &Target) -> bool {
        let has_user = target.user().is_some() || target.password().is_some();
        let has_authority = self.0.strip_prefix(target.scheme()).is_some_and(|rest| rest.starts_with("://"));
        has_authority && (has_user || !self.0.contains('@'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, PrometheusPlan};

    #[test]
    fn a_password_is_shown_in_no_form() {
        const CANARY: &str = "c4nary";
        for (text, shown) in [
            ("postgres://u:c4nary@127.0.0.1:5432/db", "postgres://127.0.0.1:5432/***"),
            ("redis://:c4nary@127.0.0.1", "redis://127.0.0.1/***"),
            ("redis://c4nary@127.0.0.1", "redis://127.0.0.1/***"),
            ("redis://c4nary@@127.0.0.1", "redis://127.0.0.1/***"),
            ("postgres://u:12/c4nary@127.0.0.1/db", "***"),
            ("postgres://u:12?c4nary@127.0.0.1/db", "***"),
            ("postgres://u:c4n/c4nary@127.0.0.1/db", "***"),
            ("elasticsearch://127.0.0.1?api_key=c4nary", "elasticsearch://127.0.0.1/***"),
            ("mysql://127.0.0.1/?pwd=c4nary", "mysql://127.0.0.1/***"),
            ("u:c4nary@tcp(127.0.0.1:3306)/db", "***"),
            ("u:c4nary@127.0.0.1", "***"),
            ("host=127.0.0.1 password=c4nary", "***"),
            ("jdbc:sqlserver://h;password=c4nary", "***"),
            ("local:postgres", "local:postgres"),
            ("postgres", "postgres"),
        ] {
            let text = TargetText::from(text);
            assert_eq!(format!("{text:?}"), shown, "{}", text.expose());
            let prometheus = Some(PrometheusPlan { url: Some(text.clone()), ..PrometheusPlan::default() });
            let plan = Plan { target: Some(text), prometheus, ..Plan::default() };
            assert!(!format!("{plan:?} {plan:#?}").contains(CANARY), "{shown}");
        }
    }
}
