//! Where a server is and how it is entered, from a target's URL or the environment.

use std::sync::Arc;
use std::time::Duration;

use ::store::{Error, Lookup, Result, Secret, Target, TargetOption, TlsMode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::tls::{self, TLS_CA_OPTION, TLS_OPTION};

/// Registered for `PostgreSQL`.
pub(super) const DEFAULT_PORT: u16 = 5432;

/// Who enters where the URL names nobody.
const DEFAULT_USER: &str = "postgres";

/// What the documented environment variables are where they are not set: name and value.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("POSTGRES_HOST", "127.0.0.1"),
    ("POSTGRES_PORT", "5432"),
    ("POSTGRES_USER", "postgres"),
    ("POSTGRES_PASSWORD", "postgres"),
    ("POSTGRES_DB", "optistack"),
];

/// How long work around a run waits for a lock: longer than any statement of ours holds one, shorter than an operator's
/// patience with a stray session.
pub(super) const LOCK_TIMEOUT: &str = "30s";

pub(super) static OPTIONS: [TargetOption; 8] = [
    TargetOption { name: "application_name", summary: "what the server calls our sessions, storelab" },
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take, 10" },
    TargetOption { name: "isolation", summary: "of transactions: read committed, repeatable read or serializable" },
    TargetOption { name: "options", summary: "the server's own settings for our sessions: -c work_mem=64MB" },
    TargetOption {
        name: "sslmode",
        summary: "as libpq has it: disable, require (not verified), verify-ca or verify-full",
    },
    TargetOption { name: "statement_timeout", summary: "how long a statement may take, in milliseconds or as 30s" },
    TLS_OPTION,
    TLS_CA_OPTION,
];

const ISOLATION_LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

/// Where a server is and how it is entered.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) connect_timeout: Duration,
    /// What the start-up message says: names and values.
    pub(super) parameters: Vec<(&'static str, String)>,
}

impl Address {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(super) fn of(target: &Target) -> Result<Self> {
        let user = target.user().unwrap_or(DEFAULT_USER).to_owned();
        let encrypted = with_tls_mode(target)?;
        let tls = match tls::client_config(&encrypted, TlsMode::Off)? {
            Some(config) => Some((config, tls::server_name(target)?)),
            None => None,
        };
        Ok(Self {
            host: target.host().to_owned(),
            port: target.port().unwrap_or(DEFAULT_PORT),
            password: target.password().cloned(),
            tls,
            connect_timeout: target.connect_timeout()?,
            parameters: parameters(target, &user)?,
            user,
        })
    }
}

/// The target with `tls` where it has `sslmode`, the word that every user of `psql` knows.
fn with_tls_mode(target: &Target) -> Result<Target> {
    let Some(mode) = target.option("sslmode") else { return Ok(target.clone()) };
    if target.option(TLS_OPTION.name).is_some() {
        return Err(Error::config("the target's URL gives both `tls` and `sslmode`").with_hint("leave one of them out"));
    }
    let mode = match mode {
        "disable" => "off",
        "require" => "insecure",
        "verify-ca" | "verify-full" => "verify",
        "allow" | "prefer" => {
            return Err(Error::config(format!("the target's `sslmode={mode}` leaves open whether it is encrypted"))
                .with_hint("say which one is to be measured: sslmode=disable, require or verify-full"));
        }
        _ => {
            return Err(Error::config(format!("the target's `sslmode={mode}` is unknown"))
                .with_hint("use sslmode=disable, require or verify-full, or tls=off, insecure or verify"));
        }
    };
    Ok(target.clone().with_option(TLS_OPTION.name, mode))
}

