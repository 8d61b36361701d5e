-- The tables of the first version, as its files have them.
CREATE TABLE runs (
    key INTEGER PRIMARY KEY,
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
) STRICT, WITHOUT ROWID;
PRAGMA application_id = 1400138850;
PRAGMA user_version = 1;
