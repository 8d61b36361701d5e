//! What a Prometheus knows of a run's seconds: gauges by name, each a query, asked for once the run is over.
//!
//! Where the exporters of the server's host and of the data store are scraped already, this brings what they saw into the
//! record, from a host that Storelab does not run on. That the Prometheus does not answer costs the run nothing but these gauges,
//! and the record says why.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use drivers::web::{self, Question};
use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Error, ErrorKind, Reach, Result, Target};
use tokio::runtime::LocalRuntime;

use crate::plan::{Collect, Plan};
use crate::record::{PrometheusGauge, PrometheusRecord};
use crate::target_text::TargetText;

/// The variable that says where it is, unless the plan does.
const URL_VARIABLE: &str = "PROMETHEUS_URL";

/// More than a page of charts shows; each is a request.
const QUERIES_MAX: usize = 32;

/// How long a query may take, and how long all of them together: the run is over, and somebody waits for its record.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const QUERIES_TIMEOUT: Duration = Duration::from_secs(15);

/// Points of a gauge. Prometheus itself refuses more than 11,000 (its `query_range`).
const POINTS_MAX: i64 = 10_000;

/// What is asked where the plan names nothing: the driver (or any), the gauge, the query. Names of metrics are those of
/// `node_exporter`, `postgres_exporter`, `mysqld_exporter` and `redis_exporter`. Rates are over a minute, four times the usual
/// interval between scrapes, so that there are two of them in it even where one was missed.
const QUERIES: &[(Option<&str>, &str, &str)] = &[
    (
        Some("mysql"),
        "mysql_buffer_pool_reads_per_second",
        "sum(rate(mysql_global_status_innodb_buffer_pool_reads[1m]))",
    ),
    (Some("mysql"), "mysql_queries_per_second", "sum(rate(mysql_global_status_queries[1m]))"),
    (Some("mysql"), "mysql_threads_connected", "sum(mysql_global_status_threads_connected)"),
    (Some("mysql"), "mysql_threads_running", "sum(mysql_global_status_threads_running)"),
    (None, "node_cpu_percent", r#"100 * (1 - avg(rate(node_cpu_seconds_total{mode="idle"}[1m])))"#),
    (None, "node_disk_read_bytes_per_second", "sum(rate(node_disk_read_bytes_total[1m]))"),
    (None, "node_disk_written_bytes_per_second", "sum(rate(node_disk_written_bytes_total[1m]))"),
    (None, "node_load1", "max(node_load1)"),
    (None, "node_memory_available_bytes", "min(node_memory_MemAvailable_bytes)"),
    (None, "node_network_receive_bytes_per_second", r#"sum(rate(node_network_receive_bytes_total{device!="lo"}[1m]))"#),
    (
        None,
        "node_network_transmit_bytes_per_second",
        r#"sum(rate(node_network_transmit_bytes_total{device!="lo"}[1m]))"#,
    ),
    (Some("postgres"), "postgres_blocks_read_per_second", "sum(rate(pg_stat_database_blks_read[1m]))"),
    (Some("postgres"), "postgres_connections", "sum(pg_stat_database_numbackends)"),
    (Some("postgres"), "postgres_transactions_per_second", "sum(rate(pg_stat_database_xact_commit[1m]))"),
    (Some("redis"), "redis_commands_per_second", "sum(rate(redis_commands_processed_total[1m]))"),
    (Some("redis"), "redis_connected_clients", "sum(redis_connected_clients)"),
    (Some("redis"), "redis_memory_used_bytes", "sum(redis_memory_used_bytes)"),
];

/// Drivers whose servers an exporter of another's name watches.
const EXPORTED_AS: &[(&str, &str)] = &[("mariadb", "mysql")];

/// What is asked of a Prometheus, as a user describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusPlan {
    /// Where it is: `http://host:9090`. Where this is not said, `PROMETHEUS_URL` is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<TargetText>,
    /// Gauges by name, each a query in `PromQL` that gives one series. Where there are none, those of the usual exporters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queries: BTreeMap<String, String>,
}

/// What is asked of which Prometheus, all checked.
#[derive(Debug, Clone)]
pub struct Prometheus {
    target: Target,
    queries: Vec<(String, String)>,
}

impl Prometheus {
    /// What a plan wants of it; none where it does not collect `prometheus`.
    ///
    /// # Errors
    /// `Config`, naming the field: without a URL, for one that is none, and for names that are no gauges'.
    pub(crate) fn of(plan: &Plan, driver: &str, lookup: store::Lookup<'_>) -> Result<Option<Self>> {
        let asked = plan.prometheus.clone().unwrap_or_default();
        if !plan.collect.as_ref().is_some_and(|collect| collect.contains(&Collect::Prometheus)) {
            return match plan.prometheus {
                Some(_) => Err(Error::config("the plan describes `prometheus` and does not collect it")
                    .with_hint("add `prometheus` to `collect`")),
                None => Ok(None),
            };
        }
        let url = asked.url.or_else(|| lookup(URL_VARIABLE).map(TargetText::from)).ok_or_else(|| {
            Error::config("`prometheus` is to be collected, and nobody says where it is")
                .with_hint(format!("set {URL_VARIABLE}, or `prometheus.url` in the plan: http://host:9090"))
        })?;
        let target = Target::parse(url.expose())?;
        if !["http", "https"].contains(&target.scheme()) {
            return Err(Error::config(format!("`prometheus.url` is a URL of `{}:`", target.scheme()))
                .with_hint("write http://host:9090 or https://host:9090"));
        }
        let queries = if asked.queries.is_empty() { usual(driver) } else { asked.queries.into_iter().collect() };
        check(&queries)?;
        Ok(Some(Self { target, queries }))
    }

    /// Where it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The same, whose connections go only where that permits.
    #[must_use]
    pub fn with_reach(self, reach: Arc<dyn Reach>) -> Self {
        Self { target: self.target.with_reach(reach), ..self }
    }

    /// The gauges from one moment to another; what cannot be had is told in them.
    pub(crate) fn read(&self, runtime: &LocalRuntime, from: Timestamp, to: Timestamp) -> PrometheusRecord {
        let mut record = PrometheusRecord { url: self.target.to_string(), ..PrometheusRecord::default() };
        runtime.block_on(async {
            let all = tokio::time::timeout(QUERIES_TIMEOUT, async {
                for (name, query) in &self.queries {
                    let points = self.points(query, from, to).await;
                    let is_away = points.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unreachable);
                    record.gauges.push(gauge(name, query, points));
                    if is_away {
                        // The others would wait as long.
                        break;
                    }
                }
            });
            if all.await.is_err() {
                record.reason = Some(format!("not all was answered within {} s", QUERIES_TIMEOUT.as_secs()));
            }
        });
        record
    }

    async fn points(&self, query: &str, from: Timestamp, to: Timestamp) -> Result<Vec<(f64, f64)>> {
        let seconds = |moment: Timestamp| moment.as_millisecond() as f64 / 1e3;
        let step = ((to.as_second() - from.as_second()) / POINTS_MAX + 1).max(1);
        let base = self.target.path().trim_matches('/');
        let base = if base.is_empty() { String::new() } else { format!("/{base}") };
        let path = format!(
            "{base}/api/v1/query_range?query={}&start={:.3}&end={:.3}&step={step}",
            utf8_percent_encode(query, NON_ALPHANUMERIC),
            seconds(from),
            seconds(to)
        );
        let answer = web::ask(&self.target, Question { path: &path, ..Question::default() }, QUERY_TIMEOUT).await?;
        let document: Value = serde_json::from_slice(&answer.body).map_err(|source| {
            let (status, said) = (answer.status, answer.shown());
            Error::rejected(format!("what answers is no Prometheus (HTTP {status}): {said}")).with_source(source)
        })?;
        series(&document, seconds(from))
    }
}

