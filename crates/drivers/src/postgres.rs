//! `PostgreSQL` and what else speaks its protocol.
//!
//! - `product`: what one product has otherwise than another.
//! - `address`: where servers are and how they are entered; `role`: which of several will do; `connection`: entering one,
//!   and asking one thing at a time; `scram`: how passwords are proven.
//! - `message`: the protocol's messages; `value`: what is in them; `statement`: prepared statements; `error`: refusals.
//! - `session`: the hot path; `lane`: the operations, which may take several round trips, on the same connection.
//! - `store`: what is made, loaded and dropped; `counting`: what servers count; `dialect`: what is written differently from other products.
//!
//! A request is one write of Bind, Execute and Sync, its answer is read where it lies, and Sync behind each request
//! keeps an error of one from the others in flight.

mod address;
mod connection;
mod counting;
mod dialect;
mod error;
mod lane;
mod message;
mod product;
mod role;
mod scram;
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

use self::address::url_from_environment;
#[cfg(feature = "cockroachdb")]
pub(crate) use self::address::{
    APPLICATION_NAME_OPTION, BALANCE_OPTION, CONNECT_TIMEOUT_OPTION, NODES_OPTION, SERVER_OPTION, SSL_OPTION,
    STATEMENT_TIMEOUT_OPTION,
};
pub(crate) use self::product::{POSTGRES, Product};

/// The driver of one product that speaks the protocol.
#[derive(Debug)]
pub(crate) struct Postgres(pub(crate) &'static Product);

impl Driver for Postgres {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn title(&self) -> &'static str {
        self.0.title
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.0.schemes
    }

    fn default_port(&self) -> Option<u16> {
        Some(self.0.port)
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
        self.0.dialect.operations
    }

    fn options(&self) -> &'static [TargetOption] {
        self.0.options
    }

    fn quirks(&self) -> &'static [&'static str] {
        self.0.quirks
    }

    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        Some(url_from_environment(self.0, lookup))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(store::PostgresStore::connect(self.0, target).await?) as Arc<dyn Store>) })
    }
}
