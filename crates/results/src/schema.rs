//! The tables, and how a store of an older version becomes one of the newest.

use crate::{artifacts, service};

/// What runs are kept in, in the words that both databases read (see [`crate::database::dialect`]).
const RUNS: &str = "CREATE TABLE runs (
    key {key},
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    started_at_us INTEGER NOT NULL,
    ended_at_us INTEGER NOT NULL,
    driver TEXT NOT NULL,
    workload TEXT NOT NULL,
    variant TEXT,
    throughput_per_second REAL,
    latency_us_p99 REAL,
    failed INTEGER,
    valid INTEGER,
    record TEXT NOT NULL,
    owner_process_id INTEGER,
    owner_start_ticks INTEGER,
    owner_boot_id TEXT,
    owner_namespace TEXT
) STRICT;
CREATE INDEX runs_by_start ON runs (started_at_us);
CREATE INDEX runs_by_name ON runs (name, started_at_us);
CREATE INDEX runs_by_status ON runs (status) WHERE status = 'running';
CREATE TABLE seconds (
    run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
    second INTEGER NOT NULL,
    heard_at_us INTEGER NOT NULL,
    gauges TEXT NOT NULL,
    PRIMARY KEY (run, second)
) STRICT, WITHOUT ROWID;
CREATE TABLE samples (
    run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
    second INTEGER NOT NULL,
    phase INTEGER NOT NULL,
    operation TEXT NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    latency BLOB,
    PRIMARY KEY (run, second, phase, operation)
) STRICT, WITHOUT ROWID;
CREATE TABLE histograms (
    run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
    phase INTEGER NOT NULL,
    operation TEXT NOT NULL,
    metric TEXT NOT NULL,
    histogram BLOB NOT NULL,
    PRIMARY KEY (run, phase, operation, metric)
) STRICT, WITHOUT ROWID;";

/// When a run was last heard of, beside its seconds: it has none while a load is searched for, or its data are verified.
const HEARD_AT: &str = "ALTER TABLE runs ADD COLUMN heard_at_us INTEGER;";

/// Each makes of a store of the version of its place one of the next, one string an owner. Forward only; none is ever changed
/// once released.
const MIGRATIONS: &[&[&[&str]]] =
    &[&[&[RUNS]], &[&[HEARD_AT], &[artifacts::TABLES], service::TABLES], &[&[service::RESUMING]]];

/// The version that they lead to.
pub(crate) const VERSION: u32 = MIGRATIONS.len() as u32;

/// What makes the newest of a store of that version.
pub(crate) fn after(version: u32) -> impl Iterator<Item = &'static str> {
    MIGRATIONS.iter().skip(version as usize).flat_map(|owners| owners.iter().copied().flatten().copied())
}
