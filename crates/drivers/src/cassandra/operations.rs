//! The driver's own operations, on four tables:
//!
//! | table | partition | rows | what it is for |
//! |---|---|---|---|
//! | `conditionals` | one row each | n | `lwt` |
//! | `items` | one row each | n | `insert`, `select`, `update`, `delete` |
//! | `points` | a series, newest first | n, one of about a hundred of its series | `timeseries` |
//! | `registers` | one row each | n | `consistency` and its levels |
//!
//! A register's payload derives from its row and its version, and its version is the write's own timestamp: of writes at
//! the same time the one with the highest version stays, whatever order replicas see them in. Any whole version is right at
//! ONE; where reads and writes meet on a replica, at QUORUM and ALL, a read must also be as new as what was written before.

use std::sync::Arc;

use scylla::policies::timestamp_generator::{MonotonicTimestampGenerator, TimestampGenerator};
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;
use store::{Effect, Error, ErrorKind, Namespace, Operation, OperationRows, Result, Value};

use super::address::Address;
use super::client::Client;
use super::manifest::Definition;
use super::records::{Prepared, Ready, Shared};
use crate::contents::Contents;
use crate::rows::RowBuffer;

/// What users can ask for.
pub(crate) static OPERATIONS: [Operation; 10] = [
    Operation::new(
        "insert",
        Effect::Adds,
        "writes one row of a partition of its own; a row that is there is overwritten",
    ),
    Operation::new("select", Effect::Reads, "reads one row by its partition key; every column is verified"),
    Operation::new("update", Effect::Changes, "writes one column of a row by its partition key, without reading it"),
    Operation::new("delete", Effect::Removes, "removes one row by its partition key, without reading it"),
    Operation::new(
        "consistency",
        Effect::Changes,
        "the same write and read of a row at ONE, QUORUM and ALL in turn; what is read is verified",
    ),
    Operation::new(
        "consistency_one",
        Effect::Changes,
        "a write and a read of a row at ONE; must be some whole version",
    ),
    Operation::new(
        "consistency_quorum",
        Effect::Changes,
        "a write and a read of a row at QUORUM; must be at least as new as was written",
    ),
    Operation::new(
        "consistency_all",
        Effect::Changes,
        "a write and a read of a row at ALL; must be at least as new as was written",
    ),
    Operation::new(
        "timeseries",
        Effect::Reads,
        "the newest points of a time range by partition and clustering key; rows, order and values verified",
    ),
    Operation::new(
        "lwt",
        Effect::Changes,
        "a serial read and a compare-and-set (IF) of a row; what is read is verified, and it must be applied",
    ),
];

/// About so many points a series: a few pages of a chart.
const POINTS_PER_SERIES: u64 = 100;

/// Points of the range that is read.
const RANGE_POINTS: u64 = 20;

/// More rows than the range can have, so that surplus ones are seen.
const RANGE_LIMIT: u64 = 2 * RANGE_POINTS;

/// The first point's time, in milliseconds since 1970, and the time between two.
const TIME_FIRST_MS: u64 = 1_600_000_000_000;
const TIME_STEP_MS: u64 = 1000;

/// The version that is loaded: older than any clock.
const VERSION_LOADED: i64 = 1;

/// What the rows hold, and the statements of all sessions on them.
pub(crate) struct Plan {
    pub(crate) rows: OperationRows,
    contents: Contents,
    shared: Arc<Shared<Query>>,
}

impl Plan {
    /// For those rows.
    pub(crate) fn new(rows: &OperationRows) -> Self {
        Self { rows: rows.clone(), contents: Contents::new(rows), shared: Arc::default() }
    }

    fn series(&self) -> u64 {
        (self.contents.rows / POINTS_PER_SERIES).max(1)
    }
}

/// A statement, and the level that it asks for where the operation says which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Query {
    Insert,
    Select,
    Update,
    Delete,
    Write(Level),
    Read(Level),
    Point,
    Range,
    Condition,
    Look,
    CompareAndSet,
}

