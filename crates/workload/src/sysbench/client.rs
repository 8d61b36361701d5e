//! One simulated user: a transaction after the other, its statements one at a time.
//!
//! A conflict with another session rolls the transaction back and starts it anew with new numbers, as sysbench does;
//! its time runs on. Any other error ends it, after a rollback: nothing of it stays open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::{Arguments, Error, ErrorKind, Outcome, Request, Result, Rows, Token, Value};

use super::Plan;
use super::answer::{Answer, Expected};
use super::draw::Chooser;
use super::row::{Row, pad_of};
use super::script::{Kind, Step};
use crate::random::Random;
use crate::{Call, Client, ClientSpec, Progress, Turn};

/// A transaction that is in others' way more often than this in a row has failed.
const RESTARTS_MAX: u32 = 100;

/// What a client has done to the data, for the check after the run, and how often it began anew.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) restarts: AtomicU64,
    /// Rows that it may have added or removed.
    pub(super) attempted: AtomicU64,
    /// Of them, those for which that was acknowledged.
    pub(super) acknowledged: AtomicU64,
}

/// Nobody else writes to the counter, so that this needs no locked instruction.
fn count(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// Where a transaction stands: which request is in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The rollback that an earlier transaction is owed.
    Clearing,
    Begin,
    /// The statement of that place.
    Step(usize),
    Commit,
    /// The rollback before a new start, or before the end where an error is held.
    Rollback,
}

#[derive(Debug)]
struct Slot {
    stage: Stage,
    /// The table of the statement, from 0.
    table: u32,
    /// The id of the statement, from 1.
    id: u64,
    /// Rows that the last delete removed.
    deleted: u64,
    arguments: Arguments,
    answer: Answer,
    restarts: u32,
    /// What the transaction ends with once it is rolled back.
    held: Option<Error>,
    /// Whether the session may still be in a transaction whose end was not seen.
    is_unclear: bool,
}

/// One simulated user.
pub(super) struct SysbenchClient {
    plan: Arc<Plan>,
    tally: Arc<Tally>,
    random: Random,
    chooser: Chooser,
    /// The least number that the chooser's 0 stands for.
    first: u64,
    /// The next id that nobody else adds, and the one after it less that.
    next_id: u64,
    id_step: u64,
    table: Option<u32>,
    slots: Vec<Slot>,
    /// The token whose rows are being shown.
    shown: usize,
}

impl SysbenchClient {
    pub(super) fn new(plan: Arc<Plan>, tally: Arc<Tally>, spec: ClientSpec) -> Self {
        let (index, of) = (u64::from(spec.index), u64::from(spec.of.max(1)));
        let (chooser, first) = plan.chooser(index, of);
        let sizes = plan.steps.iter().map(|step| step.kind.arguments());
        let (values, text) = sizes.fold((0, 0), |(values, text), size| (values.max(size.0), text.max(size.1)));
        let slot = || Slot {
            stage: Stage::Begin,
            table: 0,
            id: 1,
            deleted: 0,
            arguments: Arguments::with_capacity(values, text),
            answer: Answer::new(values),
            restarts: 0,
            held: None,
            is_unclear: false,
        };
        // Each client of a bulk insert has a table, as far as there are enough.
        let bulk = plan.steps.iter().any(|step| matches!(step.kind, Kind::BulkInsert(_)));
        Self {
            random: Random::stream(plan.seed, index),
            slots: (0..spec.depth.max(1)).map(|_| slot()).collect(),
            chooser,
            first,
            next_id: plan.rows_loaded() + 1 + index,
            id_step: of,
            table: bulk.then(|| (index % u64::from(plan.tables)) as u32),
            shown: 0,
            tally,
            plan,
        }
    }

    fn first_stage(&self) -> Stage {
        if self.plan.has_transactions { Stage::Begin } else { Stage::Step(0) }
    }

