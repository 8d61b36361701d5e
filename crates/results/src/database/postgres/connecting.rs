//! How a connection is made: from the URL's parts, encrypted as it says.

use std::time::Duration;

use postgres::config::SslMode;
use postgres::{Client, Config, NoTls};
use store::{Target, TargetOption, TlsMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Error, Location, Result};

/// The port where the URL names none.
const PORT_DEFAULT: u16 = 5432;

/// How long a connection whose other end has gone silent counts as alive.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How long a process waits for another that writes, as with a file; how long one may stand still within a transaction
/// before the server ends it; and how long anything of ours may take: a long run that somebody reads slowly, at most.
const SESSION: &str = "SET search_path TO storelab; SET lock_timeout TO '5s'; \
    SET idle_in_transaction_session_timeout TO '10s'; SET statement_timeout TO '10min'; SET TIME ZONE 'UTC'";

const OPTIONS: &[TargetOption] = &[
    TargetOption { name: "application_name", summary: "what the server calls our sessions, storelab" },
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take, 10" },
    TargetOption {
        name: "sslmode",
        summary: "as libpq has it: disable, require (not verified), verify-ca or verify-full",
    },
    TargetOption { name: "tls", summary: "off, verify (check the server's certificate) or insecure (do not)" },
    TargetOption { name: "tls_ca", summary: "a PEM file of the authorities to trust instead of the public ones" },
];

/// All that a connection takes.
pub(super) struct Connecting {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Connecting {
    /// To that server.
    ///
    /// # Errors
    /// `Misnamed` for a URL that cannot work.
    pub(super) fn to(location: &Location) -> Result<Self> {
        let Location::Postgres(url) = location else {
            return Err(Error::Misnamed { reason: "it is no server's URL".to_owned() });
        };
        Self::parse(url).map_err(|error| Error::Misnamed { reason: error.to_string() })
    }

    fn parse(url: &str) -> store::Result<Self> {
        let target = Target::parse(url)?;
        target.check_options(OPTIONS)?;
        let target = with_tls_mode(target)?;
        let user = target.user().unwrap_or("postgres");
        let mut config = Config::new();
        config
            .host(target.host())
            .port(target.port().unwrap_or(PORT_DEFAULT))
            .user(user)
            .dbname(if target.path().is_empty() { user } else { target.path() })
            .application_name(target.option("application_name").unwrap_or("storelab"))
            .connect_timeout(target.connect_timeout()?)
            .tcp_user_timeout(SILENCE_MAX)
            .keepalives_idle(SILENCE_MAX);
        if let Some(password) = target.password() {
            config.password(password.expose());
        }
        let tls = drivers::tls_config(&target, TlsMode::Off)?;
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        Ok(Self { config, tls: tls.map(|tls| MakeRustlsConnect::new((*tls).clone())) })
    }

    /// Makes a connection whose tables are ours.
    pub(super) fn connect(&self) -> Result<Client, postgres::Error> {
        let mut client = match &self.tls {
            Some(tls) => self.config.connect(tls.clone()),
            None => self.config.connect(NoTls),
        }?;
        client.batch_execute(SESSION)?;
        Ok(client)
    }
}

/// The target with `tls` where it has `sslmode`, the word that every user of `psql` knows.
fn with_tls_mode(target: Target) -> store::Result<Target> {
    let mode = match target.option("sslmode") {
        None => return Ok(target),
        Some("disable") => "off",
        Some("require") => "insecure",
        Some("verify-ca" | "verify-full") => "verify",
        Some(other) => {
            return Err(store::Error::config(format!("`sslmode={other}` leaves open whether it is encrypted"))
                .with_hint("use sslmode=disable, require or verify-full"));
        }
    };
    Ok(target.with_option("tls", mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_said_without_the_password() {
        for wrong in [
            "postgres://me:canary@h/lab?sslmode=prefer",
            "postgres://me:canary@h/lab?tls=maybe",
            "postgres://me:canary@h/lab?connect_timeout=never",
            "postgres://me:canary@h/lab?password=canary",
        ] {
            let location = Location::Postgres(wrong.to_owned());
            let error = Connecting::to(&location).map(drop).expect_err(wrong);
            assert!(matches!(error, Error::Misnamed { .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        }
        for (url, is_encrypted) in [
            ("postgres://me@h", false),
            ("postgres://me@h?tls=verify", true),
            ("postgres://me@h/lab?sslmode=require", true),
            ("postgres://me@h/lab?sslmode=disable", false),
        ] {
            let connecting = Connecting::to(&Location::Postgres(url.to_owned())).expect(url);
            assert_eq!(connecting.tls.is_some(), is_encrypted, "{url}");
        }
    }
}
