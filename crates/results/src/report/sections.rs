//! What a report says in words and tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use experiment::{AccountingRecord, OperationRecord, Record};
use serde_json::Value;
use stats::Summary;

use super::charts;
use super::format::{NONE, Unit, count, escape, fixed, number, push, share, time};
use super::table::{Cell, Table};
use super::verdict::list;

/// Counters that are listed; the others are in the JSON.
const COUNTERS_MAX: usize = 150;

/// Below this everything in a table of latencies is told in microseconds.
const MICROSECONDS_MAX: f64 = 10_000.0;

/// The name of the run, on what, with what, and when.
pub(super) fn title(out: &mut String, record: &Record) {
    let workload = workload_name(record);
    push!(out, "<header><h1>{}</h1><p class=\"lead\">", escape(&record.name));
    push!(out, "{} on {}", escape(&workload), escape(&record.target.server));
    push!(out, " <code>{}</code></p>", escape(&record.target.url));
    push!(
        out,
        "<p class=\"dim\">{} to {} UTC · seed {} · run <code>{}</code></p></header>\n",
        record.started_at.strftime("%-d %B %Y, %H:%M:%S"),
        if record.started_at.strftime("%F").to_string() == record.ended_at.strftime("%F").to_string() {
            record.ended_at.strftime("%H:%M:%S").to_string()
        } else {
            record.ended_at.strftime("%-d %B %Y, %H:%M:%S").to_string()
        },
        record.seed,
        record.id
    );
}

/// The workload with its variant.
pub(super) fn workload_name(record: &Record) -> String {
    match &record.workload.variant {
        Some(variant) => format!("{} {variant}", record.workload.name),
        None => record.workload.name.clone(),
    }
}

/// The numbers that are asked for first.
pub(super) fn headline(out: &mut String, record: &Record) {
    let latency = &record.total.latency_us;
    let has_any = record.total.succeeded > 0;
    let figure = |value: f64| if has_any { Unit::Microseconds.text(value) } else { NONE.to_owned() };
    let ended = record.accounting.succeeded + record.accounting.failed;
    let cards = [
        (
            "throughput",
            format!("{}/s", number(record.throughput_per_second)),
            format!("over {}", time(record.duration_seconds)),
        ),
        ("p50", figure(latency.p50), "half were faster".to_owned()),
        ("p99", figure(latency.p99), "1 in 100 was slower".to_owned()),
        ("p99.9", figure(latency.p99_9), "1 in 1,000 was slower".to_owned()),
        ("max", figure(latency.max), "the slowest".to_owned()),
        ("errors", share(record.accounting.failed, ended), format!("{} operations", count(record.accounting.failed))),
    ];
    out.push_str("<section class=\"cards\">");
    for (name, value, note) in cards {
        push!(out, "<div><span>{name}</span><b>{}</b><small>{}</small></div>", escape(&value), escape(&note));
    }
    let AccountingRecord { scheduled, succeeded, failed, shed, unfinished } = record.accounting;
    push!(
        out,
        "</section><p class=\"sum\"><b>{}</b> scheduled = <b>{}</b> succeeded + <b>{}</b> failed + <b>{}</b> shed + <b>{}</b> unfinished</p>\n",
        count(scheduled),
        count(succeeded),
        count(failed),
        count(shed),
        count(unfinished)
    );
}

/// Every operation with its counts, errors and latencies.
pub(super) fn operations(out: &mut String, record: &Record) {
    out.push_str("<section><h2>Operations</h2>");
    operation_table(out, &record.operations, Some(&record.total), charts::is_open(record));
    out.push_str("</section>\n");
    if record.phases.len() > 1 {
        out.push_str("<section><details><summary>Operations by phase</summary>");
        for phase in &record.phases {
            push!(out, "<h3>{}</h3>", escape(&phase_name(&phase.name, phase.recorded)));
            operation_table(out, &phase.operations, Some(&phase.total), charts::is_open(record));
        }
        out.push_str("</details></section>\n");
    }
}

fn phase_name(name: &str, recorded: bool) -> String {
    if recorded { name.to_owned() } else { format!("{name} (not counted)") }
}

