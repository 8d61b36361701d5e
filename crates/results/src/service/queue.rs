//! The queue of runs: who carries out which, never two at the same time on one target, and none twice.
//!
//! A run is *enqueued* with its experiment in one transaction, *claimed* by one process, *heard of* once a second while it
//! goes on, and *over*. A claim takes the lease of the run's target and a fencing token, a number that only ever grows: what
//! a process says of a run counts only while the token is the run's. A process that died is found by its number where both
//! share a machine, and by its silence where they do not; what it had claimed is then over, and its token is worth nothing.

use std::time::{Duration, Instant};

use experiment::Status;
use jiff::Timestamp;
use uuid::Uuid;

use super::experiments::{self, ExperimentStatus};
use crate::database::{Durability, Row, Transaction, Value, Writers};
use crate::owner::Owner;
use crate::{Error, Result, Results, rows};

/// The tables, in the words that both databases read.
pub(crate) const TABLES: &str = "
    CREATE TABLE queue (
        key {key},
        run TEXT NOT NULL UNIQUE,
        experiment TEXT NOT NULL,
        state TEXT NOT NULL,
        priority INTEGER NOT NULL,
        queued_at_us INTEGER NOT NULL,
        target TEXT,
        reruns INTEGER NOT NULL,
        fence INTEGER NOT NULL,
        cancelled INTEGER NOT NULL,
        heard_at_us INTEGER NOT NULL,
        outcome TEXT,
        reason TEXT,
        owner_process_id INTEGER,
        owner_start_ticks INTEGER,
        owner_boot_id TEXT,
        owner_namespace TEXT
    );
    CREATE INDEX queue_by_turn ON queue (state, priority, queued_at_us);
    CREATE INDEX queue_by_experiment ON queue (experiment);
    CREATE TABLE leases (
        target TEXT PRIMARY KEY,
        run TEXT,
        fence INTEGER NOT NULL
    );";

/// Which runs go on where others were cut off; runs that were enqueued before there was that do not.
pub(crate) const RESUMING: &str = "
    ALTER TABLE queue ADD COLUMN resumable INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE queue ADD COLUMN resumes TEXT;";

/// The row of `leases` that counts fencing tokens; no target is called so.
const COUNTER: &str = "";

/// Another service may take a target between our look and our claim. So often in a row is bad luck; the next look is soon.
const CLAIM_ATTEMPTS: u32 = 3;

/// How long a process on another machine may be silent before its runs are taken to be over. It is heard of once a second.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Runs that are known to be heard of, for telling silence; more than any queue lets run at once.
const HEARD_MAX: usize = 4_096;

/// A run that is to wait for its turn.
#[derive(Debug, Clone, Copy)]
pub struct NewJob<'a> {
    /// Of which experiment.
    pub experiment: Uuid,
    /// The id that the run will have.
    pub run: Uuid,
    /// Greater ones go first.
    pub priority: i32,
    /// The target that it wants for itself; none for a throw-away server, which nobody else knows.
    pub target: Option<&'a str>,
    /// How often it is run again where the service dies under it.
    pub reruns: u32,
    /// Whether it is not run again from its beginning then, but goes on from the seconds that were kept.
    pub resumable: bool,
    /// The run from whose seconds it goes on.
    pub resumes: Option<Uuid>,
    /// Runs that may wait at the same time.
    pub waiting_max: u32,
}

/// What came of enqueueing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enqueued {
    /// It waits, and survives a power cut.
    Waiting,
    /// There is no such experiment.
    Unknown,
    /// That run of the experiment waits or goes on.
    Active(Uuid),
    /// So many wait already, and no more may.
    Full(u32),
}

/// A run that this process has claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Of which experiment.
    pub experiment: Uuid,
    /// The id that the run is to have.
    pub run: Uuid,
    /// The fencing token.
    pub fence: u64,
    /// The run from whose seconds it goes on; none for one that begins.
    pub resumes: Option<Uuid>,
}

/// What a heartbeat is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// The run is still this process's.
    Held,
    /// It is, and somebody wants it stopped.
    Cancelled,
    /// It is not: the load must stop, and nothing more be said of it.
    Lost,
}

/// What came of cancelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited, and never runs.
    Dequeued,
    /// It runs; its process hears of it within a second.
    Asked,
    /// It was over already.
    Over,
    /// The queue knows no such run.
    Unknown,
}

