//! The page of a history: one metric over many runs, where it changed for good, and by how much.

use std::fmt::Write as _;

use experiment::{ChangePoint, History, HistoryPoint};
use serde::Serialize;
use stats::{Keep, downsampled};

use super::axis::{Axis, Scale, Tick};
use super::chart::{Chart, Line, Look, Mark, Weight};
use super::charts::POINTS_MAX;
use super::format::{Unit, count, escape, push};
use super::page;
use super::table::{Cell, Table};
use super::verdict::{counted, list};

/// Runs that are listed, the newest; all are in the results store.
const LISTED_MAX: usize = 30;

/// Runs that the page holds as JSON, the newest: more would be most of the page.
const EMBEDDED_MAX: usize = 1_000;

/// Dates on the axis that fit a page.
const DATES: usize = 8;

/// What the page holds as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    /// The place in `history.points` as a whole of the first that is here; indices of change points count from 0 all the same.
    first_index: usize,
    points: &'a [HistoryPoint],
    name: &'a str,
    metric: &'a str,
    unit: &'a str,
    change_points: &'a [ChangePoint],
    notes: &'a [String],
}

/// The page of a history.
pub fn history(history: &History) -> String {
    let History { name, metric, unit, points, change_points, notes, .. } = history;
    let mut out = page::head(&format!("{metric} of {name} · Storelab"));
    push!(out, "<header><h1>{} of {}</h1>", escape(metric), escape(name));
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        push!(out, "<p class=\"lead\">{} from {} to {}</p>", counted(points.len(), "run"), date(first), date(last));
    }
    out.push_str("</header>\n");
    verdict(&mut out, history);
    if let Some(chart) = chart(history) {
        chart.write(&mut out);
    }
    changes(&mut out, history);
    newest(&mut out, history);
    let first_index = points.len().saturating_sub(EMBEDDED_MAX);
    let points = &points[first_index..];
    page::foot(&mut out, &Shown { first_index, points, name, metric, unit, change_points, notes });
    out
}

fn date(point: &HistoryPoint) -> String {
    point.started_at.strftime("%-d %B %Y").to_string()
}

/// A change as percent with its sign.
fn percent(change: f64) -> String {
    let sign = if change < 0.0 { "−" } else { "+" };
    format!("{sign}{}", Unit::Percent.text(change.abs() * 100.0))
}

fn verdict(out: &mut String, history: &History) {
    let unit = Unit::of(&history.unit);
    let (class, sign) = if history.change_points.is_empty() { ("same", "=") } else { ("warn", "◆") };
    push!(out, "<section class=\"verdict {class}\"><h2><span aria-hidden=\"true\">{sign}</span> ");
    match history.change_points.last() {
        None => out.push_str("No change for good</h2><p>All runs are of one level, as far as can be told.</p>"),
        Some(last) => {
            let times = history.change_points.len();
            let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
            push!(out, "Changed for good {times}</h2><p>Last ");
            if let Some(point) = history.points.get(last.index) {
                push!(out, "with the run of {}, ", date(point));
            }
            push!(
                out,
                "from {} to {} ({}).</p>",
                escape(&unit.text(last.before)),
                escape(&unit.text(last.after)),
                escape(&percent(last.change))
            );
        }
    }
    list(out, &history.notes);
    out.push_str("</section>\n");
}

