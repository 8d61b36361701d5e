//! A check: a figure, its limits, and what comes of the two.

use super::Evidence;
use crate::record::{CheckOutcome, ValidityCheck};

/// A row of the table of checks.
pub(super) struct Check {
    /// As in the record.
    pub(super) name: &'static str,
    /// Of the figure and its limits.
    pub(super) unit: &'static str,
    /// The figure is in doubt beyond this.
    pub(super) doubtful_limit: Option<f64>,
    /// The run is invalid beyond this.
    pub(super) limit: Option<f64>,
    /// What to do.
    pub(super) remedy: &'static str,
    /// Finds the figure.
    pub(super) measure: fn(&Evidence<'_>) -> Found,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    value: Option<f64>,
    detail: String,
    /// What comes of it where that does not follow from the figure and the limits.
    outcome: Option<CheckOutcome>,
    /// Limits of this run where they are not those of the row.
    limits: Option<(f64, f64)>,
}

impl Found {
    /// A figure, which the limits judge.
    pub(super) fn value(value: f64, detail: String) -> Self {
        Self { value: Some(value), detail, outcome: None, limits: None }
    }

    /// The check says nothing about such a run; why.
    pub(super) fn nothing(why: &str) -> Self {
        Self { value: None, detail: why.to_owned(), outcome: Some(CheckOutcome::NotApplicable), limits: None }
    }

    /// Whatever the limits say.
    pub(super) fn with_outcome(mut self, outcome: CheckOutcome) -> Self {
        self.outcome = Some(outcome);
        self
    }

    /// Judged by other limits: doubtful beyond the first, invalid beyond the second.
    pub(super) fn with_limits(mut self, limits: (f64, f64)) -> Self {
        self.limits = Some(limits);
        self
    }
}

impl Check {
    /// The check, made.
    pub(super) fn made(&self, evidence: &Evidence<'_>) -> ValidityCheck {
        let found = (self.measure)(evidence);
        let (doubtful_limit, limit) = match found.limits {
            Some((doubtful, invalid)) => (Some(doubtful), Some(invalid)),
            None => (self.doubtful_limit, self.limit),
        };
        let is_beyond = |limit: Option<f64>| found.value.zip(limit).is_some_and(|(value, limit)| value > limit);
        let by_limits = || match (is_beyond(limit), is_beyond(doubtful_limit)) {
            (true, _) => CheckOutcome::Failed,
            (false, true) => CheckOutcome::Doubtful,
            (false, false) => CheckOutcome::Passed,
        };
        ValidityCheck {
            name: self.name.to_owned(),
            outcome: found.outcome.unwrap_or_else(by_limits),
            value: found.value,
            doubtful_limit,
            limit,
            unit: self.unit.to_owned(),
            detail: found.detail,
            remedy: self.remedy.to_owned(),
        }
    }
}
