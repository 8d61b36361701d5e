//! What the program writes: the published JSON, lists, reports, pages.

use std::io::Read;
use std::process::Stdio;

use results::export::FORMATS;
use serde_json::Value;

use crate::support::{Lab, assert_exact, text};

const SCHEMA: &str = include_str!("../../../../docs/schema/run-1.schema.json");

#[test]
fn json_is_one_document_in_the_published_shape() {
    let lab = Lab::new();
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("the schema is one");
    for arguments in [
        &["run", "--json", "--for", "300ms", "--warm-up", "100ms"][..],
        &[
            "run",
            "memory:",
            "--json",
            "--workload",
            "ycsb:f",
            "--rate",
            "2000/s",
            "--arrivals",
            "poisson",
            "--for",
            "300ms",
        ],
        &["run", "sqlite:", "--json", "--workload", "operations", "--operations", "200", "--sessions", "2"],
        &["run", "null:", "--json", "--operations", "1000", "--workload", "ycsb:c", "--depth", "4"],
    ] {
        let ended = lab.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        let record = ended.record();
        let faults: Vec<_> =
            validator.iter_errors(&record).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
        assert!(faults.is_empty(), "{arguments:?}: {faults:?}");
        assert_exact(&record);
        assert!(
            record["verification"]["passed"].as_bool().expect("a flag"),
            "{arguments:?}: {}",
            record["verification"]
        );
        let report = std::fs::read_to_string(record["report"].as_str().expect("a path")).expect("the report is there");
        assert!(report.starts_with("<!DOCTYPE html>") || report.starts_with("<!doctype html>"));
    }
}

#[test]
fn two_numbers_and_the_report_are_what_a_run_prints() {
    let lab = Lab::new();
    let report = lab.path("mine.html");
    let ended = lab.run(&["run", "memory:", "--for", "300ms", "--quiet", "--report", text(&report), "--name", "mine"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let words: Vec<_> = ended.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(words, ["throughput", "p99", "report"]);
    assert!(report.is_file() && ended.stderr.is_empty(), "{ended:?}");
    for (arguments, part) in [
        (&["runs"][..], "mine"),
        (&["show", "last"], "ycsb:b"),
        (&["show", "mine", "--json"], "storelab.run/1"),
        (&["report", "mine", "-o", "again.html"], "again.html"),
    ] {
        let ended = lab.run(arguments);
        assert!(ended.code == Some(0) && ended.stdout.contains(part), "{arguments:?}: {ended:?}");
    }
    assert!(lab.path("again.html").is_file());
}

#[test]
fn a_run_is_summed_up_and_exported_in_every_format() {
    let lab = Lab::new();
    let summaries: Vec<_> = ["a.json", "deeper/a.md", "a.csv"].map(|name| lab.path(name)).into();
    let mut arguments = vec!["run", "memory:", "--for", "300ms", "--quiet", "--name", "mine"];
    arguments.extend(summaries.iter().flat_map(|summary| ["--summary-file", text(summary)]));
    let ended = lab.run(&arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let read = |name: &str| std::fs::read(lab.path(name)).expect("it was written");
    let record: Value = serde_json::from_slice(&read("a.json")).expect("JSON");
    assert_eq!(record["name"], "mine");
    assert_eq!(record["report"].as_str().map(|report| std::path::Path::new(report).is_file()), Some(true));
    assert!(String::from_utf8_lossy(&read("deeper/a.md")).starts_with("### "));
    let listed = lab.run(&["export", "--formats"]);
    assert_eq!((listed.code, listed.stdout.lines().count()), (Some(0), FORMATS.len() + 1));
    for format in FORMATS {
        let file = format!("b.{}", format.extension);
        let ended = lab.run(&["export", "mine", "--output", &file]);
        assert!(ended.code == Some(0) && ended.stdout.trim() == file, "{ended:?}");
        // The same to stdout, where it is named.
        let piped = lab.command(&["export", "mine", "--format", format.name]).output().expect("the program starts");
        assert!(piped.status.success() && piped.stdout == read(&file), "{}", format.name);
        assert!(listed.stdout.contains(format.name) && listed.stdout.contains(format.summary), "{}", format.name);
    }
}

#[test]
fn the_same_seed_does_the_same_work() {
    let lab = Lab::new();
    let counts = || {
        let ended = lab.run(&["run", "memory:", "--json", "--seed", "7", "--sessions", "1", "--operations", "2000"]);
        let record = ended.record();
        record["operations"].as_array().expect("a list").iter().map(|one| one["succeeded"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(counts(), counts());
}

#[test]
fn lists_and_pages_come_from_what_there_is() {
    let lab = Lab::new();
    for (arguments, part) in [
        (&["stores"][..], "sqlite"),
        (&["stores", "--json"], "\"capabilities\""),
        (&["workloads"], "ycsb"),
        (&["workloads", "--json"], "\"parameters\""),
        (&["engines", "list"], "redis"),
        (&["engines", "list", "--json"], "\"licence\""),
        (&["completions", "bash"], "storelab"),
        (&["man"], ".TH storelab"),
        (&["--help"], "Exit codes"),
    ] {
        let ended = lab.run(arguments);
        assert!(ended.code == Some(0) && ended.stdout.contains(part), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let lab = Lab::new();
    let mut child = lab.command(&["stores"]).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().expect("it is piped");
    stdout.read_exact(&mut first).expect("it writes");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("panicked"), "{said}");
}
