//! What becomes of the record of a run whose process died: the figures of the seconds that were kept.

use std::collections::BTreeMap;

use experiment::{AccountingRecord, OperationRecord, Record, Status};
use jiff::SignedDuration;
use stats::Histogram;

use crate::Result;
use crate::rows::SampleRow;

/// Why the figures are not those of a whole run.
const REASON: &str = "the process that carried the run out ended before the run did: the figures are those of the seconds \
                      that were kept; operations that were under way are not among them";

/// The operations of one place, summed up second by second.
#[derive(Default)]
struct Summed {
    succeeded: u64,
    failed: u64,
    latency: Histogram,
}

impl Summed {
    fn add(&mut self, row: &SampleRow, latency: &Histogram) {
        self.succeeded += row.succeeded;
        self.failed += row.failed;
        self.latency.merge(latency);
    }

    fn record(&self, name: &str) -> OperationRecord {
        let latency_us = self.latency.summary();
        OperationRecord {
            name: name.to_owned(),
            succeeded: self.succeeded,
            failed: self.failed,
            latency_us,
            service_time_us: latency_us,
            ..OperationRecord::default()
        }
    }

    fn accounting(&self) -> AccountingRecord {
        let Self { succeeded, failed, .. } = *self;
        AccountingRecord { scheduled: succeeded + failed, succeeded, failed, shed: 0, unfinished: 0 }
    }
}

/// Sums samples up as the end of a run would have, as far as samples tell.
#[derive(Default)]
pub(crate) struct Settlement {
    total: Summed,
    operations: BTreeMap<String, Summed>,
    seconds: u64,
    second_last: Option<u64>,
}

impl Settlement {
    /// Adds a row of a sample; rows come in order of their seconds.
    pub(crate) fn add(&mut self, record: &Record, row: &SampleRow) -> Result<()> {
        let is_recorded = record.phases.get(usize::from(row.phase)).is_none_or(|phase| phase.recorded);
        if !is_recorded {
            return Ok(());
        }
        if self.second_last != Some(row.second) {
            self.seconds += 1;
            self.second_last = Some(row.second);
        }
        let latency = row.latency()?;
        self.total.add(row, &latency);
        self.operations.entry(row.operation.clone()).or_default().add(row, &latency);
        Ok(())
    }

    /// Writes the figures into the record of the run, which `seconds` seconds are known of.
    pub(crate) fn write_into(self, record: &mut Record, seconds: u64) {
        record.status = Status::Interrupted;
        // What it had taken over from another run was not measured in its own time.
        let own = seconds - record.resumed.as_ref().map_or(0, |resumed| resumed.seconds);
        let heard = SignedDuration::from_secs(own.try_into().unwrap_or(0));
        let last = record.started_at.saturating_add(heard).unwrap_or(record.started_at);
        record.ended_at = record.ended_at.max(last);
        record.accounting = self.total.accounting();
        record.duration_seconds = self.seconds as f64;
        record.throughput_per_second =
            if self.seconds == 0 { 0.0 } else { self.total.succeeded as f64 / self.seconds as f64 };
        record.operations = self.operations.iter().map(|(name, summed)| summed.record(name)).collect();
        record.total = self.total.record("total");
        record.verdict.valid = false;
        record.verdict.reasons.push(REASON.to_owned());
    }
}
