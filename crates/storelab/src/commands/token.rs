//! `storelab token`: who may ask the service. Works on the results store, whether the service runs or not.

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use results::service::{NewToken, Role, TokenSecret};
use results::{Location, Results};
use store::Error;

use crate::cli::{TokenArguments, TokenCommand, TokenCreateArguments, chosen};
use crate::exit::Exit;
use crate::settings::Settings;
use crate::terminal::{data, json, plain, table, table_text, talk};

/// Letters of a name, which stands in every line of the audit log.
const NAME_LETTERS_MAX: usize = 100;

pub(crate) fn run(arguments: &TokenArguments, settings: &Settings) -> anyhow::Result<Exit> {
    let location = Location::parse(settings.text("store")?.as_deref())?;
    let mut results = Results::open(&location)?;
    match &arguments.command {
        TokenCommand::Create(arguments) => create(&mut results, arguments),
        TokenCommand::List { json } => list(&mut results, *json),
        TokenCommand::Revoke { token } => revoke(&mut results, token),
    }
}

fn create(results: &mut Results, arguments: &TokenCreateArguments) -> anyhow::Result<Exit> {
    let name = arguments.name.trim();
    if !(1..=NAME_LETTERS_MAX).contains(&name.chars().count()) || name.chars().any(char::is_control) {
        let error =
            Error::config(format!("a name must have 1 to {NAME_LETTERS_MAX} letters, and no control characters"));
        return Err(error.into());
    }
    let now = Timestamp::now();
    let life = arguments.expires.map(|life| SignedDuration::try_from(life.0)).transpose()?;
    let expires_at = life.map(|life| now.checked_add(life)).transpose().context("the token would live too long")?;
    let secret = TokenSecret::draw()?;
    let new = NewToken { name: name.to_owned(), role: arguments.role.into(), hash: secret.hash(), expires_at };
    let Some(made) = results.create_token(new, now)? else {
        return Err(Error::rejected("there are too many tokens").with_hint("revoke some first").into());
    };
    let until = made.expires_at.map_or_else(|| "for ever".to_owned(), |end| format!("until {end}"));
    if arguments.json {
        json(&serde_json::json!({
            "id": made.id,
            "name": made.name,
            "role": made.role.name(),
            "expires_at": made.expires_at.map(|end| end.to_string()),
            "token": secret.expose(),
        }))?;
    } else {
        data(secret.expose());
    }
    talk(&format!(
        "`{}` may act as {} {until}; the token is shown this once",
        plain(&made.name),
        Role::name(made.role)
    ));
    Ok(Exit::Ok)
}

fn list(results: &mut Results, as_json: bool) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let tokens = results.tokens()?;
    if as_json {
        let shown = tokens.iter().map(|token| {
            serde_json::json!({
                "id": token.id,
                "name": token.name,
                "role": token.role.name(),
                "created_at": token.created_at.to_string(),
                "expires_at": token.expires_at.map(|end| end.to_string()),
                "revoked_at": token.revoked_at.map(|at| at.to_string()),
                "is_valid": token.is_valid(now),
            })
        });
        json(&shown.collect::<Vec<_>>())?;
        return Ok(Exit::Ok);
    }
    if tokens.is_empty() {
        talk("no tokens: on a loopback address the service needs none");
        return Ok(Exit::Ok);
    }
    let mut rows = table(["ID", "NAME", "ROLE", "STATE"]);
    for token in tokens {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(at), _) => format!("revoked {at}"),
            (None, Some(end)) if end <= now => format!("expired {end}"),
            (None, Some(end)) => format!("valid until {end}"),
            (None, None) => "valid".to_owned(),
        };
        rows.add_row([token.id.to_string(), plain(&token.name).into_owned(), token.role.name().to_owned(), state]);
    }
    data(&table_text(&rows));
    Ok(Exit::Ok)
}

fn revoke(results: &mut Results, word: &str) -> anyhow::Result<Exit> {
    let now = Timestamp::now();
    let id = chosen(word, &results.tokens()?, now)?;
    match results.revoke_token(id, now)? {
        Some(token) => {
            talk(&format!(
                "`{}` ({}) is revoked; a running service knows within a second",
                plain(&token.name),
                token.id
            ));
            Ok(Exit::Ok)
        }
        None => Err(Error::config(format!("there is no token {id}")).into()),
    }
}
