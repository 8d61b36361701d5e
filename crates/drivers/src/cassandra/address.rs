//! What a URL means: who is connected to, as whom, and how requests are made.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::FallthroughRetryPolicy;
use scylla::statement::{Consistency, SerialConsistency};
use store::{Error, ErrorKind, Limits, Lookup, Node, Result, Target};

use super::DEFAULT_PORT;
use crate::reach;

/// The keyspace that is made where the URL names none. It holds the manifest, and goes with it.
const OWN_KEYSPACE: &str = "storelab_data";

/// The server's limit for names of keyspaces.
const KEYSPACE_BYTES_MAX: usize = 48;

/// More copies than these are rarely wanted, and each write costs as many times more.
const REPLICATION_DEFAULT_MAX: usize = 3;

/// Partitions of a hundred megabytes for a million records of 1 kB, which is what Cassandra handles well; a scan reads its
/// limit from each of them, so that more cost more.
const SHARDS_DEFAULT: u32 = 8;

/// A scan reads from all of them.
const SHARDS_MAX: u32 = 256;

/// Who is connected to, as whom, and how requests are made.
pub(crate) struct Address {
    /// Everybody who may be connected to, as the URL lists them; the first is who is named in messages.
    pub(crate) nodes: Vec<Node>,
    /// Where connections to them may go.
    pub(crate) limits: Limits,
    /// User and password.
    pub(crate) account: Option<(String, String)>,
    /// How long connecting may take.
    pub(crate) connect_timeout: Duration,
    /// Where all that is made lies.
    pub(crate) keyspace: String,
    /// Whether the keyspace is Storelab's.
    pub(crate) is_own_keyspace: bool,
    /// Copies of each row in a keyspace of our own: as the URL asks, or as many as there are listed nodes.
    pub(crate) replication: Replication,
    /// Partitions that records are spread over.
    pub(crate) shards: u32,
    /// How the URL wants statements to be run; as it writes it.
    pub(crate) consistency: &'static str,
    /// The same for lightweight transactions.
    pub(crate) serial_consistency: &'static str,
    /// The same for the library.
    pub(crate) profile: ExecutionProfileHandle,
}

/// How many copies there are of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replication {
    /// The URL does not say: so many in a keyspace that is made now, whatever there is in one that exists.
    Default(usize),
    /// So many.
    Asked(usize),
}

impl Replication {
    /// For a keyspace that is made now.
    pub(crate) fn factor(self) -> usize {
        match self {
            Self::Default(factor) | Self::Asked(factor) => factor,
        }
    }
}

/// Levels that are good for reads and for writes, by the names that users know them by.
const CONSISTENCIES: [(&str, Consistency); 7] = [
    ("local_quorum", Consistency::LocalQuorum),
    ("one", Consistency::One),
    ("local_one", Consistency::LocalOne),
    ("two", Consistency::Two),
    ("three", Consistency::Three),
    ("quorum", Consistency::Quorum),
    ("all", Consistency::All),
];

const SERIAL_CONSISTENCIES: [(&str, SerialConsistency); 2] =
    [("local_serial", SerialConsistency::LocalSerial), ("serial", SerialConsistency::Serial)];

impl Address {
    /// What the target's URL means.
    ///
    /// # Errors
    /// `Config`, naming what is wrong.
    pub(crate) fn of(target: &Target) -> Result<Self> {
        let nodes = target.nodes(DEFAULT_PORT)?;
        let account = match (target.user(), target.password()) {
            (Some(user), Some(password)) => Some((user.to_owned(), password.expose().to_owned())),
            (None, None) => None,
            _ => {
                return Err(Error::config("the target's URL has a user without a password, or the other way round")
                    .with_hint("write cassandra://USER:PASSWORD@HOST, or neither of them"));
            }
        };
        let (consistency, level) = choice(target, "consistency", &CONSISTENCIES)?;
        let (serial_consistency, serial) = choice(target, "serial_consistency", &SERIAL_CONSISTENCIES)?;
        let (keyspace, is_own_keyspace) = match target.path() {
            "" => (OWN_KEYSPACE.to_owned(), true),
            path => (keyspace(path)?, false),
        };
        Ok(Self {
            account,
            connect_timeout: target.connect_timeout()?,
            keyspace,
            is_own_keyspace,
            replication: match number(target, "replication", 100)? {
                Some(_) if !is_own_keyspace => {
                    return Err(Error::config("the target's `replication` is of no use beside a keyspace")
                        .with_hint("leave the keyspace out, so that Storelab makes one, or leave `replication` out"));
                }
                Some(factor) => Replication::Asked(factor as usize),
                None => Replication::Default(nodes.len().min(REPLICATION_DEFAULT_MAX)),
            },
            nodes,
            limits: target.limits().clone(),
            shards: number(target, "shards", SHARDS_MAX)?.unwrap_or(SHARDS_DEFAULT),
            consistency,
            serial_consistency,
            profile: profile(level, serial),
        })
    }

    /// The addresses of all nodes that may be connected to, with whose they are.
    ///
    /// # Errors
    /// `Unreachable` where none of the names is known, `Rejected` where a node has no address that is permitted.
    pub(crate) async fn resolve(&self) -> Result<Vec<(SocketAddr, &Node)>> {
        let (mut found, mut unknown) = (Vec::new(), None);
        for node in &self.nodes {
            match reach::addresses(&self.limits, node).await {
                Ok(addresses) => found.extend(addresses.into_iter().map(|address| (address, node))),
                Err(error) if error.kind() == ErrorKind::Unreachable => unknown = Some(error),
                Err(error) => return Err(error),
            }
        }
        unknown.filter(|_| found.is_empty()).map_or(Ok(found), Err)
    }

