//! Everything that can be set, from wherever it was: flags, the environment, `.env`, `conf/config.yaml`, defaults, in this
//! order.
//!
//! [`SETTINGS`] is the one table of options. Where each value comes from is kept beside it, for errors and for
//! `storelab config explain`.

mod dotenv;
mod file;
mod flags;
mod kind;
mod table;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;

use store::{Error, Result, did_you_mean};

pub(crate) use flags::{GlobalFlags, ServiceFlags};
pub(crate) use kind::Value;
pub(crate) use table::{SETTINGS, STORES, Setting};

/// The file of options where no other is named.
pub(crate) const FILE_DEFAULT: &str = "conf/config.yaml";

/// What variables of ours alone begin with: an unknown one of these in `.env` is a mistake.
const OURS: &str = "STORELAB_";

/// Variables that say where files are, this one among them, and are asked before any file is read.
const OF_ENVIRONMENT_ALONE: [&str; 4] =
    ["STORELAB_CACHE", "STORELAB_CONFIG", "STORELAB_HOME", "STORELAB_REQUIRE_ENGINES"];

/// Where values may come from. Nothing else is looked at, so that tests bring their own.
pub(crate) struct Sources<'a> {
    /// Names of options with what flags say of them.
    pub(crate) flags: &'a [(&'static str, String)],
    pub(crate) environment: &'a dyn Fn(&str) -> Option<OsString>,
    /// The text of `.env`.
    pub(crate) dotenv: Option<String>,
    /// The file of options: what to call it, and its text.
    pub(crate) file: Option<(String, String)>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Environment(String),
    DotEnv { variable: String, line: usize },
    File { file: String, line: usize },
    Default,
}

impl Origin {
    /// One word for machines.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Environment(_) => "environment",
            Self::DotEnv { .. } => ".env",
            Self::File { .. } => "file",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag --{flag}"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::DotEnv { line, .. } => write!(f, ".env line {line}"),
            Self::File { file, line } => write!(f, "{file} line {line}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// An option that has a value.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) setting: &'static Setting,
    text: String,
    pub(crate) origin: Origin,
}

impl Given {
    /// The value, as others may see it.
    pub(crate) fn shown(&self) -> String {
        if self.setting.is_secret && !self.text.is_empty() {
            "***".to_owned()
        } else {
            kind::without_password(&self.text)
        }
    }

    /// The value.
    ///
    /// # Errors
    /// `Config`: the option by the name it was given under, why it is none, what would be.
    pub(crate) fn value(&self, name: &str) -> Result<Value> {
        self.setting.kind.read(&self.text).map_err(|refusal| {
            let (subject, place) = match &self.origin {
                Origin::Flag(flag) => (format!("--{flag}"), String::new()),
                Origin::Environment(variable) => (variable.clone(), String::new()),
                Origin::DotEnv { variable, line } => (variable.clone(), format!(".env line {line}: ")),
                Origin::File { file, line } => (name.to_owned(), format!("{file} line {line}: ")),
                Origin::Default => (name.to_owned(), String::new()),
            };
            Error::config(format!("{place}{subject} is `{}`, which {}", self.shown(), refusal.reason))
                .with_hint(refusal.remedy)
        })
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({})", self.shown(), self.origin)
    }
}

/// What holds.
#[derive(Debug, Clone)]
pub(crate) struct Settings(BTreeMap<String, Given>);

/// Every option by its name, those of each store too.
fn names() -> impl Iterator<Item = (String, &'static Setting)> {
    SETTINGS.iter().flat_map(|setting| {
        let stores: &[&str] = if setting.name.contains('*') { STORES } else { &[""] };
        stores.iter().map(move |store| (setting.name.replace('*', store), setting))
    })
}

/// The option of that name.
fn setting_named(name: &str) -> Option<&'static Setting> {
    names().find(|(known, _)| known == name).map(|(_, setting)| setting)
}

/// The environment variable of an option by its name.
pub(crate) fn variable_of(name: &str, setting: &Setting) -> String {
    let store = name.split('.').nth(1).unwrap_or_default();
    setting.variable.replace('*', &store.to_uppercase())
}

impl Settings {
    /// What holds of what the sources say. Values from flags and from the file, which are about us alone, are looked at
    /// here; those of variables, which others set too, where they are asked for.
    ///
    /// # Errors
    /// `Config` for a file that cannot be read as what it is, for keys that no option has, and for values that are none.
    pub(crate) fn resolve(sources: &Sources<'_>) -> Result<Self> {
        let dotenv = sources.dotenv.as_deref().map(dotenv::parse).transpose()?.unwrap_or_default();
        check_ours(&dotenv)?;
        let (file, entries) = match &sources.file {
            Some((file, text)) => (file.as_str(), file::parse(file, text)?),
            None => ("", Vec::new()),
        };
        let mut values = BTreeMap::new();
        for (name, setting) in names() {
            let variable = variable_of(&name, setting);
            let given = from_flags(sources, setting)
                .or(from_environment(sources, setting, &variable)?)
                .or_else(|| from_dotenv(&dotenv, setting, &variable))
                .or_else(|| from_file(file, &entries, &name))
                .or_else(|| Some((setting.default?.to_owned(), Origin::Default)));
            let Some((text, origin)) = given else { continue };
            let given = Given { setting, text, origin };
            if matches!(given.origin, Origin::Flag(_) | Origin::File { .. }) {
                given.value(&name)?;
            }
            values.insert(name, given);
        }
        Ok(Self(values))
    }

