//! One load from many hosts: its parts, who drives them, and what they tell.
//!
//! Whoever runs the experiment *divides* it; agents *claim* parts, connect, and say that they are *ready*; once all are, one
//! start instant is agreed on by the store's clock. From then on each part belongs to the agent that has it: its seconds are
//! told as they end, its outcome at last. Before the start a part whose agent fell silent is given to another; after it, it
//! is lost. A fencing token, which grows with every owner, decides whose word counts, so that no part is driven twice.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use runner::Part;
use uuid::Uuid;

use crate::database::{Durability, Row, Value, Writers};
use crate::{Result, Results};

/// The tables, in the words that both databases read.
pub(crate) const TABLES: &str = "
    CREATE TABLE agents (
        key {key},
        name TEXT NOT NULL,
        since_us INTEGER NOT NULL,
        heard_at_us INTEGER NOT NULL
    );
    CREATE TABLE divisions (
        run TEXT PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
        plan TEXT NOT NULL,
        target TEXT NOT NULL,
        state TEXT NOT NULL,
        start_at_us INTEGER,
        heard_at_us INTEGER NOT NULL
    );
    CREATE TABLE parts (
        key {key},
        run TEXT NOT NULL REFERENCES divisions (run) ON DELETE CASCADE,
        part INTEGER NOT NULL,
        first_session INTEGER NOT NULL,
        sessions INTEGER NOT NULL,
        state TEXT NOT NULL,
        fence INTEGER NOT NULL,
        agent TEXT NOT NULL,
        heard_at_us INTEGER NOT NULL,
        clock_offset_us INTEGER NOT NULL,
        clock_bound_us INTEGER NOT NULL,
        cpu_percent_max REAL,
        reason TEXT,
        outcome BLOB,
        UNIQUE (run, part)
    );
    CREATE INDEX parts_by_state ON parts (state, key);
    CREATE TABLE part_seconds (
        run TEXT NOT NULL REFERENCES divisions (run) ON DELETE CASCADE,
        part INTEGER NOT NULL,
        second INTEGER NOT NULL,
        told BLOB NOT NULL,
        PRIMARY KEY (run, part, second)
    );";

/// How long an agent, or whoever divided a run, may be silent before it is taken for dead. Both are heard of once a second or
/// more often.
pub const SILENCE_MAX: Duration = Duration::from_millis(3_500);

/// Asks for the store's clock; the one that came back soonest is kept.
const CLOCK_ASKS: u32 = 8;

/// Agents that have been silent for so long are forgotten.
const AGENT_FORGOTTEN_AFTER: Duration = Duration::from_hours(24);

/// A part that an agent has claimed, with all that it takes to drive it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedPart {
    /// Of which run.
    pub run: Uuid,
    /// Its number, from 0.
    pub number: u32,
    /// Its sessions.
    pub part: Part,
    /// The fencing token.
    pub fence: u64,
    /// The plan, as JSON, without the target.
    pub plan: String,
    /// The target's URL, its password as `***`: that is never kept.
    pub target: String,
}

/// What an agent is told when it asks for its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Not all are ready.
    Wait,
    /// By the store's clock, in microseconds since the epoch.
    At(i64),
    /// The part is no longer the agent's, or the run is over.
    Lost,
}

/// What an agent is told when it is heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartBeat {
    /// The part is still the agent's.
    Held,
    /// It is, and the load must stop.
    Stop,
    /// It is not: the load must stop, and nothing more be said of it.
    Lost,
}

/// Where a part stands.
#[derive(Debug, Clone, PartialEq)]
pub struct PartStatus {
    /// Its number, from 0.
    pub number: u32,
    /// Its sessions.
    pub part: Part,
    /// How far it is.
    pub stage: Stage,
    /// The fencing token of who has it.
    pub fence: u64,
    /// Who has it; empty where nobody does.
    pub agent: String,
    /// How long nothing was heard of it; not counted while the server was down.
    pub silence: Duration,
    /// The agent's clock less the store's.
    pub clock_offset_us: i64,
    /// How far that may be off.
    pub clock_bound_us: u64,
    /// The most of its processors that the agent used in a second.
    pub cpu_percent_max: Option<f64>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// How far a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nobody has it.
    Waiting,
    /// An agent has it, and connects.
    Claimed,
    /// Its sessions are connected; the load may go on.
    Ready,
    /// It was driven to its end.
    Ended,
    /// Its agent said that it cannot go on.
    Failed,
    /// Its agent fell silent after the start.
    Lost,
}

