//! A run is kept while it goes on: its start, each second, its end.

use std::collections::HashMap;

use experiment::{HistogramRecord, Record, SampleRecord, Sink, Status};
use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use crate::{Error, Result, Results, rows};

/// Runs that this process has started, with their keys.
pub(crate) type Active = HashMap<Uuid, i64>;

/// How surely a transaction is on the disk when it is acknowledged.
#[derive(Clone, Copy)]
enum Durability {
    /// Survives a power cut: starts and ends.
    Full,
    /// Survives the death of the process; a power cut may take the last seconds.
    Normal,
}

impl Sink for Results {
    fn started(&mut self, record: &Record) -> store::Result<()> {
        Ok(self.insert_run(record)?)
    }

    fn sampled(&mut self, run: Uuid, sample: &SampleRecord) -> store::Result<()> {
        Ok(self.insert_sample(run, sample)?)
    }

    fn ended(&mut self, record: &Record, histograms: &[HistogramRecord]) -> store::Result<()> {
        Ok(self.finish_run(record, histograms)?)
    }
}

impl Results {
    fn insert_run(&mut self, record: &Record) -> Result<()> {
        let json = rows::json_of(record)?;
        let owner = self.owner.clone();
        let key = self.write(Durability::Full, |transaction| {
            insert_record(transaction, record, &json)?;
            let key = transaction.last_insert_rowid();
            transaction.execute(
                "UPDATE runs SET owner_process_id = ?2, owner_start_ticks = ?3, owner_boot_id = ?4, owner_namespace = ?5 \
                 WHERE key = ?1",
                params![key, owner.process_id, owner.start_ticks.cast_signed(), owner.boot_id, owner.namespace],
            )?;
            Ok(key)
        })?;
        self.active.insert(record.id, key);
        Ok(())
    }

    fn insert_sample(&mut self, run: Uuid, sample: &SampleRecord) -> Result<()> {
        let key = *self.active.get(&run).ok_or_else(|| Error::NotFound { asked: run.to_string(), near: None })?;
        let gauges: serde_json::Map<_, _> =
            sample.gauges.iter().map(|(name, value)| ((*name).to_owned(), serde_json::Value::from(*value))).collect();
        let gauges = serde_json::Value::Object(gauges).to_string();
        let blobs: Vec<_> =
            sample.operations.iter().map(|operation| rows::encode(&operation.latency)).collect::<Result<_>>()?;
        let second = sample.second.cast_signed();
        self.write(Durability::Normal, |transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO seconds (run, second, heard_at_us, gauges) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![key, second, Timestamp::now().as_microsecond(), gauges])?;
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO samples (run, second, phase, operation, succeeded, failed, latency) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for (operation, blob) in sample.operations.iter().zip(&blobs) {
                let (succeeded, failed) = (operation.succeeded.cast_signed(), operation.failed.cast_signed());
                insert.execute(params![key, second, operation.phase, operation.operation, succeeded, failed, blob])?;
            }
            Ok(())
        })
    }

    fn finish_run(&mut self, record: &Record, histograms: &[HistogramRecord]) -> Result<()> {
        let json = rows::json_of(record)?;
        let blobs: Vec<_> = histograms.iter().map(|kept| rows::encode(&kept.histogram)).collect::<Result<_>>()?;
        self.write(Durability::Full, |transaction| {
            let key = if let Some(key) = key_of(transaction, record.id)? {
                update_record(transaction, key, record, &json)?;
                key
            } else {
                insert_record(transaction, record, &json)?;
                transaction.last_insert_rowid()
            };
            transaction.execute("DELETE FROM histograms WHERE run = ?1", [key])?;
            let mut insert = transaction.prepare_cached(
                "INSERT INTO histograms (run, phase, operation, metric, histogram) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for (kept, blob) in histograms.iter().zip(&blobs) {
                // What was never measured is not kept: absent and empty are the same to whoever reads.
                if blob.is_some() {
                    insert.execute(params![key, kept.phase, kept.operation, kept.metric.name(), blob])?;
                }
            }
            Ok(())
        })?;
        self.active.remove(&record.id);
        Ok(())
    }

    /// Deletes a run with all that belongs to it, and gives the room back.
    ///
    /// # Errors
    /// `NotFound`; `StillRunning` where its process lives; what writing may bring.
    pub fn delete(&mut self, run: Uuid) -> Result<()> {
        if self.status(run)? == Status::Running {
            return Err(Error::StillRunning { run: run.to_string() });
        }
        self.write(Durability::Full, |transaction| {
            transaction.execute("DELETE FROM runs WHERE id = ?1", [run.to_string()])
        })?;
        self.connection.execute_batch("PRAGMA incremental_vacuum").map_err(self.failed())
    }

    fn write<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T> {
        self.require_writable()?;
        in_transaction(&mut self.connection, durability, work).map_err(self.failed())
    }

    /// Writes the record of a run that was left behind, unless somebody else did in the meantime.
    pub(crate) fn settle_run(&mut self, key: i64, record: &Record) -> Result<bool> {
        let json = rows::json_of(record)?;
        self.write(Durability::Full, |transaction| {
            let query = "SELECT count(*) FROM runs WHERE key = ?1 AND status = 'running'";
            let is_left_behind: bool = transaction.query_row(query, [key], |row| row.get(0))?;
            if is_left_behind {
                update_record(transaction, key, record, &json)?;
            }
            Ok(is_left_behind)
        })
    }
}

fn in_transaction<T>(
    connection: &mut Connection,
    durability: Durability,
    work: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
) -> Result<T, rusqlite::Error> {
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Normal => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    // Immediate: the wait for another writer is at the start, where the busy time-out covers it.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}

fn key_of(transaction: &Transaction<'_>, run: Uuid) -> Result<Option<i64>, rusqlite::Error> {
    use rusqlite::OptionalExtension;
    transaction.query_row("SELECT key FROM runs WHERE id = ?1", [run.to_string()], |row| row.get(0)).optional()
}

fn insert_record(transaction: &Transaction<'_>, record: &Record, json: &str) -> Result<(), rusqlite::Error> {
    transaction.execute(
        "INSERT INTO runs (id, name, status, started_at_us, ended_at_us, driver, workload, variant, record) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            record.id.to_string(),
            record.name,
            record.status.name(),
            record.started_at.as_microsecond(),
            record.ended_at.as_microsecond(),
            record.target.driver,
            record.workload.name,
            record.workload.variant,
            json
        ],
    )?;
    if record.status != Status::Running {
        update_record(transaction, transaction.last_insert_rowid(), record, json)?;
    }
    Ok(())
}

/// Writes what a run's end makes known. Nobody owns a run that has ended.
fn update_record(transaction: &Transaction<'_>, key: i64, record: &Record, json: &str) -> Result<(), rusqlite::Error> {
    transaction.execute(
        "UPDATE runs SET name = ?2, status = ?3, ended_at_us = ?4, throughput_per_second = ?5, latency_us_p99 = ?6, \
         failed = ?7, valid = ?8, record = ?9, owner_process_id = NULL, owner_start_ticks = NULL, owner_boot_id = NULL, \
         owner_namespace = NULL WHERE key = ?1",
        params![
            key,
            record.name,
            record.status.name(),
            record.ended_at.as_microsecond(),
            record.throughput_per_second,
            record.total.latency_us.p99,
            record.accounting.failed.cast_signed(),
            record.verdict.valid,
            json
        ],
    )?;
    Ok(())
}
