//! One metric over many runs: what is kept of where it changed.

mod metric;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stats::change_points::{EDivisive, Hunter};
use uuid::Uuid;

pub use metric::HistoryMetric;

/// Runs of a history: the newest.
pub const HISTORY_RUNS_MAX: usize = 10_000;

/// Runs that E-divisive is asked about: its 499 shuffles of 1,000 values take a second, and time is in the square of
/// their number.
pub const E_DIVISIVE_RUNS_MAX: usize = 1_000;

/// Change points are looked for in so many runs and more. Of three, the first of which was slow, Student's t-test takes
/// the other two for proof; eight leave four on each side of a change to see their spread in.
const RUNS_MIN: usize = 8;

/// Above it nothing changed: the level of E-divisive, and ten times that of Hunter, whose t-test is done anew where pieces
/// were merged.
const P_VALUE_MAX: f64 = 0.01;

/// What shuffles derive from: the same history is judged the same way every time.
const SEED: u64 = 42;

/// How change points are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HistoryMethod {
    /// As Hunter and Apache Otava.
    #[default]
    Hunter,
    /// As Matteson and James.
    EDivisive,
}

/// The name of the shape.
pub const HISTORY_SCHEMA: &str = "storelab.history/1";

/// One metric over the runs of one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// [`HISTORY_SCHEMA`].
    pub schema: String,
    /// The runs' name.
    pub name: String,
    /// The metric, as in a threshold: `p99(read)`.
    pub metric: String,
    /// `us`, `/s`, `%`, `1`.
    pub unit: String,
    /// The runs, oldest first.
    pub points: Vec<HistoryPoint>,
    /// Where the metric changed for good.
    pub change_points: Vec<ChangePoint>,
    /// How they were found, in words.
    #[serde(default)]
    pub method: String,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// A run of a history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPoint {
    /// The run.
    pub run: Uuid,
    /// When it started.
    pub started_at: Timestamp,
    /// Its server's product and version.
    pub server: String,
    /// The metric.
    pub value: f64,
}

/// Where a metric changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ChangePoint {
    /// The place among the points of the first run after the change.
    pub index: usize,
    /// Mean from the change before it.
    pub before: f64,
    /// Mean up to the next change.
    pub after: f64,
    /// What changed, as a share of what was before: 0.05 is 5 % more. 1 where it was nothing before.
    pub change: f64,
    /// The chance of it where nothing changed.
    pub p_value: f64,
}

impl ChangePoint {
    /// Whether the pieces on its both sides differ. Places are Otava's, and Otava keeps some between which nothing is left
    /// of the change once others went (see [`Hunter::change_points`]).
    pub fn is_significant(&self) -> bool {
        self.p_value <= P_VALUE_MAX
    }
}

impl History {
    /// Finds where a metric changed for good, by more than `change_min` as a share of the side where that is more.
    /// Points are oldest first, their values finite.
    pub fn of(
        name: &str,
        metric: &HistoryMetric,
        points: Vec<HistoryPoint>,
        method: HistoryMethod,
        change_min: f64,
        mut notes: Vec<String>,
    ) -> Self {
        let is_enough = points.len() >= RUNS_MIN;
        if !is_enough {
            notes.push(format!("only {}: a change is looked for in {RUNS_MIN} and more", runs(points.len())));
        }
        let values: Vec<_> = points.iter().map(|point| point.value).filter(|_| is_enough).collect();
        let (found, method) = match method {
            HistoryMethod::Hunter => {
                let hunter = Hunter { change_min, ..Hunter::default() };
                let Hunter { window, p_value_max, .. } = hunter;
                let words =
                    format!("E-divisive in windows of {window} runs, Student's t-test, p < {p_value_max} (Hunter)");
                (hunter.change_points(&values), words)
            }
            HistoryMethod::EDivisive => {
                let paper = EDivisive { change_min, ..EDivisive::default() };
                let EDivisive { permutations, p_value_max, .. } = paper;
                let words = format!("E-divisive, {permutations} permutations, p <= {p_value_max} (Matteson and James)");
                (paper.change_points(&values, SEED), words)
            }
        };
        let change_points = found.into_iter().map(|point| ChangePoint {
            index: point.index,
            before: point.before,
            after: point.after,
            change: if point.before == 0.0 { 1.0 } else { point.after / point.before - 1.0 },
            p_value: point.p_value,
        });
        let change_points: Vec<_> = change_points.collect();
        for ChangePoint { index, p_value, .. } in change_points.iter().filter(|point| !point.is_significant()) {
            notes.push(format!(
                "{index} is there because Apache Otava has it; between its neighbours nothing changed (p {p_value:.2})"
            ));
        }
        Self {
            schema: HISTORY_SCHEMA.to_owned(),
            name: name.to_owned(),
            metric: metric.to_string(),
            unit: metric.unit().to_owned(),
            change_points,
            points,
            method,
            notes,
        }
    }
}

