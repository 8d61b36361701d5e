//! The key-value verbs.
//!
//! A record is a row whose partition is one of a few `shards`, by a hash of its key, and whose place in it is its key. A scan
//! is one statement over all shards, which the coordinator merges; it cannot be paged, so a long one is asked for in parts.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use scylla::statement::prepared::PreparedStatement;
use store::{Error, Fields, RecordTable, Request, Result, Value, Values};

use super::client::Client;
use super::manifest::Definition;
use crate::rows::{Parameters, RowBuffer, Shape};

/// Records that one statement of a scan asks for at most: the coordinator reads as many from every shard.
const SCAN_ROWS_MAX: usize = 1000;

/// Bytes that such a statement asks for at most, about.
const SCAN_BYTES_MAX: usize = 4 << 20;

/// Statements by what they do, prepared when they are first used, once for all sessions of a store.
pub(crate) struct Shared<K>(Mutex<HashMap<K, Arc<PreparedStatement>>>);

impl<K> Default for Shared<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

/// The same as one session has them, without a lock.
pub(crate) struct Prepared<K> {
    shared: Arc<Shared<K>>,
    own: HashMap<K, Arc<PreparedStatement>>,
}

impl<K: Copy + Eq + Hash> Prepared<K> {
    /// A session's.
    pub(crate) fn new(shared: Arc<Shared<K>>) -> Self {
        Self { shared, own: HashMap::new() }
    }

    /// The statement that does it; `prepare` makes it where nobody has.
    pub(crate) async fn get(
        &mut self,
        what: K,
        prepare: impl AsyncFnOnce() -> Result<PreparedStatement>,
    ) -> Result<&PreparedStatement> {
        if !self.own.contains_key(&what) {
            let shared =
                |shared: &Shared<K>| shared.0.lock().unwrap_or_else(PoisonError::into_inner).get(&what).cloned();
            let statement = if let Some(statement) = shared(&self.shared) {
                statement
            } else {
                let statement = Arc::new(prepare().await?);
                let mut shared = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::clone(shared.entry(what).or_insert(statement))
            };
            self.own.insert(what, statement);
        }
        Ok(&self.own[&what])
    }
}

/// What a statement does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Verb {
    Read,
    ReadOne(u16),
    /// From a key on.
    Scan,
    /// From behind a key on.
    ScanOn,
    Insert,
    Update {
        first: u16,
        count: u16,
    },
    Delete,
}

/// What is said of a table, and how its records are found.
pub(crate) struct Records {
    table: RecordTable,
    /// As statements name it.
    name: String,
    shards: u32,
    statements: Prepared<Verb>,
}

/// The table of a dataset's records.
pub(crate) fn definition(table: &RecordTable) -> Definition {
    let mut columns = "shard int, key text, ".to_owned();
    for field in 0..table.field_count {
        write!(columns, "field{field} text, ").expect("a String takes everything");
    }
    columns.push_str("PRIMARY KEY (shard, key)");
    Definition { name: table.namespace.object(table.table), columns, order: None }
}

/// The shard of a key: FNV-1a over its bytes (<http://www.isthe.com/chongo/tech/comp/fnv/>), its halves folded, as its low
/// bits alone follow the last letters too closely. Loaded data depends on it.
pub(crate) fn shard(key: &str, shards: u32) -> u32 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in key.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    ((hash >> 32) ^ hash) as u32 % shards
}

impl Records {
    /// The records of that table, which is called `name`.
    pub(crate) fn new(table: RecordTable, name: String, shards: u32, shared: Arc<Shared<Verb>>) -> Self {
        Self { table, name, shards, statements: Prepared::new(shared) }
    }

    /// Runs one of the verbs.
    pub(crate) async fn run(&mut self, client: &Client, request: &Request<'_>, rows: &mut RowBuffer) -> Result<u64> {
        match *request {
            Request::Read { key, fields } => {
                let (verb, first) = match fields {
                    Fields::All => (Verb::Read, 0),
                    Fields::One(field) => (Verb::ReadOne(field), field),
                };
                rows.set_shape(Shape { key: false, first: usize::from(first) });
                let parameters = [self.shard(key), Value::Text(key)];
                self.statement(client, verb).await?.run(&parameters, rows).await?;
                Ok(rows.len() as u64)
            }
            Request::Scan { start, limit } => self.scan(client, start, limit as usize, rows).await,
            Request::Insert { key, values } => {
                if values.first != 0 || values.iter().len() != usize::from(self.table.field_count) {
                    return Err(Error::bug("a record is inserted with all its fields"));
                }
                let mut parameters = Parameters::new();
                parameters.push(self.shard(key));
                parameters.push(Value::Text(key));
                values.iter().for_each(|(_, value)| parameters.push(Value::Bytes(value)));
                self.statement(client, Verb::Insert).await?.run(parameters.as_slice(), rows).await?;
                Ok(1)
            }
            Request::Update { key, values } => self.update(client, key, values, rows).await,
            Request::Delete { key } => {
                let parameters = [self.shard(key), Value::Text(key)];
                self.statement(client, Verb::Delete).await?.run(&parameters, rows).await?;
                Ok(1)
            }
            _ => Err(Error::bug("that is no key-value verb")),
        }
    }

    async fn update(&mut self, client: &Client, key: &str, values: Values<'_>, rows: &mut RowBuffer) -> Result<u64> {
        let count = values.iter().len();
        if count == 0 || usize::from(values.first) + count > usize::from(self.table.field_count) {
            return Err(Error::bug("an update names fields that the record has not"));
        }
        let mut parameters = Parameters::new();
        values.iter().for_each(|(_, value)| parameters.push(Value::Bytes(value)));
        parameters.push(self.shard(key));
        parameters.push(Value::Text(key));
        let verb = Verb::Update { first: values.first, count: count as u16 };
        self.statement(client, verb).await?.run(parameters.as_slice(), rows).await?;
        Ok(1)
    }

