//! `conf/config.yaml`: keys that are in the table, with the lines they are in.
//!
//! A file is walked beside the table, which says what is to be found at each place, so that a password `0123` stays the text
//! that was written.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use store::{Error, Result, did_you_mean};

use super::kind::Kind;
use super::{names, setting_named};

/// What the file says of one option.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) text: String,
    /// From 1.
    pub(super) line: usize,
}

impl fmt::Debug for Entry {
    /// Without the text, which may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in line {}", self.name, self.line)
    }
}

/// A key that no option has.
#[derive(Debug)]
struct Unknown {
    section: String,
    key: String,
    line: usize,
}

/// What a file says, in its order. `file` is what to call it.
///
/// # Errors
/// `Config` with file and line, for what is no YAML and for keys that no option has.
pub(super) fn parse(file: &str, text: &str) -> Result<Vec<Entry>> {
    let mut found = Found::default();
    serde_saphyr::with_deserializer_from_str(text, |deserializer| {
        Section { path: "", found: &mut found }.deserialize(deserializer)
    })
    .map_err(|error| unreadable(file, &error))?;
    match found.unknown {
        Some(unknown) => Err(unknown.error(file)),
        None => Ok(found.entries),
    }
}

fn unreadable(file: &str, error: &serde_saphyr::Error) -> Error {
    let message = error.without_snippet().to_string();
    let message = message.lines().next().unwrap_or_default();
    let line = error.location().map_or_else(String::new, |location| format!(" line {}", location.line()));
    Error::config(format!("{file}{line}: {message}")).with_hint(
        "write it as conf/config.example.yaml is; `--config FILE` reads another file, `--config /dev/null` none",
    )
}

