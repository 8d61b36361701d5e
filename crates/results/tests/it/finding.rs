//! How a run is asked for.

use experiment::{Sink, Status};
use results::{Error, Results, short_id};
use uuid::Uuid;

use crate::on::{On, number, place};
use crate::{fixture, keep, open};

fn kept(results: &mut Results, name: &str, id: &str, started_at: &str) -> Uuid {
    let id = Uuid::parse_str(id).expect("an id");
    let mut record = fixture::started(name, id);
    record.started_at = started_at.parse().expect("a time");
    record.status = Status::Completed;
    results.ended(&record, &[]).expect("kept");
    id
}

pub(crate) fn by_all(on: On) {
    let (_folder, path) = place(on);
    let mut results = open(&path);
    assert!(matches!(results.find("last"), Err(Error::NotFound { .. })), "there is none yet");
    let old = kept(&mut results, "checkout", "0195935f-0000-7000-8000-00000000aaaa", "2026-01-01T00:00:00Z");
    let new = kept(&mut results, "checkout", "0195935f-1111-7000-8000-00000001aaaa", "2026-01-02T00:00:00Z");
    let odd = kept(&mut results, "cafe", "0195936f-2222-7000-8000-00000002bbbb", "2025-01-01T00:00:00Z");
    let trap = kept(&mut results, "%", "0195937f-3333-7000-8000-00000003cafe", "2025-01-01T00:00:00Z");
    for (asked, expect) in [
        ("last", new),
        ("0195935f-0000-7000-8000-00000000aaaa", old),
        ("0195935F-0000-7000-8000-00000000AAAA", old),
        ("checkout", new),
        (" checkout ", new),
        ("0000aaaa", old),
        ("00000001-aaaa", new),
        ("bbbb", odd),
        ("0195936f", odd),
        ("cafe", odd),
        ("3cafe", trap),
        ("%", trap),
        (&short_id(new), new),
    ] {
        assert_eq!(results.find(asked).expect(asked), expect, "{asked}");
    }
    let Err(Error::Ambiguous { candidates, .. }) = results.find("0195935f") else { panic!("two fit") };
    assert_eq!(candidates, [format!("{new} (checkout)"), format!("{old} (checkout)")], "the newest first");
    assert!(matches!(results.find("aaaa"), Err(Error::Ambiguous { .. })));
    for (asked, hint) in
        [("chekout", "did you mean `checkout`?"), ("lst", "did you mean `last`?"), ("bbb", "lists what")]
    {
        let error = results.find(asked).expect_err(asked);
        assert!(error.hint().is_some_and(|said| said.contains(hint)), "{asked}: {error} {:?}", error.hint());
    }
}

pub(crate) fn deleted(on: On) {
    let (_folder, path) = place(on);
    let mut results = open(&path);
    let (first, second) = (keep(&mut results, "first"), keep(&mut results, "second"));
    let going_on = fixture::started("going on", Uuid::now_v7());
    results.started(&going_on).expect("started");
    assert!(matches!(results.delete(going_on.id), Err(Error::StillRunning { .. })));
    results.delete(first.id).expect("deleted");
    assert!(matches!(results.record(first.id), Err(Error::NotFound { .. })));
    assert!(matches!(results.delete(first.id), Err(Error::NotFound { .. })));
    assert_eq!(results.record(second.id).expect("the other stays"), second);
    let rows = number(
        &path,
        "SELECT (SELECT count(*) FROM samples) + (SELECT count(*) FROM seconds) + (SELECT count(*) FROM histograms) \
         - (SELECT count(*) FROM samples JOIN runs ON run = key) - (SELECT count(*) FROM seconds JOIN runs ON run = key) \
         - (SELECT count(*) FROM histograms JOIN runs ON run = key)",
    );
    assert_eq!(rows, 0, "nothing of the deleted run is left");
}
