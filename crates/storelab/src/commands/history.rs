//! `storelab history`: one metric over many runs, and where it changed for good.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use experiment::{ChangePoint, HISTORY_RUNS_MAX, History, HistoryMethod, HistoryMetric, HistoryPoint};
use results::HistoryQuery;

use super::run::write_file;
use crate::exit::Exit;
use crate::sparkline::sparkline;
use crate::terminal::{data, json, microseconds, table, table_text, thousands};

/// Letters of the line that shows the series: with its indentation it fits an old terminal.
const LINE_LETTERS_MAX: usize = 76;

/// What `storelab history` takes.
#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// The runs' name; or one of them by its id or the end of it, or `last`.
    pub(crate) name: String,

    /// Of what: `p99`, `p99.9(read)`, `mean`, `max`, `rate(read)`, `errors` …, of an operation or of all together.
    #[arg(long, value_name = "M", default_value = "p99")]
    pub(crate) metric: String,

    /// The newest runs, at most so many.
    #[arg(long, value_name = "N", default_value_t = HISTORY_RUNS_MAX)]
    pub(crate) limit: usize,

    /// Count runs too that are invalid, or whose data were found wrong.
    #[arg(long)]
    pub(crate) all: bool,

    /// The smallest change that counts: `1%`.
    #[arg(long, value_name = "SHARE", default_value = "0%", value_parser = share)]
    pub(crate) min_change: f64,

    /// How change points are found.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) method: MethodArgument,

    /// Write a report to this file: one HTML file that needs nothing else.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// As JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum MethodArgument {
    /// In windows, with Student's t-test: Hunter's, which gives what Apache Otava gives.
    #[default]
    Hunter,
    /// Over all, with a permutation test: Matteson and James's, which assumes no distribution; the newest 1,000 runs at
    /// most.
    EDivisive,
}

impl From<MethodArgument> for HistoryMethod {
    fn from(argument: MethodArgument) -> Self {
        match argument {
            MethodArgument::Hunter => Self::Hunter,
            MethodArgument::EDivisive => Self::EDivisive,
        }
    }
}

pub(crate) fn run(arguments: &HistoryArguments, store: Option<&str>) -> anyhow::Result<Exit> {
    let metric: HistoryMetric = arguments.metric.parse()?;
    let query = HistoryQuery {
        metric: metric.clone(),
        limit: arguments.limit,
        all: arguments.all,
        method: arguments.method.into(),
        change_min: arguments.min_change,
    };
    let history = super::open(store)?.history(&arguments.name, &query)?;
    if let Some(path) = &arguments.report {
        write_file("report", path, &results::report::history(&history))?;
    }
    if arguments.json {
        json(&history)?;
    } else {
        data(&text(&history, metric.more_is_better()));
    }
    Ok(Exit::Ok)
}

/// The history in a line of block letters and a table.
fn text(history: &History, more_is_better: bool) -> String {
    let History { name, metric, unit, points, change_points, method, notes, .. } = history;
    let mut head = format!("{metric} of {name}: {}", counted(points.len(), "run"));
    let mut lines = Vec::new();
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        let day = |point: &HistoryPoint| point.started_at.strftime("%Y-%m-%d").to_string();
        head = format!("{head}, {} to {}", day(first), day(last));
        let values: Vec<_> = points.iter().map(|point| point.value).collect();
        let marks: Vec<_> = change_points.iter().map(|point| point.index).collect();
        let (line, below) = sparkline(&values, &marks, LINE_LETTERS_MAX);
        lines.extend([String::new(), format!("  {line}")]);
        lines.extend((!below.is_empty()).then(|| format!("  {below}")));
        let bound = |pick: fn(f64, f64) -> f64| figure(values.iter().copied().reduce(pick).unwrap_or_default(), unit);
        let runs_a_block = values.len() as f64 / LINE_LETTERS_MAX as f64;
        let each = (runs_a_block > 1.0).then(|| format!(", a block is the mean of {runs_a_block:.1} runs"));
        lines.push(format!("  {} to {}{}", bound(f64::min), bound(f64::max), each.unwrap_or_default()));
    }
    lines.push(format!("\n{} ({method})", counted(change_points.len(), "change point")));
    if !change_points.is_empty() {
        lines.push(change_points_table(history, more_is_better));
    }
    lines.extend(notes.iter().map(|note| format!("  note: {note}")));
    lines.insert(0, head);
    lines.join("\n")
}

