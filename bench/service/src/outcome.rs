//! What came of it: figures with all their rounds, judged by their medians; as rows of a table and as JSON.

use serde_json::{Value, json};

use crate::host::Shares;

/// Ahead of the rows.
pub(crate) const TABLE_HEAD: &str = "| figure | median | rounds: least–most | goal |\n|---|---:|---|---|\n";

/// What came of a part.
pub(crate) struct Outcome {
    pub(crate) figures: Vec<Figure>,
    /// What else the host did, as often as it was looked at.
    pub(crate) host: Vec<Shares>,
}

/// Something that was measured in several rounds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// One a round, in the order in which they were measured.
    pub(crate) values: Vec<f64>,
    /// What the median may be at most.
    pub(crate) goal: Option<f64>,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Mebibytes,
    Microseconds,
    Milliseconds,
    PerSecond,
    /// Of one processor.
    PercentOfCore,
    /// One over another.
    Ratio,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Mebibytes => "MiB",
            Self::Microseconds => "µs",
            Self::Milliseconds => "ms",
            Self::PerSecond => "a second",
            Self::PercentOfCore => "% of a core",
            Self::Ratio => "",
        }
    }

    fn text(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{value:.0}"),
            Self::Mebibytes | Self::PercentOfCore => format!("{value:.1}"),
            Self::Microseconds | Self::Milliseconds => format!("{value:.2}"),
            Self::Ratio => format!("{value:.3}"),
        }
    }
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: Unit, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit, values, goal: None }
    }

    /// The same with what its median may be at most.
    pub(crate) fn at_most(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    fn median(&self) -> f64 {
        figures::median(&self.values).unwrap_or(f64::NAN)
    }

    /// Whether it meets its goal, where it has one. What was not measured meets none.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.goal.map(|goal| self.median() <= goal)
    }

    /// A row of the table.
    pub(crate) fn row(&self) -> String {
        let Self { name, unit, values, goal } = self;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let verdict = if self.is_met() == Some(true) { "met" } else { "**missed**" };
        let goal = goal.map_or_else(String::new, |goal| format!("≤ {goal}: {verdict}"));
        let median = format!("{} {}", unit.text(self.median()), unit.name());
        let rounds = format!("{}: {}–{}", values.len(), unit.text(least), unit.text(most));
        format!("| {name} | {} | {rounds} | {goal} |\n", median.trim_end())
    }

    /// All that is known of it.
    pub(crate) fn json(&self) -> Value {
        json!({
            "name": self.name,
            "unit": self.unit.name(),
            "rounds": self.values,
            "median": self.median(),
            "at_most": self.goal,
            "met": self.is_met(),
        })
    }
}

/// The rows of several, and how many goals they meet and miss.
pub(crate) fn table(figures: &[Figure]) -> String {
    let rows: String = figures.iter().map(Figure::row).collect();
    let judged = |wanted: bool| figures.iter().filter(|figure| figure.is_met() == Some(wanted)).count();
    format!("{TABLE_HEAD}{rows}\n{} goals met, {} missed.\n", judged(true), judged(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_median() {
        let figure = |values: &[f64]| Figure::new("a", Unit::Milliseconds, values.to_vec()).at_most(2.0);
        assert_eq!(figure(&[9.0, 1.0, 2.0]).row(), "| a | 2.00 ms | 3: 1.00–9.00 | ≤ 2: met |\n");
        assert_eq!(figure(&[9.0, 1.0, 3.0]).row(), "| a | 3.00 ms | 3: 1.00–9.00 | ≤ 2: **missed** |\n");
        assert_eq!(figure(&[]).is_met(), Some(false));
        let ratio = Figure::new("b", Unit::Ratio, vec![1.0, 1.01]);
        assert_eq!(ratio.row(), "| b | 1.005 | 2: 1.000–1.010 |  |\n");
        let table = table(&[figure(&[1.0]), figure(&[3.0]), ratio]);
        assert!(table.ends_with("\n1 goals met, 1 missed.\n"), "{table}");
    }
}
