//! What can be asked of the store.

use std::collections::BTreeMap;

use experiment::{Comparison, HistogramRecord, Record, SampleRecord, Status};
use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row};
use stats::Series;
use store::did_you_mean;
use uuid::Uuid;

use crate::report;
use crate::rows::{self, RunRow};
use crate::{Error, Result, Results};

/// Digits of an id that are enough to ask for it: fewer are too easily a word.
const FRAGMENT_DIGITS_MIN: usize = 4;

/// Runs that are named where several fit.
const CANDIDATES_MAX: u32 = 8;

/// Digits of an id that tell runs apart in lists: of a UUID version 7 the last ones are random.
const SHORT_DIGITS: usize = 8;

/// A run in a list.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Its id.
    pub id: Uuid,
    /// What the user calls it.
    pub name: String,
    /// Where it stands.
    pub status: Status,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended, or was last heard of.
    pub ended_at: Timestamp,
    /// The data store's driver.
    pub driver: String,
    /// The workload.
    pub workload: String,
    /// The workload's variant.
    pub variant: Option<String>,
    /// Operations a second; unknown before the end.
    pub throughput_per_second: Option<f64>,
    /// 99th percentile of latency in microseconds; unknown before the end.
    pub latency_us_p99: Option<f64>,
    /// Operations that failed; unknown before the end.
    pub failed: Option<u64>,
    /// Whether the generator did what was planned; unknown before the end.
    pub valid: Option<bool>,
    /// Seconds of it that are kept.
    pub seconds: u64,
}

/// The digits of an id by which lists show it; [`Results::find`] takes them.
pub fn short_id(id: Uuid) -> String {
    let digits = id.simple().to_string();
    digits[digits.len() - SHORT_DIGITS..].to_owned()
}

