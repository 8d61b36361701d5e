//! `PostgreSQL`, over its own protocol.
//!
//! - `address`: where a server is and how it is entered; `connection`: entering it, and asking one thing at a time.
//! - `message`: the protocol's messages; `value`: what is in them; `statement`: prepared statements; `error`: refusals.
//! - `session`: the hot path; `lane`: the operations, which may take several round trips, on the same connection.
//! - `store`: what is made, loaded, counted and dropped; `dialect`: what is written differently from other products.
//!
//! A request is one write of Bind, Execute and Sync, its answer is read where it lies, and Sync behind each request
//! keeps an error of one from the others in flight.

mod address;
mod connection;
mod dialect;
mod error;
mod lane;
mod message;
mod session;
mod statement;
mod store;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

use ::store::{
    Capabilities, Capability, Driver, LocalBoxFuture, Lookup, Operation, Result, Store, Target, TargetOption,
};

use self::address::{DEFAULT_PORT, OPTIONS, url_from_environment};
use crate::relational::OPERATIONS;

/// The driver.
#[derive(Debug)]
pub(crate) struct Postgres;

impl Driver for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn title(&self) -> &'static str {
        "PostgreSQL"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["postgres", "postgresql"]
    }

    fn default_port(&self) -> Option<u16> {
        Some(DEFAULT_PORT)
    }

    fn capabilities(&self) -> Capabilities {
        const HAS: Capabilities = Capabilities::of(&[
            Capability::KeyValue,
            Capability::OrderedScan,
            Capability::Sql,
            Capability::Transactions,
            Capability::Pipelining,
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

    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        Some(url_from_environment(lookup))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(store::PostgresStore::connect(target).await?) as Arc<dyn Store>) })
    }
}
