//! One load from many hosts: divided so that the parts are exactly the whole, and put together again bit for bit.
//!
//! A part is some of the load's sessions, in a row. Each session has the arrivals, the seed and the rows of its own that it
//! would have if one host drove them all, so nothing is lost or doubled by dividing. What comes of parts is counts and
//! histograms, which add up exactly.

mod driving;
mod merger;
#[cfg(test)]
mod tests;
mod wire;

use std::num::NonZeroU32;

use runner::{Outcome, Part, Quarter, RunSpec, Sample, Watch};
use serde::{Deserialize, Serialize};
use store::{Capability, Error, Result};
use uuid::Uuid;

use crate::record::{SampleRecord, Verdict};
use crate::resume::ResumedRecord;
use crate::spec::{Spec, TargetPlan};

pub use driving::{part_plan, part_spec, run_part};
pub use merger::{Merger, outcome_of_samples};
pub use wire::{decode_outcome, decode_sample, encode_outcome, encode_sample};

/// Parts of one load: more hosts are not waited for together.
const PARTS_MAX: u32 = 1_000;

/// Starts that are known less exactly than this are told: a tenth of a second's sample.
const BOUND_US_DOUBTFUL: u64 = 100_000;

/// A generator that uses more of its processors than this no longer keeps time (as the check of one host has it).
const CPU_PERCENT_MAX: f64 = 95.0;

/// Drives a load from somewhere: from many hosts, or from where it was cut off.
pub trait Drive {
    /// Drives the load of that run to its end, as [`runner::run_watched`] does from here.
    ///
    /// # Errors
    /// What keeps the load from being driven at all. A part that is lost on the way is no error but told in its record.
    fn drive(&self, run: Uuid, spec: &RunSpec, watchers: &Watch, observe: &mut dyn FnMut(Seen<'_>)) -> Result<Driven>;
}

/// What is seen of a load that others drive.
#[derive(Debug)]
pub enum Seen<'a> {
    /// It has not begun: of so many parts, so many have their sessions connected.
    Waiting {
        /// Parts that can start.
        ready: u32,
        /// All parts.
        of: u32,
    },
    /// A second of all parts together has ended.
    Second(&'a Sample),
    /// A second that an earlier run had measured, with what it had kept of it.
    Known(&'a Sample, &'a SampleRecord),
    /// A quarter of a second that is watched has ended, of a load that one process drives.
    Quarter(&'a Quarter),
}

/// What came of a load that was driven.
#[derive(Debug)]
pub struct Driven {
    /// All parts together.
    pub outcome: Outcome,
    /// Who drove which part.
    pub parts: Vec<PartRecord>,
    /// From where it went on, where it did not begin here.
    pub resumed: Option<ResumedRecord>,
}

/// How a part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartState {
    /// It was driven to its end.
    Ended,
    /// Its agent said why it could not go on.
    Failed,
    /// Its agent fell silent; its figures are those of the seconds that it had told until then.
    Lost,
}

/// A part of a load, as the record tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartRecord {
    /// Its number, from 0.
    pub part: u32,
    /// The first of its sessions, of all that the load has.
    pub first_session: u32,
    /// How many sessions it has.
    pub sessions: u32,
    /// Who drove it: the host and a number.
    pub agent: String,
    /// How it ended.
    pub state: PartState,
    /// Why, where it did not go well.
    pub reason: Option<String>,
    /// The agent's clock less the store's, in microseconds.
    pub clock_offset_us: i64,
    /// How far that may be off: half of the fastest way there and back.
    pub clock_bound_us: u64,
    /// The most of its processors that the agent used in a second.
    pub cpu_percent_max: Option<f64>,
    /// Seconds of it that were kept.
    pub seconds: u64,
}

/// Refuses what only one process can do.
///
/// # Errors
/// `Config`, with the reason.
pub(crate) fn check(spec: &Spec) -> Result<()> {
    if spec.sought.is_some() {
        return Err(Error::config("a load that is searched for cannot be divided")
            .with_hint("search for it from one host, then run parts of what was found"));
    }
    if matches!(spec.target, TargetPlan::Local(_)) {
        return Err(Error::config("a throw-away server listens to this host alone")
            .with_hint("give the URL of a server that all agents reach"));
    }
    if spec.driver.capabilities().has(Capability::Embedded) {
        return Err(Error::config(format!("`{}` lives within one process", spec.driver.name()))
            .with_hint("give a data store that is a server"));
    }
    Ok(())
}

/// Divides sessions into parts that differ by one session at most.
///
/// # Errors
/// `Config` where there are more parts than sessions, or than can be waited for.
pub fn divide(sessions: NonZeroU32, parts: NonZeroU32) -> Result<Vec<Part>> {
    if parts > sessions {
        return Err(Error::config(format!("{sessions} sessions cannot be divided into {parts} parts"))
            .with_hint("use at least as many sessions as parts"));
    }
    if parts.get() > PARTS_MAX {
        return Err(Error::config(format!("{parts} parts are too many")).with_hint(format!("use at most {PARTS_MAX}")));
    }
    let start = |part: u32| (u64::from(sessions.get()) * u64::from(part) / u64::from(parts.get())) as u32;
    let divided = (0..parts.get()).map(|part| {
        let sessions = NonZeroU32::new(start(part + 1) - start(part)).expect("there are no more parts than sessions");
        Part { first: start(part), sessions }
    });
    Ok(divided.collect())
}

/// What parts say against a run, beside what its figures do.
pub(crate) fn judge(parts: &[PartRecord], verdict: &mut Verdict) {
    let of = parts.len();
    for part in parts {
        let who = format!("part {} of {of} ({})", part.part + 1, part.agent);
        let why = part.reason.as_deref().unwrap_or("nobody said why");
        match part.state {
            PartState::Ended => {}
            PartState::Failed => verdict.reasons.push(format!("{who} failed: {why}")),
            PartState::Lost => verdict.reasons.push(format!("{who} was lost: {why}")),
        }
        if let Some(percent) = part.cpu_percent_max.filter(|percent| *percent > CPU_PERCENT_MAX) {
            verdict.reasons.push(format!("{who} used {percent:.0} % of its processors"));
        }
        if part.clock_bound_us > BOUND_US_DOUBTFUL {
            let milliseconds = part.clock_bound_us / 1_000;
            verdict.warnings.push(format!("{who} may have started {milliseconds} ms off, so far is the store away"));
        }
    }
    let is_whole = |part: &PartRecord| {
        part.state == PartState::Ended && part.cpu_percent_max.is_none_or(|percent| percent <= CPU_PERCENT_MAX)
    };
    verdict.valid &= parts.iter().all(is_whole);
}
