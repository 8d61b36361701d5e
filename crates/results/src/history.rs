//! One metric over the runs of one name.

use std::collections::BTreeSet;

use experiment::{
    E_DIVISIVE_RUNS_MAX, HISTORY_RUNS_MAX, History, HistoryMethod, HistoryMetric, HistoryPoint, Record, Status,
};
use uuid::Uuid;

use crate::{Error, Result, Results, rows};

/// What a history is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryQuery {
    /// Of what.
    pub metric: HistoryMetric,
    /// The newest runs of the name, at most so many, and at most [`HISTORY_RUNS_MAX`].
    pub limit: usize,
    /// Whether runs count too that are invalid, or whose data were wrong.
    pub all: bool,
    /// How change points are found.
    pub method: HistoryMethod,
    /// The smallest change that counts, as a share.
    pub change_min: f64,
}

/// Runs that are not among the points, by why.
#[derive(Debug, Default)]
struct LeftOut {
    incomplete: usize,
    invalid: usize,
    unverified: usize,
    unmeasured: usize,
}

/// What the runs have, beside the metric.
#[derive(Debug, Default)]
struct Seen {
    operations: BTreeSet<String>,
    /// Workloads with the driver that they ran on.
    works: BTreeSet<String>,
}

impl Results {
    /// A metric over the completed runs that have the name of the run that is meant (see [`find`](Self::find)), oldest
    /// first, with the places where it changed for good.
    ///
    /// # Errors
    /// `NotFound`, `Ambiguous`; `NoOperation` where there are runs, and none has the metric's operation; `Damaged`.
    pub fn history(&mut self, asked: &str, query: &HistoryQuery) -> Result<History> {
        let run = self.find(asked)?;
        let name = self.name_of(run)?;
        let limit = query.limit.min(HISTORY_RUNS_MAX);
        let limit = match query.method {
            HistoryMethod::Hunter => limit,
            HistoryMethod::EDivisive => limit.min(E_DIVISIVE_RUNS_MAX),
        };
        let (mut left_out, mut seen) = (LeftOut::default(), Seen::default());
        let mut points = Vec::new();
        for (key, id, status) in self.runs_named(&name)? {
            if points.len() == limit {
                break;
            }
            if status != Status::Completed {
                left_out.incomplete += 1;
                continue;
            }
            // One that was deleted since is no part of the history.
            let Some(record) = self.record_of_key(key)? else { continue };
            if !query.all && !record.verdict.valid {
                left_out.invalid += 1;
                continue;
            }
            if !query.all && record.verification.checks.iter().any(|check| !check.passed) {
                left_out.unverified += 1;
                continue;
            }
            seen.add(&record);
            match query.metric.of(&record, || self.histograms(id))?.filter(|value| value.is_finite()) {
                Some(value) => points.push(HistoryPoint {
                    run: record.id,
                    started_at: record.started_at,
                    server: record.target.server,
                    value,
                }),
                None => left_out.unmeasured += 1,
            }
        }
        if let Some(operation) = query.metric.operation()
            && points.is_empty()
            && !seen.operations.is_empty()
            && !seen.operations.contains(operation)
        {
            let known = seen.operations.into_iter().collect();
            return Err(Error::NoOperation { name, operation: operation.to_owned(), known });
        }
        points.reverse();
        let notes = notes(&left_out, &seen, &query.metric);
        Ok(History::of(&name, &query.metric, points, query.method, query.change_min, notes))
    }

    fn name_of(&mut self, run: Uuid) -> Result<String> {
        let found = self.database.query_one("SELECT name FROM runs WHERE id = ?1", &[run.to_string().into()])?;
        found.ok_or_else(|| Error::NotFound { asked: run.to_string(), near: None })?.get(0)
    }

    /// Keys, ids and where they stand, newest first.
    fn runs_named(&mut self, name: &str) -> Result<Vec<(i64, Uuid, Status)>> {
        let query = "SELECT key, id, status FROM runs WHERE name = ?1 ORDER BY started_at_us DESC, key DESC LIMIT ?2";
        let found = self.database.query(query, &[name.into(), RUNS_SEEN_MAX.into()])?;
        let known = found.iter().map(|row| {
            let id = Uuid::parse_str(&row.get::<String>(1)?).unwrap_or_default();
            Ok((row.get(0)?, id, rows::status(&row.get::<String>(2)?)))
        });
        known.collect()
    }

    fn record_of_key(&mut self, key: i64) -> Result<Option<Record>> {
        let found = self.database.query_one("SELECT record FROM runs WHERE key = ?1", &[key.into()])?;
        found.map(|row| rows::record(&row.get::<String>(0)?)).transpose()
    }
}

/// Runs that are looked at, those too that are left out: ten times those that can be shown.
const RUNS_SEEN_MAX: u32 = 100_000;

impl Seen {
    fn add(&mut self, record: &Record) {
        self.operations.extend(record.operations.iter().map(|operation| operation.name.clone()));
        let variant = record.workload.variant.as_deref().map(|variant| format!(":{variant}")).unwrap_or_default();
        self.works.insert(format!("{}{variant} on {}", record.workload.name, record.target.driver));
    }
}

fn notes(left_out: &LeftOut, seen: &Seen, metric: &HistoryMetric) -> Vec<String> {
    let LeftOut { incomplete, invalid, unverified, unmeasured } = *left_out;
    let runs = |count: usize| if count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
    let mut notes = Vec::new();
    let reasons = [
        (incomplete, "did not come to an end"),
        (invalid, "invalid (--all takes such in)"),
        (unverified, "data found wrong (--all takes such in)"),
    ];
    notes.extend(
        reasons.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{} left out: {why}", runs(*count))),
    );
    if unmeasured > 0 {
        notes.push(format!("{} left out: no value of {metric}", runs(unmeasured)));
    }
    if seen.works.len() > 1 {
        let works: Vec<_> = seen.works.iter().map(String::as_str).collect();
        notes.push(format!("different things have this name: {}", works.join(", ")));
    }
    notes
}