    /// A table in the keyspace, as statements name it.
    pub(crate) fn table(&self, name: &str) -> String {
        format!("\"{}\".\"{name}\"", self.keyspace)
    }
}

/// How requests are made: to a replica of what they are about, once, and for as long as the connection lives; the
/// server ends those that take it too long.
fn profile(consistency: Consistency, serial: SerialConsistency) -> ExecutionProfileHandle {
    let policy = DefaultPolicy::builder().token_aware(true).build();
    ExecutionProfile::builder()
        .consistency(consistency)
        .serial_consistency(Some(serial))
        .request_timeout(None)
        .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
        .speculative_execution_policy(None)
        .load_balancing_policy(policy)
        .build()
        .into_handle()
}

/// The name of a keyspace, which goes into statements.
fn keyspace(path: &str) -> Result<String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if path.len() > KEYSPACE_BYTES_MAX || !path.bytes().all(is_name) {
        return Err(Error::config(format!("`{path}` cannot be a keyspace")).with_hint(
            "name an existing one after the host, as in cassandra://127.0.0.1/lab, or none, so that Storelab makes one",
        ));
    }
    Ok(path.to_owned())
}

/// An option that is one of these words, the first where it is not given.
fn choice<T: Copy>(target: &Target, name: &str, choices: &[(&'static str, T)]) -> Result<(&'static str, T)> {
    let Some(given) = target.option(name) else { return Ok(choices[0]) };
    choices.iter().find(|(choice, _)| choice.eq_ignore_ascii_case(given)).copied().ok_or_else(|| {
        let known: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
        Error::config(format!("the target's `{name}={given}` is unknown"))
            .with_hint(format!("use one of {}", known.join(", ")))
    })
}

/// An option that is a number from 1 to `max`.
fn number(target: &Target, name: &str, max: u32) -> Result<Option<u32>> {
    match target.option_parsed::<u32>(name)? {
        Some(number) if number == 0 || number > max => {
            Err(Error::config(format!("the target's `{name}={number}` is out of its range"))
                .with_hint(format!("use 1 to {max}")))
        }
        given => Ok(given),
    }
}

/// The URL that the documented variables describe.
pub(crate) fn url_from_environment(lookup: Lookup<'_>) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let lookup = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let host = lookup("CASSANDRA_HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let port = lookup("CASSANDRA_PORT").unwrap_or_else(|| DEFAULT_PORT.to_string());
    let account = match (lookup("CASSANDRA_USER"), lookup("CASSANDRA_PASSWORD")) {
        (None, None) => String::new(),
        (user, password) => {
            let user = user.unwrap_or_else(|| "cassandra".to_owned());
            format!("{}:{}@", encode(&user), encode(&password.unwrap_or_else(|| "cassandra".to_owned())))
        }
    };
    let keyspace = lookup("CASSANDRA_KEYSPACE").map(|name| format!("/{}", encode(&name))).unwrap_or_default();
    format!("cassandra://{account}{host}:{port}{keyspace}")
}

#[cfg(test)]
mod tests {
    use store::ErrorKind;

    use super::*;

    fn address(url: &str) -> Result<Address> {
        Address::of(&Target::parse(url).expect("a URL"))
    }

    #[test]
    fn urls_say_where_and_how() {
        let own = address("cassandra://h").expect("valid");
        assert_eq!((own.keyspace.as_str(), own.is_own_keyspace), (OWN_KEYSPACE, true));
        assert_eq!((own.consistency, own.serial_consistency, own.shards), ("local_quorum", "local_serial", 8));
        assert_eq!((own.replication, own.nodes[0].port), (Replication::Default(1), DEFAULT_PORT));
        let given =
            address("cassandra://u:p@h:1/Lab?consistency=QUORUM&serial_consistency=serial&shards=4&nodes=a:2,b:3");
        let given = given.expect("valid");
        assert_eq!((given.table("x").as_str(), given.is_own_keyspace), ("\"Lab\".\"x\"", false));
        assert_eq!((given.consistency, given.serial_consistency, given.shards), ("quorum", "serial", 4));
        assert_eq!((given.replication, given.account.is_some()), (Replication::Default(3), true));
        assert_eq!(address("cassandra://h?replication=2").expect("valid").replication, Replication::Asked(2));
    }

    #[test]
    fn urls_that_cannot_work_say_what_to_do() {
        for url in [
            "cassandra://h/a-b",
            "cassandra://h/a%22;drop",
            "cassandra://user@h",
            "cassandra://h?consistency=most",
            "cassandra://h?consistency=any",
            "cassandra://h?serial_consistency=one",
            "cassandra://h?shards=0",
            "cassandra://h?shards=1000",
            "cassandra://h/lab?replication=3",
            "cassandra://h?replication=0",
        ] {
            let error = address(url).err().expect(url);
            assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Config, true), "{url}");
        }
    }

    #[test]
    fn the_environment_makes_a_url() {
        let url = |set: &[(&str, &str)]| {
            let found = |name: &str| set.iter().find(|(set, _)| *set == name).map(|(_, value)| (*value).to_owned());
            url_from_environment(&found)
        };
        assert_eq!(url(&[]), "cassandra://127.0.0.1:9042");
        let odd = [("CASSANDRA_HOST", "::1"), ("CASSANDRA_KEYSPACE", "lab"), ("CASSANDRA_PASSWORD", "p@ss/:ä")];
        let target = Target::parse(&url(&odd)).expect("valid");
        assert_eq!((target.host(), target.path(), target.user()), ("::1", "lab", Some("cassandra")));
        assert_eq!(target.password().map(store::Secret::expose), Some("p@ss/:ä"));
    }
}
