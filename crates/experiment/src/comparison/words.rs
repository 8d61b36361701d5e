//! A comparison in words: a sentence for each side, and how figures are written.

use super::noise::ERRORS;
use super::{Change, ComparedMetric, Comparison};

/// What became of each side but the first, a sentence each.
pub fn verdicts(comparison: &Comparison) -> Vec<String> {
    (1..comparison.sides.len()).map(|side| verdict(comparison, side)).collect()
}

fn verdict(comparison: &Comparison, side: usize) -> String {
    let headlines: Vec<_> =
        comparison.metrics.iter().filter(|metric| metric.is_headline && metric.side == side).collect();
    let [label, baseline] = [side, 0].map(|place| comparison.sides[place].label.as_str());
    let of = |word: Change| headlines.iter().filter(|metric| metric.change_word == word).copied().collect::<Vec<_>>();
    let [slower, faster, same] = [Change::Slower, Change::Faster, Change::NoSignificantChange].map(of);
    let figures = |metrics: &[&ComparedMetric]| {
        let figure = |metric: &&ComparedMetric| {
            format!("{} {} ({})", metric.metric, change_text(metric, metric.change), interval_text(metric))
        };
        metrics.iter().map(figure).collect::<Vec<_>>().join(", ")
    };
    let changed = match (slower.as_slice(), faster.as_slice()) {
        ([], []) => return format!("{label}: no significant change from {baseline} in {}", listed(&same)),
        (slower, []) => format!("{label} is slower than {baseline}: {}", figures(slower)),
        ([], faster) => format!("{label} is faster than {baseline}: {}", figures(faster)),
        (slower, faster) => format!(
            "{label} is slower than {baseline} in some, faster in others: slower {}; faster {}",
            figures(slower),
            figures(faster)
        ),
    };
    if same.is_empty() { changed } else { format!("{changed}; no significant change in {}", listed(&same)) }
}

fn listed(metrics: &[&ComparedMetric]) -> String {
    let names: Vec<_> = metrics.iter().map(|metric| metric.metric.as_str()).collect();
    match names.split_last() {
        None => "any headline metric".to_owned(),
        Some((only, [])) => (*only).to_owned(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// A change with its sign: `+4.8 %`, or of errors `+0.20 points`.
pub fn change_text(metric: &ComparedMetric, change: f64) -> String {
    // A change of nothing has no sign.
    let percent = change * 100.0 + 0.0;
    if metric.metric == ERRORS { format!("{percent:+.2} points") } else { format!("{percent:+.1} %") }
}

/// The interval of a change: `+4.1 to +5.5 %`.
pub fn interval_text(metric: &ComparedMetric) -> String {
    let [low, high] = metric.interval;
    let digits = if metric.metric == ERRORS { 2 } else { 1 };
    format!("{:+.digits$} to {}", low * 100.0 + 0.0, change_text(metric, high))
}

/// A figure with its unit: `1,234/s`, `1.23 ms`, `0.12 %`.
pub fn value_text(metric: &ComparedMetric, value: f64) -> String {
    match metric.unit.as_str() {
        "us" if value >= 1e6 => format!("{:.3} s", value / 1e6),
        "us" if value >= 1e3 => format!("{:.3} ms", value / 1e3),
        "us" => format!("{value:.1} µs"),
        "/s" if value >= 100.0 => format!("{value:.0}/s"),
        "/s" => format!("{value:.2}/s"),
        unit => format!("{value:.2} {unit}"),
    }
}

/// A chance with three digits: `0.012`, `< 0.001`.
pub fn p_value_text(p_value: f64) -> String {
    if p_value < 0.001 { "< 0.001".to_owned() } else { format!("{p_value:.3}") }
}

/// The word for what became of a metric.
pub fn change_word_text(word: Change) -> &'static str {
    match word {
        Change::Faster => "faster",
        Change::Slower => "slower",
        Change::NoSignificantChange => "no significant change",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{COMPARISON_SCHEMA, Difference, Side};
    use super::*;

    pub(crate) fn comparison(words: [Change; 3]) -> Comparison {
        let metric = |(metric, word): (&str, Change)| {
            let change = match word {
                Change::Faster => -0.05,
                Change::Slower => 0.05,
                Change::NoSignificantChange => 0.001,
            };
            ComparedMetric {
                side: 1,
                operation: "total".to_owned(),
                metric: metric.to_owned(),
                unit: if metric == ERRORS { "%" } else { "us" }.to_owned(),
                is_headline: true,
                more_is_better: false,
                baseline: 1_000.0,
                value: 1_000.0 * (1.0 + change),
                change,
                interval: [change - 0.004, change + 0.006],
                p_value: if word == Change::NoSignificantChange { 0.6 } else { 0.0004 },
                effect_size: change * 18.0,
                noise: 0.01,
                change_word: word,
            }
        };
        let side = |label: &str| Side { label: label.to_owned(), runs: Vec::new(), valid: true };
        Comparison {
            schema: COMPARISON_SCHEMA.to_owned(),
            sides: vec![side("before"), side("after")],
            metrics: ["mean", "p99", ERRORS].into_iter().zip(words).map(metric).collect(),
            confidence: 0.95,
            method: "by looking".to_owned(),
            differences: vec![Difference { what: "server".to_owned(), values: vec![Some("a|b".to_owned()), None] }],
            overruled: Vec::new(),
        }
    }

    #[test]
    fn a_side_is_told_in_a_sentence() {
        use Change::{Faster, NoSignificantChange as Same, Slower};
        for (words, expect) in [
            ([Same, Same, Same], "after: no significant change from before in mean, p99 and errors"),
            (
                [Slower, Same, Same],
                "after is slower than before: mean +5.0 % (+4.6 to +5.6 %); no significant change in p99 and errors",
            ),
            (
                [Faster, Slower, Same],
                "after is slower than before in some, faster in others: slower p99 +5.0 % (+4.6 to +5.6 %); faster mean \
                 -5.0 % (-5.4 to -4.4 %); no significant change in errors",
            ),
            (
                [Same, Same, Slower],
                "after is slower than before: errors +5.00 points (+4.60 to +5.60 points); no significant change in mean \
                 and p99",
            ),
        ] {
            assert_eq!(verdicts(&comparison(words)), [expect]);
        }
    }
}
