//! Prepared statements of one connection, and what comes back from them.

use std::rc::Rc;

use ::store::{Error, Result, StatementId, Value};

use super::error::ServerError;
use super::message::{self, Message, OutOfStep, Reader};
use super::value::{Column, FORMAT_BINARY, format_of, type_of, write_parameter};
use crate::relational::{Plan, RowBuffer};

/// A prepared statement.
#[derive(Debug, Default)]
pub(super) struct Statement {
    /// How the server knows it; empty for one that is used at once.
    name: String,
    /// Types of the parameters.
    parameters: Vec<u32>,
    pub(super) columns: Vec<Column>,
    /// The columns' formats as a Bind wants them.
    formats: Vec<u8>,
    /// Whether the request that prepares it has been sent, and not failed as far as that is known.
    is_parsed: bool,
    /// Whether its columns are known.
    is_described: bool,
    /// Why it could not be prepared, for requests that were sent before that was known.
    failure: Option<Error>,
}

impl Statement {
    /// One that is described with its first use: all of its columns in binary.
    fn planned(number: usize) -> Self {
        let formats = [1, FORMAT_BINARY].into_iter().flat_map(u16::to_be_bytes).collect();
        Self { name: format!("p{number}"), formats, ..Self::default() }
    }

    /// One that is described before its first use.
    pub(super) fn described(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    /// Appends the request that prepares and describes it.
    pub(super) fn prepare(&self, text: &str, out: &mut Vec<u8>) {
        message::parse(out, &self.name, text, &[]);
        message::describe_statement(out, &self.name);
        message::sync(out);
    }

    /// Reads the answer to [`prepare`](Self::prepare).
    pub(super) fn prepared(&mut self, bytes: &[u8]) -> Result<()> {
        let answered = Answered::read(self, bytes, |_, _| Ok(()))?;
        match answered.error {
            Some(error) => Err(error.into_error()),
            None => Ok(()),
        }
    }

    /// Appends a Bind. Nothing is appended where that fails.
    fn bind(&self, parameters: &[Value<'_>], out: &mut Vec<u8>) -> Result<()> {
        let (given, expected) = (parameters.len(), self.parameters.len());
        if given != expected {
            return Err(Error::config(format!("{given} parameters for a statement that takes {expected}")));
        }
        let start = out.len();
        let mut result = Ok(());
        message::message(out, b'B', |out| {
            out.push(0);
            message::text(out, &self.name);
            let count = (given as u16).to_be_bytes();
            out.extend_from_slice(&count);
            for (value, oid) in parameters.iter().zip(&self.parameters) {
                out.extend_from_slice(&format_of(value, *oid).to_be_bytes());
            }
            out.extend_from_slice(&count);
            for (value, oid) in parameters.iter().zip(&self.parameters) {
                if result.is_ok() {
                    result = write_parameter(out, *value, *oid);
                }
            }
            out.extend_from_slice(&self.formats);
        });
        if result.is_err() {
            out.truncate(start);
        }
        result
    }

    /// Appends the request that runs it, once it was described.
    pub(super) fn execute(&self, parameters: &[Value<'_>], out: &mut Vec<u8>) -> Result<()> {
        self.bind(parameters, out)?;
        message::execute_and_sync(out);
        Ok(())
    }

    /// Takes note of its columns: those of a statement are not asked for yet, those of a portal have their formats.
    fn describe(&mut self, body: &[u8]) -> Result<(), OutOfStep> {
        let mut reader = Reader(body);
        let count = reader.count()?;
        let is_planned = self.is_parsed;
        self.is_described = true;
        self.columns.clear();
        let mut formats = count.to_be_bytes().to_vec();
        for _ in 0..count {
            reader.text()?;
            // The table's number and the column's in it.
            reader.bytes(6)?;
            let oid = reader.number()?;
            // The type's length and modifier, and the format.
            reader.bytes(8)?;
            let (column, format) = Column::of(oid);
            self.columns.push(if is_planned { Column::in_binary(oid) } else { column });
            formats.extend_from_slice(&format.to_be_bytes());
        }
        if !is_planned {
            self.formats = formats;
        }
        Ok(())
    }

    fn describe_parameters(&mut self, body: &[u8]) -> Result<(), OutOfStep> {
        let mut reader = Reader(body);
        self.parameters.clear();
        for _ in 0..reader.count()? {
            self.parameters.push(reader.number()?);
        }
        Ok(())
    }
}

/// What an answer holds beside its rows.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// Rows returned, or changed.
    pub(super) rows: u64,
    pub(super) error: Option<ServerError>,
    /// Whether the statement was prepared with it.
    is_parsed: bool,
    /// A commit that was none, because the transaction had failed.
    pub(super) is_rolled_back: bool,
}

impl Answered {
    /// Reads an answer; each row is shown with the number of rows before it.
    pub(super) fn read(
        statement: &mut Statement,
        bytes: &[u8],
        mut row: impl FnMut(&[Column], Reader<'_>) -> Result<(), OutOfStep>,
    ) -> Result<Self, OutOfStep> {
        let mut answered = Self::default();
        for Message { tag, body } in Message::all(bytes) {
            match tag {
                b'D' => {
                    row(&statement.columns, Reader(body))?;
                    answered.rows += 1;
                }
                b'C' => {
                    // `SELECT 3`, `INSERT 0 3`, `COMMIT`: the last word is the number, where there is one.
                    let number = body.split_last().and_then(|(_, tag)| tag.rsplit(|byte| *byte == b' ').next());
                    let number = number.and_then(|number| std::str::from_utf8(number).ok()?.parse().ok());
                    answered.rows = number.unwrap_or(answered.rows);
                    answered.is_rolled_back = body == b"ROLLBACK\0";
                }
                b'1' => answered.is_parsed = true,
                b'E' => answered.error = Some(ServerError::of(body)),
                b'T' => statement.describe(body)?,
                b't' => statement.describe_parameters(body)?,
                b'n' => {
                    statement.is_described = true;
                    if !statement.is_parsed {
                        statement.formats = vec![0; 2];
                    }
                }
                _ => {}
            }
        }
        Ok(answered)
    }
}

/// The columns of a row, one after the other.
pub(super) fn values<'a>(
    columns: &[Column],
    mut row: Reader<'a>,
    mut value: impl FnMut(usize, Value<'a>),
) -> Result<(), OutOfStep> {
    if usize::from(row.count()?) != columns.len() {
        return Err(OutOfStep);
    }
    for (position, column) in columns.iter().enumerate() {
        value(position, column.read(row.column()?)?);
    }
    Ok(())
}

/// Appends a row to a buffer.
pub(super) fn buffer(rows: &mut RowBuffer, columns: &[Column], row: Reader<'_>) -> Result<(), OutOfStep> {
    rows.begin_row();
    values(columns, row, |_, value| rows.push(value))
}

/// All prepared statements of a session, by their number in its plan.
#[derive(Debug)]
pub(super) struct Statements {
    plan: Rc<Plan>,
    /// The planned ones, prepared with their first use.
    planned: Vec<Option<Box<Statement>>>,
    /// Those of the SQL face.
    own: Vec<Statement>,
}

impl Statements {
    /// None prepared yet.
    pub(super) fn new(plan: Rc<Plan>) -> Self {
        let planned = (0..plan.planned()).map(|_| None).collect();
        Self { plan, planned, own: Vec::new() }
    }

    /// The next statement of the SQL face, not prepared yet.
    pub(super) fn next_own(&self) -> Statement {
        Statement::described(format!("s{}", self.own.len()))
    }

    /// Adds what [`next_own`](Self::next_own) gave, prepared by now.
    pub(super) fn push(&mut self, statement: Statement) -> StatementId {
        self.own.push(Statement { is_parsed: true, ..statement });
        StatementId((self.own.len() - 1) as u32)
    }

    /// Appends the request that runs a statement. True where the request also prepares it.
    pub(super) fn execute(&mut self, number: usize, parameters: &[Value<'_>], out: &mut Vec<u8>) -> Result<bool> {
        let Some(place) = self.planned.get_mut(number) else {
            let statement = self.own.get(number - self.planned.len()).ok_or_else(|| unknown(number))?;
            return statement.execute(parameters, out).map(|()| false);
        };
        let statement = place.get_or_insert_with(|| Box::new(Statement::planned(number)));
        if statement.is_parsed && statement.is_described {
            return statement.execute(parameters, out).map(|()| false);
        }
        let start = out.len();
        let parses = !statement.is_parsed;
        if parses {
            statement.parameters.clear();
            statement.parameters.extend(parameters.iter().map(type_of));
            message::parse(out, &statement.name, &self.plan.text(number), &statement.parameters);
        }
        if let Err(error) = statement.bind(parameters, out) {
            out.truncate(start);
            return Err(error);
        }
        message::describe_portal(out);
        message::execute_and_sync(out);
        if parses {
            statement.is_parsed = true;
            statement.failure = None;
        }
        Ok(parses)
    }

    /// Reads the answer to [`execute`](Self::execute), which `parses` where that said so.
    pub(super) fn read(
        &mut self,
        number: usize,
        parses: bool,
        bytes: &[u8],
        row: impl FnMut(&[Column], Reader<'_>) -> Result<(), OutOfStep>,
    ) -> Result<Result<u64>, OutOfStep> {
        let planned = self.planned.len();
        let statement = match self.planned.get_mut(number) {
            Some(place) => place.as_deref_mut(),
            None => self.own.get_mut(number - planned),
        };
        let statement = statement.ok_or(OutOfStep)?;
        let answered = Answered::read(statement, bytes, row)?;
        let Some(error) = answered.error else { return Ok(Ok(answered.rows)) };
        if let Some(failure) = statement.failure.as_ref().filter(|_| error.is_unknown_statement()) {
            return Ok(Err(failure.repeated()));
        }
        let error = error.into_error();
        if parses && !answered.is_parsed {
            statement.is_parsed = false;
            statement.failure = Some(error.repeated());
        }
        Ok(Err(error))
    }
}

fn unknown(number: usize) -> Error {
    Error::bug(format!("there is no statement {number} on this session"))
}