    /// The request of the token's stage.
    fn request(&mut self, token: usize) -> Request<'_> {
        match self.slots[token].stage {
            Stage::Begin => Request::Begin,
            Stage::Commit => Request::Commit,
            Stage::Rollback | Stage::Clearing => Request::Rollback,
            Stage::Step(place) => {
                let step = self.plan.steps[place];
                self.fill(token, step);
                let slot = &self.slots[token];
                let statement = self.plan.statement(slot.table, place);
                Request::Planned { statement, arguments: &slot.arguments }
            }
        }
    }

    /// An id, or a value of `k`, that is there.
    #[inline]
    fn draw(&mut self) -> u64 {
        self.first + self.chooser.draw(&mut self.random)
    }

    fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += self.id_step;
        id
    }

    /// Chooses a statement's rows, and writes its parameters and what it must answer.
    fn fill(&mut self, token: usize, step: Step) {
        if step.draws_table {
            let tables = u64::from(self.plan.tables);
            let table = self.table.unwrap_or_else(|| if tables == 1 { 0 } else { self.random.below(tables) as u32 });
            self.slots[token].table = table;
        }
        self.slots[token].arguments.clear();
        match step.kind {
            Kind::Point | Kind::IndexUpdate | Kind::Delete => {
                let id = self.draw();
                let slot = &mut self.slots[token];
                slot.id = id;
                slot.arguments.integer(id.cast_signed());
                slot.answer.expect(if step.kind == Kind::Point {
                    Expected::Point { row: Row::new(slot.table, id) }
                } else {
                    Expected::Changed { min: 0, max: 1 }
                });
                if step.kind == Kind::Delete && !self.plan.has_transactions {
                    count(&self.tally.attempted, 1);
                }
            }
            Kind::NonIndexUpdate => {
                let (id, version) = (self.draw(), self.random.bits());
                let slot = &mut self.slots[token];
                push_text(&mut slot.arguments, &Row::new(slot.table, id).c_of(version));
                slot.arguments.integer(id.cast_signed());
                slot.answer.expect(Expected::Changed { min: 0, max: 1 });
            }
            Kind::SimpleRange | Kind::SumRange | Kind::OrderRange | Kind::DistinctRange => self.fill_range(token, step),
            Kind::Insert => {
                let id = self.new_id();
                count(&self.tally.attempted, 1);
                self.fill_row(token, id);
            }
            Kind::Reinsert => self.fill_row(token, self.slots[token].id),
            Kind::RandomPoints(values) => self.fill_points(token, values),
            Kind::RandomRanges(ranges) => self.fill_ranges(token, ranges),
            Kind::BulkInsert(rows) => {
                for _ in 0..rows {
                    let id = self.new_id().cast_signed();
                    self.slots[token].arguments.integer(id);
                    self.slots[token].arguments.integer(id);
                }
                count(&self.tally.attempted, rows.into());
                self.slots[token].answer.expect(Expected::Changed { min: rows.into(), max: rows.into() });
            }
        }
    }

    fn fill_range(&mut self, token: usize, step: Step) {
        let first = self.draw();
        let size = self.plan.range_size;
        let count = size.min(self.plan.certain.table_size + 1 - first);
        let slot = &mut self.slots[token];
        let table = slot.table;
        slot.arguments.integer(first.cast_signed());
        slot.arguments.integer((first + size - 1).cast_signed());
        slot.answer.expect(match step.kind {
            Kind::SumRange => Expected::Sum { table, first, count },
            kind => Expected::Range { table, first, count, in_order: kind != Kind::SimpleRange },
        });
    }

    fn fill_row(&mut self, token: usize, id: u64) {
        let (k, version) = (self.draw(), self.random.bits());
        let slot = &mut self.slots[token];
        slot.arguments.integer(id.cast_signed());
        slot.arguments.integer(k.cast_signed());
        push_text(&mut slot.arguments, &Row::new(slot.table, id).c_of(version));
        push_text(&mut slot.arguments, &pad_of(!version));
        slot.answer.expect(Expected::Changed { min: 1, max: 1 });
    }

    fn fill_points(&mut self, token: usize, values: u16) {
        self.slots[token].answer.asked.clear();
        for _ in 0..values {
            let k = self.draw();
            let slot = &mut self.slots[token];
            slot.arguments.integer(k.cast_signed());
            slot.answer.asked.push(k);
        }
        let answer = &mut self.slots[token].answer;
        answer.asked.sort_unstable();
        answer.asked.dedup();
        let count = self.plan.counts().map(|counts| answer.asked.iter().map(|k| counts.between(*k, *k)).sum());
        answer.expect(Expected::Rows { count });
    }

    fn fill_ranges(&mut self, token: usize, ranges: u16) {
        self.slots[token].answer.asked.clear();
        for _ in 0..ranges {
            let k = self.draw();
            let slot = &mut self.slots[token];
            slot.arguments.integer(k.cast_signed());
            slot.arguments.integer((k + self.plan.delta).cast_signed());
            slot.answer.asked.push(k);
        }
        let answer = &mut self.slots[token].answer;
        answer.asked.sort_unstable();
        let delta = self.plan.delta;
        let expected = self.plan.counts().map(|counts| {
            // Ranges that overlap count their rows once.
            let mut counted = 0;
            let part = |k: &u64| {
                let first = (*k).max(counted);
                counted = k + delta + 1;
                if first < counted { counts.between(first, counted - 1) } else { 0 }
            };
            answer.asked.iter().map(part).sum()
        });
        answer.expect(Expected::Number { expected });
    }

    /// A statement was answered well.
    fn answered(&mut self, token: usize, place: usize, outcome: Outcome) {
        let kind = self.plan.steps[place].kind;
        match kind {
            Kind::Delete => {
                self.slots[token].deleted = outcome.rows;
                if !self.plan.has_transactions {
                    count(&self.tally.acknowledged, outcome.rows);
                }
            }
            Kind::Insert | Kind::BulkInsert(_) => count(&self.tally.acknowledged, outcome.rows),
            _ => {}
        }
    }

    /// Whether another session was in the way.
    fn is_conflict(&self, token: usize, error: &Error) -> bool {
        let slot = &self.slots[token];
        // Somebody deleted the row that was to be deleted and has inserted it again: sysbench begins anew as well.
        let is_overtaken = matches!(slot.stage, Stage::Step(place)
            if self.plan.steps[place].kind == Kind::Reinsert && slot.deleted == 0);
        error.kind() == ErrorKind::Conflict || (error.kind() == ErrorKind::Rejected && is_overtaken)
    }

    /// What follows an error.
    #[cold]
    fn failed(&mut self, token: usize, error: Error) -> Result<Progress> {
        let restarts = self.is_conflict(token, &error) && self.slots[token].restarts < RESTARTS_MAX;
        let first_stage = self.first_stage();
        let is_gone = matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Bug);
        let slot = &mut self.slots[token];
        if restarts {
            slot.restarts += 1;
            count(&self.tally.restarts, 1);
        }
        if !self.plan.has_transactions || is_gone || matches!(slot.stage, Stage::Rollback | Stage::Clearing) {
            // A time-out may be the server's, on a session that lives on.
            slot.is_unclear = self.plan.has_transactions && error.kind() != ErrorKind::Unreachable;
            if restarts && !self.plan.has_transactions {
                slot.stage = first_stage;
                return Ok(Progress::More);
            }
            return Err(slot.held.take().unwrap_or(error));
        }
        slot.held = if restarts { None } else { Some(error) };
        slot.stage = Stage::Rollback;
        Ok(Progress::More)
    }
}

