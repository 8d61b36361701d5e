//! `storelab show`: one run.

use experiment::{OperationRecord, Quantity, Record};

use crate::cli::ShowArguments;
use crate::exit::Exit;
use crate::knee;
use crate::terminal::{data, json, microseconds, table, table_text, thousands};
use crate::validity::checks_table;

pub(crate) fn run(arguments: &ShowArguments, store: Option<&str>) -> anyhow::Result<Exit> {
    let mut results = super::open(store)?;
    let run = results.find(&arguments.run)?;
    let record = results.record(run)?;
    if arguments.json {
        json(&record)?;
    } else {
        data(&text(&record));
    }
    Ok(Exit::Ok)
}

/// The record in words and tables.
fn text(record: &Record) -> String {
    let variant = record.workload.variant.as_deref().map(|variant| format!(":{variant}")).unwrap_or_default();
    let accounting = &record.accounting;
    let mut lines = vec![
        format!("{}  ({}, {})", record.name, record.id, record.status.name()),
        format!("target      {} · {}", record.target.url, record.target.server),
        format!("workload    {}{variant} · seed {}", record.workload.name, record.seed),
        format!(
            "started     {} for {:.1} s",
            record.started_at.strftime("%Y-%m-%d %H:%M:%S UTC"),
            record.duration_seconds
        ),
        format!("throughput  {} operations/s", thousands(record.throughput_per_second.round() as u64)),
        format!(
            "accounting  {} scheduled = {} succeeded + {} failed + {} shed + {} unfinished",
            thousands(accounting.scheduled),
            thousands(accounting.succeeded),
            thousands(accounting.failed),
            thousands(accounting.shed),
            thousands(accounting.unfinished)
        ),
        format!(
            "generator   {:.2} µs of processor time an operation, {:.0} % of its processors, harness floor {:.3} µs",
            record.generator.cpu_us_per_operation,
            record.generator.cpu_share * 100.0,
            record.generator.harness_floor_us
        ),
    ];
    if let Some(search) = &record.search {
        lines.push(format!("knee        {}", knee::line(search)));
        lines.extend([String::new(), knee::curve(search)]);
    }
    lines.extend([String::new(), operations_table(record)]);
    let word = match (record.verdict.valid, record.verdict.accepted) {
        (true, _) => "\nvalid",
        (false, false) => "\nINVALID",
        (false, true) => "\nINVALID, but accepted",
    };
    lines.push(word.to_owned());
    lines.extend(record.verdict.reasons.iter().map(|reason| format!("  because {reason}")));
    lines.extend(record.verdict.warnings.iter().map(|warning| format!("  note: {warning}")));
    if !record.verdict.checks.is_empty() {
        lines.push(format!("\n{}\n", checks_table(&record.verdict.checks)));
    }
    lines.extend(
        record.verification.checks.iter().map(|check| {
            format!("  {} {}: {}", if check.passed { "passed" } else { "FAILED" }, check.name, check.detail)
        }),
    );
    if !record.verdict.thresholds.is_empty() {
        lines.push(format!("\n{}\n", thresholds_table(record)));
    }
    lines.extend(
        record
            .error_messages
            .iter()
            .map(|error| format!("  {} × {} ({})", thousands(error.count), error.message, error.kind)),
    );
    if let Some(report) = &record.report {
        lines.push(format!("report      {report}"));
    }
    lines.join("\n")
}

/// Operations with their latencies.
pub(crate) fn operations_table(record: &Record) -> String {
    let mut rows = table(["OPERATION", "SUCCEEDED", "FAILED", "MEAN", "P50", "P90", "P95", "P99", "P99.9", "MAX"]);
    let mut row = |operation: &OperationRecord| {
        let latency = &operation.latency_us;
        let mut cells = vec![operation.name.clone(), thousands(operation.succeeded), thousands(operation.failed)];
        cells.extend(
            [latency.mean, latency.p50, latency.p90, latency.p95, latency.p99, latency.p99_9, latency.max]
                .map(microseconds),
        );
        rows.add_row(cells);
    };
    record.operations.iter().for_each(&mut row);
    if record.operations.len() != 1 {
        row(&record.total);
    }
    table_text(&rows)
}

/// Thresholds with their values.
pub(crate) fn thresholds_table(record: &Record) -> String {
    let mut rows = table(["THRESHOLD", "VALUE", "LIMIT", ""]);
    for threshold in &record.verdict.thresholds {
        let quantity = Quantity::of_unit(&threshold.unit);
        let figure = |value: Option<f64>| match (value, quantity) {
            (Some(value), Some(quantity)) => quantity.text(value),
            (Some(value), None) => value.to_string(),
            (None, _) => "-".to_owned(),
        };
        let mut outcome = if threshold.passed { "passed" } else { "FAILED" }.to_owned();
        if let Some(seconds) = threshold.aborted_at_seconds {
            outcome = format!("{outcome}: ended the run after {seconds:.0} s");
        }
        if let Some(reason) = &threshold.reason {
            outcome = format!("{outcome}: {reason}");
        }
        rows.add_row([threshold.expression.clone(), figure(threshold.value), figure(threshold.limit), outcome]);
    }
    table_text(&rows)
}