/// How many replicas must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Level {
    /// As the URL says.
    Usual,
    One,
    Quorum,
    All,
}

/// The tables of a dataset's operations.
pub(crate) fn definitions(namespace: &Namespace) -> [Definition; 4] {
    let versions = "id bigint PRIMARY KEY, version bigint, payload text";
    let table = |name: &str, columns: &str, order| Definition {
        name: namespace.object(name),
        columns: columns.to_owned(),
        order,
    };
    [
        table("conditionals", versions, None),
        table("items", "id bigint PRIMARY KEY, code bigint, quantity bigint, payload text", None),
        table(
            "points",
            "series bigint, time timestamp, value bigint, PRIMARY KEY (series, time)",
            Some("CLUSTERING ORDER BY (time DESC)"),
        ),
        table("registers", versions, None),
    ]
}

/// One session's operations.
pub(crate) struct Operations {
    plan: Arc<Plan>,
    address: Arc<Address>,
    statements: Prepared<Query>,
    payload: String,
    versions: MonotonicTimestampGenerator,
}

impl Operations {
    /// On those rows.
    pub(crate) fn new(plan: Arc<Plan>, address: Arc<Address>) -> Self {
        let statements = Prepared::new(Arc::clone(&plan.shared));
        Self { plan, address, statements, payload: String::new(), versions: MonotonicTimestampGenerator::new() }
    }

    /// Writes what a row has in all tables.
    pub(crate) async fn load(&mut self, client: &Client, row: u64, rows: &mut RowBuffer) -> Result<()> {
        self.insert(client, row, rows).await?;
        self.write(client, Level::Usual, row, VERSION_LOADED, rows).await?;
        self.set_payload(row, VERSION_LOADED);
        let values = [id(row), Value::Integer(VERSION_LOADED)];
        let statement = prepared(&mut self.statements, &self.address, &self.plan, client, Query::Condition).await?;
        statement.run(&[values[0], values[1], Value::Text(&self.payload)], rows).await?;
        let (series, position) = (row % self.plan.series(), row / self.plan.series());
        let values = [id(series), time(position), Value::Integer(self.plan.contents.amount(row))];
        self.statement(client, Query::Point).await?.run(&values, rows).await
    }

    /// Runs an operation on a row and verifies its answer.
    pub(crate) async fn run(&mut self, client: &Client, operation: u16, row: u64, rows: &mut RowBuffer) -> Result<u64> {
        let name = OPERATIONS.get(usize::from(operation)).map_or("", |operation| operation.name);
        if i64::try_from(row).is_err() {
            return Err(Error::bug(format!("row number {row} does not fit a 64-bit column")));
        }
        if row >= self.plan.contents.rows && !matches!(name, "insert" | "delete" | "") {
            return Err(Error::bug(format!("`{name}` of row {row} where {} are loaded", self.plan.contents.rows)));
        }
        match name {
            "insert" => self.insert(client, row, rows).await?,
            "select" => self.select(client, row, rows).await?,
            "update" => {
                let quantity = Value::Integer(self.next_version());
                self.statement(client, Query::Update).await?.run(&[quantity, id(row)], rows).await?;
            }
            "delete" => self.statement(client, Query::Delete).await?.run(&[id(row)], rows).await?,
            "consistency" => {
                for level in [Level::One, Level::Quorum, Level::All] {
                    self.write_and_read(client, level, row, rows).await?;
                }
            }
            "consistency_one" => self.write_and_read(client, Level::One, row, rows).await?,
            "consistency_quorum" => self.write_and_read(client, Level::Quorum, row, rows).await?,
            "consistency_all" => self.write_and_read(client, Level::All, row, rows).await?,
            "timeseries" => return self.range(client, row, rows).await,
            "lwt" => self.compare_and_set(client, row, rows).await?,
            _ => return Err(Error::bug(format!("there is no operation {operation}"))),
        }
        Ok(1)
    }

