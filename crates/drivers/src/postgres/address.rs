//! Where a server is and how it is entered, from a target's URL or the environment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::store::{Error, Limits, Lookup, Node, Result, Secret, Target, TargetOption, TlsMode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::product::Product;
use super::role::Role;
use super::scram::Kept;
use crate::tls::{self, TLS_OPTION};

/// How long work around a run waits for a lock: longer than any statement of ours holds one, shorter than an operator's
/// patience with a stray session.
pub(super) const LOCK_TIMEOUT: &str = "30s";

pub(crate) const APPLICATION_NAME_OPTION: TargetOption =
    TargetOption { name: "application_name", summary: "what the server calls our sessions, storelab" };
pub(crate) const CONNECT_TIMEOUT_OPTION: TargetOption =
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take, 10" };
pub(super) const ISOLATION_OPTION: TargetOption =
    TargetOption { name: "isolation", summary: "of transactions: read-committed, repeatable-read or serializable" };
pub(crate) const BALANCE_OPTION: TargetOption = TargetOption {
    name: "load_balance_hosts",
    summary: "which of the listed servers a session tries first: the first one (disable) or each in turn (random)",
};
pub(crate) const NODES_OPTION: TargetOption =
    TargetOption { name: "nodes", summary: "further servers of the same store, HOST:PORT,HOST:PORT" };
pub(crate) const SERVER_OPTION: TargetOption =
    TargetOption { name: "options", summary: "the server's own settings for our sessions: -c work_mem=64MB" };
pub(crate) const SSL_OPTION: TargetOption = TargetOption {
    name: "sslmode",
    summary: "as libpq has it: disable, require (not verified), verify-ca or verify-full",
};
pub(crate) const STATEMENT_TIMEOUT_OPTION: TargetOption =
    TargetOption { name: "statement_timeout", summary: "how long a statement may take, in milliseconds or as 30s" };
pub(super) const SESSION_OPTION: TargetOption = TargetOption {
    name: "target_session_attrs",
    summary: "which of the listed servers will do: any, read-write, read-only, primary, standby or prefer-standby",
};

const ISOLATION_LEVELS: [&str; 3] = ["read committed", "repeatable read", "serializable"];

/// Where servers are and how they are entered.
pub(super) struct Address {
    pub(super) product: &'static Product,
    /// The URL's own first, then those that it lists.
    pub(super) places: Vec<Place>,
    /// Where connections to them may go.
    pub(super) limits: Limits,
    /// Which of them will do.
    pub(super) role: Role,
    /// Counts connections where they are to begin at each place in turn.
    turn: Option<AtomicUsize>,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    /// What was derived from it for the last connection.
    pub(super) derived: Kept,
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) connect_timeout: Duration,
    /// What the start-up message says: names and values.
    pub(super) parameters: Vec<(&'static str, String)>,
}

/// Where one server is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) node: Node,
    /// What its certificate must say.
    pub(super) name: Option<ServerName<'static>>,
}

impl Address {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(super) fn of(product: &'static Product, target: &Target) -> Result<Self> {
        let user = target.user().unwrap_or(product.user).to_owned();
        let tls = tls::client_config(&with_tls_mode(target)?, TlsMode::Off)?;
        let place = |node: Node| {
            let name = tls.as_ref().map(|_| tls::host_name(&node.host)).transpose()?;
            Ok(Place { node, name })
        };
        let places = target.nodes(product.port)?.into_iter().map(place).collect::<Result<Vec<_>>>()?;
        let takes_turns = match target.option(BALANCE_OPTION.name) {
            None => product.takes_turns,
            Some("disable") => false,
            Some("random") => true,
            Some(other) => {
                return Err(Error::config(format!("the target's `{}={other}` is unknown", BALANCE_OPTION.name))
                    .with_hint("use load_balance_hosts=disable or load_balance_hosts=random"));
            }
        };
        Ok(Self {
            product,
            role: Role::of(target)?,
            turn: (takes_turns && places.len() > 1).then(AtomicUsize::default),
            places,
            limits: target.limits().clone(),
            password: target.password().cloned(),
            derived: Kept::default(),
            tls,
            connect_timeout: target.connect_timeout()?,
            parameters: parameters(product, target, &user)?,
            user,
        })
    }

