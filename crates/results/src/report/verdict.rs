//! What the numbers are worth: in words at the top of the page, then each check and threshold with its figures.

use std::fmt::Write as _;

use experiment::{CheckOutcome, Quantity, Record, Status, ThresholdRecord, ValidityCheck};

use super::format::{NONE, Unit, escape, number, push, time};
use super::table::{Cell, Table};

/// Whether the numbers can be relied on, in words.
pub(super) fn words(out: &mut String, record: &Record) {
    let [class, sign, word, sentence] = in_a_word(record);
    push!(
        out,
        "<section class=\"verdict {class}\"><h2><span class=\"sign\" aria-hidden=\"true\">{sign}</span> {word}</h2><p>{sentence}</p>"
    );
    list(out, &record.verdict.reasons);
    verification_words(out, record);
    threshold_words(out, &record.verdict.thresholds);
    if !record.verdict.warnings.is_empty() {
        out.push_str("<p><b>To know before relying on the numbers:</b></p>");
        list(out, &record.verdict.warnings);
    }
    out.push_str("</section>\n");
}

/// How the verdict looks, a sign, a word and a sentence. What is worst is said first.
fn in_a_word(record: &Record) -> [&'static str; 4] {
    let verdict = &record.verdict;
    let is_in_doubt = verdict.checks.iter().any(|check| check.outcome == CheckOutcome::Doubtful);
    match record.status {
        Status::Running => ["warn", "…", "Still running", "The figures are those so far."],
        Status::Failed => ["bad", "✗", "Failed", "The run could not be carried out."],
        Status::Interrupted => ["warn", "!", "Interrupted", "The run was stopped before its planned end."],
        Status::Completed if !verdict.valid && verdict.accepted => [
            "warn",
            "!",
            "Not valid, and accepted",
            "The numbers are not, or not only, those of the data store. They were asked for all the same.",
        ],
        Status::Completed if !verdict.valid => {
            ["bad", "✗", "Not valid", "The numbers are not, or not only, those of the data store."]
        }
        Status::Completed if !record.verification.passed => [
            "bad",
            "✗",
            "Wrong data",
            "The load was as planned, but the data store did not hold what had been written to it.",
        ],
        Status::Completed if verdict.thresholds.iter().any(|threshold| !threshold.passed) => {
            ["bad", "✗", "Threshold missed", "The numbers can be relied on, and are not what was asked for."]
        }
        Status::Completed if is_in_doubt => {
            ["warn", "!", "Valid, with doubts", "The load generator did what was planned, but not by a wide margin."]
        }
        Status::Completed => {
            ["good", "✓", "Valid", "The load generator did what was planned and was not what limited the run."]
        }
    }
}

/// Texts as a list.
pub(super) fn list(out: &mut String, texts: &[String]) {
    if texts.is_empty() {
        return;
    }
    out.push_str("<ul>");
    for text in texts {
        push!(out, "<li>{}</li>", escape(text));
    }
    out.push_str("</ul>");
}

fn verification_words(out: &mut String, record: &Record) {
    let verification = &record.verification;
    let failed = verification.checks.iter().filter(|check| !check.passed).count();
    let total = verification.checks.len();
    if record.status == Status::Running {
        return;
    }
    match (verification.passed, total) {
        (true, 0) => out.push_str("<p>✓ <b>Data:</b> no operation read what had not been written.</p>"),
        (true, _) => push!(out, "<p>✓ <b>Data:</b> {} passed.</p>", counted(total, "check")),
        (false, 0) if record.status != Status::Completed => out.push_str("<p><b>Data:</b> not verified.</p>"),
        (false, _) if failed > 0 => {
            let checks = counted(total, "check");
            push!(out, "<p>✗ <b>Data:</b> {failed} of {checks} failed, so the figures count for nothing.</p>");
        }
        (false, _) => out.push_str("<p>✗ <b>Data:</b> wrong results were read, so the figures count for nothing.</p>"),
    }
}

fn threshold_words(out: &mut String, thresholds: &[ThresholdRecord]) {
    let missed: Vec<_> = thresholds.iter().filter(|threshold| !threshold.passed).collect();
    if thresholds.is_empty() {
        return;
    }
    if missed.is_empty() {
        let verb = if thresholds.len() == 1 { "holds" } else { "hold" };
        push!(out, "<p>✓ <b>Thresholds:</b> {} {verb}.</p>", counted(thresholds.len(), "condition"));
        return;
    }
    push!(
        out,
        "<p>✗ <b>Thresholds:</b> {} of {} missed.</p><ul>",
        missed.len(),
        counted(thresholds.len(), "condition")
    );
    for threshold in missed {
        push!(out, "<li><code>{}</code>: ", escape(&threshold.expression));
        if threshold.value.is_some() {
            push!(out, "it was {}", escape(&exact(&threshold.unit, threshold.value)));
        } else {
            let why = threshold.reason.as_deref().unwrap_or("there was nothing to measure");
            push!(out, "{}, which does not pass", escape(why));
        }
        if let Some(at) = threshold.aborted_at_seconds {
            push!(out, ", and ended the run at {}", time(at));
        }
        out.push_str("</li>");
    }
    out.push_str("</ul>");
}

