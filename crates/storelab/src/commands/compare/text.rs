//! A comparison for a terminal: a sentence for each side, then a table.

use std::collections::BTreeSet;

use experiment::{
    ComparedMetric, Comparison, Difference, change_text, change_word_text, interval_text, p_value_text, value_text,
    verdicts,
};
use stats::cliffs_word;

use crate::terminal::{table, table_text};

pub(super) fn of(comparison: &Comparison) -> String {
    let mut lines = verdicts(comparison);
    for side in comparison.sides.iter().filter(|side| !side.valid) {
        lines.push(format!("warning: {} is invalid, so that its numbers are not worth what they seem", side.label));
    }
    lines.extend(comparison.overruled.iter().map(|overruled| format!("warning: not the same: {overruled}")));
    lines.push(String::new());
    lines.push(metrics(comparison));
    if !comparison.differences.is_empty() {
        lines.push("\nwhat differs besides:".to_owned());
        lines.extend(comparison.differences.iter().map(difference));
    }
    lines.push(format!("\n{}", comparison.method));
    lines.join("\n")
}

fn metrics(comparison: &Comparison) -> String {
    let interval = format!("{:.0} % INTERVAL", comparison.confidence * 100.0);
    let mut rows =
        table(["", "OPERATION", "METRIC", "BASELINE", "VALUE", "CHANGE", &interval, "NOISE", "P", "EFFECT", ""]);
    let operations: BTreeSet<&str> = comparison.metrics.iter().map(|metric| metric.operation.as_str()).collect();
    // Beside a single operation the total says everything.
    let is_shown = |metric: &&ComparedMetric| operations.len() > 2 || metric.operation == "total";
    for metric in comparison.metrics.iter().filter(is_shown) {
        rows.add_row([
            if comparison.sides.len() > 2 { comparison.sides[metric.side].label.clone() } else { String::new() },
            metric.operation.clone(),
            metric.metric.clone(),
            value_text(metric, metric.baseline),
            value_text(metric, metric.value),
            change_text(metric, metric.change),
            interval_text(metric),
            change_text(metric, metric.noise).trim_start_matches('+').to_owned(),
            p_value_text(metric.p_value),
            format!("{:+.2} {}", metric.effect_size, cliffs_word(metric.effect_size)),
            change_word_text(metric.change_word).to_owned(),
        ]);
    }
    table_text(&rows)
}

fn difference(difference: &Difference) -> String {
    let values: Vec<_> = difference.values.iter().map(|value| value.as_deref().unwrap_or("–")).collect();
    format!("  {}: {}", difference.what, values.join(" → "))
}