/// How a run ended.
#[derive(Debug, Clone, Copy)]
pub struct Outcome<'a> {
    /// `completed`, `failed`, `interrupted` or `cancelled`.
    pub status: ExperimentStatus,
    /// Why it failed, where it did.
    pub reason: Option<&'a str>,
    /// What it measured, as JSON, in the caller's shape.
    pub figures: Option<&'a str>,
}

/// What came of ending a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It is over.
    Over {
        /// The run of the same experiment that is enqueued in its place.
        rerun: Option<Uuid>,
    },
    /// It is not this process's any more: nothing was changed.
    Refused,
}

/// A run in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// Of which experiment.
    pub experiment: Uuid,
    /// When it was enqueued.
    pub queued_at: Timestamp,
    /// `queued`, `running`, or how it ended.
    pub status: ExperimentStatus,
    /// Why it failed, where it did.
    pub reason: Option<String>,
}

/// A run whose process died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphan {
    /// The run.
    pub run: Uuid,
    /// The run of the same experiment that is enqueued in its place.
    pub rerun: Option<Uuid>,
}

/// When runs of other machines were last heard of, by the clock of this one, so that clocks need not agree.
#[derive(Debug, Default)]
pub struct Heard(std::collections::HashMap<Uuid, (i64, Instant)>);

impl Heard {
    /// Whether nothing new was heard of a run for longer than a living process is silent.
    fn is_silent(&mut self, run: Uuid, heard_at_us: i64, now: Instant) -> bool {
        if self.0.len() >= HEARD_MAX {
            self.0.retain(|_, (_, seen)| now.duration_since(*seen) <= 2 * SILENCE_MAX);
        }
        let (heard, seen) = self.0.entry(run).or_insert((heard_at_us, now));
        if *heard != heard_at_us {
            (*heard, *seen) = (heard_at_us, now);
        }
        now.duration_since(*seen) > SILENCE_MAX
    }

    fn forget(&mut self, run: Uuid) {
        self.0.remove(&run);
    }
}

