//! What a worker writes down, and hands over as time goes on.

use std::sync::mpsc::{Receiver, Sender};

use stats::Histogram;
use store::{Error, ErrorKind, Result};

use crate::clock::Nanoseconds;
use crate::worker::WorkerOutcome;

/// What happened to one operation's executions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    /// Ended well.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// The errors by [`ErrorKind::index`].
    pub errors: [u64; ErrorKind::ALL.len()],
    /// Of the successes: from the intended start (open) or the send (closed) to the end.
    pub latency: Histogram,
    /// Of the successes in open phases: from the send to the end. In closed phases it is the latency.
    pub service_time: Option<Box<Histogram>>,
    /// Of the successes in open phases: from the intended start to the send. In closed phases there is none.
    pub queueing_time: Option<Box<Histogram>>,
}

impl Cell {
    /// Adds another one's counts.
    pub fn merge(&mut self, other: &Self) {
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        for (mine, theirs) in self.errors.iter_mut().zip(&other.errors) {
            *mine += theirs;
        }
        self.latency.merge(&other.latency);
        merge_optional(&mut self.service_time, other.service_time.as_deref());
        merge_optional(&mut self.queueing_time, other.queueing_time.as_deref());
    }

    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.succeeded == 0 && self.failed == 0
    }

    fn clear(&mut self) {
        if self.is_empty() {
            return;
        }
        self.succeeded = 0;
        self.failed = 0;
        self.errors = Default::default();
        self.latency.clear();
        for histogram in [&mut self.service_time, &mut self.queueing_time].into_iter().flatten() {
            histogram.clear();
        }
    }

    #[inline]
    fn succeed(&mut self, open: bool, intended: Nanoseconds, sent: Nanoseconds, end: Nanoseconds) {
        self.succeeded += 1;
        self.latency.record(end.saturating_sub(intended));
        if open {
            self.service_time.get_or_insert_default().record(end.saturating_sub(sent));
            self.queueing_time.get_or_insert_default().record(sent.saturating_sub(intended));
        }
    }
}

fn merge_optional(mine: &mut Option<Box<Histogram>>, theirs: Option<&Histogram>) {
    if let Some(theirs) = theirs.filter(|histogram| !histogram.is_empty()) {
        mine.get_or_insert_default().merge(theirs);
    }
}

/// A cell for each of a workload's operations, made when the operation is first seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OperationCells(Vec<Option<Box<Cell>>>);

impl OperationCells {
    /// Room for so many operations.
    pub fn new(operations: usize) -> Self {
        Self(vec![None; operations])
    }

    /// The cells that counted something, with the operations' places.
    pub fn iter(&self) -> impl Iterator<Item = (u16, &Cell)> {
        self.0.iter().enumerate().filter_map(|(operation, cell)| {
            cell.as_deref().filter(|cell| !cell.is_empty()).map(|cell| (operation as u16, cell))
        })
    }

    /// Adds another one's counts.
    pub fn merge(&mut self, other: &Self) {
        for (operation, theirs) in other.iter() {
            self.cell(operation).merge(theirs);
        }
    }

    /// All operations together.
    pub fn total(&self) -> Cell {
        let mut total = Cell::default();
        for (_, cell) in self.iter() {
            total.merge(cell);
        }
        total
    }

    /// Adds one operation's counts.
    pub fn add(&mut self, operation: u16, counted: &Cell) {
        self.cell(operation).merge(counted);
    }

    fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(crate) fn clear(&mut self) {
        self.0.iter_mut().flatten().for_each(|cell| cell.clear());
    }

    #[inline]
    fn cell(&mut self, operation: u16) -> &mut Cell {
        let operation = usize::from(operation);
        if operation >= self.0.len() {
            self.0.resize(operation + 1, None);
        }
        self.0[operation].get_or_insert_default()
    }
}

/// Where every operation went: scheduled = succeeded + failed + shed + unfinished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accounting {
    /// Were to be started: came due (open), or were started (closed).
    pub scheduled: u64,
    /// Ended well.
    pub succeeded: u64,
    /// Ended with an error.
    pub failed: u64,
    /// Were not started, because too many others were waiting.
    pub shed: u64,
    /// Had not ended when the run did.
    pub unfinished: u64,
}

impl Accounting {
    /// Whether nothing is missing and nothing is counted twice.
    pub fn is_exact(&self) -> bool {
        self.scheduled == self.succeeded + self.failed + self.shed + self.unfinished
    }