/// What the store's clock said, and when that was by ours.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// By ours, which never jumps.
    pub at: Instant,
    /// By the store's: microseconds since the epoch.
    pub store_us: i64,
    /// Our calendar less the store's, in microseconds.
    pub offset_us: i64,
    /// How far that may be off: half of the way there and back.
    pub bound: Duration,
}

/// How a part ended, as its agent tells it.
#[derive(Debug, Clone, Copy)]
pub enum PartEnd<'a> {
    /// With that outcome, encoded.
    Outcome(&'a [u8]),
    /// It could not go on.
    Failed(&'a str),
}

impl Stage {
    const ALL: [Self; 6] = [Self::Waiting, Self::Claimed, Self::Ready, Self::Ended, Self::Failed, Self::Lost];

    const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Claimed => "claimed",
            Self::Ready => "ready",
            Self::Ended => "ended",
            Self::Failed => "failed",
            Self::Lost => "lost",
        }
    }

    /// Whether nothing more comes of it.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Failed | Self::Lost)
    }
}

impl Clock {
    /// When it will be that instant by the store's clock, by ours.
    pub fn instant(&self, store_us: i64) -> Instant {
        let away = Duration::from_micros((store_us - self.store_us).unsigned_abs());
        if store_us >= self.store_us { self.at + away } else { self.at.checked_sub(away).unwrap_or(self.at) }
    }
}

