//! How a connection runs statements.

use std::fmt::Write;
use std::rc::Rc;

use mysql_async::consts::ColumnType;
use mysql_async::prelude::{Protocol, Queryable};
use mysql_async::{Column, Conn, Params, QueryResult, Row, Statement};
use store::{Error, Result, StatementId, Value};

use super::error::error;
use crate::relational::{Link, Plan, RowBuffer, Statements, Work};

/// The character set of bytes that are no text.
const CHARSET_BINARY: u16 = 63;

/// What byte strings without a character set become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    /// [`Value::Bytes`].
    Bytes,
    /// [`Value::Text`] where they are UTF-8: keys of records are bytes for their order, but they are text.
    Text,
}

/// Runs single statements.
pub(super) struct Plain(pub(super) Conn);

impl Link for Plain {
    async fn run(&mut self, text: &str, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64> {
        if parameters.is_empty() {
            let result = self.0.query_iter(text).await.map_err(error)?;
            return take(result, Binary::Bytes, rows).await;
        }
        let statement = self.0.prep(text).await.map_err(error)?;
        let result = execute(&mut self.0, &statement, parameters, Binary::Bytes, rows).await;
        // Not even waited for: the server does not answer to it.
        let closed = self.0.close(statement).await.map_err(error);
        let count = result?;
        closed.map(|()| count)
    }
}

/// Runs prepared statements, each prepared when it is first used.
pub(super) struct Prepared {
    /// None only while this is dropped.
    connection: Option<Conn>,
    plan: Rc<Plan>,
    /// By number: the planned ones, then those of the SQL face.
    statements: Vec<Option<Statement>>,
    binary: Binary,
    is_busy: bool,
    is_broken: bool,
}

impl Prepared {
    pub(super) fn new(connection: Conn, plan: Rc<Plan>) -> Self {
        let statements = vec![None; plan.planned()];
        let binary = if matches!(plan.work, Work::Records(_)) { Binary::Text } else { Binary::Bytes };
        Self { connection: Some(connection), plan, statements, binary, is_busy: false, is_broken: false }
    }

    /// Runs something on the connection, and knows what became of that.
    async fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        let connection = self.connection.as_mut().expect("only dropping takes it");
        self.is_busy = true;
        let result = work(connection).await;
        self.is_busy = false;
        if let Err(error) = &result {
            self.is_broken |= error.kind() == store::ErrorKind::Unreachable || connection.is_disconnected();
        }
        result
    }

    async fn command(&mut self, text: &str) -> Result<()> {
        self.run(async |connection| connection.query_drop(text).await.map_err(error)).await
    }
}

/// An idle connection says farewell, which the library does in a task of its own. One that is dropped amid an answer
/// would read that to its end first, however long it is; without a runtime around it, it is just closed.
impl Drop for Prepared {
    fn drop(&mut self) {
        let connection = self.connection.take();
        if self.is_busy {
            let _ = std::thread::Builder::new().spawn(move || drop(connection));
        }
    }
}