/// What is asked of a driver's servers and their host by itself.
fn usual(driver: &str) -> Vec<(String, String)> {
    let exported = EXPORTED_AS.iter().find(|(name, _)| *name == driver).map_or(driver, |(_, exported)| exported);
    let is_about = |of: Option<&str>| of.is_none_or(|of| of == exported);
    let queries = QUERIES.iter().filter(|(of, _, _)| is_about(*of));
    queries.map(|(_, name, query)| ((*name).to_owned(), (*query).to_owned())).collect()
}

fn check(queries: &[(String, String)]) -> Result<()> {
    if queries.len() > QUERIES_MAX {
        return Err(Error::config(format!("`prometheus.queries` has {} queries", queries.len()))
            .with_hint(format!("leave at most {QUERIES_MAX}")));
    }
    let is_name = |name: &str| {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        is_plain && name.len() <= 64 && !name.is_empty()
    };
    match queries.iter().find(|(name, query)| !is_name(name) || query.trim().is_empty()) {
        Some((name, query)) if query.trim().is_empty() => {
            Err(Error::config(format!("`prometheus.queries.{name}` is empty")).with_hint("write a query in PromQL"))
        }
        Some((name, _)) => Err(Error::config(format!("`prometheus.queries` has the name `{name}`"))
            .with_hint("use up to 64 letters, digits and underscores")),
        None => Ok(()),
    }
}

fn gauge(name: &str, query: &str, points: Result<Vec<(f64, f64)>>) -> PrometheusGauge {
    let (points, reason) = match points {
        Ok(points) if points.is_empty() => (points, Some("no data for these seconds".to_owned())),
        Ok(points) => (points, None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    };
    let values = || points.iter().map(|(_, value)| *value);
    let mean = values().sum::<f64>() / points.len() as f64;
    let highest = values().reduce(f64::max);
    PrometheusGauge {
        name: format!("prometheus.{name}"),
        query: query.to_owned(),
        mean: highest.map(|_| mean),
        max: highest,
        points,
        reason,
    }
}

/// The points of an answer, by seconds since `from`. What is no number (a ratio of nothing) is left out.
fn series(document: &Value, from: f64) -> Result<Vec<(f64, f64)>> {
    if document["status"] != "success" {
        let said = document["error"].as_str().unwrap_or("it does not say why");
        return Err(Error::rejected(format!("Prometheus refused the query: {}", plain(said))));
    }
    let many = document["data"]["result"].as_array().filter(|_| document["data"]["resultType"] == "matrix");
    let many = many.ok_or_else(|| Error::rejected("Prometheus answered with something that is no range of values"))?;
    match &many[..] {
        [] => Ok(Vec::new()),
        [one] => {
            let points = one["values"].as_array().into_iter().flatten().filter_map(|point| {
                let moment = point.get(0)?.as_f64()?;
                let value: f64 = point.get(1)?.as_str()?.parse().ok()?;
                value.is_finite().then_some((moment - from, value))
            });
            Ok(points.take(POINTS_MAX as usize + 1).collect())
        }
        several => Err(Error::rejected(format!(
            "the query gives {} series instead of one: put sum() around it",
            several.len()
        ))),
    }
}

/// What somebody else's program said, fit for a message.
fn plain(text: &str) -> String {
    /// A query's error quotes the query.
    const SHOWN_MAX: usize = 200;
    text.chars().take(SHOWN_MAX).map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
