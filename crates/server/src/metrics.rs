//! What the service counts of itself and of the runs that go on, for Prometheus.
//!
//! A family is a line in [`FAMILIES`]; a series appears with its first value. How many there may be is limited, so that neither
//! paths that somebody makes up nor runs that come and go grow the process or whoever scrapes it. Exemplars lead from a duration
//! to a trace; there are some only where traces are made, and in `OpenMetrics`.

mod classes;
mod page;
mod runs;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use classes::Classes;
pub(crate) use page::Form;
use page::{Family, Kind, Page, written};
pub(crate) use runs::{RunSeries, Runs};

/// Series of one family; 45 routes with the few statuses that each really answers are fewer.
const SERIES_MAX: usize = 200;

/// Upper bounds of the classes that durations are counted in, in seconds: from a point read's to what only a stalled client takes.
const DURATION_SECONDS: [f64; 11] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, help }
}

pub(crate) static BUILD: Family = gauge("storelab_build_info", "1, with the version of Storelab that runs.");
pub(crate) static CONNECTIONS: Family = gauge("storelab_http_open_connections", "Connections that are open.");
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

static DURATION: Family = Family {
    name: "storelab_http_request_duration_seconds",
    kind: Kind::Histogram,
    help: "How long requests took, from their heads to the heads of their answers.",
};

/// Every family beside the durations of requests and those of runs.
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
    durations: Mutex<Classes>,
    runs: Arc<Runs>,
}

/// Values by their labels as they are written: `method="GET",status="200"`.
type Series = BTreeMap<String, f64>;

impl Metrics {
    /// Nothing counted yet; the runs count for themselves.
    pub(crate) fn new(runs: Arc<Runs>) -> Self {
        let durations = Mutex::new(Classes::new(&DURATION_SECONDS));
        let metrics = Self { families: Mutex::default(), durations, runs };
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

    /// Counts a request, with the trace that it is in where there is one.
    pub(crate) fn answered(&self, method: &str, route: &str, status: &str, took: Duration, trace: Option<&str>) {
        self.add(&REQUESTS, &[("method", method), ("route", route), ("status", status)], 1.0);
        let seconds = took.as_secs_f64();
        let mut durations = self.durations();
        durations.add(seconds, 1);
        if let Some(trace) = trace {
            durations.note(trace, seconds);
        }
    }

    /// The page that is scraped.
    pub(crate) fn page(&self, form: Form) -> String {
        self.look_at_process();
        let mut page = Page::new(form);
        let kept = self.families();
        for family in FAMILIES {
            let Some(series) = kept.get(family.name).filter(|series| !series.is_empty()) else { continue };
            page.family(family);
            for (labels, value) in series {
                page.series(family.name, labels, *value);
            }
        }
        drop(kept);
        page.family(&DURATION);
        self.durations().write(&mut page, DURATION.name, "");
        self.runs.write(&mut page);
        page.end()
    }

    fn durations(&self) -> MutexGuard<'_, Classes> {
        self.durations.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_named_as_prometheus_wants_it() {
        for family in FAMILIES.iter().chain(&runs::FAMILIES).chain(&[&DURATION]) {
            let Family { name, kind, help } = family;
            assert!(name.starts_with("storelab_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            assert!(help.ends_with('.'), "{name}: {help}");
            assert!(name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'), "{name}");
        }
    }

    #[test]
    fn series_are_written_escaped_and_limited() {
        let metrics = Metrics::new(Arc::default());
        metrics.answered("GET", "a\"b\\c\nd", "200", Duration::from_millis(3), Some("abc"));
        for number in 0..2 * SERIES_MAX {
            metrics.answered("GET", &number.to_string(), "404", Duration::from_secs(9), None);
        }
        let page = metrics.page(Form::Text);
        assert!(
            page.contains(r#"storelab_http_requests_total{method="GET",route="a\"b\\c\nd",status="200"} 1"#),
            "{page}"
        );
        assert!(page.contains("storelab_http_request_duration_seconds_bucket{le=\"0.005\"} 1\n"), "{page}");
        assert!(page.contains("storelab_http_request_duration_seconds_bucket{le=\"+Inf\"} 401\n"), "{page}");
        assert!(page.contains("storelab_metrics_dropped_total 201\n"), "{page}");
        assert!(page.lines().count() < 500);
        assert!(!page.contains("trace_id"), "{page}");
        let open = metrics.page(Form::OpenMetrics);
        assert!(
            open.contains("duration_seconds_bucket{le=\"0.005\"} 1 # {trace_id=\"abc\"} 0.003 "),
            "a duration leads to its trace: {open}"
        );
        assert!(open.ends_with("# EOF\n") && open.contains("# TYPE storelab_http_requests counter\n"), "{open}");
    }

    #[test]
    fn gauges_go_up_and_down() {
        let metrics = Metrics::new(Arc::default());
        let counted = Counted::connection(&metrics);
        assert!(metrics.page(Form::Text).contains("storelab_http_open_connections 1\n"));
        drop(counted);
        assert!(metrics.page(Form::Text).contains("storelab_http_open_connections 0\n"));
    }
}
