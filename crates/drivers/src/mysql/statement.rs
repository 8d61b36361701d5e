//! Prepared statements of one connection, and what comes back from them.

use std::rc::Rc;

use ::store::{Error, Result, StatementId, Value};
use mysql_common::constants::Command;

use super::error::ServerError;
use super::packet::{
    self, Answer, Columns, ERROR, Ending, HEADER_BYTES, OK, OutOfStep, Payloads, Prepared, Reader, Spoken,
};
use super::value::{Binary, Column, type_of, write};
use crate::relational::{Parameters, Plan, RowBuffer};

/// A packet's header, the command, the statement's number, no cursor, and that it is run once.
const EXECUTE_BYTES: usize = HEADER_BYTES + 10;
const EXECUTE: [u8; EXECUTE_BYTES] = [0, 0, 0, 0, Command::COM_STMT_EXECUTE as u8, 0, 0, 0, 0, 0, 1, 0, 0, 0];
/// Where the statement's number is.
const EXECUTE_ID: std::ops::Range<usize> = HEADER_BYTES + 1..HEADER_BYTES + 5;

/// Of a parameter that the server was not told the type of.
const TYPE_UNTOLD: u8 = 0;

/// How values of rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Of statements that were prepared.
    Binary,
    /// Of all others.
    Text,
}

/// A statement that can be run again and again.
#[derive(Debug)]
pub(super) struct Statement {
    /// The text, where the protocol cannot prepare it.
    text: Option<String>,
    /// The beginning of the request that runs it.
    head: [u8; EXECUTE_BYTES],
    /// Types of the parameters, as the server was told last.
    types: Vec<u8>,
    columns: Vec<Column>,
}

impl Statement {
    /// One that was not prepared yet, for so many parameters.
    fn unprepared(parameters: usize) -> Self {
        Self { text: None, head: EXECUTE, types: vec![TYPE_UNTOLD; parameters], columns: Vec::new() }
    }

    /// One that the protocol cannot prepare.
    fn of_text(text: &str) -> Self {
        Self { text: Some(text.to_owned()), ..Self::unprepared(0) }
    }

    /// Reads the answer to a request that prepares it.
    pub(super) fn prepared(
        bytes: &[u8],
        spoken: Spoken,
        binary: Binary,
    ) -> Result<Result<Self, ServerError>, OutOfStep> {
        let mut payloads = Payloads(bytes);
        let first = payloads.following()?;
        if first.first() == Some(&ERROR) {
            return Ok(Err(ServerError::of(&first)));
        }
        let Prepared { id, columns, parameters } = Prepared::of(&first)?;
        let mut statement = Self::unprepared(usize::from(parameters));
        statement.head[EXECUTE_ID].copy_from_slice(&id.to_le_bytes());
        for _ in 0..parameters {
            payloads.following()?;
        }
        if parameters > 0 && !spoken.without_eof {
            payloads.following()?;
        }
        for _ in 0..columns {
            let definition = payloads.following()?;
            if definition.first() == Some(&ERROR) {
                return Ok(Err(ServerError::of(&definition)));
            }
            statement.columns.push(Column::of(&definition, binary)?);
        }
        Ok(Ok(statement))
    }

    /// How the server knows it.
    pub(super) fn id(&self) -> Option<u32> {
        let [_, _, _, _, _, a, b, c, d, ..] = self.head;
        self.text.is_none().then(|| u32::from_le_bytes([a, b, c, d]))
    }

