//! Laws of the page: small, self-contained, text stays text.

mod samples;

use experiment::{CheckOutcome, Dimension, ErrorMessage, Record, Status};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::fixture::{self, HALF_HOUR, MINUTE, Shape};

/// Bytes of a report that anybody can send by mail.
const BYTES_MAX: usize = 350_000;

/// Half an hour of twenty operations in two phases, with a stall: what a page must hold at least.
const TWENTY: Shape = Shape {
    operations: &[
        ("read", 0.3),
        ("update", 0.1),
        ("scan", 0.05),
        ("insert", 0.05),
        ("read_modify_write", 0.05),
        ("delete", 0.05),
        ("join", 0.05),
        ("window", 0.05),
        ("json_extract", 0.05),
        ("fulltext", 0.05),
        ("group_by", 0.02),
        ("order_by", 0.02),
        ("upsert", 0.02),
        ("batch_insert", 0.02),
        ("transaction", 0.02),
        ("range_read", 0.02),
        ("range_delete", 0.02),
        ("count", 0.02),
        ("recursive", 0.02),
        ("aggregate", 0.02),
    ],
    rate_per_second: 2000,
    ..HALF_HOUR
};

/// A run with all that is drawn of it.
fn whole(name: &str, shape: Shape, id: u128) -> Drawn {
    let mut series = Series::default();
    let (mut record, histograms) = fixture::run(name, shape, |sample| add_sample(&mut series, &sample));
    record.id = Uuid::from_u128(id);
    Drawn { record, series, histograms }
}

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
fn half_an_hour_of_twenty_operations_is_small_too_and_so_are_two_beside_each_other() {
    let runs =
        [whole("before", TWENTY, 1), whole("after", Shape { stall_at: None, rate_per_second: 1900, ..TWENTY }, 2)];
    let html = html_of(&runs[0].record, &runs[0].series, &runs[0].histograms);
    keep("twenty.html", &html);
    assert!(html.len() <= BYTES_MAX, "{} bytes", html.len());
    assert_eq!(serde_json::from_str::<Record>(embedded(&html)).expect("the record"), runs[0].record);
    let compared = samples::comparison(&runs);
    let page = comparison(&compared, &runs);
    keep("comparison.html", &page);
    assert!(page.len() <= BYTES_MAX, "{} bytes", page.len());
    let shown: serde_json::Value = serde_json::from_str(embedded(&page)).expect("JSON");
    assert_eq!(serde_json::from_value::<experiment::Comparison>(shown["comparison"].clone()).expect("whole"), compared);
    for text in [
        "after: Slower</h2>",
        "p99 +12.3\u{a0}%, from 1.00 ms to 1.12 ms (95 % interval +7.2\u{a0}% to +17.4\u{a0}%)",
        "No change beyond noise: throughput, mean, p50",
        "settings.shared_buffers",
        "the hosts&#39; kernels differ",
        "Latency by percentile",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
}

#[test]
fn what_happened_is_marked_on_every_chart_of_time() {
    let (record, html) = drawn("stalled", HALF_HOUR);
    let charts = html.matches("data-x=\"0 1800 time s\"").count();
    let marks = html.matches("title=\"gone 2 s\"").count();
    assert!(charts > 5, "{charts} charts of time");
    assert_eq!(marks, charts, "each has a mark at {:?}", record.recovery.longest_start_seconds);
    assert_eq!(html.matches("title=\"nobody answered for 2 s\"").count(), charts);
}

#[test]
fn a_search_is_drawn_with_its_limit_and_its_interval() {
    let mut run = whole("knee", MINUTE, 3);
    let page = html_of(&run.record, &run.series, &run.histograms);
    for text in [
        "The greatest rate that keeps <code>p99(read) &lt; 10ms</code>",
        "The knee is at 3,050/s: it lies between 2,828/s and 4,000/s. 2,828/s kept the condition in a longer run too.",
        "at 70 % of that, 1,980/s",
        "data-name=\"limit 10 ms\"",
        "class=\"band interval\"",
        "✗ broke",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    keep("knee-rate.html", &page);
    let search = run.record.search.as_mut().expect("the fixture has one");
    search.dimension = Dimension::Sessions;
    search.interval = Some([24.0, 32.0]);
    (search.found, search.knee) = (Some(24.0), Some(24.0));
    let law = search.scalability.expect("it has one");
    let loads = [1.0_f64, 2.0, 4.0, 8.0, 16.0, 24.0, 32.0, 64.0];
    let first = search.points[0].clone();
    search.points = loads
        .iter()
        .map(|load| {
            let throughput = law.lambda * load / (1.0 + law.sigma * (load - 1.0) + law.kappa * load * (load - 1.0));
            let p99 = load / throughput * 2e6;
            experiment::SearchPoint {
                load: *load,
                throughput_per_second: throughput,
                latency_us_p50: p99 / 2.5,
                latency_us_p99: p99,
                value: Some(p99),
                kept: *load <= 24.0,
                ..first.clone()
            }
        })
        .collect();
    let page = html_of(&run.record, &run.series, &run.histograms);
    keep("knee-sessions.html", &page);
    for text in ["Throughput by sessions", "fitted law", "contention: the share", "<td class=\"n\">49.5</td>"] {
        assert!(page.contains(text), "{text} is missing");
    }
    for nothing in ["NaN", "inf "] {
        assert!(!page.contains(nothing), "{nothing}");
    }
    let search = run.record.search.as_mut().expect("the fixture has one");
    (search.found, search.knee, search.interval) = (None, None, None);
    search.points.clear();
    assert!(html_of(&run.record, &run.series, &run.histograms).contains("Not even the least load"));
}

#[test]
fn ten_thousand_runs_are_a_page() {
    let ten_thousand = history(&samples::history(10_000));
    assert!(ten_thousand.len() <= BYTES_MAX, "{} bytes", ten_thousand.len());
    let page = history(&samples::history(200));
    keep("history.html", &page);
    for text in [
        "Changed for good 3 times",
        "from 1.70 ms to 1.98 ms (+16.5 %)",
        "class=\"mark\"",
        "PostgreSQL 15.18 → PostgreSQL 16.10",
        "2 runs that are not valid were left out",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    for (runs, changes) in [(0, 0), (1, 0), (2, 0)] {
        let mut few = samples::history(runs);
        few.change_points.truncate(changes);
        let page = history(&few);
        assert!(page.contains("No change for good") && !page.contains("NaN"), "{runs}");
    }
}

#[test]
fn hostile_names_stay_text_on_every_page() {
    const HOSTILE: &str = "</script><script>alert(1)</script><!--\"'&";
    let shape = Shape { seconds: 8, ..MINUTE };
    let runs = [whole(HOSTILE, shape, 1), whole("b", shape, 2)];
    let mut compared = samples::comparison(&runs);
    HOSTILE.clone_into(&mut compared.method);
    compared.overruled = vec![HOSTILE.to_owned()];
    HOSTILE.clone_into(&mut compared.differences[0].what);
    HOSTILE.clone_into(&mut compared.metrics[0].operation);
    let mut long = samples::history(12);
    HOSTILE.clone_into(&mut long.name);
    HOSTILE.clone_into(&mut long.metric);
    long.notes = vec![HOSTILE.to_owned()];
    HOSTILE.clone_into(&mut long.points[3].server);
    for page in [comparison(&compared, &runs), history(&long)] {
        assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (2, 2));
        assert!(!page.contains("<!--"));
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
    record.verdict.accepted = true;
    assert!(said(&record).contains("> Not valid, and accepted</h2>"));
    record.verdict.valid = true;
    assert!(said(&record).contains("> Wrong data</h2>"));
    record.verification.passed = true;
    record.verdict.thresholds[0].passed = false;
    record.verdict.thresholds[0].value = Some(41_000.0);
    record.verdict.thresholds[0].aborted_at_seconds = Some(5.5);
    record.verdict.checks[0].outcome = CheckOutcome::Doubtful;
    let page = said(&record);
    keep("missed.html", &page);
    for text in [
        "> Threshold missed</h2>",
        "<code>p99(read) &lt; 20ms</code>: it was 41ms, and ended the run at 5.5 s",
        "<details open><summary>What the verdict follows from <small>1 check, 1 in doubt",
        "lower the load, or give it more processors",
    ] {
        assert!(page.contains(text), "{text} is missing");
    }
    record.verdict.thresholds.clear();
    assert!(said(&record).contains("> Valid, with doubts</h2>"));
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
