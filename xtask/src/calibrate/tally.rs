//! What came of the rounds: how often each headline metric was called different, and slower.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// The comparisons that a round may have: by the usual noise, and by that which was measured.
const COMPARISONS: [&str; 4] = ["same", "same_calibrated", "slower", "slower_calibrated"];

/// The row for a pair of which any headline metric was called.
const ANY: &str = "any headline";

/// A round: of each comparison the words of the headline metrics, with their changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Round(Map<String, Value>);

impl Round {
    /// From comparisons under their names.
    pub(super) fn of(comparisons: &[(&str, Value)]) -> Result<Self> {
        let mut round = Map::new();
        for (name, comparison) in comparisons {
            let metrics = comparison["metrics"].as_array().context("the comparison's metrics")?;
            let headlines = metrics.iter().filter(|metric| metric["is_headline"] == true).map(|metric| {
                let name = metric["metric"].as_str().context("a metric's name")?;
                let known = ["change", "interval", "noise", "change_word"]
                    .map(|field| (field.to_owned(), metric[field].clone()));
                Ok((name.to_owned(), Value::Object(known.into_iter().collect())))
            });
            round.insert((*name).to_owned(), Value::Object(headlines.collect::<Result<_>>()?));
        }
        Ok(Self(round))
    }

    /// Reads a line that [`to_json`](Self::to_json) wrote.
    pub(super) fn parse(line: &str) -> Result<Self> {
        Ok(Self(serde_json::from_str(line).context("a round that was kept")?))
    }

    pub(super) fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// What was called, in a few words.
    pub(super) fn in_short(&self) -> String {
        let called = |comparison: &str| {
            let found = self.words(comparison).filter(|(_, word)| *word != "no_significant_change");
            let found: Vec<_> = found.map(|(metric, word)| format!("{metric} {word}")).collect();
            if found.is_empty() { "no change".to_owned() } else { found.join(", ") }
        };
        let sides = [("identical", "same"), ("slower", "slower")].into_iter();
        let told = sides.filter(|(_, comparison)| self.0.contains_key(*comparison));
        told.map(|(name, comparison)| format!("{name}: {}", called(comparison))).collect::<Vec<_>>().join("; ")
    }

    fn words(&self, comparison: &str) -> impl Iterator<Item = (&str, &str)> {
        let metrics = self.0.get(comparison).and_then(Value::as_object).into_iter().flatten();
        metrics.map(|(metric, found)| (metric.as_str(), found["change_word"].as_str().unwrap_or_default()))
    }
}

/// How often something happened.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Share {
    count: u64,
    of: u64,
}

impl Share {
    fn add(&mut self, happened: bool) {
        self.count += u64::from(happened);
        self.of += 1;
    }

    fn to_json(self) -> Value {
        let [low, high] = clopper_pearson(self.count, self.of);
        json!({ "count": self.count, "of": self.of, "share": self.count as f64 / self.of.max(1) as f64, "interval": [low, high] })
    }
}

/// By metric and comparison: identical pairs that were called different, slower ones that were called slower.
pub(super) fn table(rounds: &[Round]) -> Value {
    let mut shares: BTreeMap<&str, BTreeMap<&str, Share>> = BTreeMap::new();
    for round in rounds {
        for comparison in COMPARISONS.into_iter().filter(|comparison| round.0.contains_key(*comparison)) {
            let is_called = |word: &str| match comparison {
                "slower" | "slower_calibrated" => word == "slower",
                _ => word != "no_significant_change",
            };
            for (metric, word) in round.words(comparison) {
                shares.entry(metric).or_default().entry(comparison).or_default().add(is_called(word));
            }
            let any = round.words(comparison).any(|(_, word)| is_called(word));
            shares.entry(ANY).or_default().entry(comparison).or_default().add(any);
        }
    }
    let rows = shares.into_iter().map(|(metric, shares)| {
        let shares: Map<_, _> = shares.into_iter().map(|(name, share)| (name.to_owned(), share.to_json())).collect();
        (metric.to_owned(), Value::Object(shares))
    });
    Value::Object(rows.collect())
}

