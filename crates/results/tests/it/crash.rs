//! `kill -9` while a run is kept: what was acknowledged is there, and the run is not shown as going on.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use experiment::{Sink, Status};
use results::Location;
use uuid::Uuid;

use crate::on::{On, number, place, written};
use crate::{CHILD_VARIABLE, fixture, open, short_run};

/// Kills at different places of the write path.
const KILLS: u64 = 12;

/// The child: keeps seconds as fast as it can, and says each that was acknowledged.
pub(crate) fn sample_until_killed(location: &Location) {
    let mut results = open(location);
    let id = Uuid::now_v7();
    results.started(&fixture::started("killed", id)).expect("started");
    let (_, samples, _) = short_run("killed");
    let mut out = std::io::stdout().lock();
    writeln!(out, "{id}").expect("told");
    let steady = samples.last().expect("it has seconds");
    for second in 0.. {
        let mut sample = steady.clone();
        sample.second = second;
        results.sampled(id, &sample).expect("sampled");
        // Whoever reads is gone once this process is to be killed.
        if writeln!(out, "{second}").is_err() {
            return;
        }
    }
}

pub(crate) fn a_killed_run_is_interrupted(on: On) {
    let (_folder, location) = place(on);
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .env(CHILD_VARIABLE, format!("sample:{}", written(&location)))
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut told = BufReader::new(child.stdout.take().expect("piped")).lines();
        let id: Uuid = told.next().expect("an id").expect("a line").parse().expect("an id");
        let mut acknowledged = 0;
        for _ in 0..=kill * 7 {
            acknowledged = told.next().expect("a second").expect("a line").parse().expect("a number");
        }
        let mut observer = open(&location);
        assert_eq!(observer.record(id).expect("there").status, Status::Running, "its process lives");
        child.kill().expect("killed");
        child.wait().expect("collected");
        // What was told between the last look and the kill was acknowledged too.
        for line in told.map_while(Result::ok) {
            acknowledged = line.parse().expect("a number");
        }
        // Before anybody has written it down it is shown so.
        assert_eq!(observer.record(id).expect("there").status, Status::Interrupted);
        assert_eq!(observer.runs(1).expect("listed")[0].status, Status::Interrupted);
        drop(observer);
        check_interrupted(&location, id, acknowledged);
    }
}

fn check_interrupted(location: &Location, id: Uuid, acknowledged: u64) {
    let mut results = open(location);
    let record = results.record(id).expect("there");
    let seconds = results.samples(id).expect("there").len() as u64;
    assert!(seconds > acknowledged, "{acknowledged} was acknowledged, {seconds} are there");
    assert_eq!(record.status, Status::Interrupted);
    assert_eq!((record.ended_at - record.started_at).total(jiff::Unit::Second).expect("seconds") as u64, seconds);
    assert!(!record.verdict.valid && record.verdict.reasons.len() == 1, "{:?}", record.verdict);
    assert!(record.total.succeeded > 0 && record.operations.len() == 2, "the figures are those of the samples");
    let sum = record.accounting;
    assert_eq!(sum.scheduled, sum.succeeded + sum.failed + sum.shed + sum.unfinished);
    if let Location::File(path) = location {
        let connection = rusqlite::Connection::open(path).expect("opens");
        let intact: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).expect("checked");
        assert_eq!(intact, "ok");
    }
    let written_down = format!("SELECT count(*) FROM runs WHERE id = '{id}' AND status = 'interrupted'");
    assert_eq!(number(location, &written_down), 1, "opening the store wrote it down");
}