impl Results {
    /// Enqueues a run of an experiment; once this has returned it survives a power cut.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn enqueue(&mut self, job: NewJob<'_>) -> Result<Enqueued> {
        self.write(Durability::Full, |transaction| {
            // Whoever asks again with the same run did not hear that it was enqueued.
            let run = Value::from(job.run.to_string());
            if transaction.query_one("SELECT key FROM queue WHERE run = ?1", &[run])?.is_some() {
                return Ok(Enqueued::Waiting);
            }
            let id = Value::from(job.experiment.to_string());
            let found = transaction.query_one("SELECT status, run FROM experiments WHERE id = ?1", &[id])?;
            let Some(row) = found else { return Ok(Enqueued::Unknown) };
            if experiments::status(&row.get::<String>(0)?)?.is_active() {
                let run: Option<String> = row.get(1)?;
                return Ok(Enqueued::Active(run.as_deref().map(experiments::id).transpose()?.unwrap_or_default()));
            }
            let waiting = count(transaction, "waiting")?;
            if waiting >= i64::from(job.waiting_max) {
                return Ok(Enqueued::Full(job.waiting_max));
            }
            insert(transaction, job)?;
            Ok(Enqueued::Waiting)
        })
    }

    /// Claims the run whose turn it is: the greatest priority, the oldest of those, on a target that nobody has.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn claim(&mut self) -> Result<Option<Job>> {
        let owner = self.owner.clone();
        // A look without a lock, so that an idle service does not keep others from writing.
        let waiting = "SELECT key FROM queue WHERE state = 'waiting' LIMIT 1";
        if self.database.query_one(waiting, &[])?.is_none() {
            return Ok(None);
        }
        for _ in 0..CLAIM_ATTEMPTS {
            self.require_writable()?;
            let claimed = self
                .database
                .transaction_among(Durability::Full, Writers::Many, |transaction| claim(transaction, &owner))?;
            match claimed {
                Claimed::Job(job) => return Ok(Some(job)),
                Claimed::Nothing => return Ok(None),
                Claimed::Raced => {}
            }
        }
        Ok(None)
    }

    /// Says that a run goes on, and hears whether it may.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn heartbeat(&mut self, job: &Job) -> Result<Beat> {
        self.write(Durability::Normal, |transaction| hear(transaction, job))
    }

    /// Ends a run and gives its target back, where the run is still this process's. One that the end of the service
    /// interrupts waits once more where its plan says so.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn finish(&mut self, job: &Job, outcome: Outcome<'_>) -> Result<Finished> {
        self.write(Durability::Full, |transaction| {
            if !holds(transaction, job)? {
                return Ok(Finished::Refused);
            }
            Ok(Finished::Over { rerun: close(transaction, &job.run.to_string(), outcome)? })
        })
    }

    /// Closes the record of a run of this process that could not be carried out and could not say so at the time, with the
    /// figures of the seconds that are kept. Changes nothing where the record is closed already, or was never begun.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn fail_run(&mut self, run: Uuid, reason: &str) -> Result<()> {
        let found = "SELECT key, record FROM runs WHERE id = ?1 AND status = 'running'";
        let Some(row) = self.database.query_one(found, &[run.to_string().into()])? else { return Ok(()) };
        let key: i64 = row.get(0)?;
        let mut record = rows::record(&row.get::<String>(1)?)?;
        self.settle(key, &mut record)?;
        record.status = Status::Failed;
        record.verdict.reasons.clear();
        record.verdict.reasons.push(reason.to_owned());
        self.settle_run(key, &record)?;
        Ok(())
    }

    /// Takes a run out of the queue, or asks the process that carries it out to stop.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn cancel(&mut self, run: Uuid) -> Result<Cancelled> {
        let run = run.to_string();
        self.write(Durability::Full, |transaction| {
            let found = transaction.query_one("SELECT state FROM queue WHERE run = ?1", &[run.as_str().into()])?;
            let Some(row) = found else { return Ok(Cancelled::Unknown) };
            match row.get::<String>(0)?.as_str() {
                "waiting" => {
                    // A claim may have come in between: then this changes nothing, and the run is asked to stop.
                    let taken = transaction.execute(
                        "UPDATE queue SET cancelled = 1 WHERE run = ?1 AND state = 'waiting'",
                        &[run.as_str().into()],
                    )?;
                    if taken == 0 {
                        ask(transaction, &run)?;
                        return Ok(Cancelled::Asked);
                    }
                    close(transaction, &run, Outcome::of(ExperimentStatus::Cancelled))?;
                    Ok(Cancelled::Dequeued)
                }
                "claimed" => {
                    ask(transaction, &run)?;
                    Ok(Cancelled::Asked)
                }
                _ => Ok(Cancelled::Over),
            }
        })
    }

    /// Takes everything out of the queue that waits, asks everything that runs to stop, and returns what was taken out.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn cancel_all(&mut self) -> Result<Vec<Uuid>> {
        let open = self.database.query("SELECT run FROM queue WHERE state <> 'over' ORDER BY key", &[])?;
        let mut dequeued = Vec::new();
        for row in &open {
            let run = experiments::id(&row.get::<String>(0)?)?;
            if self.cancel(run)? == Cancelled::Dequeued {
                dequeued.push(run);
            }
        }
        Ok(dequeued)
    }

    /// A run as the queue knows it; none for one that never was in it.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn queue_entry(&mut self, run: Uuid) -> Result<Option<QueueEntry>> {
        let query = "SELECT experiment, queued_at_us, state, outcome, reason FROM queue WHERE run = ?1";
        let Some(row) = self.database.query_one(query, &[run.to_string().into()])? else { return Ok(None) };
        let outcome: Option<String> = row.get(3)?;
        let status = match (row.get::<String>(2)?.as_str(), outcome) {
            ("waiting", _) => ExperimentStatus::Queued,
            ("claimed", _) => ExperimentStatus::Running,
            (_, Some(outcome)) => experiments::status(&outcome)?,
            (_, None) => ExperimentStatus::Interrupted,
        };
        Ok(Some(QueueEntry {
            experiment: experiments::id(&row.get::<String>(0)?)?,
            queued_at: rows::timestamp(row.get(1)?),
            status,
            reason: row.get(4)?,
        }))
    }

    /// Where a run stands; none where nothing of it is kept.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn status_of(&mut self, run: Uuid) -> Result<Option<Status>> {
        match self.status(run) {
            Ok(status) => Ok(Some(status)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many runs wait, and how many are claimed.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn queue_lengths(&mut self) -> Result<(u64, u64)> {
        let query = "SELECT count(CASE WHEN state = 'waiting' THEN 1 END), count(CASE WHEN state = 'claimed' THEN 1 END) \
                     FROM queue WHERE state IN ('waiting', 'claimed')";
        let Some(row) = self.database.query_one(query, &[])? else { return Ok((0, 0)) };
        Ok((row.get::<i64>(0)?.unsigned_abs(), row.get::<i64>(1)?.unsigned_abs()))
    }

    /// Closes what dead processes had claimed: the run is interrupted, unless its record says how it ended, its target is
    /// free again, and where the plan says so a new run of the same experiment waits in its place.
    ///
    /// # Errors
    /// What reading and writing may bring.
    pub fn recover_queue(&mut self, heard: &mut Heard) -> Result<Vec<Orphan>> {
        let claimed = self.database.query(
            "SELECT run, fence, heard_at_us, owner_process_id, owner_start_ticks, owner_boot_id, owner_namespace \
             FROM queue WHERE state = 'claimed'",
            &[],
        )?;
        let mut dead = Vec::new();
        for row in &claimed {
            let claim = Claim::read(row)?;
            if !claim.is_alive(&self.owner, self.database.is_shared_by_hosts(), heard) {
                dead.push(claim);
            }
        }
        if dead.is_empty() {
            return Ok(Vec::new());
        }
        // First the records, which say how far their runs came.
        self.recover()?;
        let mut orphans = Vec::new();
        for claim in dead {
            let recovered = self.write(Durability::Full, |transaction| recover(transaction, claim.run, claim.fence))?;
            heard.forget(claim.run);
            orphans.extend(recovered);
        }
        Ok(orphans)
    }
}

/// What claiming brought.
enum Claimed {
    Job(Job),
    /// Nothing waits, or only for targets that are taken.
    Nothing,
    /// Another service was faster.
    Raced,
}

fn claim(transaction: &mut Transaction<'_>, owner: &Owner) -> Result<Claimed> {
    let query = "SELECT run, experiment, target, resumes FROM queue WHERE state = 'waiting' AND NOT EXISTS \
                 (SELECT 1 FROM leases WHERE leases.target = queue.target) \
                 ORDER BY priority DESC, queued_at_us, key LIMIT 1 {skip_locked}";
    let Some(row) = transaction.query_one(query, &[])? else { return Ok(Claimed::Nothing) };
    let (run, experiment): (String, String) = (row.get(0)?, row.get(1)?);
    let (target, resumes): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
    let counted = transaction.query_one(
        "INSERT INTO leases (target, fence) VALUES (?1, 1) \
         ON CONFLICT (target) DO UPDATE SET fence = leases.fence + 1 RETURNING fence",
        &[COUNTER.into()],
    )?;
    let fence: i64 = counted.map_or(Ok(1), |row| row.get(0))?;
    if let Some(target) = target {
        let taken = transaction.execute(
            "INSERT INTO leases (target, run, fence) VALUES (?1, ?2, ?3) ON CONFLICT (target) DO NOTHING",
            &[target.into(), run.as_str().into(), fence.into()],
        )?;
        if taken == 0 {
            return Ok(Claimed::Raced);
        }
    }
    transaction.execute(
        "UPDATE queue SET state = 'claimed', fence = ?2, heard_at_us = ?3, owner_process_id = ?4, \
         owner_start_ticks = ?5, owner_boot_id = ?6, owner_namespace = ?7 WHERE run = ?1",
        &[
            run.as_str().into(),
            fence.into(),
            Timestamp::now().as_microsecond().into(),
            owner.process_id.into(),
            owner.start_ticks.into(),
            owner.boot_id.as_str().into(),
            owner.namespace.as_str().into(),
        ],
    )?;
    set_status(transaction, &run, ExperimentStatus::Running, None)?;
    Ok(Claimed::Job(Job {
        experiment: experiments::id(&experiment)?,
        run: experiments::id(&run)?,
        fence: fence.unsigned_abs(),
        resumes: resumes.as_deref().map(experiments::id).transpose()?,
    }))
}

/// Whether the run is still that process's.
pub(crate) fn holds(transaction: &mut Transaction<'_>, job: &Job) -> Result<bool> {
    let query = "SELECT key FROM queue WHERE run = ?1 AND fence = ?2 AND state = 'claimed'";
    Ok(transaction.query_one(query, &[job.run.to_string().into(), fence(job).into()])?.is_some())
}

/// Says that a run goes on, and hears whether it may. Until the transaction ends nobody can take the run away, since the row
/// that says whose it is has been written.
pub(crate) fn hear(transaction: &mut Transaction<'_>, job: &Job) -> Result<Beat> {
    let held = transaction.query_one(
        "UPDATE queue SET heard_at_us = ?3 WHERE run = ?1 AND fence = ?2 AND state = 'claimed' RETURNING cancelled",
        &[job.run.to_string().into(), fence(job).into(), Timestamp::now().as_microsecond().into()],
    )?;
    Ok(match held {
        None => Beat::Lost,
        Some(row) if row.get::<i64>(0)? == 0 => Beat::Held,
        Some(_) => Beat::Cancelled,
    })
}

fn insert(transaction: &mut Transaction<'_>, job: NewJob<'_>) -> Result<()> {
    let now = Timestamp::now().as_microsecond();
    transaction.execute(
        "INSERT INTO queue (run, experiment, state, priority, queued_at_us, target, reruns, fence, cancelled, heard_at_us, \
         resumable, resumes) VALUES (?1, ?2, 'waiting', ?3, ?4, ?5, ?6, 0, 0, ?4, ?7, ?8)",
        &[
            job.run.to_string().into(),
            job.experiment.to_string().into(),
            i64::from(job.priority).into(),
            now.into(),
            job.target.map(str::to_owned).into(),
            job.reruns.into(),
            i64::from(job.resumable).into(),
            job.resumes.map(|run| run.to_string()).into(),
        ],
    )?;
    transaction.execute(
        "UPDATE experiments SET status = 'queued', run = ?2, reason = NULL, figures = NULL, version = version + 1 WHERE id = ?1",
        &[job.experiment.to_string().into(), job.run.to_string().into()],
    )?;
    Ok(())
}

impl Outcome<'_> {
    /// That status, of which there is no more to say.
    pub const fn of(status: ExperimentStatus) -> Self {
        Self { status, reason: None, figures: None }
    }
}

