//! What load is put on a data store: phases, each closed or open.

use std::num::NonZeroU32;
use std::time::Duration;

use store::{Error, Result};

/// Operations a second: finite and positive.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Rate(f64);

impl Rate {
    /// The greatest rate that intended start times in nanoseconds can tell apart with room to spare.
    const PER_SECOND_MAX: f64 = 1e8;

    /// A rate.
    ///
    /// # Errors
    /// `Config` where it is not above 0 and at most 100,000,000 a second.
    pub fn per_second(value: f64) -> Result<Self> {
        if value > 0.0 && value <= Self::PER_SECOND_MAX {
            Ok(Self(value))
        } else {
            Err(Error::config(format!("a rate of {value}/s is not possible"))
                .with_hint("use a rate above 0 and at most 100000000/s"))
        }
    }

    /// Operations a second.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// How the arrivals of an open load are spaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Arrivals {
    /// Evenly.
    #[default]
    Constant,
    /// As independent users come: exponentially distributed gaps.
    Poisson,
}

/// Who decides when the next operation starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// The answers do: each session asks again once it has an answer (and has thought).
    Closed,
    /// The clock does: so many a second, changing linearly over the phase where `from` and `to` differ.
    Open {
        /// The rate at the phase's start.
        from: Rate,
        /// The rate at its end.
        to: Rate,
        /// How they are spaced.
        arrivals: Arrivals,
    },
}

/// When a phase ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// After that time.
    Duration(Duration),
    /// After that many operations.
    Count(u64),
}

/// One stretch of a load.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// The name in records.
    pub name: String,
    /// Whether it counts; a warm-up does not.
    pub recorded: bool,
    /// Closed or open.
    pub mode: Mode,
    /// When it ends.
    pub limit: Limit,
    /// The workload's operation that it runs, where operations are run one after another.
    pub operation: Option<u16>,
}

/// The load of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// One after another, at least one.
    pub phases: Vec<Phase>,
    /// Connections, each with a client of its own.
    pub sessions: NonZeroU32,
    /// Requests in flight on each session, where the store can pipeline.
    pub depth: NonZeroU32,
    /// What a client waits between an answer and its next request, in closed phases.
    pub think: Duration,
    /// How long an operation may be in flight before it fails as `timeout` and its connection is given up.
    pub timeout: Duration,
    /// How long after the last phase operations that are scheduled may still end; the rest is `unfinished`.
    pub drain: Duration,
    /// Due operations that may wait for a session; more are `shed`.
    pub backlog_max: u64,
}

/// The part of a load that one host drives: some of its sessions, in a row, with the arrivals that are theirs. Parts that
/// together have each session once are together exactly the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first session, of all that the load has.
    pub first: u32,
    /// How many.
    pub sessions: NonZeroU32,
}

impl Part {
    /// All sessions of a load.
    pub fn whole(load: &Load) -> Self {
        Self { first: 0, sessions: load.sessions }
    }
}

impl Load {
    /// Sessions that one run may have: past it the host's ports and file descriptors end first.
    pub const SESSIONS_MAX: u32 = 50_000;
    /// Requests in flight on a session: past it nothing is gained but memory is lost.
    pub const DEPTH_MAX: u32 = 1_024;

    /// A closed load of so many sessions for a time, with the usual bounds.
    pub fn closed(sessions: NonZeroU32, limit: Limit) -> Self {
        Self {
            phases: vec![Phase {
                name: "steady".to_owned(),
                recorded: true,
                mode: Mode::Closed,
                limit,
                operation: None,
            }],
            sessions,
            depth: NonZeroU32::MIN,
            think: Duration::ZERO,
            timeout: Duration::from_secs(30),
            drain: Duration::from_secs(10),
            backlog_max: 1_000_000,
        }
    }

    /// When each phase ends, in seconds since the load's start; none from the first on that lasts as long as it takes.
    pub fn ends_seconds(&self) -> impl Iterator<Item = Option<f64>> {
        self.phases.iter().scan(Some(0.0), |end, phase| {
            *end = end.zip(phase.duration()).map(|(end, duration)| end + duration.as_secs_f64());
            Some(*end)
        })
    }

