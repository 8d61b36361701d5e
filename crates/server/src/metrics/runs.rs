//! Series of the runs of this process that go on, each gone with its run.
//!
//! A run has two dozen series, and so many runs have them as the page has room for; further ones are counted. Labels are the
//! run's id and names of ours, never anything of the target's URL.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use experiment::SampleRecord;
use runner::Load;
use uuid::Uuid;

use super::classes::Classes;
use super::page::{Family, Kind, Page, written};
use super::{counter, gauge};

/// Runs that have series, each some two dozen: with the 500 that the rest may come to, less than what one target should give a
/// Prometheus. More go on at once only where an operator wants it so.
const RUNS_MAX: usize = 16;

/// Upper bounds of the classes of latencies in seconds: from what memory takes to what a stalled server does.
const LATENCY_SECONDS: [f64; 15] =
    [0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

static OPERATIONS: Family =
    counter("storelab_run_operations_total", "Operations of a run that goes on that have ended, by outcome.");
static LATENCY: Family = Family {
    name: "storelab_run_latency_seconds",
    kind: Kind::Histogram,
    help: "Latency of operations that ended well, from the intended start (open load) or the send (closed).",
};
static PLANNED: Family = counter(
    "storelab_run_planned_operations_total",
    "Operations that the load had planned until now, expected where chance has a part; none where answers decide.",
);
static OFFERED: Family =
    counter("storelab_run_offered_operations_total", "Operations that were sent to the data store.");
static WAITING: Family = gauge("storelab_run_waiting_operations", "Operations that are due and wait for a session.");
static LATENESS: Family = gauge(
    "storelab_run_lateness_seconds",
    "How late the latest send of the last second was, of those that waited for nothing but the clock.",
);
static LEFT_OUT: Family =
    gauge("storelab_runs_without_series", "Runs of this process that have no series, since too many others have.");

/// Their families.
#[cfg(test)]
pub(super) static FAMILIES: [&Family; 7] = [&OPERATIONS, &LATENCY, &PLANNED, &OFFERED, &WAITING, &LATENESS, &LEFT_OUT];

/// The runs of this process that go on.
#[derive(Debug, Default)]
pub(crate) struct Runs(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    runs: BTreeMap<Uuid, Arc<Mutex<Figures>>>,
    left_out: usize,
}

/// A run that goes on; its series go when this does.
pub(crate) struct RunSeries {
    runs: Arc<Runs>,
    run: Uuid,
    /// None where too many others have series.
    figures: Option<Arc<Mutex<Figures>>>,
    trace: Option<String>,
}

/// What a family has of a run.
type Value = fn(&Figures) -> Option<f64>;

/// What a run has come to.
#[derive(Debug)]
struct Figures {
    labels: String,
    succeeded: u64,
    failed: u64,
    latency: Classes,
    planned: Option<f64>,
    offered: f64,
    waiting: f64,
    lateness_seconds: f64,
}

impl Runs {
    /// A run begins. Its trace is that in which it was asked for.
    pub(crate) fn begin(
        self: &Arc<Self>,
        run: Uuid,
        workload: &str,
        variant: Option<&str>,
        driver: &str,
        trace: Option<&str>,
    ) -> RunSeries {
        let workload = variant.map_or_else(|| workload.to_owned(), |variant| format!("{workload}:{variant}"));
        let labels = written(&[("run", &run.to_string()), ("workload", &workload), ("driver", driver)]);
        let mut kept = lock(&self.0);
        let figures = if kept.runs.len() < RUNS_MAX {
            let figures = Arc::new(Mutex::new(Figures::new(labels)));
            kept.runs.insert(run, Arc::clone(&figures));
            Some(figures)
        } else {
            kept.left_out += 1;
            None
        };
        RunSeries { runs: Arc::clone(self), run, figures, trace: trace.map(str::to_owned) }
    }

    /// Writes the series of all, family by family.
    pub(super) fn write(&self, page: &mut Page) {
        let kept = lock(&self.0);
        page.family(&LEFT_OUT);
        page.series(LEFT_OUT.name, "", kept.left_out as f64);
        if kept.runs.is_empty() {
            return;
        }
        let runs: Vec<_> = kept.runs.values().map(|figures| lock(figures)).collect();
        page.family(&OPERATIONS);
        for run in &runs {
            for (outcome, count) in [("failed", run.failed), ("succeeded", run.succeeded)] {
                page.series(OPERATIONS.name, &format!("{},outcome=\"{outcome}\"", run.labels), count as f64);
            }
        }
        page.family(&LATENCY);
        for run in &runs {
            run.latency.write(page, LATENCY.name, &run.labels);
        }
        let single: [(&Family, Value); 4] = [
            (&PLANNED, |run| run.planned),
            (&OFFERED, |run| Some(run.offered)),
            (&WAITING, |run| Some(run.waiting)),
            (&LATENESS, |run| Some(run.lateness_seconds)),
        ];
        for (family, of) in single {
            let values: Vec<_> = runs.iter().filter_map(|run| Some((run, of(run)?))).collect();
            if !values.is_empty() {
                page.family(family);
                for (run, value) in values {
                    page.series(family.name, &run.labels, value);
                }
            }
        }
    }
}

impl RunSeries {
    /// A second of the run has ended, of a load that is known where answers do not decide it.
    pub(crate) fn sampled(&self, sample: &SampleRecord, load: Option<&Load>) {
        if let Some(figures) = &self.figures {
            lock(figures).add(sample, load, self.trace.as_deref());
        }
    }
}

impl Drop for RunSeries {
    fn drop(&mut self) {
        let mut kept = lock(&self.runs.0);
        if self.figures.is_some() {
            kept.runs.remove(&self.run);
        } else {
            kept.left_out -= 1;
        }
    }
}

impl Figures {
    fn new(labels: String) -> Self {
        Self {
            labels,
            succeeded: 0,
            failed: 0,
            latency: Classes::new(&LATENCY_SECONDS),
            planned: None,
            offered: 0.0,
            waiting: 0.0,
            lateness_seconds: 0.0,
        }
    }

    fn add(&mut self, sample: &SampleRecord, load: Option<&Load>, trace: Option<&str>) {
        let mut slowest_ns = 0;
        for operation in &sample.operations {
            self.succeeded += operation.succeeded;
            self.failed += operation.failed;
            operation.latency.buckets().for_each(|(ns, count)| self.latency.add(ns as f64 / 1e9, count));
            slowest_ns = operation.latency.max().max(slowest_ns);
        }
        if let Some(trace) = trace.filter(|_| slowest_ns > 0) {
            self.latency.note(trace, slowest_ns as f64 / 1e9);
        }
        let gauge = |name: &str| sample.gauges.get(name).copied().unwrap_or(0.0);
        self.waiting = gauge("generator.backlog");
        self.lateness_seconds = gauge("generator.lateness_us_max") / 1e6;
        // What has been sent has ended or is in flight.
        self.offered = self.offered.max((self.succeeded + self.failed) as f64 + gauge("generator.in_flight"));
        self.planned = load.and_then(|load| load.planned_by((sample.second + 1) as f64)).or(self.planned);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use experiment::SampledOperation;
    use runner::{Arrivals, Limit, Rate};
    use stats::Histogram;

    use super::super::page::Form;
    use super::*;

    fn second(second: u64, succeeded: u64, failed: u64) -> SampleRecord {
        let mut latency = Histogram::new();
        (0..succeeded).for_each(|_| latency.record(2_000_000));
        let operation = SampledOperation { phase: 0, operation: "read".to_owned(), succeeded, failed, latency };
        let gauges = [("generator.backlog", 3.0), ("generator.in_flight", 2.0), ("generator.lateness_us_max", 1_500.0)];
        SampleRecord { second, operations: vec![operation], gauges: gauges.into_iter().collect() }
    }

    fn page(runs: &Runs, form: Form) -> String {
        let mut page = Page::new(form);
        runs.write(&mut page);
        page.end()
    }

    #[test]
    fn a_run_has_series_as_long_as_it_goes_on() {
        let runs = Arc::new(Runs::default());
        let rate = Rate::per_second(20.0).expect("positive");
        let load = Load::open(NonZeroU32::MIN, rate, Arrivals::Constant, Limit::Duration(Duration::from_secs(9)));
        let series = runs.begin(Uuid::nil(), "ycsb", Some("c"), "null", Some("abc"));
        series.sampled(&second(0, 10, 1), Some(&load));
        series.sampled(&second(1, 5, 0), Some(&load));
        let labels = format!("run=\"{}\",workload=\"ycsb:c\",driver=\"null\"", Uuid::nil());
        let plain = page(&runs, Form::Text);
        for line in [
            format!("storelab_run_operations_total{{{labels},outcome=\"succeeded\"}} 15\n"),
            format!("storelab_run_operations_total{{{labels},outcome=\"failed\"}} 1\n"),
            format!("storelab_run_latency_seconds_bucket{{{labels},le=\"0.001\"}} 0\n"),
            format!("storelab_run_latency_seconds_bucket{{{labels},le=\"0.0025\"}} 15\n"),
            format!("storelab_run_latency_seconds_count{{{labels}}} 15\n"),
            format!("storelab_run_planned_operations_total{{{labels}}} 40\n"),
            format!("storelab_run_offered_operations_total{{{labels}}} 18\n"),
            format!("storelab_run_waiting_operations{{{labels}}} 3\n"),
            format!("storelab_run_lateness_seconds{{{labels}}} 0.0015\n"),
        ] {
            assert!(plain.contains(&line), "{line}{plain}");
        }
        assert!(!plain.contains("trace_id"));
        let open = page(&runs, Form::OpenMetrics);
        let exemplars: Vec<_> = open.lines().filter(|line| line.contains("# {trace_id=\"abc\"} 0.002")).collect();
        assert!(matches!(exemplars[..], [line] if line.contains("le=\"0.0025\"")), "{open}");
        drop(series);
        let after = page(&runs, Form::Text);
        assert!(after.contains("storelab_runs_without_series 0\n") && !after.contains("storelab_run_"), "{after}");
    }

    #[test]
    fn runs_past_the_limit_are_counted_and_take_no_room() {
        let runs = Arc::new(Runs::default());
        let all: Vec<_> = (0..RUNS_MAX as u128 + 3)
            .map(|number| runs.begin(Uuid::from_u128(number), "ycsb", None, "null", None))
            .collect();
        for series in &all {
            series.sampled(&second(0, 1, 0), None);
        }
        let full = page(&runs, Form::Text);
        assert!(full.contains("storelab_runs_without_series 3\n"));
        let series = full.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series <= 24 * RUNS_MAX + 1, "{series}");
        drop(all);
        assert!(page(&runs, Form::Text).contains("storelab_runs_without_series 0\n"));
    }
}
