//! Experiments as the service keeps them: what was asked for, where it stands, and the run that it led to.

use std::str::FromStr;

use jiff::Timestamp;
use store::{Error as StoreError, did_you_mean};
use uuid::Uuid;

use crate::database::{Durability, Row, Transaction, Value};
use crate::{Error, Result, Results, rows};

/// The table, in the words that both databases read.
pub(crate) const TABLES: &str = "
    CREATE TABLE experiments (
        key {key},
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        database_type TEXT NOT NULL,
        status TEXT NOT NULL,
        created_at_us INTEGER NOT NULL,
        version INTEGER NOT NULL,
        config TEXT NOT NULL,
        sealed BLOB,
        run TEXT,
        reason TEXT,
        figures TEXT
    );
    CREATE INDEX experiments_by_age ON experiments (created_at_us, id);
    CREATE INDEX experiments_by_run ON experiments (run);";

/// Where an experiment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExperimentStatus {
    /// Nobody has asked for its run yet.
    Pending,
    /// Its run waits for its turn.
    Queued,
    /// Its run goes on.
    Running,
    /// Its run came to its end.
    Completed,
    /// Its run could not be carried out.
    Failed,
    /// Its run was stopped by the end of the service.
    Interrupted,
    /// Its run was stopped, or taken out of the queue, by a user.
    Cancelled,
}

impl ExperimentStatus {
    /// Every status.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Queued, Self::Running, Self::Completed, Self::Failed, Self::Interrupted, Self::Cancelled];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether a run of it waits or goes on, so that neither another may start nor the experiment be deleted.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Queued | Self::Running)
    }
}

impl FromStr for ExperimentStatus {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Self, StoreError> {
        Self::ALL.into_iter().find(|status| status.name() == text).ok_or_else(|| {
            let names = || Self::ALL.into_iter().map(Self::name);
            let error = StoreError::config(format!("there is no status `{text}`"));
            match did_you_mean(text, names()) {
                Some(near) => error.with_hint(format!("did you mean `{near}`?")),
                None => error.with_hint(format!("there are {}", names().collect::<Vec<_>>().join(", "))),
            }
        })
    }
}

/// An experiment that is to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewExperiment<'a> {
    /// The id that it is to have, a UUID version 7. Where there is an experiment of that id, it is the one that was made.
    pub id: Uuid,
    /// What to call it.
    pub name: &'a str,
    /// The kind of data store.
    pub database_type: &'a str,
    /// What it does, as JSON, without any password.
    pub config: &'a str,
    /// Its target's URL where that holds a password, sealed by the caller.
    pub sealed: Option<&'a [u8]>,
}

/// An experiment that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Experiment {
    /// Its id, a UUID version 7.
    pub id: Uuid,
    /// What to call it.
    pub name: String,
    /// The kind of data store.
    pub database_type: String,
    /// Where it stands.
    pub status: ExperimentStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// Grows with each change.
    pub version: u64,
    /// What it does, as JSON, without any password.
    pub config: String,
    /// Its target's URL where that holds a password, as the caller sealed it.
    pub sealed: Option<Vec<u8>>,
    /// The newest run.
    pub run: Option<Uuid>,
    /// Why it failed, where it did.
    pub reason: Option<String>,
    /// What its newest run measured, as JSON, in the caller's shape; none before that has ended.
    pub figures: Option<String>,
}

/// Which experiments a list is to have.
#[derive(Debug, Clone, Default)]
pub struct ExperimentFilter {
    /// Of that status alone.
    pub status: Option<ExperimentStatus>,
    /// On that kind of data store alone.
    pub database_type: Option<String>,
    /// With that in their names, whatever the letters' case.
    pub name: Option<String>,
}

/// Where the next page of a list goes on: behind the experiment that was made then and has that id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExperimentCursor {
    /// When it was made.
    pub created_at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

/// What came of deleting an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, with the runs that it led to left as they are.
    Gone,
    /// There is none of that id.
    Unknown,
    /// A run of it waits or goes on.
    Active,
}

/// The columns that [`experiment`] expects.
const COLUMNS: &str = "id, name, database_type, status, created_at_us, version, config, sealed, run, reason, figures";