/// The table for a terminal.
pub(super) fn text(table: &Value) -> String {
    let mut lines = vec![format!("{:<14}{}", "metric", COMPARISONS.map(|name| format!("{name:>34}")).concat())];
    for (metric, shares) in table.as_object().into_iter().flatten() {
        let cells = COMPARISONS.map(|name| {
            let share = &shares[name];
            if share.is_null() {
                return format!("{:>34}", "-");
            }
            let percent = |value: &Value| value.as_f64().unwrap_or_default() * 100.0;
            let [low, high] = [percent(&share["interval"][0]), percent(&share["interval"][1])];
            let text = format!("{} of {} ({low:.1} to {high:.1} %)", share["count"], share["of"]);
            format!("{text:>34}")
        });
        lines.push(format!("{metric:<14}{}", cells.concat()));
    }
    lines.join("\n")
}

/// The interval that holds the true share with 95 % (Clopper & Pearson 1934), by bisection.
fn clopper_pearson(count: u64, of: u64) -> [f64; 2] {
    const HALF: f64 = 0.025;
    let bisect = |too_low: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if too_low(middle) { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    };
    let low = if count == 0 { 0.0 } else { bisect(&|share| 1.0 - at_most(count - 1, of, share) < HALF) };
    let high = if count >= of { 1.0 } else { bisect(&|share| at_most(count, of, share) > HALF) };
    [low, high]
}

/// The chance of at most so many of so many, where each happens with a chance of `share`.
fn at_most(count: u64, of: u64, share: f64) -> f64 {
    let mut logarithm = of as f64 * (-share).ln_1p();
    let mut sum = logarithm.exp();
    for number in 1..=count {
        logarithm += ((of - number + 1) as f64 / number as f64).ln() + share.ln() - (-share).ln_1p();
        sum += logarithm.exp();
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_of_shares_are_those_of_tables() {
        for (count, of, expect) in
            [(0, 10, [0.0, 0.3085]), (5, 10, [0.1871, 0.8129]), (10, 200, [0.0242, 0.0900]), (200, 200, [0.9817, 1.0])]
        {
            let found = clopper_pearson(count, of);
            assert!(found.iter().zip(expect).all(|(a, b)| (a - b).abs() < 2e-4), "{count} of {of}: {found:?}");
        }
    }

    #[test]
    fn rounds_are_counted_by_metric() {
        let comparison = |words: [&str; 2]| {
            let metric = |(metric, word): (&str, &str), is_headline| json!({ "metric": metric, "change_word": word, "change": 0.1, "is_headline": is_headline });
            json!({ "metrics": [metric(("mean", words[0]), true), metric(("p99", words[1]), true), metric(("p90", "slower"), false)] })
        };
        let same = comparison(["no_significant_change", "faster"]);
        let slower = comparison(["slower", "faster"]);
        let named = COMPARISONS.into_iter().zip([&same, &same, &slower, &slower].map(Value::clone));
        let round = Round::of(&named.collect::<Vec<_>>()).expect("comparisons");
        let again = Round::parse(&round.to_json().to_string()).expect("reads");
        assert_eq!(again, round);
        let table = table(&[round, again]);
        for (metric, comparison, expect) in [
            ("mean", "same", 0),
            ("p99", "same", 2),
            ("mean", "slower", 2),
            ("p99", "slower_calibrated", 0),
            (ANY, "same", 2),
            (ANY, "slower", 2),
        ] {
            assert_eq!(table[metric][comparison]["count"], expect, "{metric} {comparison}");
        }
        assert!(table.get("p90").is_none() && text(&table).lines().count() == 4, "{}", text(&table));
        let pair = Round::of(&[("same", same)]).expect("a comparison");
        assert_eq!(pair.in_short(), "identical: p99 faster");
        assert!(super::table(&[pair])["mean"].get("slower").is_none());
    }
}
