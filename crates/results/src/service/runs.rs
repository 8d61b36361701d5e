//! Runs in pages, for lists that grow for years.

use experiment::Status;
use jiff::Timestamp;
use uuid::Uuid;

use crate::database::{Durability, Value};
use crate::{Result, Results, RunSummary};

/// Which runs a list is to have.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Of that status alone.
    pub status: Option<Status>,
    /// On that driver's stores alone.
    pub driver: Option<String>,
    /// Of that name alone.
    pub name: Option<String>,
}

/// Where the next page of a list goes on: behind the run that started then and has that id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunCursor {
    /// When it started.
    pub started_at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

impl Results {
    /// Runs, the newest first, behind a cursor. A run whose process died is of the status `running` until it is recovered, but
    /// shown as interrupted.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn runs_page(&mut self, filter: &RunFilter, after: Option<RunCursor>, limit: u32) -> Result<Vec<RunSummary>> {
        let mut conditions = vec!["1 = 1".to_owned()];
        let mut parameters: Vec<Value> = vec![limit.into()];
        let mut place = |value: Value| {
            parameters.push(value);
            format!("?{}", parameters.len())
        };
        for (column, value) in [
            ("status", filter.status.map(|status| status.name().to_owned())),
            ("driver", filter.driver.clone()),
            ("name", filter.name.clone()),
        ] {
            conditions.extend(value.map(|value| format!("{column} = {}", place(value.into()))));
        }
        if let Some(RunCursor { started_at, id }) = after {
            let at = place(started_at.as_microsecond().into());
            let id = place(id.to_string().into());
            conditions.push(format!("(started_at_us < {at} OR (started_at_us = {at} AND id < {id}))"));
        }
        self.runs_where(&conditions.join(" AND "), &parameters)
    }

    /// What is wrong with the database itself, in its own words: nothing where it is sound.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn integrity(&mut self) -> Result<Vec<String>> {
        if self.database.is_shared_by_hosts() {
            // A server checks its own pages.
            return Ok(Vec::new());
        }
        let found = self.database.query("PRAGMA integrity_check", &[])?;
        let mut found = found.iter().map(|row| row.get::<String>(0)).collect::<Result<Vec<_>>>()?;
        found.retain(|word| word != "ok");
        Ok(found)
    }

    /// Deletes what a run told while it went on; the run itself is deleted by [`delete`](Self::delete).
    ///
    /// # Errors
    /// What writing may bring.
    pub fn forget_messages(&mut self, run: Uuid) -> Result<()> {
        self.write(Durability::Full, |transaction| {
            transaction.execute("DELETE FROM messages WHERE run = ?1", &[run.to_string().into()])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use experiment::Sink;

    use super::*;
    use crate::Location;
    use crate::fixture;

    #[test]
    fn pages_have_every_run_once_newest_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = Results::open(&Location::File(folder.path().join("results.db"))).expect("opens");
        let ids: Vec<_> = (0..7)
            .map(|number| {
                let record = fixture::started(&format!("n{number}"), Uuid::now_v7());
                results.started(&record).expect("kept");
                record.id
            })
            .collect();
        let (mut listed, mut after) = (Vec::new(), None);
        loop {
            let page = results.runs_page(&RunFilter::default(), after, 3).expect("readable");
            let Some(last) = page.last() else { break };
            after = Some(RunCursor { started_at: last.started_at, id: last.id });
            listed.extend(page.iter().map(|run| run.id));
        }
        listed.sort_unstable();
        assert_eq!(listed, ids);
        let filter = |name: Option<&str>, status| RunFilter { name: name.map(str::to_owned), status, driver: None };
        for (filter, expected) in [
            (filter(Some("n3"), None), 1),
            (filter(None, Some(Status::Running)), 7),
            (filter(None, Some(Status::Failed)), 0),
            (RunFilter { driver: Some("'".to_owned()), ..RunFilter::default() }, 0),
        ] {
            assert_eq!(results.runs_page(&filter, None, 10).expect("readable").len(), expected, "{filter:?}");
        }
    }
}
