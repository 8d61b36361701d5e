//! What can be asked of the store.

use std::collections::{BTreeMap, BTreeSet};

use experiment::{Comparison, HistogramRecord, Record, SampleRecord, Status};
use jiff::Timestamp;
use stats::Series;
use store::did_you_mean;
use uuid::Uuid;

use crate::database::{Row, Value};
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
    pub fn runs(&mut self, limit: u32) -> Result<Vec<RunSummary>> {
        self.runs_where("1 = 1", &[limit.into()])
    }

    /// Runs of which a condition holds, the newest first; the first parameter is how many at most.
    pub(crate) fn runs_where(&mut self, condition: &str, parameters: &[Value]) -> Result<Vec<RunSummary>> {
        let columns = RunRow::COLUMNS;
        let query = format!(
            "SELECT {columns}, id, name, started_at_us, ended_at_us, driver, workload, variant, throughput_per_second, \
             latency_us_p99, failed, valid, (SELECT count(*) FROM seconds WHERE run = runs.key) FROM runs \
             WHERE {condition} ORDER BY started_at_us DESC, id DESC LIMIT ?1"
        );
        let found = self.database.query(&query, parameters)?;
        let presented = found.iter().map(|row| {
            let status = self.presented(&RunRow::read(row)?)?;
            Ok(RunSummary { status, ..summary(row)? })
        });
        presented.collect()
    }

    /// The run that is meant: a full id, `last`, a name (its newest run), or the first or last digits of an id, 4 at least.
    ///
    /// # Errors
    /// `Ambiguous`, naming those that fit; `NotFound`, with the name that was probably meant.
    pub fn find(&mut self, asked: &str) -> Result<Uuid> {
        let asked = asked.trim();
        if asked == "last" {
            return self.newest("", &[])?.ok_or_else(|| Error::NotFound { asked: asked.to_owned(), near: None });
        }
        if let Ok(id) = Uuid::parse_str(asked)
            && let Some(found) = self.newest("WHERE id = ?1", &[id.to_string().into()])?
        {
            return Ok(found);
        }
        // A name before digits: who calls a run `cafe` means that one, not the run whose id happens to end so.
        if let Some(found) = self.newest("WHERE name = ?1", &[asked.into()])? {
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
    pub fn record(&mut self, run: Uuid) -> Result<Record> {
        let (row, json) = self.row(run)?;
        let mut record = rows::record(&json)?;
        if self.is_left_behind(&row)? {
            self.settle(row.key, &mut record)?;
        }
        Ok(record)
    }

    /// Where a run stands.
    pub(crate) fn status(&mut self, run: Uuid) -> Result<Status> {
        let (row, _) = self.row(run)?;
        self.presented(&row)
    }

    /// Every second of a run. Takes 270 kB for each operation of each second: for a long run prefer
    /// [`each_sample`](Self::each_sample).
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn samples(&mut self, run: Uuid) -> Result<Vec<SampleRecord>> {
        let mut samples = Vec::new();
        self.each_sample(run, |sample| samples.push(sample))?;
        Ok(samples)
    }

    /// Hands over every second of a run, in order, one at a time.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn each_sample(&mut self, run: Uuid, mut take: impl FnMut(SampleRecord)) -> Result<()> {
        self.try_each_sample(run, |sample| {
            take(sample);
            Ok(())
        })
    }

    /// The same, until one of them fails to be taken.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, and what `take` returns.
    pub(crate) fn try_each_sample(
        &mut self,
        run: Uuid,
        mut take: impl FnMut(SampleRecord) -> Result<()>,
    ) -> Result<()> {
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
    pub(crate) fn gauge_names(&mut self, run: Uuid) -> Result<Vec<String>> {
        let (row, _) = self.row(run)?;
        let names: BTreeSet<_> = self.gauges(row.key)?.into_iter().flat_map(|(_, gauges)| gauges.into_keys()).collect();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// The raw histograms of a run; there are none before its end.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn histograms(&mut self, run: Uuid) -> Result<Vec<HistogramRecord>> {
        let (row, _) = self.row(run)?;
        let query = "SELECT phase, operation, metric, histogram FROM histograms WHERE run = ?1 ORDER BY 1, 2, 3";
        let mut histograms = Vec::new();
        self.database.each(query, &[row.key.into()], |row| {
            // A metric that a later Storelab of the same tables added is none that we could show.
            let Some(metric) = rows::metric(&row.get::<String>(2)?) else { return Ok(()) };
            let histogram = rows::decode(Some(&row.get::<Vec<u8>>(3)?))?;
            histograms.push(HistogramRecord { phase: row.get(0)?, operation: row.get(1)?, metric, histogram });
            Ok(())
        })?;
        Ok(histograms)
    }

    /// The report of a run as HTML, drawn without holding all samples in memory.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn report(&mut self, run: Uuid) -> Result<String> {
        let record = self.record(run)?;
        let mut series = Series::default();
        self.each_sample(run, |sample| report::add_sample(&mut series, &sample))?;
        let pictures = self.pictures(run, &record)?;
        Ok(report::html_with(&record, &series, &self.histograms(run)?, &pictures))
    }

    /// The report of several runs side by side.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn report_side_by_side(&mut self, runs: &[Uuid]) -> Result<String> {
        let drawn = runs.iter().map(|run| self.drawn(*run));
        Ok(report::side_by_side(&drawn.collect::<Result<Vec<_>>>()?))
    }

    /// The page of a comparison, drawn with the runs of all of its sides.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`.
    pub fn report_comparison(&mut self, comparison: &Comparison) -> Result<String> {
        let runs = comparison.sides.iter().flat_map(|side| &side.runs);
        // A run of another store has its figures in the comparison, but no curve.
        let drawn = runs.map(|(run, _)| self.drawn(*run)).filter(|drawn| !matches!(drawn, Err(Error::NotFound { .. })));
        Ok(report::comparison(comparison, &drawn.collect::<Result<Vec<_>>>()?))
    }

    fn drawn(&mut self, run: Uuid) -> Result<report::Drawn> {
        let mut series = Series::default();
        self.each_sample(run, |sample| report::add_sample(&mut series, &sample))?;
        Ok(report::Drawn { record: self.record(run)?, series, histograms: self.histograms(run)? })
    }

    fn presented(&mut self, run: &RunRow) -> Result<Status> {
        Ok(if self.is_left_behind(run)? { Status::Interrupted } else { run.status })
    }

    fn row(&mut self, run: Uuid) -> Result<(RunRow, String)> {
        let query = format!("SELECT {}, record FROM runs WHERE id = ?1", RunRow::COLUMNS);
        let found = self.database.query_one(&query, &[run.to_string().into()])?;
        let row = found.ok_or_else(|| Error::NotFound { asked: run.to_string(), near: None })?;
        Ok((RunRow::read(&row)?, row.get(RunRow::WIDTH)?))
    }

    fn newest(&mut self, condition: &str, parameters: &[Value]) -> Result<Option<Uuid>> {
        let query = format!("SELECT id FROM runs {condition} ORDER BY started_at_us DESC, key DESC LIMIT 1");
        let found = self.database.query_one(&query, parameters)?;
        found.map(|row| parse_id(&row.get::<String>(0)?)).transpose()
    }

    fn with_digits(&mut self, asked: &str) -> Result<Vec<(Uuid, String)>> {
        let digits = asked.replace('-', "").to_ascii_lowercase();
        if digits.len() < FRAGMENT_DIGITS_MIN || !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Ok(Vec::new());
        }
        let query = "SELECT id, name FROM runs WHERE replace(id, '-', '') LIKE ?1 || '%' \
                     OR replace(id, '-', '') LIKE '%' || ?1 ORDER BY started_at_us DESC, key DESC LIMIT ?2";
        let found = self.database.query(query, &[digits.into(), CANDIDATES_MAX.into()])?;
        found.iter().map(|row| Ok((parse_id(&row.get::<String>(0)?)?, row.get(1)?))).collect()
    }

    fn nearest_name(&mut self, asked: &str) -> Result<Option<String>> {
        let found = self.database.query("SELECT DISTINCT name FROM runs", &[])?;
        let names: Vec<String> = found.iter().map(|row| row.get(0)).collect::<Result<_>>()?;
        Ok(did_you_mean(asked, names.iter().map(String::as_str).chain(["last"])).map(str::to_owned))
    }

    fn gauges(&mut self, key: i64) -> Result<Vec<(u64, BTreeMap<&'static str, f64>)>> {
        let query = "SELECT second, gauges FROM seconds WHERE run = ?1 ORDER BY second";
        let mut read = Vec::new();
        self.database.each(query, &[key.into()], |row| {
            let gauges: BTreeMap<String, Option<f64>> = serde_json::from_str(&row.get::<String>(1)?)
                .map_err(|error| Error::Damaged { what: "a sample".to_owned(), reason: error.to_string() })?;
            let gauges = gauges.into_iter().filter_map(|(name, value)| Some((rows::gauge_name(&name)?, value?)));
            read.push((row.get(0)?, gauges.collect()));
            Ok(())
        })?;
        Ok(read)
    }
}

fn summary(row: &Row) -> Result<RunSummary> {
    let at = |place: usize| place + RunRow::WIDTH;
    Ok(RunSummary {
        id: Uuid::parse_str(&row.get::<String>(at(0))?).unwrap_or_default(),
        name: row.get(at(1))?,
        status: Status::Failed,
        started_at: rows::timestamp(row.get(at(2))?),
        ended_at: rows::timestamp(row.get(at(3))?),
        driver: row.get(at(4))?,
        workload: row.get(at(5))?,
        variant: row.get(at(6))?,
        throughput_per_second: row.get(at(7))?,
        latency_us_p99: row.get(at(8))?,
        failed: row.get(at(9))?,
        valid: row.get(at(10))?,
        seconds: row.get(at(11))?,
    })
}

fn parse_id(id: &str) -> Result<Uuid> {
    Uuid::parse_str(id).map_err(|error| Error::Damaged { what: format!("the id `{id}`"), reason: error.to_string() })
}
