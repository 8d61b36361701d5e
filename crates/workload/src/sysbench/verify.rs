//! The check after a run: how many rows there are, against what the clients have done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use store::{Dataset, Error, Request, Result, Rows, SessionSpec, Store, Token, Value, execute};

use super::Plan;
use super::client::Tally;
use super::script::{Kind, Script};
use crate::Check;

/// What is found, and what the clients tell.
pub(super) async fn check(
    plan: &Plan,
    dataset: &Dataset,
    store: &dyn Store,
    tallies: &[Arc<Tally>],
) -> Result<Vec<Check>> {
    let Dataset::Tables(set) = dataset else { return Err(Error::bug("sysbench without tables")) };
    let sum = |counter: fn(&Tally) -> &AtomicU64| {
        tallies.iter().map(|tally| counter(tally).load(Ordering::Relaxed)).sum::<u64>()
    };
    let attempted = sum(|tally| &tally.attempted);
    let acknowledged = sum(|tally| &tally.acknowledged);
    let loaded = set.numbers();
    let (min, max) = match plan.script {
        Script::Insert | Script::BulkInsert => (loaded + acknowledged, loaded + attempted),
        Script::Delete => (loaded.saturating_sub(attempted), loaded.saturating_sub(acknowledged)),
        // Each statement for itself: a run that was cut short may have left rows deleted, one a client.
        _ if !plan.has_transactions && plan.kinds.contains(&Kind::Reinsert) => {
            (loaded.saturating_sub(tallies.len() as u64), loaded)
        }
        _ => (loaded, loaded),
    };
    let mut session = store.session(SessionSpec { dataset: None, depth: 1 }).await?;
    let mut found = 0;
    for table in &set.tables {
        let text = format!("SELECT COUNT(*) FROM {}", set.namespace.object(&table.name));
        let sql = session.sql().ok_or_else(|| Error::bug("a store with SQL has sessions without"))?;
        let statement = sql.prepare(&text).await?;
        let mut number = Number(None);
        execute(session.as_mut(), &Request::Statement { statement, parameters: &[] }, &mut number).await?;
        found += number.0.ok_or_else(|| Error::wrong_result("a count is no number"))?;
    }
    let expected = if min == max { min.to_string() } else { format!("{min} to {max}") };
    let restarts = sum(|tally| &tally.restarts);
    Ok(vec![
        Check {
            name: "rows".to_owned(),
            passed: (min..=max).contains(&found),
            detail: format!("{found} rows are there; {expected} must be"),
        },
        Check {
            name: "restarts".to_owned(),
            passed: true,
            detail: format!("{restarts} times a transaction began anew after a conflict with another"),
        },
    ])
}

/// The one number of a result.
struct Number(Option<u64>);

impl Rows for Number {
    fn begin(&mut self, _token: Token) {}

    fn value(&mut self, _column: usize, value: Value<'_>) {
        self.0 = match value {
            Value::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        };
    }
}
