//! A summary for a pull request: the verdict, the numbers that are asked for first, thresholds, operations.
//!
//! It holds no links, and nothing in it becomes one: what others named (operations, servers, expressions) is set as code,
//! in which nobody is mentioned and no address can be followed.

use std::fmt::Write as _;

use experiment::{CheckOutcome, Record, Status};

use super::{Format, Output, Source};
use crate::Result;
use crate::report::format::{NONE, Unit, count, number, push, share, time};
use crate::report::{counted, exact};

pub(super) static FORMAT: Format = Format {
    name: "markdown",
    extension: "md",
    summary: "a summary for a pull request: verdict, headline, thresholds, operations; without links",
    is_text: true,
    write,
};

fn write(source: &Source<'_>, out: Output<'_>) -> Result<()> {
    Ok(out.write_all(text(&source.record).as_bytes())?)
}

fn text(record: &Record) -> String {
    let mut out = String::new();
    title(&mut out, record);
    headline(&mut out, record);
    thresholds(&mut out, record);
    operations(&mut out, record);
    validity(&mut out, record);
    out
}

/// What came of the run in a heading, and why.
fn title(out: &mut String, record: &Record) {
    let verdict = &record.verdict;
    let failed = verdict.thresholds.iter().filter(|threshold| !threshold.passed).count();
    let (sign, word) = match record.status {
        Status::Running => ("⏳", "still running".to_owned()),
        Status::Failed => ("❌", "failed".to_owned()),
        Status::Interrupted => ("⚠️", "interrupted".to_owned()),
        Status::Completed if !record.verification.passed => ("❌", "the data are wrong".to_owned()),
        Status::Completed if !verdict.valid && verdict.accepted => ("⚠️", "not valid, and accepted".to_owned()),
        Status::Completed if !verdict.valid => ("❌", "not valid".to_owned()),
        Status::Completed if failed > 0 => {
            ("❌", format!("{failed} of {} thresholds missed", verdict.thresholds.len()))
        }
        Status::Completed if verdict.thresholds.is_empty() => ("✅", "valid".to_owned()),
        Status::Completed => ("✅", "valid, and every threshold holds".to_owned()),
    };
    push!(out, "### {sign} {}: {word}\n\n", code(&record.name));
    let workload = match &record.workload.variant {
        Some(variant) => format!("{}:{variant}", record.workload.name),
        None => record.workload.name.clone(),
    };
    push!(
        out,
        "{} on {} for {}, seed {}, run {}\n\n",
        code(&workload),
        code(&record.target.server),
        time(record.duration_seconds),
        record.seed,
        code(&record.id.to_string())
    );
    for reason in &verdict.reasons {
        push!(out, "- **Not valid:** {}\n", plain(reason));
    }
    for check in record.verification.checks.iter().filter(|check| !check.passed) {
        push!(out, "- **Wrong data:** {}: {}\n", code(&check.name), plain(&check.detail));
    }
    for warning in &verdict.warnings {
        push!(out, "- {}\n", plain(warning));
    }
    if out.ends_with("\n\n") {
        return;
    }
    out.push('\n');
}

fn headline(out: &mut String, record: &Record) {
    let latency = &record.total.latency_us;
    let has_any = record.total.succeeded > 0;
    let figure = |value: f64| if has_any { Unit::Microseconds.text(value) } else { NONE.to_owned() };
    let ended = record.accounting.succeeded + record.accounting.failed;
    out.push_str("| throughput | p50 | p95 | p99 | p99.9 | max | errors |\n|--:|--:|--:|--:|--:|--:|--:|\n");
    push!(
        out,
        "| {}/s | {} | {} | **{}** | {} | {} | {} |\n\n",
        number(record.throughput_per_second),
        figure(latency.p50),
        figure(latency.p95),
        figure(latency.p99),
        figure(latency.p99_9),
        figure(latency.max),
        share(record.accounting.failed, ended)
    );
}

fn thresholds(out: &mut String, record: &Record) {
    if record.verdict.thresholds.is_empty() {
        return;
    }
    out.push_str("| threshold | holds | value |\n|:--|:--|--:|\n");
    for threshold in &record.verdict.thresholds {
        let value = exact(&threshold.unit, threshold.value);
        let holds = if threshold.passed { "✅ yes" } else { "❌ no" };
        let aborted =
            threshold.aborted_at_seconds.map(|at| format!(", which ended the run at {}", time(at))).unwrap_or_default();
        push!(out, "| {} | {holds}{aborted} | {value} |\n", code(&threshold.expression));
    }
    out.push('\n');
}