impl Results {
    /// Keeps a new experiment; once this has returned it survives a power cut.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn create_experiment(&mut self, new: NewExperiment<'_>) -> Result<Experiment> {
        let made = Experiment {
            id: new.id,
            name: new.name.to_owned(),
            database_type: new.database_type.to_owned(),
            status: ExperimentStatus::Pending,
            // What is kept has microseconds, and what is answered now is what will be read later.
            created_at: rows::timestamp(Timestamp::now().as_microsecond()),
            version: 1,
            config: new.config.to_owned(),
            sealed: new.sealed.map(<[u8]>::to_vec),
            run: None,
            reason: None,
            figures: None,
        };
        let is_new = self.write(Durability::Full, |transaction| insert(transaction, &made))?;
        if is_new {
            return Ok(made);
        }
        let missing =
            || Error::Damaged { what: "an experiment".to_owned(), reason: "it is there and is not".to_owned() };
        self.experiment(new.id)?.ok_or_else(missing)
    }

    /// An experiment; none where there is none of that id.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn experiment(&mut self, id: Uuid) -> Result<Option<Experiment>> {
        let query = format!("SELECT {COLUMNS} FROM experiments WHERE id = ?1");
        self.database.query_one(&query, &[id.to_string().into()])?.as_ref().map(experiment).transpose()
    }

    /// The newest experiment whose newest run that is; none where nobody made that run through an experiment.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn experiment_of_run(&mut self, run: Uuid) -> Result<Option<Experiment>> {
        let query = format!("SELECT {COLUMNS} FROM experiments WHERE run = ?1 ORDER BY created_at_us DESC LIMIT 1");
        self.database.query_one(&query, &[run.to_string().into()])?.as_ref().map(experiment).transpose()
    }

    /// Experiments, the newest first, behind a cursor.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn experiments(
        &mut self,
        filter: &ExperimentFilter,
        after: Option<ExperimentCursor>,
        limit: u32,
    ) -> Result<Vec<Experiment>> {
        let mut conditions = vec!["1 = 1".to_owned()];
        let mut parameters: Vec<Value> = Vec::new();
        let mut place = |value: Value| {
            parameters.push(value);
            format!("?{}", parameters.len())
        };
        if let Some(status) = filter.status {
            conditions.push(format!("status = {}", place(status.name().into())));
        }
        if let Some(database_type) = &filter.database_type {
            conditions.push(format!("database_type = {}", place(database_type.as_str().into())));
        }
        if let Some(name) = &filter.name {
            conditions.push(format!("lower(name) LIKE {} ESCAPE '\\'", place(containing(name).into())));
        }
        if let Some(ExperimentCursor { created_at, id }) = after {
            let at = place(created_at.as_microsecond().into());
            let id = place(id.to_string().into());
            conditions.push(format!("(created_at_us < {at} OR (created_at_us = {at} AND id < {id}))"));
        }
        let limit = place(limit.into());
        let query = format!(
            "SELECT {COLUMNS} FROM experiments WHERE {} ORDER BY created_at_us DESC, id DESC LIMIT {limit}",
            conditions.join(" AND ")
        );
        self.database.query(&query, &parameters)?.iter().map(experiment).collect()
    }

    /// Keeps what a run measured with the experiment whose newest run it is.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn keep_figures(&mut self, run: Uuid, figures: &str) -> Result<()> {
        self.write(Durability::Full, |transaction| {
            let parameters = [Value::from(run.to_string()), figures.into()];
            transaction
                .execute("UPDATE experiments SET figures = ?2, version = version + 1 WHERE run = ?1", &parameters)?;
            Ok(())
        })
    }

    /// Deletes an experiment that neither waits nor runs. Its runs stay.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn delete_experiment(&mut self, id: Uuid) -> Result<Deleted> {
        self.write(Durability::Full, |transaction| {
            let id = [Value::from(id.to_string())];
            let found = transaction.query_one("SELECT status FROM experiments WHERE id = ?1", &id)?;
            let Some(row) = found else { return Ok(Deleted::Unknown) };
            if status(&row.get::<String>(0)?)?.is_active() {
                return Ok(Deleted::Active);
            }
            transaction.execute("DELETE FROM queue WHERE experiment = ?1", &id)?;
            transaction.execute("DELETE FROM experiments WHERE id = ?1", &id)?;
            Ok(Deleted::Gone)
        })
    }
}

