//! The queue: turns, leases, tokens, and what becomes of the runs of the dead.

use std::collections::BTreeMap;

use experiment::{SampleRecord, Sink};

use super::*;
use crate::fixture::open;
use crate::service::experiments::NewExperiment;

struct Lab {
    results: Results,
    _folder: tempfile::TempDir,
}

impl Lab {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { results: open(&folder.path().join("results.db")), _folder: folder }
    }

    fn experiment(&mut self) -> Uuid {
        let new = NewExperiment { id: Uuid::now_v7(), name: "one", database_type: "null", config: "{}", sealed: None };
        self.results.create_experiment(new).expect("kept").id
    }

    fn job(&mut self, target: Option<&'static str>) -> NewJob<'static> {
        let experiment = self.experiment();
        NewJob {
            experiment,
            run: Uuid::now_v7(),
            priority: 0,
            target,
            reruns: 0,
            resumable: false,
            resumes: None,
            waiting_max: 100,
        }
    }

    /// A run of a new experiment, in the queue.
    fn enqueue(&mut self, priority: i32, target: Option<&'static str>) -> Uuid {
        let job = NewJob { priority, ..self.job(target) };
        assert_eq!(self.results.enqueue(job).expect("writable"), Enqueued::Waiting);
        job.run
    }

    fn claim(&mut self) -> Option<Job> {
        self.results.claim().expect("writable")
    }

    /// The run that a waiting one goes on from.
    fn resumes(&mut self, run: Uuid) -> Option<Uuid> {
        let query = "SELECT resumes FROM queue WHERE run = ?1";
        let row = self.results.database.query_one(query, &[run.to_string().into()]).expect("readable");
        let resumes: Option<String> = row.expect("it waits").get(0).expect("a text");
        resumes.map(|run| run.parse().expect("an id"))
    }

    fn finish(&mut self, job: &Job, status: ExperimentStatus) -> Finished {
        self.results.finish(job, Outcome { reason: Some("why"), ..Outcome::of(status) }).expect("writable")
    }

    fn status(&mut self, run: Uuid) -> ExperimentStatus {
        let found = self.results.experiment_of_run(run).expect("readable").expect("it has an experiment").status;
        assert_eq!(self.results.queue_entry(run).expect("readable").expect("it is known").status, found);
        found
    }

    /// Makes the process that claimed a run one that is not there.
    fn bury(&mut self) {
        self.results
            .database
            .transaction(Durability::Normal, |transaction| {
                transaction.execute("UPDATE queue SET owner_start_ticks = owner_start_ticks + 1", &[])
            })
            .expect("writable");
    }

    /// The same for those of which it had kept something.
    fn bury_runs(&mut self) {
        self.results
            .database
            .transaction(Durability::Normal, |transaction| {
                transaction.execute("UPDATE runs SET owner_start_ticks = owner_start_ticks + 1", &[])
            })
            .expect("writable");
    }

    fn recover(&mut self) -> Vec<Orphan> {
        self.results.recover_queue(&mut Heard::default()).expect("writable")
    }
}

#[test]
fn the_greatest_priority_goes_first_and_the_oldest_of_those() {
    let mut lab = Lab::new();
    let enqueued: Vec<_> =
        [0, i32::MIN, 7, i32::MAX, 7].into_iter().map(|priority| lab.enqueue(priority, None)).collect();
    let claimed: Vec<_> = std::iter::from_fn(|| lab.claim()).map(|job| job.run).collect();
    assert_eq!(claimed, [3, 2, 4, 0, 1].map(|place: usize| enqueued[place]));
}

#[test]
fn one_target_has_one_run_and_waits_for_its_end() {
    let mut lab = Lab::new();
    let first = lab.enqueue(0, Some("redis 127.0.0.1:6379"));
    let second = lab.enqueue(9, Some("redis 127.0.0.1:6379"));
    let elsewhere = lab.enqueue(0, Some("redis 127.0.0.1:6380"));
    let job = lab.claim().expect("the second is first in turn");
    assert_eq!(job.run, second);
    assert_eq!(lab.claim().map(|job| job.run), Some(elsewhere));
    assert_eq!(lab.claim(), None);
    assert_eq!(lab.finish(&job, ExperimentStatus::Completed), Finished::Over { rerun: None });
    assert_eq!(lab.status(second), ExperimentStatus::Completed);
    assert_eq!(lab.claim().map(|job| job.run), Some(first));
    assert_eq!(lab.status(first), ExperimentStatus::Running);
}

