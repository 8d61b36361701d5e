//! How values become columns and columns values.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use experiment::{Metric, Record, SampledOperation, Status};
use jiff::Timestamp;
use stats::Histogram;

use crate::database::Row;
use crate::owner::Owner;
use crate::{Error, Result};

/// Names of gauges that are kept for good, in a process: a damaged file must not grow it without end.
const GAUGE_NAMES_MAX: usize = 1_024;

/// A row of `runs` without its record.
pub(crate) struct RunRow {
    pub(crate) key: i64,
    pub(crate) status: Status,
    pub(crate) owner: Owner,
}

impl RunRow {
    /// The columns that [`read`](Self::read) expects first in a row.
    pub(crate) const COLUMNS: &str = "runs.key, runs.status, coalesce(runs.owner_process_id, 0), \
         coalesce(runs.owner_start_ticks, 0), coalesce(runs.owner_boot_id, ''), coalesce(runs.owner_namespace, '')";
    /// How many they are.
    pub(crate) const WIDTH: usize = 6;

    pub(crate) fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            key: row.get(0)?,
            status: status(&row.get::<String>(1)?),
            owner: Owner {
                process_id: row.get(2)?,
                start_ticks: row.get(3)?,
                boot_id: row.get(4)?,
                namespace: row.get(5)?,
            },
        })
    }
}

/// The status of a name; one that is not known here is taken for a failure.
pub(crate) fn status(name: &str) -> Status {
    let all = [Status::Running, Status::Completed, Status::Interrupted, Status::Failed];
    all.into_iter().find(|status| status.name() == name).unwrap_or(Status::Failed)
}

/// The metric of a name.
pub(crate) fn metric(name: &str) -> Option<Metric> {
    Metric::ALL.into_iter().find(|metric| metric.name() == name)
}

pub(crate) fn timestamp(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

pub(crate) fn record(json: &str) -> Result<Record> {
    serde_json::from_str(json)
        .map_err(|error| Error::Damaged { what: "the record of a run".to_owned(), reason: error.to_string() })
}

pub(crate) fn json_of(record: &Record) -> Result<String> {
    serde_json::to_string(record)
        .map_err(|error| Error::Damaged { what: "a record that is to be kept".to_owned(), reason: error.to_string() })
}

/// A histogram as a blob; nothing for an empty one, which is most of those of a sample.
pub(crate) fn encode(histogram: &Histogram) -> Result<Option<Vec<u8>>> {
    if histogram.is_empty() {
        return Ok(None);
    }
    histogram.encode().map(Some).map_err(|error| damaged(&error))
}

pub(crate) fn decode(blob: Option<&[u8]>) -> Result<Histogram> {
    blob.map_or_else(|| Ok(Histogram::new()), |blob| Histogram::decode(blob).map_err(|error| damaged(&error)))
}

fn damaged(error: &stats::HistogramError) -> Error {
    Error::Damaged { what: "a histogram".to_owned(), reason: error.to_string() }
}

/// One operation of a sample as it is kept, decoded one at a time: a histogram takes 270 kB in memory.
pub(crate) struct SampleRow {
    pub(crate) second: u64,
    pub(crate) phase: u16,
    pub(crate) operation: String,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    latency: Option<Vec<u8>>,
}

impl SampleRow {
    /// The columns that [`read`](Self::read) expects.
    pub(crate) const COLUMNS: &str = "second, phase, operation, succeeded, failed, latency";

    pub(crate) fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            second: row.get(0)?,
            phase: row.get(1)?,
            operation: row.get(2)?,
            succeeded: row.get(3)?,
            failed: row.get(4)?,
            latency: row.get(5)?,
        })
    }

    pub(crate) fn latency(&self) -> Result<Histogram> {
        decode(self.latency.as_deref())
    }

    pub(crate) fn into_operation(self) -> Result<SampledOperation> {
        let latency = self.latency()?;
        let Self { phase, operation, succeeded, failed, .. } = self;
        Ok(SampledOperation { phase, operation, succeeded, failed, latency })
    }
}

/// The same name, for good: gauges are named by constants while they are measured. `None` past a limit.
pub(crate) fn gauge_name(name: &str) -> Option<&'static str> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Some(known);
    }
    if names.len() >= GAUGE_NAMES_MAX {
        return None;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    Some(kept)
}
