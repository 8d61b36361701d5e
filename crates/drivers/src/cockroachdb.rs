//! `CockroachDB`: a product of `PostgreSQL`'s protocol with a dialect, options and counters of its own.
//!
//! Isolation is always serializable, so a transaction that met another one ends as a conflict (40001), which whoever asked
//! tries again, or the driver with `retries`. There are no advisory locks: the manifest changes in one serializable
//! transaction, of which two at the same time cannot both succeed. Dropping a table does not wait for those who write to it
//! (their nodes have leased what it was), so a load looks for its entries in the manifest that there is before it makes
//! anything.

use std::ops::RangeInclusive;
use std::time::Duration;

use store::{Error, Operation, Result, Target, TargetOption};

use crate::postgres::{
    APPLICATION_NAME_OPTION, BALANCE_OPTION, CONNECT_TIMEOUT_OPTION, NODES_OPTION, Product, SERVER_OPTION, SSL_OPTION,
    STATEMENT_TIMEOUT_OPTION,
};
use crate::relational::{Choices, Dialect, OPERATIONS, Placeholder, RECORD_KEY};
use crate::tls::{TLS_CA_OPTION, TLS_OPTION};

const AS_OF_OPTION: TargetOption = TargetOption {
    name: "as_of",
    summary: "how old data is that key-value reads and reading operations see: -5s, or follower for the age at which any \
              replica has it; now",
};
const HASH_OPTION: TargetOption = TargetOption {
    name: "hash_sharded",
    summary: "over how many buckets the keys of a record table are spread by their hash, 2 to 2048; not at all",
};
const INSERT_OPTION: TargetOption = TargetOption {
    name: "insert",
    summary: "insert (a key that exists is an error) or upsert (it is overwritten, and nothing is read first)",
};

const RETRIES_OPTION: TargetOption = TargetOption {
    name: "retries",
    summary: "how often the operation transaction is begun anew where another one was in its way (40001), within its \
              time, 0 to 100; 0",
};

/// All of [`OPERATIONS`] but `fulltext`.
static WITHOUT_FULLTEXT: [Operation; OPERATIONS.len() - 1] = {
    let mut operations = [OPERATIONS[0]; OPERATIONS.len() - 1];
    let (mut from, mut to) = (0, 0);
    while from < OPERATIONS.len() {
        if !matches!(OPERATIONS[from].name.as_bytes(), b"fulltext") {
            operations[to] = OPERATIONS[from];
            to += 1;
        }
        from += 1;
    }
    operations
};

/// The product.
pub(crate) static COCKROACHDB: Product = Product {
    name: "cockroachdb",
    title: "CockroachDB",
    schemes: &["cockroachdb", "cockroach"],
    port: 26257,
    user: "root",
    database: Some("defaultdb"),
    environment: [
        ("COCKROACHDB_HOST", "127.0.0.1"),
        ("COCKROACHDB_PORT", "26257"),
        ("COCKROACHDB_USER", "root"),
        ("COCKROACHDB_PASSWORD", ""),
        ("COCKROACHDB_DB", "optistack"),
    ],
    options: &[
        APPLICATION_NAME_OPTION,
        AS_OF_OPTION,
        CONNECT_TIMEOUT_OPTION,
        HASH_OPTION,
        INSERT_OPTION,
        BALANCE_OPTION,
        NODES_OPTION,
        RETRIES_OPTION,
        SERVER_OPTION,
        SSL_OPTION,
        STATEMENT_TIMEOUT_OPTION,
        TLS_OPTION,
        TLS_CA_OPTION,
    ],
    dialect: &DIALECT,
    choices,
    // As everybody else has it: `INTEGER` of 32 bits.
    session: &[("default_int_size", "4")],
    database_exists: Some("SELECT 1 FROM [SHOW DATABASES] WHERE database_name = current_database()"),
    quirks: &[
        "Isolation is always serializable: a transaction that met another one ends as `conflict` (40001), unless `retries` \
         lets it begin anew, and a reader waits for whoever writes the row.",
        "Sessions begin at the listed nodes in turn; counters are the sums of those nodes'.",
        "`as_of` reads the past: a read may miss what the same run inserted, so it is for workloads that insert nothing.",
        "No full-text search, and no advisory lock: the manifest changes in one transaction, tried again for a minute.",
    ],
    load: "",
    settings: &[
        "SELECT variable, value FROM crdb_internal.session_variables WHERE variable IN (\
         'default_transaction_isolation', 'default_transaction_priority', 'distsql', 'vectorize', 'optimizer', \
         'enable_implicit_select_for_update', 'reorder_joins_limit', 'transaction_rows_read_err')",
        "SELECT variable, value FROM crdb_internal.cluster_settings WHERE variable IN (\
         'version', 'kv.closed_timestamp.follower_reads_enabled', 'kv.closed_timestamp.target_duration', \
         'kv.raft_log.disable_synchronization_unsafe', 'kv.range_split.by_load_enabled', \
         'kv.range_split.load_qps_threshold', 'kv.transaction.parallel_commits_enabled', \
         'kv.transaction.write_pipelining_enabled', 'rocksdb.min_wal_sync_interval', \
         'sql.defaults.results_buffer.size', 'sql.stats.automatic_collection.enabled')",
        "SELECT 'node ' || node_id::text, sql_address || CASE WHEN is_live THEN ', live, ' ELSE ', not live, ' END || \
         build_tag || ', ' || ranges::text || ' ranges, ' || leases::text || ' leases' FROM crdb_internal.gossip_nodes",
        "SELECT 'num_replicas', (regexp_extract(raw_config_sql, 'num_replicas = ([0-9]+)')) \
         FROM crdb_internal.zones WHERE target = 'RANGE default'",
    ],
    counters: &[NODE_METRICS],
    process_id: None,
    has_standbys: false,
    takes_turns: true,
};