    async fn scan(&mut self, client: &Client, start: &str, limit: usize, rows: &mut RowBuffer) -> Result<u64> {
        rows.set_shape(Shape { key: true, first: 0 });
        let record_bytes = usize::from(self.table.field_count) * self.table.field_length;
        let part_max = (SCAN_BYTES_MAX / record_bytes.max(1)).clamp(1, SCAN_ROWS_MAX);
        let (mut last, mut verb) = (None::<String>, Verb::Scan);
        while rows.len() < limit {
            let (before, part) = (rows.len(), part_max.min(limit - rows.len()));
            let key = Value::Text(last.as_deref().unwrap_or(start));
            let parameters = [key, Value::Integer((part as u64).cast_signed())];
            self.statement(client, verb).await?.run(&parameters, rows).await?;
            if rows.len() < before + part || rows.len() >= limit {
                break;
            }
            last = rows.text(rows.len() - 1, 0).map(str::to_owned);
            verb = Verb::ScanOn;
        }
        Ok(rows.len() as u64)
    }

    fn shard(&self, key: &str) -> Value<'static> {
        Value::Integer(i64::from(shard(key, self.shards)))
    }

    async fn statement<'a>(&'a mut self, client: &'a Client, verb: Verb) -> Result<Ready<'a>> {
        let Self { table, name, shards, statements } = self;
        let statement = statements.get(verb, async || client.prepare(&text(table, name, *shards, verb)).await).await?;
        Ok(Ready { client, statement })
    }
}

/// A prepared statement and who runs it.
pub(crate) struct Ready<'a> {
    pub(crate) client: &'a Client,
    pub(crate) statement: &'a PreparedStatement,
}

impl Ready<'_> {
    pub(crate) async fn run(&self, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<()> {
        self.client.execute(self.statement, parameters, rows).await
    }
}

/// The text of a statement on a table that is called `name`.
fn text(table: &RecordTable, name: &str, shards: u32, verb: Verb) -> String {
    let list = |separator: &str, item: &dyn Fn(u32) -> String, numbers: std::ops::Range<u32>| {
        numbers.map(item).collect::<Vec<_>>().join(separator)
    };
    let field = |number: u32| format!("field{number}");
    let all = 0..u32::from(table.field_count);
    let fields = || list(", ", &field, all.clone());
    let scan = |comparison: &str| {
        let shards = list(", ", &|shard| shard.to_string(), 0..shards);
        let fields = fields();
        format!(
            "SELECT key, {fields} FROM {name} WHERE shard IN ({shards}) AND key {comparison} ? ORDER BY key LIMIT ?"
        )
    };
    match verb {
        Verb::Read => format!("SELECT {} FROM {name} WHERE shard = ? AND key = ?", fields()),
        Verb::ReadOne(number) => format!("SELECT field{number} FROM {name} WHERE shard = ? AND key = ?"),
        Verb::Scan => scan(">="),
        Verb::ScanOn => scan(">"),
        Verb::Insert => {
            let marks = list(", ", &|_| "?".to_owned(), all.clone());
            format!("INSERT INTO {name} (shard, key, {}) VALUES (?, ?, {marks})", fields())
        }
        Verb::Update { first, count } => {
            let set = list(", ", &|number| format!("field{number} = ?"), first.into()..(first + count).into());
            format!("UPDATE {name} SET {set} WHERE shard = ? AND key = ?")
        }
        Verb::Delete => format!("DELETE FROM {name} WHERE shard = ? AND key = ?"),
    }
}

#[cfg(test)]
mod tests {
    use store::Namespace;

    use super::*;

    #[test]
    fn statements_are_these() {
        let namespace = Namespace::new("x").expect("valid");
        let table = RecordTable {
            namespace,
            table: "usertable",
            records: 1,
            field_count: 3,
            field_length: 1,
            key_length_max: 1,
        };
        for (verb, expect) in [
            (Verb::Read, "SELECT field0, field1, field2 FROM t WHERE shard = ? AND key = ?"),
            (Verb::ReadOne(2), "SELECT field2 FROM t WHERE shard = ? AND key = ?"),
            (
                Verb::Scan,
                "SELECT key, field0, field1, field2 FROM t WHERE shard IN (0, 1) AND key >= ? ORDER BY key LIMIT ?",
            ),
            (Verb::Insert, "INSERT INTO t (shard, key, field0, field1, field2) VALUES (?, ?, ?, ?, ?)"),
            (Verb::Update { first: 1, count: 2 }, "UPDATE t SET field1 = ?, field2 = ? WHERE shard = ? AND key = ?"),
            (Verb::Delete, "DELETE FROM t WHERE shard = ? AND key = ?"),
        ] {
            assert_eq!(text(&table, "t", 2, verb), expect);
        }
    }

    /// Keys as YCSB makes them lie in all shards, and about as many in each.
    #[test]
    fn keys_are_spread_evenly() {
        for shards in [1, 3, 16, 256] {
            let mut found = vec![0_u32; shards as usize];
            for number in 0..100 * shards {
                found[shard(&format!("user{number:019}"), shards) as usize] += 1;
            }
            assert!(found.iter().all(|count| (40..=160).contains(count)), "{shards}: {found:?}");
        }
        // What was loaded by one version is found by the next.
        assert_eq!([shard("", 256), shard("a", 256), shard("user1", 256)], [193, 192, 40]);
    }
}
