//! What values an option takes, and how a text becomes one of them.

use std::fmt;
use std::net::SocketAddr;

use store::did_you_mean;

/// A kind of values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Anything.
    Text,
    /// A file's path.
    Path,
    /// Yes or no.
    Switch,
    /// Several texts: a sequence in YAML, elsewhere with commas between them.
    Names,
    /// A whole number, from and to.
    Count(u64, u64),
    /// A number from 0 to 1.
    Fraction,
    /// An IP address and a port.
    Address,
    /// One of these, in capitals or not.
    Choice(&'static [&'static str]),
    /// A URL with one of these schemes.
    Url(&'static [&'static str]),
}

/// A value, as its kind has it.
#[derive(Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Switch(bool),
    Names(Vec<String>),
    Count(u64),
    Fraction(f64),
    Address(SocketAddr),
}

impl fmt::Debug for Value {
    /// A text may be a password, or have one in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(***)"),
            Self::Switch(is_on) => write!(f, "Switch({is_on})"),
            Self::Names(names) => write!(f, "Names({names:?})"),
            Self::Count(count) => write!(f, "Count({count})"),
            Self::Fraction(fraction) => write!(f, "Fraction({fraction})"),
            Self::Address(address) => write!(f, "Address({address})"),
        }
    }
}

/// Why a text is none of the kind's values, and what would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: String,
    pub(crate) remedy: String,
}

impl Kind {
    /// What values there are, for tables.
    pub(crate) fn word(self) -> String {
        match self {
            Self::Text => "TEXT".to_owned(),
            Self::Path => "FILE".to_owned(),
            Self::Switch => "true|false".to_owned(),
            Self::Names => "NAME,NAME".to_owned(),
            Self::Count(least, most) => format!("{least}..{most}"),
            Self::Fraction => "0..1".to_owned(),
            Self::Address => "ADDRESS:PORT".to_owned(),
            Self::Choice(words) => words.join("|"),
            Self::Url(_) => "URL".to_owned(),
        }
    }

    /// What stands for a value behind a flag.
    pub(crate) const fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Path => "FILE",
            Self::Switch => "BOOL",
            Self::Names => "NAME,NAME",
            Self::Count(..) | Self::Fraction => "N",
            Self::Address => "ADDRESS:PORT",
            Self::Choice(_) => "WORD",
            Self::Url(_) => "URL",
        }
    }

    /// The value that a text stands for.
    pub(crate) fn read(self, text: &str) -> Result<Value, Refusal> {
        match self {
            Self::Text | Self::Path => Ok(Value::Text(text.to_owned())),
            Self::Switch => switch(text).map(Value::Switch),
            Self::Names => names(text).map(Value::Names),
            Self::Count(least, most) => count(text, least, most).map(Value::Count),
            Self::Fraction => fraction(text).map(Value::Fraction),
            Self::Address => address(text).map(Value::Address),
            Self::Choice(words) => choice(text, words).map(|word| Value::Text(word.to_owned())),
            Self::Url(schemes) => url(text, schemes).map(|()| Value::Text(text.to_owned())),
        }
    }
}

fn refusal(reason: impl Into<String>, remedy: impl Into<String>) -> Refusal {
    Refusal { reason: reason.into(), remedy: remedy.into() }
}

fn switch(text: &str) -> Result<bool, Refusal> {
    let is_one = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one(["true", "yes", "on", "1"]) {
        Ok(true)
    } else if is_one(["false", "no", "off", "0"]) {
        Ok(false)
    } else {
        Err(refusal("is neither true nor false", "write `true` or `false`"))
    }
}

fn names(text: &str) -> Result<Vec<String>, Refusal> {
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        return Err(refusal("has a name that is empty", "write names with a comma between them"));
    }
    Ok(names)
}

fn count(text: &str, least: u64, most: u64) -> Result<u64, Refusal> {
    let remedy = || format!("write a whole number from {least} to {most}");
    // YAML and Rust both let long numbers be grouped like this.
    let number: u64 = text.replace('_', "").parse().map_err(|_| refusal("is no whole number", remedy()))?;
    if (least..=most).contains(&number) { Ok(number) } else { Err(refusal("is out of its range", remedy())) }
}

fn fraction(text: &str) -> Result<f64, Refusal> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..=1.0).contains(&number) => Ok(number),
        _ => Err(refusal("is no number from 0 to 1", "write a share such as 0.1")),
    }
}

fn address(text: &str) -> Result<SocketAddr, Refusal> {
    let localised = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    localised
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| refusal("is no address with a port", "write one such as 127.0.0.1:8000 or [::1]:8000"))
}

fn choice(text: &str, words: &'static [&'static str]) -> Result<&'static str, Refusal> {
    if let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(word);
    }
    let [upper, lower] = [text.to_uppercase(), text.to_lowercase()];
    let near = did_you_mean(&upper, words.iter().copied()).or_else(|| did_you_mean(&lower, words.iter().copied()));
    Err(match near {
        Some(near) => refusal("does not exist", format!("did you mean `{near}`?")),
        None => refusal("does not exist", format!("there are {}", words.join(", "))),
    })
}

