//! The page of a comparison: in a sentence what changed, each figure with the interval that its change lies in, and what
//! else is not the same.

use std::fmt::Write as _;

use experiment::{Change, ComparedMetric, Comparison, Record, Side};
use serde::Serialize;
use stats::Histogram;

use super::beside::{self, Drawn, latencies};
use super::format::{NONE, Unit, escape, number, push};
use super::page;
use super::table::{Cell, Table};
use super::verdict::{counted, list};

/// What the page holds as JSON.
#[derive(Serialize)]
struct Shown<'a> {
    comparison: &'a Comparison,
    runs: Vec<&'a Record>,
}

/// The page of a comparison, with the runs that it is about as far as they are given.
pub fn comparison(comparison: &Comparison, runs: &[Drawn]) -> String {
    let title = title(comparison);
    let mut out = page::head(&format!("{title} · Storelab"));
    push!(out, "<header><h1>{}</h1>", escape(&title));
    if let Some(baseline) = comparison.sides.first() {
        push!(
            out,
            "<p class=\"lead\">The baseline is {}, of {}.</p>",
            escape(&baseline.label),
            counted(baseline.runs.len(), "run")
        );
    }
    push!(out, "<p class=\"dim\">{}</p></header>\n", escape(&comparison.method));
    cautions(&mut out, comparison);
    for (place, side) in comparison.sides.iter().enumerate().skip(1) {
        let metrics: Vec<_> = comparison.metrics.iter().filter(|metric| metric.side == place).collect();
        verdict(&mut out, comparison, side, &metrics);
        tables(&mut out, comparison, side, &metrics);
    }
    let note = "of the recorded phases, all operations and all runs of a side together";
    let by_side = comparison.sides.iter().map(|side| (side.label.clone(), together(side, runs)));
    for chart in [beside::curves(note, by_side), beside::throughput(runs)].into_iter().flatten() {
        chart.write(&mut out);
    }
    differences(&mut out, comparison);
    if !runs.is_empty() {
        out.push_str("<section><h2>The runs</h2>");
        beside::figures(runs).write(&mut out);
        beside::places(runs).write(&mut out);
        out.push_str("</section>\n");
    }
    page::foot(&mut out, &Shown { comparison, runs: runs.iter().map(|run| &run.record).collect() });
    out
}

/// What is compared with what.
fn title(comparison: &Comparison) -> String {
    let mut labels = comparison.sides.iter().map(|side| side.label.as_str());
    let baseline = labels.next().unwrap_or_default();
    format!("{} against {baseline}", labels.collect::<Vec<_>>().join(", "))
}

/// Why the runs are not to be compared as they are.
fn cautions(out: &mut String, comparison: &Comparison) {
    let invalid = comparison.sides.iter().filter(|side| !side.valid);
    let mut cautions: Vec<_> = invalid.map(|side| format!("{} has runs that are not valid", side.label)).collect();
    cautions.extend(comparison.overruled.iter().cloned());
    if cautions.is_empty() {
        return;
    }
    out.push_str("<section class=\"verdict warn\"><h2><span aria-hidden=\"true\">!</span> Compared all the same</h2>");
    list(out, &cautions);
    out.push_str("</section>\n");
}

