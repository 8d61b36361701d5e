//! One simulated user of YCSB.

use std::sync::Arc;

use store::{Fields, Outcome, Request, Result, Rows, Token, Value, Values};

use super::answer::{Answer, Expected};
use super::value::key_hash;
use super::{Plan, write_record};
use crate::additions::Additions;
use crate::distribution::KeyChooser;
use crate::random::Random;
use crate::{Call, Client, ClientSpec, Progress, Turn};

/// What YCSB does to records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    /// Read a record.
    Read,
    /// Overwrite a field, or all of them.
    Update,
    /// Add a record.
    Insert,
    /// Read records in key order.
    Scan,
    /// Read a record, then overwrite a field of it.
    ReadModifyWrite,
}

impl Verb {
    /// Every verb, in the order in which they are listed.
    pub(super) const ALL: [Self; 5] = [Self::Read, Self::Update, Self::Insert, Self::Scan, Self::ReadModifyWrite];

    /// The operation's name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Insert => "insert",
            Self::Scan => "scan",
            Self::ReadModifyWrite => "read_modify_write",
        }
    }
}

/// A request in flight, and what is to follow it.
#[derive(Debug)]
struct Slot {
    answer: Answer,
    then: Then,
    /// The values that are written, one behind the other.
    values: Vec<u8>,
    first_field: u16,
}

/// What follows a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Nothing.
    Done,
    /// The write of a read-modify-write.
    Write,
    /// The addition of that place is known to have been made.
    Added(u64),
}

/// One simulated user.
pub(super) struct YcsbClient {
    plan: Arc<Plan>,
    random: Random,
    chooser: KeyChooser,
    additions: Additions,
    slots: Vec<Slot>,
    /// The token whose rows are being shown.
    shown: usize,
}

impl YcsbClient {
    pub(super) fn new(plan: Arc<Plan>, additions: Additions, spec: ClientSpec) -> Self {
        let writes = plan.verbs.iter().any(|verb| !matches!(verb, Verb::Read | Verb::Scan));
        let fields_written_max = if plan.inserts() || (writes && plan.write_all_fields) {
            usize::from(plan.layout.field_count())
        } else {
            usize::from(writes)
        };
        let slot = || Slot {
            answer: Answer::new(plan.keys.length_max()),
            then: Then::Done,
            values: Vec::with_capacity(fields_written_max * plan.layout.field_length()),
            first_field: 0,
        };
        Self {
            random: Random::stream(plan.seed, u64::from(spec.index)),
            chooser: plan.chooser.for_client(spec.index, spec.of, plan.inserts()),
            slots: (0..spec.depth.max(1)).map(|_| slot()).collect(),
            additions,
            shown: 0,
            plan,
        }
    }

    /// A record that exists: one that was loaded, or one of the client's own that was acknowledged.
    #[inline]
    fn existing(&mut self) -> u64 {
        let drawn = self.chooser.draw(&mut self.random);
        match drawn.checked_sub(self.plan.records) {
            None => drawn,
            Some(addition) if self.additions.has(addition) => self.additions.row(addition),
            // The addition failed: any loaded record stands in for it.
            Some(_) => self.random.below(self.plan.records),
        }
    }

    /// Which fields a read asks for.
    #[inline]
    fn read_fields(&mut self) -> Fields {
        if self.plan.read_all_fields { Fields::All } else { Fields::One(self.one_field()) }
    }

    fn one_field(&mut self) -> u16 {
        self.random.below(u64::from(self.plan.layout.field_count())) as u16
    }

    /// Makes new values for an existing record: one field, or all.
    fn modify(&mut self, token: usize) {
        let (first, count) =
            if self.plan.write_all_fields { (0, self.plan.layout.field_count()) } else { (self.one_field(), 1) };
        let version = self.random.bits();
        let slot = &mut self.slots[token];
        let key_hash = key_hash(slot.answer.key.as_bytes());
        slot.values.clear();
        slot.first_field = first;
        for field in first..first + count {
            let version = version.wrapping_add(u64::from(field));
            self.plan.layout.write(key_hash, field, version, &mut slot.values);
        }
    }

