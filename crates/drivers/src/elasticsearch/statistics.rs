//! What a cluster says of itself: product, settings, counters.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;
use store::{Counters, Error, ErrorKind, Result, ServerInfo};

use super::client::{Address, Client};
use crate::http::Method;

/// The oldest of each that knows all that it is asked (`require_alias`): major and minor version.
const ELASTICSEARCH_OLDEST: (u32, u32) = (7, 10);
const OPENSEARCH_OLDEST: (u32, u32) = (1, 0);

/// Of a node, what decides how fast it is, and what we call that.
const SETTINGS: [(&str, &str); 7] = [
    ("/jvm/version", "jvm.version"),
    ("/jvm/mem/heap_max_in_bytes", "jvm.heap_max_in_bytes"),
    ("/jvm/gc_collectors", "jvm.gc_collectors"),
    ("/os/allocated_processors", "os.allocated_processors"),
    ("/process/mlockall", "process.mlockall"),
    ("/thread_pool/search/size", "thread_pool.search.size"),
    ("/thread_pool/write/size", "thread_pool.write.size"),
];

/// Of a node's statistics, what shows where its time, memory and disk go.
const COUNTERS: [&str; 16] = [
    "breakers.parent.tripped",
    "http.current_open,http.total_opened",
    "indices.docs.count,indices.store.size_in_bytes,indices.segments.count",
    "indices.flush.total,indices.flush.total_time_in_millis",
    "indices.get.total,indices.get.time_in_millis,indices.get.missing_total",
    "indices.indexing.*_total,indices.indexing.*_time_in_millis,indices.indexing.index_failed",
    "indices.merges.total,indices.merges.total_time_in_millis,indices.merges.total_size_in_bytes",
    "indices.query_cache.*_count,indices.query_cache.evictions",
    "indices.refresh.total,indices.refresh.total_time_in_millis",
    "indices.request_cache.*_count",
    "indices.search.query_*,indices.search.fetch_*",
    "indices.translog.operations,indices.translog.size_in_bytes",
    "jvm.gc.collectors.*.collection_*",
    "jvm.mem.heap_used_in_bytes",
    "process.cpu.total_in_millis,process.open_file_descriptors",
    "thread_pool.get,thread_pool.search,thread_pool.write",
];

/// The question for them: each path begins at the nodes.
static COUNTERS_PATH: LazyLock<String> = LazyLock::new(|| {
    let paths: Vec<_> =
        COUNTERS.iter().flat_map(|list| list.split(',')).map(|path| format!("nodes.*.{path}")).collect();
    format!("/_nodes/stats/breaker,http,indices,jvm,process,thread_pool?filter_path={}", paths.join(","))
});

/// What the cluster as a whole says in numbers.
const HEALTH_PATH: &str = "/_cluster/health?filter_path=status,number_of_*,*_shards";

/// The first reply of all.
#[derive(Deserialize)]
struct Greeting {
    cluster_name: String,
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    number: String,
    /// Only `OpenSearch` has one.
    distribution: Option<String>,
    #[serde(rename = "lucene_version", default)]
    lucene: String,
}

/// Product and version in one line.
pub(super) struct Product {
    pub(super) version: String,
    cluster_name: String,
    lucene: String,
}

/// What answers there.
///
/// # Errors
/// `Rejected` where it is neither product, or too old.
pub(super) async fn product(client: &mut Client, prefix: &str) -> Result<Product> {
    let greeting: Greeting = client.ask(Method::GET, &format!("{prefix}/"), "").await?;
    named(greeting)
}

fn named(greeting: Greeting) -> Result<Product> {
    let Greeting { cluster_name, version: Version { number, distribution, lucene } } = greeting;
    let (title, oldest) = match distribution.as_deref() {
        Some("opensearch") => ("OpenSearch", OPENSEARCH_OLDEST),
        None => ("Elasticsearch", ELASTICSEARCH_OLDEST),
        Some(other) => {
            return Err(Error::rejected(format!("the server is a `{}`", other.escape_debug()))
                .with_hint("name an Elasticsearch or OpenSearch in the target's URL"));
        }
    };
    let mut parts = number.split('.').map(|part| part.parse::<u32>().ok());
    let version = (parts.next().flatten().unwrap_or(0), parts.next().flatten().unwrap_or(0));
    if version < oldest {
        return Err(Error::new(ErrorKind::Rejected, format!("{title} {} is too old", number.escape_debug()))
            .with_hint(format!("upgrade it to {title} {}.{} or newer", oldest.0, oldest.1)));
    }
    Ok(Product { version: format!("{title} {}", number.escape_debug()), cluster_name, lucene })
}

