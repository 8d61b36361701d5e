//! Whether the load was the planned one, and whether the store took it.

use runner::{Arrivals, Limit, Mode, Phase};

use super::{Evidence, Found};
use crate::conditions::Placement;
use crate::record::PhaseRecord;
use crate::seconds::PhaseSeconds;

const INTERRUPTED: &str = "the run was stopped before its end";

/// Poisson arrivals are as many as chance would have it; what lies within so many standard deviations is chance (one phase
/// in sixteen thousand lies outside).
pub(crate) const DEVIATIONS_MAX: f64 = 4.0;

/// Recorded open phases with what became of them.
fn open_phases<'a>(evidence: &'a Evidence<'_>) -> impl Iterator<Item = (&'a Phase, &'a PhaseRecord, &'a PhaseSeconds)> {
    let phases = evidence.load.phases.iter().zip(evidence.phases).zip(evidence.seconds.phases());
    phases
        .map(|((phase, record), seconds)| (phase, record, seconds))
        .filter(|(phase, ..)| phase.recorded && phase.mode != Mode::Closed)
}

/// Arrivals that were planned but never came due, as a share of those planned; and the other way round.
pub(super) fn offered(evidence: &Evidence<'_>) -> Found {
    if !evidence.has_open_phase() {
        return Found::nothing("a closed load offers what is answered");
    }
    if evidence.interrupted {
        return Found::nothing(INTERRUPTED);
    }
    let (mut planned, mut offered, mut off) = (0.0, 0, 0.0);
    for (phase, record, _) in open_phases(evidence) {
        let expected = phase.arrivals().unwrap_or(0.0);
        let chance = if phase.has_random_arrivals() { DEVIATIONS_MAX * expected.sqrt() } else { 0.0 };
        planned += expected;
        offered += record.accounting.scheduled;
        off += ((record.accounting.scheduled as f64 - expected).abs() - chance).max(0.0);
    }
    let percent = if planned > 0.0 { off / planned * 100.0 } else { 0.0 };
    Found::value(percent, format!("{offered} operations came due, of {planned:.0} that were planned"))
}

/// Operations that came due but were shed, had not ended when the run did, or still waited when their phase was over: as a
/// share of those that came due.
pub(super) fn delivered(evidence: &Evidence<'_>) -> Found {
    if evidence.interrupted {
        return Found::nothing(INTERRUPTED);
    }
    let accounting = evidence.accounting;
    if accounting.scheduled == 0 {
        return Found::nothing("nothing came due");
    }
    let behind: u64 =
        open_phases(evidence).map(|(phase, record, seconds)| left_at_end(evidence, phase, record, seconds)).sum();
    // What is shed or unfinished is also among what was left when its phase ended.
    let missing = behind.max(accounting.shed + accounting.unfinished);
    let percent = missing as f64 / accounting.scheduled as f64 * 100.0;
    let detail = if missing == 0 {
        "the store did all that was offered in time".to_owned()
    } else {
        format!(
            "the store had not done {percent:.1} % of what was offered when its time was over ({} shed, {} never ended)",
            accounting.shed, accounting.unfinished
        )
    };
    Found::value(percent, detail)
}

/// Operations of an open phase that had not ended when it was over, but for those that sessions had in hand.
fn left_at_end(evidence: &Evidence<'_>, phase: &Phase, record: &PhaseRecord, seconds: &PhaseSeconds) -> u64 {
    let (Some(planned), Mode::Open { from, arrivals, .. }) = (phase.duration(), phase.mode) else { return 0 };
    // A counted phase with random gaps may take longer than its mean.
    let slack = match (phase.limit, arrivals) {
        (Limit::Count(count), Arrivals::Poisson) => DEVIATIONS_MAX * (count as f64).sqrt() / from.get(),
        _ => 0.0,
    };
    let end = record.start_seconds + planned.as_secs_f64() + slack;
    let in_hand = u64::from(evidence.load.sessions.get()) * u64::from(evidence.load.depth.get());
    record.accounting.scheduled.saturating_sub(seconds.ended_by(end)).saturating_sub(in_hand)
}

/// Whether the store kept up with a phase: always, where answers set the pace.
pub(super) fn keeps_up(evidence: &Evidence<'_>, phase: &Phase, record: &PhaseRecord, seconds: &PhaseSeconds) -> bool {
    /// Of what came due: as much as `delivered` lets pass.
    const LEFT_SHARE_MAX: f64 = 0.01;
    left_at_end(evidence, phase, record, seconds) as f64 <= LEFT_SHARE_MAX * record.accounting.scheduled as f64
}

/// What the harness takes for an operation, as a share of the median latency.
pub(super) fn harness_floor(evidence: &Evidence<'_>) -> Found {
    if evidence.measures_harness && evidence.placement == Placement::Embedded {
        return Found::nothing("the harness itself is what is measured");
    }
    let (floor, median) = (evidence.generator.harness_floor_us, evidence.total.latency_us.p50);
    if median <= 0.0 {
        return Found::nothing("no operation succeeded");
    }
    let percent = floor / median * 100.0;
    Found::value(percent, format!("the harness takes {floor:.2} µs an operation, {percent:.1} % of the median latency"))
}
