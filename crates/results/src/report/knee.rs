//! The search for the greatest load that keeps a condition: the curve, where the knee lies, and each load that was tried.

use std::fmt::Write as _;

use experiment::{Dimension, Record, ScalabilityRecord, SearchPoint, SearchRecord, Span, Stage};

use super::axis::Axis;
use super::chart::{Band, BandKind, Chart, Dot, Line, Look, Shape, Weight};
use super::format::{NONE, Unit, count, escape, number, push, time};
use super::table::{Cell, Table};
use super::verdict::list;

/// A range of loads wider than this is shown by its logarithm.
const LINEAR_RANGE_MAX: f64 = 8.0;

/// Points of the curve of a law: as fine as a page shows.
const CURVE_POINTS: u32 = 120;

/// The section, where a load was searched for.
pub(super) fn section(out: &mut String, record: &Record) {
    let Some(search) = &record.search else { return };
    let what = match search.dimension {
        Dimension::Rate => "rate",
        Dimension::Sessions => "number of sessions",
    };
    push!(out, "<section><h2>The greatest {what} that keeps <code>{}</code></h2>", escape(&search.condition));
    push!(out, "<p>{}</p>", escape(&in_words(search)));
    list(out, &search.notes);
    out.push_str("</section>\n");
    if let Some(chart) = latency(search) {
        chart.write(out);
    }
    if let Some(law) = &search.scalability {
        throughput(search, law).write(out);
        scalability(out, law);
    }
    out.push_str("<section><details><summary>Loads that were tried</summary>");
    points(search).write(out);
    out.push_str("</details></section>\n");
}

fn load_text(dimension: Dimension, load: f64) -> String {
    match dimension {
        Dimension::Rate => Unit::PerSecond.text(load),
        Dimension::Sessions if load.round() as u64 == 1 => "1 session".to_owned(),
        Dimension::Sessions => format!("{} sessions", count(load.round() as u64)),
    }
}

fn in_words(search: &SearchRecord) -> String {
    let text = |load| load_text(search.dimension, load);
    let Some(found) = search.found else {
        return "Not even the least load that was tried keeps the condition.".to_owned();
    };
    let mut said = format!("The knee is at {}", text(search.knee.unwrap_or(found)));
    match search.interval {
        Some([from, to]) if to > from => push!(said, ": it lies between {} and {}", text(from), text(to)),
        Some(_) => {}
        None => said.push_str(" or beyond: no load that was tried broke the condition"),
    }
    push!(said, ". {} kept the condition", text(found));
    said.push_str(if search.confirmed { " in a longer run too." } else { ", but in no longer run." });
    if let Some(share) = search.share {
        push!(
            said,
            " The figures of this page are of a run at {} of that, {}.",
            Unit::Percent.tick(share * 100.0),
            text(found * share)
        );
    }
    said
}

/// The limit of a condition on a latency, in microseconds.
fn limit_us(condition: &str) -> Option<f64> {
    let (_, limit) = condition.split_once(['<', '>'])?;
    let span: Span = limit.trim_start_matches('=').trim().parse().ok()?;
    Some(span.0.as_secs_f64() * 1e6)
}

fn axis_of_loads(search: &SearchRecord, greatest: f64) -> Axis {
    let unit = match search.dimension {
        Dimension::Rate => Unit::PerSecond,
        Dimension::Sessions => Unit::Count,
    };
    let least = search.points.iter().map(|point| point.load).fold(f64::INFINITY, f64::min);
    if least > 0.0 && greatest / least > LINEAR_RANGE_MAX {
        Axis::log(unit, least, greatest)
    } else {
        Axis::linear(unit, greatest, 8.0)
    }
}

fn greatest_load(search: &SearchRecord) -> f64 {
    search.points.iter().map(|point| point.load).fold(0.0, f64::max)
}

/// Where the knee lies, as a band.
fn interval(search: &SearchRecord) -> Vec<Band> {
    let band = |[from, to]: [f64; 2]| Band { name: "knee".to_owned(), from, to, kind: BandKind::Interval };
    search.interval.map(band).into_iter().collect()
}