/// Older than this is refused: a load ends when what it wrote is as old as reads want it.
const AGE_MAX: Duration = Duration::from_mins(1);
/// Buckets of a hash-sharded key, as the server takes them.
const BUCKETS: RangeInclusive<u32> = 2..=2048;

const RETRIES_MAX: u32 = 100;

/// What the URL parameters mean that are this product's own.
fn choices(target: &Target) -> Result<Choices> {
    let mut choices = Choices::default();
    if let Some(given) = target.option(AS_OF_OPTION.name) {
        choices.reads = Some(match given {
            "follower" => "AS OF SYSTEM TIME follower_read_timestamp()".to_owned(),
            _ => format!("AS OF SYSTEM TIME '-{}ms'", age(given)?.as_millis()),
        });
    }
    if let Some(buckets) = target.option_parsed::<u32>(HASH_OPTION.name)? {
        if !BUCKETS.contains(&buckets) {
            let (first, last) = (BUCKETS.start(), BUCKETS.end());
            return Err(Error::config(format!("the target's `hash_sharded={buckets}` is no number of buckets"))
                .with_hint(format!("use {first} to {last}")));
        }
        choices.record_key = format!(" USING HASH WITH (bucket_count = {buckets})");
        choices.record_column = Some(format!("crdb_internal_{RECORD_KEY}_shard_{buckets}"));
    }
    if let Some(retries) = target.option_parsed::<u32>(RETRIES_OPTION.name)? {
        if retries > RETRIES_MAX {
            return Err(Error::config(format!("the target's `retries={retries}` is more than anybody waits for"))
                .with_hint(format!("use 0 to {RETRIES_MAX}")));
        }
        choices.retries = retries;
    }
    choices.insert = match target.option(INSERT_OPTION.name) {
        None | Some("insert") => None,
        Some("upsert") => Some("UPSERT"),
        Some(other) => {
            return Err(Error::config(format!("the target's `insert={other}` is unknown"))
                .with_hint("use insert=insert or insert=upsert"));
        }
    };
    Ok(choices)
}

/// `-5s` or `-500ms`.
fn age(given: &str) -> Result<Duration> {
    let unusable = || {
        Error::config(format!("the target's `as_of={given}` is no time before now"))
            .with_hint(format!("write as_of=-5s, as_of=-500ms or as_of=follower, at most {} s", AGE_MAX.as_secs()))
    };
    let text = given.strip_prefix('-').ok_or_else(unusable)?;
    let (number, unit): (&str, fn(u64) -> Duration) = match text.strip_suffix("ms") {
        Some(number) => (number, Duration::from_millis),
        None => (text.strip_suffix('s').ok_or_else(unusable)?, Duration::from_secs),
    };
    let age = number.parse().map(unit).map_err(|_| unusable())?;
    if age.is_zero() || age > AGE_MAX { Err(unusable()) } else { Ok(age) }
}

/// What each node counts: without quantiles, averages and shares, which do not add up, and without what it does for itself.
const NODE_METRICS: &str = "SELECT name AS counter, sum(value)::float8 AS value FROM crdb_internal.node_metrics WHERE (\
    name LIKE 'sql.%.count' OR name LIKE 'sql.bytes%' OR name LIKE 'sql.%.latency-count' OR name LIKE 'txn.%' OR \
    name LIKE 'sql.distsql.queries.%' OR name LIKE 'sql.optimizer.plan_cache.%' OR name LIKE 'distsender.batches%' OR \
    name LIKE 'distsender.rpc.%.sent' OR name LIKE 'distsender.errors.%' OR name LIKE 'follower_reads.%' OR \
    name LIKE 'intents.%' OR name LIKE 'leases.%' OR name LIKE 'liveness.%' OR name LIKE 'range.splits' OR \
    name LIKE 'range.merges' OR name LIKE 'raft.commandsapplied' OR name LIKE 'raft.rcvd.%' OR \
    name LIKE 'rebalancing.%' OR name LIKE 'requests.slow.%' OR name LIKE 'rocksdb.%' OR name LIKE 'storage.l0-%' OR \
    name LIKE 'storage.write-stall%' OR name LIKE 'sys.cpu.%.ns' OR name LIKE 'sys.gc.%' OR name LIKE 'sys.host.%' OR \
    name = 'sys.rss' OR name = 'ranges' OR name = 'replicas' OR name = 'replicas.leaseholders' OR name = 'livebytes' OR \
    name = 'capacity.used') AND name NOT LIKE '%-p%' AND name NOT LIKE '%-max' AND name NOT LIKE '%-avg' AND \
    name NOT LIKE '%.percent' AND name NOT LIKE '%.internal' GROUP BY name";