/// Texts of digits and dashes.
fn push_text(arguments: &mut Arguments, text: &[u8]) {
    arguments.text(std::str::from_utf8(text).expect("digits and dashes are text"));
}

impl Client for SysbenchClient {
    fn next(&mut self, turn: Turn) -> Call<'_> {
        let token = turn.token as usize;
        let first_stage = self.first_stage();
        let slot = &mut self.slots[token];
        slot.restarts = 0;
        slot.held = None;
        slot.stage = if std::mem::take(&mut slot.is_unclear) { Stage::Clearing } else { first_stage };
        Call { operation: 0, request: self.request(token) }
    }

    fn complete(&mut self, token: Token, result: Result<Outcome>) -> Result<Progress> {
        let token = token as usize;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => return self.failed(token, error),
        };
        let next = match self.slots[token].stage {
            Stage::Clearing => self.first_stage(),
            Stage::Begin => Stage::Step(0),
            Stage::Step(place) => {
                if let Err(error) = self.slots[token].answer.check(self.plan.certain, outcome) {
                    return self.failed(token, error);
                }
                self.answered(token, place, outcome);
                match place + 1 {
                    next if next < self.plan.steps.len() => Stage::Step(next),
                    _ if self.plan.has_transactions => Stage::Commit,
                    _ => return Ok(Progress::Done),
                }
            }
            Stage::Commit => return Ok(Progress::Done),
            Stage::Rollback => match self.slots[token].held.take() {
                Some(error) => return Err(error),
                None => self.first_stage(),
            },
        };
        self.slots[token].stage = next;
        Ok(Progress::More)
    }

    fn resume(&mut self, token: Token) -> Request<'_> {
        self.request(token as usize)
    }
}

impl Rows for SysbenchClient {
    fn begin(&mut self, token: Token) {
        self.shown = token as usize;
    }

    fn row(&mut self, _key: Option<&str>) {
        self.slots[self.shown].answer.row();
    }

    fn value(&mut self, column: usize, value: Value<'_>) {
        self.slots[self.shown].answer.value(self.plan.certain, column, value);
    }
}