impl Statements for Prepared {
    async fn query(&mut self, statement: usize, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64> {
        let binary = self.binary;
        let place = self
            .statements
            .get(statement)
            .ok_or_else(|| Error::bug(format!("there is no statement {statement} on this session")))?;
        let prepared = if let Some(prepared) = place {
            prepared.clone()
        } else {
            let text = self.plan.text(statement);
            let prepared = self.run(async |connection| connection.prep(text).await.map_err(error)).await?;
            self.statements[statement] = Some(prepared.clone());
            prepared
        };
        self.run(async |connection| execute(connection, &prepared, parameters, binary, rows).await).await
    }

    async fn prepare(&mut self, text: &str) -> Result<StatementId> {
        let statement = self.run(async |connection| connection.prep(text).await.map_err(error)).await?;
        self.statements.push(Some(statement));
        Ok(StatementId((self.statements.len() - 1 - self.plan.planned()) as u32))
    }

    async fn begin(&mut self) -> Result<()> {
        self.command("START TRANSACTION").await
    }

    async fn commit(&mut self) -> Result<()> {
        self.command("COMMIT").await
    }

    async fn rollback(&mut self) -> Result<()> {
        self.command("ROLLBACK").await
    }

    fn is_broken(&self) -> bool {
        self.is_broken
    }
}

/// Runs a prepared statement and appends its rows.
async fn execute(
    connection: &mut Conn,
    statement: &Statement,
    parameters: &[Value<'_>],
    binary: Binary,
    rows: &mut RowBuffer,
) -> Result<u64> {
    let result = start(connection, statement, parameters.iter().copied()).await?;
    take(result, binary, rows).await
}

/// Runs a prepared statement that returns no rows; the parameters may be many.
pub(super) async fn execute_many<'a>(
    connection: &mut Conn,
    statement: &Statement,
    parameters: impl Iterator<Item = Value<'a>>,
) -> Result<()> {
    let result = start(connection, statement, parameters).await?;
    result.drop_result().await.map_err(error)
}

async fn start<'a, 'c>(
    connection: &'c mut Conn,
    statement: &Statement,
    parameters: impl Iterator<Item = Value<'a>>,
) -> Result<QueryResult<'c, 'static, mysql_async::BinaryProtocol>> {
    let values: Vec<_> = parameters.map(bound).collect();
    // The library would close the connection over this.
    let (given, expected) = (values.len(), usize::from(statement.num_params()));
    if given != expected {
        return Err(Error::config(format!("{given} parameters for a statement that takes {expected}")));
    }
    let parameters = if values.is_empty() { Params::Empty } else { Params::Positional(values) };
    connection.exec_iter(statement, parameters).await.map_err(error)
}

/// Appends the rows of a result; their number, or that of the rows that were changed.
async fn take<P: Protocol>(result: QueryResult<'_, 'static, P>, binary: Binary, rows: &mut RowBuffer) -> Result<u64> {
    if result.is_empty() {
        let changed = result.affected_rows();
        result.drop_result().await.map_err(error)?;
        return Ok(changed);
    }
    let before = rows.len();
    result.for_each_and_drop(|row| push_row(&row, binary, rows)).await.map_err(error)?;
    Ok((rows.len() - before) as u64)
}

/// A value as the library takes it.
fn bound(value: Value<'_>) -> mysql_async::Value {
    match value {
        Value::Null => mysql_async::Value::NULL,
        Value::Integer(number) => mysql_async::Value::Int(number),
        Value::Real(number) => mysql_async::Value::Double(number),
        Value::Text(text) => mysql_async::Value::Bytes(text.as_bytes().to_vec()),
        Value::Bytes(bytes) => mysql_async::Value::Bytes(bytes.to_vec()),
    }
}

fn push_row(row: &Row, binary: Binary, rows: &mut RowBuffer) {
    use mysql_async::Value as Found;
    rows.begin_row();
    for (position, column) in row.columns_ref().iter().enumerate() {
        match row.as_ref(position) {
            None | Some(Found::NULL) => rows.push(Value::Null),
            Some(Found::Int(number)) => rows.push(Value::Integer(*number)),
            Some(Found::UInt(number)) => rows.push(unsigned(*number)),
            Some(Found::Float(number)) => rows.push(Value::Real(f64::from(*number))),
            Some(Found::Double(number)) => rows.push(Value::Real(*number)),
            Some(Found::Bytes(bytes)) => rows.push(of_bytes(bytes, column, binary)),
            Some(Found::Date(year, month, day, hour, minute, second, micros)) => rows.push_text_with(|text| {
                let _ = write!(text, "{year:04}-{month:02}-{day:02}");
                if column.column_type() != ColumnType::MYSQL_TYPE_DATE {
                    let _ = write!(text, " {hour:02}:{minute:02}:{second:02}");
                    push_micros(*micros, text);
                }
            }),
            Some(Found::Time(is_negative, days, hours, minutes, seconds, micros)) => rows.push_text_with(|text| {
                let (sign, hours) = (if *is_negative { "-" } else { "" }, days * 24 + u32::from(*hours));
                let _ = write!(text, "{sign}{hours:02}:{minutes:02}:{seconds:02}");
                push_micros(*micros, text);
            }),
        }
    }
}

fn push_micros(micros: u32, text: &mut String) {
    if micros != 0 {
        let _ = write!(text, ".{micros:06}");
    }
}

/// Numbers beyond the signed ones lose their last digits rather than their sign.
fn unsigned(number: u64) -> Value<'static> {
    i64::try_from(number).map_or(Value::Real(number as f64), Value::Integer)
}

/// What the bytes of a column are. Numbers come as text where a statement was not prepared; decimals always do.
fn of_bytes<'a>(bytes: &'a [u8], column: &Column, binary: Binary) -> Value<'a> {
    use ColumnType::{
        MYSQL_TYPE_BIT, MYSQL_TYPE_BLOB, MYSQL_TYPE_DOUBLE, MYSQL_TYPE_FLOAT, MYSQL_TYPE_GEOMETRY, MYSQL_TYPE_INT24,
        MYSQL_TYPE_LONG, MYSQL_TYPE_LONGLONG, MYSQL_TYPE_SHORT, MYSQL_TYPE_STRING, MYSQL_TYPE_TINY,
        MYSQL_TYPE_VAR_STRING, MYSQL_TYPE_YEAR,
    };
    let text = || std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Text);
    match column.column_type() {
        MYSQL_TYPE_VAR_STRING | MYSQL_TYPE_STRING | MYSQL_TYPE_BLOB => {
            if column.character_set() == CHARSET_BINARY && binary == Binary::Bytes {
                Value::Bytes(bytes)
            } else {
                text()
            }
        }
        MYSQL_TYPE_BIT | MYSQL_TYPE_GEOMETRY => Value::Bytes(bytes),
        MYSQL_TYPE_TINY | MYSQL_TYPE_SHORT | MYSQL_TYPE_INT24 | MYSQL_TYPE_LONG | MYSQL_TYPE_LONGLONG
        | MYSQL_TYPE_YEAR => match text() {
            Value::Text(digits) => match (digits.parse(), digits.parse()) {
                (Ok(number), _) => Value::Integer(number),
                (Err(_), Ok(number)) => unsigned(number),
                (Err(_), Err(_)) => Value::Text(digits),
            },
            other => other,
        },
        MYSQL_TYPE_FLOAT | MYSQL_TYPE_DOUBLE => match text() {
            Value::Text(digits) => digits.parse().map_or(Value::Text(digits), Value::Real),
            other => other,
        },
        _ => text(),
    }
}
