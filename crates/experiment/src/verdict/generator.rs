//! Whether the generator had what it needed, and kept time.

use super::{Evidence, Found};
use crate::conditions::Placement;
use crate::record::CheckOutcome;

/// Where nobody knows what the server used, a worker that waited more than half of the time is doubtful all the same.
const UNEXPLAINED_SHARE_MAX: f64 = 0.5;

/// Processor time over elapsed time and the processors that the workers could use.
pub(super) fn cpu(evidence: &Evidence<'_>) -> Found {
    if evidence.placement == Placement::Embedded {
        return Found::nothing("the store runs inside the generator, and its work counts as the generator's");
    }
    let percent = evidence.generator.cpu_share * 100.0;
    Found::value(percent, format!("the generator used {percent:.0} % of its processors"))
}

/// The share of the time that a worker waited for a processor which neither the server nor the generator itself had.
pub(super) fn starved(evidence: &Evidence<'_>) -> Found {
    let Some(waits) = &evidence.conditions.waits else {
        return Found::nothing(
            "how long workers waited for a processor is not known: the run was over in a second, or the kernel does not tell",
        );
    };
    let server = match evidence.placement {
        Placement::Embedded | Placement::Remote => Some(0.0),
        Placement::Beside => evidence.conditions.server_cpu_seconds,
    };
    match server {
        Some(server) => {
            let percent = waits.share_taken_by_others(server) * 100.0;
            let detail =
                format!("a worker of the generator waited {percent:.1} % of the time for a processor that others had");
            Found::value(percent, detail)
        }
        None if waits.share() > UNEXPLAINED_SHARE_MAX => {
            let percent = waits.share() * 100.0;
            let detail = format!(
                "a worker of the generator waited {percent:.0} % of the time for a processor, and whether the server had it \
                 is not known"
            );
            Found::value(percent, detail).with_outcome(CheckOutcome::Doubtful)
        }
        None => Found::nothing("what the server on this host used is not known, and workers may have waited for it"),
    }
}

/// The share of the time that the whole generator stood still.
pub(super) fn stopped(evidence: &Evidence<'_>) -> Found {
    let Some(stops) = evidence.conditions.stops.filter(|stops| stops.watched_seconds > 0.0) else {
        return Found::nothing("there was no thread to watch the generator");
    };
    let percent = stops.share() * 100.0;
    let detail = match stops.count {
        0 => "the generator never stood still".to_owned(),
        count => format!(
            "the generator stood still for {percent:.2} % of the time ({count} times, the longest {:.0} ms)",
            stops.longest_seconds * 1e3
        ),
    };
    Found::value(percent, detail)
}

/// How late sends were that waited for nothing but the clock, at p99.
pub(super) fn lateness(evidence: &Evidence<'_>) -> Found {
    if !evidence.has_open_phase() {
        return Found::nothing("a closed load has no times to keep");
    }
    if evidence.generator.lateness_us.max <= 0.0 {
        return Found::nothing("no send waited for its time: every one was already overdue");
    }
    let late = evidence.generator.lateness_us.p99;
    let detail = match late {
        late if late >= 1_000.0 => format!("the generator's sends were late by {:.1} ms at p99", late / 1e3),
        late => format!("the generator's sends were late by {late:.0} µs at p99"),
    };
    Found::value(late, detail)
}
