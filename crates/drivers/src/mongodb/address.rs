//! What a target's URL means: which servers, how they are entered, and what every command asks of them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ::mongodb::options::{
    Acknowledgment, ClientOptions, Credential, ReadConcern, ReadPreference, SelectionCriteria, ServerAddress,
    ServerMonitoringMode, Tls, TlsOptions, TransactionOptions,
};
use store::{Error, Limits, Node, Result, Target, TlsMode};

use super::DEFAULT_PORT;
use super::document::document;
use crate::{reach, tls};

/// The database where the URL names none: it appears with what Storelab makes in it and goes with it.
const DATABASE_DEFAULT: &str = "storelab";

/// Where users are kept unless the URL says otherwise.
const AUTH_SOURCE_DEFAULT: &str = "admin";

/// The server refuses longer names.
const DATABASE_BYTES_MAX: usize = 63;

/// After it has found the server up, the library's own watch has nothing to say that a lost connection does not.
const HEARTBEAT_EVERY: Duration = Duration::from_hours(24);

const READ_CONCERNS: [&str; 5] = ["local", "available", "majority", "linearizable", "snapshot"];

/// Where servers are, and what is asked of them.
pub(crate) struct Address {
    /// The URL's own, then those that it lists. No other is ever contacted.
    pub(crate) nodes: Vec<Node>,
    /// Where connections to them may go.
    limits: Limits,
    /// The database that everything of ours is in.
    pub(crate) database: String,
    /// The name that the replica set must have.
    pub(crate) replica_set: Option<String>,
    /// How long connecting may take.
    pub(crate) connect_timeout: Duration,
    /// Which members are read from.
    pub(crate) read_from: ReadFrom,
    /// The write concern that every write carries, as a document; none leaves it to the server.
    pub(crate) write_concern: Option<Vec<u8>>,
    /// The read concern that every read carries, as a document; none leaves it to the server.
    pub(crate) read_concern: Option<Vec<u8>>,
    /// Both, for a transaction, whose commands carry none.
    pub(crate) transaction: TransactionOptions,
    credential: Option<Credential>,
    tls: Option<TlsOptions>,
}

/// A read preference, by its name in MongoDB's own URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadFrom {
    Primary,
    PrimaryPreferred,
    Secondary,
    SecondaryPreferred,
    Nearest,
}

impl ReadFrom {
    const ALL: [(&'static str, Self); 5] = [
        ("primary", Self::Primary),
        ("primaryPreferred", Self::PrimaryPreferred),
        ("secondary", Self::Secondary),
        ("secondaryPreferred", Self::SecondaryPreferred),
        ("nearest", Self::Nearest),
    ];

    /// What a command must say so that a secondary, or the router of a sharded cluster, does as asked.
    pub(crate) fn criteria(self) -> Option<SelectionCriteria> {
        let options = None;
        let preference = match self {
            Self::Primary => return None,
            Self::PrimaryPreferred => ReadPreference::PrimaryPreferred { options },
            Self::Secondary => ReadPreference::Secondary { options },
            Self::SecondaryPreferred => ReadPreference::SecondaryPreferred { options },
            Self::Nearest => ReadPreference::Nearest { options },
        };
        Some(SelectionCriteria::ReadPreference(preference))
    }
}

impl Address {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(crate) fn of(target: &Target) -> Result<Self> {
        Ok(Self {
            nodes: target.nodes(DEFAULT_PORT)?,
            limits: target.limits().clone(),
            database: database(target)?,
            replica_set: target.option("replica_set").map(str::to_owned),
            connect_timeout: target.connect_timeout()?,
            read_from: read_from(target)?,
            write_concern: write_concern(target)?,
            read_concern: read_concern(target)?,
            transaction: transaction(target),
            credential: credential(target)?,
            tls: tls_options(target)?,
        })
    }

