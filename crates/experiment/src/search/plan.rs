//! A search as a user asks for it: `find: { rate: { from: 100/s }, under: "p99(read) < 10ms", then: 70% }`.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use runner::{Load, Rate};
use serde::{Deserialize, Deserializer, Serialize};
use store::{Error, Result};

use super::record::Dimension;
use super::state::Bounds;
use crate::plan::LoadPlan;
use crate::units::{PerSecond, Span, as_text};

/// Where a search for a rate starts, where the plan does not say: any store does that many.
const RATE_START: f64 = 100.0;
/// The least rate that is tried where even the start is too much, unless the plan says where to start.
const RATE_LEAST: f64 = 1.0;
/// No store that is reached over a wire does more, and a schedule can keep to it.
const RATE_GREATEST: f64 = 1e7;
/// Sessions at most where the plan does not say: with more, most hosts measure their own scheduler.
const SESSIONS_GREATEST: u32 = 1_024;
/// How near the ends of the search come, where the plan does not say.
const PRECISION_DEFAULT: f64 = 0.05;
/// Finer, no figure of some seconds tells one load from another; coarser, nothing is searched.
const PRECISION: [f64; 2] = [0.005, 0.5];
/// The share of the knee at which the run is made: nobody asks for a run at none of it, or far into overload.
const SHARE: [f64; 2] = [0.01, 2.0];
/// How long a step takes, where the plan does not say.
const STEP_SECONDS: f64 = 5.0;
/// Below it a step is its own beginning and end; above it a search takes hours.
const STEP_SECONDS_ALLOWED: [f64; 2] = [0.2, 600.0];
/// Operations beyond a percentile that its figure needs: their number scatters by its root, so by a fifth here.
const OPERATIONS_BEYOND: f64 = 20.0;

/// A search for the greatest load that keeps a condition.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindPlan {
    /// The rate of an open load is searched for, within these.
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    pub rate: Option<LoadRange<PerSecond>>,
    /// The sessions of a closed load are searched for, within these.
    #[serde(default, deserialize_with = "named", skip_serializing_if = "Option::is_none")]
    pub sessions: Option<LoadRange<NonZeroU32>>,
    /// The condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<String>,
    /// How long a step takes.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Span>,
    /// How near the ends of the search come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Share>,
    /// The share of what was found at which the run is then made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Share>,
}

/// From the first load that is tried to the greatest that may be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadRange<T> {
    /// The first; nothing below it is tried.
    #[serde(default = "absent", skip_serializing_if = "Option::is_none")]
    pub from: Option<T>,
    /// The greatest.
    #[serde(default = "absent", skip_serializing_if = "Option::is_none")]
    pub to: Option<T>,
}

impl<T> Default for LoadRange<T> {
    fn default() -> Self {
        Self { from: None, to: None }
    }
}

fn absent<T>() -> Option<T> {
    None
}

/// `rate` alone, without a value, names what is searched for as well as `rate: {}` does.
fn named<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<LoadRange<T>>, D::Error> {
    Ok(Some(Option::<LoadRange<T>>::deserialize(deserializer)?.unwrap_or_default()))
}

