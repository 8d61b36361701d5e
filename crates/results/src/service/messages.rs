//! What a run told while it went on, beside its samples: numbered together with those, so that whoever follows a run can go
//! on behind any message, also after the process that told them has died.
//!
//! Messages are numbered from 1. Those that are kept here have a number each; the numbers between them are those of the
//! samples, in order of their seconds, which are kept once and not again as messages.

use std::collections::BTreeMap;

use experiment::{SampleRecord, Status};
use uuid::Uuid;

use crate::database::Durability;
use crate::rows::{self, SampleRow};
use crate::{Error, Result, Results};

/// The table, in the words that both databases read.
pub(crate) const TABLES: &str = "
    CREATE TABLE messages (
        run TEXT NOT NULL,
        number INTEGER NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (run, number)
    );";

/// What one message of a run is.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    /// Something that was told in so many words: its kind and its body as JSON.
    Message {
        /// `started`, `phase`, `event` …
        kind: String,
        /// JSON.
        body: String,
    },
    /// A second.
    Sample(SampleRecord),
}

impl Results {
    /// Keeps a message of a run; keeping the same number twice changes nothing.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn keep_message(&mut self, run: Uuid, number: u64, kind: &str, body: &str) -> Result<()> {
        self.write(Durability::Normal, |transaction| {
            transaction.execute(
                "INSERT INTO messages (run, number, kind, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (run, number) DO NOTHING",
                &[run.to_string().into(), number.into(), kind.into(), body.into()],
            )?;
            Ok(())
        })
    }

    /// Messages of a run behind a number, at most so many, with their numbers.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn messages(&mut self, run: Uuid, after: u64, limit: usize) -> Result<Vec<(u64, Told)>> {
        let id = run.to_string();
        let is_open = self.status_of(run)? == Some(Status::Running);
        let before = "SELECT count(*) FROM messages WHERE run = ?1 AND number <= ?2";
        let kept_before = match self.database.query_one(before, &[id.as_str().into(), after.into()])? {
            Some(row) => row.get::<u64>(0)?,
            None => 0,
        };
        let behind = "SELECT number, kind, body FROM messages WHERE run = ?1 AND number > ?2 ORDER BY number LIMIT ?3";
        let kept = self.database.query(behind, &[id.as_str().into(), after.into(), (limit as u64).into()])?;
        let mut kept = kept
            .iter()
            .map(|row| Ok((row.get::<u64>(0)?, Told::Message { kind: row.get(1)?, body: row.get(2)? })))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .peekable();
        let mut samples = self.samples_behind(run, after.saturating_sub(kept_before), limit)?.into_iter();
        let mut told = Vec::new();
        for number in (after + 1..).take(limit) {
            if let Some(message) = kept.next_if(|(kept, _)| *kept == number) {
                told.push(message);
            } else if let Some(sample) = samples.next() {
                told.push((number, Told::Sample(sample)));
            } else {
                // Of a run that goes on the seconds in between are yet to be written. Those of one that is over were lost, and
                // what was told behind them is told all the same.
                if !is_open {
                    told.extend(kept.by_ref().take(limit - told.len()));
                }
                break;
            }
        }
        Ok(told)
    }

    /// The number of a run's last message, 0 where it has none, and whether that is of a kind.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn last_message(&mut self, run: Uuid, kind: &str) -> Result<(u64, bool)> {
        let query = "SELECT count(*), coalesce(max(number), 0), count(CASE WHEN kind = ?2 THEN 1 END), \
                     (SELECT count(*) FROM seconds JOIN runs ON runs.key = seconds.run WHERE runs.id = ?1) \
                     FROM messages WHERE run = ?1";
        let Some(row) = self.database.query_one(query, &[run.to_string().into(), kind.into()])? else {
            return Ok((0, false));
        };
        let (kept, last, samples) = (row.get::<u64>(0)?, row.get::<u64>(1)?, row.get::<u64>(3)?);
        Ok((last.max(kept + samples), row.get::<i64>(2)? > 0))
    }
}

