//! Has a run go on where the end of its process cut another one off.

use std::cell::RefCell;

use experiment::{Drive, Driven, Progress, Record, ResumedRecord, Seen, Spec};
use jiff::Timestamp;
use runner::{RunSpec, Watch};
use uuid::Uuid;

use crate::{Location, Results};

/// Sums of seconds may be off by this much from a whole one.
const SLACK_SECONDS: f64 = 1e-6;

/// A run that goes on from the seconds that another one left in the store.
pub struct Resumption {
    results: RefCell<Results>,
    from: Uuid,
}

impl Resumption {
    /// Of that specification from that run, which is over.
    ///
    /// # Errors
    /// `Config` for what has no checkpoint; what opening the store may bring.
    pub fn of(spec: &Spec, location: &Location, from: Uuid) -> store::Result<Self> {
        experiment::check_resumable(spec)?;
        Ok(Self { results: RefCell::new(Results::open(location)?), from })
    }
}

impl Drive for Resumption {
    fn drive(
        &self,
        _: Uuid,
        spec: &RunSpec,
        watchers: &Watch,
        observe: &mut dyn FnMut(Seen<'_>),
    ) -> store::Result<Driven> {
        let mut results = self.results.borrow_mut();
        let record = results.record(self.from)?;
        let names = spec.instance.operations();
        let whole = whole_seconds(&record);
        let mut progress = Progress::new(spec.load.phases.len());
        let mut failed = None;
        results.each_sample(self.from, |sample| {
            // Whoever is stopped on the way goes on from that run again.
            let is_over = failed.is_some() || spec.stop.is_requested();
            if is_over || whole.is_some_and(|whole| sample.second >= whole) {
                return;
            }
            match experiment::sample_of(&sample, names) {
                Ok(seen) => {
                    observe(Seen::Known(&seen, &sample));
                    progress.take(seen);
                }
                Err(error) => failed = Some(error),
            }
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let away = Timestamp::now().duration_since(record.ended_at).as_secs_f64().max(0.0);
        let resumed = ResumedRecord { run: self.from, seconds: progress.seconds(), away_seconds: away };
        let outcome = progress.go_on(spec, watchers, observe)?;
        Ok(Driven { outcome, parts: Vec::new(), resumed: Some(resumed) })
    }
}

/// Of a run that could say when it ended, the last second may be a part of one, which is measured again. One whose process was
/// killed has whole seconds alone, and none of its phases says when it was.
fn whole_seconds(record: &Record) -> Option<u64> {
    let ends = record.phases.iter().map(|phase| phase.start_seconds + phase.duration_seconds);
    ends.reduce(f64::max).filter(|end| *end > 0.0).map(|end| (end + SLACK_SECONDS) as u64)
}
