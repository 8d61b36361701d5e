//! Flags of `storelab serve` and `storelab token`.

use clap::{Args, Subcommand, ValueEnum};
use experiment::Span;
use results::service::Role;
use uuid::Uuid;

use crate::settings::ServiceFlags;

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Write the OpenAPI document of the API to stdout instead, as docs/api/openapi.json has it.
    #[arg(long)]
    pub(crate) openapi: bool,

    #[command(flatten)]
    pub(crate) settings: ServiceFlags,
}

#[derive(Debug, Args)]
pub(crate) struct TokenArguments {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, and write it to stdout: it is shown this once.
    Create(TokenCreateArguments),
    /// List the tokens, the newest first; what makes them tokens is not kept.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take a token back, at once and for good.
    Revoke {
        /// Its id, as `list` shows it, or its name where only one that is valid has it.
        token: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreateArguments {
    /// What whoever has it may do.
    #[arg(long)]
    pub(crate) role: RoleArgument,

    /// What to call it: the audit log says who by this name.
    #[arg(long)]
    pub(crate) name: String,

    /// How long it is valid: `12h`, `30d`; for ever where this is not given.
    #[arg(long, value_name = "D")]
    pub(crate) expires: Option<Life>,

    /// As JSON, with its id.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RoleArgument {
    /// Read.
    Viewer,
    /// Make, run, cancel and delete experiments as well.
    Operator,
    /// Decide about tokens and targets as well, read the audit log and stop everything.
    Admin,
}

impl From<RoleArgument> for Role {
    fn from(argument: RoleArgument) -> Self {
        match argument {
            RoleArgument::Viewer => Self::Viewer,
            RoleArgument::Operator => Self::Operator,
            RoleArgument::Admin => Self::Admin,
        }
    }
}

/// How long a token is valid: a span as elsewhere, or a number of days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Life(pub(crate) std::time::Duration);

impl std::str::FromStr for Life {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const DAY_SECONDS: u64 = 24 * 60 * 60;
        const DAYS_MAX: u64 = 3_660;
        if let Some(days) = text.strip_suffix('d') {
            let days = days.parse::<u64>().ok().filter(|days| (1..=DAYS_MAX).contains(days));
            let life = days.map(|days| Self(std::time::Duration::from_secs(days * DAY_SECONDS)));
            return life.ok_or_else(|| format!("give from 1d to {DAYS_MAX}d"));
        }
        let span: Span = text.parse().map_err(|error| format!("{error}; give `12h` or `30d`"))?;
        if span.0.is_zero() { Err("it must be longer than nothing".to_owned()) } else { Ok(Self(span.0)) }
    }
}

/// The token that a word means among those that there are.
pub(crate) fn chosen(word: &str, tokens: &[results::service::Token], now: jiff::Timestamp) -> store::Result<Uuid> {
    let id = Uuid::parse_str(word).ok();
    let by_id = tokens.iter().find(|token| Some(token.id) == id);
    let named: Vec<_> = tokens.iter().filter(|token| token.name == word && token.is_valid(now)).collect();
    match (by_id, named.as_slice()) {
        (Some(token), _) => Ok(token.id),
        (None, [token]) => Ok(token.id),
        (None, []) => {
            Err(store::Error::config(format!("there is no token `{word}`"))
                .with_hint("`storelab token list` lists them"))
        }
        (None, several) => Err(store::Error::config(format!("{} tokens are called `{word}`", several.len()))
            .with_hint("give the id, as `storelab token list` shows it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_spans_or_days() {
        let seconds = |text: &str| text.parse::<Life>().ok().map(|life| life.0.as_secs());
        for (text, expect) in
            [("30d", Some(2_592_000)), ("12h", Some(43_200)), ("0d", None), ("0s", None), ("3661d", None), ("x", None)]
        {
            assert_eq!(seconds(text), expect, "{text}");
        }
    }
}
