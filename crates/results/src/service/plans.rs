//! Plans that have a name: what an experiment is to do, kept so that it can be done again.

use jiff::Timestamp;

use crate::database::{Durability, Row, Value};
use crate::{Result, Results, rows};

/// The table, in the words that both databases read.
pub(crate) const TABLES: &str = "
    CREATE TABLE plans (
        name TEXT PRIMARY KEY,
        database_type TEXT NOT NULL,
        version INTEGER NOT NULL,
        changed_at_us INTEGER NOT NULL,
        config TEXT NOT NULL,
        sealed BLOB
    );";

/// A plan that is to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewPlan<'a> {
    /// Its name.
    pub name: &'a str,
    /// The kind of data store.
    pub database_type: &'a str,
    /// What it does, as JSON, without any password.
    pub config: &'a str,
    /// Its target's URL where that holds a password, sealed by the caller.
    pub sealed: Option<&'a [u8]>,
}

/// A plan that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPlan {
    /// Its name.
    pub name: String,
    /// The kind of data store.
    pub database_type: String,
    /// Grows with each change.
    pub version: u64,
    /// When it was last changed.
    pub changed_at: Timestamp,
    /// What it does, as JSON, without any password.
    pub config: String,
    /// Its target's URL where that holds a password, as the caller sealed it.
    pub sealed: Option<Vec<u8>>,
}

/// Which version of a plan somebody means to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whichever there is, or none.
    Any,
    /// None: the plan is to be new.
    Absent,
    /// That one.
    Version(u64),
}

/// What came of changing a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// It is new.
    Made(NamedPlan),
    /// It was there, and is this now.
    Replaced(NamedPlan),
    /// It is gone.
    Deleted,
    /// There is none of that name.
    Unknown,
    /// It is of another version than was meant; none where it is not there at all.
    Otherwise(Option<u64>),
}

/// The columns that [`plan`] expects.
const COLUMNS: &str = "name, database_type, version, changed_at_us, config, sealed";

impl Results {
    /// Keeps a plan in place of the one of that name, where that is of the version that is expected.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn put_plan(&mut self, new: NewPlan<'_>, expected: Expected) -> Result<Changed> {
        self.write(Durability::Full, |transaction| {
            let found = transaction.query_one("SELECT version FROM plans WHERE name = ?1", &[new.name.into()])?;
            let version = found.map(|row| row.get::<u64>(0)).transpose()?;
            if !expected.fits(version) {
                return Ok(Changed::Otherwise(version));
            }
            let kept = NamedPlan {
                name: new.name.to_owned(),
                database_type: new.database_type.to_owned(),
                version: version.unwrap_or(0) + 1,
                changed_at: rows::timestamp(Timestamp::now().as_microsecond()),
                config: new.config.to_owned(),
                sealed: new.sealed.map(<[u8]>::to_vec),
            };
            transaction.execute(
                "INSERT INTO plans (name, database_type, version, changed_at_us, config, sealed) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO UPDATE SET \
                 database_type = ?2, version = ?3, changed_at_us = ?4, config = ?5, sealed = ?6",
                &[
                    kept.name.as_str().into(),
                    kept.database_type.as_str().into(),
                    kept.version.into(),
                    kept.changed_at.as_microsecond().into(),
                    kept.config.as_str().into(),
                    kept.sealed.clone().into(),
                ],
            )?;
            Ok(if version.is_some() { Changed::Replaced(kept) } else { Changed::Made(kept) })
        })
    }

    /// The plan of a name.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn plan(&mut self, name: &str) -> Result<Option<NamedPlan>> {
        let query = format!("SELECT {COLUMNS} FROM plans WHERE name = ?1");
        self.database.query_one(&query, &[name.into()])?.as_ref().map(plan).transpose()
    }

    /// Plans by name, behind the one of that name.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn plans(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<NamedPlan>> {
        let query = format!("SELECT {COLUMNS} FROM plans WHERE name > ?1 ORDER BY name LIMIT ?2");
        let parameters = [Value::from(after.unwrap_or_default()), limit.into()];
        self.database.query(&query, &parameters)?.iter().map(plan).collect()
    }

    /// Deletes a plan, where it is of the version that is expected.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn delete_plan(&mut self, name: &str, expected: Expected) -> Result<Changed> {
        self.write(Durability::Full, |transaction| {
            let found = transaction.query_one("SELECT version FROM plans WHERE name = ?1", &[name.into()])?;
            let Some(row) = found else { return Ok(Changed::Unknown) };
            let version = Some(row.get::<u64>(0)?);
            if !expected.fits(version) {
                return Ok(Changed::Otherwise(version));
            }
            transaction.execute("DELETE FROM plans WHERE name = ?1", &[name.into()])?;
            Ok(Changed::Deleted)
        })
    }
}

impl Expected {
    fn fits(self, found: Option<u64>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => found.is_none(),
            Self::Version(version) => found == Some(version),
        }
    }
}

fn plan(row: &Row) -> Result<NamedPlan> {
    Ok(NamedPlan {
        name: row.get(0)?,
        database_type: row.get(1)?,
        version: row.get(2)?,
        changed_at: rows::timestamp(row.get(3)?),
        config: row.get(4)?,
        sealed: row.get(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Location;

    #[test]
    fn a_plan_is_changed_only_where_it_is_what_was_seen() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = Results::open(&Location::File(folder.path().join("results.db"))).expect("opens");
        let new = |config| NewPlan { name: "nightly", database_type: "redis", config, sealed: None };
        let Changed::Made(first) = results.put_plan(new("{}"), Expected::Absent).expect("writable") else {
            panic!("it is new")
        };
        assert_eq!(results.put_plan(new("{}"), Expected::Absent).expect("writable"), Changed::Otherwise(Some(1)));
        let second = results.put_plan(new("{\"rows\":1}"), Expected::Version(1)).expect("writable");
        assert!(matches!(second, Changed::Replaced(NamedPlan { version: 2, .. })), "{second:?}");
        assert_eq!(results.put_plan(new("{}"), Expected::Version(1)).expect("writable"), Changed::Otherwise(Some(2)));
        let found = results.plan("nightly").expect("readable").expect("it is there");
        assert_eq!((found.config.as_str(), found.database_type), ("{\"rows\":1}", first.database_type));
        assert_eq!(results.plans(None, 10).expect("readable").len(), 1);
        assert_eq!(results.plans(Some("nightly"), 10).expect("readable"), []);
        assert_eq!(
            results.delete_plan("nightly", Expected::Version(1)).expect("writable"),
            Changed::Otherwise(Some(2))
        );
        assert_eq!(results.delete_plan("nightly", Expected::Any).expect("writable"), Changed::Deleted);
        assert_eq!(results.delete_plan("nightly", Expected::Any).expect("writable"), Changed::Unknown);
    }
}
