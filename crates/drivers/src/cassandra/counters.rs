//! The servers' own counters, from their virtual tables: each node's are its own, so every connected node is asked, and the
//! numbers of all are summed.

use std::collections::{BTreeMap, HashMap};

use scylla::cluster::NodeRef;
use store::{Counters, ErrorKind, Result, Value};

use super::client::Client;
use crate::rows::RowBuffer;

/// What is asked: the text, and what to do with its rows.
type Ask = (&'static str, fn(&RowBuffer, &mut Counters));

const ASKS: [Ask; 4] = [
    (
        "SELECT name, completed_tasks, blocked_tasks_all_time, active_tasks, pending_tasks FROM system_views.thread_pools",
        thread_pools,
    ),
    ("SELECT name, hit_count, request_count, size_bytes FROM system_views.caches", |rows, counters| {
        named(rows, "cache", &["hits", "requests", "size_bytes"], counters);
    }),
    ("SELECT name, value FROM system_views.cql_metrics", |rows, counters| named(rows, "cql", &[""], counters)),
    ("SELECT mebibytes FROM system_views.disk_usage", |rows, counters| sum(rows, 0, "disk_usage_mebibytes", counters)),
];

/// Requests that a node coordinated, of all tables; their time is estimated from the medians that it keeps.
const LATENCIES: [(&str, &str); 6] = [
    ("coordinator_reads", "SELECT count, p50th_ms, max_ms FROM system_views.coordinator_read_latency"),
    ("coordinator_scans", "SELECT count, p50th_ms, max_ms FROM system_views.coordinator_scan_latency"),
    ("coordinator_writes", "SELECT count, p50th_ms, max_ms FROM system_views.coordinator_write_latency"),
    ("local_reads", "SELECT count, p50th_ms, max_ms FROM system_views.local_read_latency"),
    ("local_scans", "SELECT count, p50th_ms, max_ms FROM system_views.local_scan_latency"),
    ("local_writes", "SELECT count, p50th_ms, max_ms FROM system_views.local_write_latency"),
];

/// What every node said last: one that is away for a while does not make the sums fall.
#[derive(Debug, Default)]
pub(crate) struct Nodes(HashMap<String, Counters>);

impl Nodes {
    /// Asks every connected node; the sums over all that ever answered.
    ///
    /// # Errors
    /// `Unreachable` where none answers.
    pub(crate) async fn read(&mut self, client: &Client) -> Result<Counters> {
        let state = client.session().get_cluster_state();
        let (mut answered, mut failure) = (0_u32, None);
        for node in state.get_nodes_info().iter().filter(|node| node.is_enabled()) {
            match read_node(client, node).await {
                Ok(counters) => {
                    answered += 1;
                    self.0.insert(node.address.to_string(), counters);
                }
                Err(error) => failure = Some(error),
            }
        }
        if let (0, Some(error)) = (answered, failure) {
            return Err(error);
        }
        let mut sums = Counters::new();
        for (name, value) in self.0.values().flatten() {
            add(&mut sums, name.clone(), *value);
        }
        sums.insert("nodes_answering".to_owned(), f64::from(answered));
        Ok(sums)
    }
}

async fn read_node(client: &Client, node: NodeRef<'_>) -> Result<Counters> {
    let mut counters = Counters::new();
    for (text, read) in ASKS {
        if let Some(rows) = rows_of(client, node, text).await? {
            read(&rows, &mut counters);
        }
    }
    for (name, text) in LATENCIES {
        if let Some(rows) = rows_of(client, node, text).await? {
            latencies(&rows, name, &mut counters);
        }
    }
    Ok(counters)
}

/// None from a server that has no such table, or does not let us read it.
async fn rows_of(client: &Client, node: NodeRef<'_>, text: &str) -> Result<Option<RowBuffer>> {
    match client.run_on(node, text).await {
        Ok(rows) => Ok(Some(rows)),
        Err(error) if error.kind() == ErrorKind::Rejected => Ok(None),
        Err(error) => Err(error),
    }
}

fn number(value: Value<'_>) -> f64 {
    match value {
        Value::Integer(number) => number as f64,
        Value::Real(number) if number.is_finite() => number,
        _ => 0.0,
    }
}

fn add(counters: &mut Counters, name: String, value: f64) {
    *counters.entry(name).or_default() += value;
}

/// `ReadStage` becomes `read_stage`, `Native-Transport-Requests` becomes `native_transport_requests`.
fn plain(name: &str) -> String {
    let mut plain = String::with_capacity(name.len() + 4);
    let mut was_lower = false;
    for character in name.chars() {
        if character.is_ascii_uppercase() && was_lower {
            plain.push('_');
        }
        was_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        plain.push(if character.is_ascii_alphanumeric() { character.to_ascii_lowercase() } else { '_' });
    }
    plain
}

/// What each pool completed, and what all of them have to do.
fn thread_pools(rows: &RowBuffer, counters: &mut Counters) {
    for row in 0..rows.len() {
        let Some(name) = rows.text(row, 0).map(plain) else { continue };
        let column = |column| number(rows.value(row, column));
        add(counters, format!("thread_pool_{name}_completed"), column(1));
        add(counters, "thread_pools_blocked_all_time".to_owned(), column(2));
        add(counters, "thread_pools_active".to_owned(), column(3));
        add(counters, "thread_pools_pending".to_owned(), column(4));
    }
}

/// Rows with a name and columns with numbers.
fn named(rows: &RowBuffer, prefix: &str, columns: &[&str], counters: &mut Counters) {
    for row in 0..rows.len() {
        let Some(name) = rows.text(row, 0).map(plain) else { continue };
        for (position, column) in columns.iter().enumerate() {
            let separator = if column.is_empty() { "" } else { "_" };
            add(counters, format!("{prefix}_{name}{separator}{column}"), number(rows.value(row, position + 1)));
        }
    }
}

fn sum(rows: &RowBuffer, column: usize, name: &str, counters: &mut Counters) {
    let sum = (0..rows.len()).map(|row| number(rows.value(row, column))).sum();
    add(counters, name.to_owned(), sum);
}

fn latencies(rows: &RowBuffer, name: &str, counters: &mut Counters) {
    sum(rows, 0, name, counters);
    let estimate = (0..rows.len()).map(|row| number(rows.value(row, 0)) * number(rows.value(row, 1))).sum();
    add(counters, format!("{name}_ms_by_median"), estimate);
}

/// Settings that decide how fast a server is.
const SETTINGS: [&str; 21] = [
    "commitlog_sync",
    "commitlog_sync_period",
    "commitlog_total_space",
    "compaction_throughput",
    "concurrent_compactors",
    "concurrent_counter_writes",
    "concurrent_reads",
    "concurrent_writes",
    "disk_access_mode",
    "endpoint_snitch",
    "file_cache_size",
    "hinted_handoff_enabled",
    "key_cache_size",
    "memtable_allocation_type",
    "memtable_heap_space",
    "memtable_offheap_space",
    "native_transport_max_threads",
    "num_tokens",
    "read_request_timeout",
    "row_cache_size",
    "write_request_timeout",
];

/// Settings of one node, which stands for the others, and what the cluster is.
pub(crate) async fn settings(client: &Client, keyspace: &str) -> Result<BTreeMap<String, String>> {
    let mut settings = BTreeMap::new();
    let list = SETTINGS.map(|name| format!("'{name}'")).join(", ");
    // Virtual tables came with 4.0, and a user may be kept from them.
    let found = client.run(format!("SELECT name, value FROM system_views.settings WHERE name IN ({list})")).await;
    if let Ok(rows) = found {
        for row in 0..rows.len() {
            if let (Some(name), Some(value)) = (rows.text(row, 0), rows.text(row, 1)) {
                settings.insert(name.to_owned(), value.to_owned());
            }
        }
    }
    let rows = client.run("SELECT cluster_name, partitioner, data_center, rack FROM system.local").await?;
    for (column, name) in ["cluster_name", "partitioner", "data_center", "rack"].into_iter().enumerate() {
        settings.insert(name.to_owned(), rows.text(0, column).unwrap_or_default().to_owned());
    }
    let state = client.session().get_cluster_state();
    let nodes = state.get_nodes_info();
    settings.insert("nodes".to_owned(), nodes.len().to_string());
    let listed = nodes.iter().filter(|node| node.is_enabled()).count();
    settings.insert("nodes_listed".to_owned(), listed.to_string());
    let text = format!("SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = '{keyspace}'");
    let replication = client.rows(&text).await?;
    if let Ok(Some((replication,))) = replication.maybe_first_row::<(BTreeMap<String, String>,)>() {
        let pairs: Vec<_> = replication.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        settings.insert("replication".to_owned(), pairs.join(", "));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for (name, expect) in [
            ("ReadStage", "read_stage"),
            ("Native-Transport-Requests", "native_transport_requests"),
            ("PerDiskMemtableFlushWriter_0", "per_disk_memtable_flush_writer_0"),
            ("prepared_statements_count", "prepared_statements_count"),
        ] {
            assert_eq!(plain(name), expect);
        }
    }

    #[test]
    fn rows_become_numbers() {
        let mut rows = RowBuffer::default();
        for (name, hits, requests) in [("keys", 3, 5), ("rows", 0, 1)] {
            rows.begin_row();
            rows.push(Value::Text(name));
            rows.push(Value::Integer(hits));
            rows.push(Value::Real(f64::from(requests)));
        }
        let mut counters = Counters::new();
        named(&rows, "cache", &["hits", "requests"], &mut counters);
        sum(&rows, 1, "hits", &mut counters);
        let found: Vec<_> = counters.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let expect = [
            ("cache_keys_hits", 3.0),
            ("cache_keys_requests", 5.0),
            ("cache_rows_hits", 0.0),
            ("cache_rows_requests", 1.0),
            ("hits", 3.0),
        ];
        assert_eq!(found, expect);
        assert!(number(Value::Real(f64::NAN)).abs() < f64::EPSILON);
    }
}
