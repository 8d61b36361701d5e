//! Seconds and outcomes of a part on their way through the store: JSON, in which histograms are what every HDR tool reads.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use runner::{
    Accounting, Cell, ErrorSample, Io, OperationCells, Outcome, PhaseOutcome, Recovery, Sample, SecondGauges,
};
use serde::{Deserialize, Serialize};
use stats::Histogram;
use store::{Error, ErrorKind, Result};

/// What is read at most: a second of a hundred operations has some 500 kB, an outcome of as many phases more.
const BYTES_MAX: usize = 64 << 20;

#[derive(Serialize, Deserialize)]
struct SampleWire {
    second: u64,
    phases: Vec<(u16, Vec<CellWire>)>,
    backlog: u64,
    in_flight: u64,
    connected: u32,
    lateness_ns_max: u64,
}

#[derive(Serialize, Deserialize)]
struct CellWire {
    operation: u16,
    succeeded: u64,
    failed: u64,
    errors: Vec<u64>,
    latency: Option<String>,
    service_time: Option<String>,
    queueing_time: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct OutcomeWire {
    phases: Vec<PhaseWire>,
    lateness: Option<String>,
    errors: Vec<(usize, String, u64)>,
    reconnects: u64,
    connects_failed: u64,
    recovery: RecoveryWire,
    workers: u32,
    by_ring: bool,
    interrupted: bool,
    duration_ns: u64,
}

#[derive(Serialize, Deserialize)]
struct PhaseWire {
    cells: Vec<CellWire>,
    /// Scheduled, succeeded, failed, shed, unfinished.
    accounting: [u64; 5],
    start_ns: u64,
    duration_ns: u64,
}

#[derive(Serialize, Deserialize)]
struct RecoveryWire {
    outages: u64,
    gone_ns: u64,
    longest_ns: u64,
    longest_start_ns: u64,
    is_gone: bool,
    session_max_ns: u64,
}

/// A second, to be told.
///
/// # Errors
/// `Bug` for a histogram that cannot be encoded.
pub fn encode_sample(sample: &Sample) -> Result<Vec<u8>> {
    let Sample { second, phases, gauges } = sample;
    let phases = phases.iter().map(|(phase, cells)| Ok((*phase, cells_to_wire(cells)?)));
    written(&SampleWire {
        second: *second,
        phases: phases.collect::<Result<_>>()?,
        backlog: gauges.backlog,
        in_flight: gauges.in_flight,
        connected: gauges.connected,
        lateness_ns_max: gauges.lateness_ns_max,
    })
}

/// A second that was told.
///
/// # Errors
/// `Rejected` for what is none.
pub fn decode_sample(bytes: &[u8]) -> Result<Sample> {
    let wire: SampleWire = read(bytes)?;
    let phases = wire.phases.into_iter().map(|(phase, cells)| Ok((phase, cells_from_wire(cells)?)));
    Ok(Sample {
        second: wire.second,
        phases: phases.collect::<Result<_>>()?,
        gauges: SecondGauges {
            backlog: wire.backlog,
            in_flight: wire.in_flight,
            connected: wire.connected,
            lateness_ns_max: wire.lateness_ns_max,
        },
    })
}

/// What came of a part, to be told.
///
/// # Errors
/// `Bug` for a histogram that cannot be encoded.
pub fn encode_outcome(outcome: &Outcome) -> Result<Vec<u8>> {
    let phases = outcome.phases.iter().map(|phase| {
        let Accounting { scheduled, succeeded, failed, shed, unfinished } = phase.accounting;
        Ok(PhaseWire {
            cells: cells_to_wire(&phase.cells)?,
            accounting: [scheduled, succeeded, failed, shed, unfinished],
            start_ns: nanoseconds(phase.start),
            duration_ns: nanoseconds(phase.duration),
        })
    });
    let Recovery { outages, gone, longest, longest_start, is_gone, session_max } = outcome.recovery;
    written(&OutcomeWire {
        phases: phases.collect::<Result<_>>()?,
        lateness: to_wire(Some(&outcome.lateness))?,
        errors: outcome.errors.iter().map(|error| (error.kind.index(), error.message.clone(), error.count)).collect(),
        reconnects: outcome.reconnects,
        connects_failed: outcome.connects_failed,
        recovery: RecoveryWire {
            outages,
            gone_ns: nanoseconds(gone),
            longest_ns: nanoseconds(longest),
            longest_start_ns: nanoseconds(longest_start),
            is_gone,
            session_max_ns: nanoseconds(session_max),
        },
        workers: outcome.workers,
        by_ring: outcome.io == Io::IoUring,
        interrupted: outcome.interrupted,
        duration_ns: nanoseconds(outcome.duration),
    })
}

/// What came of a part, as it was told.
///
/// # Errors
/// `Rejected` for what is none.
pub fn decode_outcome(bytes: &[u8]) -> Result<Outcome> {
    let wire: OutcomeWire = read(bytes)?;
    let phases = wire.phases.into_iter().map(|phase| {
        let [scheduled, succeeded, failed, shed, unfinished] = phase.accounting;
        Ok(PhaseOutcome {
            cells: cells_from_wire(phase.cells)?,
            accounting: Accounting { scheduled, succeeded, failed, shed, unfinished },
            start: Duration::from_nanos(phase.start_ns),
            duration: Duration::from_nanos(phase.duration_ns),
        })
    });
    let errors = wire.errors.into_iter().map(|(kind, message, count)| {
        let kind = ErrorKind::ALL.get(kind).copied().unwrap_or(ErrorKind::Bug);
        ErrorSample { kind, message, count }
    });
    let RecoveryWire { outages, gone_ns, longest_ns, longest_start_ns, is_gone, session_max_ns } = wire.recovery;
    Ok(Outcome {
        phases: phases.collect::<Result<_>>()?,
        lateness: from_wire(wire.lateness.as_deref())?.unwrap_or_default(),
        errors: errors.collect(),
        reconnects: wire.reconnects,
        connects_failed: wire.connects_failed,
        recovery: Recovery {
            outages,
            gone: Duration::from_nanos(gone_ns),
            longest: Duration::from_nanos(longest_ns),
            longest_start: Duration::from_nanos(longest_start_ns),
            is_gone,
            session_max: Duration::from_nanos(session_max_ns),
        },
        workers: wire.workers,
        io: if wire.by_ring { Io::IoUring } else { Io::Epoll },
        interrupted: wire.interrupted,
        duration: Duration::from_nanos(wire.duration_ns),
    })
}

fn cells_to_wire(cells: &OperationCells) -> Result<Vec<CellWire>> {
    let cells = cells.iter().map(|(operation, cell)| {
        Ok(CellWire {
            operation,
            succeeded: cell.succeeded,
            failed: cell.failed,
            errors: cell.errors.to_vec(),
            latency: to_wire(Some(&cell.latency))?,
            service_time: to_wire(cell.service_time.as_deref())?,
            queueing_time: to_wire(cell.queueing_time.as_deref())?,
        })
    });
    cells.collect()
}

fn cells_from_wire(wire: Vec<CellWire>) -> Result<OperationCells> {
    let mut cells = OperationCells::default();
    for told in wire {
        let mut cell = Cell { succeeded: told.succeeded, failed: told.failed, ..Cell::default() };
        for (count, told) in cell.errors.iter_mut().zip(told.errors) {
            *count = told;
        }
        cell.latency = from_wire(told.latency.as_deref())?.unwrap_or_default();
        cell.service_time = from_wire(told.service_time.as_deref())?.map(Box::new);
        cell.queueing_time = from_wire(told.queueing_time.as_deref())?.map(Box::new);
        cells.add(told.operation, &cell);
    }
    Ok(cells)
}

/// Nothing for an empty one: absent and empty add up to the same.
fn to_wire(histogram: Option<&Histogram>) -> Result<Option<String>> {
    let Some(histogram) = histogram.filter(|histogram| !histogram.is_empty()) else { return Ok(None) };
    let bytes = histogram.encode().map_err(|error| Error::bug(format!("a histogram cannot be told: {error}")))?;
    Ok(Some(STANDARD.encode(bytes)))
}

fn from_wire(text: Option<&str>) -> Result<Option<Histogram>> {
    let Some(text) = text else { return Ok(None) };
    let bytes = STANDARD.decode(text).map_err(|error| unreadable(&error))?;
    Histogram::decode(&bytes).map(Some).map_err(|error| unreadable(&error))
}

fn written(wire: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(wire).map_err(|error| Error::bug(format!("a part of a run cannot be told: {error}")))
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    if bytes.len() > BYTES_MAX {
        return Err(unreadable(&format!("it has {} bytes", bytes.len())));
    }
    serde_json::from_slice(bytes).map_err(|error| unreadable(&error))
}

fn unreadable(why: &dyn std::fmt::Display) -> Error {
    Error::rejected(format!("what an agent told of its part cannot be read: {why}"))
}

/// A run lasts a month at most.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
