//! `MySQL` and `MariaDB`: one wire, and a [`Quirks`](dialect::Quirks) value for what the products do differently.
//!
//! - `dialect`: what each product writes otherwise, chosen by the version that the server states.
//! - `address`: where a server is; `login`: how it is entered; `connection`: asking it one thing after the other.
//! - `packet`: the protocol's packets; `value`: what is in them; `statement`: prepared statements; `error`: refusals.
//! - `session`: the hot path; `store`: what is made, loaded, counted and dropped.
//!
//! The protocol answers one request before it takes the next, so a session has one in flight.

mod address;
mod connection;
mod dialect;
mod error;
mod login;
mod packet;
mod session;
mod statement;
mod store;
#[cfg(test)]
mod tests;
mod value;

use std::sync::Arc;

// `mysql_common` does not build without a zlib, and leaves the choice to others.
use flate2 as _;

use ::store::{
    Capabilities, Capability, Driver, LocalBoxFuture, Lookup, Operation, Result, Store, Target, TargetOption,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::relational::OPERATIONS;
use crate::tls::{TLS_CA_OPTION, TLS_OPTION};

/// Registered for `MySQL`.
const DEFAULT_PORT: u16 = 3306;

static OPTIONS: [TargetOption; 5] = [
    TargetOption { name: "connect_timeout", summary: "seconds that connecting may take; 10" },
    TargetOption {
        name: "isolation",
        summary: "read-uncommitted, read-committed, repeatable-read or serializable; the server's own",
    },
    TargetOption { name: "lock_wait_timeout", summary: "seconds to wait for another session's lock; the server's own" },
    TLS_OPTION,
    TLS_CA_OPTION,
];

/// The driver.
#[derive(Debug)]
pub(crate) struct MySql;

impl Driver for MySql {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn title(&self) -> &'static str {
        "MySQL / MariaDB"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["mysql", "mariadb"]
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
        let value = |name: &str, default: &str| lookup(name).unwrap_or_else(|| default.to_owned());
        let encoded =
            |name: &str, default: &str| utf8_percent_encode(&value(name, default), NON_ALPHANUMERIC).to_string();
        let host = value("MYSQL_HOST", "127.0.0.1");
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Some(format!(
            "mysql://{}:{}@{host}:{}/{}",
            encoded("MYSQL_USER", "root"),
            encoded("MYSQL_PASSWORD", "root"),
            value("MYSQL_PORT", "3306"),
            encoded("MYSQL_DB", "optistack"),
        ))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(store::MySqlStore::connect(target).await?) as Arc<dyn Store>) })
    }
}
