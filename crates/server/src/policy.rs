//! Where load may go: to this machine, and to what an administrator has allowed.
//!
//! It is asked twice. [`Policy::check`] looks at a target as it was written, before any name is resolved: only usual forms
//! of hosts pass, and only hosts that are allowed. A target that passed carries the policy as its [`Reach`], so that drivers
//! ask about the address of every connection that they open, whoever named it and whatever the name means by then.

mod form;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use store::{Node, Reach, Target};

use self::form::Authority;
pub(crate) use self::form::check_host;

/// The scheme of targets that are throw-away servers on this machine.
const LOCAL: &str = "local";

/// URL parameters that name files of this machine.
const FILE_OPTIONS: [&str; 1] = ["tls_ca"];

/// The URL parameter that names further hosts.
const NODES_OPTION: &str = "nodes";

/// The schemes of a web server, with their ports.
const WEB: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// What somebody can do who may not go there.
const REMEDY: &str =
    "use a server on this machine, or ask an administrator to allow its host and port: POST /api/v1/targets";

/// A server that an administrator has allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedTarget {
    host: String,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl AllowedTarget {
    /// That host and port, with the addresses that the host has now: later it is reached at these and no others.
    ///
    /// # Errors
    /// Where the host is not in a usual form, or what it resolved to is no server's address.
    pub fn new(host: &str, port: u16, addresses: Vec<IpAddr>) -> Result<Self, Refusal> {
        check_host(host)?;
        if port == 0 {
            return Err(Refusal::new("the port 0 is none that a server has", "name the server's own port, 1 to 65535"));
        }
        let is_itself = |address: &IpAddr| host.parse::<IpAddr>().is_ok_and(|literal| literal == *address);
        let is_loopback = |address: &IpAddr| address.is_loopback();
        let fits = if host.parse::<IpAddr>().is_ok() {
            addresses.iter().all(is_itself)
        } else {
            !is_localhost(host) || addresses.iter().all(is_loopback)
        };
        if addresses.is_empty() || !fits || !addresses.iter().all(|address| form::is_server(*address)) {
            return Err(Refusal::new(
                format!("`{host}` has no address that can be a server's"),
                "name a host whose addresses are those of one machine",
            ));
        }
        Ok(Self { host: host.to_owned(), port, addresses })
    }

    /// The host as it was allowed.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the host resolved to when it was allowed.
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    fn is(&self, node: &Node) -> bool {
        self.port == node.port && self.host.eq_ignore_ascii_case(&node.host)
    }
}

/// Why load may not go there. It never repeats a URL, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The field that holds the target.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
    /// What to write instead, or whom to ask.
    pub remedy: String,
}

impl Refusal {
    fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { field: "target", reason: reason.into(), remedy: remedy.into() }
    }
}

impl From<store::Error> for Refusal {
    fn from(error: store::Error) -> Self {
        Self::new(error.to_string(), error.hint().unwrap_or("write scheme://user:password@host:port/database"))
    }
}

/// Where load may go. A clone is the same policy.
#[derive(Debug, Clone)]
pub struct Policy(Arc<Rules>);

#[derive(Debug)]
struct Rules {
    /// Whether addresses of this machine that no other can reach are allowed without being asked for.
    loopback: bool,
    allowed: Vec<AllowedTarget>,
}

impl Policy {
    /// Those targets, and this machine where `loopback` says so.
    pub fn new(loopback: bool, allowed: Vec<AllowedTarget>) -> Self {
        Self(Arc::new(Rules { loopback, allowed }))
    }

    /// A target as it was written, if load may go there. It carries this policy.
    ///
    /// Nothing is resolved and nobody is asked. `local:NAME` comes back as a target of that scheme, for whoever starts the
    /// server.
    ///
    /// # Errors
    /// Where it is not in a usual form, names a file, or is not allowed.
    pub fn check(&self, text: &str) -> Result<Target, Refusal> {
        form::check_text(text)?;
        let (scheme, rest) = text.split_once(':').ok_or_else(|| {
            Refusal::new("the target is not a URL", "write scheme://user:password@host:port/database")
        })?;
        if scheme == LOCAL {
            return local(text);
        }
        let driver = drivers::for_scheme(scheme)?;
        let target = match driver.default_port() {
            None => embedded(text, rest)?,
            Some(port) => self.networked(port, text, rest)?,
        };
        Ok(target.with_reach(Arc::new(self.clone())))
    }

