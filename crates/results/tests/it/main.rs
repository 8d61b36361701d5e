//! The store under what happens to stores: several processes, `kill -9`, a full disk, files of others.
//!
//! The binary is also its own child process, told by `RESULTS_CHILD` what to be. The full disk is a small file system of
//! its own in a mount namespace, which takes root; it is skipped by name where that is missing.

mod crash;
mod export;
mod files;
mod finding;
#[expect(dead_code, reason = "the unit tests use all of it")]
#[path = "../../src/fixture.rs"]
mod fixture;
mod full;
mod history;
mod schema;
mod sharing;

use std::path::PathBuf;

use experiment::{Record, SampleRecord, Sink};
use libtest_mimic::{Arguments, Trial};
use results::Results;
use tempfile::TempDir;
use uuid::Uuid;

/// What a child process is to be, and the file that it uses after a colon.
const CHILD_VARIABLE: &str = "RESULTS_CHILD";

fn main() {
    if let Ok(child) = std::env::var(CHILD_VARIABLE) {
        let (role, path) = child.split_once(':').expect("a role and a path");
        return match role {
            "sample" => crash::sample_until_killed(path.as_ref()),
            "full" => full::fill_and_heal(path.as_ref()),
            other => panic!("no role {other}"),
        };
    }
    let is_root = rustix::process::geteuid().is_root();
    let test = |name: &str, run: fn()| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let tests = vec![
        test("a run comes back as it was kept", sharing::a_run_comes_back),
        test("several handles share the file", sharing::several_handles),
        test("several threads make one new file", sharing::several_makers),
        test("a run whose process was killed is interrupted", crash::a_killed_run_is_interrupted),
        test("a full store says so and can be read", full::pages_run_out),
        test("a full disk is survived and healed", full::a_full_disk).with_ignored_flag(!is_root),
        test("files of others are left alone", files::of_others),
        test("newer files are refused", files::newer),
        test("runs are found by id, name and age", finding::by_all),
        test("runs are deleted with all that is theirs", finding::deleted),
        test("a history is of the completed runs of a name", history::of_a_name),
        test("a history reads other percentiles from histograms", history::other_percentiles),
        test("a history of what no run has is an error", history::of_nothing),
        test("a history fits its published schema", history::a_history_fits),
        test("every format is written, or says why not", export::every_format),
        test("json comes back", export::json),
        test("csv of operations comes back", export::csv_operations),
        test("csv of seconds comes back", export::csv_seconds),
        test("seconds between phases have a total each", export::csv_seconds_between),
        test("parquet says what csv says", export::parquet),
        test("an interval log sums up to the run's histograms", export::hdr_log),
        test("openmetrics has each family once and whole", export::openmetrics),
        test("junit is well formed", export::junit),
        test("markdown holds no markup of others", export::markdown),
        test("a record fits its published schema", schema::a_record_fits),
        test("the schema requires the published shape", schema::the_shape_is_required),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit();
}

/// A folder of a test's own, and a file in it that is not there yet.
fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deeper/results.db");
    (folder, path)
}

fn open(path: &std::path::Path) -> Results {
    Results::open(Some(path)).expect("the store opens")
}

/// A run of a few seconds, with them.
fn short_run(name: &str) -> (Record, Vec<SampleRecord>, Vec<experiment::HistogramRecord>) {
    let mut samples = Vec::new();
    let shape = fixture::Shape { seconds: 8, rate_per_second: 200, ..fixture::MINUTE };
    let (mut record, histograms) = fixture::run(name, shape, |sample| samples.push(sample));
    record.id = Uuid::now_v7();
    (record, samples, histograms)
}

/// Keeps a whole run.
fn keep(results: &mut Results, name: &str) -> Record {
    let (record, samples, histograms) = short_run(name);
    results.started(&fixture::started(name, record.id)).expect("started");
    for sample in &samples {
        results.sampled(record.id, sample).expect("sampled");
    }
    results.ended(&record, &histograms).expect("ended");
    record
}
