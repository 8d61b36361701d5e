//! Laws of the page: small, self-contained, text stays text.

use experiment::{ErrorMessage, Record, Status};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::fixture::{self, HALF_HOUR, MINUTE, Shape};

/// Bytes of a report that anybody can send by mail.
const BYTES_MAX: usize = 350_000;

fn drawn(name: &str, shape: Shape) -> (Record, String) {
    let mut series = Series::default();
    let (record, histograms) = fixture::run(name, shape, |sample| add_sample(&mut series, &sample));
    let html = html_of(&record, &series, &histograms);
    (record, html)
}

/// Writes a page where `RESULTS_REPORT_FOLDER` says, for whoever wants to look at it.
fn keep(name: &str, html: &str) {
    if let Some(folder) = std::env::var_os("RESULTS_REPORT_FOLDER") {
        std::fs::write(std::path::Path::new(&folder).join(name), html).expect("the folder can be written");
    }
}

/// The JSON inside.
fn embedded(html: &str) -> &str {
    let start = "<script type=\"application/json\" id=\"record\">";
    let rest = &html[html.find(start).expect("it is inside") + start.len()..];
    &rest[..rest.find("</script>").expect("it ends")]
}

#[test]
fn half_an_hour_of_five_operations_is_small_and_whole() {
    let (record, html) = drawn("checkout under load", HALF_HOUR);
    keep("half-hour.html", &html);
    assert!(html.len() <= BYTES_MAX, "{} bytes", html.len());
    assert_eq!(serde_json::from_str::<Record>(embedded(&html)).expect("the record"), record);
    for text in [
        "Latency by percentile",
        "Latency over time",
        "Throughput over time",
        "planned",
        "read_modify_write",
        "warm-up",
    ] {
        assert!(html.contains(text), "{text} is missing");
    }
}

#[test]
fn nothing_is_fetched() {
    let (_, html) = drawn("checkout", MINUTE);
    keep("minute.html", &html);
    for reference in ["http://", "https://", "src=", "url(", "@import", "<link rel=\"stylesheet"] {
        assert!(!html.contains(reference), "{reference}");
    }
}

#[test]
fn the_verdict_is_in_words() {
    let (mut record, _) = drawn("checkout", Shape { seconds: 8, is_open: false, ..MINUTE });
    record.verdict.warnings = vec!["closed load: blind to stalls".to_owned()];
    let said = |record: &Record| html(record, &[], &[]);
    assert!(said(&record).contains("blind to stalls") && said(&record).contains("> Valid</h2>"));
    record.verdict.valid = false;
    record.verdict.reasons = vec!["the generator used 97 % of its processors".to_owned()];
    record.verification.passed = false;
    record.verification.checks[0].passed = false;
    let page = said(&record);
    keep("invalid.html", &page);
    assert!(page.contains("> Not valid</h2>") && page.contains("used 97 %") && page.contains("count for nothing"));
    for (status, word) in [(Status::Interrupted, "Interrupted"), (Status::Failed, "Failed"), (Status::Running, "Still")]
    {
        record.status = status;
        assert!(said(&record).contains(&format!("> {word}")), "{word}");
    }
}

#[test]
fn a_run_that_never_got_anywhere_is_drawn_too() {
    let page = html(&fixture::started("empty", Uuid::nil()), &[], &[]);
    assert!(page.ends_with("</html>\n") && !page.contains("NaN") && !page.contains("inf "));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn names_and_messages_stay_text(text in "(<script>|</script>|<!--|\"|'|&|[a-z<>/]|\u{0}){0,12}") {
        let mut record = fixture::started(&text, Uuid::nil());
        let plain = html(&fixture::started("x", Uuid::nil()), &[], &[]).matches("<script").count();
        record.target.server.clone_from(&text);
        record.target.url.clone_from(&text);
        record.workload.name.clone_from(&text);
        record.workload.parameters.insert(text.clone(), text.clone().into());
        record.server.settings.insert(text.clone(), text.clone());
        record.server.counters.insert(text.clone(), 1.0);
        record.verdict.reasons.push(text.clone());
        record.error_messages.push(ErrorMessage { kind: text.clone(), message: text.clone(), count: 1 });
        record.phases[0].name.clone_from(&text);
        let page = html(&record, &[], &[]);
        prop_assert_eq!(page.matches("<script").count(), plain);
        prop_assert_eq!(page.matches("</script").count(), plain);
        prop_assert!(!page.contains("<!--"));
        let read: Record = serde_json::from_str(embedded(&page)).expect("the record");
        prop_assert_eq!(read, record);
    }
}

#[test]
fn runs_lie_side_by_side_on_one_page() {
    let runs: Vec<_> = (0..9)
        .map(|number| {
            let mut series = Series::default();
            let name = format!("store <{number}>");
            let (record, histograms) = fixture::run(&name, MINUTE, |sample| add_sample(&mut series, &sample));
            Drawn { record, series, histograms }
        })
        .collect();
    let html = side_by_side(&runs);
    keep("side-by-side.html", &html);
    assert!(html.len() <= BYTES_MAX, "{} bytes", html.len());
    for text in
        ["9 runs side by side", "store &lt;8&gt;", "Latency by percentile", "Throughput over time", "Nothing: load"]
    {
        assert!(html.contains(text), "{text} is missing");
    }
    let records: Vec<Record> = serde_json::from_str(embedded(&html)).expect("the records");
    assert_eq!(records.len(), 9);
    let mut other = runs;
    other[1].record.provenance.storelab = "0.0.1".to_owned();
    assert!(side_by_side(&other).contains("0.0.1"));
    assert!(side_by_side(&[]).contains("0 runs"));
}