    /// A web server that is asked something beside the target, if it may be. It carries this policy.
    ///
    /// # Errors
    /// As [`check`](Self::check); also where it has more than host, port and path, since what has a password is not written
    /// into an experiment.
    pub(crate) fn check_web(&self, text: &str) -> Result<Target, Refusal> {
        form::check_text(text)?;
        let (scheme, rest) = text.split_once(':').unwrap_or_default();
        let (_, default_port) = WEB.into_iter().find(|(known, _)| *known == scheme).ok_or_else(|| {
            Refusal::new("it is no URL of a web server", "write http://host:9090 or https://host:9090")
        })?;
        let target = one_reading(Target::parse(text)?, rest)?;
        if rest.contains(['@', '?']) {
            return Err(Refusal::new(
                "it has more than host, port and path",
                "leave user, password and parameters out, or have PROMETHEUS_URL set where the service runs",
            ));
        }
        self.check_nodes(&target, default_port)?;
        Ok(target.with_reach(Arc::new(self.clone())))
    }

    fn networked(&self, default_port: u16, text: &str, rest: &str) -> Result<Target, Refusal> {
        let (_, target) = drivers::resolve(text)?;
        let target = one_reading(target, rest)?;
        for option in FILE_OPTIONS {
            if target.option(option).is_some() {
                return Err(Refusal::new(
                    format!("the target's `{option}` names a file on the machine of the service"),
                    format!("leave `{option}` out; certificates are verified against the public authorities"),
                ));
            }
        }
        // Whoever is not known to take a list of nodes has refused it by now.
        for entry in target.option(NODES_OPTION).into_iter().flat_map(|list| list.split(',')) {
            form::check_node(entry)?;
        }
        self.check_nodes(&target, default_port)?;
        Ok(target)
    }

    fn check_nodes(&self, target: &Target, default_port: u16) -> Result<(), Refusal> {
        match target.nodes(default_port)?.into_iter().find(|node| !self.allows(node)) {
            None => Ok(()),
            Some(node) => Err(Refusal::new(
                format!("{node} is not allowed: load goes to this machine and to registered targets only"),
                REMEDY,
            )),
        }
    }

    /// Whether that host and port may be named at all.
    fn allows(&self, node: &Node) -> bool {
        self.means_loopback(node) || self.0.allowed.iter().any(|allowed| allowed.is(node))
    }

    /// Whether it names this machine in a form that cannot come to mean another, and that is allowed.
    fn means_loopback(&self, node: &Node) -> bool {
        let is_address = || node.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        self.0.loopback && (is_localhost(&node.host) || is_address())
    }
}

/// A name that is allowed is reached at the addresses that it had when it was allowed, and at no others: not even on this
/// machine, for its owner may let it mean anything by now.
impl Reach for Policy {
    fn permits(&self, node: &Node, address: SocketAddr) -> bool {
        // An address of one network card of this machine is not what anybody allowed.
        let is_scoped = matches!(address, SocketAddr::V6(address) if address.scope_id() != 0);
        if is_scoped || address.port() != node.port {
            return false;
        }
        let mut kept = self.0.allowed.iter().filter(|allowed| allowed.is(node));
        kept.any(|allowed| allowed.addresses.contains(&address.ip()))
            || (self.means_loopback(node) && address.ip().is_loopback())
    }

    fn permits_file(&self, _path: &Path) -> bool {
        false
    }

    fn remedy(&self) -> &'static str {
        REMEDY
    }
}

/// The target, if another reader of what is behind its scheme agrees on where it leads.
fn one_reading(target: Target, rest: &str) -> Result<Target, Refusal> {
    let authority = Authority::of(rest)?;
    if target.host().eq_ignore_ascii_case(authority.host) && target.port() == authority.port {
        Ok(target)
    } else {
        Err(Refusal::new("the target's host can be read in more than one way", "write scheme://host:port"))
    }
}

fn is_localhost(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
}

/// A throw-away server of an engine that is known.
fn local(text: &str) -> Result<Target, Refusal> {
    experiment::resolve_target(text, &|_| None)?;
    Ok(Target::parse(text)?)
}

/// A store within this process: what it keeps is thrown away.
fn embedded(text: &str, rest: &str) -> Result<Target, Refusal> {
    let (_, target) = drivers::resolve(text)?;
    let path = rest.split('?').next().unwrap_or_default();
    if path.is_empty() && target.path().is_empty() {
        return Ok(target);
    }
    let scheme = target.scheme();
    Err(Refusal::new(
        format!("`{scheme}:` with a path names a file on the machine of the service"),
        format!("write `{scheme}:` alone, which is thrown away after the run"),
    ))
}

#[cfg(test)]
mod tests;
