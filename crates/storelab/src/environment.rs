//! Environment variables, and a `.env` file in the current folder for those that are not set.

use std::collections::HashMap;
use std::fs;
use std::sync::OnceLock;

use store::{Error, did_you_mean};
use tracing_subscriber::filter::LevelFilter;

use crate::terminal::Log;

/// A variable's value, from the environment or else from `.env`.
pub(crate) fn variable(name: &str) -> Option<String> {
    static FILE: OnceLock<HashMap<String, String>> = OnceLock::new();
    std::env::var(name).ok().or_else(|| {
        FILE.get_or_init(|| fs::read_to_string(".env").map(|text| parse(&text)).unwrap_or_default()).get(name).cloned()
    })
}

/// Reads `NAME=value` lines; `#` starts a comment line, quotes around a value are taken off.
fn parse(text: &str) -> HashMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(name, value)| {
            let value = value.trim();
            let unquoted = ['"', '\'']
                .iter()
                .find_map(|quote| value.strip_prefix(*quote).and_then(|value| value.strip_suffix(*quote)))
                .unwrap_or(value);
            (name.trim().to_owned(), unquoted.to_owned())
        })
        .collect()
}

/// Shows on stderr what the libraries have to say, from `LOG_LEVEL` on (`WARNING` where it is not set).
///
/// # Errors
/// `Config` for a level that does not exist.
pub(crate) fn log() -> store::Result<()> {
    let asked = variable("LOG_LEVEL").unwrap_or_else(|| "WARNING".to_owned());
    let levels = [
        ("OFF", LevelFilter::OFF),
        ("ERROR", LevelFilter::ERROR),
        ("CRITICAL", LevelFilter::ERROR),
        ("WARNING", LevelFilter::WARN),
        ("WARN", LevelFilter::WARN),
        ("INFO", LevelFilter::INFO),
        ("DEBUG", LevelFilter::DEBUG),
        ("TRACE", LevelFilter::TRACE),
    ];
    let Some((_, level)) = levels.iter().find(|(name, _)| name.eq_ignore_ascii_case(&asked)) else {
        let names = || levels.iter().map(|(name, _)| *name);
        let near = did_you_mean(&asked.to_uppercase(), names());
        let error = Error::config(format!("LOG_LEVEL is `{asked}`, which is no level"));
        return Err(match near {
            Some(near) => error.with_hint(format!("did you mean `{near}`?")),
            None => error.with_hint(format!("there are {}", names().collect::<Vec<_>>().join(", "))),
        });
    };
    tracing_subscriber::fmt().with_writer(|| Log).with_max_level(*level).with_target(false).init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_variables_is_read() {
        let read =
            parse("# comment\nPOSTGRES_HOST=db\nexport REDIS_URL='redis://h:1'\nEMPTY=\nnonsense\n X = \"a b\" \n");
        for (name, value) in [("POSTGRES_HOST", "db"), ("REDIS_URL", "redis://h:1"), ("EMPTY", ""), ("X", "a b")] {
            assert_eq!(read.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(read.len(), 4);
    }
}
