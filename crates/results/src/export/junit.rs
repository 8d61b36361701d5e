//! A run as JUnit XML, which every continuous integration shows as tests: a suite a run, a test for whether it came to its
//! end, for each threshold, for each check of the data, and for each check of the run's validity.
//!
//! There is no standard; what is written is what Jenkins' xUnit plugin has a schema of, and what GitLab, Jenkins and GitHub
//! actions read.

use std::fmt::Write as _;

use experiment::{CheckOutcome, CheckRecord, Quantity, Record, Status, ThresholdRecord, ValidityCheck};

use super::{Format, Output, Source};
use crate::Result;

pub(super) static FORMAT: Format = Format {
    name: "junit",
    extension: "xml",
    summary: "JUnit XML for continuous integration: a test for each threshold, check of the data and check of validity",
    is_text: true,
    write,
};

fn write(source: &Source<'_>, out: Output<'_>) -> Result<()> {
    Ok(out.write_all(junit(&source.record).as_bytes())?)
}

/// The document of a run.
pub fn junit(record: &Record) -> String {
    let mut tests = vec![ended(record)];
    tests.extend(record.verdict.thresholds.iter().map(threshold));
    tests.extend(record.verification.checks.iter().map(check));
    tests.extend(record.verdict.checks.iter().map(|check| validity(check, record.verdict.accepted)));
    // Reasons that no check stands for.
    if !record.verdict.checks.iter().any(|check| check.outcome == CheckOutcome::Failed) {
        tests.push(valid(record));
    }
    document(record, &tests)
}

