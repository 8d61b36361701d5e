//! What came of the sentences, store by store: printed at the end, and written as Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The environment's say about the file that the matrix is written to.
const FILE_VARIABLE: &str = "STORELAB_MATRIX";

/// How a sentence ended on a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Skipped(String),
    Failed,
}

/// All that is known of a run of the suite.
#[derive(Debug, Default)]
struct Matrix {
    /// By driver, target and group of sentences.
    outcomes: BTreeMap<&'static str, BTreeMap<String, BTreeMap<String, Vec<Outcome>>>>,
    /// What a target's server says of itself.
    versions: BTreeMap<String, String>,
}

static MATRIX: Mutex<Option<Matrix>> = Mutex::new(None);

fn with_matrix<T>(change: impl FnOnce(&mut Matrix) -> T) -> T {
    let mut matrix = MATRIX.lock().unwrap_or_else(PoisonError::into_inner);
    change(matrix.get_or_insert_default())
}

/// Keeps how a sentence of a group ended.
pub(crate) fn record(driver: &'static str, target: &str, group: &str, outcome: Outcome) {
    with_matrix(|matrix| {
        let targets = matrix.outcomes.entry(driver).or_default();
        let groups = targets.entry(target.to_owned()).or_default();
        groups.entry(group.to_owned()).or_default().push(outcome);
    });
}

/// Keeps what a target's server says of itself.
pub(crate) fn record_version(target: &str, version: String) {
    with_matrix(|matrix| matrix.versions.insert(target.to_owned(), version));
}

/// Whether that is still unknown.
pub(crate) fn wants_version(target: &str) -> bool {
    with_matrix(|matrix| !matrix.versions.contains_key(target))
}

/// Prints what came of the sentences, and writes it to a file where the environment names one.
#[expect(clippy::print_stdout, reason = "it is what the suite is run for")]
pub(crate) fn conclude() {
    let text = with_matrix(|matrix| matrix.markdown());
    if text.is_empty() {
        return;
    }
    println!("\n{text}");
    if let Some(path) = std::env::var_os(FILE_VARIABLE).map(PathBuf::from)
        && let Err(error) = std::fs::write(&path, &text)
    {
        println!("the matrix was not written to {}: {error}", path.display());
    }
}

impl Matrix {
    /// A table for each driver: what is tested by target, and below it why something was skipped.
    fn markdown(&self) -> String {
        let mut text = String::new();
        for (driver, targets) in &self.outcomes {
            self.table(driver, targets, &mut text).expect("writing to a string cannot fail");
        }
        text.trim_end().to_owned()
    }

    fn table(
        &self,
        driver: &str,
        targets: &BTreeMap<String, BTreeMap<String, Vec<Outcome>>>,
        text: &mut String,
    ) -> std::fmt::Result {
        writeln!(text, "### {driver}\n")?;
        let mut header = "| |".to_owned();
        for target in targets.keys() {
            write!(header, " {target} |")?;
        }
        writeln!(text, "{header}\n|---|{}", "---|".repeat(targets.len()))?;
        if targets.keys().any(|target| self.versions.contains_key(target)) {
            write!(text, "| version |")?;
            for target in targets.keys() {
                write!(text, " {} |", self.versions.get(target).map_or("", String::as_str))?;
            }
            writeln!(text)?;
        }
        let groups: BTreeSet<&String> = targets.values().flat_map(BTreeMap::keys).collect();
        let mut reasons: Vec<&str> = Vec::new();
        for group in groups {
            write!(text, "| {group} |")?;
            for outcomes in targets.values() {
                write!(text, " {} |", cell(outcomes.get(group).map_or(&[][..], Vec::as_slice), &mut reasons))?;
            }
            writeln!(text)?;
        }
        writeln!(text)?;
        for (number, reason) in reasons.iter().enumerate() {
            writeln!(text, "{}. skipped: {reason}", number + 1)?;
        }
        if !reasons.is_empty() {
            writeln!(text)?;
        }
        Ok(())
    }
}

/// How many sentences of a group passed, failed, and were skipped for which reason.
fn cell<'a>(outcomes: &'a [Outcome], reasons: &mut Vec<&'a str>) -> String {
    let passed = outcomes.iter().filter(|outcome| **outcome == Outcome::Passed).count();
    let failed = outcomes.iter().filter(|outcome| **outcome == Outcome::Failed).count();
    let mut parts = Vec::new();
    if passed > 0 {
        parts.push(format!("{passed} passed"));
    }
    if failed > 0 {
        parts.push(format!("**{failed} failed**"));
    }
    let mut skipped: BTreeMap<usize, usize> = BTreeMap::new();
    for outcome in outcomes {
        if let Outcome::Skipped(reason) = outcome {
            let place = reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len() - 1
            });
            *skipped.entry(place + 1).or_default() += 1;
        }
    }
    parts.extend(skipped.iter().map(|(reason, count)| format!("{count} skipped ({reason})")));
    parts.join(", ")
}
