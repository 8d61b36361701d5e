//! The page: its head, its sections in order, the record as JSON.

use std::fmt::Write as _;

use experiment::{HistogramRecord, Record};
use serde::Serialize;

use super::format::{escape, push};
use super::profiles::{self, Picture};
use super::{charts, knee, prometheus, resources, sections, verdict};
use stats::Series;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Forbids the page to fetch anything, whatever a name or an error message in it may say.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// The page up to where its contents begin.
pub(super) fn head(title: &str) -> String {
    let mut out = String::with_capacity(256 * 1024);
    push!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><link rel=\"icon\" href=\"data:,\">\
         <title>{}</title>\n<style>{STYLE}</style></head>\n<body><main>\n",
        escape(title)
    );
    out
}

/// The page from where its contents end: what it shows as JSON, and the script.
pub(super) fn foot(out: &mut String, shown: &impl Serialize) {
    out.push_str("</main>\n<script type=\"application/json\" id=\"record\">");
    out.push_str(&json(shown));
    push!(out, "</script>\n<script>{SCRIPT}</script>\n</body></html>\n");
}

pub(super) fn render(record: &Record, series: &Series, histograms: &[HistogramRecord], pictures: &[Picture]) -> String {
    let mut out = head(&format!("{} · {} · Storelab", record.name, sections::workload_name(record)));
    sections::title(&mut out, record);
    verdict::words(&mut out, record);
    sections::headline(&mut out, record);
    verdict::thresholds(&mut out, record);
    verdict::validity(&mut out, record);
    let large = [
        charts::percentiles(record, histograms),
        charts::latency_over_time(record, series),
        charts::throughput_over_time(record, series),
    ];
    for chart in large.into_iter().flatten() {
        chart.write(&mut out);
    }
    knee::section(&mut out, record);
    sections::operations(&mut out, record);
    sections::accounting(&mut out, record);
    verdict::verification(&mut out, record);
    write_resources(&mut out, record, series);
    prometheus::section(&mut out, record, series);
    profiles::section(&mut out, record, pictures);
    sections::errors(&mut out, record);
    sections::server(&mut out, record);
    sections::circumstances(&mut out, record);
    foot(&mut out, record);
    out
}

fn write_resources(out: &mut String, record: &Record, series: &Series) {
    out.push_str("<section><h2>Resources</h2><div class=\"grid2\">");
    for chart in resources::charts(record, series) {
        chart.write(out);
    }
    out.push_str("</div>");
    sections::used(out, record);
    out.push_str("</section>\n");
}

/// A record as JSON that cannot end its element: `<` is only ever inside strings, where it may be written as an escape.
fn json(shown: &impl Serialize) -> String {
    serde_json::to_string(shown).map_or_else(|_| "null".to_owned(), |json| json.replace('<', "\\u003c"))
}
