//! `OpenMetrics` 1.0: what a run came to, for whatever reads Prometheus' metrics. Every sample is of the run's end.
//!
//! Times are seconds and counts are counters, as that specification wants them; the run's id is a label of every sample.

use std::fmt::Write as _;

use experiment::{CheckOutcome, OperationRecord, Record};
use stats::Summary;

use super::{Format, Output, Source};
use crate::Result;
use crate::report::format::push;

pub(super) static FORMAT: Format = Format {
    name: "openmetrics",
    extension: "om",
    summary: "OpenMetrics text: counts, latencies, verdict and thresholds of the run, told at its end",
    is_text: true,
    write,
};

const MICROSECONDS_PER_SECOND: f64 = 1e6;

/// What a metric family is.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Info,
    Summary,
}

/// Metric families one after another, each whole, as the format wants it.
struct Families {
    text: String,
    /// Of every sample: which run it is of.
    run: String,
    /// When the run ended, in seconds.
    timestamp: String,
}

fn write(source: &Source<'_>, out: Output<'_>) -> Result<()> {
    let record = &source.record;
    let end = record.ended_at;
    let mut families = Families {
        text: String::new(),
        run: record.id.to_string(),
        timestamp: format!("{}.{:06}", end.as_second(), end.subsec_microsecond()),
    };
    about(&mut families, record);
    counts(&mut families, record);
    for (name, help, of) in METRICS {
        times(&mut families, record, name, help, *of);
    }
    resources(&mut families, record);
    verdict(&mut families, record);
    families.text.push_str("# EOF\n");
    Ok(out.write_all(families.text.as_bytes())?)
}

/// A metric's name, what it is, and where it stands.
type Metric = (&'static str, &'static str, fn(&OperationRecord) -> &Summary);

const METRICS: &[Metric] = &[
    ("latency", "From the intended start (open load) or the send (closed) to the end", |found| &found.latency_us),
    ("service_time", "From the send to the end", |found| &found.service_time_us),
    ("queueing_time", "From the intended start to the send", |found| &found.queueing_time_us),
];

fn about(families: &mut Families, record: &Record) {
    families.begin("storelab_run", Kind::Info, "", "What the run was");
    families.sample(
        "storelab_run_info",
        &[
            ("name", &record.name),
            ("workload", &record.workload.name),
            ("variant", record.workload.variant.as_deref().unwrap_or_default()),
            ("driver", &record.target.driver),
            ("server", &record.target.server),
            ("status", record.status.name()),
            ("storelab", &record.provenance.storelab),
        ],
        1.0,
    );
    families.single(
        "storelab_duration_seconds",
        "seconds",
        "How long the recorded phases took",
        record.duration_seconds,
    );
    let rate = record.throughput_per_second;
    families.single("storelab_throughput_operations", "operations", "Operations that succeeded, a second", rate);
}

fn counts(families: &mut Families, record: &Record) {
    let accounting = &record.accounting;
    families.begin(
        "storelab_scheduled_operations",
        Kind::Counter,
        "operations",
        "Where every scheduled operation went",
    );
    for (outcome, count) in [
        ("succeeded", accounting.succeeded),
        ("failed", accounting.failed),
        ("shed", accounting.shed),
        ("unfinished", accounting.unfinished),
    ] {
        families.sample("storelab_scheduled_operations_total", &[("outcome", outcome)], count as f64);
    }
    families.begin("storelab_operations", Kind::Counter, "operations", "Operations that ended, by their outcome");
    for operation in &record.operations {
        for (outcome, count) in [("succeeded", operation.succeeded), ("failed", operation.failed)] {
            let labels = [("operation", operation.name.as_str()), ("outcome", outcome)];
            families.sample("storelab_operations_total", &labels, count as f64);
        }
    }
    families.begin("storelab_errors", Kind::Counter, "errors", "Operations that failed, by the kind of their error");
    for operation in &record.operations {
        for (kind, count) in &operation.errors {
            let labels = [("operation", operation.name.as_str()), ("kind", kind)];
            families.sample("storelab_errors_total", &labels, *count as f64);
        }
    }
}

