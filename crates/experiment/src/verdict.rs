//! What a run's numbers are worth: the generator judges itself, and the host that it runs on, before it judges the store.
//!
//! Each check is a row of [`CHECKS`]: a figure with its limits, and what to do where it is beyond them. What is the
//! generator's or the host's fault makes a run invalid. What is found about the store (it stalls, it does not keep up, it
//! gets slower) is a result, and makes at most a warning: with one exception, a level that changes without any such reason,
//! of which no single figure can be told.

mod check;
mod generator;
mod host;
mod load;
mod steady;

#[cfg(test)]
mod tests;

pub(crate) use load::DEVIATIONS_MAX;

use runner::{Load, Mode};

use self::check::{Check, Found};
use crate::conditions::{Conditions, Placement};
use crate::record::{
    AccountingRecord, CheckOutcome, GeneratorRecord, OperationRecord, PhaseRecord, RecoveryRecord, ValidityCheck,
    Verdict,
};
use crate::seconds::RunSeconds;

/// What is judged.
pub(crate) struct Evidence<'a> {
    pub(crate) load: &'a Load,
    /// In the order of the load's.
    pub(crate) phases: &'a [PhaseRecord],
    pub(crate) seconds: &'a RunSeconds,
    pub(crate) accounting: AccountingRecord,
    pub(crate) total: &'a OperationRecord,
    pub(crate) generator: &'a GeneratorRecord,
    pub(crate) conditions: &'a Conditions,
    pub(crate) recovery: RecoveryRecord,
    pub(crate) placement: Placement,
    /// Whether the store is there to measure the harness itself.
    pub(crate) measures_harness: bool,
    pub(crate) interrupted: bool,
    /// Whether the user takes the numbers whatever the checks say.
    pub(crate) accepts_invalid: bool,
}

impl Evidence<'_> {
    /// Whether any recorded phase has its operations start by the clock.
    fn has_open_phase(&self) -> bool {
        self.load.phases.iter().any(|phase| phase.recorded && phase.mode != Mode::Closed)
    }
}

/// Share of its processors past which the generator has nothing left for an operation that comes at a bad time, in percent.
pub(crate) const CPU_PERCENT_MAX: f64 = 95.0;
/// Send lateness, p99, past which the load was not the planned one, in microseconds: what a disk takes, and longer than any
/// store that is measured by its latency.
pub(crate) const LATENESS_US_MAX: f64 = 10_000.0;
/// Share of the time that the generator may stand still, in percent: what stands still for a hundredth of the time owns the
/// 99th percentile.
pub(crate) const STOPPED_PERCENT_MAX: f64 = 1.0;

/// Every check, in the order in which they are shown: the generator, the load, the host.
static CHECKS: &[Check] = &[
    Check {
        name: "generator_cpu",
        unit: "%",
        // Past four fifths a queue at the generator is as long as five operations take (M/M/1).
        doubtful_limit: Some(80.0),
        limit: Some(CPU_PERCENT_MAX),
        remedy: "lower the load, or give it more processors",
        measure: generator::cpu,
    },
    Check {
        name: "generator_starved",
        unit: "%",
        doubtful_limit: Some(5.0),
        // A fifth of the time is a fifth of the throughput of a closed load.
        limit: Some(20.0),
        remedy: "stop what else runs on this host, or give the generator processors of its own",
        measure: generator::starved,
    },
    Check {
        name: "generator_stopped",
        unit: "%",
        doubtful_limit: Some(0.1),
        limit: Some(STOPPED_PERCENT_MAX),
        remedy: "run it without cpulimit, Ctrl-Z or a frozen container, on a machine that is not paused",
        measure: generator::stopped,
    },
    Check {
        name: "send_lateness",
        unit: "us",
        // A millisecond is a round trip in a data centre.
        doubtful_limit: Some(1_000.0),
        limit: Some(LATENESS_US_MAX),
        remedy: "free the host's processors, or lower the rate",
        measure: generator::lateness,
    },
    Check {
        name: "offered",
        unit: "%",
        doubtful_limit: Some(0.1),
        limit: Some(1.0),
        remedy: "look why the load ended before its time",
        measure: load::offered,
    },
    Check {
        name: "delivered",
        unit: "%",
        doubtful_limit: Some(1.0),
        // Past a half the latencies are those of a minority.
        limit: Some(50.0),
        remedy: "lower the rate: latencies of a store that does not keep up grow with the length of the run",
        measure: load::delivered,
    },
    Check {
        name: "steady_state",
        unit: "%",
        doubtful_limit: Some(steady::THROUGHPUT_LIMITS.0),
        limit: Some(steady::THROUGHPUT_LIMITS.1),
        remedy: "warm up for longer (--warm-up), or look in the report at what happened then",
        measure: steady::state,
    },
    Check {
        name: "harness_floor",
        unit: "%",
        doubtful_limit: Some(10.0),
        // Half of what is measured would be ours.
        limit: Some(50.0),
        remedy: "measure operations that take longer; with --depth the floor is shared by those in flight",
        measure: load::harness_floor,
    },
    Check {
        name: "throttled",
        unit: "%",
        doubtful_limit: Some(0.1),
        limit: Some(STOPPED_PERCENT_MAX),
        remedy: "raise the processor limit of its control group (cpu.max), or run outside of it",
        measure: host::throttled,
    },
    Check {
        name: "host_steal",
        unit: "%",
        doubtful_limit: Some(1.0),
        limit: Some(10.0),
        remedy: "use a machine whose processors are its own",
        measure: host::steal,
    },
    Check {
        name: "host_contention",
        unit: "%",
        // Half of a small host is a core of its two; a fifth of one is what an editor takes.
        doubtful_limit: Some(10.0),
        limit: Some(40.0),
        remedy: "stop what else runs on this host",
        measure: host::contention,
    },
    Check {
        name: "pressure_cpu",
        unit: "%",
        // Of all tasks of the host, whosever they are: never a proof, so it has no second limit.
        doubtful_limit: Some(20.0),
        limit: None,
        remedy: "stop what else runs on this host",
        measure: host::pressure_cpu,
    },
    Check {
        name: "pressure_io",
        unit: "%",
        doubtful_limit: Some(20.0),
        limit: None,
        remedy: "stop what else uses the disks of this host",
        measure: host::pressure_io,
    },
    Check {
        name: "pressure_memory",
        unit: "%",
        // Tasks that wait for memory wait for a disk, the generator's threads as soon as any other's.
        doubtful_limit: Some(1.0),
        limit: Some(20.0),
        remedy: "free memory, or give the store less of it",
        measure: host::pressure_memory,
    },
];

