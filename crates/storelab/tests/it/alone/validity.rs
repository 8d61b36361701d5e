//! A generator that is squeezed says so, every time; one that is left alone does not.

use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

use crate::support::{Ended, Lab, skipped};

/// How often each is tried, for tests have other things to do; `cargo xtask squeeze` does it twenty times.
const TRIES: usize = 1;

/// Both want more than a tenth of a core and get it on any host that is idle.
const LOADS: [(&str, &[&str]); 2] =
    [("open", &["--rate", "20000/s", "--sessions", "64"]), ("closed", &["--sessions", "64"])];

/// How a generator is left with a tenth of a core.
#[derive(Debug, Clone, Copy)]
enum Squeeze {
    /// Stopped nine tenths of the time, as `cpulimit` does it.
    Stops,
    /// Kept to one processor with nine others that want all of it.
    Company,
}

fn arguments(load: &[&'static str]) -> Vec<&'static str> {
    let run = ["run", "null:?latency=1ms", "--workload", "ycsb:c", "--json", "--for", "3s", "--warm-up", "200ms"];
    [&run[..], load].concat()
}

fn squeezed(lab: &Lab, how: Squeeze, arguments: &[&str]) -> Ended {
    let output = match how {
        Squeeze::Stops => with_stops(lab.spawn(arguments)),
        Squeeze::Company => with_company(|| lab.spawn(arguments)),
    };
    Ended::of(output)
}

/// Lets the child run for 10 ms of 100.
fn with_stops(child: Child) -> std::process::Output {
    let (running, stopped) = (Duration::from_millis(10), Duration::from_millis(90));
    let is_over = AtomicBool::new(false);
    let watched = rustix::process::Pid::from_child(&child);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                // It may have ended: then there is nobody to stop.
                let _ = rustix::process::kill_process(watched, Signal::STOP);
                thread::sleep(stopped);
                let _ = rustix::process::kill_process(watched, Signal::CONT);
                thread::sleep(running);
            }
        });
        let output = child.wait_with_output().expect("it ends");
        is_over.store(true, Ordering::Relaxed);
        output
    })
}

/// Starts a child that, like nine threads of ours, may use only the first processor that we may use.
fn with_company(start: impl FnOnce() -> Child) -> std::process::Output {
    const SPINNERS: usize = 9;
    let all = sched_getaffinity(None).expect("Linux has it");
    let first = (0..CpuSet::MAX_CPU).find(|processor| all.is_set(*processor)).expect("we run on one");
    let mut one = CpuSet::new();
    one.set(first);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // What a thread starts is kept to the same processors.
        sched_setaffinity(None, &one).expect("a part of what we may use");
        for _ in 0..SPINNERS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let child = start();
        sched_setaffinity(None, &all).expect("what we could use before");
        let output = child.wait_with_output().expect("it ends");
        is_over.store(true, Ordering::Relaxed);
        output
    })
}

/// The names of the checks of a record that came out so.
fn checks<'a>(record: &'a Value, outcome: &str) -> Vec<&'a str> {
    let checks = record["verdict"]["checks"].as_array().expect("a list").iter();
    let such = checks.filter(|check| check["outcome"] == outcome);
    such.map(|check| check["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_generator_with_a_tenth_of_a_core_makes_every_run_invalid() {
    let lab = Lab::alone();
    for (name, load) in LOADS {
        for how in [Squeeze::Stops, Squeeze::Company] {
            for _ in 0..TRIES {
                let ended = squeezed(&lab, how, &arguments(load));
                let record = ended.record();
                let reasons = record["verdict"]["reasons"].as_array().expect("a list");
                let names_it = |reason: &Value| reason.as_str().is_some_and(|reason| reason.contains("the generator"));
                assert_eq!(ended.code, Some(4), "{name} {how:?}: {}", record["verdict"]);
                assert!(reasons.iter().any(names_it), "{name} {how:?}: {reasons:?}");
                let expected = match how {
                    Squeeze::Stops => "generator_stopped",
                    Squeeze::Company => "generator_starved",
                };
                assert!(checks(&record, "failed").contains(&expected), "{name} {how:?}: {}", record["verdict"]);
            }
        }
    }
}

#[test]
fn who_accepts_an_invalid_run_gets_its_numbers_and_the_reasons_too() {
    let lab = Lab::alone();
    let arguments = [&arguments(LOADS[1].1)[..], &["--accept-invalid"]].concat();
    let ended = squeezed(&lab, Squeeze::Stops, &arguments);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let verdict = &ended.record()["verdict"];
    assert!(verdict["valid"] == false && verdict["accepted"] == true, "{verdict}");
    assert!(verdict["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()), "{verdict}");
    let shown = lab.run(&["show", "last"]).stdout;
    for part in ["INVALID, but accepted", "CHECK", "generator_stopped", "FAILED", "1 %", "cpulimit"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn what_has_no_numbers_cannot_be_accepted() {
    let lab = Lab::alone();
    let nothing = ["run", "null:?fail_every=1", "--workload", "ycsb:c", "--operations", "50", "--accept-invalid"];
    let ended = lab.run(&nothing);
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("no operation succeeded"), "{}", ended.stderr);
}

/// On a host where others are at work a run may well be invalid, but then for that and for nothing else.
#[test]
fn a_generator_that_is_left_alone_is_valid() {
    const OF_THE_HOST: [&str; 3] = ["host_contention", "host_steal", "generator_starved"];
    let lab = Lab::alone();
    for (name, load) in LOADS {
        let mut busy = 0;
        for _ in 0..TRIES {
            let ended = lab.run(&arguments(load));
            let record = ended.record();
            let failed = checks(&record, "failed");
            let beyond = [failed.clone(), checks(&record, "doubtful")].concat();
            if beyond.iter().any(|check| OF_THE_HOST.contains(check)) {
                busy += 1;
                continue;
            }
            assert_eq!(ended.code, Some(0), "{name}: {}", record["verdict"]);
            assert!(record["verdict"]["valid"] == true && record["verdict"]["accepted"] == false, "{name}");
        }
        if busy == TRIES {
            skipped(&format!("other processes were at work during every run of the {name} load"));
        }
    }
}
