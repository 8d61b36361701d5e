//! Thresholds as plans have them, and with what ends a run.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use store::{Error, Result};

use super::{Condition, Names, Threshold};
use crate::units::Span;

/// Thresholds of a run: each is judged every second where it may end the run.
const THRESHOLDS_MAX: usize = 100;

/// How long the phases of a threshold are measured before it may end the run, where nobody says: the first seconds of a
/// store are its slowest.
const ABORT_DELAY_DEFAULT: Span = Span(Duration::from_secs(5));

/// A threshold as a plan has it: `p99(read) < 20ms`, or `{ expr: p99(read) < 20ms, abort_on_fail: true, delay: 10s }`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThresholdPlan {
    /// The expression.
    pub expr: String,
    /// Whether the run ends where it fails; as it is said for all thresholds where this is not given.
    pub abort_on_fail: Option<bool>,
    /// For how long its phases are measured before.
    pub delay: Option<Span>,
}

/// A threshold of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdSpec {
    /// What must hold.
    pub condition: Condition,
    /// For how long its phases are measured before its failure ends the run; none where it does not.
    pub abort_after: Option<Duration>,
}

impl ThresholdPlan {
    /// An expression alone.
    pub fn of(expr: impl Into<String>) -> Self {
        Self { expr: expr.into(), ..Self::default() }
    }

    /// Reads and resolves it. `abort_on_fail` is said for all thresholds: it ends the run for those that can be judged
    /// before its end.
    fn resolve(&self, abort_on_fail: Option<Span>, names: &Names<'_>) -> Result<ThresholdSpec> {
        let condition = Threshold::parse(&self.expr)?.resolve(names)?;
        let expr = condition.threshold().text();
        let aborts = self.abort_on_fail.unwrap_or(abort_on_fail.is_some());
        if self.abort_on_fail == Some(true) && !condition.can_end_a_run() {
            return Err(Error::config(format!("the threshold `{expr}` cannot end the run: only its end decides it"))
                .with_hint("leave out its `abort_on_fail`"));
        }
        if self.delay.is_some() && !aborts {
            return Err(Error::config(format!("the threshold `{expr}` has a `delay` but does not end the run"))
                .with_hint("give it `abort_on_fail: true`, or leave out `delay`"));
        }
        let delay = self.delay.or(abort_on_fail).unwrap_or(ABORT_DELAY_DEFAULT);
        let abort_after = (aborts && condition.can_end_a_run()).then_some(delay.0);
        Ok(ThresholdSpec { condition, abort_after })
    }
}

impl ThresholdSpec {
    /// Reads and resolves the thresholds of a plan.
    ///
    /// # Errors
    /// `Config`, for the first that is wrong.
    pub(crate) fn all(plans: &[ThresholdPlan], abort_on_fail: Option<Span>, names: &Names<'_>) -> Result<Vec<Self>> {
        if plans.len() > THRESHOLDS_MAX {
            return Err(Error::config(format!("{} thresholds are too many", plans.len()))
                .with_hint(format!("give at most {THRESHOLDS_MAX}")));
        }
        if abort_on_fail.is_some() && plans.is_empty() {
            return Err(Error::config("there is no threshold whose failure could end the run")
                .with_hint("give one with --threshold, or leave out --abort-on-fail"));
        }
        plans.iter().map(|plan| plan.resolve(abort_on_fail, names)).collect()
    }

    /// The same for other names.
    ///
    /// # Errors
    /// `Config` where it is about something that is not there any more.
    pub(crate) fn again(&self, names: &Names<'_>) -> Result<Self> {
        Ok(Self { condition: self.condition.threshold().resolve(names)?, abort_after: self.abort_after })
    }
}

/// The long form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    expr: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    abort_on_fail: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay: Option<Span>,
}

impl<'de> Deserialize<'de> for ThresholdPlan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(expr) => Ok(Self::of(expr)),
            fields @ serde_json::Value::Object(_) => {
                // Not an untagged enum, which would not say which field is unknown.
                let Fields { expr, abort_on_fail, delay } =
                    serde_json::from_value(fields).map_err(de::Error::custom)?;
                Ok(Self { expr, abort_on_fail, delay })
            }
            _ => Err(de::Error::custom(
                "a threshold is an expression such as `p99(read) < 20ms`, or `{ expr: …, abort_on_fail: true, delay: 10s }`",
            )),
        }
    }
}

impl Serialize for ThresholdPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.abort_on_fail.is_none() && self.delay.is_none() {
            return serializer.serialize_str(&self.expr);
        }
        let Self { expr, abort_on_fail, delay } = self.clone();
        Fields { expr, abort_on_fail, delay }.serialize(serializer)
    }
}
