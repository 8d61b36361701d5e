//! Redis and its descendants (Valkey), over their own protocol.
//!
//! - `connection`: how a server is entered; `reply`: what it answers.
//! - `store`: what is made, loaded, counted and dropped; `manifest`: what is known to be ours.
//! - `session`: the hot path; `records`: the key-value verbs; `operations`: the driver's own.
//! - `cluster`: the same over the masters of a cluster; `servers`: what is asked of all of them.
//!
//! A record is a hash at `<namespace>:<key>`, and its key is a member of one sorted set, `<namespace>:!index`, from
//! which scans in key order are read. Inserting and deleting are therefore two commands each, sent and answered
//! together, as in YCSB's own Redis binding.

mod cluster;
mod connection;
mod contents;
mod manifest;
mod operations;
mod records;
mod reply;
mod servers;
mod session;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::store::{
    Capabilities, Capability, Driver, Error, LocalBoxFuture, Lookup, Operation, Result, Store, Target, TargetOption,
};

use crate::tls::{TLS_CA_OPTION, TLS_OPTION};

/// The driver.
pub(crate) struct Redis;

/// Registered for Redis.
const DEFAULT_PORT: u16 = 6379;

static OPTIONS: [TargetOption; 5] = [
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take; 10" },
    TargetOption { name: "nodes", summary: "HOST:PORT,… of a cluster's other nodes; nobody else is reached" },
    READ_FROM_OPTION,
    TLS_OPTION,
    TLS_CA_OPTION,
];

/// The URL parameter that names who answers reads.
const READ_FROM_OPTION: TargetOption =
    TargetOption { name: "read_from", summary: "master, or replica (of a cluster), which may be behind" };

/// Who answers reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadFrom {
    Master,
    Replica,
}

impl ReadFrom {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for another value.
    fn of(target: &Target) -> Result<Self> {
        match target.option(READ_FROM_OPTION.name) {
            None | Some("master") => Ok(Self::Master),
            Some("replica") => Ok(Self::Replica),
            Some(other) => Err(Error::config(format!("the target's `read_from={other}` is unknown"))
                .with_hint("use read_from=master or read_from=replica")),
        }
    }
}

impl Driver for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn title(&self) -> &'static str {
        "Redis"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["redis", "rediss", "valkey", "valkeys"]
    }

    fn default_port(&self) -> Option<u16> {
        Some(DEFAULT_PORT)
    }

    fn capabilities(&self) -> Capabilities {
        const CAPABILITIES: Capabilities = Capabilities::of(&[
            Capability::KeyValue,
            Capability::OrderedScan,
            Capability::Pipelining,
            Capability::Tls,
            Capability::ServerCounters,
        ]);
        CAPABILITIES
    }

    fn operations(&self) -> &'static [Operation] {
        &operations::OPERATIONS
    }

    fn options(&self) -> &'static [TargetOption] {
        &OPTIONS
    }

    fn quirks(&self) -> &'static [&'static str] {
        &[
            "`set` is SET of a string; the collection is `sets`",
            "a record is a hash and a member of one sorted set, from which scans are read: inserting and deleting are two \
             commands each, in one write",
            "in a cluster the records and their index are in twelve parts; a scan asks all of them and merges",
            "an update writes at once, and only where it made a field looks whether there was a record",
            "`hyperloglog` counts within 3 %; every other answer is exact",
            "a cluster's nodes must be listed (`nodes=`): a redirect to another address is refused, and nobody goes there",
            "replicas lag: with `read_from=replica` a run that writes may read what was there before, which is then counted \
             as wrong",
        ]
    }

    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        Some(lookup("REDIS_URL").unwrap_or_else(|| format!("redis://127.0.0.1:{DEFAULT_PORT}")))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(store::RedisStore::connect(target).await?) as Arc<dyn Store>) })
    }
}
