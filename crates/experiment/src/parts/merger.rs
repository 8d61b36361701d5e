//! Seconds and outcomes of parts, added up.

use std::collections::BTreeMap;
use std::time::Duration;

use runner::{Accounting, Io, OperationCells, Outcome, PhaseOutcome, Recovery, Sample};
use stats::Histogram;

/// Puts the seconds of parts together: one is whole once every part that goes on has passed it.
#[derive(Debug)]
pub struct Merger {
    /// The last second of each part; none before its first.
    passed: Vec<Option<u64>>,
    /// Parts of which nothing more comes.
    over: Vec<bool>,
    waiting: BTreeMap<u64, Sample>,
}

impl Merger {
    /// Of so many parts.
    pub fn new(parts: usize) -> Self {
        Self { passed: vec![None; parts], over: vec![false; parts], waiting: BTreeMap::new() }
    }

    /// Adds a second of a part; they come in their order.
    pub fn take(&mut self, part: usize, sample: &Sample) {
        self.passed[part] = Some(sample.second);
        match self.waiting.get_mut(&sample.second) {
            Some(known) => known.merge(sample),
            None => drop(self.waiting.insert(sample.second, sample.clone())),
        }
    }

    /// Nothing more comes of a part.
    pub fn end(&mut self, part: usize) {
        self.over[part] = true;
    }

    /// The seconds that have become whole, in order.
    pub fn whole(&mut self) -> Vec<Sample> {
        let going_on = self.passed.iter().zip(&self.over).filter(|(_, over)| !**over);
        let rest = match going_on.map(|(passed, _)| *passed).min() {
            Some(passed) => self.waiting.split_off(&passed.map_or(0, |second| second + 1)),
            None => BTreeMap::new(),
        };
        std::mem::replace(&mut self.waiting, rest).into_values().collect()
    }
}

/// What a part whose agent fell silent had come to, as far as its seconds tell.
pub fn outcome_of_samples(phases: usize, samples: impl IntoIterator<Item = Sample>) -> Outcome {
    let empty = || PhaseOutcome {
        cells: OperationCells::default(),
        accounting: Accounting::default(),
        start: Duration::ZERO,
        duration: Duration::ZERO,
    };
    let mut outcomes: Vec<_> = (0..phases).map(|_| empty()).collect();
    let mut duration = Duration::ZERO;
    for sample in samples {
        let end = Duration::from_secs(sample.second + 1);
        duration = duration.max(end);
        for (phase, cells) in &sample.phases {
            let Some(outcome) = outcomes.get_mut(usize::from(*phase)) else { continue };
            let counted = cells.total();
            let ended = counted.succeeded + counted.failed;
            if outcome.accounting.scheduled == 0 {
                outcome.start = Duration::from_secs(sample.second);
            }
            outcome.accounting.add(&Accounting {
                scheduled: ended,
                succeeded: counted.succeeded,
                failed: counted.failed,
                shed: 0,
                unfinished: 0,
            });
            outcome.duration = end.saturating_sub(outcome.start);
            outcome.cells.merge(cells);
        }
    }
    Outcome {
        phases: outcomes,
        lateness: Histogram::new(),
        errors: Vec::new(),
        reconnects: 0,
        connects_failed: 0,
        recovery: Recovery::default(),
        workers: 0,
        io: Io::IoUring,
        interrupted: false,
        duration,
    }
}