    /// What the library is to connect to for one of the nodes. It resolves names by itself, anew for each connection: where
    /// the target has limits it gets the addresses that were asked about instead.
    ///
    /// # Errors
    /// `Unreachable` where the host is not known, `Rejected` where none of its addresses is permitted, `Unsupported` where
    /// the certificate must carry a name that the library would not be told.
    pub(crate) async fn places(&self, node: &Node) -> Result<Vec<Node>> {
        if !self.limits.exist() {
            return Ok(vec![node.clone()]);
        }
        let addresses = reach::addresses(&self.limits, node).await?;
        let verifies = self.tls.as_ref().is_some_and(|tls| tls.allow_invalid_certificates != Some(true));
        if verifies && node.host.parse::<IpAddr>().is_err() {
            return Err(Error::unsupported(format!(
                "the certificate of {node} cannot be verified where connections are limited: the library would resolve the                  name again"
            ))
            .with_hint("name the server by an address that its certificate carries"));
        }
        let place = |address: std::net::SocketAddr| Node { host: address.ip().to_string(), port: address.port() };
        Ok(addresses.into_iter().map(place).collect())
    }

    /// What the library is told for a connection to one of the nodes, or to an address of it.
    pub(crate) fn client_options(&self, node: &Node, connect_timeout: Duration) -> ClientOptions {
        let mut options = ClientOptions::default();
        options.hosts = vec![ServerAddress::Tcp { host: node.host.clone(), port: Some(node.port) }];
        // Without this it would go and look for the members that the server names.
        options.direct_connection = Some(true);
        options.app_name = Some(format!("storelab {}", self.database));
        options.credential.clone_from(&self.credential);
        options.tls = Some(self.tls.clone().map_or(Tls::Disabled, Tls::Enabled));
        options.connect_timeout = Some(connect_timeout);
        options.server_selection_timeout = Some(connect_timeout);
        options.max_pool_size = Some(1);
        options.retry_reads = Some(false);
        options.retry_writes = Some(false);
        options.max_adaptive_retries = Some(0);
        // The other mode has two more connections to the server, which one of them keeps busy.
        options.server_monitoring_mode = Some(ServerMonitoringMode::Poll);
        options.heartbeat_freq = Some(HEARTBEAT_EVERY);
        options
    }
}

fn database(target: &Target) -> Result<String> {
    let name = match target.path() {
        "" => DATABASE_DEFAULT,
        path => path,
    };
    let is_good = name.len() <= DATABASE_BYTES_MAX && !name.contains(['/', '\\', '.', ' ', '"', '$', '\0']);
    if is_good {
        return Ok(name.to_owned());
    }
    Err(Error::config(format!("the target's database `{name}` is not a name that MongoDB takes"))
        .with_hint("write mongodb://host:27017/NAME with at most 63 letters, digits, underscores and hyphens"))
}

fn read_from(target: &Target) -> Result<ReadFrom> {
    let Some(given) = target.option("read_preference") else { return Ok(ReadFrom::Primary) };
    let found = ReadFrom::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(given));
    found.map(|(_, from)| *from).ok_or_else(|| unknown("read_preference", given, ReadFrom::ALL.map(|(name, _)| name)))
}

fn read_concern(target: &Target) -> Result<Option<Vec<u8>>> {
    let Some(given) = target.option("read_concern") else { return Ok(None) };
    if !READ_CONCERNS.contains(&given) {
        return Err(unknown("read_concern", given, READ_CONCERNS));
    }
    if given == "linearizable" && read_from(target)? != ReadFrom::Primary {
        return Err(Error::config("the target's `read_concern=linearizable` is for reads from the primary")
            .with_hint("leave out read_preference, or use read_concern=majority"));
    }
    Ok(Some(document(|concern| concern.text("level", given).end())))
}

/// What has been found good before.
fn transaction(target: &Target) -> TransactionOptions {
    let mut options = TransactionOptions::default();
    options.write_concern = target.option("w").map(|given| match given.parse() {
        Ok(members) => Acknowledgment::Nodes(members).into(),
        Err(_) => Acknowledgment::Majority.into(),
    });
    // The server permits no others.
    options.read_concern = match target.option("read_concern") {
        Some("local" | "available") => Some(ReadConcern::local()),
        Some("majority" | "linearizable") => Some(ReadConcern::majority()),
        Some("snapshot") => Some(ReadConcern::snapshot()),
        _ => None,
    };
    options
}