    /// An open load at a rate, with the usual bounds.
    pub fn open(sessions: NonZeroU32, rate: Rate, arrivals: Arrivals, limit: Limit) -> Self {
        let mut load = Self::closed(sessions, limit);
        load.phases[0].mode = Mode::Open { from: rate, to: rate, arrivals };
        load
    }

    /// How many operations come due in so many seconds from the load's start, expected where chance has a part; none where
    /// answers decide about any of them.
    pub fn planned_by(&self, seconds: f64) -> Option<f64> {
        let mut start = 0.0;
        let mut planned = 0.0;
        for phase in &self.phases {
            let Mode::Open { from, to, .. } = phase.mode else { return None };
            let duration = phase.duration()?.as_secs_f64();
            let passed = (seconds - start).clamp(0.0, duration);
            // The rate changes linearly, so this is its mean over what has passed.
            let rate_now = from.get() + (to.get() - from.get()) * passed / duration;
            planned += f64::midpoint(from.get(), rate_now) * passed;
            start += duration;
        }
        Some(planned)
    }

    /// Whether any recorded phase is closed: its latencies are blind to stalls.
    pub fn has_closed_phase(&self) -> bool {
        self.phases.iter().any(|phase| phase.recorded && phase.mode == Mode::Closed)
    }

    /// How long the phases take together, where all are limited by time or by a rate.
    pub fn duration(&self) -> Option<Duration> {
        self.phases.iter().map(Phase::duration).sum()
    }

    /// Refuses loads that cannot run.
    ///
    /// # Errors
    /// `Config`, naming the field.
    pub fn validate(&self) -> Result<()> {
        if self.phases.is_empty() {
            return Err(Error::config("the load has no phases")
                .with_hint("give at least one phase, or sessions and a duration"));
        }
        if self.sessions.get() > Self::SESSIONS_MAX {
            return Err(Error::config(format!("{} sessions are too many", self.sessions))
                .with_hint(format!("use at most {}", Self::SESSIONS_MAX)));
        }
        if self.depth.get() > Self::DEPTH_MAX {
            return Err(Error::config(format!("a depth of {} is too much", self.depth))
                .with_hint(format!("use at most {}", Self::DEPTH_MAX)));
        }
        for phase in &self.phases {
            phase.validate()?;
        }
        Ok(())
    }
}

impl Phase {
    /// How long it takes, where that is known beforehand.
    pub fn duration(&self) -> Option<Duration> {
        match (self.limit, self.mode) {
            (Limit::Duration(duration), _) => Some(duration),
            (Limit::Count(count), Mode::Open { from, .. }) => Some(Duration::from_secs_f64(count as f64 / from.get())),
            (Limit::Count(_), Mode::Closed) => None,
        }
    }

    /// How many operations come due in it, expected where chance has a part; none where answers decide.
    pub fn arrivals(&self) -> Option<f64> {
        match (self.mode, self.limit) {
            (Mode::Closed, _) => None,
            (Mode::Open { .. }, Limit::Count(count)) => Some(count as f64),
            (Mode::Open { from, to, arrivals }, Limit::Duration(duration)) => {
                let expected = f64::midpoint(from.get(), to.get()) * duration.as_secs_f64();
                Some(match arrivals {
                    // A constant schedule ends with a whole arrival; a product such as 0.1/s × 30 s may miss it by rounding.
                    Arrivals::Constant => (expected + 1e-6).floor(),
                    Arrivals::Poisson => expected,
                })
            }
        }
    }

    /// Whether chance has a part in how many operations come due.
    pub fn has_random_arrivals(&self) -> bool {
        let is_poisson = matches!(self.mode, Mode::Open { arrivals: Arrivals::Poisson, .. });
        is_poisson && matches!(self.limit, Limit::Duration(_))
    }