fn parameters(target: &Target, user: &str) -> Result<Vec<(&'static str, String)>> {
    let database = if target.path().is_empty() { user } else { target.path() };
    let mut parameters = vec![
        ("user", user.to_owned()),
        ("database", database.to_owned()),
        ("client_encoding", "UTF8".to_owned()),
        ("application_name", target.option("application_name").unwrap_or("storelab").to_owned()),
    ];
    for name in ["options", "statement_timeout"] {
        if let Some(value) = target.option(name) {
            parameters.push((name, value.to_owned()));
        }
    }
    if let Some(given) = target.option("isolation") {
        let wanted = given.to_ascii_lowercase().replace(['-', '_'], " ");
        let level = ISOLATION_LEVELS.iter().find(|level| **level == wanted).ok_or_else(|| {
            Error::config(format!("the target's `isolation={given}` is unknown"))
                .with_hint(format!("use one of {}", ISOLATION_LEVELS.join(", ")))
        })?;
        parameters.push(("default_transaction_isolation", (*level).to_owned()));
    }
    if parameters.iter().any(|(_, value)| value.contains('\0')) {
        return Err(Error::config("the target's URL holds a zero byte"));
    }
    Ok(parameters)
}

/// The URL that the documented environment variables describe.
pub(super) fn url_from_environment(lookup: Lookup<'_>) -> String {
    let [host, port, user, password, database] =
        ENVIRONMENT.map(|(name, default)| lookup(name).filter(|value| !value.is_empty()).unwrap_or(default.to_owned()));
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    format!("postgres://{}:{}@{host}:{port}/{}", encoded(&user), encoded(&password), encoded(&database))
}

/// A text as a part of a URL.
fn encoded(text: &str) -> percent_encoding::PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Result<Address> {
        Address::of(&Target::parse(url).expect("a URL"))
    }

    #[test]
    fn urls_say_who_enters_and_how() {
        let check = |url: &str, encrypted: bool, expect: &[(&str, &str)]| {
            let address = address(url).expect(url);
            assert_eq!(address.tls.is_some(), encrypted, "{url}");
            for (name, value) in expect {
                let found = address.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
                assert_eq!(found, Some(*value), "{url}: {name}");
            }
        };
        check(
            "postgres://h",
            false,
            &[("user", "postgres"), ("database", "postgres"), ("application_name", "storelab")],
        );
        check("postgresql://me@h/lab", false, &[("user", "me"), ("database", "lab")]);
        check("postgres://me@h", false, &[("database", "me")]);
        check("postgres://h?sslmode=disable&statement_timeout=30s", false, &[("statement_timeout", "30s")]);
        check("postgres://h?sslmode=require&application_name=x", true, &[("application_name", "x")]);
        check("postgres://h?sslmode=verify-full", true, &[]);
        check("postgres://h?tls=insecure&options=-c%20jit%3Doff", true, &[("options", "-c jit=off")]);
        check("postgres://h?isolation=Repeatable-Read", false, &[("default_transaction_isolation", "repeatable read")]);
    }

    #[test]
    fn urls_that_cannot_work_say_what_to_do() {
        for url in [
            "postgres://h?sslmode=prefer",
            "postgres://h?sslmode=allow",
            "postgres://h?sslmode=yes",
            "postgres://h?sslmode=require&tls=off",
            "postgres://h?tls=maybe",
            "postgres://h?isolation=chaos",
        ] {
            let error = address(url).err().expect(url);
            assert_eq!((error.kind(), error.hint().is_some()), (::store::ErrorKind::Config, true), "{url}");
        }
        assert!(address("postgres://h/a%00b").is_err());
    }

    #[test]
    fn the_environment_makes_a_url() {
        let url = |set: &[(&str, &str)]| {
            let found = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            url_from_environment(&found)
        };
        assert_eq!(url(&[]), "postgres://postgres:postgres@127.0.0.1:5432/optistack");
        let odd = [("POSTGRES_HOST", "::1"), ("POSTGRES_PASSWORD", "p@ss/:ä"), ("POSTGRES_DB", "a b")];
        let target = Target::parse(&url(&odd)).expect("valid");
        assert_eq!((target.host(), target.path()), ("::1", "a b"));
        assert_eq!(target.password().map(Secret::expose), Some("p@ss/:ä"));
    }
}
