//! One simulated user of a driver's own operations.

use std::sync::Arc;

use store::{Effect, Error, Outcome, Request, Result, Rows, Token};

use super::Plan;
use crate::additions::Additions;
use crate::random::Random;
use crate::{Call, Client, ClientSpec, Progress, Turn};

/// An operation in flight.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// Its place in the instance's list.
    place: u16,
    row: u64,
    /// Which of the client's additions it is, where it adds.
    addition: Option<u64>,
}

/// One simulated user.
pub(super) struct OperationsClient {
    plan: Arc<Plan>,
    random: Random,
    additions: Additions,
    /// The oldest addition that was not removed.
    removed: u64,
    slots: Vec<Slot>,
}

impl OperationsClient {
    pub(super) fn new(plan: Arc<Plan>, spec: ClientSpec) -> Self {
        Self {
            random: Random::stream(plan.seed, u64::from(spec.index)),
            additions: Additions::new(plan.rows, spec),
            removed: 0,
            slots: vec![Slot::default(); spec.depth.max(1) as usize],
            plan,
        }
    }

    /// The oldest row that this client has added, that is known to be there and that it has not removed.
    fn take_own_row(&mut self) -> Option<u64> {
        while self.removed < self.additions.settled() {
            let addition = self.removed;
            self.removed += 1;
            if self.additions.has(addition) {
                return Some(self.additions.row(addition));
            }
        }
        None
    }

    fn add(&mut self, place: u16) -> Slot {
        let addition = self.additions.begin();
        Slot { place, row: self.additions.row(addition), addition: Some(addition) }
    }
}

impl Client for OperationsClient {
    fn next(&mut self, turn: Turn) -> Call<'_> {
        let place = match turn.operation {
            Some(place) => place,
            None => self.plan.mix.draw(&mut self.random) as u16,
        };
        let slot = match self.plan.planned[place as usize].effect {
            Effect::Adds => self.add(place),
            Effect::Removes => match self.take_own_row() {
                Some(row) => Slot { place, row, addition: None },
                // Nothing is left to remove: a row is added first, and counted as what it is.
                None => self.add(self.plan.adding.unwrap_or(place)),
            },
            Effect::Reads | Effect::Changes => Slot { place, row: self.random.below(self.plan.rows), addition: None },
        };
        self.slots[turn.token as usize] = slot;
        let operation = self.plan.planned[slot.place as usize].driver_place;
        Call { operation: slot.place, request: Request::Operation { operation, row: slot.row } }
    }

    fn complete(&mut self, token: Token, result: Result<Outcome>) -> Result<Progress> {
        let slot = self.slots[token as usize];
        let planned = &self.plan.planned[slot.place as usize];
        let checked = match result {
            Ok(outcome) if outcome.rows == 0 && planned.effect != Effect::Reads => {
                Err(Error::wrong_result(format!("`{}` of row {} has had no effect", planned.name, slot.row))
                    .with_hint("the row is gone, or the data was loaded with fewer rows"))
            }
            Ok(_) => Ok(Progress::Done),
            Err(error) => Err(error),
        };
        if let Some(addition) = slot.addition {
            self.additions.end(addition, checked.is_ok());
        }
        checked
    }

    fn resume(&mut self, token: Token) -> Request<'_> {
        // No operation of a driver has a second request; the first one again is the harmless answer to a caller that
        // does not keep the order of calls.
        let slot = self.slots[token as usize];
        Request::Operation { operation: self.plan.planned[slot.place as usize].driver_place, row: slot.row }
    }
}

/// The driver verifies what it reads.
impl Rows for OperationsClient {}