fn chart(history: &History) -> Option<Chart> {
    let values = || history.points.iter().map(|point| point.value).filter(|value| value.is_finite());
    let least = values().fold(f64::INFINITY, f64::min);
    if !least.is_finite() {
        return None;
    }
    let number = |index: usize| index as f64 + 1.0;
    let measured = history.points.iter().enumerate().map(|(index, point)| (number(index), Some(point.value)));
    let measured = downsampled(measured.collect(), POINTS_MAX, Keep::Extremes);
    let mut lines = vec![Line {
        name: history.metric.clone(),
        look: Look { colour: 1, dashes: 0, weight: Weight::Light },
        points: measured,
        is_labelled: true,
    }];
    let levels = levels(history);
    if !levels.is_empty() {
        let look = Look { colour: 2, dashes: 0, weight: Weight::Heavy };
        lines.push(Line { name: "level".to_owned(), look, points: levels, is_labelled: true });
    }
    let y = Axis::between(Unit::of(&history.unit), least, values().fold(0.0, f64::max), 5.0);
    let note = if history.points.len() > POINTS_MAX {
        format!("run by run, the least and the greatest of every {}", history.points.len().div_ceil(POINTS_MAX / 2))
    } else {
        "run by run".to_owned()
    };
    let marks = history
        .change_points
        .iter()
        .map(|change| Mark { name: percent(change.change), at: number(change.index) - 0.5 });
    let marks = marks.collect();
    Some(Chart { marks, ..Chart::new(&history.metric, note, axis_of_runs(&history.points), y, lines) })
}

/// The means between changes, as steps.
fn levels(history: &History) -> stats::Points {
    let mut points = Vec::new();
    let mut from = 0.5;
    for change in &history.change_points {
        let at = change.index as f64 + 0.5;
        points.extend([(from, Some(change.before)), (at, Some(change.before))]);
        from = at;
    }
    if let Some(last) = history.change_points.last() {
        points.extend([(from, Some(last.after)), (history.points.len() as f64 + 0.5, Some(last.after))]);
    }
    points
}

/// The runs by their number, labelled by their dates.
fn axis_of_runs(points: &[HistoryPoint]) -> Axis {
    let (from, to) = (0.5, points.len() as f64 + 0.5);
    let every = points.len().div_ceil(DATES).max(1);
    let mut said = String::new();
    let mut ticks = Vec::new();
    for (place, (index, point)) in points.iter().enumerate().step_by(every).enumerate() {
        let date = point.started_at.strftime("%F").to_string();
        // Several runs of a day share its label.
        let label = if date == said { String::new() } else { date.clone() };
        said = date;
        ticks.push(Tick { place: (index as f64 + 1.0 - from) / (to - from), label, is_minor: place % 3 != 0 });
    }
    Axis { scale: Scale::Linear, unit: Unit::Count, from, to, ticks }
}

fn changes(out: &mut String, history: &History) {
    let unit = Unit::of(&history.unit);
    let mut table = Table::new(["First run after the change", "Number", "Before", "After", "Change", "p", "Server"]);
    for change in &history.change_points {
        let Some(point) = history.points.get(change.index) else { continue };
        let before = change.index.checked_sub(1).and_then(|index| history.points.get(index));
        let server = match before {
            Some(before) if before.server != point.server => format!("{} → {}", before.server, point.server),
            _ => point.server.clone(),
        };
        table.row(vec![
            Cell::Text(point.started_at.strftime("%F %H:%M").to_string()),
            Cell::Figure(count(change.index as u64 + 1)),
            Cell::Figure(unit.text(change.before)),
            Cell::Figure(unit.text(change.after)),
            Cell::Figure(percent(change.change)),
            Cell::Figure(if change.p_value < 0.001 { "< 0.001".to_owned() } else { format!("{:.3}", change.p_value) }),
            Cell::Text(server),
        ]);
    }
    if !table.is_empty() {
        out.push_str("<section><h2>Changes</h2>");
        table.write(out);
        out.push_str("</section>\n");
    }
}

fn newest(out: &mut String, history: &History) {
    let unit = Unit::of(&history.unit);
    let mut table = Table::new(["Started", "Number", &history.metric, "Server", "Run"]);
    for (index, point) in history.points.iter().enumerate().rev().take(LISTED_MAX) {
        table.row(vec![
            Cell::Text(point.started_at.strftime("%F %H:%M").to_string()),
            Cell::Figure(count(index as u64 + 1)),
            Cell::Figure(unit.text(point.value)),
            Cell::Text(point.server.clone()),
            Cell::Code(point.run.to_string()),
        ]);
    }
    if !table.is_empty() {
        push!(out, "<section><h2>The newest {}</h2>", counted(history.points.len().min(LISTED_MAX), "run"));
        table.write(out);
        out.push_str("</section>\n");
    }
}