fn microseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// For whoever divides a run.
impl Results {
    /// Offers the parts of a run that has started.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn divide(&mut self, run: Uuid, plan: &str, target: &str, parts: &[Part]) -> Result<()> {
        self.write(Durability::Full, |transaction| {
            transaction.execute(
                "INSERT INTO divisions (run, plan, target, state, heard_at_us) VALUES (?1, ?2, ?3, 'waiting', {now})",
                &[run.to_string().into(), plan.into(), target.into()],
            )?;
            for (number, part) in (0_u32..).zip(parts) {
                transaction.execute(
                    "INSERT INTO parts (run, part, first_session, sessions, state, fence, agent, heard_at_us, \
                     clock_offset_us, clock_bound_us) VALUES (?1, ?2, ?3, ?4, 'waiting', 0, '', 0, 0, 0)",
                    &[run.to_string().into(), number.into(), part.first.into(), part.sessions.get().into()],
                )?;
            }
            Ok(())
        })
    }

    /// Says that whoever divided the run lives, and looks at its parts, in their order.
    ///
    /// # Errors
    /// What reading and writing may bring.
    pub fn watch_parts(&mut self, run: Uuid) -> Result<Vec<PartStatus>> {
        self.write(Durability::Normal, |transaction| {
            let statement = "UPDATE divisions SET heard_at_us = {now} WHERE run = ?1";
            transaction.execute(statement, &[run.to_string().into()])
        })?;
        self.parts(run)
    }

    /// The parts of a run, in their order; none where it was not divided.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn parts(&mut self, run: Uuid) -> Result<Vec<PartStatus>> {
        let found = self.database.query(
            "SELECT part, first_session, sessions, state, fence, agent, heard_at_us, {up}, {now}, clock_offset_us, \
             clock_bound_us, cpu_percent_max, reason FROM parts WHERE run = ?1 ORDER BY part",
            &[run.to_string().into()],
        )?;
        found.iter().map(status_of).collect()
    }

    /// Takes a part back from an agent that fell silent before the start. Returns whether it had it until now.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn take_part_back(&mut self, run: Uuid, part: &PartStatus) -> Result<bool> {
        self.replace_stage(run, part, Stage::Waiting, None)
    }

    /// Gives a part up whose agent fell silent after the start. Returns whether it had it until now.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn lose_part(&mut self, run: Uuid, part: &PartStatus, reason: &str) -> Result<bool> {
        self.replace_stage(run, part, Stage::Lost, Some(reason))
    }

    fn replace_stage(&mut self, run: Uuid, part: &PartStatus, to: Stage, reason: Option<&str>) -> Result<bool> {
        let changed = self.write(Durability::Full, |transaction| {
            transaction.execute(
                "UPDATE parts SET state = ?4, reason = ?5, fence = fence + 1 \
                 WHERE run = ?1 AND part = ?2 AND fence = ?3 AND state IN ('claimed', 'ready')",
                &[run.to_string().into(), part.number.into(), part.fence.into(), to.name().into(), reason.into()],
            )
        })?;
        Ok(changed == 1)
    }

    /// Agrees on the start: so long from now by the store's clock, where all parts are ready and were heard of. Returns
    /// whether they were.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn start_parts(&mut self, run: Uuid, margin: Duration) -> Result<bool> {
        let changed = self.write(Durability::Full, |transaction| {
            transaction.execute(
                "UPDATE divisions SET state = 'running', start_at_us = {now} + ?2 WHERE run = ?1 AND state = 'waiting' \
                 AND NOT EXISTS (SELECT 1 FROM parts WHERE parts.run = ?1 \
                 AND (parts.state <> 'ready' OR parts.heard_at_us < {now} - ?3))",
                &[run.to_string().into(), microseconds(margin).into(), microseconds(SILENCE_MAX).into()],
            )
        })?;
        Ok(changed == 1)
    }

    /// Asks all agents of a run to stop.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn stop_parts(&mut self, run: Uuid) -> Result<()> {
        self.set_division(run, "stopping")
    }

    /// Says that a run is over: nothing that agents say of it counts any more.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn close_parts(&mut self, run: Uuid) -> Result<()> {
        self.set_division(run, "over")
    }

    fn set_division(&mut self, run: Uuid, state: &str) -> Result<()> {
        self.write(Durability::Full, |transaction| {
            let statement = "UPDATE divisions SET state = ?2 WHERE run = ?1 AND state <> 'over'";
            transaction.execute(statement, &[run.to_string().into(), state.into()]).map(drop)
        })
    }

    /// The seconds that a part has told from that one on, in order, at most so many, encoded.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn part_seconds(&mut self, run: Uuid, part: u32, from: u64, limit: u32) -> Result<Vec<(u64, Vec<u8>)>> {
        let found = self.database.query(
            "SELECT second, told FROM part_seconds WHERE run = ?1 AND part = ?2 AND second >= ?3 ORDER BY second LIMIT ?4",
            &[run.to_string().into(), part.into(), from.into(), limit.into()],
        )?;
        found.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// What a part told of its end, encoded.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn part_outcome(&mut self, run: Uuid, part: u32) -> Result<Option<Vec<u8>>> {
        let query = "SELECT outcome FROM parts WHERE run = ?1 AND part = ?2";
        let found = self.database.query_one(query, &[run.to_string().into(), part.into()])?;
        found.map_or(Ok(None), |row| row.get(0))
    }
}

