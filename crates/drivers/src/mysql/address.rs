//! Where a server is and how it is entered, from a target's URL.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use store::{Error, Result, Secret, Target, TlsMode};

use super::DEFAULT_PORT;
use crate::tls;

const ISOLATION_LEVELS: [(&str, &str); 4] = [
    ("read-uncommitted", "READ UNCOMMITTED"),
    ("read-committed", "READ COMMITTED"),
    ("repeatable-read", "REPEATABLE READ"),
    ("serializable", "SERIALIZABLE"),
];

/// Where a server is and how it is entered.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) database: String,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) connect_timeout: Duration,
    /// What every connection is told once.
    pub(super) setup: Vec<String>,
}

impl Address {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(super) fn of(target: &Target) -> Result<Self> {
        if target.path().is_empty() {
            return Err(Error::config("the target names no database")
                .with_hint("write mysql://user:password@host:3306/database, with a database that exists"));
        }
        let user = target.user().unwrap_or_default();
        if [user, target.path()].iter().any(|name| name.contains('\0')) {
            return Err(Error::config("the target's URL holds a zero byte"));
        }
        let tls = match tls::client_config(target, TlsMode::Off)? {
            Some(config) => Some((config, tls::server_name(target)?)),
            None => None,
        };
        Ok(Self {
            host: target.host().to_owned(),
            port: target.port().unwrap_or(DEFAULT_PORT),
            user: user.to_owned(),
            password: target.password().cloned(),
            database: target.path().to_owned(),
            tls,
            connect_timeout: target.connect_timeout()?,
            setup: setup(target)?,
        })
    }

    /// For messages.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// A server whose sessions do not commit by themselves would measure something else.
fn setup(target: &Target) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    if let Some(given) = target.option("isolation") {
        let known = ISOLATION_LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(given));
        let (_, level) = known.ok_or_else(|| {
            Error::config(format!("the target's `isolation={given}` is unknown"))
                .with_hint(format!("use one of {}", ISOLATION_LEVELS.map(|(name, _)| name).join(", ")))
        })?;
        statements.push(format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}"));
    }
    let seconds: Option<u32> = target.option_parsed("lock_wait_timeout")?;
    let wait = match seconds {
        None => String::new(),
        Some(0) => {
            return Err(Error::config("the target's `lock_wait_timeout=0` is not usable")
                .with_hint("give a whole number of seconds, at least 1"));
        }
        Some(seconds) => {
            format!(", SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds}")
        }
    };
    statements.push(format!("SET SESSION autocommit = 1{wait}"));
    Ok(statements)
}