/// Whether it was not there before.
fn insert(transaction: &mut Transaction<'_>, made: &Experiment) -> Result<bool> {
    let inserted = transaction.execute(
        "INSERT INTO experiments (id, name, database_type, status, created_at_us, version, config, sealed) \
         VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7) ON CONFLICT (id) DO NOTHING",
        &[
            made.id.to_string().into(),
            made.name.as_str().into(),
            made.database_type.as_str().into(),
            made.status.name().into(),
            made.created_at.as_microsecond().into(),
            made.config.as_str().into(),
            made.sealed.clone().into(),
        ],
    )?;
    Ok(inserted > 0)
}

fn experiment(row: &Row) -> Result<Experiment> {
    let run: Option<String> = row.get(8)?;
    Ok(Experiment {
        id: id(&row.get::<String>(0)?)?,
        name: row.get(1)?,
        database_type: row.get(2)?,
        status: status(&row.get::<String>(3)?)?,
        created_at: rows::timestamp(row.get(4)?),
        version: row.get::<i64>(5)?.unsigned_abs(),
        config: row.get(6)?,
        sealed: row.get(7)?,
        run: run.as_deref().map(id).transpose()?,
        reason: row.get(9)?,
        figures: row.get(10)?,
    })
}

/// An id as it is kept.
pub(crate) fn id(text: &str) -> Result<Uuid> {
    Uuid::parse_str(text)
        .map_err(|error| Error::Damaged { what: format!("the id `{text}`"), reason: error.to_string() })
}

/// A status as it is kept.
pub(super) fn status(text: &str) -> Result<ExperimentStatus> {
    text.parse().map_err(|error: StoreError| Error::Damaged {
        what: "the status of an experiment".to_owned(),
        reason: error.to_string(),
    })
}

/// The pattern of names that have a text in them, whatever that has in it.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.to_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::open;

    fn new<'a>(name: &'a str, database_type: &'a str) -> NewExperiment<'a> {
        NewExperiment { id: Uuid::now_v7(), name, database_type, config: "{\"rows\":10}", sealed: None }
    }

    #[test]
    fn experiments_come_back_as_they_were_made() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("results.db");
        let made = {
            let mut results = open(&path);
            let sealed = NewExperiment { sealed: Some(&[1, 0, 255]), ..new("one", "redis") };
            let made = results.create_experiment(sealed).expect("kept");
            assert_eq!(results.create_experiment(sealed).expect("was made before"), made);
            made
        };
        let mut results = open(&path);
        assert_eq!(results.experiment(made.id).expect("readable"), Some(made.clone()));
        assert_eq!(results.experiment(Uuid::nil()).expect("readable"), None);
        assert_eq!(results.delete_experiment(made.id).expect("writable"), Deleted::Gone);
        assert_eq!(results.delete_experiment(made.id).expect("writable"), Deleted::Unknown);
    }

    #[test]
    fn pages_have_every_experiment_once_newest_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = open(&folder.path().join("results.db"));
        let made: Vec<_> = (0..23)
            .map(|number| results.create_experiment(new(&format!("n{number}"), "redis")).expect("kept"))
            .collect();
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = results.experiments(&ExperimentFilter::default(), after, 5).expect("readable");
            let Some(last) = page.last() else { break };
            after = Some(ExperimentCursor { created_at: last.created_at, id: last.id });
            listed.extend(page);
        }
        assert!(listed.iter().eq(made.iter().rev()));
    }

    #[test]
    fn lists_are_filtered() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = open(&folder.path().join("results.db"));
        for (name, database_type) in [("Checkout 100%", "redis"), ("checkout_b", "postgres"), ("other", "redis")] {
            results.create_experiment(new(name, database_type)).expect("kept");
        }
        let filter = |name: &str, database_type: Option<&str>| ExperimentFilter {
            status: Some(ExperimentStatus::Pending),
            database_type: database_type.map(str::to_owned),
            name: Some(name.to_owned()),
        };
        for (filter, expected) in [
            (filter("CHECK", None), 2),
            (filter("%", None), 1),
            (filter("_", None), 1),
            (filter("'; DROP TABLE experiments", None), 0),
            (filter("", Some("redis")), 2),
            (ExperimentFilter { status: Some(ExperimentStatus::Failed), ..ExperimentFilter::default() }, 0),
        ] {
            assert_eq!(results.experiments(&filter, None, 10).expect("readable").len(), expected, "{filter:?}");
        }
    }
}