/// What it writes otherwise. Texts are ordered by their bytes unless they are told otherwise.
static DIALECT: Dialect = Dialect {
    operations: &WITHOUT_FULLTEXT,
    placeholder: Placeholder::Dollar,
    lock: "BEGIN",
    outliving_locks: None,
    is_current: "tableoid = to_regclass('{table}')::oid",
    unlock: "COMMIT",
    // By name alone: a look through the whole catalogue meets whoever changes anything in it.
    object_exists: "SELECT name FROM (SELECT to_regclass(?)::text AS name) WHERE name IS NOT NULL",
    columns_of: "SELECT attname::text FROM pg_catalog.pg_attribute \
        WHERE attrelid = to_regclass(?) AND attnum > 0 AND NOT attisdropped",
    integer: "BIGINT",
    integer_key: "BIGINT",
    text: "TEXT",
    record_key: "VARCHAR({key_length})",
    record_field: "TEXT",
    table_suffix: "",
    documents_columns: "id BIGINT PRIMARY KEY, document JSONB NOT NULL",
    // No full-text search, so no articles.
    articles: "",
    articles_key: "id",
    indexes: &[(
        "documents_group",
        "CREATE INDEX {ns}_documents_group ON {ns}_documents (((document ->> 'group')::bigint))",
    )],
    cast_integer: "BIGINT",
    json_query: "SELECT id, document -> 'owner' ->> 'name' FROM {ns}_documents \
        WHERE (document ->> 'group')::bigint = ? AND document -> 'tags' @> to_jsonb(?::text) ORDER BY id",
    fulltext_query: "",
    fulltext_parameters: 1,
    analyze: "CREATE STATISTICS {table}_load FROM {table}",
};

#[cfg(test)]
mod tests {
    use store::{Driver, ErrorKind};

    use super::*;
    use crate::postgres::Postgres;

    #[test]
    fn fulltext_alone_is_left_out() {
        let names: Vec<_> = WITHOUT_FULLTEXT.iter().map(|operation| operation.name).collect();
        assert_eq!(names, ["insert", "select", "update", "delete", "join", "window", "json", "transaction"]);
    }

    #[test]
    fn urls_say_how_records_are_read_and_kept() {
        let choices = |options: &str| choices(&Target::parse(&format!("cockroachdb://h?{options}")).expect("a URL"));
        let reads = |options: &str| choices(options).expect(options).reads;
        assert_eq!(reads("as_of=-5s").as_deref(), Some("AS OF SYSTEM TIME '-5000ms'"));
        assert_eq!(reads("as_of=-250ms").as_deref(), Some("AS OF SYSTEM TIME '-250ms'"));
        assert_eq!(reads("as_of=follower").as_deref(), Some("AS OF SYSTEM TIME follower_read_timestamp()"));
        assert_eq!(reads(""), None);
        let sharded = choices("hash_sharded=8&insert=upsert").expect("valid");
        assert_eq!(sharded.record_key, " USING HASH WITH (bucket_count = 8)");
        assert_eq!(
            (sharded.record_column.as_deref(), sharded.insert),
            (Some("crdb_internal_ycsb_key_shard_8"), Some("UPSERT"))
        );
        assert_eq!((choices("").expect("valid").retries, choices("retries=3").expect("valid").retries), (0, 3));
        for bad in [
            "as_of=5s",
            "as_of=-5",
            "as_of=-0s",
            "as_of=-61s",
            "as_of=-s",
            "as_of=now()",
            "as_of=--5s",
            "hash_sharded=1",
            "hash_sharded=2049",
            "hash_sharded=x",
            "insert=replace",
            "retries=101",
            "retries=-1",
        ] {
            assert_eq!(choices(bad).expect_err(bad).kind(), ErrorKind::Config);
        }
    }

    #[test]
    fn the_environment_makes_a_url_that_it_takes() {
        let driver = Postgres(&COCKROACHDB);
        let url = driver.url_from_environment(&|_| None).expect("there are variables");
        assert_eq!(url, "cockroachdb://root@127.0.0.1:26257/optistack");
        let target = Target::parse(&url).expect("a URL");
        assert!(target.password().is_none() && target.check_options(driver.options()).is_ok());
    }
}