/// Ends a run, whoever has it, and gives its target back; returns the run that waits in its place where its plan wants one.
fn close(transaction: &mut Transaction<'_>, run: &str, outcome: Outcome<'_>) -> Result<Option<Uuid>> {
    transaction.execute(
        "UPDATE queue SET state = 'over', outcome = ?2, reason = ?3 WHERE run = ?1",
        &[run.into(), outcome.status.name().into(), outcome.reason.into()],
    )?;
    transaction.execute("DELETE FROM leases WHERE run = ?1", &[run.into()])?;
    // Agents of a run whose process died must not find that out by its silence: the target is free from now on.
    transaction.execute("UPDATE divisions SET state = 'over' WHERE run = ?1 AND state <> 'over'", &[run.into()])?;
    set_status(transaction, run, outcome.status, outcome.reason)?;
    if let Some(figures) = outcome.figures {
        transaction.execute("UPDATE experiments SET figures = ?2 WHERE run = ?1", &[run.into(), figures.into()])?;
    }
    if outcome.status == ExperimentStatus::Interrupted { rerun(transaction, run) } else { Ok(None) }
}

/// Enqueues a run in place of one that was interrupted, where its plan says so.
fn rerun(transaction: &mut Transaction<'_>, run: &str) -> Result<Option<Uuid>> {
    let query =
        "SELECT experiment, priority, target, reruns, resumable, resumes FROM queue WHERE run = ?1 AND reruns > 0";
    let Some(row) = transaction.query_one(query, &[run.into()])? else { return Ok(None) };
    let target: Option<String> = row.get(2)?;
    let resumable: bool = row.get(4)?;
    let resumes = if resumable { furthest(transaction, run, row.get::<Option<String>>(5)?.as_deref())? } else { None };
    let again = NewJob {
        experiment: experiments::id(&row.get::<String>(0)?)?,
        run: Uuid::now_v7(),
        priority: i32::try_from(row.get::<i64>(1)?).unwrap_or_default(),
        target: target.as_deref(),
        reruns: row.get::<u32>(3)? - 1,
        resumable,
        resumes,
        // It was accepted already.
        waiting_max: u32::MAX,
    };
    insert(transaction, again)?;
    Ok(Some(again.run))
}