pub(crate) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let checks: Vec<ValidityCheck> = CHECKS.iter().map(|check| check.made(evidence)).collect();
    let said = |outcome| {
        let such = checks.iter().filter(move |check| check.outcome == outcome);
        such.map(|check| format!("{}: {}", check.detail, check.remedy))
    };
    let mut reasons = without_numbers(evidence);
    // Where there are no numbers there is nothing to accept.
    let accepted = evidence.accepts_invalid && reasons.is_empty();
    reasons.extend(said(CheckOutcome::Failed));
    let mut warnings: Vec<String> = said(CheckOutcome::Doubtful).collect();
    let not_delivered = checks.iter().any(|check| check.name == "delivered" && is_told(check.outcome));
    warnings.extend(notes(evidence, not_delivered));
    let valid = reasons.is_empty();
    Verdict { valid, accepted: accepted && !valid, reasons, warnings, checks, ..Verdict::default() }
}

/// Whether an outcome is among the reasons or the warnings.
fn is_told(outcome: CheckOutcome) -> bool {
    matches!(outcome, CheckOutcome::Doubtful | CheckOutcome::Failed)
}

/// Why there are no numbers at all, or none to be trusted whatever was measured.
fn without_numbers(evidence: &Evidence<'_>) -> Vec<String> {
    let accounting = evidence.accounting;
    let mut reasons = Vec::new();
    let exact = accounting.succeeded + accounting.failed + accounting.shed + accounting.unfinished;
    if accounting.scheduled != exact {
        reasons.push(format!(
            "{} operations were scheduled but {exact} accounted for: report this as a bug",
            accounting.scheduled
        ));
    }
    if accounting.succeeded == 0 {
        reasons.push("no operation succeeded: see the error messages".to_owned());
    }
    reasons
}

/// What no limit is about.
fn notes(evidence: &Evidence<'_>, not_delivered: bool) -> Vec<String> {
    let Evidence { load, accounting, total, generator, recovery, interrupted, .. } = evidence;
    let mut notes = Vec::new();
    if load.has_closed_phase() {
        notes.push("closed load: blind to stalls".to_owned());
    }
    if accounting.failed > 0 {
        let share = accounting.failed as f64 / accounting.scheduled.max(1) as f64 * 100.0;
        notes
            .push(format!("{} operations failed ({share:.3} %): latencies are those of the others", accounting.failed));
    }
    if accounting.shed > 0 && !not_delivered {
        notes.push(format!("{} operations were shed: the store did not keep up with the rate", accounting.shed));
    }
    if accounting.unfinished > 0 && !interrupted && !not_delivered {
        notes.push(format!("{} operations had not ended when the run did", accounting.unfinished));
    }
    if generator.reconnects > 0 {
        notes.push(format!("{} connections were lost", generator.reconnects));
    }
    notes.extend(gone(recovery));
    if *interrupted {
        notes.push("the run was interrupted before its end".to_owned());
    }
    if evidence.has_open_phase() && total.succeeded > 0 && generator.lateness_us.max == 0.0 {
        notes.push("no send waited for its time: every one was already overdue".to_owned());
    }
    notes
}

/// What to say of a store that was gone.
fn gone(recovery: &RecoveryRecord) -> Option<String> {
    let RecoveryRecord { outages, gone_seconds, longest_seconds, longest_start_seconds, is_gone, .. } = *recovery;
    let start = longest_start_seconds?;
    let mut text = format!("nobody answered for {longest_seconds:.3} s from {start:.1} s on");
    if outages > 1 {
        text = format!("{text} ({outages} times, {gone_seconds:.3} s in all)");
    }
    if is_gone {
        text.push_str("; the store had not come back when the run ended");
    }
    Some(text)
}