/// `1 run`, `2 runs`.
fn runs(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(values: &[f64], method: HistoryMethod, change_min: f64) -> History {
        let point =
            |&value| HistoryPoint { run: Uuid::nil(), started_at: Timestamp::UNIX_EPOCH, server: String::new(), value };
        let metric = "p99(read)".parse().expect("a metric");
        History::of("nightly", &metric, values.iter().map(point).collect(), method, change_min, Vec::new())
    }

    #[test]
    fn both_methods_find_a_step_and_say_how() {
        let values: Vec<_> = (0..40).map(|run| if run < 25 { 100.0 } else { 110.0 } + f64::from(run * 7 % 5)).collect();
        for (method, words) in [(HistoryMethod::Hunter, "(Hunter)"), (HistoryMethod::EDivisive, "499 permutations")] {
            let History { change_points, method: said, notes, .. } = history(&values, method, 0.0);
            let [point] = change_points.as_slice() else { panic!("{method:?}: {change_points:?}") };
            assert_eq!((point.index, point.before, point.after), (25, 102.0, 112.0), "{method:?}");
            assert!((point.change - 0.098).abs() < 0.001 && point.p_value < 0.01, "{point:?}");
            assert!(said.contains(words) && notes.is_empty(), "{said} {notes:?}");
            assert_eq!(history(&values, method, 0.2).change_points, [], "{method:?}: smaller than what is asked for");
        }
    }

    #[test]
    fn what_came_from_nothing_is_a_change_of_all() {
        let values: Vec<_> = (0..40).map(|run| if run < 20 { 0.0 } else { f64::from(2 + run % 3) }).collect();
        let changes: Vec<_> = history(&values, HistoryMethod::Hunter, 0.0)
            .change_points
            .iter()
            .map(|point| (point.index, point.change))
            .collect();
        assert_eq!(changes, [(20, 1.0)]);
    }

    #[test]
    fn a_place_that_is_only_otavas_is_said() {
        // Of the fixture that Otava's answers are kept in: 20 and 30.
        let values = [
            99, 103, 100, 99, 99, 101, 95, 99, 100, 101, 100, 94, 99, 100, 98, 103, 99, 98, 100, 98, 97, 95, 96, 97,
            97, 96, 97, 96, 96, 98, 93, 92, 94, 96, 101, 102, 99, 102, 97, 97,
        ];
        let History { change_points, notes, .. } = history(&values.map(f64::from), HistoryMethod::Hunter, 0.0);
        let found: Vec<_> = change_points.iter().map(|point| (point.index, point.is_significant())).collect();
        assert_eq!(found, [(20, true), (30, false)]);
        assert_eq!(notes, ["30 is there because Apache Otava has it; between its neighbours nothing changed (p 0.49)"]);
    }

    #[test]
    fn few_runs_are_said() {
        for (count, note) in [(0, "only 0 runs: "), (1, "only 1 run: "), (7, "only 7 runs: ")] {
            let notes = history(&vec![1.0; count], HistoryMethod::Hunter, 0.0).notes;
            assert!(notes.len() == 1 && notes[0].starts_with(note), "{notes:?}");
        }
        let short = |count: usize| {
            history(&[10.0, 10.1, 9.9, 10.0, 20.1, 20.0, 19.9, 20.0][..count], HistoryMethod::Hunter, 0.0)
        };
        assert_eq!((short(7).change_points.len(), short(8).change_points.len()), (0, 1));
        assert!(history(&[1.0; 8], HistoryMethod::Hunter, 0.0).notes.is_empty());
    }
}