/// For agents.
impl Results {
    /// Makes an agent known. Returns its number.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn register_agent(&mut self, name: &str) -> Result<i64> {
        self.write(Durability::Full, |transaction| {
            let forgotten = "DELETE FROM agents WHERE heard_at_us < {now} - ?1";
            transaction.execute(forgotten, &[microseconds(AGENT_FORGOTTEN_AFTER).into()])?;
            let statement = "INSERT INTO agents (name, since_us, heard_at_us) VALUES (?1, {now}, {now}) RETURNING key";
            transaction.query_one(statement, &[name.into()])?.map_or(Ok(0), |row| row.get(0))
        })
    }

    /// Claims a part that nobody has, of a run whose maker lives; none where there is none.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn claim_part(&mut self, agent: i64, name: &str) -> Result<Option<ClaimedPart>> {
        self.require_writable()?;
        // Agents do not wait for one another: each locks the part that it takes.
        self.database.transaction_among(Durability::Full, Writers::Many, |transaction| {
            transaction.execute("UPDATE agents SET heard_at_us = {now} WHERE key = ?1", &[agent.into()])?;
            let found = transaction.query_one(
                "SELECT run, part, first_session, sessions FROM parts WHERE state = 'waiting' AND EXISTS \
                 (SELECT 1 FROM divisions WHERE divisions.run = parts.run AND divisions.state = 'waiting' \
                 AND divisions.heard_at_us > {now} - ?1) ORDER BY key LIMIT 1 {skip_locked}",
                &[microseconds(SILENCE_MAX).into()],
            )?;
            let Some(found) = found else { return Ok(None) };
            let (run, number): (String, u32) = (found.get(0)?, found.get(1)?);
            let claimed = transaction.query_one(
                "UPDATE parts SET state = 'claimed', fence = fence + 1, agent = ?3, heard_at_us = {now} \
                 WHERE run = ?1 AND part = ?2 RETURNING fence",
                &[run.as_str().into(), number.into(), name.into()],
            )?;
            let query = "SELECT plan, target FROM divisions WHERE run = ?1";
            let division = transaction.query_one(query, &[run.as_str().into()])?;
            let (Some(claimed), Some(division)) = (claimed, division) else { return Ok(None) };
            Ok(Some(ClaimedPart {
                run: Uuid::parse_str(&run).unwrap_or_default(),
                number,
                part: part_of(&found, 2)?,
                fence: claimed.get(0)?,
                plan: division.get(0)?,
                target: division.get(1)?,
            }))
        })
    }

    /// Reads the store's clock several times and keeps the reading that is known best.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn read_clock(&mut self) -> Result<Clock> {
        let mut best: Option<Clock> = None;
        for _ in 0..CLOCK_ASKS {
            let asked = Instant::now();
            let store_us = self.database.query_one("SELECT {now}", &[])?.map_or(Ok(0), |row| row.get(0))?;
            let bound = asked.elapsed() / 2;
            let ours = Timestamp::now().as_microsecond() - microseconds(bound);
            if best.is_none_or(|best| bound < best.bound) {
                best = Some(Clock { at: asked + bound, store_us, offset_us: ours - store_us, bound });
            }
        }
        Ok(best.expect("it was asked for more than once"))
    }

    /// Says that the sessions of a part are connected. Returns whether it is still the agent's.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn part_ready(&mut self, claim: &ClaimedPart, clock: &Clock) -> Result<bool> {
        let bound = microseconds(clock.bound);
        self.tell_part(
            claim,
            Durability::Full,
            "state = 'ready', clock_offset_us = ?4, clock_bound_us = ?5",
            &[clock.offset_us.into(), bound.into()],
        )
    }

    /// When a part that is ready starts.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn part_start(&mut self, claim: &ClaimedPart) -> Result<Start> {
        let found = self.database.query_one(
            "SELECT divisions.state, divisions.start_at_us, {now} - divisions.heard_at_us FROM divisions \
             JOIN parts ON parts.run = divisions.run WHERE parts.run = ?1 AND parts.part = ?2 AND parts.fence = ?3 \
             AND parts.state = 'ready'",
            &key_of(claim),
        )?;
        let Some(row) = found else { return Ok(Start::Lost) };
        Ok(match (row.get::<String>(0)?.as_str(), row.get::<Option<i64>>(1)?) {
            ("running", Some(start)) => Start::At(start),
            ("waiting", _) if row.get::<i64>(2)? < microseconds(SILENCE_MAX) => Start::Wait,
            _ => Start::Lost,
        })
    }

    /// Says that a part goes on, with the most of its processors that the agent has used.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn hear_part(&mut self, claim: &ClaimedPart, cpu_percent_max: Option<f64>) -> Result<PartBeat> {
        if !self.tell_part(claim, Durability::Normal, "cpu_percent_max = ?4", &[cpu_percent_max.into()])? {
            return Ok(PartBeat::Lost);
        }
        // Whoever divided the run could not be heard of while the server was down.
        let found = self.database.query_one(
            "SELECT state, heard_at_us, {up}, {now} FROM divisions WHERE run = ?1",
            &[claim.run.to_string().into()],
        )?;
        let Some(row) = found else { return Ok(PartBeat::Lost) };
        let heard = row.get::<i64>(1)?.max(row.get(2)?);
        let is_orphaned = row.get::<i64>(3)? - heard > microseconds(SILENCE_MAX);
        Ok(match row.get::<String>(0)?.as_str() {
            "waiting" | "running" if !is_orphaned => PartBeat::Held,
            "over" => PartBeat::Lost,
            _ => PartBeat::Stop,
        })
    }

    /// Tells a second of a part, encoded. Returns whether it is still the agent's, and the second was kept.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn tell_second(&mut self, claim: &ClaimedPart, second: u64, told: &[u8]) -> Result<bool> {
        self.require_writable()?;
        self.database.transaction(Durability::Normal, |transaction| {
            let held =
                "UPDATE parts SET heard_at_us = {now} WHERE run = ?1 AND part = ?2 AND fence = ?3 AND state = 'ready'";
            if transaction.execute(held, &key_of(claim))? == 0 {
                return Ok(false);
            }
            transaction.execute(
                "INSERT INTO part_seconds (run, part, second, told) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (run, part, second) DO UPDATE SET told = excluded.told",
                &[claim.run.to_string().into(), claim.number.into(), second.into(), told.into()],
            )?;
            Ok(true)
        })
    }

    /// Tells the end of a part. Returns whether it was still the agent's.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn end_part(&mut self, claim: &ClaimedPart, end: PartEnd<'_>) -> Result<bool> {
        let (stage, outcome, reason) = match end {
            PartEnd::Outcome(outcome) => (Stage::Ended, Some(outcome), None),
            PartEnd::Failed(reason) => (Stage::Failed, None, Some(reason)),
        };
        let values = [stage.name().into(), outcome.into(), reason.into()];
        self.tell_part(claim, Durability::Full, "state = ?4, outcome = ?5, reason = ?6", &values)
    }

    /// Changes a part where it is still the agent's.
    fn tell_part(
        &mut self,
        claim: &ClaimedPart,
        durability: Durability,
        changes: &str,
        values: &[Value],
    ) -> Result<bool> {
        self.require_writable()?;
        let statement = format!(
            "UPDATE parts SET heard_at_us = {{now}}, {changes} WHERE run = ?1 AND part = ?2 AND fence = ?3 \
             AND state IN ('claimed', 'ready')"
        );
        let values: Vec<_> = key_of(claim).into_iter().chain(values.iter().cloned()).collect();
        let changed = self
            .database
            .transaction_among(durability, Writers::Many, |transaction| transaction.execute(&statement, &values))?;
        Ok(changed == 1)
    }
}

fn key_of(claim: &ClaimedPart) -> [Value; 3] {
    [claim.run.to_string().into(), claim.number.into(), claim.fence.into()]
}

fn part_of(row: &Row, place: usize) -> Result<Part> {
    let sessions: u32 = row.get(place + 1)?;
    Ok(Part { first: row.get(place)?, sessions: sessions.try_into().unwrap_or(std::num::NonZeroU32::MIN) })
}

fn status_of(row: &Row) -> Result<PartStatus> {
    let name: String = row.get(3)?;
    let heard = row.get::<i64>(6)?.max(row.get(7)?);
    Ok(PartStatus {
        number: row.get(0)?,
        part: part_of(row, 1)?,
        stage: Stage::ALL.into_iter().find(|stage| stage.name() == name).unwrap_or(Stage::Failed),
        fence: row.get(4)?,
        agent: row.get(5)?,
        silence: Duration::from_micros(row.get::<i64>(8)?.saturating_sub(heard).max(0).unsigned_abs()),
        clock_offset_us: row.get(9)?,
        clock_bound_us: row.get(10)?,
        cpu_percent_max: row.get(11)?,
        reason: row.get(12)?,
    })
}
