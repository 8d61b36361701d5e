//! `MongoDB`, over its official client library.
//!
//! - `address`: what a target's URL means; `connection`: one server, how it is entered and asked; `members`: which of a
//!   replica set's servers that is.
//! - `store`: what is made, loaded, counted and dropped; `manifest`: what is known to be ours; `server`: what it tells
//!   of itself.
//! - `session`: the hot path with the key-value verbs; `operations`: the driver's own.
//! - `document`: BSON, written and read without a detour over values; `error`: who must act.
//!
//! The library is used with as little of its own judgement as it lets: every connection is a *direct* one to a server that
//! the target lists, and nothing is tried twice. Which server is the primary is found by asking those that are listed.

mod address;
mod connection;
mod document;
mod error;
mod manifest;
mod members;
mod operations;
mod server;
mod session;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::store::{
    Capabilities, Capability, Driver, LocalBoxFuture, Lookup, Operation, Result, Store, Target, TargetOption,
};

use crate::tls::{TLS_CA_OPTION, TLS_OPTION};

/// The driver.
pub(crate) struct MongoDb;

/// Registered for MongoDB.
const DEFAULT_PORT: u16 = 27017;

const CAPABILITIES: Capabilities = Capabilities::of(&[
    Capability::KeyValue,
    Capability::OrderedScan,
    Capability::Tls,
    Capability::ServerCounters,
    Capability::Durable,
]);

static OPTIONS: [TargetOption; 9] = [
    TargetOption { name: "auth_source", summary: "the database that keeps the user; admin" },
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take; 10" },
    TargetOption { name: "nodes", summary: "further members of the replica set, HOST:PORT,HOST:PORT; none" },
    TargetOption {
        name: "read_concern",
        summary: "the server's own (local), or local, available, majority, linearizable or snapshot",
    },
    TargetOption {
        name: "read_preference",
        summary: "primary, primaryPreferred, secondary, secondaryPreferred or nearest, of the nodes that are listed",
    },
    TargetOption { name: "replica_set", summary: "the name that the replica set must have; any" },
    TLS_OPTION,
    TLS_CA_OPTION,
    TargetOption {
        name: "w",
        summary: "the server's own (majority), or majority, or how many members must have a write, from 1",
    },
];

static QUIRKS: [&str; 5] = [
    "A session is a client of the official library with a pool of one, and has two connections: the one that works, and one \
     that the library has looked at the server with and keeps.",
    "Connections are direct ones to servers that the URL lists: members that a server names are never contacted. Each \
     session asks those that are listed for the primary; one that steps down ends its sessions as unreachable.",
    "Reads, writes and bulk loads are commands in BSON as they are sent; nothing is tried twice, except that the library \
     sends the commit of a transaction again if its answer is lost.",
    "Writes carry the write concern `w` where the URL has one; without it a replica set of MongoDB 5.0 or later waits for a \
     majority of its members and their journals.",
    "`transaction` needs a replica set or a sharded cluster; a set of one does.",
];

impl Driver for MongoDb {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    fn title(&self) -> &'static str {
        "MongoDB"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["mongodb"]
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
        &QUIRKS
    }

    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        Some(lookup("MONGODB_URL").unwrap_or_else(|| format!("mongodb://127.0.0.1:{DEFAULT_PORT}")))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(store::MongoStore::connect(target).await?) as Arc<dyn Store>) })
    }
}
