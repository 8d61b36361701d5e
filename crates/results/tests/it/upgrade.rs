//! A file that an older Storelab made.

use experiment::{Record, SampleRecord, Sink, Status};
use results::Location;
use rusqlite::{Connection, params};

use crate::on::number;
use crate::{fixture, keep, open, short_run};

/// The tables of the first version, which are not changed any more.
const VERSION_ONE: &str = include_str!("version_1.sql");

pub(crate) fn of_version_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("results.db");
    let connection = Connection::open(&path).expect("opens");
    connection.execute_batch(VERSION_ONE).expect("made");
    let (record, samples, histograms) = short_run("before");
    insert(&connection, 7, &record, &samples);
    for kept in histograms.iter().filter(|kept| !kept.histogram.is_empty()) {
        let blob = kept.histogram.encode().expect("encoded");
        let row = params![7, kept.phase, kept.operation, kept.metric.name(), blob];
        connection.execute("INSERT INTO histograms VALUES (?1, ?2, ?3, ?4, ?5)", row).expect("kept");
    }
    let mut unfinished = fixture::started("left behind", uuid::Uuid::now_v7());
    unfinished.started_at += jiff::SignedDuration::from_secs(1);
    insert(&connection, 9, &unfinished, &samples);
    drop(connection);

    let location = Location::File(path);
    let mut results = open(&location);
    assert_eq!(results.record(record.id).expect("there"), record);
    assert_eq!(results.samples(record.id).expect("there"), samples);
    assert!(!results.histograms(record.id).expect("there").is_empty());
    assert!(results.report(record.id).expect("drawn").ends_with("</html>\n"));
    let left_behind = results.record(unfinished.id).expect("there");
    assert_eq!(left_behind.status, Status::Interrupted);
    assert!(left_behind.total.succeeded > 0, "it was settled with its seconds");
    let kept = keep(&mut results, "after");
    assert_eq!(open(&location).runs(10).expect("listed").len(), 3);
    results.delete(kept.id).expect("deleted");
    results.ended(&record, &histograms).expect("an old run's end may be written again");
    assert!(number(&location, "SELECT user_version FROM pragma_user_version") > 1);
}

fn insert(connection: &Connection, key: i64, record: &Record, samples: &[SampleRecord]) {
    connection
        .execute(
            "INSERT INTO runs (key, id, name, status, started_at_us, ended_at_us, driver, workload, variant, record, \
             owner_process_id, owner_start_ticks, owner_boot_id, owner_namespace) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1, 1, 'earlier', 'here')",
            params![
                key,
                record.id.to_string(),
                record.name,
                record.status.name(),
                record.started_at.as_microsecond(),
                record.ended_at.as_microsecond(),
                record.target.driver,
                record.workload.name,
                record.workload.variant,
                serde_json::to_string(record).expect("JSON"),
            ],
        )
        .expect("kept");
    for sample in samples {
        let gauges = serde_json::to_string(&sample.gauges).expect("JSON");
        let row = params![key, sample.second.cast_signed(), record.started_at.as_microsecond(), gauges];
        connection.execute("INSERT INTO seconds VALUES (?1, ?2, ?3, ?4)", row).expect("kept");
        for operation in &sample.operations {
            let latency = (!operation.latency.is_empty()).then(|| operation.latency.encode().expect("encoded"));
            let (succeeded, failed) = (operation.succeeded.cast_signed(), operation.failed.cast_signed());
            let second = sample.second.cast_signed();
            let row = params![key, second, operation.phase, operation.operation, succeeded, failed, latency];
            connection.execute("INSERT INTO samples VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)", row).expect("kept");
        }
    }
}
