//! What the service counts of itself, in the text format of Prometheus (version 0.0.4).
//!
//! A family is a line in [`FAMILIES`]; a series appears with its first value. How many there may be is limited, so that neither
//! paths that somebody makes up nor runs that come and go grow the process or whoever scrapes it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The media type of the page.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series of one family; 45 routes with the few statuses that each really answers are fewer.
const SERIES_MAX: usize = 200;

/// Upper bounds of the classes that durations are counted in, in seconds: from a point read's to what only a stalled client takes.
const DURATION_SECONDS: [f64; 11] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What the values of a family mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// A family of series.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, help }
}

pub(crate) static BUILD: Family = gauge("storelab_build_info", "1, with the version of Storelab that runs.");
pub(crate) static CONNECTIONS: Family = gauge("storelab_http_connections", "Connections that are open.");
pub(crate) static CONNECTIONS_TOTAL: Family =
    counter("storelab_http_connections_total", "Connections that were accepted.");
pub(crate) static REQUESTS: Family =
    counter("storelab_http_requests_total", "Requests that were answered, by method, route and status.");
pub(crate) static DROPPED: Family =
    counter("storelab_metrics_dropped_total", "Values that were not kept, since their family has too many series.");
pub(crate) static PROCESSOR: Family =
    counter("storelab_process_cpu_seconds_total", "Processor time that the service and its runs have used.");
pub(crate) static DESCRIPTORS: Family = gauge("storelab_process_open_fds", "File descriptors that are open.");
pub(crate) static MEMORY: Family =
    gauge("storelab_process_resident_memory_bytes", "Memory of the service that is not paged out.");
pub(crate) static RUNS_RUNNING: Family =
    gauge("storelab_runs_running", "Runs that go on, in all services that share the store.");
pub(crate) static RUNS_WAITING: Family =
    gauge("storelab_runs_waiting", "Runs that wait, in all services that share the store.");
pub(crate) static STARTED: Family =
    gauge("storelab_process_start_time_seconds", "When the service started, in seconds since the epoch.");

/// Every family beside the durations of requests.
static FAMILIES: &[&Family] = &[
    &BUILD,
    &CONNECTIONS,
    &CONNECTIONS_TOTAL,
    &REQUESTS,
    &DROPPED,
    &DESCRIPTORS,
    &MEMORY,
    &PROCESSOR,
    &RUNS_RUNNING,
    &RUNS_WAITING,
    &STARTED,
];

/// The values of now.
#[derive(Debug)]
pub(crate) struct Metrics {
    families: Mutex<BTreeMap<&'static str, Series>>,
    durations: Mutex<Durations>,
}

/// Values by their labels as they are written: `method="GET",status="200"`.
type Series = BTreeMap<String, f64>;

#[derive(Debug, Default)]
struct Durations {
    counts: [u64; DURATION_SECONDS.len()],
    count: u64,
    sum_seconds: f64,
}

