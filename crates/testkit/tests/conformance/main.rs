//! The contract of `store`, sentence by sentence, over every driver and target: `driver::target::sentence`.
//!
//! A driver is taken as it is from `drivers::DRIVERS`; nothing here knows one by name, except where data is looked at
//! past its verbs (`raw`, `catalogue`) or what its documentation promises is listed (`coverage`).

mod addresses;
mod capabilities;
mod catalogue;
mod cluster;
mod corruption;
mod coverage;
mod data;
mod faults;
mod lab;
mod loading;
mod matrix;
mod model;
mod operations;
mod ownership;
mod raw;
mod records;
mod sentence;
mod sessions;
mod sql;
mod tables;

use std::collections::VecDeque;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};
use store::Driver;
use testkit::Way;

use crate::sentence::Sentence;

/// Trials share the servers, so more threads than this only wait for one another.
const THREADS_MAX: usize = 6;

/// Most trials wait for a server to make and drop things: so many kinds of store are at work at the same time.
const LANES: usize = 3;

/// Drivers that keep nothing on purpose: what they are asked to keep cannot be looked at.
const KEEPS_NOTHING: &[&str] = &["null"];

/// Drivers over a client library, whose connections the runtime polls.
const CLIENT_LIBRARIES: &[&str] = &["cassandra", "dynamodb", "elasticsearch", "influxdb", "mongodb"];

/// Where it is set, every target of a driver is tried through the reactor and encrypted, and not the first alone: how bytes
/// travel is the driver's doing, and the others differ in what they say. Every operation is tried on rows of every size
/// then, and not on one: the sizes go round otherwise, so that each store meets them all.
const EVERY_WAY: &str = "STORELAB_EVERY_WAY";

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let threads = arguments.test_threads.unwrap_or(THREADS_MAX);
    arguments.test_threads = Some(threads.min(THREADS_MAX));
    let conclusion = libtest_mimic::run(&arguments, in_lanes(trials()));
    testkit::stop_servers();
    matrix::conclude();
    conclusion.exit_code()
}

/// The same trials in an order in which neighbours are of different stores.
fn in_lanes(trials: Vec<Trial>) -> Vec<Trial> {
    let length = trials.len().div_ceil(LANES);
    let mut lanes: Vec<VecDeque<Trial>> = (0..LANES).map(|_| VecDeque::new()).collect();
    for (place, trial) in trials.into_iter().enumerate() {
        lanes[place / length].push_back(trial);
    }
    let mut ordered = Vec::new();
    while lanes.iter().any(|lane| !lane.is_empty()) {
        ordered.extend(lanes.iter_mut().filter_map(VecDeque::pop_front));
    }
    ordered
}

fn trials() -> Vec<Trial> {
    let mut trials = coverage::trials();
    let every_way = std::env::var_os(EVERY_WAY).is_some();
    for driver in drivers::DRIVERS.iter().copied() {
        trials.extend(capabilities::trials(driver));
        trials.extend(addresses::trials(driver));
        trials.extend(cluster::trials(driver));
        let targets = testkit::targets(driver);
        for (place, target) in targets.available.iter().enumerate() {
            trials.extend(sentences(driver).into_iter().map(|sentence| sentence.trial(driver, target)));
            let ways: &[Way] = if place > 0 && !every_way {
                &[]
            } else if speaks_wire(driver) {
                &[Way::Reactor, Way::Encrypted]
            } else {
                &[Way::Encrypted]
            };
            for other in ways.iter().filter_map(|way| target.by(*way)) {
                trials.extend(sentences_of_sessions(driver).into_iter().map(|sentence| sentence.trial(driver, &other)));
            }
        }
        for missing in &targets.missing {
            trials.extend(sentences(driver).into_iter().map(|sentence| sentence.missing(driver, missing)));
        }
    }
    trials
}

/// Whether the driver speaks the wire by itself, and so through a thread's reactor.
fn speaks_wire(driver: &dyn Driver) -> bool {
    !CLIENT_LIBRARIES.contains(&driver.name())
}

/// All that the contract says about a driver with these capabilities.
fn sentences(driver: &'static dyn Driver) -> Vec<Sentence> {
    let mut sentences = about("(addresses and passwords)", addresses::sentences(driver));
    sentences.extend(about("(servers that die, stop and return)", faults::sentences(driver)));
    sentences.extend(about("(loading)", loading::sentences(driver)));
    sentences.extend(about("(users' data and ours)", ownership::sentences(driver)));
    sentences.extend(about("(capabilities)", capabilities::sentences(driver)));
    sentences.extend(sentences_of_sessions(driver));
    sentences
}

/// Of these, what it says about sessions, which may go several ways.
fn sentences_of_sessions(driver: &'static dyn Driver) -> Vec<Sentence> {
    let mut sentences = about("(sessions)", sessions::sentences(driver));
    sentences.extend(about("(sql)", sql::sentences(driver)));
    sentences.extend(about("(tables)", tables::sentences(driver)));
    if !KEEPS_NOTHING.contains(&driver.name()) {
        sentences.extend(about("(read, insert, update, delete, scan)", records::sentences(driver)));
        sentences.extend(about("(read, insert, update, delete, scan)", model::sentences(driver)));
        sentences.extend(operations::sentences(driver));
        sentences.extend(corruption::sentences(driver));
    }
    sentences
}

fn about(group: &str, sentences: Vec<Sentence>) -> Vec<Sentence> {
    sentences.into_iter().map(|sentence| sentence.about(group)).collect()
}