/// What each point is, by its shape: why it was tried, and a cross where the condition broke.
fn shape_of(point: &SearchPoint) -> Shape {
    match point.stage {
        _ if !point.kept => Shape::Cross,
        Stage::Coarse => Shape::Circle,
        Stage::Bisection => Shape::Diamond,
        Stage::Confirmation => Shape::Disc,
    }
}

/// What a line is called, how it looks, and its figure of a point.
type Figure = (&'static str, Look, fn(&SearchPoint) -> f64);

fn latency(search: &SearchRecord) -> Option<Chart> {
    const FIGURES: [Figure; 2] = [
        ("p99", Look { colour: 2, dashes: 0, weight: Weight::Normal }, |point| point.latency_us_p99),
        ("p50", Look { colour: 1, dashes: 1, weight: Weight::Normal }, |point| point.latency_us_p50),
    ];
    let mut measured: Vec<_> = search.points.iter().filter(|point| point.latency_us_p99 > 0.0).collect();
    measured.sort_by(|a, b| a.load.total_cmp(&b.load));
    let greatest = greatest_load(search);
    let x = axis_of_loads(search, greatest);
    let (mut lines, mut dots) = (Vec::new(), Vec::new());
    for (name, look, figure) in FIGURES {
        // A load that was tried again is a dot beside the line.
        let on_line = measured.iter().filter(|point| point.stage != Stage::Confirmation);
        let points = on_line.map(|point| (point.load, Some(figure(point)))).collect();
        lines.push(Line { name: name.to_owned(), look, points, is_labelled: true });
        dots.extend(measured.iter().map(|point| Dot {
            name: format!(
                "{name} {} at {}",
                Unit::Microseconds.text(figure(point)),
                load_text(search.dimension, point.load)
            ),
            at: (point.load, figure(point)),
            shape: shape_of(point),
            colour: look.colour,
        }));
    }
    let limit = limit_us(&search.condition);
    if let Some(limit) = limit {
        let look = Look { colour: 4, dashes: 2, weight: Weight::Normal };
        let points = vec![(x.from, Some(limit)), (x.to, Some(limit))];
        lines.push(Line { name: format!("limit {}", Unit::Microseconds.tick(limit)), look, points, is_labelled: true });
    }
    let values = || dots.iter().map(|dot| dot.at.1).chain(limit).filter(|value| *value > 0.0);
    let least = values().fold(f64::INFINITY, f64::min);
    if measured.is_empty() {
        return None;
    }
    let y = Axis::log(Unit::Microseconds, least, values().fold(0.0, f64::max));
    let by = match search.dimension {
        Dimension::Rate => "by operations a second that were offered",
        Dimension::Sessions => "by sessions",
    };
    let note = format!(
        "{by}; ○ in large steps, ◇ between them, ● confirmed, ✕ the condition did not hold; shaded: where the knee lies"
    );
    Some(Chart { bands: interval(search), dots, ..Chart::new("Latency by load", note, x, y, lines) })
}

/// What was delivered, and the law that was fitted to it.
fn throughput(search: &SearchRecord, law: &ScalabilityRecord) -> Chart {
    /// As far beyond what was measured as a fitted law is worth showing.
    const BEYOND_MEASURED: f64 = 1.3;
    let measured = greatest_load(search);
    let end = law.peak_sessions.map_or(measured, |peak| measured.max(peak * 1.05).min(measured * BEYOND_MEASURED));
    let x = axis_of_loads(search, end);
    let at = |step: u32| x.from.max(1.0) + (x.to - x.from.max(1.0)) * f64::from(step) / f64::from(CURVE_POINTS);
    let points: Vec<_> = (0..=CURVE_POINTS).map(|step| (at(step), Some(law_at(law, at(step))))).collect();
    let dots: Vec<_> = search
        .points
        .iter()
        .map(|point| Dot {
            name: format!(
                "{} at {}",
                Unit::PerSecond.text(point.throughput_per_second),
                load_text(search.dimension, point.load)
            ),
            at: (point.load, point.throughput_per_second),
            shape: shape_of(point),
            colour: 1,
        })
        .collect();
    let greatest = points.iter().filter_map(|(_, y)| *y).chain(dots.iter().map(|dot| dot.at.1)).fold(0.0, f64::max);
    let look = Look { colour: 3, dashes: 0, weight: Weight::Normal };
    let lines = vec![Line { name: "fitted law".to_owned(), look, points, is_labelled: true }];
    let note = "operations a second; the line is the Universal Scalability Law fitted to what was measured".to_owned();
    let y = Axis::linear(Unit::PerSecond, greatest, 5.0);
    Chart { bands: interval(search), dots, ..Chart::new("Throughput by sessions", note, x, y, lines) }
}

/// Operations a second of so many sessions (Gunther 2007).
fn law_at(law: &ScalabilityRecord, sessions: f64) -> f64 {
    let others = sessions - 1.0;
    law.lambda * sessions / (1.0 + law.sigma * others + law.kappa * sessions * others)
}

fn scalability(out: &mut String, law: &ScalabilityRecord) {
    let mut table = Table::new(["Coefficient", "Figure", "Means"]);
    let mut row = |name: &str, figure: String, means: &str| {
        table.row(vec![Cell::Text(name.to_owned()), Cell::Figure(figure), Cell::Text(means.to_owned())]);
    };
    row("λ", Unit::PerSecond.text(law.lambda), "operations a second of one session alone");
    row("σ", Unit::Percent.text(law.sigma * 100.0), "contention: the share of the work that only one can do at a time");
    row("κ", number(law.kappa), "coherency: the cost of agreeing with each other one");
    row("peak", law.peak_sessions.map_or_else(|| NONE.to_owned(), number), "sessions with the greatest throughput");
    row("R²", format!("{:.3}", law.r_squared), "share of the variance that the law explains");
    out.push_str("<section><h3>The law's coefficients</h3>");
    table.write(out);
    out.push_str("</section>\n");
}

fn points(search: &SearchRecord) -> Table {
    let (load, of_load): (_, fn(f64) -> String) = match search.dimension {
        Dimension::Rate => ("Offered", |load| Unit::PerSecond.text(load)),
        Dimension::Sessions => ("Sessions", |load| count(load.round() as u64)),
    };
    let value_unit = if limit_us(&search.condition).is_some() { Unit::Microseconds } else { Unit::Count };
    let mut table =
        Table::new(["Stage", load, "For", "Delivered", "Condition's figure", "p50", "p99", "Condition", "Valid"]);
    for point in &search.points {
        let stage = match point.stage {
            Stage::Coarse => "large steps",
            Stage::Bisection => "between",
            Stage::Confirmation => "confirmation",
        };
        let mark = |holds: bool, yes, no| Cell::State(if holds { yes } else { no });
        table.row(vec![
            Cell::Text(stage.to_owned()),
            Cell::Figure(of_load(point.load)),
            Cell::Figure(time(point.seconds)),
            Cell::Figure(Unit::PerSecond.text(point.throughput_per_second)),
            Cell::Figure(point.value.map_or_else(|| NONE.to_owned(), |value| value_unit.text(value))),
            Cell::Figure(Unit::Microseconds.text(point.latency_us_p50)),
            Cell::Figure(Unit::Microseconds.text(point.latency_us_p99)),
            mark(point.kept, "✓ held", "✗ broke"),
            mark(point.valid, "✓ yes", "✗ no"),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_latencies_are_read() {
        for (condition, expect) in [
            ("p99 < 10ms", Some(10_000.0)),
            ("p99.9(read) <= 250us", Some(250.0)),
            ("errors < 1%", None),
            ("offered >= 99%", None),
            ("p99", None),
        ] {
            assert_eq!(limit_us(condition), expect, "{condition}");
        }
    }

    #[test]
    fn the_law_has_its_peak_where_it_says() {
        let law =
            ScalabilityRecord { lambda: 1000.0, sigma: 0.02, kappa: 4e-4, peak_sessions: Some(49.5), r_squared: 1.0 };
        assert!((law_at(&law, 1.0) - 1000.0).abs() < 1e-9);
        assert!(law_at(&law, 49.5) > law_at(&law, 40.0) && law_at(&law, 49.5) > law_at(&law, 60.0));
    }
}