fn write_concern(target: &Target) -> Result<Option<Vec<u8>>> {
    let Some(given) = target.option("w") else { return Ok(None) };
    if given == "majority" {
        return Ok(Some(document(|concern| concern.text("w", given).end())));
    }
    match given.parse::<u8>() {
        Ok(0) => Err(Error::config("the target's `w=0` has no answers that could be measured")
            .with_hint("use w=1 for a write that one member has")),
        Ok(members @ 1..=50) => Ok(Some(document(|concern| concern.small("w", members.into()).end()))),
        _ => Err(Error::config(format!("the target's `w={given}` is unknown"))
            .with_hint("use w=majority, or a number of members from 1 to 50")),
    }
}

fn unknown<const N: usize>(name: &str, given: &str, choices: [&str; N]) -> Error {
    Error::config(format!("the target's `{name}={given}` is unknown"))
        .with_hint(format!("use one of {}", choices.join(", ")))
}

fn credential(target: &Target) -> Result<Option<Credential>> {
    let Some(user) = target.user() else {
        return match target.password() {
            None => Ok(None),
            Some(_) => Err(Error::config("the target has a password without a user")
                .with_hint("write mongodb://user:password@host")),
        };
    };
    let Some(password) = target.password() else {
        return Err(
            Error::config("the target names a user without a password").with_hint("write mongodb://user:password@host")
        );
    };
    let mut credential = Credential::default();
    credential.username = Some(user.to_owned());
    credential.password = Some(password.expose().to_owned());
    credential.source = Some(target.option("auth_source").unwrap_or(AUTH_SOURCE_DEFAULT).to_owned());
    Ok(Some(credential))
}

/// The library reads the files by itself, and says little of those that it cannot use: they are looked at before.
fn tls_options(target: &Target) -> Result<Option<TlsOptions>> {
    if tls::client_config(target, TlsMode::Off)?.is_none() {
        return Ok(None);
    }
    tls::server_name(target)?;
    let mut options = TlsOptions::default();
    options.allow_invalid_certificates = Some(target.tls(TlsMode::Off)? == TlsMode::Insecure);
    options.ca_file_path = target.option(tls::TLS_CA_OPTION.name).map(PathBuf::from);
    Ok(Some(options))
}

#[cfg(test)]
mod tests {
    use store::ErrorKind;

    use super::*;

    fn address(rest: &str) -> Result<Address> {
        Address::of(&Target::parse(&format!("mongodb://{rest}")).expect("a URL"))
    }

    #[test]
    fn defaults_are_those_that_are_documented() {
        let address = address("u:p@h").expect("valid");
        assert_eq!((address.database.as_str(), address.read_from), ("storelab", ReadFrom::Primary));
        assert!(address.write_concern.is_none() && address.read_concern.is_none() && address.tls.is_none());
        let options = address.client_options(&address.nodes[0], address.connect_timeout);
        assert_eq!(options.hosts[0].to_string(), "h:27017");
        assert_eq!(options.credential.and_then(|credential| credential.source).as_deref(), Some("admin"));
        assert_eq!((options.direct_connection, options.max_pool_size), (Some(true), Some(1)));
        assert_eq!((options.retry_reads, options.retry_writes), (Some(false), Some(false)));
    }

    #[test]
    fn what_cannot_work_is_the_users_to_correct() {
        for (rest, part) in [
            ("h?w=0", "w=0"),
            ("h?w=many", "w=many"),
            ("h?read_preference=tertiary", "read_preference"),
            ("h?read_concern=none", "read_concern"),
            ("h?read_concern=linearizable&read_preference=nearest", "linearizable"),
            ("h/a.b", "a.b"),
            ("h/a%20b", "a b"),
            ("u@h", "without a password"),
            (":p@h", "without a user"),
            ("h?nodes=x", "nodes"),
            ("h?tls=verify&tls_ca=/nowhere.pem", "tls_ca"),
        ] {
            let error = address(rest).err().unwrap_or_else(|| panic!("{rest} cannot work"));
            assert_eq!(error.kind(), ErrorKind::Config, "{rest}: {error}");
            assert!(error.to_string().contains(part) && error.hint().is_some(), "{rest}: {error}");
        }
    }
}