fn operation_table(out: &mut String, operations: &[OperationRecord], total: Option<&OperationRecord>, is_open: bool) {
    let rows: Vec<&OperationRecord> = operations.iter().chain(total.filter(|_| operations.len() != 1)).collect();
    let greatest = rows.iter().map(|row| row.latency_us.max).fold(0.0, f64::max);
    let (unit, size) = if greatest < MICROSECONDS_MAX { ("µs", 1.0) } else { ("ms", 1e3) };
    let headings = ["Operation", "Succeeded", "Failed"].map(str::to_owned);
    let kind = format!("In {unit}");
    let percentiles = ["mean", "p50", "p90", "p95", "p99", "p99.9", "max"].map(str::to_owned);
    let all: Vec<String> = headings.into_iter().chain([kind]).chain(percentiles).chain(["Errors".to_owned()]).collect();
    let mut table = Table::new(all.iter().map(String::as_str));
    for operation in rows {
        let errors: Vec<_> =
            operation.errors.iter().map(|(kind, number)| format!("{kind}\u{a0}{}", count(*number))).collect();
        let mut cells = vec![
            Cell::Text(operation.name.clone()),
            Cell::Figure(count(operation.succeeded)),
            Cell::Figure(count(operation.failed)),
            Cell::Text("latency".to_owned()),
        ];
        cells.extend(figures(&operation.latency_us, size));
        cells.push(Cell::Text(errors.join(", ")));
        table.row(cells);
        if is_open {
            for (name, summary) in [("service", &operation.service_time_us), ("queueing", &operation.queueing_time_us)]
            {
                let empty = || Cell::Text(String::new());
                let mut cells = vec![empty(), empty(), empty(), Cell::Text(name.to_owned())];
                cells.extend(figures(summary, size));
                cells.push(empty());
                table.row(cells);
            }
        }
    }
    table.write(out);
}

/// As many decimals as tell three digits, the same for neighbours of about the same size.
fn figures(summary: &Summary, size: f64) -> [Cell; 7] {
    let Summary { mean, p50, p90, p95, p99, p99_9, max } = *summary;
    [mean, p50, p90, p95, p99, p99_9, max].map(|value| {
        let value = value / size;
        let decimals = match value {
            small if small < 10.0 && size > 1.0 => 3,
            small if small < 100.0 => 2,
            medium if medium < 1000.0 => 1,
            _ => 0,
        };
        Cell::Figure(fixed(value, decimals))
    })
}

/// Where every operation of every phase went.
pub(super) fn accounting(out: &mut String, record: &Record) {
    let mut table = Table::new([
        "Phase",
        "Start",
        "Length",
        "Scheduled",
        "Succeeded",
        "Failed",
        "Shed",
        "Unfinished",
        "Per second",
        "p50",
        "p99",
    ]);
    for phase in &record.phases {
        let AccountingRecord { scheduled, succeeded, failed, shed, unfinished } = phase.accounting;
        let mut cells = vec![
            Cell::Text(phase_name(&phase.name, phase.recorded)),
            Cell::Figure(time(phase.start_seconds)),
            Cell::Figure(time(phase.duration_seconds)),
        ];
        cells.extend([scheduled, succeeded, failed, shed, unfinished].map(|value| Cell::Figure(count(value))));
        cells.push(Cell::Figure(number(phase.throughput_per_second)));
        let latency = &phase.total.latency_us;
        cells.extend([latency.p50, latency.p99].map(|value| Cell::Figure(Unit::Microseconds.text(value))));
        table.row(cells);
    }
    if !table.is_empty() {
        out.push_str("<section><h2>Phases</h2>");
        table.write(out);
        out.push_str("</section>\n");
    }
}

/// What the load generator and the server's processes used over the whole run.
pub(super) fn used(out: &mut String, record: &Record) {
    let (generator, server) = (&record.generator, &record.server);
    let lateness = &generator.lateness_us;
    let microseconds = |value: f64| Unit::Microseconds.text(value);
    let mut table = Table::new(["Used", "Figure"]);
    let mut row = |name: &str, value: String| table.row(vec![Cell::Text(name.to_owned()), Cell::Figure(value)]);
    row("processor time", format!("{} s", number(generator.cpu_seconds)));
    row("processor time an operation", microseconds(generator.cpu_us_per_operation));
    row("share of the processors of its workers", format!("{} %", number(generator.cpu_share * 100.0)));
    row("greatest resident memory", Unit::Bytes.text(generator.max_rss_bytes as f64));
    row("context switches", count(generator.context_switches));
    row("send lateness p50", microseconds(lateness.p50));
    row("send lateness p99", microseconds(lateness.p99));
    row("send lateness max", microseconds(lateness.max));
    row("harness floor", microseconds(generator.harness_floor_us));
    row("workers", count(u64::from(generator.workers)));
    row("connections waited for by", generator.io.clone());
    row("connections made again", count(generator.reconnects));
    row("attempts at it that failed", count(generator.connects_failed));
    let recovery = &record.recovery;
    if generator.reconnects > 0 {
        row("longest that a session was without a connection", format!("{} s", number(recovery.session_seconds_max)));
    }
    if let Some(start) = recovery.longest_start_seconds {
        row("times that nobody answered", count(recovery.outages));
        row("longest of them", format!("{} s", number(recovery.longest_seconds)));
        row("from, since the start", format!("{} s", number(start)));
    }
    if let Some(seconds) = server.cpu_seconds {
        row("processor time of the server", format!("{} s", number(seconds)));
    }
    if let Some(bytes) = server.max_rss_bytes {
        row("greatest resident memory of the server", Unit::Bytes.text(bytes as f64));
    }
    table.write(out);
}

