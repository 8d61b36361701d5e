//! Has a load driven by agents: waits for them, agrees on the start, puts together what they tell.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};

use experiment::{Drive, Driven, Merger, PartRecord, PartState, Seen, Spec};
use runner::{Outcome, RunSpec, Watch};
use store::Error as StoreError;
use uuid::Uuid;

use super::parts::{PartStatus, SILENCE_MAX, Stage};
use crate::{Error, Location, Result, Results};

/// How long agents are waited for where nobody says.
pub const PATIENCE_DEFAULT: Duration = Duration::from_mins(1);

/// From the agreement on the start to the start: every agent asks for it many times by then.
const START_MARGIN: Duration = Duration::from_secs(1);

/// Between two looks at the parts.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// How long the store may be away while a load goes on: as long as agents hold what they could not tell.
const AWAY_MAX: Duration = Duration::from_mins(5);

/// Seconds of a part that are read at once: 500 kB each where a workload has a hundred operations.
const SECONDS_AT_ONCE: u32 = 32;

/// A run that is divided among agents, whoever does so: the command line, or a service.
pub struct Division {
    results: RefCell<Results>,
    plan: String,
    target: String,
    parts: NonZeroU32,
    patience: Duration,
}

impl Division {
    /// Of that specification among so many agents, which are waited for so long. The store is the one in which the run is
    /// kept, since agents find their parts there.
    ///
    /// # Errors
    /// `Config` for what only one process can do; what opening the store may bring.
    pub fn of(spec: &Spec, location: &Location, parts: NonZeroU32, patience: Duration) -> store::Result<Self> {
        let (plan, target) = experiment::part_plan(spec)?;
        Ok(Self { results: RefCell::new(Results::open(location)?), plan, target, parts, patience })
    }
}

impl Drive for Division {
    fn drive(&self, run: Uuid, spec: &RunSpec, _: &Watch, observe: &mut dyn FnMut(Seen<'_>)) -> store::Result<Driven> {
        let parts = experiment::divide(spec.load.sessions, self.parts)?;
        let mut results = self.results.borrow_mut();
        results.divide(run, &self.plan, &self.target, &parts)?;
        let mut driving = Driving { results: &mut results, run, spec, patience: self.patience, away_since: None };
        let driven = driving.wait_until_ready(observe).and_then(|()| driving.follow(parts.len(), observe));
        // Agents that are left must not go on; where this fails they find out by our silence.
        let closed = driving.results.close_parts(run);
        let driven = driven?;
        closed?;
        Ok(driven)
    }
}

/// A divided run on its way.
struct Driving<'a> {
    results: &'a mut Results,
    run: Uuid,
    spec: &'a RunSpec,
    patience: Duration,
    away_since: Option<Instant>,
}