    /// Appends the request that runs it; gives the sequence number of its answer. Nothing is appended where that fails.
    pub(super) fn execute(&mut self, parameters: &[Value<'_>], out: &mut Vec<u8>) -> Result<u8> {
        self.check(parameters.len())?;
        if let Some(text) = &self.text {
            return Ok(packet::packet(out, 0, |out| {
                out.push(Command::COM_QUERY as u8);
                out.extend_from_slice(text.as_bytes());
            }));
        }
        let start = out.len();
        out.extend_from_slice(&self.head);
        if parameters.is_empty() {
            return Ok(packet::finish(out, start, 0));
        }
        let nulls = out.len();
        out.resize(nulls + parameters.len().div_ceil(8), 0);
        let tells = self.update_types(parameters);
        out.push(u8::from(tells));
        if tells {
            out.extend(self.types.iter().flat_map(|kind| [*kind, 0]));
        }
        for (position, value) in parameters.iter().enumerate() {
            if let Value::Null = value {
                out[nulls + position / 8] |= 1 << (position % 8);
            }
            write(out, *value);
        }
        Ok(packet::finish(out, start, 0))
    }

    fn check(&self, given: usize) -> Result<()> {
        let expected = self.types.len();
        if given == expected {
            return Ok(());
        }
        Err(Error::config(format!("{given} parameters for a statement that takes {expected}")))
    }

    /// Takes note of the parameters' types; true where the server must be told. A NULL goes with every type.
    fn update_types(&mut self, parameters: &[Value<'_>]) -> bool {
        let mut tells = false;
        for (told, value) in self.types.iter_mut().zip(parameters) {
            let kind = type_of(value);
            if *told != kind && (*told == TYPE_UNTOLD || !matches!(value, Value::Null)) {
                *told = kind;
                tells = true;
            }
        }
        tells
    }

    /// Reads the answer to [`execute`](Self::execute): rows returned, or changed. Rows are not shown where it failed.
    pub(super) fn answered(
        &mut self,
        bytes: &[u8],
        answer: Answer,
        spoken: Spoken,
        binary: Binary,
        row: impl FnMut(Row<'_>) -> Result<(), OutOfStep>,
    ) -> Result<Result<u64>, OutOfStep> {
        let encoding = if self.text.is_some() { Encoding::Text } else { Encoding::Binary };
        let answered = Answered::read(&mut self.columns, bytes, answer, encoding, spoken, binary, row)?;
        if answered.error.is_some() {
            // Whether it has come to look at them is not known.
            self.types.fill(TYPE_UNTOLD);
        }
        Ok(answered.into_result())
    }
}

/// What an answer holds beside its rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    /// Rows returned, or changed, by the first result: further ones of a procedure are not shown.
    pub(super) rows: u64,
    pub(super) error: Option<ServerError>,
}

impl Answered {
    /// Reads an answer. `columns` are those of before, which need not be defined again.
    pub(super) fn read(
        columns: &mut Vec<Column>,
        bytes: &[u8],
        answer: Answer,
        encoding: Encoding,
        spoken: Spoken,
        binary: Binary,
        mut row: impl FnMut(Row<'_>) -> Result<(), OutOfStep>,
    ) -> Result<Self, OutOfStep> {
        let mut payloads = Payloads(bytes);
        let mut answered = Self::default();
        if answer.failed {
            let last = payloads.last().ok_or(OutOfStep)?;
            answered.error = Some(ServerError::of(&last));
            return Ok(answered);
        }
        let first = payloads.following()?;
        if first.first() == Some(&OK) {
            answered.rows = Ending::of_ok(&first)?.changed;
            return Ok(answered);
        }
        let Columns { count, defined } = Columns::of(&first, spoken)?;
        if defined {
            columns.clear();
            for _ in 0..count {
                columns.push(Column::of(&payloads.following()?, binary)?);
            }
            if !spoken.without_eof {
                payloads.following()?;
            }
        } else if columns.len() as u64 != count {
            return Err(OutOfStep);
        }
        loop {
            let payload = payloads.following()?;
            if payload.first() == Some(&packet::END) && payload.len() < packet::PAYLOAD_BYTES_MAX {
                return Ok(answered);
            }
            let mut reader = Reader(&payload);
            if encoding == Encoding::Binary && reader.byte()? != OK {
                return Err(OutOfStep);
            }
            row(Row { columns, encoding, reader })?;
            answered.rows += 1;
        }
    }

    /// The number of rows, or the error.
    pub(super) fn into_result(self) -> Result<u64> {
        self.error.map_or(Ok(self.rows), |error| Err(error.into_error()))
    }
}

/// A row where it lies.
pub(super) struct Row<'a> {
    columns: &'a [Column],
    encoding: Encoding,
    reader: Reader<'a>,
}

impl Row<'_> {
    /// Shows its columns, one after the other. `scratch` is for those that are written anew.
    pub(super) fn values(self, scratch: &mut String, mut show: impl FnMut(usize, Value<'_>)) -> Result<(), OutOfStep> {
        let Self { columns, encoding, mut reader } = self;
        if encoding == Encoding::Text {
            for (position, column) in columns.iter().enumerate() {
                show(position, column.parse(reader.column()?));
            }
            return Ok(());
        }
        // The first two bits are not a column's.
        let nulls = reader.bytes((columns.len() + 2).div_ceil(8))?;
        for (position, column) in columns.iter().enumerate() {
            let bit = position + 2;
            if nulls[bit / 8] & 1 << (bit % 8) != 0 {
                show(position, Value::Null);
            } else {
                show(position, column.read(&mut reader, scratch)?);
            }
        }
        Ok(())
    }

    /// Appends it to a buffer.
    pub(super) fn keep(self, rows: &mut RowBuffer, scratch: &mut String) -> Result<(), OutOfStep> {
        rows.begin_row();
        self.values(scratch, |_, value| rows.push(value))
    }
}

/// All statements of a session, by their number in its plan.
#[derive(Debug)]
pub(super) struct Statements {
    plan: Rc<Plan>,
    /// The planned ones, prepared with their first use.
    planned: Vec<Option<Box<Statement>>>,
    /// Those of the SQL face.
    own: Vec<Statement>,
    /// Parameters of a planned one that is being prepared.
    held: RowBuffer,
    binary: Binary,
}

impl Statements {
    /// None prepared yet.
    pub(super) fn new(plan: Rc<Plan>, binary: Binary) -> Self {
        let planned = (0..plan.planned()).map(|_| None).collect();
        Self { plan, planned, own: Vec::new(), held: RowBuffer::default(), binary }
    }

    /// The statement of that number, once it is prepared.
    pub(super) fn get(&mut self, number: usize) -> Option<&mut Statement> {
        let planned = self.planned.len();
        match self.planned.get_mut(number) {
            Some(place) => place.as_deref_mut(),
            None => self.own.get_mut(number - planned),
        }
    }

    /// The text of a planned statement, to prepare it. What it is to be run with is kept until then.
    pub(super) fn hold(&mut self, number: usize, parameters: &[Value<'_>]) -> Result<String> {
        if number >= self.planned.len() {
            return Err(Error::bug(format!("there is no statement {number} on this session")));
        }
        self.held.clear();
        self.held.begin_row();
        for value in parameters {
            self.held.push(*value);
        }
        Ok(self.plan.text(number))
    }

    /// Reads the answer to a request that prepares a planned statement.
    pub(super) fn take_planned(
        &mut self,
        number: usize,
        bytes: &[u8],
        spoken: Spoken,
    ) -> Result<Result<()>, OutOfStep> {
        let place = self.planned.get_mut(number).ok_or(OutOfStep)?;
        Ok(match Statement::prepared(bytes, spoken, self.binary)? {
            Ok(statement) => {
                *place = Some(Box::new(statement));
                Ok(())
            }
            Err(error) => Err(error.into_error()),
        })
    }

    /// Appends the request that was held.
    pub(super) fn execute_held(&mut self, number: usize, out: &mut Vec<u8>) -> Result<u8> {
        let mut parameters = Parameters::new();
        for value in self.held.row(0) {
            parameters.push(value);
        }
        let statement = self.planned.get_mut(number).and_then(Option::as_deref_mut).ok_or(OutOfStep)?;
        statement.execute(parameters.as_slice(), out)
    }

    /// Reads the answer to a request that prepares a statement of the SQL face.
    pub(super) fn take_own(
        &mut self,
        text: &str,
        bytes: &[u8],
        spoken: Spoken,
    ) -> Result<Result<StatementId>, OutOfStep> {
        let statement = match Statement::prepared(bytes, spoken, self.binary)? {
            Ok(statement) => statement,
            Err(error) if error.is_not_preparable() => Statement::of_text(text),
            Err(error) => return Ok(Err(error.into_error())),
        };
        self.own.push(statement);
        Ok(Ok(StatementId((self.own.len() - 1) as u32)))
    }
}
