//! What a server is asked about itself, and what it counts: statements that return names and values.

use std::collections::BTreeMap;

use store::{Counters, Error, ErrorKind, Result};

use super::connection::Connection;
use super::dialect::Product;
use crate::relational::{Link, RowBuffer};

/// Words of a full-text search that are shorter than this are not found, and the operation's have three letters.
const FULLTEXT_TOKEN_SIZE_MAX: u32 = 3;

/// What there is to see of a product's servers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// Variables that decide how fast a server is, and how much it promises; the session's own where they are a session's.
    settings: &'static [&'static str],
    /// Statements that give further ones: the topology, and settings that are no variables. One that is refused says nothing.
    facts: &'static [&'static str],
    /// Statements that give counters. One that is refused is not asked again.
    pub(super) counters: &'static [&'static str],
    /// What connections for the work around a run are told beside.
    pub(super) setup: Option<&'static str>,
}

const STATUS: &str = "SHOW GLOBAL STATUS";

/// `MariaDB` and `MySQL`.
pub(super) const OF_INNODB: Watch = Watch {
    settings: &[
        "binlog_format",
        "character_set_server",
        "default_authentication_plugin",
        "gtid_mode",
        "innodb_adaptive_hash_index",
        "innodb_buffer_pool_size",
        "innodb_doublewrite",
        "innodb_flush_log_at_trx_commit",
        "innodb_flush_method",
        "innodb_ft_min_token_size",
        "innodb_io_capacity",
        "innodb_lock_wait_timeout",
        "innodb_log_file_size",
        "innodb_page_size",
        "innodb_redo_log_capacity",
        "innodb_thread_concurrency",
        "log_bin",
        "max_allowed_packet",
        "max_connections",
        "max_prepared_stmt_count",
        "performance_schema",
        "query_cache_size",
        "query_cache_type",
        "read_only",
        "slow_query_log",
        "sync_binlog",
        "table_open_cache",
        "thread_cache_size",
        "thread_handling",
        "transaction_isolation",
        "tx_isolation",
        "wsrep_on",
    ],
    facts: &["SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'Rpl_semi_sync_master_clients')"],
    counters: &[STATUS],
    setup: None,
};

/// `TiDB`: a server answers for itself; what it stores lies elsewhere, and the cluster knows where.
pub(super) const OF_TIDB: Watch = Watch {
    settings: &[
        "innodb_lock_wait_timeout",
        "max_allowed_packet",
        "max_connections",
        "tidb_constraint_check_in_place_pessimistic",
        "tidb_distsql_scan_concurrency",
        "tidb_enable_1pc",
        "tidb_enable_async_commit",
        "tidb_enable_auto_analyze",
        "tidb_enable_clustered_index",
        "tidb_enable_gogc_tuner",
        "tidb_enable_prepared_plan_cache",
        "tidb_enable_stmt_summary",
        "tidb_guarantee_linearizability",
        "tidb_isolation_read_engines",
        "tidb_mem_quota_query",
        "tidb_pessimistic_txn_fair_locking",
        "tidb_prepared_plan_cache_size",
        "tidb_rc_read_check_ts",
        "tidb_replica_read",
        "tidb_server_memory_limit",
        "tidb_txn_mode",
        "transaction_isolation",
    ],
    facts: &[
        "SELECT CONCAT('cluster_', type), CAST(COUNT(*) AS CHAR) FROM information_schema.cluster_info GROUP BY type",
        "SELECT 'store', JSON_UNQUOTE(JSON_EXTRACT(@@tidb_config, '$.store'))",
    ],
    counters: &[
        STATUS,
        // Sums over the statements that it remembers, which it begins anew every half an hour.
        "SELECT 'statement_executions', CAST(SUM(exec_count) AS CHAR) FROM information_schema.statements_summary \
         UNION ALL SELECT 'statement_latency_ns', CAST(SUM(sum_latency) AS CHAR) FROM information_schema.statements_summary \
         UNION ALL SELECT 'statement_errors', CAST(SUM(sum_errors) AS CHAR) FROM information_schema.statements_summary \
         UNION ALL SELECT 'statement_retries', CAST(SUM(sum_exec_retry) AS CHAR) FROM information_schema.statements_summary \
         UNION ALL SELECT 'statement_backoffs', CAST(SUM(sum_backoff_times) AS CHAR) FROM information_schema.statements_summary \
         UNION ALL SELECT 'statement_plan_cache_hits', CAST(SUM(plan_cache_hits) AS CHAR) FROM information_schema.statements_summary \
         UNION ALL SELECT 'coprocessor_tasks', CAST(SUM(sum_cop_task_num) AS CHAR) FROM information_schema.statements_summary",
    ],
    setup: None,
};

