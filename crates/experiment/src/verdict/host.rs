//! Whether the host let the generator, and a server beside it, work undisturbed.

use telemetry::{HostSummary, PressureShare};

use super::{Evidence, Found};
use crate::conditions::Placement;
use crate::record::CheckOutcome;

const UNWATCHED: &str = "the host was not watched, or does not tell";

/// What comes of the host's figures, where they are known.
fn of_host(evidence: &Evidence<'_>, found: impl FnOnce(&HostSummary) -> Option<Found>) -> Found {
    evidence.conditions.host.as_ref().and_then(found).unwrap_or_else(|| Found::nothing(UNWATCHED))
}

/// The share of the time that a processor limit held our control group back.
pub(super) fn throttled(evidence: &Evidence<'_>) -> Found {
    of_host(evidence, |host| {
        // Summed over processors: it may be more than the time.
        let percent = (share(host.throttled_seconds?, host.elapsed_seconds) * 100.0).min(100.0);
        let what = "the processor limit of its control group held the generator back";
        let detail = match host.cpu_limit_cores {
            None => format!("{what} for {percent:.1} % of the time"),
            Some(cores) => format!("{what} for {percent:.1} % of the time (it is {cores} cores)"),
        };
        Some(Found::value(percent, detail))
    })
}

/// Processor time that the hypervisor gave to other guests.
pub(super) fn steal(evidence: &Evidence<'_>) -> Found {
    of_host(evidence, |host| {
        let percent = host.cpu_percent_by_mode?.steal;
        Some(Found::value(percent, format!("{percent:.1} % of the processors' time went to other virtual machines")))
    })
}

/// Processor time of processes that are neither ours nor the server's, as a share of all processors.
///
/// Interrupts are left out: those of the network are the load's own, and no process is charged for them.
pub(super) fn contention(evidence: &Evidence<'_>) -> Found {
    let server = match evidence.placement {
        Placement::Embedded | Placement::Remote => Some(0.0),
        Placement::Beside => evidence.conditions.server_cpu_seconds,
    };
    let Some(server) = server else {
        return Found::nothing(
            "not all of the server's processes on this host are known, so others' cannot be told from them",
        );
    };
    of_host(evidence, |host| {
        let modes = host.cpu_percent_by_mode?;
        let programs = modes.user + modes.nice + modes.system + modes.guest;
        let all_seconds = host.elapsed_seconds * host.cores_online? as f64;
        let known = evidence.conditions.generator_cpu_seconds + server;
        let percent = (programs - share(known, all_seconds) * 100.0).max(0.0);
        Some(Found::value(percent, format!("other processes used {percent:.1} % of this host's processors")))
    })
}

/// Time in which a task of this host waited for a processor.
pub(super) fn pressure_cpu(evidence: &Evidence<'_>) -> Found {
    of_host(evidence, |host| {
        let found = pressure(host.pressure.cpu?, "a processor");
        // A server and a generator that share two cores wait for each other whenever both have work.
        Some(unless_store_is_here(evidence, found))
    })
}

/// Time in which a task of this host waited for a disk.
pub(super) fn pressure_io(evidence: &Evidence<'_>) -> Found {
    of_host(evidence, |host| {
        let found = pressure(host.pressure.io?, "a disk");
        Some(unless_store_is_here(evidence, found))
    })
}

/// Time in which a task of this host waited for memory.
pub(super) fn pressure_memory(evidence: &Evidence<'_>) -> Found {
    of_host(evidence, |host| Some(pressure(host.pressure.memory?, "memory")))
}

fn pressure(share: PressureShare, what: &str) -> Found {
    let percent = share.some_percent;
    Found::value(percent, format!("for {percent:.1} % of the time some task of this host waited for {what}"))
}

/// Where the store is on this host its own waits are among those of the host, and are what is measured.
fn unless_store_is_here(evidence: &Evidence<'_>, found: Found) -> Found {
    match evidence.placement {
        Placement::Remote => found,
        Placement::Embedded | Placement::Beside => found.with_outcome(CheckOutcome::NotApplicable),
    }
}

fn share(seconds: f64, of: f64) -> f64 {
    if of > 0.0 { seconds / of } else { 0.0 }
}
