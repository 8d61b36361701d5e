//! Where a data store is: a URL, taken apart once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::{Error, Limits, Reach, Result, TargetOption, did_you_mean};

/// How long connecting may take where the URL does not say (`connect_timeout`, in seconds, as libpq has it).
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// URL parameters whose names have one of these are shown as `***`, as passwords are.
const SECRETS: [&str; 4] = ["api_key", "password", "secret", "token"];

/// A password. Shown as `***`, always.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for the wire only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// How a connection is encrypted: `?tls=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    /// In clear text.
    #[default]
    Off,
    /// Encrypted, the server's certificate verified against the public roots or `?tls_ca=FILE`.
    Verify,
    /// Encrypted, the certificate not verified: only when the user asks for it in so many words.
    Insecure,
}

/// One of the servers that a data store consists of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Node {
    /// Refuses to go where a server sends us unless the target lists it.
    ///
    /// # Errors
    /// `Rejected`, naming the address and how to allow it.
    pub fn permitted(self, listed: &[Self]) -> Result<Self> {
        if listed.contains(&self) {
            return Ok(self);
        }
        Err(Error::rejected(format!("the server sends us to {self}, which the target does not list"))
            .with_hint(format!("if it belongs to the same data store, add it to the target's URL: nodes={self}")))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A data store's address: a URL, taken apart. Where its connections may go is no part of what it is.
#[derive(Clone)]
pub struct Target {
    scheme: String,
    user: Option<String>,
    password: Option<Secret>,
    host: Option<String>,
    port: Option<u16>,
    path: String,
    options: BTreeMap<String, String>,
    limits: Limits,
}

impl Target {
    /// Takes a URL apart: `scheme://user:password@host:port/path?option=value`, or `scheme:path` for embedded stores.
    ///
    /// # Errors
    /// `Config`, never repeating the URL, which may hold a password.
    pub fn parse(text: &str) -> Result<Self> {
        let url = Url::parse(text).map_err(|source| {
            Error::config(format!("the target is not a URL: {source}")).with_hint(
                "write scheme://user:password@host:port/database; special characters in a password are percent-encoded",
            )
        })?;
        let decode = |part: &str| {
            percent_decode_str(part)
                .decode_utf8()
                .map(std::borrow::Cow::into_owned)
                .map_err(|_| Error::config("the target's URL holds a percent-encoding that is not UTF-8"))
        };
        let mut options = BTreeMap::new();
        for (name, value) in url.query_pairs() {
            if options.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Error::config(format!("the target's URL gives `{name}` twice")));
            }
        }
        // A path of an embedded store is taken as it stands; a database name loses the slash before it.
        let path = decode(url.path())?;
        let has_host = url.has_host() && url.host_str().is_some_and(|host| !host.is_empty());
        Ok(Self {
            scheme: url.scheme().to_owned(),
            user: if url.username().is_empty() { None } else { Some(decode(url.username())?) },
            password: url.password().map(decode).transpose()?.map(Secret),
            host: url
                .host_str()
                .filter(|host| !host.is_empty())
                .map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned()),
            port: url.port(),
            path: if has_host { path.trim_start_matches('/').to_owned() } else { path },
            options,
            limits: Limits::default(),
        })
    }

    /// The URL's scheme.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The user, where one is named.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, where one is given.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }

    /// The host, 127.0.0.1 where none is named.
    pub fn host(&self) -> &str {
        self.host.as_deref().unwrap_or("127.0.0.1")
    }

    /// The port, where one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The database, number or file behind the host; empty where there is none.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A URL parameter.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    /// A URL parameter, parsed.
    ///
    /// # Errors
    /// `Config`, naming the parameter, where it does not parse.
    pub fn option_parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>>
    where
        T::Err: fmt::Display,
    {
        self.option(name)
            .map(|value| {
                value.parse().map_err(|reason: T::Err| {
                    Error::config(format!("the target's `{name}={value}` is not usable: {reason}"))
                })
            })
            .transpose()
    }

    /// How long connecting may take: `connect_timeout` in seconds, 10 where it is not given.
    ///
    /// # Errors
    /// `Config` where it is no positive number.
    pub fn connect_timeout(&self) -> Result<Duration> {
        match self.option_parsed::<f64>("connect_timeout")? {
            None => Ok(CONNECT_TIMEOUT_DEFAULT),
            Some(seconds) => {
                Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero()).ok_or_else(|| {
                    Error::config(format!("the target's `connect_timeout={seconds}` is no time in seconds"))
                })
            }
        }
    }

    /// How the connection is encrypted: `tls=off|verify|insecure`, or `default` where the URL does not say.
    ///
    /// # Errors
    /// `Config` for another value.
    pub fn tls(&self, default: TlsMode) -> Result<TlsMode> {
        match self.option("tls") {
            None => Ok(default),
            Some("off") => Ok(TlsMode::Off),
            Some("verify") => Ok(TlsMode::Verify),
            Some("insecure") => Ok(TlsMode::Insecure),
            Some(other) => Err(Error::config(format!("the target's `tls={other}` is unknown"))
                .with_hint("use tls=off, tls=verify or tls=insecure")),
        }
    }

    /// All that a driver may connect to, the URL's own host and port first, then those of `?nodes=HOST:PORT,HOST:PORT`.
    /// A server can name others, in a redirect or in what it says of its cluster: they are reached only if they are here.
    ///
    /// # Errors
    /// `Config` where `nodes` is not such a list.
    pub fn nodes(&self, default_port: u16) -> Result<Vec<Node>> {
        let mut nodes = vec![Node { host: self.host().to_owned(), port: self.port.unwrap_or(default_port) }];
        for text in self.option("nodes").into_iter().flat_map(|list| list.split(',')) {
            let parsed = text.rsplit_once(':').and_then(|(host, port)| {
                let host = host.trim_start_matches('[').trim_end_matches(']');
                Some(Node { host: host.to_owned(), port: port.parse().ok()? }).filter(|_| !host.is_empty())
            });
            let node = parsed.ok_or_else(|| {
                Error::config(format!("the target's `nodes` holds `{text}`, which is not HOST:PORT"))
                    .with_hint("write nodes=127.0.0.1:7001,127.0.0.1:7002")
            })?;
            if !nodes.contains(&node) {
                nodes.push(node);
            }
        }
        Ok(nodes)
    }

    /// Refuses URL parameters that the driver does not know.
    ///
    /// # Errors
    /// `Config`, naming the parameter and the nearest one that exists.
    pub fn check_options(&self, known: &[TargetOption]) -> Result<()> {
        for name in self.options.keys() {
            if !known.iter().any(|option| option.name == name) {
                let error = Error::config(format!("the target's URL has an unknown parameter `{name}`"));
                let names = known.iter().map(|option| option.name);
                return Err(match did_you_mean(name, names.clone()) {
                    Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                    None if known.is_empty() => error.with_hint("this store takes no parameters"),
                    None => error.with_hint(format!("known are {}", names.collect::<Vec<_>>().join(", "))),
                });
            }
        }
        Ok(())
    }

    /// The same target with a parameter set, replacing an earlier value.
    #[must_use]
    pub fn with_option(mut self, name: &str, value: impl Into<String>) -> Self {
        self.options.insert(name.to_owned(), value.into());
        self
    }

    /// The same target with another path.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The same target, whose connections go only where that permits.
    #[must_use]
    pub fn with_reach(mut self, reach: Arc<dyn Reach>) -> Self {
        self.limits = Limits::of(reach);
        self
    }

    /// Where connections may go. A driver keeps them with what it takes from the target, and asks before each connection.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the target is on this machine as far as its name tells: a loopback address, or no network at all.
    pub fn is_loopback(&self) -> bool {
        match &self.host {
            None => true,
            Some(host) if host == "localhost" => true,
            Some(host) => host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()),
        }
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        let Self { scheme, user, password, host, port, path, options, limits: _ } = self;
        (scheme, user, password, host) == (&other.scheme, &other.user, &other.password, &other.host)
            && (port, path, options) == (&other.port, &other.path, &other.options)
    }
}