    fn begin_insert(&mut self, token: usize) {
        let addition = self.additions.begin();
        let record = self.additions.row(addition);
        let slot = &mut self.slots[token];
        self.plan.keys.write(record, &mut slot.answer.key);
        slot.answer.expect(Expected::Write);
        slot.then = Then::Added(addition);
        slot.first_field = 0;
        slot.values.clear();
        write_record(&self.plan.layout, record, &slot.answer.key, &mut slot.values);
    }

    fn written(&self, token: usize) -> Values<'_> {
        let slot = &self.slots[token];
        Values { bytes: &slot.values, length: self.plan.layout.field_length(), first: slot.first_field }
    }
}

impl Client for YcsbClient {
    fn next(&mut self, turn: Turn) -> Call<'_> {
        let place = self.plan.mix.draw(&mut self.random);
        let verb = self.plan.verbs[place];
        let operation = place as u16;
        let token = turn.token as usize;
        if verb == Verb::Insert {
            self.begin_insert(token);
            let request = Request::Insert { key: &self.slots[token].answer.key, values: self.written(token) };
            return Call { operation, request };
        }
        let record = self.existing();
        self.plan.keys.write(record, &mut self.slots[token].answer.key);
        match verb {
            Verb::Read | Verb::ReadModifyWrite => {
                let fields = self.read_fields();
                let slot = &mut self.slots[token];
                slot.answer.expect(Expected::Record(fields));
                slot.then = if verb == Verb::Read { Then::Done } else { Then::Write };
                Call { operation, request: Request::Read { key: &slot.answer.key, fields } }
            }
            Verb::Scan => {
                let limit = 1 + self.random.below(u64::from(self.plan.scan_length_max)) as u32;
                let slot = &mut self.slots[token];
                slot.answer.expect(Expected::Range { limit });
                slot.then = Then::Done;
                Call { operation, request: Request::Scan { start: &slot.answer.key, limit } }
            }
            Verb::Update | Verb::Insert => {
                self.slots[token].answer.expect(Expected::Write);
                self.slots[token].then = Then::Done;
                self.modify(token);
                let key = &self.slots[token].answer.key;
                Call { operation, request: Request::Update { key, values: self.written(token) } }
            }
        }
    }

    fn complete(&mut self, token: Token, result: Result<Outcome>) -> Result<Progress> {
        let slot = &mut self.slots[token as usize];
        let checked = match result {
            Ok(outcome) => slot.answer.check(&self.plan.layout, outcome, self.plan.verifies),
            Err(error) => Err(error),
        };
        match slot.then {
            Then::Done => {}
            Then::Write => {
                if checked.is_ok() {
                    return Ok(Progress::More);
                }
            }
            Then::Added(addition) => {
                self.additions.end(addition, checked.is_ok());
                self.chooser.grow(self.plan.records + self.additions.settled());
            }
        }
        checked.map(|()| Progress::Done)
    }

    fn resume(&mut self, token: Token) -> Request<'_> {
        let token = token as usize;
        let slot = &mut self.slots[token];
        slot.answer.expect(Expected::Write);
        slot.then = Then::Done;
        self.modify(token);
        Request::Update { key: &self.slots[token].answer.key, values: self.written(token) }
    }
}

impl Rows for YcsbClient {
    fn begin(&mut self, token: Token) {
        self.shown = token as usize;
    }

    fn row(&mut self, key: Option<&str>) {
        if self.plan.verifies {
            self.slots[self.shown].answer.row(&self.plan.layout, key);
        }
    }

    fn value(&mut self, column: usize, value: Value<'_>) {
        if self.plan.verifies {
            self.slots[self.shown].answer.value(&self.plan.layout, column, value);
        }
    }
}