    async fn insert(&mut self, client: &Client, row: u64, rows: &mut RowBuffer) -> Result<()> {
        self.payload.clear();
        self.plan.contents.write_payload(row, &mut self.payload);
        let code = Value::Integer(self.plan.contents.code(row));
        let statement = prepared(&mut self.statements, &self.address, &self.plan, client, Query::Insert).await?;
        statement.run(&[id(row), code, Value::Integer(0), Value::Text(&self.payload)], rows).await
    }

    async fn select(&mut self, client: &Client, row: u64, rows: &mut RowBuffer) -> Result<()> {
        self.statement(client, Query::Select).await?.run(&[id(row)], rows).await?;
        self.payload.clear();
        self.plan.contents.write_payload(row, &mut self.payload);
        verify(rows.len() == 1, "select", row, "is not there")?;
        verify(rows.value(0, 0) == Value::Integer(self.plan.contents.code(row)), "select", row, "has another code")?;
        verify(matches!(rows.value(0, 1), Value::Integer(_)), "select", row, "has no quantity")?;
        verify(rows.text(0, 2) == Some(&self.payload), "select", row, "has another payload")
    }

    /// Both at the same level.
    async fn write_and_read(&mut self, client: &Client, level: Level, row: u64, rows: &mut RowBuffer) -> Result<()> {
        let version = self.next_version();
        self.write(client, level, row, version, rows).await?;
        rows.clear();
        self.statement(client, Query::Read(level)).await?.run(&[id(row)], rows).await?;
        let found = self.verify_version("consistency", row, rows)?;
        let is_new = level == Level::One || found >= version;
        verify(is_new, "consistency", row, "is older than what was written before")
    }

    async fn write(
        &mut self,
        client: &Client,
        level: Level,
        row: u64,
        version: i64,
        rows: &mut RowBuffer,
    ) -> Result<()> {
        self.set_payload(row, version);
        let version = Value::Integer(version);
        let statement = prepared(&mut self.statements, &self.address, &self.plan, client, Query::Write(level)).await?;
        statement.run(&[version, version, Value::Text(&self.payload), id(row)], rows).await
    }

    /// The version that was read, whose payload must be its own.
    fn verify_version(&mut self, name: &str, row: u64, rows: &RowBuffer) -> Result<i64> {
        verify(rows.len() == 1, name, row, "is not there")?;
        let version = rows.value(0, 0).as_integer();
        let version = version.ok_or_else(|| Error::wrong_result(format!("{name} of row {row}: has no version")))?;
        self.set_payload(row, version);
        verify(rows.text(0, 1) == Some(&self.payload), name, row, "has another payload than its version")?;
        Ok(version)
    }

    async fn compare_and_set(&mut self, client: &Client, row: u64, rows: &mut RowBuffer) -> Result<()> {
        self.statement(client, Query::Look).await?.run(&[id(row)], rows).await?;
        let found = self.verify_version("lwt", row, rows)?;
        rows.clear();
        let version = self.next_version().max(found + 1);
        self.set_payload(row, version);
        let statement = prepared(&mut self.statements, &self.address, &self.plan, client, Query::CompareAndSet).await?;
        let values = [Value::Integer(version), Value::Text(&self.payload), id(row), Value::Integer(found)];
        statement.run(&values, rows).await?;
        if rows.value(0, 0) == Value::Integer(1) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, format!("lwt of row {row}: another session set it meanwhile")))
    }

    /// The newest points up to the row's own.
    async fn range(&mut self, client: &Client, row: u64, rows: &mut RowBuffer) -> Result<u64> {
        let (count, position) = (self.plan.series(), row / self.plan.series());
        let series = row % count;
        let points = RANGE_POINTS.min(position + 1);
        let behind = Value::Integer((TIME_FIRST_MS + (position + 1) * TIME_STEP_MS - 1).cast_signed());
        let from = time(position + 1 - points);
        let values = [id(series), behind, from, Value::Integer(RANGE_LIMIT.cast_signed())];
        self.statement(client, Query::Range).await?.run(&values, rows).await?;
        verify(rows.len() as u64 == points, "timeseries", row, "has another number of points")?;
        for place in 0..points {
            let number = (position - place) * count + series;
            let expect = [time(position - place), Value::Integer(self.plan.contents.amount(number))];
            verify(rows.row(place as usize).eq(expect), "timeseries", row, "has other points, or in another order")?;
        }
        Ok(points)
    }

    /// The time in microseconds, as the library numbers writes, or one more than before.
    fn next_version(&self) -> i64 {
        self.versions.next_timestamp()
    }

    /// A row's payload in a version: another row's, far from all that are loaded.
    fn set_payload(&mut self, row: u64, version: i64) {
        let number = (row + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(version.cast_unsigned());
        self.payload.clear();
        self.plan.contents.write_payload(number, &mut self.payload);
    }

    async fn statement<'a>(&'a mut self, client: &'a Client, query: Query) -> Result<Ready<'a>> {
        prepared(&mut self.statements, &self.address, &self.plan, client, query).await
    }
}

