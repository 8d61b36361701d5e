//! Drives a part that was claimed: connects, waits for the agreed start, runs, and tells what came of it.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use experiment::Spec;
use runner::{Gate, Stop};
use store::{Error as StoreError, ErrorKind};

use super::parts::{ClaimedPart, PartBeat, PartEnd, Start};
use crate::{Error, Location, Result, Results};

/// Between two heartbeats, each of which also asks whether the load is to stop: it must do so within a second of the word, of
/// which whoever passes the word on takes a fifth, and sessions that close their connections some more.
const BEAT_INTERVAL: Duration = Duration::from_millis(250);

/// Between two attempts while something waits to be told.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Between two questions for the start: well within the time that lies between its agreement and it.
const START_INTERVAL: Duration = Duration::from_millis(50);

/// Seconds that may wait for a store that is away; with more of them the part fails.
const SECONDS_WAITING_MAX: usize = 600;

/// How long the end of a part waits for the store.
const END_WAIT: Duration = Duration::from_mins(2);

/// Drives a part to its end. Returns whether it was the agent's until then, and what it came to was kept.
///
/// # Errors
/// What kept it from being driven or told; whoever divided the run is told of it where that is possible.
pub fn drive_part(
    location: &Location,
    claim: &ClaimedPart,
    spec: store::Result<Spec>,
    stop: &Stop,
) -> store::Result<bool> {
    let teller = Teller::start(location, claim, stop)?;
    let outcome = spec.and_then(|spec| {
        let gate = Arc::new(PartGate {
            results: Mutex::new(Results::open(location)?),
            claim: claim.clone(),
            stop: stop.clone(),
        });
        let mut cpu_percent_max: Option<f64> = None;
        experiment::run_part(spec, claim.part, gate, stop, &mut |sample, cpu_percent| {
            cpu_percent_max = cpu_percent.into_iter().chain(cpu_percent_max).reduce(f64::max);
            match experiment::encode_sample(sample) {
                Ok(told) => teller.second(sample.second, told, cpu_percent_max),
                // What cannot be told is missed by whoever puts parts together; the end says so too.
                Err(_) => stop.request(),
            }
        })
    });
    let told = match &outcome {
        Ok(outcome) => experiment::encode_outcome(outcome).map_err(|error| error.to_string()),
        Err(error) => Err(match error.hint() {
            Some(hint) => format!("{error} (hint: {hint})"),
            None => error.to_string(),
        }),
    };
    let kept = teller.end(told);
    outcome?;
    kept
}

/// The agreement on the start.
struct PartGate {
    results: Mutex<Results>,
    claim: ClaimedPart,
    stop: Stop,
}

impl Gate for PartGate {
    fn start(&self) -> store::Result<Instant> {
        let mut results = self.results.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = results.read_clock()?;
        if !results.part_ready(&self.claim, &clock)? {
            return Err(lost());
        }
        loop {
            if self.stop.is_requested() {
                return Err(lost());
            }
            match results.part_start(&self.claim)? {
                Start::Wait => thread::sleep(START_INTERVAL),
                Start::Lost => return Err(lost()),
                // The clock is read again, since minutes may have gone by in which it drifted.
                Start::At(start) => {
                    let start = results.read_clock()?.instant(start);
                    return match start.checked_duration_since(Instant::now()) {
                        Some(_) => Ok(start),
                        None => Err(StoreError::rejected("the agreed start was missed: this agent stood still")),
                    };
                }
            }
        }
    }
}

fn lost() -> StoreError {
    StoreError::new(ErrorKind::Conflict, "the part was given to another agent, or its run is over")
}

/// Tells what a part comes to: a thread with a connection of its own, so that the load never waits for the store.
struct Teller {
    outbox: Sender<Message>,
    thread: JoinHandle<store::Result<bool>>,
}

enum Message {
    Second { second: u64, told: Vec<u8>, cpu_percent_max: Option<f64> },
    End(Result<Vec<u8>, String>),
}

