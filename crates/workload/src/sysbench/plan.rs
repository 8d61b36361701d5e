//! What all clients of an instance share.

use std::sync::OnceLock;

use super::answer::Certain;
use super::draw::{Chooser, Distribution};
use super::row::Row;
use super::script::{Kind, Script, Step};

/// Rows up to which the values of `k` are counted, so that it is known how many rows each has: 40 MB.
const COUNTED_ROWS_MAX: u64 = 10_000_000;

/// What all clients of an instance share.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) script: Script,
    pub(super) seed: u64,
    pub(super) tables: u32,
    pub(super) distribution: Distribution,
    /// Over the ids of a table.
    pub(super) ids: Chooser,
    pub(super) range_size: u64,
    pub(super) delta: u64,
    pub(super) has_transactions: bool,
    pub(super) steps: Vec<Step>,
    /// The kinds of statements, each once.
    pub(super) kinds: Vec<Kind>,
    /// The place of each step's kind among them.
    pub(super) kind_of_step: Vec<u32>,
    pub(super) certain: Certain,
    pub(super) counts: OnceLock<Counts>,
}

impl Plan {
    /// Which of the dataset's statements a step is for a table.
    #[inline]
    pub(super) fn statement(&self, table: u32, step: usize) -> u32 {
        table * self.kinds.len() as u32 + self.kind_of_step[step]
    }

    /// Whether the script asks by a secondary index.
    fn asks_by_index(&self) -> bool {
        matches!(self.script, Script::RandomPoints | Script::RandomRanges)
    }

    /// Rows of a table that are loaded.
    pub(super) fn rows_loaded(&self) -> u64 {
        if self.script == Script::BulkInsert { 0 } else { self.certain.table_size }
    }

    /// What a client chooses from, and the number that stands for the first: where values of an index are asked for,
    /// each client has a segment of its own.
    pub(super) fn chooser(&self, index: u64, of: u64) -> (Chooser, u64) {
        if !self.asks_by_index() {
            return (self.ids.clone(), 1);
        }
        let segment = self.certain.table_size / of;
        (Chooser::new(self.distribution, segment + 1), (segment * index).max(1))
    }

    /// How many rows have which `k`, where the script asks for that and they are not too many.
    pub(super) fn counts(&self) -> Option<&Counts> {
        let is_counted = self.asks_by_index() && self.certain.table_size <= COUNTED_ROWS_MAX;
        is_counted.then(|| self.counts.get_or_init(|| Counts::of(self.certain.table_size)))
    }
}

/// How many rows of the first table have which `k`.
#[derive(Debug)]
pub(super) struct Counts {
    /// Rows with a `k` of the place or below.
    up_to: Vec<u32>,
}

impl Counts {
    fn of(table_size: u64) -> Self {
        let mut up_to = vec![0; table_size as usize + 1];
        for id in 1..=table_size {
            up_to[Row::new(0, id).k(table_size) as usize] += 1;
        }
        let mut sum = 0;
        for count in &mut up_to {
            sum += *count;
            *count = sum;
        }
        Self { up_to }
    }

    /// Rows with a `k` from the first to the last, at least 1 both.
    pub(super) fn between(&self, first: u64, last: u64) -> u64 {
        let up_to = |k: u64| u64::from(self.up_to[(k as usize).min(self.up_to.len() - 1)]);
        up_to(last) - up_to(first - 1)
    }
}
