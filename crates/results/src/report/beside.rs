//! Several runs side by side on one page: a row of figures and a line in each chart for every run.
//!
//! It shows and does not judge: whether a difference is one is a comparison's business, and different stores do
//! different amounts of work for the same verb.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use experiment::{HistogramRecord, Metric, Record};
use stats::{Histogram, Keep, Series, downsampled};

use super::axis::Axis;
use super::chart::{Chart, Line, Look, Weight};
use super::charts::{self, Curves};
use super::format::{NONE, Unit, count, escape, number, push, share, time};
use super::page;
use super::sections::{self, flatten};
use super::table::{Cell, Table};

/// A run with all that is drawn of it.
#[derive(Debug)]
pub struct Drawn {
    /// What is known of it.
    pub record: Record,
    /// Its seconds.
    pub series: Series,
    /// Its latencies.
    pub histograms: Vec<HistogramRecord>,
}

/// The report of several runs.
pub fn side_by_side(runs: &[Drawn]) -> String {
    let names: Vec<_> = runs.iter().map(|run| run.record.name.as_str()).collect();
    let mut out = page::head(&format!("{} · Storelab", names.join(" · ")));
    push!(out, "<header><h1>{} runs side by side</h1>", runs.len());
    out.push_str(
        "<p class=\"lead\">Figures of each run as it was measured. The same verb is not the same work in every store: \
         read what each run's server was asked to promise (durability, consistency, indexes) before its numbers.</p></header>\n",
    );
    out.push_str("<section><h2>Figures</h2>");
    figures(runs).write(&mut out);
    out.push_str(
        "<p class=\"dim\">CPU is processor time an operation: of Storelab (client) and of the server's processes.</p></section>\n",
    );
    for chart in [percentiles(runs), throughput(runs)].into_iter().flatten() {
        chart.write(&mut out);
    }
    out.push_str("<section><h2>Where they were measured</h2>");
    places(runs).write(&mut out);
    out.push_str("</section>\n");
    differences(&mut out, runs);
    let records: Vec<_> = runs.iter().map(|run| &run.record).collect();
    page::foot(&mut out, &records);
    out
}

pub(super) fn figures(runs: &[Drawn]) -> Table {
    let mut table = Table::new([
        "Run",
        "Throughput",
        "p50",
        "p95",
        "p99",
        "max",
        "Errors",
        "Client CPU",
        "Server CPU",
        "Server memory",
        "Valid",
        "Data",
    ]);
    for Drawn { record, .. } in runs {
        let latency = &record.total.latency_us;
        let ended = record.accounting.succeeded + record.accounting.failed;
        let figure = |value: f64| {
            Cell::Figure(if record.total.succeeded > 0 { Unit::Microseconds.text(value) } else { NONE.to_owned() })
        };
        let server_cpu = record.server.cpu_seconds.filter(|_| ended > 0);
        let mark = |holds: bool| Cell::State(if holds { "✓ yes" } else { "✗ no" });
        table.row(vec![
            Cell::Text(record.name.clone()),
            Cell::Figure(format!("{}/s", number(record.throughput_per_second))),
            figure(latency.p50),
            figure(latency.p95),
            figure(latency.p99),
            figure(latency.max),
            Cell::Figure(share(record.accounting.failed, ended)),
            Cell::Figure(Unit::Microseconds.text(record.generator.cpu_us_per_operation)),
            Cell::Figure(
                server_cpu
                    .map_or_else(|| NONE.to_owned(), |seconds| Unit::Microseconds.text(seconds * 1e6 / ended as f64)),
            ),
            Cell::Figure(
                record.server.max_rss_bytes.map_or_else(|| NONE.to_owned(), |bytes| Unit::Bytes.text(bytes as f64)),
            ),
            mark(record.verdict.valid),
            mark(record.verification.passed),
        ]);
    }
    table
}

/// Colour and dashes of a run's line; with more runs than colours the dashes tell them apart.
fn look_of(place: usize) -> Look {
    Look { colour: (place % 7 + 1) as u8, dashes: (place / 7 % 5) as u8, weight: Weight::Normal }
}

fn percentiles(runs: &[Drawn]) -> Option<Chart> {
    let of_run = |run: &Drawn| (run.record.name.clone(), latencies(run));
    curves("of the recorded phases, all operations of a run together", runs.iter().map(of_run))
}