    /// What holds where nobody says anything.
    pub(crate) fn defaults() -> Self {
        let silent = Sources { flags: &[], environment: &|_| None, dotenv: None, file: None };
        Self::resolve(&silent).expect("without sources there is nothing to refuse")
    }

    /// What holds where a file of options says something.
    #[cfg(test)]
    pub(crate) fn of_file(text: &str) -> Self {
        let file = Some(("conf/config.yaml".to_owned(), text.to_owned()));
        let sources = Sources { flags: &[], environment: &|_| None, dotenv: None, file };
        Self::resolve(&sources).expect("the test's file is one of options")
    }

    /// Every option that has a value, by name.
    #[cfg(test)]
    fn given(&self) -> impl Iterator<Item = (&str, &Given)> {
        self.0.iter().map(|(name, given)| (name.as_str(), given))
    }

    /// What is said of an option, defaults included.
    pub(crate) fn get(&self, name: &str) -> Option<&Given> {
        debug_assert!(setting_named(name).is_some(), "`{name}` is in the table");
        self.0.get(name)
    }

    /// What somebody said of an environment variable, there or anywhere else; none for what is not in the table.
    pub(crate) fn variable(&self, variable: &str) -> Option<String> {
        let of_variable = |(name, given): &(&String, &Given)| variable_of(name, given.setting) == variable;
        let (_, given) = self.0.iter().find(of_variable)?;
        (given.origin != Origin::Default).then(|| given.text.clone())
    }

    /// A text, one of a choice, a path or a URL.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>> {
        self.value(name, |value| if let Value::Text(text) = value { Some(text) } else { None })
    }

    pub(crate) fn count(&self, name: &str) -> Result<Option<u64>> {
        self.value(name, |value| if let Value::Count(count) = value { Some(count) } else { None })
    }

    #[cfg_attr(not(feature = "otlp"), expect(dead_code, reason = "only traces have a share that is kept"))]
    pub(crate) fn fraction(&self, name: &str) -> Result<Option<f64>> {
        self.value(name, |value| if let Value::Fraction(fraction) = value { Some(fraction) } else { None })
    }

    pub(crate) fn switch(&self, name: &str) -> Result<bool> {
        let is_on = self.value(name, |value| if let Value::Switch(is_on) = value { Some(is_on) } else { None })?;
        Ok(is_on.unwrap_or_default())
    }

    pub(crate) fn names(&self, name: &str) -> Result<Vec<String>> {
        let names = self.value(name, |value| if let Value::Names(names) = value { Some(names) } else { None })?;
        Ok(names.unwrap_or_default())
    }

    pub(crate) fn address(&self, name: &str) -> Result<Option<SocketAddr>> {
        self.value(name, |value| if let Value::Address(address) = value { Some(address) } else { None })
    }

    /// The value of an option, of which `take` takes what its kind has.
    fn value<T>(&self, name: &str, take: impl FnOnce(Value) -> Option<T>) -> Result<Option<T>> {
        let Some(given) = self.get(name) else { return Ok(None) };
        Ok(Some(take(given.value(name)?).expect("whoever asks for an option knows its kind")))
    }
}

type Found = (String, Origin);

fn from_flags(sources: &Sources<'_>, setting: &'static Setting) -> Option<Found> {
    let (_, text) = sources.flags.iter().rev().find(|(name, _)| *name == setting.name)?;
    Some((text.clone(), Origin::Flag(setting.flag?.name())))
}

fn from_environment(sources: &Sources<'_>, setting: &Setting, variable: &str) -> Result<Option<Found>> {
    let Some(text) = (sources.environment)(variable) else { return Ok(None) };
    let text = text.into_string().map_err(|_| {
        Error::config(format!("the environment's {variable} is no text")).with_hint("write it in UTF-8")
    })?;
    Ok(says_something(setting, &text).then(|| (text, Origin::Environment(variable.to_owned()))))
}

fn from_dotenv(dotenv: &[dotenv::Variable], setting: &Setting, variable: &str) -> Option<Found> {
    let found = dotenv.iter().find(|one| one.name == variable && says_something(setting, &one.value))?;
    Some((found.value.clone(), Origin::DotEnv { variable: variable.to_owned(), line: found.line }))
}

fn from_file(file: &str, entries: &[file::Entry], name: &str) -> Option<Found> {
    let found = entries.iter().find(|entry| entry.name == name)?;
    Some((found.text.clone(), Origin::File { file: file.to_owned(), line: found.line }))
}

/// Whether a variable's text is a value: an empty one is how many unset it.
fn says_something(setting: &Setting, text: &str) -> bool {
    setting.may_be_empty || !text.is_empty()
}

/// Refuses variables of `.env` that look like ours and are not. Others' are none of our business: the file has many readers.
fn check_ours(dotenv: &[dotenv::Variable]) -> Result<()> {
    let known: Vec<String> = names().map(|(name, setting)| variable_of(&name, setting)).collect();
    let Some(unknown) = dotenv.iter().find(|one| one.name.starts_with(OURS) && !known.contains(&one.name)) else {
        return Ok(());
    };
    let error = Error::config(format!(".env line {}: there is no option `{}`", unknown.line, unknown.name));
    if OF_ENVIRONMENT_ALONE.contains(&unknown.name.as_str()) {
        return Err(error.with_hint("export it: it is read from the environment alone"));
    }
    Err(error.with_hint(match did_you_mean(&unknown.name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`storelab config explain` lists all".to_owned(),
    }))
}

#[cfg(test)]
mod tests;
