//! Apache Cassandra, through the `scylla` client library.
//!
//! - `address`: what a URL means; `client`: a connection; `error`: who must act on what it says.
//! - `store`: what is made, loaded and dropped; `manifest`: what is known to be ours; `counters`: the servers' own.
//! - `records`: the key-value verbs; `operations`: the driver's own.
//!
//! A session is a client of its own with one connection to each listed node, and one more to one of them that the library
//! hears of the cluster by. Requests go by the token of their partition to a replica; nothing is sent twice.
//!
//! Records lie in a few partitions (`shards`) by a hash of their key, in key order within each, so that a scan is one
//! request that the coordinator merges from all of them.

mod address;
mod client;
mod counters;
mod error;
mod manifest;
mod operations;
mod permitted;
mod records;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::store::{
    Capabilities, Capability, Driver, LocalBoxFuture, Lookup, Operation, Result, Store, Target, TargetOption,
};

/// The driver.
pub(crate) struct Cassandra;

/// Registered for the native protocol.
const DEFAULT_PORT: u16 = 9042;

static OPTIONS: [TargetOption; 6] = [
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take; 10" },
    TargetOption {
        name: "consistency",
        summary: "replicas that must answer: local_quorum, one, local_one, two, three, quorum, all",
    },
    TargetOption { name: "nodes", summary: "further nodes that may be connected to, as HOST:PORT,HOST:PORT" },
    TargetOption {
        name: "replication",
        summary: "copies of each row in the keyspace that Storelab makes, where the URL names none; one for each listed \
                  node, three at most",
    },
    TargetOption {
        name: "serial_consistency",
        summary: "replicas that must agree on a lightweight transaction: local_serial, serial",
    },
    TargetOption { name: "shards", summary: "partitions that records are spread over, 1 to 256; 8" },
];

const CAPABILITIES: Capabilities = Capabilities::of(&[
    Capability::KeyValue,
    Capability::OrderedScan,
    Capability::ServerCounters,
    Capability::Durable,
    Capability::BlindWrites,
]);

impl Driver for Cassandra {
    fn name(&self) -> &'static str {
        "cassandra"
    }

    fn title(&self) -> &'static str {
        "Cassandra"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["cassandra"]
    }

    fn default_port(&self) -> Option<u16> {
        Some(DEFAULT_PORT)
    }

    fn capabilities(&self) -> Capabilities {
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
            "Writes do not look first, as is usual: an insert overwrites, an update of an absent key makes a record of the \
             fields that it names, and deleting nothing is told to be done.",
            "A record's partition is one of `shards` (8), computed from its key, so that scans can go in key order: a scan \
             reads up to its limit from each of them, and the coordinator merges. Fewer make scans cheaper, more keep \
             partitions small.",
            "A session has one connection to each listed node, and one that the client library hears of the cluster by; \
             peers that the target does not list are never contacted.",
            "Writes carry the client's time: machines that write to the same rows must have the same clock.",
        ]
    }

    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        Some(address::url_from_environment(lookup))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(store::CassandraStore::connect(target).await?) as Arc<dyn Store>) })
    }
}