/// The latencies of a run's recorded phases, all operations together.
pub(super) fn latencies(run: &Drawn) -> Histogram {
    let curves = Curves::of(&run.record, &run.histograms);
    charts::sum(curves.merged(Metric::Latency).values())
}

/// Percentile curves over each other, one for each name.
pub(super) fn curves(note: &str, of: impl Iterator<Item = (String, Histogram)>) -> Option<Chart> {
    let mut lines = Vec::new();
    let mut most = 1;
    for (place, (name, total)) in of.enumerate().filter(|(_, (_, total))| !total.is_empty()) {
        most = most.max(total.count());
        lines.push(Line { name, look: look_of(place), points: charts::curve(&total), is_labelled: true });
    }
    let values = || lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, y)| *y)).filter(|y| *y > 0.0);
    let least = values().fold(f64::INFINITY, f64::min);
    if !least.is_finite() {
        return None;
    }
    let y = Axis::log(Unit::Microseconds, least, values().fold(0.0, f64::max));
    let x = Axis::nines((most as f64).log10().max(1.0));
    Some(Chart::new("Latency by percentile", note.to_owned(), x, y, lines))
}

pub(super) fn throughput(runs: &[Drawn]) -> Option<Chart> {
    let end = runs.iter().map(|run| charts::end_seconds(&run.record, &run.series)).fold(0.0, f64::max);
    let lines: Vec<_> = runs
        .iter()
        .enumerate()
        .filter(|(_, run)| !run.series.is_empty())
        .map(|(place, run)| {
            let own_end = charts::end_seconds(&run.record, &run.series);
            let points = charts::whole_seconds(run.series.points(|second| Some(second.succeeded as f64)), own_end);
            let points = downsampled(points, charts::POINTS_MAX, Keep::Extremes);
            Line { name: run.record.name.clone(), look: look_of(place), points, is_labelled: true }
        })
        .collect();
    if lines.is_empty() {
        return None;
    }
    let greatest = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, y)| *y)).fold(0.0, f64::max);
    let note = "operations that succeeded in each second since the start of each run".to_owned();
    let (x, y) = (Axis::time(end, 10.0), Axis::linear(Unit::PerSecond, greatest, 5.0));
    Some(Chart::new("Throughput over time", note, x, y, lines))
}

pub(super) fn places(runs: &[Drawn]) -> Table {
    let mut table = Table::new(["Run", "Workload", "Server", "Target", "Started", "Length", "Operations"]);
    for Drawn { record, .. } in runs {
        table.row(vec![
            Cell::Text(record.name.clone()),
            Cell::Text(sections::workload_name(record)),
            Cell::Text(record.target.server.clone()),
            Cell::Code(record.target.url.clone()),
            Cell::Text(record.started_at.strftime("%F %T").to_string()),
            Cell::Figure(time(record.duration_seconds)),
            Cell::Figure(count(record.accounting.succeeded)),
        ]);
    }
    table
}

/// Load, parameters and host, as far as the runs do not agree.
fn differences(out: &mut String, runs: &[Drawn]) {
    let circumstances: Vec<BTreeMap<String, String>> = runs
        .iter()
        .map(|Drawn { record, .. }| {
            let mut all = BTreeMap::new();
            flatten("load", &serde_json::to_value(&record.load).unwrap_or_default(), &mut all);
            for (name, value) in &record.workload.parameters {
                flatten(&format!("workload.{name}"), value, &mut all);
            }
            flatten("host", &record.provenance.host, &mut all);
            all.insert("storelab".to_owned(), record.provenance.storelab.clone());
            all
        })
        .collect();
    let names: std::collections::BTreeSet<&String> = circumstances.iter().flat_map(BTreeMap::keys).collect();
    let mut headings = vec!["Differs in"];
    headings.extend(runs.iter().map(|run| run.record.name.as_str()));
    let mut table = Table::new(headings);
    for name in names {
        let mut values = circumstances.iter().map(|all| all.get(name).map_or("", String::as_str));
        let first = values.next().unwrap_or_default();
        if values.any(|value| value != first) {
            let mut cells = vec![Cell::Code(name.clone())];
            cells.extend(circumstances.iter().map(|all| Cell::Text(all.get(name).cloned().unwrap_or_default())));
            table.row(cells);
        }
    }
    out.push_str("<section><details open><summary>What else differs</summary>");
    if table.is_empty() {
        push!(out, "<p>{}</p>", escape("Nothing: load, parameters and host are the same."));
    } else {
        table.write(out);
    }
    out.push_str("</details></section>\n");
}