fn url(text: &str, schemes: &[&str]) -> Result<(), Refusal> {
    let remedy = || format!("write {}://HOST:PORT", schemes.join(":// or "));
    match text.split_once("://") {
        Some((scheme, rest)) if schemes.contains(&scheme) && !rest.is_empty() => Ok(()),
        Some((scheme, _)) if !schemes.contains(&scheme) => {
            Err(refusal(format!("is a URL of `{scheme}:`, which is not understood here"), remedy()))
        }
        _ => Err(refusal("is no URL", remedy())),
    }
}

/// A URL without who enters, and without what its parameters hold that look like secrets. What is no URL stays, unless
/// it has the looks of one with a password.
pub(crate) fn without_password(text: &str) -> String {
    const SECRETS: [&str; 5] = ["key", "pass", "pwd", "secret", "token"];
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    // Up to the last one: a password that nobody encoded may hold more.
    let rest = rest.rsplit_once('@').map_or_else(|| rest.to_owned(), |(_, place)| format!("***@{place}"));
    let Some((place, parameters)) = rest.split_once('?') else { return scheme + &rest };
    let hidden = parameters.split('&').map(|parameter| match parameter.split_once('=') {
        Some((name, _)) if SECRETS.iter().any(|secret| name.to_lowercase().contains(secret)) => format!("{name}=***"),
        _ => parameter.to_owned(),
    });
    format!("{scheme}{place}?{}", hidden.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_values_or_are_refused_with_a_remedy() {
        let text = |text: &str| Ok(Value::Text(text.to_owned()));
        let choice = Kind::Choice(&["text", "json"]);
        let http = Kind::Url(&["http", "https"]);
        let names = |names: &[&str]| Ok(Value::Names(names.iter().map(|name| (*name).to_owned()).collect()));
        let local = "127.0.0.1:8000".parse().expect("an address");
        for (kind, written, expected) in [
            (Kind::Text, "", text("")),
            (Kind::Path, "a b", text("a b")),
            (Kind::Switch, "Yes", Ok(Value::Switch(true))),
            (Kind::Switch, "0", Ok(Value::Switch(false))),
            (Kind::Switch, "maybe", Err("`true` or `false`")),
            (Kind::Names, "a, b", names(&["a", "b"])),
            (Kind::Names, "a,,b", Err("comma")),
            (Kind::Count(1, 9), "9", Ok(Value::Count(9))),
            (Kind::Count(1, 9999), "1_000", Ok(Value::Count(1000))),
            (Kind::Count(1, 9), "10", Err("1 to 9")),
            (Kind::Count(1, 9), "-1", Err("whole number")),
            (Kind::Count(1, 9), "1.5", Err("whole number")),
            (Kind::Fraction, "0.5", Ok(Value::Fraction(0.5))),
            (Kind::Fraction, "1.1", Err("0.1")),
            (Kind::Fraction, "NaN", Err("0.1")),
            (Kind::Address, "127.0.0.1:8000", Ok(Value::Address(local))),
            (Kind::Address, "localhost:8000", Ok(Value::Address(local))),
            (Kind::Address, "8000", Err("127.0.0.1:8000")),
            (Kind::Address, "db:8000", Err("127.0.0.1:8000")),
            (choice, "JSON", text("json")),
            (choice, "jsno", Err("did you mean `json`?")),
            (choice, "x", Err("there are text, json")),
            (http, "https://h", text("https://h")),
            (http, "h:80", Err("http:// or https://")),
            (http, "ftp://h", Err("http:// or https://")),
            (http, "http://", Err("http:// or https://")),
        ] {
            match (kind.read(written), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{kind:?} {written}"),
                (Err(refusal), Err(remedy)) => {
                    assert!(refusal.remedy.contains(remedy), "{kind:?} {written}: {refusal:?}");
                }
                (found, expected) => panic!("{kind:?} {written}: {found:?} is not {expected:?}"),
            }
        }
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_password() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379", "redis://127.0.0.1:6379"),
            ("redis://:canary@h:1/2", "redis://***@h:1/2"),
            ("mongodb://u:canary@h,i/db?ssl=true", "mongodb://***@h,i/db?ssl=true"),
            ("postgres://u:can@ary@h", "postgres://***@h"),
            ("postgres://u:can/ar?y@h/db", "postgres://***@h/db"),
            ("postgres://h/db?user=u&password=canary", "postgres://h/db?user=u&password=***"),
            ("dynamodb://h?session_token=canary&a", "dynamodb://h?session_token=***&a"),
            ("u:canary@h", "***@h"),
            ("results.db", "results.db"),
        ] {
            assert_eq!(without_password(text), shown);
        }
    }
}
