//! The audit log: who did what, to what, against which target, when, and what came of it.

use jiff::Timestamp;
use uuid::Uuid;

use super::experiments::id;
use crate::database::{Durability, Row, Value};
use crate::{Result, Results, rows};

/// The table, in the words that both databases read.
pub(crate) const TABLES: &str = "
    CREATE TABLE audit (
        key {key},
        at_us INTEGER NOT NULL,
        actor TEXT NOT NULL,
        role TEXT NOT NULL,
        token TEXT,
        action TEXT NOT NULL,
        object TEXT,
        target TEXT,
        outcome TEXT NOT NULL,
        address TEXT NOT NULL,
        request TEXT NOT NULL
    );
    CREATE INDEX audit_by_actor ON audit (actor, key);
    CREATE INDEX audit_by_target ON audit (target, key);";

/// Entries that are kept: at 200 bytes each 20 MB, and months of what a team does. The oldest make room.
const ENTRIES_MAX: i64 = 100_000;

/// Something that was done, or tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When it was over.
    pub at: Timestamp,
    /// Who: the name of a token, `local` without one, `service` for what nobody asked for just then.
    pub actor: String,
    /// What they might do.
    pub role: String,
    /// Their token.
    pub token: Option<Uuid>,
    /// What they did: `POST /api/v1/experiments/{id}/run`.
    pub action: String,
    /// The id of what they did it to.
    pub object: Option<String>,
    /// The target that load goes to, where it is about one, without its password.
    pub target: Option<String>,
    /// What came of it: `ok`, or why not, in a word (`forbidden`, `invalid`).
    pub outcome: String,
    /// The address that it was asked from.
    pub address: String,
    /// The id of the request.
    pub request: String,
}

/// An entry with its place in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    /// Grows from entry to entry.
    pub sequence: i64,
    /// What was done.
    pub entry: AuditEntry,
}

/// Which entries a list is to have.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Of that actor alone.
    pub actor: Option<String>,
    /// With that outcome alone.
    pub outcome: Option<String>,
    /// Against that target alone.
    pub target: Option<String>,
    /// To that object alone.
    pub object: Option<String>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

/// The columns that [`record`] expects.
const COLUMNS: &str = "key, at_us, actor, role, token, action, object, target, outcome, address, request";

impl Results {
    /// Adds an entry; once this has returned it survives a power cut.
    ///
    /// # Errors
    /// What writing may bring.
    pub fn append_audit(&mut self, entry: &AuditEntry) -> Result<()> {
        self.write(Durability::Full, |transaction| {
            let added = transaction.query_one(
                "INSERT INTO audit (at_us, actor, role, token, action, object, target, outcome, address, request) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING key",
                &[
                    entry.at.as_microsecond().into(),
                    entry.actor.as_str().into(),
                    entry.role.as_str().into(),
                    entry.token.map(|token| token.to_string()).into(),
                    entry.action.as_str().into(),
                    entry.object.clone().into(),
                    entry.target.clone().into(),
                    entry.outcome.as_str().into(),
                    entry.address.as_str().into(),
                    entry.request.as_str().into(),
                ],
            )?;
            if let Some(row) = added {
                let oldest = row.get::<i64>(0)? - ENTRIES_MAX;
                transaction.execute("DELETE FROM audit WHERE key <= ?1", &[oldest.into()])?;
            }
            Ok(())
        })
    }

    /// Entries, the newest first, before a place in the log.
    ///
    /// # Errors
    /// What reading may bring.
    pub fn audit(&mut self, filter: &AuditFilter, before: Option<i64>, limit: u32) -> Result<Vec<AuditRecord>> {
        let time = |at: Option<Timestamp>| at.map(|at| Value::from(at.as_microsecond()));
        let text = |text: Option<&str>| text.map(Value::from);
        let conditions = [
            ("actor =", text(filter.actor.as_deref())),
            ("outcome =", text(filter.outcome.as_deref())),
            ("target =", text(filter.target.as_deref())),
            ("object =", text(filter.object.as_deref())),
            ("at_us >=", time(filter.since)),
            ("at_us <", time(filter.until)),
            ("key <", before.map(Value::from)),
        ];
        let given = conditions.into_iter().filter_map(|(condition, value)| Some((condition, value?)));
        let (conditions, mut parameters): (Vec<_>, Vec<_>) = given
            .enumerate()
            .map(|(place, (condition, value))| (format!(" AND {condition} ?{}", place + 1), value))
            .unzip();
        parameters.push(limit.into());
        let query = format!(
            "SELECT {COLUMNS} FROM audit WHERE 1 = 1{} ORDER BY key DESC LIMIT ?{}",
            conditions.concat(),
            parameters.len()
        );
        self.database.query(&query, &parameters)?.iter().map(record).collect()
    }
}

fn record(row: &Row) -> Result<AuditRecord> {
    let token: Option<String> = row.get(4)?;
    Ok(AuditRecord {
        sequence: row.get(0)?,
        entry: AuditEntry {
            at: rows::timestamp(row.get(1)?),
            actor: row.get(2)?,
            role: row.get(3)?,
            token: token.as_deref().map(id).transpose()?,
            action: row.get(5)?,
            object: row.get(6)?,
            target: row.get(7)?,
            outcome: row.get(8)?,
            address: row.get(9)?,
            request: row.get(10)?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_by_what_they_say() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut results = crate::fixture::open(&folder.path().join("results.db"));
        let entry = |second: i64, actor: &str, outcome: &str| AuditEntry {
            at: Timestamp::from_second(second).expect("in range"),
            actor: actor.to_owned(),
            role: "admin".to_owned(),
            token: Some(Uuid::from_u128(7)),
            action: "POST /api/v1/stop".to_owned(),
            object: Some(format!("object {second}")),
            target: None,
            outcome: outcome.to_owned(),
            address: "127.0.0.1".to_owned(),
            request: "r".to_owned(),
        };
        for (second, actor, outcome) in [(1, "ann", "ok"), (2, "bob", "forbidden"), (3, "ann", "forbidden")] {
            results.append_audit(&entry(second, actor, outcome)).expect("writable");
        }
        let mut found = |filter: AuditFilter, before| -> Vec<i64> {
            let records = results.audit(&filter, before, 10).expect("readable");
            records.iter().map(|record| record.entry.at.as_second()).collect()
        };
        assert_eq!(found(AuditFilter::default(), None), [3, 2, 1]);
        assert_eq!(found(AuditFilter { actor: Some("ann".to_owned()), ..AuditFilter::default() }, None), [3, 1]);
        assert_eq!(found(AuditFilter { outcome: Some("ok".to_owned()), ..AuditFilter::default() }, None), [1]);
        assert_eq!(found(AuditFilter { object: Some("object 2".to_owned()), ..AuditFilter::default() }, None), [2]);
        let since = AuditFilter { since: Some(entry(2, "", "").at), ..AuditFilter::default() };
        assert_eq!(found(since, None), [3, 2]);
        assert_eq!(found(AuditFilter::default(), Some(2)), [1]);
        assert_eq!(
            results.audit(&AuditFilter::default(), None, 1).expect("readable")[0].entry,
            entry(3, "ann", "forbidden")
        );
    }
}