async fn prepared<'a>(
    statements: &'a mut Prepared<Query>,
    address: &Address,
    plan: &Plan,
    client: &'a Client,
    query: Query,
) -> Result<Ready<'a>> {
    let statement = statements.get(query, async || prepare(address, plan, client, query).await).await?;
    Ok(Ready { client, statement })
}

async fn prepare(address: &Address, plan: &Plan, client: &Client, query: Query) -> Result<PreparedStatement> {
    let mut statement = client.prepare(&text(query, |name| address.table(&plan.rows.namespace.object(name)))).await?;
    let level = match query {
        Query::Look if address.serial_consistency == "serial" => Some(Consistency::Serial),
        Query::Look => Some(Consistency::LocalSerial),
        Query::Write(Level::One) | Query::Read(Level::One) => Some(Consistency::One),
        Query::Write(Level::Quorum) | Query::Read(Level::Quorum) => Some(Consistency::Quorum),
        Query::Write(Level::All) | Query::Read(Level::All) => Some(Consistency::All),
        _ => None,
    };
    if let Some(level) = level {
        statement.set_consistency(level);
    }
    Ok(statement)
}

fn text(query: Query, table: impl Fn(&str) -> String) -> String {
    match query {
        Query::Insert => {
            format!("INSERT INTO {} (id, code, quantity, payload) VALUES (?, ?, ?, ?)", table("items"))
        }
        Query::Select => format!("SELECT code, quantity, payload FROM {} WHERE id = ?", table("items")),
        Query::Update => format!("UPDATE {} SET quantity = ? WHERE id = ?", table("items")),
        Query::Delete => format!("DELETE FROM {} WHERE id = ?", table("items")),
        Query::Write(_) => {
            format!("UPDATE {} USING TIMESTAMP ? SET version = ?, payload = ? WHERE id = ?", table("registers"))
        }
        Query::Read(_) => format!("SELECT version, payload FROM {} WHERE id = ?", table("registers")),
        Query::Point => format!("INSERT INTO {} (series, time, value) VALUES (?, ?, ?)", table("points")),
        Query::Range => {
            let table = table("points");
            format!("SELECT time, value FROM {table} WHERE series = ? AND time <= ? AND time >= ? LIMIT ?")
        }
        Query::Condition => format!("INSERT INTO {} (id, version, payload) VALUES (?, ?, ?)", table("conditionals")),
        Query::Look => format!("SELECT version, payload FROM {} WHERE id = ?", table("conditionals")),
        Query::CompareAndSet => {
            format!("UPDATE {} SET version = ?, payload = ? WHERE id = ? IF version = ?", table("conditionals"))
        }
    }
}

fn id(number: u64) -> Value<'static> {
    Value::Integer(number.cast_signed())
}

/// The time of a point by its position in its series.
fn time(position: u64) -> Value<'static> {
    Value::Integer((TIME_FIRST_MS + position * TIME_STEP_MS).cast_signed())
}

fn verify(holds: bool, name: &str, row: u64, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::wrong_result(format!("{name} of row {row}: {what}"))) }
}