    /// Adds another one's counts.
    pub fn add(&mut self, other: &Self) {
        self.scheduled += other.scheduled;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.shed += other.shed;
        self.unfinished += other.unfinished;
    }
}

/// An error message with how often it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorSample {
    /// Who must act.
    pub kind: ErrorKind,
    /// The message, and the hint where there is one.
    pub message: String,
    /// How often.
    pub count: u64,
}

/// Keeps the distinct messages of a run, boundedly.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog(Vec<ErrorSample>);

impl ErrorLog {
    /// Messages kept a run: more would bury the first ones, which tell most.
    const MESSAGES_MAX: usize = 16;

    pub(crate) fn note(&mut self, error: &Error) {
        let message = || match error.hint() {
            Some(hint) => format!("{error} (hint: {hint})"),
            None => error.to_string(),
        };
        // A storm of one error must not format a message each time: the last one is usually the same.
        let context = error.to_string();
        if let Some(known) =
            self.0.iter_mut().find(|known| known.kind == error.kind() && known.message.starts_with(&context))
        {
            known.count += 1;
        } else if self.0.len() < Self::MESSAGES_MAX {
            self.0.push(ErrorSample { kind: error.kind(), message: message(), count: 1 });
        }
    }

    pub(crate) fn into_samples(self) -> Vec<ErrorSample> {
        self.0
    }
}

/// Adds the counts of equal messages.
pub(crate) fn merge_errors(into: &mut Vec<ErrorSample>, from: Vec<ErrorSample>) {
    for sample in from {
        match into.iter_mut().find(|known| known.kind == sample.kind && known.message == sample.message) {
            Some(known) => known.count += sample.count,
            None => into.push(sample),
        }
    }
}

/// The generator's own state at the end of a second, over all workers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SecondGauges {
    /// Due operations that waited for a session.
    pub backlog: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Sessions that are connected.
    pub connected: u32,
    /// The latest send of the second, in nanoseconds after it was due, of those that waited for nothing but the clock.
    pub lateness_ns_max: u64,
}

impl SecondGauges {
    /// Adds those of other workers.
    pub fn merge(&mut self, other: &Self) {
        self.backlog += other.backlog;
        self.in_flight += other.in_flight;
        self.connected += other.connected;
        self.lateness_ns_max = self.lateness_ns_max.max(other.lateness_ns_max);
    }
}

/// One second of a run, of all workers.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Which second since the start, from 0.
    pub second: u64,
    /// What ended in it, by the phase that it was scheduled in.
    pub phases: Vec<(u16, OperationCells)>,
    /// The generator's own state.
    pub gauges: SecondGauges,
}

impl Sample {
    /// Adds what others counted in the same second.
    pub fn merge(&mut self, other: &Self) {
        for (phase, cells) in &other.phases {
            self.add(*phase, cells);
        }
        self.phases.sort_by_key(|(phase, _)| *phase);
        self.gauges.merge(&other.gauges);
    }

    /// One of a second in which nothing was counted.
    pub(crate) fn new(second: u64) -> Self {
        Self { second, phases: Vec::new(), gauges: SecondGauges::default() }
    }

    /// Adds what ended in it, of operations scheduled in one phase.
    pub(crate) fn add(&mut self, phase: u16, cells: &OperationCells) {
        match self.phases.iter_mut().find(|(known, _)| *known == phase) {
            Some((_, known)) => known.merge(cells),
            None => self.phases.push((phase, cells.clone())),
        }
    }
}

/// What a worker tells the collector.
#[derive(Debug)]
pub(crate) enum Message {
    /// All its sessions are connected, or one cannot be.
    Connected(Result<()>),
    /// It has ended.
    Done(Box<WorkerOutcome>),
    /// What ended during a second, of operations scheduled in one phase; where the second is watched, during that quarter of it.
    Cells { second: u64, quarter: Option<u8>, phase: u16, cells: OperationCells },
    /// That was all of the quarter. Without gauges the worker had ended before it.
    CutQuarter { second: u64, quarter: u8, gauges: Option<SecondGauges> },
    /// That was all of the second.
    Cut { second: u64, gauges: SecondGauges },
}

/// A worker's way to the collector; sending never waits.
#[derive(Debug, Clone)]
pub(crate) struct Outbox {
    worker: usize,
    sender: Sender<(usize, Message)>,
}

impl Outbox {
    pub(crate) fn new(worker: usize, sender: Sender<(usize, Message)>) -> Self {
        Self { worker, sender }
    }