/// What the server says about itself.
pub(super) async fn server(client: &mut Client, address: &Address) -> Result<ServerInfo> {
    let Address { prefix, refresh, shards, replicas, .. } = address;
    let product = product(client, prefix).await?;
    let nodes: Value =
        client.ask(Method::GET, &format!("{prefix}/_nodes/_local/jvm,os,process,thread_pool"), "").await?;
    let health: Value = client.ask(Method::GET, &format!("{prefix}{HEALTH_PATH}"), "").await?;
    let node = nodes["nodes"].as_object().and_then(|nodes| nodes.values().next()).unwrap_or(&Value::Null);
    let mut settings = BTreeMap::from([
        ("cluster.name".to_owned(), product.cluster_name),
        ("cluster.nodes".to_owned(), plain(&health["number_of_nodes"])),
        ("cluster.status".to_owned(), plain(&health["status"])),
        ("lucene.version".to_owned(), product.lucene),
        ("our refresh".to_owned(), (*refresh).to_owned()),
        ("our replicas".to_owned(), replicas.to_string()),
        ("our shards".to_owned(), shards.to_string()),
    ]);
    let known = |(path, name): (&str, &str)| Some((name.to_owned(), plain(node.pointer(path)?)));
    settings.extend(SETTINGS.into_iter().filter_map(known));
    let process_id = node.pointer("/process/id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
    Ok(ServerInfo { version: product.version, settings, process_id, operations_missing: BTreeMap::new() })
}

/// The cluster's counters now, of all its nodes together.
pub(super) async fn counters(client: &mut Client, prefix: &str) -> Result<Counters> {
    let mut counters = Counters::new();
    let statistics: Value = client.ask(Method::GET, &format!("{prefix}{}", *COUNTERS_PATH), "").await?;
    for node in statistics["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values()) {
        flatten(node, &mut String::new(), &mut counters);
    }
    let mut health: Value = client.ask(Method::GET, &format!("{prefix}{HEALTH_PATH}"), "").await?;
    health["status"] = Value::from(match health["status"].as_str() {
        Some("green") => 0,
        Some("yellow") => 1,
        _ => 2,
    });
    flatten(&health, &mut "cluster".to_owned(), &mut counters);
    Ok(counters)
}

/// Adds the numbers in a value, each under its path.
fn flatten(value: &Value, path: &mut String, counters: &mut Counters) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let length = path.len();
                if length > 0 {
                    path.push('.');
                }
                path.push_str(name);
                flatten(field, path, counters);
                path.truncate(length);
            }
        }
        Value::Number(number) => {
            *counters.entry(path.clone()).or_default() += number.as_f64().unwrap_or_default();
        }
        _ => {}
    }
}

/// A setting's value as a text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_told_apart_and_old_ones_refused() {
        let product = |distribution: Option<&str>, number: &str| {
            let version = Version {
                number: number.to_owned(),
                distribution: distribution.map(str::to_owned),
                lucene: String::new(),
            };
            named(Greeting { cluster_name: String::new(), version }).map(|product| product.version)
        };
        assert_eq!(product(None, "7.10.2").expect("new enough"), "Elasticsearch 7.10.2");
        assert_eq!(product(None, "8.19.0-SNAPSHOT").expect("new enough"), "Elasticsearch 8.19.0-SNAPSHOT");
        assert_eq!(product(Some("opensearch"), "2.19.6").expect("new enough"), "OpenSearch 2.19.6");
        for (distribution, number) in [(None, "7.9.3"), (None, ""), (None, "6"), (Some("easysearch"), "9.0.0")] {
            let error = product(distribution, number).expect_err("refused");
            assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Rejected, true), "{number}");
        }
    }

    #[test]
    fn numbers_are_summed_over_nodes_by_their_path() {
        let mut counters = Counters::new();
        let node = serde_json::json!({"a": {"b": 1, "c": "x"}, "d": 2.5});
        for _ in 0..2 {
            flatten(&node, &mut String::new(), &mut counters);
        }
        assert_eq!(counters, Counters::from([("a.b".to_owned(), 2.0), ("d".to_owned(), 5.0)]));
    }
}
