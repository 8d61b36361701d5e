//! Parts of a run: each has one owner at a time, and what an earlier one says does not count.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use experiment::Sink;
use results::Results;
use results::service::{ClaimedPart, PartBeat, PartEnd, SILENCE_MAX, Stage, Start};
use runner::Part;
use uuid::Uuid;

use crate::on::{On, place};
use crate::{fixture, open};

/// Threads that claim at the same time.
const CLAIMING: usize = 6;

/// Parts that they claim.
const PARTS: u32 = 24;

fn divided(results: &mut Results, parts: u32) -> Uuid {
    let id = Uuid::now_v7();
    results.started(&fixture::started("divided", id)).expect("started");
    let sessions = NonZeroU32::new(parts * 3).expect("some");
    let parts = experiment::divide(sessions, NonZeroU32::new(parts).expect("some")).expect("possible");
    results.divide(id, "{}", "redis://h", &parts).expect("divided");
    id
}

fn claimed(results: &mut Results, name: &str) -> ClaimedPart {
    let agent = results.register_agent(name).expect("registered");
    results.claim_part(agent, name).expect("asked").expect("there is one")
}

pub(crate) fn each_has_one_owner(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let run = divided(&mut results, PARTS);
    let claiming: Vec<_> = (0..CLAIMING)
        .map(|number| {
            let location = location.clone();
            std::thread::spawn(move || {
                let mut results = open(&location);
                let agent = results.register_agent(&number.to_string()).expect("registered");
                let mut claimed = Vec::new();
                while let Some(claim) = results.claim_part(agent, &number.to_string()).expect("asked") {
                    claimed.push(claim);
                }
                claimed
            })
        })
        .collect();
    // The run's maker lives all the while.
    while !claiming.iter().all(std::thread::JoinHandle::is_finished) {
        results.watch_parts(run).expect("watched");
    }
    let mut claims: Vec<_> = claiming.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect();
    claims.sort_by_key(|claim| claim.number);
    // An agent that is passed over while others lock may find nothing; the next look finds what is left.
    while let Some(claim) = results.claim_part(0, "last").expect("asked") {
        claims.push(claim);
    }
    claims.sort_by_key(|claim| claim.number);
    let numbers: Vec<_> = claims.iter().map(|claim| claim.number).collect();
    assert_eq!(numbers, (0..PARTS).collect::<Vec<_>>(), "each part was claimed once");
    assert!(claims.iter().all(|claim| claim.run == run && claim.fence == 1 && claim.part.sessions.get() == 3));
    assert_eq!(claims[2].part, Part { first: 6, ..claims[2].part });
}

pub(crate) fn start_together_or_not_at_all(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let run = divided(&mut results, 2);
    let mut agents = [open(&location), open(&location)];
    let claims = [claimed(&mut agents[0], "a"), claimed(&mut agents[1], "b")];
    let margin = Duration::from_millis(500);
    assert!(!results.start_parts(run, margin).expect("asked"), "nobody is ready");
    for (agent, claim) in agents.iter_mut().zip(&claims) {
        let clock = agent.read_clock().expect("read");
        assert!(agent.part_ready(claim, &clock).expect("told"));
        assert_eq!(agent.part_start(claim).expect("asked"), Start::Wait);
    }
    let asked = Instant::now();
    assert!(results.start_parts(run, margin).expect("asked"));
    assert!(!results.start_parts(run, margin).expect("asked"), "once");
    let starts = agents.iter_mut().zip(&claims).map(|(agent, claim)| {
        let Start::At(start) = agent.part_start(claim).expect("asked") else { panic!("it was agreed on") };
        agent.read_clock().expect("read").instant(start)
    });
    let starts: Vec<_> = starts.collect();
    let apart = starts[0].max(starts[1]) - starts[0].min(starts[1]);
    // SQLite's clock ticks in milliseconds.
    assert!(apart < Duration::from_millis(50), "two clocks of one host agree: {apart:?}");
    assert!(starts[0] > asked, "it lies ahead");
    results.stop_parts(run).expect("asked");
    assert_eq!(agents[0].hear_part(&claims[0], Some(12.5)).expect("told"), PartBeat::Stop);
    results.close_parts(run).expect("closed");
    assert_eq!(agents[0].hear_part(&claims[0], None).expect("told"), PartBeat::Lost);
}