/// Of a run that was cut off and the one that it went on from, that which came further; none where neither kept a second.
fn furthest(transaction: &mut Transaction<'_>, run: &str, earlier: Option<&str>) -> Result<Option<Uuid>> {
    let mut furthest = (0, None);
    for run in [Some(run), earlier].into_iter().flatten() {
        let query = "SELECT count(*) FROM seconds JOIN runs ON runs.key = seconds.run WHERE runs.id = ?1";
        let kept = transaction.query_one(query, &[run.into()])?.map_or(Ok(0), |row| row.get::<i64>(0))?;
        if kept > furthest.0 {
            furthest = (kept, Some(experiments::id(run)?));
        }
    }
    Ok(furthest.1)
}

/// Where the experiment stands whose newest run that is.
fn set_status(
    transaction: &mut Transaction<'_>,
    run: &str,
    status: ExperimentStatus,
    reason: Option<&str>,
) -> Result<()> {
    transaction.execute(
        "UPDATE experiments SET status = ?2, reason = ?3, version = version + 1 WHERE run = ?1",
        &[run.into(), status.name().into(), reason.into()],
    )?;
    Ok(())
}

fn ask(transaction: &mut Transaction<'_>, run: &str) -> Result<()> {
    transaction.execute("UPDATE queue SET cancelled = 1 WHERE run = ?1 AND state <> 'over'", &[run.into()])?;
    Ok(())
}

