//! Whether a run is valid: the flag that overrules it, and the checks as a table.

use clap::Args;
use comfy_table::CellAlignment;
use experiment::{CheckOutcome, ValidityCheck};

use crate::terminal::{table, table_text};

/// What `storelab run` takes about it.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct ValidityFlags {
    /// Take the numbers of a run whose checks fail: exit with 0 instead of 4. Its reasons stay in the record.
    #[arg(long)]
    pub(crate) accept_invalid: bool,
}

/// Every check with its figure and limit, and below the table what to do about those that do not pass.
pub(crate) fn checks_table(checks: &[ValidityCheck]) -> String {
    let mut rows = table(["CHECK", "VALUE", "LIMIT", "OUTCOME", "FOUND"]);
    for column in rows.column_iter_mut().skip(1).take(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for check in checks {
        let figure = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| figure(value, &check.unit));
        let limit = figure(check.limit.or(check.doubtful_limit));
        rows.add_row([
            check.name.clone(),
            figure(check.value),
            limit,
            word(check.outcome).to_owned(),
            check.detail.clone(),
        ]);
    }
    let remedies = checks
        .iter()
        .filter(|check| matches!(check.outcome, CheckOutcome::Doubtful | CheckOutcome::Failed))
        .map(|check| format!("\n  {}: {}", check.name, check.remedy));
    format!("{}{}", table_text(&rows), remedies.collect::<String>())
}

const fn word(outcome: CheckOutcome) -> &'static str {
    match outcome {
        CheckOutcome::Passed => "passed",
        CheckOutcome::Doubtful => "doubtful",
        CheckOutcome::Failed => "FAILED",
        CheckOutcome::NotApplicable => "not applicable",
    }
}

/// A figure with its unit, as records have it.
fn figure(value: f64, unit: &str) -> String {
    let digits = if value.abs() >= 100.0 { 0 } else { 2 };
    let number = format!("{value:.digits$}");
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    match unit {
        "us" => format!("{number} µs"),
        "1" => number.to_owned(),
        unit => format!("{number} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_pass_comes_with_its_remedy() {
        let check = |name: &str, outcome, value, limit, unit: &str| ValidityCheck {
            name: name.to_owned(),
            outcome,
            value,
            doubtful_limit: None,
            limit,
            unit: unit.to_owned(),
            detail: format!("{name} was looked at"),
            remedy: format!("mend {name}"),
        };
        let text = checks_table(&[
            check("one", CheckOutcome::Passed, Some(0.5), Some(95.0), "%"),
            check("two", CheckOutcome::Failed, Some(12_345.678), Some(10_000.0), "us"),
            check("three", CheckOutcome::NotApplicable, None, None, "%"),
        ]);
        for part in ["0.5 %", "95 %", "12346 µs", "10000 µs", "FAILED", "not applicable", "two was looked at"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.ends_with("\n  two: mend two"), "{text}");
    }
}
