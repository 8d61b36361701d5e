//! A run is kept while it goes on: its start, each second, its end.
//!
//! In a file each is written when it is told. On a server seconds and the end go through a [`Keeper`], so that a server that
//! is slow, or started again in the middle of a run, neither holds the run up nor loses anything.

use std::collections::HashMap;

use experiment::{Artifact, HistogramRecord, Record, SampleRecord, Sink, Status};
use uuid::Uuid;

use crate::database::{Durability, Transaction};
use crate::keeper::Keeper;
use crate::kept::{self, End, Second};
use crate::service::{Beat, Job, hear};
use crate::{Error, Result, Results, rows};

/// Runs that this process has started, with their keys.
pub(crate) type Active = HashMap<Uuid, i64>;

impl Sink for Results {
    fn started(&mut self, record: &Record) -> store::Result<()> {
        self.insert_run(record, None)?;
        Ok(())
    }

    fn sampled(&mut self, run: Uuid, sample: &SampleRecord) -> store::Result<()> {
        Ok(self.insert_sample(run, sample)?)
    }

    fn attached(&mut self, run: Uuid, artifact: &Artifact) -> store::Result<()> {
        Ok(self.attach(run, artifact)?)
    }

    fn ended(&mut self, record: &Record, histograms: &[HistogramRecord]) -> store::Result<()> {
        Ok(self.finish_run(End::of(record, histograms)?)?)
    }
}

impl Results {
    /// Keeps the start of a run that this process has claimed, where it is still its own: both in one transaction, so that a
    /// run that was taken away never begins. Returns whether it was kept.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn start_claimed(&mut self, job: &Job, record: &Record) -> Result<bool> {
        self.insert_run(record, Some(job))
    }

    fn insert_run(&mut self, record: &Record, job: Option<&Job>) -> Result<bool> {
        let json = rows::json_of(record)?;
        let owner = self.owner.clone();
        let mut start = || {
            self.write(Durability::Full, |transaction| {
                if let Some(job) = job
                    && hear(transaction, job)? == Beat::Lost
                {
                    return Ok(None);
                }
                kept::start(transaction, record, &json, &owner).map(Some)
            })
        };
        let key = match start() {
            // Whether it was kept is not known; to keep it once more does no harm.
            Err(Error::Unreachable { .. }) => start()?,
            started => started?,
        };
        let Some(key) = key else { return Ok(false) };
        self.active.insert(record.id, key);
        if self.database.is_shared_by_hosts() {
            let location = self.location().clone();
            self.keeper.get_or_insert_with(|| Keeper::start(location)).begin(key);
        }
        Ok(true)
    }

    fn insert_sample(&mut self, run: Uuid, sample: &SampleRecord) -> Result<()> {
        let key = *self.active.get(&run).ok_or_else(|| Error::NotFound { asked: run.to_string(), near: None })?;
        let second = Second::of(sample)?;
        match &self.keeper {
            Some(keeper) => keeper.keep(key, second),
            None => self.write(Durability::Normal, |transaction| second.write(transaction, key)),
        }
    }

    /// Keeps the end of a run that this process claimed. Where the run was taken away, and closed, nothing is changed.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn end_claimed(&mut self, job: &Job, record: &Record, histograms: &[HistogramRecord]) -> Result<()> {
        self.finish_run(End::of(record, histograms)?.by(job.clone()))
    }

    fn finish_run(&mut self, end: End) -> Result<()> {
        let run = end.run();
        let active = self.active.get(&run).copied();
        match (&self.keeper, active) {
            (Some(keeper), Some(key)) => keeper.end(key, end)?,
            _ => self.write(Durability::Full, |transaction| end.write(transaction))?,
        }
        self.active.remove(&run);
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
            transaction.execute("DELETE FROM runs WHERE id = ?1", &[run.to_string().into()])
        })?;
        self.database.give_back_room()
    }

    /// A transaction, where the store can be written.
    ///
    /// # Errors
    /// `ReadOnly` or `StorageFull` where it cannot; what writing may bring.
    pub(crate) fn write<T>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T>,
    ) -> Result<T> {
        self.require_writable()?;
        self.database.transaction(durability, work)
    }

    /// Writes the record of a run that was left behind, unless somebody else did in the meantime.
    pub(crate) fn settle_run(&mut self, key: i64, record: &Record) -> Result<bool> {
        let json = rows::json_of(record)?;
        self.write(Durability::Full, |transaction| kept::settle(transaction, key, record, &json))
    }
}