impl Results {
    /// Seconds of a run behind so many, at most so many, without reading those before them.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn samples_behind(&mut self, run: Uuid, behind: u64, limit: usize) -> Result<Vec<SampleRecord>> {
        let mut samples = Vec::new();
        self.each_sample_behind(run, behind, limit, |sample| samples.push(sample))?;
        Ok(samples)
    }

    /// The same, handed over one at a time: a second takes 270 kB for each of its operations.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn each_sample_behind(
        &mut self,
        run: Uuid,
        behind: u64,
        limit: usize,
        mut take: impl FnMut(SampleRecord),
    ) -> Result<()> {
        let seconds = self.database.query(
            "SELECT seconds.run, second, gauges FROM seconds JOIN runs ON runs.key = seconds.run WHERE runs.id = ?1 \
             ORDER BY second LIMIT ?2 OFFSET ?3",
            &[run.to_string().into(), (limit as u64).into(), behind.into()],
        )?;
        for row in &seconds {
            let (key, second) = (row.get::<i64>(0)?, row.get::<u64>(1)?);
            let mut sample = SampleRecord { second, operations: Vec::new(), gauges: gauges(&row.get::<String>(2)?)? };
            let columns = SampleRow::COLUMNS;
            let query =
                format!("SELECT {columns} FROM samples WHERE run = ?1 AND second = ?2 ORDER BY phase, operation");
            self.database.each(&query, &[key.into(), second.into()], |row| {
                sample.operations.push(SampleRow::read(&row)?.into_operation()?);
                Ok(())
            })?;
            take(sample);
        }
        Ok(())
    }
}

/// What was measured beside the operations of a second. A value that is no number is kept as null.
fn gauges(json: &str) -> Result<BTreeMap<&'static str, f64>> {
    let read: BTreeMap<String, Option<f64>> = serde_json::from_str(json)
        .map_err(|error| Error::Damaged { what: "a sample".to_owned(), reason: error.to_string() })?;
    Ok(read.into_iter().filter_map(|(name, value)| Some((rows::gauge_name(&name)?, value?))).collect())
}

#[cfg(test)]
mod tests {
    use experiment::Sink;

    use super::*;
    use crate::Location;
    use crate::fixture::{self, MINUTE};

    #[test]
    fn messages_and_samples_are_one_sequence_without_gaps() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = Results::open(&Location::File(folder.path().join("results.db"))).expect("opens");
        let mut samples = Vec::new();
        let (record, _) = fixture::run("checkout", MINUTE, |sample| samples.push(sample));
        results.started(&record).expect("kept");
        let (mut number, mut expected) = (0, Vec::new());
        for (second, sample) in samples.iter().enumerate() {
            if second.is_multiple_of(7) {
                number += 1;
                results.keep_message(record.id, number, "event", "{}").expect("kept");
                results.keep_message(record.id, number, "event", "{\"again\":1}").expect("changes nothing");
                expected.push((number, Told::Message { kind: "event".to_owned(), body: "{}".to_owned() }));
            }
            number += 1;
            results.sampled(record.id, sample).expect("kept");
            expected.push((number, Told::Sample(sample.clone())));
        }
        assert_eq!(results.last_message(record.id, "ended").expect("readable"), (number, false));
        assert!(results.last_message(record.id, "event").expect("readable").1);
        for after in [0, 1, 6, 7, 8, 9, number - 1, number] {
            for limit in [1, 3, 1_000] {
                let found = results.messages(record.id, after, limit).expect("readable");
                let rest = expected.iter().skip(after as usize).take(limit);
                assert!(found.iter().eq(rest), "after {after}, at most {limit}");
            }
        }
        assert_eq!(results.messages(Uuid::nil(), 0, 10).expect("readable"), []);
    }
}
