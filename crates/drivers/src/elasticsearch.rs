//! Elasticsearch and `OpenSearch`: documents over HTTP, which are searched, aggregated and ranked.
//!
//! Both speak the same requests as far as they are made here. What they are is in the first reply: see
//! [`ServerInfo::version`](::store::ServerInfo::version).
//!
//! **Searches see what was refreshed.** A write is only found by searches once its shard has been refreshed, which the
//! server does about every second. So that what was written is found by the next search, as with other stores, our writes
//! refresh (`refresh=true`); reads by key see a write at once, whatever `refresh` says.
//!
//! **Nothing comes into being by accident.** Both make an index when somebody writes to one that is not there. Our writes
//! go through an alias of each index and demand that there is one (`require_alias`), so that one that arrives after its
//! index was dropped is refused.

mod client;
mod failure;
mod indices;
mod json;
mod manifest;
mod operations;
mod records;
mod session;
mod statistics;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::store::{
    Capabilities, Capability, Driver, LocalBoxFuture, Lookup, Operation, Result, Store, Target, TargetOption,
};

use self::client::{OPTIONS, PORT_DEFAULT, url_from_environment};
use self::operations::OPERATIONS;
use self::store::Cluster;

/// The driver.
#[derive(Debug)]
pub(crate) struct Elasticsearch;

impl Driver for Elasticsearch {
    fn name(&self) -> &'static str {
        "elasticsearch"
    }

    fn title(&self) -> &'static str {
        "Elasticsearch"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["elasticsearch", "opensearch"]
    }

    fn default_port(&self) -> Option<u16> {
        Some(PORT_DEFAULT)
    }

    fn capabilities(&self) -> Capabilities {
        const HAS: Capabilities = Capabilities::of(&[
            Capability::KeyValue,
            Capability::OrderedScan,
            Capability::Tls,
            Capability::ServerCounters,
            Capability::Durable,
        ]);
        HAS
    }

    fn operations(&self) -> &'static [Operation] {
        OPERATIONS
    }

    fn options(&self) -> &'static [TargetOption] {
        &OPTIONS
    }

    fn quirks(&self) -> &'static [&'static str] {
        &[
            "writes refresh their shard, so that the next search finds what they wrote: the largest part of what they cost; \
             `refresh=false` leaves that to the server, which does it every second",
            "reads by key see every write at once, scans and searches only what was refreshed",
            "an update reads and writes the whole document, and the server repeats it where another came between",
            "an index has one shard and no copies unless `shards` and `replicas` say otherwise",
            "aggregations are worked out each time: the server's cache of their results is not used",
        ]
    }

    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        Some(url_from_environment(lookup))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(Cluster::connect(target).await?) as Arc<dyn Store>) })
    }
}