fn operations(out: &mut String, record: &Record) {
    if record.operations.is_empty() {
        return;
    }
    push!(out, "<details><summary>{}</summary>\n\n", counted(record.operations.len(), "operation"));
    out.push_str(
        "| operation | succeeded | failed | mean | p50 | p95 | p99 | max |\n|:--|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for operation in &record.operations {
        let latency = &operation.latency_us;
        push!(out, "| {} | {} | {} |", code(&operation.name), count(operation.succeeded), count(operation.failed));
        for value in [latency.mean, latency.p50, latency.p95, latency.p99, latency.max] {
            let text = if operation.succeeded > 0 { Unit::Microseconds.text(value) } else { NONE.to_owned() };
            push!(out, " {text} |");
        }
        out.push('\n');
    }
    out.push_str("\n</details>\n\n");
}

fn validity(out: &mut String, record: &Record) {
    let checks = &record.verdict.checks;
    if checks.is_empty() {
        return;
    }
    let is_good = |outcome| matches!(outcome, CheckOutcome::Passed | CheckOutcome::NotApplicable);
    let open = if checks.iter().all(|check| is_good(check.outcome)) { "" } else { " open" };
    push!(out, "<details{open}><summary>{} of validity</summary>\n\n", counted(checks.len(), "check"));
    out.push_str("| check | outcome | found |\n|:--|:--|:--|\n");
    for check in checks {
        let outcome = match check.outcome {
            CheckOutcome::Passed => "✅ holds",
            CheckOutcome::Doubtful => "⚠️ in doubt",
            CheckOutcome::Failed => "❌ does not hold",
            CheckOutcome::NotApplicable => "does not apply",
        };
        let remedy = if is_good(check.outcome) || check.remedy.is_empty() {
            String::new()
        } else {
            format!(": {}", plain(&check.remedy))
        };
        push!(out, "| {} | {outcome} | {}{remedy} |\n", code(&check.name), plain(&check.detail));
    }
    out.push_str("\n</details>\n");
}

/// Text that stays text: no markup, no mention, no reference, no link, no new line.
fn plain(text: &str) -> String {
    /// Takes no room, and what it stands in is no address.
    const WORD_JOINER: char = '\u{2060}';
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '@' | '#' => out.extend([character, WORD_JOINER]),
            '/' if out.ends_with(':') => out.extend([WORD_JOINER, '/']),
            '.' if out.to_ascii_lowercase().ends_with("www") => out.extend([WORD_JOINER, '.']),
            // At its start these would make it a list.
            '+' | '-' if out.is_empty() => out.extend(['\\', character]),
            '\\' | '`' | '*' | '_' | '[' | ']' | '>' | '|' | '~' => out.extend(['\\', character]),
            control if control.is_control() || control.is_whitespace() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// Text as code, which may stand in a table: fenced by more backticks than it has in a row.
fn code(text: &str) -> String {
    let mut longest = 0;
    let mut length = 0;
    for character in text.chars() {
        length = if character == '`' { length + 1 } else { 0 };
        longest = longest.max(length);
    }
    let fence = "`".repeat(longest + 1);
    let inner: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    // In a table the bar ends a cell even in code, unless it is escaped.
    let inner = inner.replace('|', "\\|");
    let room = if inner.is_empty() || inner.starts_with('`') || inner.ends_with('`') { " " } else { "" };
    format!("{fence}{room}{inner}{room}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_named_stays_text() {
        for (text, expect) in [
            ("read", "`read`"),
            ("a|b", "`a\\|b`"),
            ("`x`", "`` `x` ``"),
            ("two\nlines", "`two lines`"),
            ("@team see https://x.example", "`@team see https://x.example`"),
            ("", "`  `"),
        ] {
            assert_eq!(code(text), expect);
        }
        for (text, expect) in [
            ("@a #1 <b>", "@\u{2060}a #\u{2060}1 &lt;b\\>"),
            ("http://x.example, Www.x", "http:\u{2060}//x.example, Www\u{2060}.x"),
            ("- 31 % of it\n| 2*3 - 1.5", "\\- 31 % of it \\| 2\\*3 - 1.5"),
        ] {
            assert_eq!(plain(text), expect);
        }
    }
}
