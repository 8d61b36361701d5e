//! Runs whose process died are interrupted, not running.

use experiment::{Record, Status};
use jiff::Timestamp;
use uuid::Uuid;

use crate::rows::{self, RunRow, SampleRow};
use crate::settle::Settlement;
use crate::{Result, Results};

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
    pub(crate) fn is_left_behind(&self, run: &RunRow) -> Result<bool> {
        if run.status != Status::Running {
            return Ok(false);
        }
        let query = "SELECT max(ifnull((SELECT max(heard_at_us) FROM seconds WHERE run = ?1), 0), started_at_us) \
                     FROM runs WHERE key = ?1";
        let heard_at: i64 = self.connection.query_row(query, [run.key], |row| row.get(0)).map_err(self.failed())?;
        Ok(!run.owner.is_alive(&self.owner, rows::timestamp(heard_at), Timestamp::now()))
    }

    /// Puts the figures of the samples into the record of a run that was left behind.
    pub(crate) fn settle(&self, key: i64, record: &mut Record) -> Result<()> {
        let mut settlement = Settlement::default();
        self.each_row(key, |row| settlement.add(record, &row))?;
        let query = "SELECT ifnull(max(second) + 1, 0) FROM seconds WHERE run = ?1";
        let seconds: i64 = self.connection.query_row(query, [key], |row| row.get(0)).map_err(self.failed())?;
        settlement.write_into(record, seconds as u64);
        Ok(())
    }

    fn left_behind(&self) -> Result<Vec<(i64, Record)>> {
        let columns = RunRow::COLUMNS;
        let query = format!("SELECT {columns}, record FROM runs WHERE status = 'running'");
        let running: Vec<(RunRow, String)> = self
            .connection
            .prepare_cached(&query)
            .and_then(|mut query| {
                query.query_map([], |row| Ok((RunRow::read(row)?, row.get(RunRow::WIDTH)?)))?.collect()
            })
            .map_err(self.failed())?;
        let mut left = Vec::new();
        for (run, json) in running {
            if self.is_left_behind(&run)? {
                left.push((run.key, rows::record(&json)?));
            }
        }
        Ok(left)
    }

    /// Hands over the samples of a run row by row, in order of seconds.
    pub(crate) fn each_row(&self, key: i64, mut take: impl FnMut(SampleRow) -> Result<()>) -> Result<()> {
        let columns = SampleRow::COLUMNS;
        let query = format!("SELECT {columns} FROM samples WHERE run = ?1 ORDER BY second, phase, operation");
        let mut query = self.connection.prepare_cached(&query).map_err(self.failed())?;
        let found = query.query_map([key], SampleRow::read).map_err(self.failed())?;
        for row in found {
            take(row.map_err(self.failed())?)?;
        }
        Ok(())
    }
}