impl Teller {
    fn start(location: &Location, claim: &ClaimedPart, stop: &Stop) -> store::Result<Self> {
        let (outbox, inbox) = channel();
        let telling = Telling {
            results: Results::open(location)?,
            claim: claim.clone(),
            stop: stop.clone(),
            waiting: VecDeque::new(),
            cpu_percent_max: None,
            beat_at: Instant::now(),
            is_lost: false,
        };
        let thread = thread::Builder::new().name("teller".to_owned()).spawn(move || telling.go_on(&inbox));
        let thread =
            thread.map_err(|source| StoreError::config("a thread could not be started").with_source(source))?;
        Ok(Self { outbox, thread })
    }

    fn second(&self, second: u64, told: Vec<u8>, cpu_percent_max: Option<f64>) {
        // Where the thread is gone the end says why.
        let _ = self.outbox.send(Message::Second { second, told, cpu_percent_max });
    }

    fn end(self, told: Result<Vec<u8>, String>) -> store::Result<bool> {
        let _ = self.outbox.send(Message::End(told));
        self.thread.join().map_err(|_| StoreError::bug("the thread that tells of a part died"))?
    }
}

/// What that thread has.
struct Telling {
    results: Results,
    claim: ClaimedPart,
    stop: Stop,
    waiting: VecDeque<(u64, Vec<u8>)>,
    cpu_percent_max: Option<f64>,
    beat_at: Instant,
    is_lost: bool,
}

impl Telling {
    fn go_on(mut self, inbox: &Receiver<Message>) -> store::Result<bool> {
        let mut end: Option<(Result<Vec<u8>, String>, Instant)> = None;
        loop {
            let until_beat = self.beat_at.saturating_duration_since(Instant::now());
            let is_idle = self.waiting.is_empty() && end.is_none();
            let patience = if is_idle { until_beat } else { until_beat.min(RETRY_INTERVAL) };
            match inbox.recv_timeout(patience) {
                Ok(Message::Second { second, told, cpu_percent_max }) => {
                    self.waiting.push_back((second, told));
                    self.cpu_percent_max = cpu_percent_max;
                }
                Ok(Message::End(told)) => end = Some((told, Instant::now() + END_WAIT)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if end.is_none() => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => thread::sleep(patience),
            }
            match self.tell(end.as_ref().map(|(told, _)| told)) {
                Ok(true) => return Ok(!self.is_lost),
                Ok(false) => {}
                Err(error) if is_passing(&error) && self.waiting.len() <= SECONDS_WAITING_MAX => {
                    if end.as_ref().is_some_and(|(_, deadline)| Instant::now() > *deadline) {
                        return Err(error.into());
                    }
                }
                Err(error) => {
                    self.stop.request();
                    return Err(error.into());
                }
            }
        }
    }

    /// Tells what waits; whether the end was told, or nobody wants to hear it.
    fn tell(&mut self, end: Option<&Result<Vec<u8>, String>>) -> Result<bool> {
        if Instant::now() >= self.beat_at {
            self.beat_at = Instant::now() + BEAT_INTERVAL;
            match self.results.hear_part(&self.claim, self.cpu_percent_max)? {
                PartBeat::Held => {}
                PartBeat::Stop => self.stop.request(),
                PartBeat::Lost => self.lose(),
            }
        }
        while !self.is_lost
            && let Some((second, told)) = self.waiting.front()
        {
            if self.results.tell_second(&self.claim, *second, told)? {
                self.waiting.pop_front();
            } else {
                self.lose();
            }
        }
        let Some(end) = end else { return Ok(false) };
        if !self.is_lost {
            let end = match end {
                Ok(outcome) => PartEnd::Outcome(outcome),
                Err(reason) => PartEnd::Failed(reason),
            };
            self.is_lost = !self.results.end_part(&self.claim, end)?;
        }
        Ok(true)
    }

    /// Somebody else has the part, or nobody wants it: the load must not go on.
    fn lose(&mut self) {
        self.is_lost = true;
        self.waiting.clear();
        self.stop.request();
    }
}

/// Whether the same may succeed later by itself.
fn is_passing(error: &Error) -> bool {
    matches!(error, Error::Unreachable { .. } | Error::Locked { .. })
}