    fn validate(&self) -> Result<()> {
        /// A month: past it nanoseconds from the start would still fit, but nobody means it.
        const DURATION_MAX: Duration = Duration::from_hours(31 * 24);
        let name = &self.name;
        match self.limit {
            Limit::Duration(duration) if duration.is_zero() || duration > DURATION_MAX => {
                return Err(Error::config(format!("phase `{name}` cannot take {duration:?}"))
                    .with_hint("use a duration above 0 and at most 31 days"));
            }
            Limit::Count(0) => {
                return Err(
                    Error::config(format!("phase `{name}` has no operations")).with_hint("use a count of at least 1")
                );
            }
            Limit::Duration(_) | Limit::Count(_) => {}
        }
        match (self.mode, self.limit) {
            (Mode::Open { from, to, .. }, Limit::Count(_)) if from != to => {
                Err(Error::config(format!("phase `{name}` ramps the rate without a duration"))
                    .with_hint("give the ramp a duration instead of a count"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_the_integral_of_the_rate() {
        let rate = |value| Rate::per_second(value).expect("positive");
        let open = |from, to, arrivals| Mode::Open { from: rate(from), to: rate(to), arrivals };
        let seconds = |seconds| Limit::Duration(Duration::from_secs(seconds));
        for (mode, limit, expect, is_random) in [
            (Mode::Closed, seconds(5), None, false),
            (open(100.0, 100.0, Arrivals::Constant), seconds(5), Some(500.0), false),
            (open(0.1, 0.1, Arrivals::Constant), seconds(30), Some(3.0), false),
            (open(100.0, 300.0, Arrivals::Constant), seconds(5), Some(1000.0), false),
            (open(0.5, 0.5, Arrivals::Poisson), seconds(5), Some(2.5), true),
            (open(0.5, 0.5, Arrivals::Poisson), Limit::Count(7), Some(7.0), false),
        ] {
            let phase = Phase { mode, limit, ..Load::closed(NonZeroU32::MIN, limit).phases.remove(0) };
            assert_eq!((phase.arrivals(), phase.has_random_arrivals()), (expect, is_random), "{phase:?}");
        }
    }

    #[test]
    fn phases_end_one_after_another_as_far_as_that_is_known() {
        let mut load = Load::closed(NonZeroU32::MIN, Limit::Duration(Duration::from_secs(5)));
        let timed = load.phases[0].clone();
        load.phases.push(timed.clone());
        load.phases.push(Phase { limit: Limit::Count(7), ..timed.clone() });
        load.phases.push(timed);
        assert_eq!(load.ends_seconds().collect::<Vec<_>>(), [Some(5.0), Some(10.0), None, None]);
    }

    #[test]
    fn what_is_planned_grows_with_the_rate_and_stops_with_the_load() {
        let rate = |value| Rate::per_second(value).expect("positive");
        let (one, ten) = (NonZeroU32::MIN, Limit::Duration(Duration::from_secs(10)));
        let mut load = Load::open(one, rate(100.0), Arrivals::Poisson, Limit::Count(500));
        let ramp = Mode::Open { from: rate(100.0), to: rate(300.0), arrivals: Arrivals::Constant };
        load.phases.push(Phase { mode: ramp, limit: ten, ..load.phases[0].clone() });
        for (seconds, expect) in
            [(0.0, 0.0), (2.0, 200.0), (5.0, 500.0), (10.0, 1_250.0), (15.0, 2_500.0), (99.0, 2_500.0)]
        {
            let planned = load.planned_by(seconds).expect("an open load");
            assert!((planned - expect).abs() < 1e-6, "{seconds}: {planned}");
        }
        load.phases.push(Load::closed(one, ten).phases.remove(0));
        assert_eq!(load.planned_by(1.0), None);
    }

    #[test]
    fn impossible_loads_are_refused_by_name() {
        assert!(Rate::per_second(0.0).is_err() && Rate::per_second(f64::NAN).is_err());
        let one = NonZeroU32::MIN;
        let mut load = Load::closed(one, Limit::Count(0));
        assert!(load.validate().expect_err("no operations").to_string().contains("`steady`"));
        load.phases.clear();
        assert!(load.validate().is_err());
        let mut ramp = Load::closed(one, Limit::Count(5));
        let rate = |value| Rate::per_second(value).expect("positive");
        ramp.phases[0].mode = Mode::Open { from: rate(1.0), to: rate(2.0), arrivals: Arrivals::Constant };
        assert!(ramp.validate().is_err());
    }
}