#[test]
fn an_experiment_has_one_run_at_a_time_and_a_queue_an_end() {
    let mut lab = Lab::new();
    let job = lab.job(None);
    assert_eq!(lab.results.enqueue(job).expect("writable"), Enqueued::Waiting);
    assert_eq!(lab.results.enqueue(job).expect("writable"), Enqueued::Waiting, "the same run waits once");
    let again = NewJob { run: Uuid::now_v7(), ..job };
    assert_eq!(lab.results.enqueue(again).expect("writable"), Enqueued::Active(job.run));
    let unknown = NewJob { experiment: Uuid::nil(), ..again };
    assert_eq!(lab.results.enqueue(unknown).expect("writable"), Enqueued::Unknown);
    let full = NewJob { waiting_max: 1, ..lab.job(None) };
    assert_eq!(lab.results.enqueue(full).expect("writable"), Enqueued::Full(1));
    assert_eq!(lab.results.queue_lengths().expect("readable"), (1, 0));
    let claimed = lab.claim().expect("it waits");
    assert_eq!(lab.finish(&claimed, ExperimentStatus::Failed), Finished::Over { rerun: None });
    assert_eq!(lab.results.enqueue(again).expect("writable"), Enqueued::Waiting);
}

#[test]
fn a_stale_token_says_nothing_any_more() {
    let mut lab = Lab::new();
    let run = lab.enqueue(0, Some("a"));
    let job = lab.claim().expect("it waits");
    assert_eq!(lab.results.heartbeat(&job).expect("writable"), Beat::Held);
    lab.bury();
    assert_eq!(lab.recover(), [Orphan { run, rerun: None }]);
    assert_eq!(lab.recover(), []);
    assert_eq!(lab.results.heartbeat(&job).expect("writable"), Beat::Lost);
    let begun = crate::fixture::started("late", run);
    assert!(!lab.results.start_claimed(&job, &begun).expect("writable"));
    assert_eq!(lab.results.status_of(run).expect("readable"), None, "it never began");
    assert_eq!(lab.finish(&job, ExperimentStatus::Completed), Finished::Refused);
    assert_eq!(lab.status(run), ExperimentStatus::Interrupted);
    lab.enqueue(0, Some("a"));
    let next = lab.claim().expect("the target is free again");
    assert!(next.fence > job.fence, "tokens only grow");
}

#[test]
fn a_run_is_made_again_as_often_as_its_plan_says() {
    let mut lab = Lab::new();
    let job = NewJob { reruns: 1, priority: i32::MIN, ..lab.job(Some("a")) };
    lab.results.enqueue(job).expect("writable");
    lab.claim().expect("it waits");
    lab.bury();
    let orphans = lab.recover();
    let [Orphan { run, rerun: Some(rerun) }] = orphans[..] else { panic!("{orphans:?}") };
    assert_eq!(run, job.run);
    assert_eq!(lab.status(rerun), ExperimentStatus::Queued);
    assert_eq!(lab.claim().map(|job| job.run), Some(rerun));
    assert_eq!(lab.claim(), None, "it is there once");
    lab.bury();
    assert_eq!(lab.recover(), [Orphan { run: rerun, rerun: None }]);
    assert_eq!(lab.status(rerun), ExperimentStatus::Interrupted);
}