impl Metrics {
    /// Nothing counted yet.
    pub(crate) fn new() -> Self {
        let metrics = Self { families: Mutex::default(), durations: Mutex::default() };
        metrics.set(&BUILD, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        metrics.set(&STARTED, &[], jiff::Timestamp::now().as_second() as f64);
        for family in [&CONNECTIONS, &CONNECTIONS_TOTAL, &DROPPED] {
            metrics.add(family, &[], 0.0);
        }
        metrics
    }

    /// Adds to a series; what is taken from a gauge is less than nothing.
    pub(crate) fn add(&self, family: &'static Family, labels: &[(&str, &str)], amount: f64) {
        self.change(family, labels, |value| *value += amount);
    }

    /// Sets a series.
    pub(crate) fn set(&self, family: &'static Family, labels: &[(&str, &str)], value: f64) {
        self.change(family, labels, |kept| *kept = value);
    }

    /// Counts a request.
    pub(crate) fn answered(&self, method: &str, route: &str, status: &str, took: Duration) {
        self.add(&REQUESTS, &[("method", method), ("route", route), ("status", status)], 1.0);
        let seconds = took.as_secs_f64();
        let mut durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        durations.count += 1;
        durations.sum_seconds += seconds;
        for (bound, count) in DURATION_SECONDS.iter().zip(&mut durations.counts) {
            *count += u64::from(seconds <= *bound);
        }
    }

    /// The page that is scraped.
    pub(crate) fn page(&self) -> String {
        self.look_at_process();
        let mut page = String::new();
        let kept = self.families();
        for family in FAMILIES {
            let Some(series) = kept.get(family.name).filter(|series| !series.is_empty()) else { continue };
            let kind = if family.kind == Kind::Counter { "counter" } else { "gauge" };
            head(&mut page, family.name, kind, family.help);
            for (labels, value) in series {
                let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                line(&mut page, format_args!("{}{labels} {value}", family.name));
            }
        }
        drop(kept);
        self.write_durations(&mut page);
        page
    }

    fn write_durations(&self, page: &mut String) {
        let name = "storelab_http_request_duration_seconds";
        head(page, name, "histogram", "How long requests took, from their heads to the heads of their answers.");
        let durations = self.durations.lock().unwrap_or_else(PoisonError::into_inner);
        for (bound, count) in DURATION_SECONDS.iter().zip(&durations.counts) {
            line(page, format_args!("{name}_bucket{{le=\"{bound}\"}} {count}"));
        }
        line(page, format_args!("{name}_bucket{{le=\"+Inf\"}} {}", durations.count));
        line(page, format_args!("{name}_sum {}", durations.sum_seconds));
        line(page, format_args!("{name}_count {}", durations.count));
    }

    /// What the kernel tells of this process; where it does not, there is no series.
    fn look_at_process(&self) {
        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let resident = pages.as_deref().and_then(|text| text.split_whitespace().nth(1)?.parse::<f64>().ok());
        if let Some(pages) = resident {
            self.set(&MEMORY, &[], pages * rustix::param::page_size() as f64);
        }
        if let Ok(folder) = std::fs::read_dir("/proc/self/fd") {
            self.set(&DESCRIPTORS, &[], folder.count() as f64);
        }
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        self.set(&PROCESSOR, &[], used.tv_sec as f64 + used.tv_nsec as f64 / 1e9);
    }

    fn change(&self, family: &'static Family, labels: &[(&str, &str)], change: impl FnOnce(&mut f64)) {
        let mut families = self.families();
        let series = families.entry(family.name).or_default();
        let labels = written(labels);
        if series.len() < SERIES_MAX || series.contains_key(&labels) {
            change(series.entry(labels).or_default());
        } else {
            *families.entry(DROPPED.name).or_default().entry(String::new()).or_default() += 1.0;
        }
    }

    fn families(&self) -> MutexGuard<'_, BTreeMap<&'static str, Series>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is counted as long as this lives.
pub(crate) struct Counted<'a>(&'a Metrics);

impl<'a> Counted<'a> {
    /// Counts one.
    pub(crate) fn connection(metrics: &'a Metrics) -> Self {
        metrics.add(&CONNECTIONS_TOTAL, &[], 1.0);
        metrics.add(&CONNECTIONS, &[], 1.0);
        Self(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.add(&CONNECTIONS, &[], -1.0);
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    line(page, format_args!("# HELP {name} {help}"));
    line(page, format_args!("# TYPE {name} {kind}"));
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("writing to text cannot fail");
    page.push('\n');
}

/// Labels as they are written, their values escaped.
fn written(labels: &[(&str, &str)]) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let written: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    written.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_prometheus_wants_it() {
        for family in FAMILIES {
            let Family { name, kind, help } = family;
            assert!(name.starts_with("storelab_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
            assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{name}");
        }
    }

    #[test]
    fn series_are_written_escaped_and_limited() {
        let metrics = Metrics::new();
        metrics.answered("GET", "a\"b\\c\nd", "200", Duration::from_millis(3));
        for number in 0..2 * SERIES_MAX {
            metrics.answered("GET", &number.to_string(), "404", Duration::from_secs(9));
        }
        let page = metrics.page();
        assert!(
            page.contains(r#"storelab_http_requests_total{method="GET",route="a\"b\\c\nd",status="200"} 1"#),
            "{page}"
        );
        assert!(page.contains("storelab_http_request_duration_seconds_bucket{le=\"0.005\"} 1\n"), "{page}");
        assert!(page.contains("storelab_http_request_duration_seconds_bucket{le=\"+Inf\"} 401\n"), "{page}");
        assert!(page.contains("storelab_metrics_dropped_total 201\n"), "{page}");
        assert!(page.lines().count() < 500);
    }

    #[test]
    fn gauges_go_up_and_down() {
        let metrics = Metrics::new();
        let counted = Counted::connection(&metrics);
        assert!(metrics.page().contains("storelab_http_connections 1\n"));
        drop(counted);
        assert!(metrics.page().contains("storelab_http_connections 0\n"));
    }
}