/// One test.
struct Test {
    class: &'static str,
    name: String,
    outcome: Outcome,
    /// What was found.
    detail: String,
    seconds: f64,
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl Test {
    fn new(class: &'static str, name: &str, outcome: Outcome, detail: String) -> Self {
        Self { class, name: name.to_owned(), outcome, detail, seconds: 0.0 }
    }
}

fn seconds_of(record: &Record) -> f64 {
    record.ended_at.duration_since(record.started_at).as_secs_f64().max(0.0)
}

/// Whether the run came to its end; the one test that took time.
fn ended(record: &Record) -> Test {
    let aborted = record.verdict.thresholds.iter().find_map(|threshold| threshold.aborted_at_seconds);
    let outcome = match (record.status, aborted) {
        (Status::Completed, _) => Outcome::Passed,
        (_, Some(seconds)) => Outcome::Failed(format!("a threshold ended the run after {seconds:.0} s")),
        (Status::Failed, None) => Outcome::Failed(format!("the run failed: {}", record.verdict.reasons.join("; "))),
        (status, None) => Outcome::Failed(format!("the run is {}", status.name())),
    };
    let accounting = &record.accounting;
    let detail = format!(
        "{} scheduled = {} succeeded + {} failed + {} shed + {} unfinished",
        accounting.scheduled, accounting.succeeded, accounting.failed, accounting.shed, accounting.unfinished
    );
    Test { seconds: seconds_of(record), ..Test::new("run", "the run came to its end", outcome, detail) }
}

fn threshold(threshold: &ThresholdRecord) -> Test {
    let quantity = Quantity::of_unit(&threshold.unit);
    let figure = |value: f64| quantity.map_or_else(|| value.to_string(), |quantity| quantity.text(value));
    let found = match (threshold.value, &threshold.reason) {
        (Some(value), _) => figure(value),
        (None, Some(reason)) => format!("nothing was measured: {reason}"),
        (None, None) => "nothing was measured".to_owned(),
    };
    let limit = threshold.limit.map(|limit| format!(", the limit is {}", figure(limit))).unwrap_or_default();
    let detail = format!("{found}{limit}");
    let outcome = if threshold.passed {
        Outcome::Passed
    } else {
        Outcome::Failed(format!("{} does not hold: {detail}", threshold.expression))
    };
    Test::new("threshold", &threshold.expression, outcome, detail)
}

fn check(check: &CheckRecord) -> Test {
    let outcome = if check.passed { Outcome::Passed } else { Outcome::Failed(check.detail.clone()) };
    Test::new("verification", &check.name, outcome, check.detail.clone())
}

fn validity(check: &ValidityCheck, accepted: bool) -> Test {
    let outcome = match check.outcome {
        CheckOutcome::Passed | CheckOutcome::Doubtful => Outcome::Passed,
        CheckOutcome::Failed if accepted => Outcome::Passed,
        CheckOutcome::Failed => Outcome::Failed(format!("{}: {}", check.detail, check.remedy)),
        CheckOutcome::NotApplicable => Outcome::Skipped(check.detail.clone()),
    };
    Test::new("validity", &check.name, outcome, check.detail.clone())
}

fn valid(record: &Record) -> Test {
    let verdict = &record.verdict;
    let outcome =
        if verdict.valid || verdict.accepted { Outcome::Passed } else { Outcome::Failed(verdict.reasons.join("; ")) };
    Test::new("validity", "the run is valid", outcome, verdict.warnings.join("; "))
}

fn document(record: &Record, tests: &[Test]) -> String {
    let count = |is_one: fn(&Outcome) -> bool| tests.iter().filter(|test| is_one(&test.outcome)).count();
    let failures = count(|outcome| matches!(outcome, Outcome::Failed(_)));
    let skipped = count(|outcome| matches!(outcome, Outcome::Skipped(_)));
    let (all, seconds) = (tests.len(), seconds_of(record));
    let name = escape(&record.name);
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    push(
        &mut out,
        format_args!(
            "<testsuites name=\"storelab\" tests=\"{all}\" failures=\"{failures}\" errors=\"0\" time=\"{seconds:.3}\">\n"
        ),
    );
    push(
        &mut out,
        format_args!(
            "  <testsuite name=\"{name}\" tests=\"{all}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" \
             time=\"{seconds:.3}\" timestamp=\"{}\">\n    <properties>\n",
            record.started_at.strftime("%Y-%m-%dT%H:%M:%S")
        ),
    );
    for (name, value) in [
        ("run", record.id.to_string()),
        ("target", record.target.url.clone()),
        ("server", record.target.server.clone()),
        ("workload", record.workload.name.clone()),
        ("seed", record.seed.to_string()),
        ("throughput_per_second", record.throughput_per_second.to_string()),
        ("latency_us_p99", record.total.latency_us.p99.to_string()),
    ] {
        push(&mut out, format_args!("      <property name=\"{name}\" value=\"{}\"/>\n", escape(&value)));
    }
    out.push_str("    </properties>\n");
    for test in tests {
        write_test(&mut out, &name, test);
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn write_test(out: &mut String, suite: &str, test: &Test) {
    let Test { class, name, outcome, detail, seconds } = test;
    let (name, detail) = (escape(name), escape(detail));
    push(out, format_args!("    <testcase classname=\"{suite}.{class}\" name=\"{name}\" time=\"{seconds:.3}\">\n"));
    match outcome {
        Outcome::Passed => {}
        Outcome::Failed(message) => {
            let message = escape(message);
            push(out, format_args!("      <failure type=\"{class}\" message=\"{message}\">{detail}</failure>\n"));
        }
        Outcome::Skipped(message) => push(out, format_args!("      <skipped message=\"{}\"/>\n", escape(message))),
    }
    push(out, format_args!("      <system-out>{detail}</system-out>\n    </testcase>\n"));
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a string takes everything");
}

/// Text as content or as a quoted attribute, in which XML folds line breaks unless they are written as references. What
/// XML 1.0 does not allow at all becomes the replacement character.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            '\n' | '\r' | '\t' => push(&mut escaped, format_args!("&#{};", u32::from(letter))),
            // Production 2 of XML 1.0, fifth edition.
            '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}' => escaped.push(letter),
            _ => escaped.push('\u{FFFD}'),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::fixture::{self, MINUTE, Shape};

    fn record() -> Record {
        static RECORD: LazyLock<Record> =
            LazyLock::new(|| fixture::run("checkout <3>", Shape { seconds: 10, ..MINUTE }, |_| {}).0);
        RECORD.clone()
    }

    /// The tests of a document: class, name, and the failure's message or `-`.
    fn tests_of(xml: &str) -> Vec<(String, String, String)> {
        let attribute = |text: &str, name: &str| {
            let value =
                text.split_once(&format!(" {name}=\"")).map_or("-", |(_, rest)| rest.split('"').next().expect("one"));
            value.to_owned()
        };
        let cases = xml.split("<testcase").skip(1);
        let class = |text: &str| attribute(text, "classname").rsplit('.').next().expect("one").to_owned();
        cases.map(|case| (class(case), attribute(case, "name"), attribute(case, "message"))).collect()
    }

    #[test]
    fn every_threshold_and_check_is_a_test() {
        let mut record = record();
        let limit = |expression: &str, passed, value, reason: Option<&str>| ThresholdRecord {
            expression: expression.to_owned(),
            passed,
            value,
            limit: Some(20_000.0),
            unit: "us".to_owned(),
            reason: reason.map(str::to_owned),
            ..ThresholdRecord::default()
        };
        record.verdict.thresholds = vec![
            limit("p99(read) < 20ms", true, Some(1_840.0), None),
            limit("max < 20ms", false, Some(41_000.0), None),
            limit("p99(scan) < 20ms", false, None, Some("no scan succeeded")),
        ];
        let xml = junit(&record);
        let found = tests_of(&xml);
        let expect = [
            ("run", "the run came to its end", "-"),
            ("threshold", "p99(read) &lt; 20ms", "-"),
            ("threshold", "max &lt; 20ms", "max &lt; 20ms does not hold: 41ms, the limit is 20ms"),
            (
                "threshold",
                "p99(scan) &lt; 20ms",
                "p99(scan) &lt; 20ms does not hold: nothing was measured: no scan succeeded, the limit is 20ms",
            ),
            ("verification", "row count", "-"),
            ("validity", "generator_cpu", "-"),
            ("validity", "the run is valid", "-"),
        ];
        assert_eq!(found, expect.map(|(class, name, message)| (class.into(), name.into(), message.into())), "{xml}");
        assert!(
            xml.contains(
                "<testsuite name=\"checkout &lt;3&gt;\" tests=\"7\" failures=\"2\" errors=\"0\" skipped=\"0\""
            )
        );
    }

    #[test]
    fn a_run_that_is_invalid_or_ended_early_fails() {
        let check = |change: &dyn Fn(&mut Record), class: &str, part: &str| {
            let mut record = record();
            record.verdict.thresholds.clear();
            change(&mut record);
            let failed: Vec<_> = tests_of(&junit(&record)).into_iter().filter(|(.., message)| message != "-").collect();
            let [(found, _, message)] = failed.as_slice() else { panic!("{part}: {failed:?}") };
            assert!(found == class && message.contains(part), "{found}: {message}");
        };
        check(&|record| record.status = Status::Interrupted, "run", "interrupted");
        check(
            &|record| {
                record.verdict.valid = false;
                record.verdict.reasons = vec!["late".to_owned(), "slow".to_owned()];
            },
            "validity",
            "late; slow",
        );
        check(&|record| record.verdict.checks[0].outcome = CheckOutcome::Failed, "validity", "lower the load");
        check(&|record| record.verification.checks[0].passed = false, "verification", "100,000");
    }

    #[test]
    fn a_check_that_says_nothing_is_skipped() {
        let mut record = record();
        record.verdict.checks[0].outcome = CheckOutcome::NotApplicable;
        let xml = junit(&record);
        assert!(xml.contains("skipped=\"1\"") && xml.contains("<skipped message="), "{xml}");
    }

    proptest! {
        #[test]
        fn text_stays_text(name in "(?s).{0,40}") {
            let mut record = record();
            record.name.clone_from(&name);
            let xml = junit(&record);
            let legal = |letter: char| letter == '\n' || ('\u{20}'..='\u{FFFD}').contains(&letter) || letter >= '\u{10000}';
            prop_assert!(xml.chars().all(legal));
            // Every tag is one of ours: nothing of the name opened one.
            for tag in xml.split('<').skip(1) {
                let tag = tag.split([' ', '>', '/']).find(|part| !part.is_empty()).expect("a name");
                prop_assert!(
                    ["?xml", "testsuites", "testsuite", "properties", "property", "testcase", "system-out"].contains(&tag),
                    "{}",
                    tag
                );
            }
            let back = escape(&name).replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            let back = back.replace("&apos;", "'").replace("&#10;", "\n").replace("&#13;", "\r").replace("&#9;", "\t");
            let kept = |letter: char| !letter.is_control() && !['\u{FFFE}', '\u{FFFF}'].contains(&letter);
            if name.chars().all(|letter| kept(letter) || "\n\r\t".contains(letter)) {
                prop_assert_eq!(back.replace("&amp;", "&"), name);
            }
        }
    }
}
