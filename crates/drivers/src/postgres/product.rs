//! What one product that speaks the protocol has otherwise than another.

use ::store::{Result, Target, TargetOption};

use super::address::{
    APPLICATION_NAME_OPTION, BALANCE_OPTION, CONNECT_TIMEOUT_OPTION, ISOLATION_OPTION, NODES_OPTION, SERVER_OPTION,
    SESSION_OPTION, SSL_OPTION, STATEMENT_TIMEOUT_OPTION,
};
use super::dialect::DIALECT;
use crate::relational::{Choices, Dialect};
use crate::tls::{TLS_CA_OPTION, TLS_OPTION};

/// A product that speaks the protocol.
#[derive(Debug)]
pub(crate) struct Product {
    /// The driver's name.
    pub(crate) name: &'static str,
    /// What its makers call it.
    pub(crate) title: &'static str,
    /// The URL schemes that mean it, the usual one first.
    pub(crate) schemes: &'static [&'static str],
    /// The port where the URL names none.
    pub(crate) port: u16,
    /// Who enters where the URL names nobody.
    pub(crate) user: &'static str,
    /// The database where the URL names none; the one called as the user where this is none.
    pub(crate) database: Option<&'static str>,
    /// The documented environment variables for host, port, user, password and database, and what they are where they
    /// are not set.
    pub(crate) environment: [(&'static str, &'static str); 5],
    /// The URL parameters that it takes.
    pub(crate) options: &'static [TargetOption],
    /// What it writes otherwise.
    pub(crate) dialect: &'static Dialect,
    /// What a target's URL wants otherwise than the dialect has it.
    pub(crate) choices: fn(&Target) -> Result<Choices>,
    /// Settings of our sessions that are not for the URL to say: names and values.
    pub(crate) session: &'static [(&'static str, &'static str)],
    /// A query that returns a row where the database exists; none where a server lets nobody into one that does not.
    pub(crate) database_exists: Option<&'static str>,
    /// What users must know to read its figures right.
    pub(crate) quirks: &'static [&'static str],
    /// Run on each connection that loads rows; empty where there is nothing to be said.
    pub(crate) load: &'static str,
    /// Settings that decide how fast it is or that say which server it is: queries of names and values as text. A server
    /// that refuses one does without it.
    pub(crate) settings: &'static [&'static str],
    /// What it counts: queries whose columns are counters, or whose two columns `counter` and `value` are. Not every
    /// version has every one, nor may every user read them.
    pub(crate) counters: &'static [&'static str],
    /// A query for the server's process, where the second one returns a row; none where the server does not tell.
    pub(crate) process_id: Option<[&'static str; 2]>,
    /// Whether some of its servers take nothing but reads.
    pub(crate) has_standbys: bool,
    /// Whether sessions begin at the listed nodes in turn where the URL does not say.
    pub(crate) takes_turns: bool,
}

/// `PostgreSQL` itself.
pub(crate) static POSTGRES: Product = Product {
    name: "postgres",
    title: "PostgreSQL",
    schemes: &["postgres", "postgresql"],
    port: 5432,
    user: "postgres",
    database: None,
    environment: [
        ("POSTGRES_HOST", "127.0.0.1"),
        ("POSTGRES_PORT", "5432"),
        ("POSTGRES_USER", "postgres"),
        ("POSTGRES_PASSWORD", "postgres"),
        ("POSTGRES_DB", "optistack"),
    ],
    options: &[
        APPLICATION_NAME_OPTION,
        CONNECT_TIMEOUT_OPTION,
        ISOLATION_OPTION,
        BALANCE_OPTION,
        NODES_OPTION,
        SERVER_OPTION,
        SSL_OPTION,
        STATEMENT_TIMEOUT_OPTION,
        SESSION_OPTION,
        TLS_OPTION,
        TLS_CA_OPTION,
    ],
    dialect: &DIALECT,
    choices: |_| Ok(Choices::default()),
    session: &[],
    database_exists: None,
    quirks: &[],
    // A load is made durable as a whole when it is finished, not batch by batch.
    load: "SELECT set_config('synchronous_commit', 'off', false)",
    settings: &["SELECT name::text, current_setting(name)::text FROM pg_catalog.pg_settings WHERE name IN (\
        'autovacuum', 'checkpoint_timeout', 'data_checksums', 'default_transaction_isolation', 'effective_cache_size', \
        'effective_io_concurrency', 'fsync', 'full_page_writes', 'huge_pages', 'io_method', 'jit', \
        'maintenance_work_mem', 'max_connections', 'max_parallel_workers', 'max_parallel_workers_per_gather', \
        'max_wal_size', 'random_page_cost', 'server_version_num', 'shared_buffers', 'shared_preload_libraries', \
        'synchronous_commit', 'synchronous_standby_names', 'wal_buffers', 'wal_compression', 'wal_level', 'work_mem')"],
    counters: &[
        "SELECT * FROM pg_catalog.pg_stat_database WHERE datname = current_database()",
        "SELECT * FROM pg_catalog.pg_stat_bgwriter",
        "SELECT * FROM pg_catalog.pg_stat_wal",
        "SELECT * FROM pg_catalog.pg_stat_checkpointer",
    ],
    // Only a superuser may read the file.
    process_id: Some([
        "SELECT split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::bigint AS process_id",
        "SELECT 1 WHERE has_function_privilege('pg_catalog.pg_read_file(text)', 'execute')",
    ]),
    has_standbys: true,
    takes_turns: false,
};