    /// All places in the order in which the next connection is to try them.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = &Place> + Clone {
        let first = self.turn.as_ref().map_or(0, |turn| turn.fetch_add(1, Ordering::Relaxed)) % self.places.len();
        self.places[first..].iter().chain(&self.places[..first])
    }

    /// Which servers will do for what changes something: where there are several, only one that takes writes.
    pub(super) fn role_for_work(&self) -> Role {
        if self.product.has_standbys && self.places.len() > 1 { Role::ReadWrite } else { Role::Any }
    }

    /// Of one of the places alone, whatever it is.
    pub(super) fn only(&self, place: usize) -> Self {
        let Place { node, name } = &self.places[place];
        Self {
            product: self.product,
            places: vec![Place { node: node.clone(), name: name.clone() }],
            limits: self.limits.clone(),
            role: Role::Any,
            turn: None,
            user: self.user.clone(),
            password: self.password.clone(),
            derived: Arc::clone(&self.derived),
            tls: self.tls.clone(),
            connect_timeout: self.connect_timeout,
            parameters: self.parameters.clone(),
        }
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

fn parameters(product: &Product, target: &Target, user: &str) -> Result<Vec<(&'static str, String)>> {
    let database = if target.path().is_empty() { product.database.unwrap_or(user) } else { target.path() };
    let mut parameters = vec![
        ("user", user.to_owned()),
        ("database", database.to_owned()),
        ("client_encoding", "UTF8".to_owned()),
        ("application_name", target.option("application_name").unwrap_or("storelab").to_owned()),
    ];
    parameters.extend(product.session.iter().map(|(name, value)| (*name, (*value).to_owned())));
    for name in [SERVER_OPTION.name, STATEMENT_TIMEOUT_OPTION.name] {
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
pub(super) fn url_from_environment(product: &Product, lookup: Lookup<'_>) -> String {
    let [host, port, user, password, database] = product
        .environment
        .map(|(name, default)| lookup(name).filter(|value| !value.is_empty()).unwrap_or(default.to_owned()));
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    let colon = if password.is_empty() { "" } else { ":" };
    let (scheme, user) = (product.schemes[0], encoded(&user));
    format!("{scheme}://{user}{colon}{}@{host}:{port}/{}", encoded(&password), encoded(&database))
}

/// A text as a part of a URL.
fn encoded(text: &str) -> percent_encoding::PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::super::product::POSTGRES;
    use super::*;

    fn address(url: &str) -> Result<Address> {
        Address::of(&POSTGRES, &Target::parse(url).expect("a URL"))
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
    fn sessions_begin_at_the_first_server_or_at_each_in_turn() {
        let check = |options: &str, expect: &[&str]| {
            let address = address(&format!("postgres://a?nodes=b:1,c:2{options}")).expect("valid");
            let found: Vec<String> = (0..4)
                .map(|_| address.in_turn().map(|place| place.node.host.as_str()).collect::<Vec<_>>().concat())
                .collect();
            assert_eq!(found, expect, "{options}");
        };
        check("", &["abc"; 4]);
        check("&load_balance_hosts=disable", &["abc"; 4]);
        check("&load_balance_hosts=random", &["abc", "bca", "cab", "abc"]);
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
            "postgres://h?target_session_attrs=writable",
            "postgres://h?load_balance_hosts=yes",
            "postgres://h?nodes=h2",
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
            url_from_environment(&POSTGRES, &found)
        };
        assert_eq!(url(&[]), "postgres://postgres:postgres@127.0.0.1:5432/optistack");
        let odd = [("POSTGRES_HOST", "::1"), ("POSTGRES_PASSWORD", "p@ss/:ä"), ("POSTGRES_DB", "a b")];
        let target = Target::parse(&url(&odd)).expect("valid");
        assert_eq!((target.host(), target.path()), ("::1", "a b"));
        assert_eq!(target.password().map(Secret::expose), Some("p@ss/:ä"));
    }
}