/// A summary for each operation. What nothing is known of has no quantiles.
fn times(families: &mut Families, record: &Record, name: &str, help: &str, of: fn(&OperationRecord) -> &Summary) {
    let name = format!("storelab_{name}_seconds");
    families.begin(&name, Kind::Summary, "seconds", help);
    for operation in record.operations.iter().filter(|operation| operation.succeeded > 0) {
        let Summary { mean, p50, p90, p95, p99, p99_9, max } = *of(operation);
        let quantiles = [("0.5", p50), ("0.9", p90), ("0.95", p95), ("0.99", p99), ("0.999", p99_9), ("1.0", max)];
        let label = ("operation", operation.name.as_str());
        for (quantile, value) in quantiles {
            families.sample(&name, &[label, ("quantile", quantile)], value / MICROSECONDS_PER_SECOND);
        }
        let count = operation.succeeded as f64;
        families.sample(&format!("{name}_count"), &[label], count);
        families.sample(&format!("{name}_sum"), &[label], mean * count / MICROSECONDS_PER_SECOND);
    }
}

fn resources(families: &mut Families, record: &Record) {
    let (generator, server) = (&record.generator, &record.server);
    families.begin("storelab_cpu_seconds", Kind::Counter, "seconds", "Processor time that was used, by whom");
    let used = [("generator", Some(generator.cpu_seconds)), ("server", server.cpu_seconds)];
    for (who, seconds) in used.into_iter().filter_map(|(who, seconds)| Some((who, seconds?))) {
        families.sample("storelab_cpu_seconds_total", &[("of", who)], seconds);
    }
    families.begin("storelab_resident_memory_max_bytes", Kind::Gauge, "bytes", "Greatest resident memory, by whose");
    let used = [("generator", Some(generator.max_rss_bytes)), ("server", server.max_rss_bytes)];
    for (who, bytes) in used.into_iter().filter_map(|(who, bytes)| Some((who, bytes?))) {
        families.sample("storelab_resident_memory_max_bytes", &[("of", who)], bytes as f64);
    }
    let lateness = generator.lateness_us.p99 / MICROSECONDS_PER_SECOND;
    families.single("storelab_send_lateness_p99_seconds", "seconds", "How late sends were, 99th percentile", lateness);
}

fn verdict(families: &mut Families, record: &Record) {
    let flag = |holds: bool| if holds { 1.0 } else { 0.0 };
    families.single("storelab_valid", "", "Whether the generator did what was planned", flag(record.verdict.valid));
    families.single("storelab_verified", "", "Whether the data are right", flag(record.verification.passed));
    families.begin("storelab_check_passed", Kind::Gauge, "", "Whether a check of validity holds without doubt");
    for check in record.verdict.checks.iter().filter(|check| check.outcome != CheckOutcome::NotApplicable) {
        families.sample(
            "storelab_check_passed",
            &[("check", &check.name)],
            flag(check.outcome == CheckOutcome::Passed),
        );
    }
    families.begin("storelab_threshold_passed", Kind::Gauge, "", "Whether a threshold holds");
    // The same expression twice would be the same sample twice, which readers refuse.
    let mut told = std::collections::BTreeSet::new();
    for threshold in record.verdict.thresholds.iter().filter(|threshold| told.insert(&threshold.expression)) {
        let labels = [("expression", threshold.expression.as_str())];
        families.sample("storelab_threshold_passed", &labels, flag(threshold.passed));
    }
}

impl Families {
    fn begin(&mut self, name: &str, kind: Kind, unit: &str, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Info => "info",
            Kind::Summary => "summary",
        };
        self.line(format_args!("# TYPE {name} {kind}"));
        if !unit.is_empty() {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        self.line(format_args!("# HELP {name} {help}"));
    }

    /// A gauge of one sample.
    fn single(&mut self, name: &str, unit: &str, help: &str, value: f64) {
        self.begin(name, Kind::Gauge, unit, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut text = format!("{name}{{run=\"{}\"", self.run);
        for (label, value) in labels {
            push!(text, ",{label}=\"{}\"", escaped(value));
        }
        let timestamp = self.timestamp.clone();
        self.line(format_args!("{text}}} {} {timestamp}", if value.is_finite() { value } else { f64::NAN }));
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        push!(self.text, "{text}\n");
    }
}

/// A label's value: a backslash, a quote and the end of a line are escaped; other controls are no text.
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            control if control.is_control() => escaped.push('\u{FFFD}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd\u{0}\u{e9}"), "a\\\"b\\\\c\\nd\u{FFFD}\u{e9}");
    }
}