fn count(transaction: &mut Transaction<'_>, state: &str) -> Result<i64> {
    let row = transaction.query_one("SELECT count(*) FROM queue WHERE state = ?1", &[state.into()])?;
    row.map_or(Ok(0), |row| row.get(0))
}

/// Closes the claim of a dead process, unless somebody else has done so in the meantime.
fn recover(transaction: &mut Transaction<'_>, run: Uuid, fence: i64) -> Result<Option<Orphan>> {
    let name = run.to_string();
    let found = transaction.query_one(
        "SELECT queue.cancelled, runs.status FROM queue LEFT JOIN runs ON runs.id = queue.run \
         WHERE queue.run = ?1 AND queue.fence = ?2 AND queue.state = 'claimed'",
        &[name.as_str().into(), fence.into()],
    )?;
    let Some(row) = found else { return Ok(None) };
    let recorded: Option<String> = row.get(1)?;
    let status = match recorded.as_deref().map(rows::status) {
        Some(Status::Completed) => ExperimentStatus::Completed,
        Some(Status::Failed) => ExperimentStatus::Failed,
        _ if row.get::<bool>(0)? => ExperimentStatus::Cancelled,
        _ => ExperimentStatus::Interrupted,
    };
    Ok(Some(Orphan { run, rerun: close(transaction, &name, Outcome::of(status))? }))
}

/// A claim as it is kept.
struct Claim {
    run: Uuid,
    fence: i64,
    heard_at_us: i64,
    owner: Owner,
}

impl Claim {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            run: experiments::id(&row.get::<String>(0)?)?,
            fence: row.get(1)?,
            heard_at_us: row.get(2)?,
            owner: Owner {
                process_id: row.get::<Option<i64>>(3)?.and_then(|id| u32::try_from(id).ok()).unwrap_or_default(),
                start_ticks: row.get::<Option<i64>>(4)?.unwrap_or_default().cast_unsigned(),
                boot_id: row.get::<Option<String>>(5)?.unwrap_or_default(),
                namespace: row.get::<Option<String>>(6)?.unwrap_or_default(),
            },
        })
    }

    /// Whether the process that claimed it lives: looked at where it can be, else by whether it is heard of.
    fn is_alive(&self, observer: &Owner, is_shared: bool, heard: &mut Heard) -> bool {
        let is_here = self.owner.boot_id == observer.boot_id && self.owner.namespace == observer.namespace;
        if is_here || !is_shared {
            let heard_at = rows::timestamp(self.heard_at_us);
            return self.owner.is_alive(observer, heard_at, Timestamp::now());
        }
        !heard.is_silent(self.run, self.heard_at_us, Instant::now())
    }
}

/// A token as the database counts it.
fn fence(job: &Job) -> i64 {
    job.fence.cast_signed()
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