/// What changed on a side, in words.
fn verdict(out: &mut String, comparison: &Comparison, side: &Side, metrics: &[&ComparedMetric]) {
    let of = |word: Change, is_headline: bool| {
        metrics.iter().filter(move |metric| metric.change_word == word && metric.is_headline == is_headline)
    };
    let [faster, slower, same] = [Change::Faster, Change::Slower, Change::NoSignificantChange]
        .map(|word| of(word, true).copied().collect::<Vec<_>>());
    let (class, sign, word) = match (faster.is_empty(), slower.is_empty()) {
        (true, true) => ("same", "=", "No significant change"),
        (false, true) => ("good", "▲", "Faster"),
        (true, false) => ("bad", "▼", "Slower"),
        (false, false) => ("warn", "◆", "Faster in part, slower in part"),
    };
    push!(
        out,
        "<section class=\"verdict {class}\"><h2><span aria-hidden=\"true\">{sign}</span> {}: {word}</h2>",
        escape(&side.label)
    );
    let baseline = comparison.sides.first().map_or("the baseline", |side| side.label.as_str());
    for (metrics, is) in [(&slower, "slower"), (&faster, "faster")] {
        if !metrics.is_empty() {
            push!(out, "<p>{} is {is} than {}:</p><ul>", escape(&side.label), escape(baseline));
            for metric in metrics {
                push!(out, "<li>{}</li>", escape(&in_words(metric, comparison.confidence)));
            }
            out.push_str("</ul>");
        }
    }
    if !same.is_empty() {
        let names: Vec<_> = same.iter().map(|metric| name_of(metric)).collect();
        push!(out, "<p>No change beyond noise: {}.</p>", escape(&names.join(", ")));
    }
    let others = of(Change::Faster, false).count() + of(Change::Slower, false).count();
    let rest = metrics.iter().filter(|metric| !metric.is_headline).count();
    if rest > 0 {
        push!(out, "<p class=\"dim\">Of {} below the headline {others} changed.</p>", counted(rest, "figure"));
    }
    out.push_str("</section>\n");
}

fn name_of(metric: &ComparedMetric) -> String {
    if metric.operation == "total" {
        metric.metric.clone()
    } else {
        format!("{} of {}", metric.metric, metric.operation)
    }
}

fn in_words(metric: &ComparedMetric, confidence: f64) -> String {
    let unit = Unit::of(&metric.unit);
    format!(
        "{} {}, from {} to {} ({} interval {} to {})",
        name_of(metric),
        change(metric.change),
        unit.text(metric.baseline),
        unit.text(metric.value),
        Unit::Percent.tick(confidence * 100.0),
        change(metric.interval[0]),
        change(metric.interval[1])
    )
}

/// A change as percent with its sign.
fn change(share: f64) -> String {
    if !share.is_finite() {
        return NONE.to_owned();
    }
    let percent = share * 100.0;
    let size = if percent.abs() < 10.0 { format!("{:.1}", percent.abs()) } else { number(percent.abs()) };
    let sign = if size.parse() == Ok(0.0) {
        "±"
    } else if percent < 0.0 {
        "−"
    } else {
        "+"
    };
    format!("{sign}{size}\u{a0}%")
}

fn tables(out: &mut String, comparison: &Comparison, side: &Side, metrics: &[&ComparedMetric]) {
    let (headline, rest): (Vec<_>, Vec<_>) = metrics.iter().partition(|metric| metric.is_headline);
    if !headline.is_empty() {
        out.push_str("<section>");
        table(comparison, side, &headline).write(out);
        out.push_str("</section>\n");
    }
    if !rest.is_empty() {
        push!(
            out,
            "<section><details><summary>Every other figure of {} <small>{}</small></summary>",
            escape(&side.label),
            rest.len()
        );
        table(comparison, side, &rest).write(out);
        out.push_str("</details></section>\n");
    }
}

fn table(comparison: &Comparison, side: &Side, metrics: &[&ComparedMetric]) -> Table {
    let baseline = comparison.sides.first().map_or("baseline", |side| side.label.as_str());
    let interval = format!("{} interval", Unit::Percent.tick(comparison.confidence * 100.0));
    let reach = reach(metrics);
    let bars = format!("−{0} … 0 … +{0}", Unit::Percent.tick(reach * 100.0));
    let headings = ["Figure", baseline, &side.label, "Change", &interval, &bars, "Verdict", "p", "Effect", "Noise"];
    let mut table = Table::new(headings);
    for metric in metrics {
        let unit = Unit::of(&metric.unit);
        let [from, to] = metric.interval;
        let word = match metric.change_word {
            Change::Faster => "▲ faster",
            Change::Slower => "▼ slower",
            Change::NoSignificantChange => "= no change",
        };
        table.row(vec![
            Cell::Text(name_of(metric)),
            Cell::Figure(unit.text(metric.baseline)),
            Cell::Figure(unit.text(metric.value)),
            Cell::Figure(change(metric.change)),
            Cell::Figure(format!("{} to {}", change(from), change(to))),
            Cell::Drawing(bar(metric, reach)),
            Cell::State(word),
            Cell::Figure(probability(metric.p_value)),
            Cell::Figure(format!("{:.2}", metric.effect_size).replace('-', "−")),
            Cell::Figure(format!("±{}", Unit::Percent.tick(metric.noise * 100.0))),
        ]);
    }
    table
}

