//! Files of a run.

use experiment::{Artifact, HotFunctionRecord, ProfileRecord, Sink};
use results::{KeptArtifact, Results};

use crate::on::{On, place};
use crate::{fixture, open, short_run};

/// What one file may have, and how many of them a run: as they are documented.
const BYTES_MAX: usize = 16 * 1024 * 1024;
const ARTIFACTS_MAX: usize = 16;

fn artifact(name: &str, bytes: usize) -> Artifact {
    Artifact { name: name.to_owned(), media_type: "text/plain", bytes: vec![7; bytes] }
}

fn names(results: &mut Results, run: uuid::Uuid) -> Vec<(String, u64)> {
    let listed = results.artifacts(run).expect("they can be read");
    listed.into_iter().map(|one| (one.name, one.bytes)).collect()
}

pub(crate) fn come_back(on: On) {
    let (_folder, place) = place(on);
    let mut results = open(&place);
    let (record, _, histograms) = short_run("profiled");
    results.started(&fixture::started("profiled", record.id)).expect("it can be kept");
    for (name, bytes) in [("b.folded", 3), ("a.svg", 0), ("a.svg", 2)] {
        results.attached(record.id, &artifact(name, bytes)).expect("it can be kept");
    }
    results.ended(&record, &histograms).expect("it can be kept");
    let expected = [("a.svg".to_owned(), 2), ("b.folded".to_owned(), 3)];
    assert_eq!(names(&mut results, record.id), expected, "the second of a name replaces the first");
    let kept = results.artifact(record.id, "a.svg").expect("it can be read").expect("it is there");
    assert_eq!(kept, KeptArtifact { media_type: "text/plain".to_owned(), bytes: vec![7, 7] });
    assert_eq!(results.artifact(record.id, "c.svg").expect("it can be read"), None);
    results.delete(record.id).expect("it has ended");
    assert_eq!(names(&mut results, record.id), []);
}

pub(crate) fn have_limits(on: On) {
    let (_folder, place) = place(on);
    let mut results = open(&place);
    let (record, ..) = short_run("profiled");
    let early = results.attached(record.id, &artifact("a", 1)).expect_err("there is no such run yet");
    assert!(early.to_string().contains("there is no run"), "{early}");
    results.started(&fixture::started("profiled", record.id)).expect("it can be kept");
    results.attached(record.id, &artifact("large", BYTES_MAX + 1)).expect_err("it is too large");
    for number in 0..ARTIFACTS_MAX {
        results.attached(record.id, &artifact(&number.to_string(), 1)).expect("there is room");
    }
    results.attached(record.id, &artifact("another", 1)).expect_err("it is one too many");
    results.attached(record.id, &artifact("0", 2)).expect("one that is there may be replaced");
    assert_eq!(names(&mut results, record.id).len(), ARTIFACTS_MAX);
}

pub(crate) fn are_in_the_report(on: On) {
    let (_folder, place) = place(on);
    let mut results = open(&place);
    let (mut record, _, histograms) = short_run("profiled");
    record.profiles = vec![ProfileRecord {
        of: "server".to_owned(),
        samples: 1,
        hottest: vec![HotFunctionRecord { name: "hot_loop".to_owned(), self_share: 1.0 }],
        artifacts: vec!["flamegraph-server.svg".to_owned()],
        ..ProfileRecord::default()
    }];
    results.started(&fixture::started("profiled", record.id)).expect("it can be kept");
    let svg = Artifact {
        name: "flamegraph-server.svg".to_owned(),
        media_type: "image/svg+xml",
        bytes: b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
    };
    results.attached(record.id, &svg).expect("it can be kept");
    results.ended(&record, &histograms).expect("it can be kept");
    let html = results.report(record.id).expect("it can be drawn");
    for text in ["download=\"flamegraph-server.svg\"", "data:image/svg+xml;base64,PHN2ZyB4bWxucz0n", "hot_loop"] {
        assert!(html.contains(text), "{text} is missing");
    }
}
