//! `MariaDB`, `MySQL`, `OceanBase` and `TiDB`: one wire, and one [`Member`] of the family each.
//!
//! - `dialect`: what each product writes otherwise, chosen by the version that the server states.
//! - `address`: where a server is; `login`: how it is entered; `connection`: asking it one thing after the other.
//! - `options`: what a URL says about its sessions; `observe`: what a server says about itself, and what it counts.
//! - `packet`: the protocol's packets; `value`: what is in them; `statement`: prepared statements; `error`: refusals.
//! - `session`: the hot path; `store`: what is made, loaded, counted and dropped.
//!
//! The protocol answers one request before it takes the next, so a session has one in flight.

mod address;
mod connection;
mod dialect;
mod error;
mod login;
mod observe;
mod options;
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
    Capabilities, Capability, Driver, Error, LocalBoxFuture, Lookup, Operation, Result, Store, Target, TargetOption,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use self::dialect::Product;
use crate::relational::OPERATIONS;

/// One product of the family as a driver.
///
/// A server says what product it is when it is entered, and is spoken to accordingly. Which of its operations it has not
/// is known then, so that all members list the same.
#[derive(Debug)]
pub(crate) struct Member {
    name: &'static str,
    schemes: &'static [&'static str],
    title: &'static str,
    default_port: u16,
    /// Whether it takes the servers of the other products too: for what speaks `MySQL`'s wire and is none of them.
    takes_others: bool,
    options: &'static [TargetOption],
    /// Levels of isolation as the URL has them and as the server does. It has no others, or takes them for these.
    isolation_levels: &'static [(&'static str, &'static str)],
    environment: Environment,
}

/// Environment variables, and what holds where one is not set; the host is 127.0.0.1 then.
#[derive(Debug)]
struct Environment {
    /// What their names begin with.
    prefix: &'static str,
    user: &'static str,
    password: &'static str,
    database: &'static str,
}

/// As a server of the family is usually made.
const DEMONSTRATION: Environment =
    Environment { prefix: "MYSQL", user: "root", password: "root", database: "optistack" };

/// `MariaDB`.
pub(crate) static MARIADB: Member = Member {
    name: "mariadb",
    schemes: &["mariadb"],
    title: "MariaDB",
    default_port: 3306,
    takes_others: false,
    options: &options::OF_ALL,
    isolation_levels: &options::ISOLATION_LEVELS,
    environment: Environment { prefix: "MARIADB", ..DEMONSTRATION },
};

/// `MySQL`, and what else speaks its wire.
pub(crate) static MYSQL: Member = Member {
    name: "mysql",
    schemes: &["mysql"],
    title: "MySQL",
    default_port: 3306,
    takes_others: true,
    options: &options::OF_ALL,
    isolation_levels: &options::ISOLATION_LEVELS,
    environment: DEMONSTRATION,
};

/// `OceanBase`, seekdb too. Its users are those of a tenant: `root@tenant`.
pub(crate) static OCEANBASE: Member = Member {
    name: "oceanbase",
    schemes: &["oceanbase"],
    title: "OceanBase",
    default_port: 2881,
    takes_others: false,
    options: &options::OF_OCEANBASE,
    isolation_levels: options::ISOLATION_LEVELS.split_at(1).1,
    environment: Environment { prefix: "OB", user: "root", password: "", database: "test" },
};

/// `TiDB`.
pub(crate) static TIDB: Member = Member {
    name: "tidb",
    schemes: &["tidb"],
    title: "TiDB",
    default_port: 4000,
    takes_others: false,
    options: &options::OF_TIDB,
    isolation_levels: options::ISOLATION_LEVELS.split_at(1).1.split_at(2).0,
    environment: Environment { prefix: "TIDB", user: "root", password: "", database: "test" },
};

impl Member {
    /// What a server is, from what it says of its version.
    ///
    /// # Errors
    /// `Config` for a server of another product, `Unsupported` for one that is too old, `Rejected` for a version that cannot
    /// be read.
    fn product(&self, version: &str) -> Result<Product> {
        let product = Product::of(version)?;
        let theirs = product.quirks.scheme;
        if self.takes_others || self.name == theirs {
            return Ok(product);
        }
        Err(Error::config(format!("{}: the server is {product}", self.name))
            .with_hint(format!("write {theirs}: where the target's URL has {}:", self.name)))
    }
}

impl Driver for Member {
    fn name(&self) -> &'static str {
        self.name
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.schemes
    }

    fn default_port(&self) -> Option<u16> {
        Some(self.default_port)
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
        self.options
    }

    fn url_from_environment(&self, lookup: Lookup<'_>) -> Option<String> {
        let Environment { prefix, user, password, database } = self.environment;
        let value =
            |name: &str, default: &str| lookup(&format!("{prefix}_{name}")).unwrap_or_else(|| default.to_owned());
        let encoded =
            |name: &str, default: &str| utf8_percent_encode(&value(name, default), NON_ALPHANUMERIC).to_string();
        let host = value("HOST", "127.0.0.1");
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        let port = value("PORT", &self.default_port.to_string());
        let (user, password) = (encoded("USER", user), encoded("PASSWORD", password));
        let password = if password.is_empty() { password } else { format!(":{password}") };
        Some(format!("{}://{user}{password}@{host}:{port}/{}", self.name, encoded("DB", database)))
    }

    fn connect<'a>(&'a self, target: &'a Target) -> LocalBoxFuture<'a, Result<Arc<dyn Store>>> {
        Box::pin(async move { Ok(Arc::new(store::MySqlStore::connect(self, target).await?) as Arc<dyn Store>) })
    }
}