/// Error messages, the most frequent first.
pub(super) fn errors(out: &mut String, record: &Record) {
    if record.error_messages.is_empty() {
        return;
    }
    let mut messages: Vec<_> = record.error_messages.iter().collect();
    messages.sort_by_key(|message| std::cmp::Reverse(message.count));
    let mut table = Table::new(["Kind", "Count", "Message"]);
    for message in messages {
        table.row(vec![
            Cell::Text(message.kind.clone()),
            Cell::Figure(count(message.count)),
            Cell::Text(message.message.clone()),
        ]);
    }
    out.push_str("<section><h2>Errors</h2>");
    table.write(out);
    out.push_str("</section>\n");
}

/// The server's own counters, its settings, and what could not be read.
pub(super) fn server(out: &mut String, record: &Record) {
    let server = &record.server;
    let mut counters: Vec<_> = server.counters.iter().filter(|(_, delta)| delta.abs() > 0.0).collect();
    counters.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    if !counters.is_empty() {
        let (changed, all) = (counters.len(), server.counters.len());
        push!(
            out,
            "<section><details><summary>Counters of the server <small>{changed} of {all} changed, the largest first</small></summary>"
        );
        let seconds = record.phases.iter().map(|phase| phase.duration_seconds).sum::<f64>();
        let mut table = Table::new(["Counter", "Change", "Per second"]);
        for (name, delta) in counters.into_iter().take(COUNTERS_MAX) {
            let rate = if seconds > 0.0 { number(delta / seconds) } else { NONE.to_owned() };
            table.row(vec![Cell::Code(name.clone()), Cell::Figure(number(*delta)), Cell::Figure(rate)]);
        }
        table.write(out);
        out.push_str("</details></section>\n");
    }
    pairs(out, "Settings of the server", &server.settings);
    if !server.missing.is_empty() {
        out.push_str("<section><h3>Figures that could not be read</h3>");
        list(out, &server.missing);
        out.push_str("</section>\n");
    }
}

/// Load and parameters, host and versions: what is needed to repeat the run.
pub(super) fn circumstances(out: &mut String, record: &Record) {
    let mut load = BTreeMap::new();
    flatten("", &serde_json::to_value(&record.load).unwrap_or_default(), &mut load);
    pairs(out, "Load", &load);
    let mut parameters = BTreeMap::new();
    for (name, value) in &record.workload.parameters {
        flatten(name, value, &mut parameters);
    }
    pairs(out, "Parameters of the workload", &parameters);
    let mut provenance = BTreeMap::from([
        ("storelab".to_owned(), record.provenance.storelab.clone()),
        ("server".to_owned(), record.target.server.clone()),
        ("driver".to_owned(), record.target.driver.clone()),
        ("seed".to_owned(), record.seed.to_string()),
    ]);
    flatten("host", &record.provenance.host, &mut provenance);
    pairs(out, "Provenance", &provenance);
    let mut host = BTreeMap::new();
    flatten("", &record.host, &mut host);
    pairs(out, "Host during the run", &host);
}

fn pairs(out: &mut String, heading: &str, pairs: &BTreeMap<String, String>) {
    if pairs.is_empty() {
        return;
    }
    push!(out, "<section><details open><summary>{}</summary><dl>", escape(heading));
    for (name, value) in pairs {
        push!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    out.push_str("</dl></details></section>\n");
}

/// Nested values as `outer.inner` with a text.
pub(super) fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    let inner = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Null => {}
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(&inner(key), value, into)),
        Value::Array(values) if values.iter().any(|value| value.is_object() || value.is_array()) => {
            values.iter().enumerate().for_each(|(place, value)| flatten(&inner(&(place + 1).to_string()), value, into));
        }
        Value::Array(values) => {
            into.insert(name.to_owned(), values.iter().map(plain).collect::<Vec<_>>().join(", "));
        }
        scalar => {
            into.insert(name.to_owned(), plain(scalar));
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