impl Unknown {
    fn error(&self, file: &str) -> Error {
        let Self { section, key, line } = self;
        let prefix = if section.is_empty() { String::new() } else { format!("{section}.") };
        let error = Error::config(format!("{file} line {line}: there is no option `{prefix}{key}`"));
        let mut here: Vec<String> =
            names().filter_map(|(name, _)| name.strip_prefix(&prefix)?.split('.').next().map(str::to_owned)).collect();
        here.sort_unstable();
        here.dedup();
        error.with_hint(match did_you_mean(key, here.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{prefix}{near}`?"),
            None if here.len() <= 16 => format!("there are {}", here.join(", ")),
            None => "`storelab config explain` lists all".to_owned(),
        })
    }
}

#[derive(Debug, Default)]
struct Found {
    entries: Vec<Entry>,
    /// The first.
    unknown: Option<Unknown>,
}

/// A mapping of options or of further mappings.
struct Section<'a> {
    path: &'a str,
    found: &'a mut Found,
}

impl<'de> DeserializeSeed<'de> for Section<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "options below `{}`", self.path)
    }

    /// A section without anything in it.
    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let line = key.referenced.line() as usize;
            let key = key.value;
            let name = if self.path.is_empty() { key.clone() } else { format!("{}.{key}", self.path) };
            let below = format!("{name}.");
            // A dot is a level, and no part of a key.
            let setting = setting_named(&name).filter(|_| !key.contains('.'));
            if let Some(setting) = setting {
                let text = match setting.kind {
                    Kind::Names => map.next_value::<Option<Several>>()?.map(|several| several.0),
                    _ => map.next_value::<Option<String>>()?,
                };
                self.found.entries.extend(text.map(|text| Entry { name, text, line }));
            } else if !key.contains('.') && names().any(|(known, _)| known.starts_with(&below)) {
                map.next_value_seed(Section { path: &name, found: self.found })?;
            } else {
                map.next_value::<IgnoredAny>()?;
                self.found.unknown.get_or_insert(Unknown { section: self.path.to_owned(), key, line });
            }
        }
        Ok(())
    }
}

/// A sequence of texts, or one text, as a text with commas.
struct Several(String);

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SeveralVisitor)
    }
}

struct SeveralVisitor;

impl<'de> Visitor<'de> for SeveralVisitor {
    type Value = Several;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a sequence of texts")
    }

    fn visit_str<E>(self, text: &str) -> Result<Several, E> {
        Ok(Several(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Several, A::Error> {
        let mut texts: Vec<String> = Vec::new();
        while let Some(text) = sequence.next_element()? {
            texts.push(text);
        }
        Ok(Several(texts.join(",")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Vec<(String, String, usize)> {
        let entries = parse("c.yaml", text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        entries.into_iter().map(|Entry { name, text, line }| (name, text, line)).collect()
    }

    #[test]
    fn values_are_the_texts_that_are_written() {
        let owned = |name: &str, text: &str, line| (name.to_owned(), text.to_owned(), line);
        let text = "# first\nexperiments:\n  default_rows: 1_000\n\nserver: { names: [a.b, c], loopback: no }\n\
            databases:\n  postgres: { pool_size: 10, password: 0123, db: null }\n  mongodb:\n    max_pool_size: 50\n\
            log:\nprometheus_url: 'http://h:9090'\n";
        let expected = [
            owned("experiments.default_rows", "1_000", 3),
            owned("server.names", "a.b,c", 5),
            owned("server.loopback", "no", 5),
            owned("databases.postgres.pool_size", "10", 7),
            owned("databases.postgres.password", "0123", 7),
            owned("databases.mongodb.max_pool_size", "50", 9),
            owned("prometheus_url", "http://h:9090", 11),
        ];
        assert_eq!(read(text), expected);
        assert_eq!(read("server:\n  names: lab.example.org\n"), [owned("server.names", "lab.example.org", 2)]);
        for nothing in ["", "# only a comment\n", "---\n", "server:\n", "server: {}\n"] {
            assert_eq!(read(nothing), [], "{nothing:?}");
        }
    }

    #[test]
    fn what_no_option_has_is_said_with_file_line_and_the_nearest() {
        for (text, parts) in [
            (
                "server:\n  listne: x\n",
                &["c.yaml line 2", "`server.listne`", "hint: did you mean `server.listen`?"][..],
            ),
            ("sevrer:\n  listen: x\n", &["c.yaml line 1", "`sevrer`", "did you mean `server`?"]),
            ("\n\nlog:\n  zzz: x\n", &["c.yaml line 4", "`log.zzz`", "there are format, level"]),
            ("databases:\n  postgers: {}\n", &["c.yaml line 2", "did you mean `databases.postgres`?"]),
            (
                "databases:\n  postgres:\n    pool_szie: 1\n",
                &["line 3", "did you mean `databases.postgres.pool_size`?"],
            ),
            ("databases:\n  '*': { pool_size: 1 }\n", &["line 2", "`databases.*`"]),
            ("server.listen: x\n", &["line 1", "`server.listen`"]),
            ("server: [1]\n", &["c.yaml line 1", "hint:"]),
            ("server:\n  listen: [x]\n", &["c.yaml line 2", "hint:"]),
            ("store: { a: 1 }\n", &["c.yaml line 1", "hint:"]),
            ("- a\n", &["c.yaml line 1", "hint:"]),
            ("store: a\nstore: b\n", &["c.yaml line 2", "store"]),
            ("store: a\n---\nstore: b\n", &["c.yaml", "hint:"]),
            ("store: [\n", &["c.yaml line", "hint:"]),
        ] {
            let error = parse("c.yaml", text).expect_err(text);
            let said = format!("{error} hint: {}", error.hint().unwrap_or_default());
            for part in parts {
                assert!(said.contains(part), "{text:?} does not say {part:?}: {said}");
            }
        }
    }

    #[test]
    fn a_password_that_is_misplaced_is_not_shown() {
        for text in [
            "databases:\n  postgres:\n    password: [canary]\n",
            "databases:\n  postgres:\n    pasword: canary\n",
            "databases:\n  postgres:\n    password: {a: canary}\n",
            "databases:\n  postgres:\n    password: 'canary\n",
            "databases: canary\n",
        ] {
            let error = parse("c.yaml", text).expect_err(text);
            assert!(!format!("{error:?}").contains("canary"), "{text:?}: {error:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(?s).{0,120}") {
            let _ = parse("c.yaml", &text);
        }

        #[test]
        fn any_text_of_what_matters_is_read_or_refused(text in "(server|listen|names|store|databases|postgres|[ :\\-\\[\\]{},&*!|>'\"#\n]){0,30}") {
            let _ = parse("c.yaml", &text);
        }
    }
}
