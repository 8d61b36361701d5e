//! Runs that a service has claimed: one that was taken away never begins, however close the two come.

use std::num::NonZeroU32;
use std::thread;
use std::time::Duration;

use experiment::{Record, Status};
use results::service::{Enqueued, ExperimentStatus, Heard, Job, NewExperiment, NewJob, PartBeat};
use results::{Location, Results};
use uuid::Uuid;

use crate::on::{On, client, number, place};
use crate::{fixture, open};

/// How long somebody has taken a run away before that is known to all: longer than looking whether one still has it.
const NOT_KNOWN_YET: Duration = Duration::from_millis(300);

/// A run that this process has claimed.
fn claimed(results: &mut Results) -> Job {
    let experiment = Uuid::now_v7();
    let new = NewExperiment { id: experiment, name: "one", database_type: "null", config: "{}", sealed: None };
    results.create_experiment(new).expect("kept");
    let run = Uuid::now_v7();
    let (resumable, resumes) = (false, None);
    let job =
        NewJob { experiment, run, priority: 0, target: Some("h:1"), reruns: 0, resumable, resumes, waiting_max: 10 };
    assert_eq!(results.enqueue(job).expect("kept"), Enqueued::Waiting);
    results.claim().expect("claimed").expect("it waits")
}

/// Makes the process that claimed the run one that is not there, as if its number were used again, and recovers the run.
fn recover_the_dead(location: &Location) {
    number(location, "UPDATE queue SET owner_start_ticks = owner_start_ticks + 1 RETURNING key");
    let orphans = open(location).recover_queue(&mut Heard::default()).expect("recovered");
    assert_eq!(orphans.len(), 1, "{orphans:?}");
}

fn runs(location: &Location) -> i64 {
    number(location, "SELECT count(*) FROM runs")
}

pub(crate) fn begin_once(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let job = claimed(&mut results);
    let record = fixture::started("claimed", job.run);
    assert!(results.start_claimed(&job, &record).expect("kept"));
    assert!(results.start_claimed(&job, &record).expect("kept"), "whoever did not hear so asks again");
    assert_eq!(runs(&location), 1);
    let stale = Job { fence: job.fence - 1, ..job };
    assert!(!results.start_claimed(&stale, &record).expect("asked"), "an older token is worth nothing");
}

pub(crate) fn do_not_begin_after_the_death_of_their_process(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let job = claimed(&mut results);
    recover_the_dead(&location);
    assert!(!results.start_claimed(&job, &fixture::started("late", job.run)).expect("asked"));
    assert_eq!(runs(&location), 0);
    let entry = results.queue_entry(job.run).expect("asked").expect("it is known");
    assert_eq!(entry.status, ExperimentStatus::Interrupted);
}

/// A process that was taken for dead wakes up and says how its run ended.
pub(crate) fn end_once(on: On) {
    let completed = "SELECT count(*) FROM runs WHERE status = 'completed'";
    for is_closed in [true, false] {
        let (_folder, location) = place(on);
        let mut results = open(&location);
        let job = claimed(&mut results);
        let record = fixture::started("late", job.run);
        assert!(results.start_claimed(&job, &record).expect("kept"));
        recover_the_dead(&location);
        if is_closed {
            number(&location, "UPDATE runs SET status = 'interrupted' RETURNING key");
        }
        let ended = Record { status: Status::Completed, ..record };
        results.end_claimed(&job, &ended, &[]).expect("asked");
        // What nobody else has said is better told late than never.
        assert_eq!(number(&location, completed), i64::from(!is_closed));
        assert_eq!(
            results.queue_entry(job.run).expect("asked").expect("it is known").status,
            ExperimentStatus::Interrupted
        );
    }
}

pub(crate) fn end_with_their_parts(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let job = claimed(&mut results);
    assert!(results.start_claimed(&job, &fixture::started("divided", job.run)).expect("kept"));
    let two = NonZeroU32::new(2).expect("some");
    let parts = experiment::divide(two, two).expect("possible");
    results.divide(job.run, "{}", "redis://h", &parts).expect("divided");
    let mut agent = open(&location);
    let number = agent.register_agent("agent").expect("registered");
    let claim = agent.claim_part(number, "agent").expect("asked").expect("there is one");
    assert_eq!(agent.hear_part(&claim, None).expect("told"), PartBeat::Held);
    recover_the_dead(&location);
    assert_eq!(agent.hear_part(&claim, None).expect("told"), PartBeat::Lost, "before anybody else has the target");
    assert_eq!(agent.claim_part(number, "agent").expect("asked"), None);
}

/// Somebody is about to take the run away while it begins: whoever comes second sees what the first has done.
pub(crate) fn do_not_begin_while_they_are_taken_away(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let job = claimed(&mut results);
    let starting = |results: &mut Results| results.start_claimed(&job, &fixture::started("late", job.run));
    let has_begun = thread::scope(|scope| {
        let take_away = "UPDATE queue SET state = 'over'";
        match &location {
            Location::File(path) => {
                let other = rusqlite::Connection::open(path).expect("opens");
                other.execute_batch(&format!("BEGIN IMMEDIATE; {take_away}")).expect("taken");
                let begun = scope.spawn(|| starting(&mut results));
                thread::sleep(NOT_KNOWN_YET);
                other.execute_batch("COMMIT").expect("written");
                begun.join()
            }
            Location::Postgres(url) => {
                let mut other = client(url);
                other.batch_execute(&format!("SET search_path TO storelab; BEGIN; {take_away}")).expect("taken");
                let begun = scope.spawn(|| starting(&mut results));
                thread::sleep(NOT_KNOWN_YET);
                other.batch_execute("COMMIT").expect("written");
                begun.join()
            }
        }
    });
    assert!(!has_begun.expect("no panic").expect("asked"), "it is somebody else's by now");
    assert_eq!(runs(&location), 0);
}