/// A share in a plan: `70%`, or `0.7`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let (number, unit) = text.strip_suffix('%').map_or((text, 1.0), |number| (number.trim_end(), 0.01));
        let share = number.parse::<f64>().ok().map(|number| number * unit).filter(|share| share.is_finite());
        share.map(Self).ok_or_else(|| Error::config(format!("`{text}` is not a share")).with_hint("write 70% or 0.7"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Seven tenths of a hundred are not quite seventy in binary.
        write!(f, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

as_text!(Share);

/// A search with all its values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Find {
    pub(crate) dimension: Dimension,
    pub(crate) under: String,
    pub(crate) bounds: Bounds,
    /// The percentile that the condition is about, as a share; of others a usual one.
    pub(crate) quantile: f64,
    pub(crate) share: Option<f64>,
}

impl FindPlan {
    /// What is searched for.
    ///
    /// # Errors
    /// `Config`, where it is not one thing.
    fn dimension(&self) -> Result<Dimension> {
        match (&self.rate, &self.sessions) {
            (Some(_), None) => Ok(Dimension::Rate),
            (None, Some(_)) => Ok(Dimension::Sessions),
            (Some(_), Some(_)) => Err(Error::config("`load.find` has both `rate` and `sessions`")
                .with_hint("search for one of them at a time")),
            (None, None) => Err(Error::config("`load.find` does not say what is searched for")
                .with_hint("write find: { rate, under: \"p99 < 10ms\" }, or `sessions` for a closed load")),
        }
    }

    /// The search with all its values.
    ///
    /// # Errors
    /// `Config`, naming the field.
    pub(crate) fn resolve(&self) -> Result<Find> {
        let dimension = self.dimension()?;
        let under = self.under.clone().ok_or_else(|| {
            Error::config("`load.find` has no condition").with_hint("give it one: under: \"p99 < 10ms\"")
        })?;
        let step_seconds = self.duration.map_or(STEP_SECONDS, |span| span.0.as_secs_f64());
        let within =
            |field: &str, value: f64, [least, greatest]: [f64; 2], shown: &dyn Fn(f64) -> String| {
                if (least..=greatest).contains(&value) {
                    return Ok(());
                }
                Err(Error::config(format!("`load.find.{field}` of {} is not possible", shown(value)))
                    .with_hint(format!("use {} to {}", shown(least), shown(greatest))))
            };
        within("for", step_seconds, STEP_SECONDS_ALLOWED, &|seconds| format!("{seconds}s"))?;
        let precision = self.precision.map_or(PRECISION_DEFAULT, |share| share.0);
        within("precision", precision, PRECISION, &|share| Share(share).to_string())?;
        if let Some(Share(share)) = self.then {
            within("then", share, SHARE, &|share| Share(share).to_string())?;
        }
        let [start, least, greatest] = self.range(dimension);
        if least > greatest {
            return Err(Error::config(format!("`load.find` goes from {least} to {greatest}"))
                .with_hint("let `to` be above `from`"));
        }
        let quantile = quantile(&under);
        let bounds = Bounds {
            start,
            least,
            greatest,
            precision,
            step_seconds,
            operations_min: OPERATIONS_BEYOND / (1.0 - quantile),
            whole: dimension == Dimension::Sessions,
        };
        Ok(Find { dimension, under, bounds, quantile, share: self.then.map(|share| share.0) })
    }

    /// The first load that is tried, the least that may be, and the greatest.
    fn range(&self, dimension: Dimension) -> [f64; 3] {
        match dimension {
            Dimension::Rate => {
                let LoadRange { from, to } = self.rate.unwrap_or_default();
                let [from, to] = [from, to].map(|rate| rate.map(|rate| rate.0.get()));
                let greatest = to.unwrap_or(RATE_GREATEST);
                // Without a start the search may go below the usual one.
                let [start, least] = [RATE_START, RATE_LEAST].map(|usual| from.unwrap_or(usual.min(greatest)));
                [start, least, greatest]
            }
            Dimension::Sessions => {
                let LoadRange { from, to } = self.sessions.unwrap_or_default();
                let [from, to] = [from, to].map(|sessions| sessions.map(|sessions| f64::from(sessions.get())));
                let least = from.unwrap_or(1.0);
                [least, least, to.unwrap_or(f64::from(SESSIONS_GREATEST)).min(f64::from(Load::SESSIONS_MAX))]
            }
        }
    }

    /// Refuses what has no meaning beside a search.
    ///
    /// # Errors
    /// `Config`, naming the field.
    pub(crate) fn check(&self, load: &LoadPlan, sequence: usize) -> Result<()> {
        let found = "the search finds it";
        let of_sessions = self.dimension()? == Dimension::Sessions;
        let contradictions = [
            (
                "phases",
                load.phases.is_some(),
                "a search makes phases of its own; `for` says how long the run after it is",
            ),
            ("rate", load.rate.is_some(), found),
            ("operations", load.operations.is_some(), "limit the run after the search by `for`"),
            ("sessions", of_sessions && load.sessions.is_some(), found),
            ("arrivals", of_sessions && load.arrivals.is_some(), "a load of sessions is closed"),
            ("think", !of_sessions && load.think.is_some(), "a load of a rate is open"),
        ];
        if let Some((field, _, why)) = contradictions.into_iter().find(|(_, given, _)| *given) {
            return Err(Error::config(format!("the load has `find` and `{field}`"))
                .with_hint(format!("leave out `{field}`: {why}")));
        }
        if sequence > 1 {
            return Err(Error::config(
                "the workload runs its operations one after another, which have no knee together",
            )
            .with_hint("set the workload's parameter mode=mix, or choose one operation"));
        }
        Ok(())
    }
}

impl Find {
    /// What follows a load in words.
    pub(crate) fn unit(&self) -> &'static str {
        self.dimension.unit()
    }

    /// The load plan of a run at that load.
    ///
    /// # Errors
    /// `Config` for a rate that is not possible.
    pub(crate) fn plan_at(&self, plan: &LoadPlan, load: f64) -> Result<LoadPlan> {
        let at = LoadPlan { find: None, ..plan.clone() };
        Ok(match self.dimension {
            Dimension::Rate => LoadPlan { rate: Some(PerSecond(Rate::per_second(load)?)), ..at },
            Dimension::Sessions => LoadPlan { sessions: NonZeroU32::new(load.round() as u32), ..at },
        })
    }
}

/// The percentile that a condition begins with, as a share; that of p99 for others: rates and shares of errors settle no
/// later.
fn quantile(under: &str) -> f64 {
    const USUAL: f64 = 0.99;
    let digits: String = under
        .trim_start()
        .trim_start_matches(['p', 'P'])
        .chars()
        .take_while(|character| character.is_ascii_digit() || *character == '.')
        .collect();
    digits.parse().ok().map(|percent: f64| percent / 100.0).filter(|share| (0.5..1.0).contains(share)).unwrap_or(USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;

    fn load(text: &str) -> LoadPlan {
        Plan::parse(&format!("load: {text}")).expect(text).load
    }

    #[test]
    fn a_search_is_read_and_written() {
        let plan = load(
            "{ find: { rate: { from: 200/s, to: 5k/s }, under: 'p99(read) < 10ms', for: 2s, precision: 2%, then: 70% } }",
        );
        let find = plan.find.clone().expect("given").resolve().expect("valid");
        let Bounds { start, least, greatest, precision, step_seconds, operations_min, whole } = find.bounds;
        assert_eq!((start, least, greatest, step_seconds, whole), (200.0, 200.0, 5000.0, 2.0, false));
        assert!((precision - 0.02).abs() < 1e-12 && (operations_min - 2_000.0).abs() < 1e-6);
        assert!(find.share.is_some_and(|share| (share - 0.7).abs() < 1e-12));
        let again: LoadPlan = serde_json::from_value(serde_json::to_value(&plan).expect("JSON")).expect("reads");
        assert_eq!(again, plan);
        assert_eq!(plan.find.and_then(|find| find.then).map(|share| share.to_string()).as_deref(), Some("70%"));
    }

    #[test]
    fn a_name_alone_says_what_is_searched_for() {
        for (text, dimension, start) in [
            ("{ find: { rate, under: 'p99 < 10ms' } }", Dimension::Rate, 100.0),
            ("{ find: { rate: {}, under: 'p99 < 10ms' } }", Dimension::Rate, 100.0),
            ("{ find: { rate: { to: 20/s }, under: 'p99 < 10ms' } }", Dimension::Rate, 20.0),
            ("{ find: { sessions, under: 'p99 < 10ms' } }", Dimension::Sessions, 1.0),
            ("{ find: { sessions: { from: 4 }, under: 'p99 < 10ms' } }", Dimension::Sessions, 4.0),
        ] {
            let find = load(text).find.expect("given").resolve().expect(text);
            assert_eq!((find.dimension, find.bounds.start), (dimension, start), "{text}");
        }
    }

    #[test]
    fn contradictions_are_refused_by_name() {
        for (text, part) in [
            ("{ find: { under: 'p99 < 10ms' } }", "what is searched for"),
            ("{ find: { rate, sessions, under: 'p99 < 10ms' } }", "both"),
            ("{ find: { rate } }", "no condition"),
            ("{ find: { rate, under: 'p99 < 10ms' }, rate: 5/s }", "`rate`"),
            ("{ find: { rate, under: 'p99 < 10ms' }, phases: [] }", "`phases`"),
            ("{ find: { rate, under: 'p99 < 10ms' }, operations: 5 }", "`operations`"),
            ("{ find: { rate, under: 'p99 < 10ms' }, think: 1s }", "`think`"),
            ("{ find: { sessions, under: 'p99 < 10ms' }, sessions: 5 }", "`sessions`"),
            ("{ find: { sessions, under: 'p99 < 10ms' }, arrivals: poisson }", "`arrivals`"),
            ("{ find: { rate: { from: 5/s, to: 4/s }, under: 'p99 < 10ms' } }", "from 5 to 4"),
            ("{ find: { rate, under: 'p99 < 10ms', for: 1ms } }", "`load.find.for`"),
            ("{ find: { rate, under: 'p99 < 10ms', then: 300% } }", "`load.find.then`"),
            ("{ find: { rate, under: 'p99 < 10ms', precision: 0 } }", "`load.find.precision`"),
        ] {
            let error = load(text).to_load(&[], 0).expect_err(text);
            assert!(error.to_string().contains(part) && error.hint().is_some(), "{text}: {error}");
        }
        let sequence = [(0, "insert"), (1, "select")];
        let error = load("{ find: { rate, under: 'p99 < 10ms' } }").to_load(&sequence, 1).expect_err("two of them");
        assert!(error.to_string().contains("one after another"), "{error}");
    }

    #[test]
    fn misspelt_fields_get_the_nearest() {
        for (text, near) in [
            ("{ find: { rat: {} } }", "rate"),
            ("{ find: { rate: { form: 3/s } } }", "from"),
            ("{ find: { rate, undr: x } }", "under"),
        ] {
            let error = Plan::parse(&format!("load: {text}")).expect_err("misspelt");
            assert_eq!(error.hint(), Some(format!("did you mean `{near}`?").as_str()), "{text}: {error}");
        }
    }

    #[test]
    fn the_operations_that_a_percentile_needs_are_known() {
        for (under, expect) in
            [("p99 < 1ms", 0.99), ("p99.9(read)<1ms", 0.999), (" p50 < 1ms", 0.5), ("mean < 1ms", 0.99)]
        {
            assert!((quantile(under) - expect).abs() < 1e-9, "{under}");
        }
        for (text, expect) in [("70%", Some(0.7)), ("0.7", Some(0.7)), ("7 %", Some(0.07)), ("lots", None), ("", None)]
        {
            assert_eq!(text.parse::<Share>().ok().map(|share| (share.0 * 1e6).round() / 1e6), expect, "{text}");
        }
    }
}