impl Eq for Target {}

/// The URL with the password as `***`: fit for logs, records and reports.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if let Some(host) = &self.host {
            f.write_str("//")?;
            if let Some(user) = &self.user {
                f.write_str(user)?;
            }
            if self.password.is_some() {
                f.write_str(":***")?;
            }
            if self.user.is_some() || self.password.is_some() {
                f.write_str("@")?;
            }
            if host.contains(':') {
                write!(f, "[{host}]")?;
            } else {
                f.write_str(host)?;
            }
            if let Some(port) = self.port {
                write!(f, ":{port}")?;
            }
            if !self.path.is_empty() {
                write!(f, "/{}", self.path)?;
            }
        } else {
            f.write_str(&self.path)?;
        }
        for (position, (name, value)) in self.options.iter().enumerate() {
            let secret = SECRETS.iter().any(|word| name.contains(word));
            write!(f, "{}{name}={}", if position == 0 { '?' } else { '&' }, if secret { "***" } else { value })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_its_password_never_shown() {
        let target = Target::parse("postgres://lab:p%40ss@127.0.0.1:5544/lab?tls=off").expect("valid");
        assert_eq!(target.password().expect("given").expose(), "p@ss");
        assert_eq!((target.host(), target.port(), target.path()), ("127.0.0.1", Some(5544), "lab"));
        for shown in [target.to_string(), format!("{target:?}")] {
            assert!(!shown.contains("p@ss") && !shown.contains("p%40ss"), "{shown}");
        }
        assert_eq!(target.to_string(), "postgres://lab:***@127.0.0.1:5544/lab?tls=off");
    }

    #[test]
    fn embedded_stores_have_a_path_and_no_host() {
        for (text, path) in [("sqlite:", ""), ("sqlite:a/b.db", "a/b.db"), ("sqlite:/tmp/x.db", "/tmp/x.db")] {
            let target = Target::parse(text).expect("valid");
            assert_eq!((target.path(), target.is_loopback()), (path, true), "{text}");
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn errors_name_the_field_and_the_remedy() {
        assert!(Target::parse("nonsense").is_err());
        let target = Target::parse("null:?latensy=1ms").expect("valid");
        let error = target.check_options(&[TargetOption { name: "latency", summary: "" }]).expect_err("unknown");
        assert_eq!(error.hint(), Some("did you mean `latency`?"));
        assert!(Target::parse("null:?tls=maybe").expect("valid").tls(TlsMode::Off).is_err());
        assert!(Target::parse("null:?connect_timeout=-1").expect("valid").connect_timeout().is_err());
    }

    #[test]
    fn only_listed_nodes_are_reached() {
        let target = Target::parse("redis://127.0.0.1:7000?nodes=127.0.0.1:7001,[::1]:7002").expect("valid");
        let nodes = target.nodes(6379).expect("a list");
        let shown: Vec<_> = nodes.iter().map(Node::to_string).collect();
        assert_eq!(shown, ["127.0.0.1:7000", "127.0.0.1:7001", "[::1]:7002"]);
        let node = |host: &str, port| Node { host: host.to_owned(), port };
        assert!(node("::1", 7002).permitted(&nodes).is_ok());
        for elsewhere in [node("127.0.0.2", 7001), node("127.0.0.1", 7002)] {
            let error = elsewhere.permitted(&nodes).expect_err("not listed");
            assert!(error.to_string().contains("127.0.0.") && error.hint().is_some_and(|hint| hint.contains("nodes=")));
        }
        for bad in ["127.0.0.1", "127.0.0.1:x", ":1", ""] {
            let target = Target::parse(&format!("redis://127.0.0.1?nodes={bad}")).expect("a URL");
            assert!(target.nodes(1).is_err(), "{bad}");
        }
    }

    #[test]
    fn ipv6_hosts_lose_and_regain_their_brackets() {
        let target = Target::parse("redis://[::1]:6379").expect("valid");
        assert_eq!((target.host(), target.is_loopback()), ("::1", true));
        assert_eq!(target.to_string(), "redis://[::1]:6379");
    }
}
