//! How a run's start, seconds and end are written, each as often as need be: what is there already is replaced by the same.

use experiment::{HistogramRecord, Record, SampleRecord, Status};
use uuid::Uuid;

use crate::database::{Transaction, Value};
use crate::owner::Owner;
use crate::service::{Job, holds};
use crate::{Result, rows};

/// A second of a run, encoded.
#[derive(Debug, Clone)]
pub(crate) struct Second {
    /// From the run's start.
    number: u64,
    gauges: String,
    operations: Vec<Operation>,
}

/// One operation of it.
#[derive(Debug, Clone)]
struct Operation {
    phase: u16,
    name: String,
    succeeded: u64,
    failed: u64,
    latency: Option<Vec<u8>>,
}

/// The end of a run, encoded.
#[derive(Debug)]
pub(crate) struct End {
    id: Uuid,
    /// As whose it is told, where a service claimed the run.
    job: Option<Job>,
    row: Vec<Value>,
    start: Vec<Value>,
    histograms: Vec<Vec<Value>>,
}

impl Second {
    /// Of that sample.
    ///
    /// # Errors
    /// `Damaged` for a histogram that cannot be encoded.
    pub(crate) fn of(sample: &SampleRecord) -> Result<Self> {
        let gauges = sample.gauges.iter().map(|(name, value)| ((*name).to_owned(), serde_json::Value::from(*value)));
        let operations = sample.operations.iter().map(|operation| {
            Ok(Operation {
                phase: operation.phase,
                name: operation.operation.clone(),
                succeeded: operation.succeeded,
                failed: operation.failed,
                latency: rows::encode(&operation.latency)?,
            })
        });
        Ok(Self {
            number: sample.second,
            gauges: serde_json::Value::Object(gauges.collect()).to_string(),
            operations: operations.collect::<Result<_>>()?,
        })
    }

    /// Writes it as that run's.
    ///
    /// # Errors
    /// What writing may bring.
    pub(crate) fn write(&self, transaction: &mut Transaction<'_>, run: i64) -> Result<()> {
        transaction.execute(
            "INSERT INTO seconds (run, second, heard_at_us, gauges) VALUES (?1, ?2, {now}, ?3) \
             ON CONFLICT (run, second) DO UPDATE SET heard_at_us = excluded.heard_at_us, gauges = excluded.gauges",
            &[run.into(), self.number.into(), self.gauges.as_str().into()],
        )?;
        for Operation { phase, name, succeeded, failed, latency } in &self.operations {
            transaction.execute(
                "INSERT INTO samples (run, second, phase, operation, succeeded, failed, latency) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (run, second, phase, operation) DO UPDATE SET \
                 succeeded = excluded.succeeded, failed = excluded.failed, latency = excluded.latency",
                &[
                    run.into(),
                    self.number.into(),
                    (*phase).into(),
                    name.as_str().into(),
                    (*succeeded).into(),
                    (*failed).into(),
                    latency.as_deref().into(),
                ],
            )?;
        }
        Ok(())
    }
}

impl End {
    /// Of that record.
    ///
    /// # Errors
    /// `Damaged` for what cannot be encoded.
    pub(crate) fn of(record: &Record, histograms: &[HistogramRecord]) -> Result<Self> {
        let json = rows::json_of(record)?;
        let histograms = histograms.iter().map(|kept| {
            // What was never measured is not kept: absent and empty are the same to whoever reads.
            let blob = rows::encode(&kept.histogram)?;
            Ok(blob.map(|blob| {
                vec![kept.phase.into(), kept.operation.as_str().into(), kept.metric.name().into(), blob.into()]
            }))
        });
        Ok(Self {
            id: record.id,
            job: None,
            row: end_of(record, &json),
            start: start_of(record, &json),
            histograms: histograms.filter_map(Result::transpose).collect::<Result<_>>()?,
        })
    }

    /// Of which run.
    pub(crate) fn run(&self) -> Uuid {
        self.id
    }

    /// The same, told by whoever claimed the run.
    pub(crate) fn by(self, job: Job) -> Self {
        Self { job: Some(job), ..self }
    }

    /// Writes it; a run whose start was never kept is kept whole. Of a run that was taken away from whoever tells this, and
    /// has been closed since, it changes nothing.
    ///
    /// # Errors
    /// What writing may bring.
    pub(crate) fn write(&self, transaction: &mut Transaction<'_>) -> Result<()> {
        if let Some(job) = &self.job
            && !holds(transaction, job)?
            && !goes_on(transaction, self.id)?
        {
            return Ok(());
        }
        let key = match key_of(transaction, self.id)? {
            Some(key) => key,
            None => insert(transaction, &self.start)?,
        };
        update(transaction, key, &self.row)?;
        transaction.execute("DELETE FROM histograms WHERE run = ?1", &[key.into()])?;
        for histogram in &self.histograms {
            let values: Vec<_> = std::iter::once(key.into()).chain(histogram.iter().cloned()).collect();
            transaction.execute(
                "INSERT INTO histograms (run, phase, operation, metric, histogram) VALUES (?1, ?2, ?3, ?4, ?5)",
                &values,
            )?;
        }
        Ok(())
    }
}

