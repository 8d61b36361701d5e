//! One file per data store, one line each in [`DRIVERS`].
//!
//! **The only crate that depends on database client libraries** (`results` uses `SQLite` for its own storage).

#[cfg(feature = "cassandra")]
mod cassandra;
#[cfg(feature = "cockroachdb")]
mod cockroachdb;
#[cfg(feature = "lane")]
#[cfg_attr(not(feature = "relational"), expect(dead_code, reason = "stores without relations need a part of it"))]
mod contents;
#[cfg(feature = "dynamodb")]
mod dynamodb;
#[cfg(feature = "elasticsearch")]
mod elasticsearch;
#[cfg(all(test, any(feature = "http", feature = "mongodb", feature = "postgres", feature = "redis")))]
#[cfg_attr(
    not(any(feature = "postgres", feature = "redis")),
    expect(dead_code, reason = "HTTP has one reply at a time, which is not cut again")
)]
mod hostile;
#[cfg(feature = "http")]
#[cfg_attr(
    not(any(feature = "elasticsearch", feature = "influxdb", all(feature = "dynamodb", feature = "web"), test)),
    expect(dead_code, reason = "DynamoDB signs each request and enters no other way")
)]
mod http;
#[cfg(feature = "influxdb")]
mod influxdb;
#[cfg(feature = "lane")]
#[cfg_attr(
    not(any(
        feature = "sqlite",
        all(
            feature = "relational",
            any(
                feature = "cassandra",
                feature = "dynamodb",
                feature = "elasticsearch",
                feature = "influxdb",
                feature = "mongodb"
            )
        ),
        test
    )),
    expect(dead_code, reason = "other drivers have sessions of their own and only run operations through its traits")
)]
mod lane;
mod memory;
#[cfg(feature = "mongodb")]
mod mongodb;
#[cfg(feature = "mysql")]
mod mysql;
mod null;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "cassandra", feature = "tls"))]
mod reach;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "relational")]
mod relational;
#[cfg(feature = "redis")]
mod resp;
#[cfg(feature = "lane")]
#[cfg_attr(
    not(any(feature = "cassandra", feature = "relational")),
    expect(dead_code, reason = "stores without relations need a part of it")
)]
mod rows;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "tls")]
#[cfg_attr(
    not(any(
        feature = "dynamodb",
        feature = "elasticsearch",
        feature = "influxdb",
        feature = "mongodb",
        feature = "mysql",
        feature = "postgres",
        feature = "redis"
    )),
    expect(dead_code, reason = "who only wants the configuration is no driver")
)]
mod tls;
#[cfg(feature = "web")]
pub mod web;
#[cfg(any(feature = "http", feature = "mysql", feature = "postgres", feature = "redis"))]
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres", feature = "redis")),
    expect(dead_code, reason = "HTTP only connects with it and has a library for the rest")
)]
mod wire;

#[cfg(feature = "tls")]
pub use tls::client_config as tls_config;

use store::{Driver, Error, Result, Target, did_you_mean};

/// Every data store that this build can reach, alphabetic. Help texts, tables, routes and the test matrix derive from it.
pub static DRIVERS: &[&dyn Driver] = &[
    #[cfg(feature = "cassandra")]
    &cassandra::Cassandra,
    #[cfg(feature = "cockroachdb")]
    &postgres::Postgres(&cockroachdb::COCKROACHDB),
    #[cfg(feature = "dynamodb")]
    &dynamodb::DynamoDb,
    #[cfg(feature = "elasticsearch")]
    &elasticsearch::Elasticsearch,
    #[cfg(feature = "influxdb")]
    &influxdb::InfluxDb,
    #[cfg(feature = "mysql")]
    &mysql::MARIADB,
    &memory::Memory,
    #[cfg(feature = "mongodb")]
    &mongodb::MongoDb,
    #[cfg(feature = "mysql")]
    &mysql::MYSQL,
    &null::Null,
    #[cfg(feature = "mysql")]
    &mysql::OCEANBASE,
    #[cfg(feature = "postgres")]
    &postgres::Postgres(&postgres::POSTGRES),
    #[cfg(feature = "redis")]
    &redis::Redis,
    #[cfg(feature = "sqlite")]
    &sqlite::Sqlite,
    #[cfg(feature = "mysql")]
    &mysql::TIDB,
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