#[test]
fn a_run_goes_on_from_that_of_its_forerunners_which_came_furthest() {
    let mut lab = Lab::new();
    let job = NewJob { reruns: 4, resumable: true, ..lab.job(Some("a")) };
    lab.results.enqueue(job).expect("writable");
    // Seconds that each run of the experiment keeps before its process dies, and the run that the next one goes on from.
    let mut runs = Vec::new();
    for (kept, goes_on_from) in [(0_u64, None), (3, Some(1)), (1, Some(1)), (4, Some(3)), (0, None)] {
        let job = lab.claim().expect("it waits");
        let record = crate::fixture::started("cut off", job.run);
        assert!(lab.results.start_claimed(&job, &record).expect("writable"));
        for second in 0..kept {
            let sample = SampleRecord { second, operations: Vec::new(), gauges: BTreeMap::new() };
            lab.results.sampled(job.run, &sample).expect("writable");
        }
        let resumes = job.resumes;
        runs.push(job);
        lab.bury();
        lab.bury_runs();
        let orphans = lab.recover();
        // Of three seconds that it took over and one of its own, it went on for one.
        let settled = lab.results.record(record.id).expect("there");
        assert_eq!(settled.resumed.as_ref().map(|resumed| resumed.run), resumes);
        let taken_over = settled.resumed.map_or(0, |resumed| resumed.seconds);
        let lasted = settled.ended_at.duration_since(settled.started_at).as_secs().unsigned_abs();
        assert_eq!(lasted, kept - taken_over);
        assert_eq!(taken_over, resumes.map_or(0, |_| kept.min(3)));
        let [Orphan { rerun, .. }] = orphans[..] else { panic!("{orphans:?}") };
        assert_eq!(rerun.is_some(), runs.len() < 5, "as often as its plan says");
        let Some(rerun) = rerun else { break };
        let resumes = lab.resumes(rerun);
        assert_eq!(resumes, goes_on_from.map(|place: usize| runs[place].run), "{kept} of {}", runs.len());
    }
}

#[test]
fn what_waits_is_dequeued_and_what_runs_is_asked() {
    let mut lab = Lab::new();
    let (first, second) = (lab.enqueue(1, Some("a")), lab.enqueue(0, Some("a")));
    let job = lab.claim().expect("it waits");
    assert_eq!(lab.results.cancel(second).expect("writable"), Cancelled::Dequeued);
    assert_eq!(lab.results.cancel(second).expect("writable"), Cancelled::Over);
    assert_eq!(lab.status(second), ExperimentStatus::Cancelled);
    assert_eq!(lab.results.cancel(first).expect("writable"), Cancelled::Asked);
    assert_eq!(lab.results.heartbeat(&job).expect("writable"), Beat::Cancelled);
    assert_eq!(lab.results.cancel(Uuid::nil()).expect("writable"), Cancelled::Unknown);
    lab.bury();
    lab.recover();
    assert_eq!(lab.status(first), ExperimentStatus::Cancelled);
    let waiting: Vec<_> = (0..3).map(|_| lab.enqueue(0, None)).collect();
    assert_eq!(lab.results.cancel_all().expect("writable"), waiting);
}

#[test]
fn the_living_are_left_alone_and_the_silent_of_other_machines_are_not() {
    let mut lab = Lab::new();
    lab.enqueue(0, None);
    let job = lab.claim().expect("it waits");
    assert_eq!(lab.recover(), [], "this process lives");
    let mut heard = Heard::default();
    let (start, later) = (Instant::now(), Instant::now() + SILENCE_MAX + Duration::from_secs(1));
    assert!(!heard.is_silent(job.run, 1, start), "nobody has waited yet");
    assert!(!heard.is_silent(job.run, 2, later), "it was heard of in between, whatever its clock says");
    assert!(heard.is_silent(job.run, 2, later + SILENCE_MAX + Duration::from_secs(1)));
}

#[test]
fn two_handles_never_claim_the_same_run() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("results.db");
    let mut lab = Lab { results: open(&path), _folder: folder };
    let mut enqueued: Vec<_> = (0..24).map(|_| lab.enqueue(0, None)).collect();
    let claimed = std::thread::scope(|scope| {
        let claimers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut results = open(&path);
                    std::iter::from_fn(|| results.claim().expect("writable")).collect::<Vec<_>>()
                })
            })
            .collect();
        claimers.into_iter().flat_map(|claimer| claimer.join().expect("no panic")).collect::<Vec<_>>()
    });
    let mut runs: Vec<_> = claimed.iter().map(|job| job.run).collect();
    let mut fences: Vec<_> = claimed.iter().map(|job| job.fence).collect();
    runs.sort_unstable();
    enqueued.sort_unstable();
    assert_eq!(runs, enqueued);
    fences.sort_unstable();
    assert!(fences.is_sorted_by(|a, b| a < b), "each has a token of its own: {fences:?}");
}
