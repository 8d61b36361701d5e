//! One metric over the runs of a name.

use std::path::Path;

use experiment::{
    AccountingRecord, HistogramRecord, History, HistoryMethod, Metric, OperationRecord, Record, Sink, Status,
};
use results::{Error, HistoryQuery, Location, Results};
use serde_json::{Value, json};
use stats::Histogram;
use uuid::Uuid;

use crate::on::{On, place};
use crate::{fixture, open, schema};

/// Runs before the change.
const BEFORE: u32 = 15;
/// All runs.
const RUNS: u32 = 30;

fn query(metric: &str) -> HistoryQuery {
    HistoryQuery {
        metric: metric.parse().expect("a metric"),
        limit: 10_000,
        all: false,
        method: HistoryMethod::Hunter,
        change_min: 0.0,
    }
}

/// A completed and valid run of a night, whose reads take twice as long from the change on.
fn nightly(night: u32) -> (Record, HistogramRecord) {
    let mut record = fixture::started("nightly", Uuid::now_v7());
    record.started_at += jiff::SignedDuration::from_hours(24 * i64::from(night));
    record.status = Status::Completed;
    record.verdict.valid = true;
    let latency_us = u64::from(if night < BEFORE { 1_000 } else { 2_000 } + night * 37 % 11);
    let mut histogram = Histogram::new();
    for share in 1..=1_000 {
        histogram.record(latency_us * share);
    }
    record.operations = vec![OperationRecord {
        name: "read".to_owned(),
        succeeded: 1_000,
        failed: 10,
        latency_us: histogram.summary(),
        ..OperationRecord::default()
    }];
    record.total = OperationRecord { name: "total".to_owned(), ..record.operations[0].clone() };
    record.accounting =
        AccountingRecord { scheduled: 1_010, succeeded: 1_000, failed: 10, ..AccountingRecord::default() };
    record.duration_seconds = 10.0;
    record.throughput_per_second = 100.0;
    // Of the phases of a fixture the second is the recorded one.
    (record, HistogramRecord { phase: 1, operation: "read".to_owned(), metric: Metric::Latency, histogram })
}

/// A month of nights, kept in an order of their own, among runs that do not belong to them.
fn month(path: &Location) -> Results {
    let mut results = open(path);
    for place in 0..RUNS {
        let (record, histogram) = nightly(place * 7 % RUNS);
        results.ended(&record, &[histogram]).expect("kept");
    }
    for change in [
        (|record| record.status = Status::Interrupted) as fn(&mut Record),
        |record| record.verdict.valid = false,
        |record| record.verdict.valid = false,
        |record| {
            record.verification.checks = vec![experiment::CheckRecord {
                name: "rows".to_owned(),
                passed: false,
                detail: "one is gone".to_owned(),
            }];
        },
        |record| "another name".clone_into(&mut record.name),
    ] {
        let (mut record, histogram) = nightly(RUNS);
        change(&mut record);
        results.ended(&record, &[histogram]).expect("kept");
    }
    results
}

pub(crate) fn of_a_name(on: On) {
    let (_folder, path) = place(on);
    let mut results = month(&path);
    for (metric, unit, change) in
        [("p99(read)", "us", true), ("mean", "us", true), ("rate", "/s", false), ("errors(read)", "%", false)]
    {
        let history = results.history("nightly", &query(metric)).expect(metric);
        assert_eq!((history.name.as_str(), history.metric.as_str(), history.unit.as_str()), ("nightly", metric, unit));
        assert!(history.points.windows(2).all(|pair| pair[0].started_at < pair[1].started_at), "oldest first");
        assert_eq!(history.points.len(), RUNS as usize, "{metric}");
        let places: Vec<_> = history.change_points.iter().map(|point| point.index).collect();
        assert_eq!(places, if change { vec![BEFORE as usize] } else { vec![] }, "{metric}");
        assert_eq!(
            history.notes,
            [
                "1 run left out: did not come to an end",
                "2 runs left out: invalid (--all takes such in)",
                "1 run left out: data found wrong (--all takes such in)"
            ]
        );
    }
    let rate = results.history("nightly", &query("rate(read)")).expect("a history").points[0].value;
    let errors = results.history("nightly", &query("errors")).expect("a history").points[0].value;
    assert!((rate - 100.0).abs() < 1e-9 && (errors - 100.0 / 101.0).abs() < 1e-9, "{rate} {errors}");
    let all = results.history("nightly", &HistoryQuery { all: true, ..query("p99") }).expect("a history");
    assert_eq!((all.points.len(), all.notes.len()), (RUNS as usize + 3, 1));
    let newest = results.history("nightly", &HistoryQuery { limit: 5, ..query("p99") }).expect("a history");
    assert_eq!(newest.points[0].started_at, all.points[RUNS as usize - 5].started_at, "the newest five, oldest first");
    let id = newest.points[0].run.to_string();
    assert_eq!(results.history(&id, &query("p99")).expect("by id").points.len(), RUNS as usize, "by one of its runs");
}

pub(crate) fn other_percentiles(on: On) {
    let (_folder, path) = place(on);
    let mut results = month(&path);
    let history = results.history("nightly", &query("p75(read)")).expect("a history");
    let value = history.points[0].value;
    // A thousand values up to a thousand times the first, of which the first is 1,000 ns.
    assert!((value / 750.0 - 1.0).abs() < 0.002, "{value}");
    assert_eq!(history.change_points.len(), 1);
    let of_all = results.history("nightly", &query("p75")).expect("a history");
    assert_eq!(of_all.points, history.points, "there is but one operation");
}

pub(crate) fn of_nothing(on: On) {
    let (_folder, path) = place(on);
    let mut results = month(&path);
    for (name, metric, message, hint) in [
        ("nighty", "p99", "there is no run `nighty`", "did you mean `nightly`?"),
        ("nightly", "p99(raed)", "no run of `nightly` has an operation `raed`", "did you mean `read`?"),
        ("nightly", "p99(x)", "no run of `nightly` has an operation `x`", "they have read"),
    ] {
        let error = results.history(name, &query(metric)).expect_err(metric);
        assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (message, Some(hint)));
    }
    assert!(matches!(results.history("nighty", &query("p99")), Err(Error::NotFound { .. })));
}

pub(crate) fn a_history_fits(on: On) {
    let (_folder, path) = place(on);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/schema/history-1.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(file).expect("the schema is there")).expect("it is JSON");
    jsonschema::draft202012::meta::validate(&schema).expect("a valid schema");
    let validator = jsonschema::draft202012::new(&schema).expect("a schema of the 2020-12 draft");
    let history = month(&path).history("nightly", &query("p99(read)")).expect("a history");
    let whole = serde_json::to_value(&history).expect("JSON");
    let faults = |value: &Value| -> Vec<String> {
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    };
    assert_eq!(faults(&whole), [""; 0]);
    schema::check_all_described(&schema, &schema, &whole, "");
    assert_eq!(serde_json::from_value::<History>(whole.clone()).expect("it reads again"), history);
    for (pointer, wrong) in [
        ("/schema", json!("storelab.history/2")),
        ("/unit", json!("ms")),
        ("/points/0/value", json!(null)),
        ("/points/0/run", json!("last")),
        ("/change_points/0/index", json!(0)),
        ("/change_points/0/p_value", json!(1.5)),
    ] {
        let mut broken = whole.clone();
        *broken.pointer_mut(pointer).expect(pointer) = wrong;
        assert_ne!(faults(&broken), [""; 0], "{pointer}");
    }
}