pub(crate) fn a_silent_owner_is_replaced_before_the_start(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let run = divided(&mut results, 1);
    let mut first = open(&location);
    let old = claimed(&mut first, "first");
    let clock = first.read_clock().expect("read");
    assert!(first.part_ready(&old, &clock).expect("told"));
    let silent = silent_part(&mut results, run);
    assert!(!results.start_parts(run, Duration::ZERO).expect("asked"), "it is not heard of");
    assert!(results.take_part_back(run, &silent).expect("taken"));
    assert!(!results.take_part_back(run, &silent).expect("asked"), "once");
    let mut second = open(&location);
    let new = claimed(&mut second, "second");
    assert_eq!((new.number, new.part), (old.number, old.part));
    assert!(new.fence > old.fence);
    assert!(second.part_ready(&new, &clock).expect("told"));
    assert!(results.start_parts(run, Duration::ZERO).expect("asked"));
    // The first one comes back: whatever it says, it is told that it has nothing to do here.
    assert_eq!(first.part_start(&old).expect("asked"), Start::Lost);
    assert_eq!(first.hear_part(&old, None).expect("told"), PartBeat::Lost);
    assert!(!first.tell_second(&old, 0, b"old").expect("told"));
    assert!(!first.end_part(&old, PartEnd::Outcome(b"old")).expect("told"));
    assert!(second.tell_second(&new, 0, b"new").expect("told"));
    assert!(second.end_part(&new, PartEnd::Outcome(b"end")).expect("told"));
    assert_eq!(results.part_seconds(run, 0, 0, 10).expect("there"), [(0, b"new".to_vec())]);
    assert_eq!(results.part_outcome(run, 0).expect("there"), Some(b"end".to_vec()));
    assert!(!second.tell_second(&new, 1, b"late").expect("told"), "it has ended");
}

pub(crate) fn a_silent_owner_is_lost_after_the_start(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let run = divided(&mut results, 1);
    let mut agent = open(&location);
    let claim = claimed(&mut agent, "agent");
    let clock = agent.read_clock().expect("read");
    assert!(agent.part_ready(&claim, &clock).expect("told"));
    assert!(results.start_parts(run, Duration::ZERO).expect("asked"));
    assert!(agent.tell_second(&claim, 0, b"one").expect("told"));
    let silent = silent_part(&mut results, run);
    assert!(results.lose_part(run, &silent, "it fell silent").expect("lost"));
    let mut other = open(&location);
    let number = other.register_agent("other").expect("registered");
    assert_eq!(other.claim_part(number, "other").expect("asked"), None, "nobody else drives what was begun");
    assert!(!agent.tell_second(&claim, 1, b"two").expect("told"));
    let parts = results.parts(run).expect("there");
    assert_eq!((parts[0].stage, parts[0].reason.as_deref()), (Stage::Lost, Some("it fell silent")));
    assert_eq!(results.part_seconds(run, 0, 0, 10).expect("there"), [(0, b"one".to_vec())]);
}

pub(crate) fn an_orphaned_run_is_left_alone(on: On) {
    let (_folder, location) = place(on);
    let mut results = open(&location);
    let run = divided(&mut results, 2);
    let mut agent = open(&location);
    let claim = claimed(&mut agent, "agent");
    wait_for_silence(|| agent.hear_part(&claim, None).expect("told") == PartBeat::Stop);
    let number = agent.register_agent("agent").expect("registered");
    assert_eq!(agent.claim_part(number, "agent").expect("asked"), None, "its maker is not heard of");
    results.watch_parts(run).expect("it lives");
    assert_eq!(agent.hear_part(&claim, None).expect("told"), PartBeat::Held);
    assert!(agent.claim_part(number, "agent").expect("asked").is_some());
    results.ended(&fixture::started("divided", run), &[]).expect("ended");
}

/// The only part, once it has not been heard of for too long.
fn silent_part(results: &mut Results, run: Uuid) -> results::service::PartStatus {
    let mut found = None;
    wait_for_silence(|| {
        let part = results.watch_parts(run).expect("watched").remove(0);
        let is_silent = part.silence > SILENCE_MAX;
        found = Some(part);
        is_silent
    });
    found.expect("it was looked at")
}

fn wait_for_silence(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + 10 * SILENCE_MAX;
    while !holds() {
        assert!(Instant::now() < deadline, "silence is heard");
        std::thread::sleep(Duration::from_millis(20));
    }
}