/// So many things, one of them in the singular.
pub(crate) fn counted(total: usize, what: &str) -> String {
    if total == 1 { format!("1 {what}") } else { format!("{total} {what}s") }
}

/// Every threshold with its figure and its limit.
pub(super) fn thresholds(out: &mut String, record: &Record) {
    let mut table = Table::new(["Threshold", "Holds", "Value", "Limit", "Ended the run"]);
    for threshold in &record.verdict.thresholds {
        let figure = |value: Option<f64>| Cell::Figure(exact(&threshold.unit, value));
        let ended = threshold.aborted_at_seconds.map_or_else(String::new, |at| format!("at {}", time(at)));
        table.row(vec![
            Cell::Code(threshold.expression.clone()),
            Cell::State(if threshold.passed { "✓ yes" } else { "✗ no" }),
            figure(threshold.value),
            figure(threshold.limit),
            Cell::Text(ended),
        ]);
    }
    if !table.is_empty() {
        out.push_str("<section><h2>Thresholds</h2>");
        table.write(out);
        out.push_str("</section>\n");
    }
}

/// What the verdict follows from: open where not all of it is well.
pub(super) fn validity(out: &mut String, record: &Record) {
    let checks = &record.verdict.checks;
    if checks.is_empty() {
        return;
    }
    let count = |outcome| checks.iter().filter(|check| check.outcome == outcome).count();
    let (failed, doubtful) = (count(CheckOutcome::Failed), count(CheckOutcome::Doubtful));
    let said = match (failed, doubtful) {
        (0, 0) => "nothing against it".to_owned(),
        (0, doubtful) => format!("{doubtful} in doubt"),
        (failed, 0) => format!("{failed} failed"),
        (failed, doubtful) => format!("{failed} failed, {doubtful} in doubt"),
    };
    let open = if failed + doubtful > 0 { " open" } else { "" };
    push!(
        out,
        "<section><details{open}><summary>What the verdict follows from <small>{}, {said}</small></summary>",
        counted(checks.len(), "check")
    );
    let mut table =
        Table::new(["Check", "Outcome", "Figure", "Doubtful beyond", "Invalid beyond", "Found", "What to do"]);
    for check in checks {
        table.row(check_row(check));
    }
    table.write(out);
    out.push_str("</details></section>\n");
}

fn check_row(check: &ValidityCheck) -> Vec<Cell> {
    let (outcome, needs_remedy) = match check.outcome {
        CheckOutcome::Passed => ("✓ holds", false),
        CheckOutcome::Doubtful => ("! in doubt", true),
        CheckOutcome::Failed => ("✗ failed", true),
        CheckOutcome::NotApplicable => ("– does not apply", false),
    };
    let figure = |value: Option<f64>| Cell::Figure(figure(&check.unit, value));
    vec![
        Cell::Code(check.name.clone()),
        Cell::State(outcome),
        figure(check.value),
        figure(check.doubtful_limit),
        figure(check.limit),
        Cell::Text(check.detail.clone()),
        Cell::Text(if needs_remedy { check.remedy.clone() } else { String::new() }),
    ]
}

/// A figure of a threshold, with as many digits as tell it from its limit.
pub(crate) fn exact(unit: &str, value: Option<f64>) -> String {
    let text = |value| Quantity::of_unit(unit).map_or_else(|| number(value), |quantity| quantity.text(value));
    value.map_or_else(|| NONE.to_owned(), text)
}

fn figure(unit: &str, value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), |value| Unit::of(unit).text(value))
}

/// Each check of the data.
pub(super) fn verification(out: &mut String, record: &Record) {
    let mut table = Table::new(["Check of the data", "Holds", "Found"]);
    for check in &record.verification.checks {
        table.row(vec![
            Cell::Text(check.name.clone()),
            Cell::State(if check.passed { "✓ yes" } else { "✗ no" }),
            Cell::Text(check.detail.clone()),
        ]);
    }
    if !table.is_empty() {
        out.push_str("<section><h2>Verification</h2>");
        table.write(out);
        out.push_str("</section>\n");
    }
}