fn change_points_table(history: &History, more_is_better: bool) -> String {
    let mut rows = table(["INDEX", "STARTED", "RUN", "BEFORE", "AFTER", "CHANGE", "", "P"]);
    for change_point in &history.change_points {
        let ChangePoint { index, before, after, change, p_value } = *change_point;
        let Some(point) = history.points.get(index) else { continue };
        rows.add_row([
            index.to_string(),
            point.started_at.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            results::short_id(point.run),
            figure(before, &history.unit),
            figure(after, &history.unit),
            if before == 0.0 { "from nothing".to_owned() } else { format!("{:+.1} %", change * 100.0) },
            match (change_point.is_significant(), (after > before) == more_is_better) {
                (false, _) => "not significant",
                (true, true) => "better",
                (true, false) => "worse",
            }
            .to_owned(),
            if p_value < 1e-4 { "<0.0001".to_owned() } else { format!("{p_value:.4}") },
        ]);
    }
    table_text(&rows)
}

/// A value in the unit that reads best.
fn figure(value: f64, unit: &str) -> String {
    match unit {
        "us" => microseconds(value),
        "/s" if value >= 100.0 => format!("{}/s", thousands(value.round() as u64)),
        "/s" => format!("{value:.2}/s"),
        "%" => format!("{value:.3} %"),
        _ => format!("{value}"),
    }
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        0 => format!("no {noun}s"),
        1 => format!("1 {noun}"),
        many => format!("{} {noun}s", thousands(many as u64)),
    }
}

/// `1%` as a share of one.
fn share(text: &str) -> Result<f64, String> {
    let percent = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if percent.is_finite() && percent >= 0.0 => Ok(percent / 100.0),
        _ => Err("write a share in per cent: 1%".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_reads_well() {
        let point = |place: u32| HistoryPoint {
            run: uuid::Uuid::from_u128(u128::from(place)),
            started_at: format!("2026-03-{:02}T10:00:00Z", place + 1).parse().expect("a time"),
            server: "PostgreSQL 15.18".to_owned(),
            value: if place < 12 { 1000.0 } else { 2000.0 } + f64::from(place % 3),
        };
        let metric = "p99(read)".parse().expect("a metric");
        let points: Vec<_> = (0..24).map(point).collect();
        let notes = vec!["1 run left out: invalid (--all takes such in)".to_owned()];
        let history = History::of("nightly", &metric, points, HistoryMethod::Hunter, 0.0, notes);
        let expect = "\
p99(read) of nightly: 24 runs, 2026-03-01 to 2026-03-24

  ▁▁▁▁▁▁▁▁▁▁▁▁████████████
              ▲
  1.00 ms to 2.00 ms

1 change point (E-divisive in windows of 50 runs, Student's t-test, p < 0.001 (Hunter))
 INDEX  STARTED              RUN       BEFORE   AFTER    CHANGE          P
 12     2026-03-13 10:00:00  0000000c  1.00 ms  2.00 ms  +99.9 %  worse  <0.0001
  note: 1 run left out: invalid (--all takes such in)";
        assert_eq!(text(&history, metric.more_is_better()), expect);
    }

    #[test]
    fn shares_are_in_per_cent() {
        for (text, expect) in
            [("1%", Some(0.01)), (" 0.5 % ", Some(0.005)), ("0%", Some(0.0)), ("1", None), ("-1%", None), ("x%", None)]
        {
            assert_eq!(share(text).ok(), expect, "{text}");
        }
    }
}
