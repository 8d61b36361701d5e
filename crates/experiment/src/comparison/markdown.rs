//! A comparison as Markdown, for pull requests and summaries of continuous integration.

use std::fmt::Write;

use stats::cliffs_word;

use super::words::{change_text, change_word_text, interval_text, p_value_text, value_text, verdicts};
use super::{Change, ComparedMetric, Comparison};

/// The comparison as GitHub's Markdown: the verdicts, the headline metrics, everything else folded away.
pub fn comparison_markdown(comparison: &Comparison) -> String {
    let mut text = String::new();
    let mut line = |written: &str| writeln!(text, "{written}").expect("a string takes what it is given");
    for (verdict, side) in verdicts(comparison).iter().zip(1..) {
        let is = |word| {
            comparison
                .metrics
                .iter()
                .any(|metric| metric.side == side && metric.is_headline && metric.change_word == word)
        };
        let mark = match (is(Change::Slower), is(Change::Faster)) {
            (true, _) => "🔴",
            (false, true) => "🟢",
            (false, false) => "⚪",
        };
        line(&format!("{mark} **{}**\n", escaped(verdict)));
    }
    for side in comparison.sides.iter().filter(|side| !side.valid) {
        line(&format!("> **Invalid:** a run of {} is not worth what its numbers seem.\n", escaped(&side.label)));
    }
    for overruled in &comparison.overruled {
        line(&format!("> **Not the same:** {}\n", escaped(overruled)));
    }
    let (headlines, others): (Vec<_>, Vec<_>) = comparison.metrics.iter().partition(|metric| metric.is_headline);
    line(&table(comparison, &headlines));
    if !others.is_empty() {
        line(&format!("<details><summary>{} other metrics</summary>\n", others.len()));
        line(&table(comparison, &others));
        line("</details>\n");
    }
    if !comparison.differences.is_empty() {
        line("<details><summary>What differs besides</summary>\n");
        line(&differences(comparison));
        line("</details>\n");
    }
    line(&format!("<sub>{}</sub>", escaped(&comparison.method)));
    text
}

fn table(comparison: &Comparison, metrics: &[&ComparedMetric]) -> String {
    let percent = comparison.confidence * 100.0;
    let mut rows = vec![
        format!("| operation | metric | baseline | value | change | {percent:.0} % interval | p | effect | |"),
        "|---|---|--:|--:|--:|--:|--:|---|---|".to_owned(),
    ];
    rows.extend(metrics.iter().map(|metric| {
        let operation = match comparison.sides.len() {
            2 => escaped(&metric.operation),
            _ => format!("{}: {}", escaped(&comparison.sides[metric.side].label), escaped(&metric.operation)),
        };
        let word = change_word_text(metric.change_word);
        format!(
            "| {operation} | {} | {} | {} | {} | {} | {} | {} ({:+.2}) | {} |",
            metric.metric,
            value_text(metric, metric.baseline),
            value_text(metric, metric.value),
            change_text(metric, metric.change),
            interval_text(metric),
            escaped(&p_value_text(metric.p_value)),
            cliffs_word(metric.effect_size),
            metric.effect_size,
            if metric.change_word == Change::NoSignificantChange { word.to_owned() } else { format!("**{word}**") },
        )
    }));
    rows.join("\n") + "\n"
}

fn differences(comparison: &Comparison) -> String {
    let labels: Vec<_> = comparison.sides.iter().map(|side| escaped(&side.label)).collect();
    let mut rows = vec![format!("| | {} |", labels.join(" | ")), format!("|---|{}", "---|".repeat(labels.len()))];
    rows.extend(comparison.differences.iter().map(|difference| {
        let values: Vec<_> = difference.values.iter().map(|value| escaped(value.as_deref().unwrap_or("–"))).collect();
        format!("| {} | {} |", escaped(&difference.what), values.join(" | "))
    }));
    rows.join("\n") + "\n"
}

/// Text that a table and a page take as text: labels are what users wrote.
fn escaped(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => kept.extend(['\\', character]),
            '<' => kept.push_str("&lt;"),
            '>' => kept.push_str("&gt;"),
            '\n' | '\r' => kept.push(' '),
            other => kept.push(other),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::words::tests::comparison;
    use super::*;

    #[test]
    fn verdict_first_then_tables_whose_rows_are_whole() {
        let mut comparison = comparison([Change::Slower, Change::NoSignificantChange, Change::NoSignificantChange]);
        comparison.metrics[1].is_headline = false;
        comparison.sides[1].label = "after <b>|x".to_owned();
        let text = comparison_markdown(&comparison);
        assert!(text.starts_with("🔴 **after &lt;b&gt;\\|x is slower than before: mean +5.0 %"), "{text}");
        assert!(
            text.contains(
                "| total | mean | 1.000 ms | 1.050 ms | +5.0 % | +4.6 to +5.6 % | &lt; 0.001 | large (+0.90) | **slower** |"
            ),
            "{text}"
        );
        assert!(text.contains("| server | a\\|b | – |") && text.contains("1 other metrics"), "{text}");
        let cells = |row: &str| row.replace("\\|", "").matches('|').count();
        for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
            let counts: Vec<_> = table.lines().map(cells).collect();
            assert!(counts.iter().all(|count| *count == counts[0]), "{table}");
        }
    }
}
