//! Runs whose process died are interrupted, not running.

use experiment::{Record, ResumedRecord, Status};
use uuid::Uuid;

use crate::owner::Owner;
use crate::rows::{self, RunRow, SampleRow};
use crate::settle::Settlement;
use crate::{Result, Results, service};

impl Results {
    /// Marks runs whose process died as interrupted, ended with the last second that was kept, with the figures of those
    /// seconds. Runs of living processes are left alone. Returns the runs that were marked.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn recover(&mut self) -> Result<Vec<Uuid>> {
        let mut recovered = Vec::new();
        for (key, mut record) in self.left_behind()? {
            self.settle(key, &mut record)?;
            if self.settle_run(key, &record)? {
                recovered.push(record.id);
            }
        }
        Ok(recovered)
    }

    /// Whether a run that is on record as going on has lost its process.
    pub(crate) fn is_left_behind(&mut self, run: &RunRow) -> Result<bool> {
        if run.status != Status::Running {
            return Ok(false);
        }
        // Nobody could be heard of while the server was down.
        let query = "SELECT coalesce((SELECT max(heard_at_us) FROM seconds WHERE run = ?1), 0), coalesce(heard_at_us, 0), \
                     started_at_us, {up}, {now} FROM runs WHERE key = ?1";
        let Some(row) = self.database.query_one(query, &[run.key.into()])? else { return Ok(false) };
        let mut heard_at = 0;
        for place in 0..4 {
            heard_at = heard_at.max(row.get(place)?);
        }
        let (heard_at, now) = (rows::timestamp(heard_at), rows::timestamp(row.get(4)?));
        if self.database.is_shared_by_hosts() && run.owner.is_elsewhere(&self.owner) {
            return Ok(!Owner::was_heard(heard_at, now));
        }
        Ok(!run.owner.is_alive(&self.owner, heard_at, now))
    }

    /// Puts the figures of the samples into the record of a run that was left behind.
    pub(crate) fn settle(&mut self, key: i64, record: &mut Record) -> Result<()> {
        let mut settlement = Settlement::default();
        self.each_row(key, |row| settlement.add(record, &row))?;
        let query = "SELECT coalesce(max(second) + 1, 0) FROM seconds WHERE run = ?1";
        let seconds = self.database.query_one(query, &[key.into()])?.map_or(Ok(0), |row| row.get(0))?;
        record.resumed = self.resumed(record, seconds)?;
        settlement.write_into(record, seconds);
        Ok(())
    }

    /// From where a run went on that kept so many seconds, and how many of those it had taken over.
    fn resumed(&mut self, record: &Record, seconds: u64) -> Result<Option<ResumedRecord>> {
        let query = "SELECT runs.id, runs.ended_at_us, count(seconds.second) FROM queue JOIN runs ON runs.id = queue.resumes \
                     LEFT JOIN seconds ON seconds.run = runs.key WHERE queue.run = ?1 GROUP BY runs.id, runs.ended_at_us";
        let Some(row) = self.database.query_one(query, &[record.id.to_string().into()])? else { return Ok(None) };
        let away = record.started_at.duration_since(rows::timestamp(row.get(1)?));
        Ok(Some(ResumedRecord {
            run: service::id(&row.get::<String>(0)?)?,
            seconds: seconds.min(row.get(2)?),
            away_seconds: away.as_secs_f64().max(0.0),
        }))
    }

    fn left_behind(&mut self) -> Result<Vec<(i64, Record)>> {
        let columns = RunRow::COLUMNS;
        let query = format!("SELECT {columns}, record FROM runs WHERE status = 'running'");
        let mut left = Vec::new();
        for row in self.database.query(&query, &[])? {
            let run = RunRow::read(&row)?;
            if self.is_left_behind(&run)? {
                left.push((run.key, rows::record(&row.get::<String>(RunRow::WIDTH)?)?));
            }
        }
        Ok(left)
    }

    /// Hands over the samples of a run row by row, in order of seconds.
    pub(crate) fn each_row(&mut self, key: i64, mut take: impl FnMut(SampleRow) -> Result<()>) -> Result<()> {
        let columns = SampleRow::COLUMNS;
        let query = format!("SELECT {columns} FROM samples WHERE run = ?1 ORDER BY second, phase, operation");
        self.database.each(&query, &[key.into()], |row| take(SampleRow::read(&row)?))
    }
}
