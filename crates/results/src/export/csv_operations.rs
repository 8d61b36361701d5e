//! Operations as a table: of the recorded phases together, then of each phase.

use std::borrow::Cow;

use experiment::OperationRecord;
use stats::Summary;

use super::{Format, Output, Source, csv};
use crate::Result;

pub(super) static FORMAT: Format = Format {
    name: "csv-operations",
    extension: "csv",
    summary: "a row an operation, of the recorded phases together and of each phase: counts, errors, latencies",
    is_text: true,
    write,
};

/// What is known of each operation's times, with the names of [`figures`].
const METRICS: [&str; 3] = ["latency_us", "service_time_us", "queueing_time_us"];
const FIGURES: [&str; 7] = ["mean", "p50", "p90", "p95", "p99", "p99_9", "max"];

fn write(source: &Source<'_>, out: Output<'_>) -> Result<()> {
    let first = ["scope", "phase", "recorded", "operation", "seconds", "succeeded", "failed", "succeeded_per_second"];
    let of_metrics = METRICS.iter().flat_map(|metric| FIGURES.iter().map(move |figure| format!("{metric}_{figure}")));
    let columns = first.into_iter().map(Cow::Borrowed).chain(of_metrics.map(Cow::Owned));
    csv::write_row(out, columns.chain([Cow::Borrowed("errors")]))?;
    let record = &source.record;
    for operation in record.operations.iter().chain([&record.total]) {
        write_operation(out, ["run", "", "true"], record.duration_seconds, operation)?;
    }
    for phase in &record.phases {
        let recorded = if phase.recorded { "true" } else { "false" };
        for operation in phase.operations.iter().chain([&phase.total]) {
            write_operation(out, ["phase", &phase.name, recorded], phase.duration_seconds, operation)?;
        }
    }
    Ok(())
}

fn write_operation(out: Output<'_>, scope: [&str; 3], seconds: f64, operation: &OperationRecord) -> Result<()> {
    let OperationRecord { name, succeeded, failed, errors, latency_us, service_time_us, queueing_time_us } = operation;
    let rate = if seconds > 0.0 { *succeeded as f64 / seconds } else { 0.0 };
    let errors: Vec<_> = errors.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    let summaries = [latency_us, service_time_us, queueing_time_us].into_iter().flat_map(figures);
    // Where nothing succeeded there are no latencies, rather than some of zero.
    let times = summaries.map(|figure| if *succeeded > 0 { csv::real(figure) } else { Cow::Borrowed("") });
    let counts = [csv::real(seconds), succeeded.to_string().into(), failed.to_string().into(), csv::real(rate)];
    let named = scope.into_iter().chain([name.as_str()]).map(Cow::Borrowed);
    csv::write_row(out, named.chain(counts).chain(times).chain([errors.join(";").into()]))
}

fn figures(summary: &Summary) -> [f64; 7] {
    let Summary { mean, p50, p90, p95, p99, p99_9, max } = *summary;
    [mean, p50, p90, p95, p99, p99_9, max]
}