    /// Where the collector is gone the run has ended in an error, and nobody wants the message.
    pub(crate) fn send(&self, message: Message) {
        let _ = self.sender.send((self.worker, message));
    }
}

/// A worker's notebook: the cells of the running second, handed over without waiting.
#[derive(Debug)]
pub(crate) struct Recorder {
    operations: usize,
    active: Vec<(u16, OperationCells)>,
    spare: Vec<OperationCells>,
    outbox: Outbox,
    returned: Receiver<OperationCells>,
    lateness_ns_max: u64,
    /// The greatest of the quarters of this second that are over.
    lateness_ns_max_before: u64,
    /// Whether anything ended in those.
    has_quarters: bool,
    pub(crate) lateness: Histogram,
}

impl Recorder {
    pub(crate) fn new(operations: usize, outbox: Outbox, returned: Receiver<OperationCells>) -> Self {
        Self {
            operations,
            active: Vec::with_capacity(4),
            spare: Vec::with_capacity(4),
            outbox,
            returned,
            lateness_ns_max: 0,
            lateness_ns_max_before: 0,
            has_quarters: false,
            lateness: Histogram::new(),
        }
    }

    #[inline]
    pub(crate) fn succeed(
        &mut self,
        phase: u16,
        operation: u16,
        open: bool,
        intended: Nanoseconds,
        sent: Nanoseconds,
        end: Nanoseconds,
    ) {
        self.cell(phase, operation).succeed(open, intended, sent, end);
    }

    pub(crate) fn fail(&mut self, phase: u16, operation: u16, kind: ErrorKind) {
        let cell = self.cell(phase, operation);
        cell.failed += 1;
        cell.errors[kind.index()] += 1;
    }

    #[inline]
    pub(crate) fn late(&mut self, lateness: Nanoseconds, recorded: bool) {
        self.lateness_ns_max = self.lateness_ns_max.max(lateness);
        if recorded {
            self.lateness.record(lateness);
        }
    }

    /// Whether anything ended since the last second was cut.
    pub(crate) fn has_news(&self) -> bool {
        self.has_quarters || self.active.iter().any(|(_, cells)| !cells.is_empty())
    }

    /// Whether cells that were handed over have come back.
    #[cfg(test)]
    pub(crate) fn has_spare(&mut self) -> bool {
        self.spare.extend(self.returned.try_iter());
        self.spare.iter().any(OperationCells::is_empty)
    }

    /// Ends a second: hands its cells over and goes on with cleared ones.
    pub(crate) fn cut(&mut self, second: u64, mut gauges: SecondGauges) {
        self.hand_over(second, None);
        self.has_quarters = false;
        let before = std::mem::take(&mut self.lateness_ns_max_before);
        gauges.lateness_ns_max = std::mem::take(&mut self.lateness_ns_max).max(before);
        self.outbox.send(Message::Cut { second, gauges });
    }

    /// Ends a quarter of a second: hands its cells over and goes on with cleared ones.
    pub(crate) fn cut_quarter(&mut self, second: u64, quarter: u8, mut gauges: SecondGauges) {
        self.has_quarters = self.has_news();
        self.hand_over(second, Some(quarter));
        gauges.lateness_ns_max = std::mem::take(&mut self.lateness_ns_max);
        self.lateness_ns_max_before = self.lateness_ns_max_before.max(gauges.lateness_ns_max);
        self.outbox.send(Message::CutQuarter { second, quarter, gauges: Some(gauges) });
    }

    /// Says that this worker has nothing to say of a quarter that others may still live to see.
    pub(crate) fn leave_quarter(&self, second: u64, quarter: u8) {
        self.outbox.send(Message::CutQuarter { second, quarter, gauges: None });
    }

    fn hand_over(&mut self, second: u64, quarter: Option<u8>) {
        self.spare.extend(self.returned.try_iter());
        for (phase, cells) in self.active.drain(..).filter(|(_, cells)| !cells.is_empty()) {
            self.outbox.send(Message::Cells { second, quarter, phase, cells });
        }
    }

    #[inline]
    fn cell(&mut self, phase: u16, operation: u16) -> &mut Cell {
        // Nearly always the running phase, which is the only one.
        let position = match self.active.iter().position(|(active, _)| *active == phase) {
            Some(position) => position,
            None => self.activate(phase),
        };
        self.active[position].1.cell(operation)
    }

    #[cold]
    fn activate(&mut self, phase: u16) -> usize {
        let cells = self.spare.pop().unwrap_or_else(|| OperationCells::new(self.operations));
        self.active.push((phase, cells));
        self.active.len() - 1
    }
}