/// The settings of all `OceanBase`s that are variables.
const VARIABLES_OF_OCEANBASE: &[&str] = &[
    "max_allowed_packet",
    "ob_enable_plan_cache",
    "ob_plan_cache_percentage",
    "ob_query_timeout",
    "ob_read_consistency",
    "ob_sql_work_area_percentage",
    "ob_trx_lock_timeout",
    "ob_trx_timeout",
    "tx_isolation",
];

/// A statement of the work around a run takes as long as there is data: an hour instead of ten seconds.
const PATIENCE_OF_OCEANBASE: Option<&str> = Some("SET SESSION ob_query_timeout = 3600000000");

/// `OceanBase` with tenants; some of its views are only for the tenant `sys`.
pub(super) const OF_OCEANBASE: Watch = Watch {
    settings: VARIABLES_OF_OCEANBASE,
    facts: &[
        "SELECT name, MAX(value) FROM oceanbase.GV$OB_PARAMETERS WHERE name IN ('cpu_count', 'datafile_size', \
         'enable_sql_audit', 'log_disk_size', 'memory_limit', 'open_cursors', 'system_memory') GROUP BY name",
        "SELECT 'cluster_servers', CAST(COUNT(*) AS CHAR) FROM oceanbase.DBA_OB_SERVERS",
        "SELECT 'cluster_zones', CAST(COUNT(*) AS CHAR) FROM oceanbase.DBA_OB_ZONES",
    ],
    counters: &[STATUS, "SELECT name, CAST(SUM(value) AS CHAR) FROM oceanbase.GV$SYSSTAT GROUP BY name"],
    setup: PATIENCE_OF_OCEANBASE,
};

/// `OceanBase` in one process, which has other views, and none over several servers.
pub(super) const OF_SEEKDB: Watch = Watch {
    settings: VARIABLES_OF_OCEANBASE,
    facts: &["SELECT name, value FROM oceanbase.V$OB_PARAMETERS WHERE name IN ('cpu_count', 'datafile_size', \
         'freeze_trigger_percentage', 'log_disk_size', 'memory_limit', 'open_cursors', 'server_role_info')"],
    counters: &[
        STATUS,
        // What cached plans did. A plan that is dropped takes its share along.
        "SELECT 'plan_executions', CAST(SUM(executions) AS CHAR) FROM oceanbase.V$OB_PLAN_CACHE_PLAN_STAT \
         UNION ALL SELECT 'plan_hits', CAST(SUM(hit_count) AS CHAR) FROM oceanbase.V$OB_PLAN_CACHE_PLAN_STAT \
         UNION ALL SELECT 'plan_elapsed_us', CAST(SUM(elapsed_time) AS CHAR) FROM oceanbase.V$OB_PLAN_CACHE_PLAN_STAT \
         UNION ALL SELECT 'plan_cpu_us', CAST(SUM(cpu_time) AS CHAR) FROM oceanbase.V$OB_PLAN_CACHE_PLAN_STAT \
         UNION ALL SELECT 'plan_disk_reads', CAST(SUM(disk_reads) AS CHAR) FROM oceanbase.V$OB_PLAN_CACHE_PLAN_STAT",
        "SELECT 'log_bytes', CAST(end_lsn AS CHAR) FROM oceanbase.V$OB_LOG_STAT",
        "SELECT 'data_disk_bytes', CAST(data_disk_in_use AS CHAR) FROM oceanbase.V$OB_SERVER_STAT",
    ],
    setup: PATIENCE_OF_OCEANBASE,
};

