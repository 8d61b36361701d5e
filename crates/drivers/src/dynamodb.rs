//! DynamoDB, in a region or on this machine, through Amazon's own client library.
//!
//! - `address`: where it is and how it is entered; `link`: the one connection of a client.
//! - `store`: what is made, loaded and dropped; `tables` and `manifest`: how, and what is known to be ours; `load`: rows
//!   in batches.
//! - `session`: what serves requests; `records`: the key-value verbs; `operations`: the driver's own; `fault`: errors.
//!
//! A record's partition is a shard, a small number computed from its key, and its sort key is the key itself: a scan asks
//! every shard and merges what they answer. Every table is paid for by request and nothing is repeated by the library.

mod address;
mod fault;
mod item;
mod link;
mod load;
mod manifest;
mod operations;
mod records;
mod session;
mod store;
mod tables;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::store::{
    Capabilities, Capability, Driver, LocalBoxFuture, Lookup, Operation, Result, Store, Target, TargetOption,
};

use crate::tls::{TLS_CA_OPTION, TLS_OPTION};

/// The driver.
pub(crate) struct DynamoDb;

/// What `DynamoDB` Local listens on where it is not told otherwise.
const DEFAULT_PORT: u16 = 8000;

static OPTIONS: [TargetOption; 8] = [
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take; 10" },
    TargetOption {
        name: "consistency",
        summary: "strong (reads see all earlier writes) or eventual (at half the price)",
    },
    TargetOption { name: "region", summary: "what requests are signed for; that of an AWS host name, or us-east-1" },
    TargetOption { name: "session_token", summary: "what belongs to a temporary access key" },
    TargetOption { name: "shards", summary: "partitions that records are spread over, 1 to 256; 8" },
    TargetOption { name: "table_timeout", summary: "seconds that making or dropping tables may take; 300" },
    TLS_OPTION,
    TLS_CA_OPTION,
];

impl Driver for DynamoDb {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    fn title(&self) -> &'static str {
        "DynamoDB"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["dynamodb"]
    }

    fn default_port(&self) -> Option<u16> {
        Some(DEFAULT_PORT)
    }

    fn capabilities(&self) -> Capabilities {
        // No server counters: consumed capacity is told with each answer to the one who asked, the counts of a
        // table's description are hours old, and CloudWatch is another service.
        const CAPABILITIES: Capabilities =
            Capabilities::of(&[Capability::KeyValue, Capability::OrderedScan, Capability::Tls, Capability::Durable]);
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
            "Every table is paid for by request (on demand). Reads are strongly consistent unless `consistency=eventual` is \
             given, at half the price; those of a global secondary index never are.",
            "A record's partition is one of `shards` (8), computed from its key, so that scans can go in key order: a scan is \
             one request to each shard, one after another, and reads about half as much again as it shows. A partition takes \
             1000 writes a second: more shards carry more writes, fewer make scans cheaper.",
            "A throttled request is an error of the run: it is not repeated, except while data is loaded.",
            "The service keeps no counters that it would tell; what is consumed is billed, not shown here.",
            "DynamoDB Local takes any access key and has no throughput limits: its figures say nothing about AWS.",
        ]
    }

    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        Some(address::url_from_environment(lookup))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(store::DynamoStore::connect(target).await?) as Arc<dyn Store>) })
    }
}