impl Results {
    /// The newest runs, newest first.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn runs(&self, limit: u32) -> Result<Vec<RunSummary>> {
        let columns = RunRow::COLUMNS;
        let query = format!(
            "SELECT {columns}, id, name, started_at_us, ended_at_us, driver, workload, variant, throughput_per_second, \
             latency_us_p99, failed, valid, (SELECT count(*) FROM seconds WHERE run = runs.key) FROM runs ORDER BY started_at_us DESC, key DESC LIMIT ?1"
        );
        let found: Vec<_> = self
            .connection
            .prepare_cached(&query)
            .and_then(|mut query| query.query_map([limit], |row| Ok((RunRow::read(row)?, summary(row)?)))?.collect())
            .map_err(self.failed())?;
        let presented = found.into_iter().map(|(run, mut summary): (RunRow, RunSummary)| {
            summary.status = self.presented(&run)?;
            Ok(summary)
        });
        presented.collect()
    }

    /// The run that is meant: a full id, `last`, a name (its newest run), or the first or last digits of an id, 4 at least.
    ///
    /// # Errors
    /// `Ambiguous`, naming those that fit; `NotFound`, with the name that was probably meant.
    pub fn find(&self, asked: &str) -> Result<Uuid> {
        let asked = asked.trim();
        if asked == "last" {
            return self.newest("TRUE", "")?.ok_or_else(|| Error::NotFound { asked: asked.to_owned(), near: None });
        }
        if let Ok(id) = Uuid::parse_str(asked)
            && let Some(found) = self.newest("id = ?1", &id.to_string())?
        {
            return Ok(found);
        }
        // A name before digits: who calls a run `cafe` means that one, not the run whose id happens to end so.
        if let Some(found) = self.newest("name = ?1", asked)? {
            return Ok(found);
        }
        let fitting = self.with_digits(asked)?;
        match fitting.as_slice() {
            [] => Err(Error::NotFound { asked: asked.to_owned(), near: self.nearest_name(asked)? }),
            [(id, _)] => Ok(*id),
            several => Err(Error::Ambiguous {
                asked: asked.to_owned(),
                candidates: several.iter().map(|(id, name)| format!("{id} ({name})")).collect(),
            }),
        }
    }

    /// A run, whole. One whose process died is shown as interrupted even where that cannot be written down.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn record(&self, run: Uuid) -> Result<Record> {
        let (row, json) = self.row(run)?;
        let mut record = rows::record(&json)?;
        if self.is_left_behind(&row)? {
            self.settle(row.key, &mut record)?;
        }
        Ok(record)
    }

    /// Where a run stands.
    pub(crate) fn status(&self, run: Uuid) -> Result<Status> {
        let (row, _) = self.row(run)?;
        self.presented(&row)
    }

    /// Every second of a run. Takes 270 kB for each operation of each second: for a long run prefer
    /// [`each_sample`](Self::each_sample).
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn samples(&self, run: Uuid) -> Result<Vec<SampleRecord>> {
        let mut samples = Vec::new();
        self.each_sample(run, |sample| samples.push(sample))?;
        Ok(samples)
    }

    /// Hands over every second of a run, in order, one at a time.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn each_sample(&self, run: Uuid, mut take: impl FnMut(SampleRecord)) -> Result<()> {
        self.try_each_sample(run, |sample| {
            take(sample);
            Ok(())
        })
    }

    /// The same, until one of them fails to be taken.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, and what `take` returns.
    pub(crate) fn try_each_sample(&self, run: Uuid, mut take: impl FnMut(SampleRecord) -> Result<()>) -> Result<()> {
        let (row, _) = self.row(run)?;
        let mut gauges = self.gauges(row.key)?.into_iter().peekable();
        let mut current: Option<SampleRecord> = None;
        self.each_row(row.key, |row| {
            let second = row.second;
            if current.as_ref().is_none_or(|sample| sample.second != second) {
                current.take().map_or(Ok(()), &mut take)?;
                // Seconds in which nothing ended have gauges all the same.
                while let Some((second, gauges)) = gauges.next_if(|(found, _)| *found < second) {
                    take(SampleRecord { second, operations: Vec::new(), gauges })?;
                }
                let gauges =
                    gauges.next_if(|(found, _)| *found == second).map(|(_, gauges)| gauges).unwrap_or_default();
                current = Some(SampleRecord { second, operations: Vec::new(), gauges });
            }
            if let Some(sample) = &mut current {
                sample.operations.push(row.into_operation()?);
            }
            Ok(())
        })?;
        current.map_or(Ok(()), &mut take)?;
        gauges.try_for_each(|(second, gauges)| take(SampleRecord { second, operations: Vec::new(), gauges }))
    }

    /// The names of all gauges that some second of a run has, in alphabetic order.
    pub(crate) fn gauge_names(&self, run: Uuid) -> Result<Vec<String>> {
        let (row, _) = self.row(run)?;
        let query =
            "SELECT DISTINCT gauge.key FROM seconds, json_each(seconds.gauges) AS gauge WHERE run = ?1 ORDER BY 1";
        self.connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_map([row.key], |row| row.get(0))?.collect())
            .map_err(self.failed())
    }

    /// The raw histograms of a run; there are none before its end.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn histograms(&self, run: Uuid) -> Result<Vec<HistogramRecord>> {
        let (row, _) = self.row(run)?;
        let query = "SELECT phase, operation, metric, histogram FROM histograms WHERE run = ?1 ORDER BY 1, 2, 3";
        let found: Vec<(u16, String, String, Vec<u8>)> = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| {
                query.query_map([row.key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?.collect()
            })
            .map_err(self.failed())?;
        let known = found.into_iter().filter_map(|(phase, operation, metric, blob)| {
            // A metric that a later Storelab of the same tables added is none that we could show.
            let metric = rows::metric(&metric)?;
            Some(rows::decode(Some(&blob)).map(|histogram| HistogramRecord { phase, operation, metric, histogram }))
        });
        known.collect()
    }

    /// The report of a run as HTML, drawn without holding all samples in memory.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn report(&self, run: Uuid) -> Result<String> {
        let record = self.record(run)?;
        let mut series = Series::default();
        self.each_sample(run, |sample| report::add_sample(&mut series, &sample))?;
        Ok(report::html_of(&record, &series, &self.histograms(run)?))
    }

    /// The report of several runs side by side.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn report_side_by_side(&self, runs: &[Uuid]) -> Result<String> {
        let drawn = runs.iter().map(|run| self.drawn(*run));
        Ok(report::side_by_side(&drawn.collect::<Result<Vec<_>>>()?))
    }

    /// The page of a comparison, drawn with the runs of all of its sides.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn report_comparison(&self, comparison: &Comparison) -> Result<String> {
        let runs = comparison.sides.iter().flat_map(|side| &side.runs);
        // A run of another store has its figures in the comparison, but no curve.
        let drawn = runs.map(|(run, _)| self.drawn(*run)).filter(|drawn| !matches!(drawn, Err(Error::NotFound { .. })));
        Ok(report::comparison(comparison, &drawn.collect::<Result<Vec<_>>>()?))
    }

    fn drawn(&self, run: Uuid) -> Result<report::Drawn> {
        let mut series = Series::default();
        self.each_sample(run, |sample| report::add_sample(&mut series, &sample))?;
        Ok(report::Drawn { record: self.record(run)?, series, histograms: self.histograms(run)? })
    }

    fn presented(&self, run: &RunRow) -> Result<Status> {
        Ok(if self.is_left_behind(run)? { Status::Interrupted } else { run.status })
    }

    fn row(&self, run: Uuid) -> Result<(RunRow, String)> {
        let query = format!("SELECT {}, record FROM runs WHERE id = ?1", RunRow::COLUMNS);
        self.connection
            .prepare_cached(&query)
            .and_then(|mut query| {
                query.query_row([run.to_string()], |row| Ok((RunRow::read(row)?, row.get(RunRow::WIDTH)?))).optional()
            })
            .map_err(self.failed())?
            .ok_or_else(|| Error::NotFound { asked: run.to_string(), near: None })
    }

    fn newest(&self, condition: &str, parameter: &str) -> Result<Option<Uuid>> {
        // `?1 = ?1` uses the parameter where the condition does not.
        let query =
            format!("SELECT id FROM runs WHERE {condition} AND ?1 = ?1 ORDER BY started_at_us DESC, key DESC LIMIT 1");
        let found: Option<String> =
            self.connection.query_row(&query, [parameter], |row| row.get(0)).optional().map_err(self.failed())?;
        found.map(|id| parse_id(&id)).transpose()
    }

    fn with_digits(&self, asked: &str) -> Result<Vec<(Uuid, String)>> {
        let digits = asked.replace('-', "").to_ascii_lowercase();
        if digits.len() < FRAGMENT_DIGITS_MIN || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let query = "SELECT id, name FROM runs WHERE replace(id, '-', '') LIKE ?1 || '%' \
                     OR replace(id, '-', '') LIKE '%' || ?1 ORDER BY started_at_us DESC, key DESC LIMIT ?2";
        let found: Vec<(String, String)> = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| {
                query.query_map((&digits, CANDIDATES_MAX), |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
            })
            .map_err(self.failed())?;
        found.into_iter().map(|(id, name)| Ok((parse_id(&id)?, name))).collect()
    }

    fn nearest_name(&self, asked: &str) -> Result<Option<String>> {
        let names: Vec<String> = self
            .connection
            .prepare_cached("SELECT DISTINCT name FROM runs")
            .and_then(|mut query| query.query_map([], |row| row.get(0))?.collect())
            .map_err(self.failed())?;
        Ok(did_you_mean(asked, names.iter().map(String::as_str).chain(["last"])).map(str::to_owned))
    }

    fn gauges(&self, key: i64) -> Result<Vec<(u64, BTreeMap<&'static str, f64>)>> {
        let query = "SELECT second, gauges FROM seconds WHERE run = ?1 ORDER BY second";
        let found: Vec<(i64, String)> = self
            .connection
            .prepare_cached(query)
            .and_then(|mut query| query.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
            .map_err(self.failed())?;
        let read = found.into_iter().map(|(second, json)| {
            let gauges: BTreeMap<String, Option<f64>> = serde_json::from_str(&json)
                .map_err(|error| Error::Damaged { what: "a sample".to_owned(), reason: error.to_string() })?;
            let gauges = gauges.into_iter().filter_map(|(name, value)| Some((rows::gauge_name(&name)?, value?)));
            Ok((second as u64, gauges.collect()))
        });
        read.collect()
    }
}

fn summary(row: &Row<'_>) -> Result<RunSummary, rusqlite::Error> {
    let at = |place: usize| place + RunRow::WIDTH;
    let id: String = row.get(at(0))?;
    Ok(RunSummary {
        id: Uuid::parse_str(&id).unwrap_or_default(),
        name: row.get(at(1))?,
        status: Status::Failed,
        started_at: rows::timestamp(row.get(at(2))?),
        ended_at: rows::timestamp(row.get(at(3))?),
        driver: row.get(at(4))?,
        workload: row.get(at(5))?,
        variant: row.get(at(6))?,
        throughput_per_second: row.get(at(7))?,
        latency_us_p99: row.get(at(8))?,
        failed: row.get::<_, Option<i64>>(at(9))?.map(|failed| failed as u64),
        valid: row.get(at(10))?,
        seconds: row.get::<_, i64>(at(11))?.cast_unsigned(),
    })
}

fn parse_id(id: &str) -> Result<Uuid> {
    Uuid::parse_str(id).map_err(|error| Error::Damaged { what: format!("the id `{id}`"), reason: error.to_string() })
}
