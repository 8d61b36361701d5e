//! One file per data store, one line each in [`DRIVERS`].
//!
//! **The only crate that depends on database client libraries** (`results` uses `SQLite` for its own storage).

#[cfg(feature = "cockroachdb")]
mod cockroachdb;
#[cfg(feature = "lane")]
mod contents;
#[cfg(all(test, any(feature = "postgres", feature = "redis")))]
mod hostile;
#[cfg(feature = "lane")]
#[cfg_attr(
    not(any(feature = "sqlite", test)),
    expect(dead_code, reason = "other drivers have sessions of their own and only run operations through its traits")
)]
mod lane;
mod memory;
#[cfg(feature = "mysql")]
mod mysql;
mod null;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "relational")]
mod relational;
#[cfg(feature = "redis")]
mod resp;
#[cfg(feature = "lane")]
mod rows;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "tls")]
mod tls;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "redis"))]
mod wire;

use store::{Driver, Error, Result, Target, did_you_mean};

/// Every data store that this build can reach, alphabetic. Help texts, tables, routes and the test matrix derive from it.
pub static DRIVERS: &[&dyn Driver] = &[
    #[cfg(feature = "cockroachdb")]
    &postgres::Postgres(&cockroachdb::COCKROACHDB),
    &memory::Memory,
    #[cfg(feature = "mysql")]
    &mysql::MySql,
    &null::Null,
    #[cfg(feature = "postgres")]
    &postgres::Postgres(&postgres::POSTGRES),
    #[cfg(feature = "redis")]
    &redis::Redis,
    #[cfg(feature = "sqlite")]
    &sqlite::Sqlite,
];

/// The driver for a URL scheme.
///
/// # Errors
/// `Config` for a scheme that no driver has, with the nearest one that exists.
pub fn for_scheme(scheme: &str) -> Result<&'static dyn Driver> {
    DRIVERS.iter().copied().find(|driver| driver.schemes().contains(&scheme)).ok_or_else(|| {
        let schemes = || DRIVERS.iter().flat_map(|driver| driver.schemes().iter().copied());
        let error = Error::config(format!("no data store is reached by `{scheme}:`"));
        match did_you_mean(scheme, schemes()) {
            Some(near) => error.with_hint(format!("did you mean `{near}:`?")),
            None => error.with_hint(format!("known are {}", schemes().collect::<Vec<_>>().join(", "))),
        }
    })
}

/// The driver and the address that a URL means; its parameters are checked.
///
/// # Errors
/// `Config`, naming what is wrong with the URL.
pub fn resolve(url: &str) -> Result<(&'static dyn Driver, Target)> {
    let target = Target::parse(url)?;
    let driver = for_scheme(target.scheme())?;
    target.check_options(driver.options())?;
    Ok((driver, target))
}