/// The settings and the topology.
pub(super) async fn settings(link: &mut Connection, product: &Product) -> Result<BTreeMap<String, String>> {
    let Watch { settings, facts, .. } = product.quirks.watch;
    let names = settings.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let mut rows = RowBuffer::default();
    link.run(&format!("SHOW SESSION VARIABLES WHERE Variable_name IN ({names})"), &[], &mut rows).await?;
    let mut found = BTreeMap::new();
    let mut keep = |rows: &RowBuffer| {
        found.extend(pairs(rows).map(|(name, value)| (name.to_owned(), value.to_owned())));
    };
    keep(&rows);
    for fact in facts {
        rows.clear();
        match link.run(fact, &[], &mut rows).await {
            Ok(_) => keep(&rows),
            Err(error) if error.kind() == ErrorKind::Unreachable => return Err(error),
            // The user may not look, or this version has no such view.
            Err(_) => {}
        }
    }
    Ok(found)
}

/// What the server cannot do, with the reason.
pub(super) fn operations_missing(
    product: &Product,
    settings: &BTreeMap<String, String>,
) -> BTreeMap<&'static str, String> {
    let mut missing = BTreeMap::new();
    let (since, title) = (product.quirks.window_since, product.quirks.title);
    if product.version < since {
        missing.insert("window", format!("window functions came with {title} {since}; this is {product}"));
    }
    match product.quirks.fulltext_since {
        None => {
            missing.insert("fulltext", format!("{title} has no full-text indexes"));
        }
        Some(since) if product.version < since => {
            missing.insert("fulltext", format!("full-text indexes came with {title} {since}; this is {product}"));
        }
        Some(_) => {}
    }
    let token_size = settings.get("innodb_ft_min_token_size").and_then(|value| value.parse::<u32>().ok());
    if let Some(size) = token_size.filter(|size| *size > FULLTEXT_TOKEN_SIZE_MAX) {
        let reason =
            format!("innodb_ft_min_token_size is {size}: words of {FULLTEXT_TOKEN_SIZE_MAX} letters are not found");
        missing.insert("fulltext", reason);
    }
    missing
}

/// The counters that the statements give. Those that are refused leave the list.
///
/// # Errors
/// `Unreachable` where the connection was lost; what the server said where it refuses them all.
pub(super) async fn counters(link: &mut Connection, statements: &mut Vec<&'static str>) -> Result<Counters> {
    let mut counters = Counters::new();
    let mut refused: Option<Error> = None;
    let mut rows = RowBuffer::default();
    let mut position = 0;
    while let Some(statement) = statements.get(position) {
        rows.clear();
        match link.run(statement, &[], &mut rows).await {
            Ok(_) => {
                counters.extend(pairs(&rows).filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))));
                position += 1;
            }
            Err(error) if error.kind() == ErrorKind::Rejected => {
                refused = Some(error);
                statements.remove(position);
            }
            Err(error) => return Err(error),
        }
    }
    match refused {
        Some(error) if statements.is_empty() => Err(error),
        _ => Ok(counters),
    }
}

/// Rows of a name and a value.
fn pairs(rows: &RowBuffer) -> impl Iterator<Item = (&str, &str)> {
    (0..rows.len()).filter_map(|row| Some((rows.text(row, 0)?, rows.text(row, 1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_lacks_has_a_reason() {
        for (version, token_size, expected) in [
            ("10.11.6-MariaDB", "3", &[][..]),
            ("8.0.33", "2", &[]),
            ("8.0.33", "4", &["fulltext"]),
            ("5.7.44", "3", &["window"]),
            ("8.0.11-TiDB-v8.5.6", "", &["fulltext"]),
            ("5.7.25-OceanBase-v4.2.1.8", "", &["fulltext"]),
            ("5.7.25-OceanBase-v4.3.5.3", "", &[]),
            ("5.7.25-OceanBase seekdb-v1.4.0.0", "", &[]),
        ] {
            let settings = [("innodb_ft_min_token_size".to_owned(), token_size.to_owned())].into();
            let missing = operations_missing(&Product::of(version).expect("valid"), &settings);
            assert_eq!(missing.keys().copied().collect::<Vec<_>>(), expected, "{missing:?}");
        }
    }
}