/// Writes the start of a run and returns its key. One that is there already, and is the same process's, is taken for the
/// same start.
///
/// # Errors
/// What writing may bring; another's run of that id is one.
pub(crate) fn start(transaction: &mut Transaction<'_>, record: &Record, json: &str, owner: &Owner) -> Result<i64> {
    let owned = [
        owner.process_id.into(),
        owner.start_ticks.into(),
        owner.boot_id.as_str().into(),
        owner.namespace.as_str().into(),
    ];
    let same = "SELECT key FROM runs WHERE id = ?5 AND status = 'running' AND owner_process_id = ?1 \
                AND owner_start_ticks = ?2 AND owner_boot_id = ?3 AND owner_namespace = ?4";
    let asked: Vec<_> = owned.iter().cloned().chain([record.id.to_string().into()]).collect();
    if let Some(row) = transaction.query_one(same, &asked)? {
        return row.get(0);
    }
    let key = insert(transaction, &start_of(record, json))?;
    if record.status != Status::Running {
        update(transaction, key, &end_of(record, json))?;
    }
    let values: Vec<_> = owned.into_iter().chain([key.into()]).collect();
    transaction.execute(
        "UPDATE runs SET owner_process_id = ?1, owner_start_ticks = ?2, owner_boot_id = ?3, owner_namespace = ?4, \
         heard_at_us = {now} WHERE key = ?5",
        &values,
    )?;
    Ok(key)
}

/// Writes what is known of the end of a run that was left behind, unless somebody else did. Returns whether it did.
///
/// # Errors
/// What writing may bring.
pub(crate) fn settle(transaction: &mut Transaction<'_>, key: i64, record: &Record, json: &str) -> Result<bool> {
    let query = "SELECT count(*) FROM runs WHERE key = ?1 AND status = 'running'";
    let is_left_behind = transaction.query_one(query, &[key.into()])?.map_or(Ok(false), |row| row.get(0))?;
    if is_left_behind {
        update(transaction, key, &end_of(record, json))?;
    }
    Ok(is_left_behind)
}

/// Says that a run goes on.
///
/// # Errors
/// What writing may bring.
pub(crate) fn hear(transaction: &mut Transaction<'_>, key: i64) -> Result<()> {
    let statement = "UPDATE runs SET heard_at_us = {now} WHERE key = ?1 AND status = 'running'";
    transaction.execute(statement, &[key.into()]).map(drop)
}

fn key_of(transaction: &mut Transaction<'_>, run: Uuid) -> Result<Option<i64>> {
    let found = transaction.query_one("SELECT key FROM runs WHERE id = ?1", &[run.to_string().into()])?;
    found.map(|row| row.get(0)).transpose()
}

/// Whether nobody has said yet how it ended.
fn goes_on(transaction: &mut Transaction<'_>, run: Uuid) -> Result<bool> {
    let query = "SELECT key FROM runs WHERE id = ?1 AND status = 'running'";
    Ok(transaction.query_one(query, &[run.to_string().into()])?.is_some())
}

fn start_of(record: &Record, json: &str) -> Vec<Value> {
    vec![
        record.id.to_string().into(),
        record.name.as_str().into(),
        record.status.name().into(),
        record.started_at.as_microsecond().into(),
        record.ended_at.as_microsecond().into(),
        record.target.driver.as_str().into(),
        record.workload.name.as_str().into(),
        record.workload.variant.as_deref().into(),
        json.into(),
    ]
}

fn insert(transaction: &mut Transaction<'_>, start: &[Value]) -> Result<i64> {
    let statement = "INSERT INTO runs (id, name, status, started_at_us, ended_at_us, driver, workload, variant, record) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING key";
    transaction.query_one(statement, start)?.map_or(Ok(0), |row| row.get(0))
}

/// What a run's end makes known.
fn end_of(record: &Record, json: &str) -> Vec<Value> {
    vec![
        record.name.as_str().into(),
        record.status.name().into(),
        record.ended_at.as_microsecond().into(),
        record.throughput_per_second.into(),
        record.total.latency_us.p99.into(),
        record.accounting.failed.into(),
        record.verdict.valid.into(),
        json.into(),
    ]
}

/// Writes it. Nobody owns a run that has ended.
fn update(transaction: &mut Transaction<'_>, key: i64, end: &[Value]) -> Result<()> {
    let values: Vec<_> = end.iter().cloned().chain([key.into()]).collect();
    transaction.execute(
        "UPDATE runs SET name = ?1, status = ?2, ended_at_us = ?3, throughput_per_second = ?4, latency_us_p99 = ?5, \
         failed = ?6, valid = ?7, record = ?8, owner_process_id = NULL, owner_start_ticks = NULL, owner_boot_id = NULL, \
         owner_namespace = NULL WHERE key = ?9",
        &values,
    )?;
    Ok(())
}