impl Driving<'_> {
    /// Waits until every part has an agent whose sessions are connected, and agrees on the start.
    fn wait_until_ready(&mut self, observe: &mut dyn FnMut(Seen<'_>)) -> store::Result<()> {
        let deadline = Instant::now() + self.patience;
        let mut told = None;
        loop {
            if self.spec.stop.is_requested() {
                return Err(StoreError::rejected("the run was stopped before its agents were ready"));
            }
            if let Some(parts) = self.look()? {
                if let Some(failed) = parts.iter().find(|part| part.stage == Stage::Failed) {
                    return Err(failure(failed, parts.len()));
                }
                self.take_back(&parts)?;
                let ready = ready(&parts);
                if told.replace(ready) != Some(ready) {
                    observe(Seen::Waiting { ready, of: parts.len() as u32 });
                }
                let bound = parts.iter().map(|part| part.clock_bound_us).max().unwrap_or(0);
                let margin = START_MARGIN + Duration::from_micros(2 * bound);
                if parts.iter().all(|part| part.stage == Stage::Ready) && self.results.start_parts(self.run, margin)? {
                    return Ok(());
                }
                if Instant::now() > deadline {
                    return Err(self.too_few(&parts));
                }
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// A part whose agent fell silent goes to another: its load has not begun.
    fn take_back(&mut self, parts: &[PartStatus]) -> Result<()> {
        let is_held = |part: &&PartStatus| matches!(part.stage, Stage::Claimed | Stage::Ready);
        for part in parts.iter().filter(is_held).filter(|part| part.silence > SILENCE_MAX) {
            self.results.take_part_back(self.run, part)?;
        }
        Ok(())
    }

    fn too_few(&self, parts: &[PartStatus]) -> StoreError {
        let ready = ready(parts);
        let claimed = parts.iter().filter(|part| part.stage == Stage::Claimed).count();
        StoreError::config(format!(
            "{ready} of {} parts were ready within {:?}, and {claimed} connected still",
            parts.len(),
            self.patience
        ))
        .with_hint("start as many agents as there are parts: storelab agent --store …")
    }

    /// Hands over whole seconds until every part is over.
    fn follow(&mut self, count: usize, observe: &mut dyn FnMut(Seen<'_>)) -> store::Result<Driven> {
        let mut merger = Merger::new(count);
        let mut next = vec![0_u64; count];
        let mut has_asked_to_stop = false;
        loop {
            if self.spec.stop.is_requested() && !has_asked_to_stop {
                has_asked_to_stop = self.passing(Results::stop_parts)?.is_some();
            }
            if let Some(parts) = self.look()?
                && self.take_seconds(&parts, &mut next, &mut merger)?
            {
                merger.whole().iter().for_each(|second| observe(Seen::Second(second)));
                if parts.iter().all(|part| part.stage.is_over()) {
                    return self.put_together(&parts, &next);
                }
            }
            thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Reads what parts have told since the last look, which came before; whether the store let us.
    fn take_seconds(&mut self, parts: &[PartStatus], next: &mut [u64], merger: &mut Merger) -> store::Result<bool> {
        for (place, part) in parts.iter().enumerate() {
            loop {
                let (number, from) = (part.number, next[place]);
                let told = self.passing(|results, run| results.part_seconds(run, number, from, SECONDS_AT_ONCE))?;
                let Some(told) = told else { return Ok(false) };
                for (second, bytes) in &told {
                    merger.take(place, &experiment::decode_sample(bytes)?);
                    next[place] = second + 1;
                }
                if told.len() < SECONDS_AT_ONCE as usize {
                    break;
                }
            }
            if part.stage.is_over() {
                merger.end(place);
            } else if part.silence > SILENCE_MAX {
                let reason = format!("its agent was silent for {:.1} s", part.silence.as_secs_f64());
                self.passing(|results, run| results.lose_part(run, part, &reason))?;
            }
        }
        Ok(true)
    }

    fn put_together(&mut self, parts: &[PartStatus], next: &[u64]) -> store::Result<Driven> {
        let mut outcome: Option<Outcome> = None;
        for part in parts {
            let told = self.outcome_of(part)?;
            match &mut outcome {
                Some(outcome) => outcome.merge(told),
                none => *none = Some(told),
            }
        }
        let records = parts.iter().zip(next).map(|(part, seconds)| record_of(part, *seconds)).collect();
        let outcome = outcome.ok_or_else(|| StoreError::bug("a run was divided into no parts"))?;
        Ok(Driven { outcome, parts: records, resumed: None })
    }

    /// What a part came to: as its agent told it, or as far as its seconds tell.
    fn outcome_of(&mut self, part: &PartStatus) -> store::Result<Outcome> {
        if part.stage == Stage::Ended
            && let Some(told) = self.results.part_outcome(self.run, part.number)?
        {
            return experiment::decode_outcome(&told);
        }
        let mut outcome = experiment::outcome_of_samples(self.spec.load.phases.len(), []);
        let mut from = 0;
        loop {
            let told = self.results.part_seconds(self.run, part.number, from, SECONDS_AT_ONCE)?;
            let Some((last, _)) = told.last() else { return Ok(outcome) };
            from = last + 1;
            let samples = told.iter().map(|(_, bytes)| experiment::decode_sample(bytes));
            let samples = samples.collect::<store::Result<Vec<_>>>()?;
            outcome.merge(experiment::outcome_of_samples(self.spec.load.phases.len(), samples));
        }
    }

    fn look(&mut self) -> store::Result<Option<Vec<PartStatus>>> {
        self.passing(Results::watch_parts)
    }

    /// Asks the store; nothing where it is away for a while.
    fn passing<T>(&mut self, ask: impl FnOnce(&mut Results, Uuid) -> Result<T>) -> store::Result<Option<T>> {
        match ask(self.results, self.run) {
            Ok(answer) => {
                self.away_since = None;
                Ok(Some(answer))
            }
            Err(error @ (Error::Unreachable { .. } | Error::Locked { .. })) => {
                let since = *self.away_since.get_or_insert_with(Instant::now);
                if since.elapsed() > AWAY_MAX { Err(error.into()) } else { Ok(None) }
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Parts whose sessions are connected.
fn ready(parts: &[PartStatus]) -> u32 {
    parts.iter().filter(|part| part.stage == Stage::Ready).count() as u32
}

fn failure(part: &PartStatus, of: usize) -> StoreError {
    let why = part.reason.as_deref().unwrap_or("nobody said why");
    StoreError::rejected(format!("part {} of {of} ({}) failed: {why}", part.number + 1, part.agent))
        .with_hint("see that every agent reaches the target, and has its password in STORELAB_TARGET")
}

fn record_of(part: &PartStatus, seconds: u64) -> PartRecord {
    PartRecord {
        part: part.number,
        first_session: part.part.first,
        sessions: part.part.sessions.get(),
        agent: part.agent.clone(),
        state: match part.stage {
            Stage::Ended => PartState::Ended,
            Stage::Lost => PartState::Lost,
            Stage::Waiting | Stage::Claimed | Stage::Ready | Stage::Failed => PartState::Failed,
        },
        reason: part.reason.clone(),
        clock_offset_us: part.clock_offset_us,
        clock_bound_us: part.clock_bound_us,
        cpu_percent_max: part.cpu_percent_max,
        seconds,
    }
}
