//! `InfluxDB` 2, over its HTTP interface: line protocol is written, Flux is asked, annotated CSV is read.
//!
//! - `api`: how a server is entered and what it answers; `line`, `flux` and `csv`: its three languages.
//! - `store`: what is made, loaded, counted and dropped; `manifest`: what is known to be ours.
//! - `session`: the hot path; `records`: the key-value verbs; `readings`: the driver's own operations.
//!
//! A namespace is a bucket of that name, whose description is its entry in the manifest. A record is a series of its own,
//! with the key as a tag, and one point at the beginning of 1970 with a field of text for each of its fields.

mod api;
mod csv;
mod flux;
mod line;
mod manifest;
mod metrics;
mod readings;
mod records;
mod session;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ::store::{
    Capabilities, Capability, Driver, Effect, LocalBoxFuture, Lookup, Operation, Result, Store, Target, TargetOption,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::tls::{TLS_CA_OPTION, TLS_OPTION};

/// The driver.
#[derive(Debug)]
pub(crate) struct InfluxDb;

/// What `influxd` listens on where it is not told otherwise.
const DEFAULT_PORT: u16 = 8086;

/// Places in [`OPERATIONS`].
const WRITE: u16 = 0;
const QUERY: u16 = 1;
const AGGREGATE: u16 = 2;

static OPERATIONS: [Operation; 3] = [
    Operation::new(
        "write",
        Effect::Adds,
        "one point more of a device, in line protocol; acknowledged once it is durable",
    ),
    Operation::new(
        "query",
        Effect::Reads,
        "a device's points of one minute; times, values and payloads compared in order",
    ),
    Operation::new(
        "aggregate",
        Effect::Reads,
        "mean, maximum and count of each minute of a device (aggregateWindow); all windows compared in order",
    ),
];

static OPTIONS: [TargetOption; 3] = [
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take; 10" },
    TLS_OPTION,
    TLS_CA_OPTION,
];

impl Driver for InfluxDb {
    fn name(&self) -> &'static str {
        "influxdb"
    }

    fn title(&self) -> &'static str {
        "InfluxDB"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["influxdb"]
    }

    fn default_port(&self) -> Option<u16> {
        Some(DEFAULT_PORT)
    }

    fn capabilities(&self) -> Capabilities {
        const CAPABILITIES: Capabilities = Capabilities::of(&[
            Capability::KeyValue,
            Capability::OrderedScan,
            Capability::Tls,
            Capability::ServerCounters,
            Capability::Durable,
            Capability::BlindWrites,
        ]);
        CAPABILITIES
    }

    fn operations(&self) -> &'static [Operation] {
        &OPERATIONS
    }

    fn options(&self) -> &'static [TargetOption] {
        &OPTIONS
    }

    /// `INFLUXDB_URL` as the server's own tools have it, `INFLUXDB_ORG` and `INFLUXDB_TOKEN`. `INFLUXDB_BUCKET` is not
    /// looked at: nothing is put into a bucket that Storelab did not make.
    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        let given = lookup("INFLUXDB_URL").unwrap_or_else(|| format!("http://127.0.0.1:{DEFAULT_PORT}"));
        let (address, option) = match given.split_once("://") {
            Some(("https", address)) => (address, "?tls=verify"),
            Some((_, address)) => (address, ""),
            None => (given.as_str(), ""),
        };
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let organisation = lookup("INFLUXDB_ORG").map_or_else(String::new, |name| encoded(&name));
        let token = lookup("INFLUXDB_TOKEN").map_or_else(String::new, |token| format!("token:{}@", encoded(&token)));
        Some(format!("influxdb://{token}{}/{organisation}{option}", address.trim_end_matches('/')))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(store::InfluxStore::connect(target).await?) as Arc<dyn Store>) })
    }
}