fn probability(p_value: f64) -> String {
    if p_value < 0.001 { "< 0.001".to_owned() } else { format!("{p_value:.3}") }
}

/// How far from 0 the bars of a table go, as a share: one scale for all of them. What goes further is cut.
fn reach(metrics: &[&ComparedMetric]) -> f64 {
    /// Round ends of a scale; beyond the last, bars are cut.
    const REACHES: [f64; 9] = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
    let ends = metrics.iter().flat_map(|metric| metric.interval.into_iter().chain([metric.noise]));
    let greatest = ends.filter(|end| end.is_finite()).map(f64::abs).fold(0.0, f64::max);
    REACHES.into_iter().find(|reach| *reach >= greatest).unwrap_or(REACHES[REACHES.len() - 1])
}

/// The interval of a change as a bar over the noise, with the change as a point.
fn bar(metric: &ComparedMetric, reach: f64) -> String {
    /// Units from the middle to either end.
    const HALF: f64 = 90.0;
    if !metric.change.is_finite() {
        return String::new();
    }
    let place =
        |share: f64| if share.is_finite() { (share / reach).clamp(-1.0, 1.0) * HALF } else { HALF * share.signum() };
    let [from, to] = metric.interval.map(place);
    let (noise, at) = (place(metric.noise), place(metric.change));
    let class = match metric.change_word {
        Change::Faster => "good",
        Change::Slower => "bad",
        Change::NoSignificantChange => "same",
    };
    let mut out = format!("<svg class=\"bar {class}\" viewBox=\"-92 0 184 16\" role=\"img\" aria-label=\"");
    let [low, high] = metric.interval.map(change);
    push!(out, "{} between {low} and {high}\">", escape(&name_of(metric)));
    push!(out, "<path class=\"noise\" d=\"M{:.1} 0h{:.1}v16h{:.1}z\"/>", -noise, noise * 2.0, -noise * 2.0);
    push!(out, "<path class=\"zero\" d=\"M0 0v16\"/><path class=\"span\" d=\"M{from:.1} 8H{to:.1}");
    // An end that is cut has no cap.
    for (end, share) in [(from, metric.interval[0]), (to, metric.interval[1])] {
        if share.abs() <= reach {
            push!(out, "M{end:.1} 4v8");
        }
    }
    push!(out, "\"/><path class=\"at\" d=\"M{at:.1} 4l4 4l-4 4l-4-4z\"/></svg>");
    out
}

/// The latencies of all runs of a side.
fn together(side: &Side, runs: &[Drawn]) -> Histogram {
    let mut sum = Histogram::new();
    let is_of_side = |run: &&Drawn| side.runs.iter().any(|(id, _)| *id == run.record.id);
    runs.iter().filter(is_of_side).for_each(|run| sum.merge(&latencies(run)));
    sum
}

fn differences(out: &mut String, comparison: &Comparison) {
    out.push_str("<section><h2>What else is not the same</h2>");
    if comparison.differences.is_empty() {
        out.push_str("<p>Nothing: versions, settings, load and hosts agree.</p></section>\n");
        return;
    }
    let headings = ["Differs in"].into_iter().chain(comparison.sides.iter().map(|side| side.label.as_str()));
    let mut table = Table::new(headings);
    for difference in &comparison.differences {
        let values = difference.values.iter().map(|value| Cell::Text(value.as_deref().unwrap_or(NONE).to_owned()));
        table.row([Cell::Code(difference.what.clone())].into_iter().chain(values).collect());
    }
    table.write(out);
    out.push_str("</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_their_sign() {
        for (share, expect) in [
            (0.1234, "+12.3\u{a0}%"),
            (-0.051, "−5.1\u{a0}%"),
            (0.0001, "±0.0\u{a0}%"),
            (12.0, "+1,200\u{a0}%"),
            (f64::NAN, NONE),
        ] {
            assert_eq!(change(share), expect);
        }
    }
}
