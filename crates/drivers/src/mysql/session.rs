//! The hot path: a request is encoded into one buffer, leaves in one write, and its answer is read where it lies.
//!
//! The server answers one request before it takes the next, so there is never more than one in flight. An operation may
//! take several round trips: it is a future, boxed once, that runs its statements through the same [`Shared`].

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ::store::{
    Completion, Error, ErrorKind, LocalBoxFuture, Outcome, Request, Result, Rows, Session, Sql, StatementId, Token,
    Value,
};

use super::connection::Connection;
use super::packet::{Answer, Asked, OutOfStep};
use super::statement::{Answered, Encoding, Row, Statements};
use super::value::Binary;
use crate::lane::LaneClient;
use crate::relational::{self, Parameters, Plan, RowBuffer, Shape, Work, Worker};
use crate::wire::Settled;

const BEGIN: &str = "START TRANSACTION";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// One connection at work.
pub(super) struct MySqlSession {
    shared: Rc<RefCell<Shared>>,
    plan: Rc<Plan>,
    in_flight: Option<InFlight>,
    /// For operations; none on other sessions.
    operations: Option<Operations>,
}

#[derive(Debug, Clone, Copy)]
struct InFlight {
    token: Token,
    work: InFlightWork,
}

#[derive(Debug, Clone, Copy)]
enum InFlightWork {
    /// One statement, whose rows are shown so.
    Statement(Shape),
    Operation,
}

/// What a session and its operations share.
struct Shared {
    connection: Connection<Settled>,
    statements: Statements,
    binary: Binary,
    sent: Sent,
    scratch: String,
    broken: Option<Error>,
}

/// What the next answer is to.
#[derive(Debug, Clone, Copy)]
enum Sent {
    /// A planned statement is prepared, and run once it is.
    Prepare(usize),
    Statement(usize),
    /// A text as it stands, which returns no rows.
    Text,
}

impl Shared {
    /// Whether a request can be sent; a connection on which somebody gave up waiting for an answer is good for nothing.
    fn check(&mut self) -> Result<()> {
        if self.broken.is_none() && self.connection.is_busy() {
            self.broken = Some(Error::unreachable("mysql: the connection was given up amid an answer"));
        }
        self.broken.as_ref().map_or(Ok(()), |error| Err(error.repeated()))
    }

    /// Appends a statement, or what prepares it.
    fn send(&mut self, number: usize, parameters: &[Value<'_>]) -> Result<()> {
        if let Some(statement) = self.statements.get(number) {
            self.sent = Sent::Statement(number);
            return self.connection.ask(Asked::Result, |out| statement.execute(parameters, out));
        }
        let text = self.statements.hold(number, parameters)?;
        self.sent = Sent::Prepare(number);
        self.connection.ask_prepare(&text)
    }

    fn send_text(&mut self, text: &str) -> Result<()> {
        self.sent = Sent::Text;
        self.connection.ask_text(text)
    }

    /// The end of what was sent; each row of it is shown first.
    fn poll_end(
        &mut self,
        context: &mut Context<'_>,
        mut row: impl FnMut(Row<'_>, &mut String) -> Result<(), OutOfStep>,
    ) -> Poll<Result<u64>> {
        if let Some(error) = &self.broken {
            return Poll::Ready(Err(error.repeated()));
        }
        loop {
            let result = match ready!(self.connection.poll_answer(context)) {
                Ok(answer) => self.take(answer, &mut row),
                Err(error) => Err(error),
            };
            match result {
                Ok(None) => {}
                Ok(Some(rows)) => return Poll::Ready(Ok(rows)),
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            }
        }
    }

    /// Takes note of an error that ends the connection.
    fn failed(&mut self, error: Error) -> Error {
        if error.kind() == ErrorKind::Unreachable && self.broken.is_none() {
            self.broken = Some(error.repeated());
        }
        error
    }

    /// Takes the answer. None where it leads to another request, which is then sent.
    fn take(
        &mut self,
        answer: Answer,
        row: &mut impl FnMut(Row<'_>, &mut String) -> Result<(), OutOfStep>,
    ) -> Result<Option<u64>> {
        let Self { connection, statements, scratch, binary, .. } = self;
        let (spoken, bytes) = (connection.spoken(), &connection.buffered()[..answer.length]);
        let result = match self.sent {
            Sent::Statement(number) => {
                let statement = statements.get(number).ok_or(OutOfStep)?;
                statement.answered(bytes, answer, spoken, *binary, |shown| row(shown, scratch))
            }
            Sent::Text => Answered::read(&mut Vec::new(), bytes, answer, Encoding::Text, spoken, *binary, |_| Ok(()))
                .map(Answered::into_result),
            Sent::Prepare(number) => {
                let prepared = statements.take_planned(number, bytes, spoken);
                connection.consume(answer);
                prepared??;
                self.sent = Sent::Statement(number);
                connection.ask(Asked::Result, |out| statements.execute_held(number, out))?;
                return Ok(None);
            }
        };
        connection.consume(answer);
        result?.map(Some)
    }
}

impl MySqlSession {
    /// On a connection of its own.
    pub(super) fn new(connection: Connection<Settled>, plan: Plan) -> Self {
        let plan = Rc::new(plan);
        let binary = if matches!(plan.work, Work::Records(_)) { Binary::Text } else { Binary::Bytes };
        let shared = Rc::new(RefCell::new(Shared {
            connection,
            statements: Statements::new(Rc::clone(&plan), binary),
            binary,
            sent: Sent::Text,
            scratch: String::new(),
            broken: None,
        }));
        let has_operations = matches!(plan.work, Work::Operations(_));
        let operations = has_operations.then(|| Operations::new(&shared, &plan));
        Self { shared, plan, in_flight: None, operations }
    }

    fn send(&mut self, request: &Request<'_>) -> Result<InFlightWork> {
        if let Request::Operation { operation, row } = *request {
            let operations = self.operations.as_mut();
            let operations = operations.ok_or_else(|| Error::bug("an operation on a session without its dataset"))?;
            operations.start(operation, row);
            return Ok(InFlightWork::Operation);
        }
        let mut shared = self.shared.borrow_mut();
        // The request is taken all the same: it ends with the reason when it is polled.
        let is_usable = shared.check().is_ok();
        let text = match request {
            Request::Begin => BEGIN,
            Request::Commit => COMMIT,
            Request::Rollback => ROLLBACK,
            _ => {
                let mut parameters = Parameters::new();
                let (number, shape) = self.plan.statement(request, &mut parameters)?;
                if is_usable {
                    shared.send(number, parameters.as_slice())?;
                }
                return Ok(InFlightWork::Statement(shape));
            }
        };
        if is_usable {
            shared.send_text(text)?;
        }
        Ok(InFlightWork::Statement(Shape::default()))
    }
}

impl Session for MySqlSession {
    fn depth(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        usize::from(self.in_flight.is_some())
    }

    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        if self.in_flight.is_some() {
            return Err(Error::bug("more requests than the session's depth"));
        }
        let work = self.send(request)?;
        self.in_flight = Some(InFlight { token, work });
        Ok(())
    }

    fn poll_completion(&mut self, context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion> {
        let Some(InFlight { token, work }) = self.in_flight else {
            return Poll::Pending;
        };
        let result = match (work, &mut self.operations) {
            (InFlightWork::Operation, Some(operations)) => ready!(operations.poll_end(context)),
            (InFlightWork::Operation, None) => Err(Error::bug("an operation on a session without its dataset")),
            (InFlightWork::Statement(shape), _) => {
                let mut is_first = true;
                let show = |row: Row<'_>, scratch: &mut String| {
                    if std::mem::take(&mut is_first) {
                        rows.begin(token);
                    }
                    show(rows, shape, row, scratch)
                };
                ready!(self.shared.borrow_mut().poll_end(context, show))
            }
        };
        self.in_flight = None;
        Poll::Ready(Completion { token, result: result.map(|rows| Outcome { rows }) })
    }

    fn is_broken(&self) -> bool {
        self.shared.borrow().broken.is_some()
    }

    fn waits_in_reactor(&self) -> bool {
        self.shared.borrow().connection.is_queued()
    }

    fn sql(&mut self) -> Option<&mut dyn Sql> {
        Some(self)
    }
}

impl Sql for MySqlSession {
    fn prepare<'a>(&'a mut self, text: &'a str) -> LocalBoxFuture<'a, Result<StatementId>> {
        Box::pin(async move {
            if self.in_flight.is_some() {
                return Err(Error::bug("a statement is prepared while a request is in flight"));
            }
            {
                let mut shared = self.shared.borrow_mut();
                shared.check()?;
                shared.connection.ask_prepare(text)?;
            }
            let answer = poll_fn(|context| self.shared.borrow_mut().connection.poll_answer(context)).await;
            let mut shared = self.shared.borrow_mut();
            let taken = answer.and_then(|answer| {
                let Shared { connection, statements, .. } = &mut *shared;
                let taken = statements.take_own(text, &connection.buffered()[..answer.length], connection.spoken());
                connection.consume(answer);
                taken?
            });
            taken.map_err(|error| shared.failed(error))
        })
    }

    fn placeholder(&self, number: usize) -> String {
        self.plan.dialect.placeholder.number(number)
    }
}

fn show(rows: &mut dyn Rows, shape: Shape, row: Row<'_>, scratch: &mut String) -> Result<(), OutOfStep> {
    if !shape.key {
        rows.row(None);
    }
    row.values(scratch, |position, value| match (shape.key, position) {
        (true, 0) => rows.row(value.as_bytes().and_then(|key| std::str::from_utf8(key).ok())),
        (key, _) => rows.value(shape.first + position - usize::from(key), value),
    })
}

/// The operations of a session, one after the other.
struct Operations {
    future: LocalBoxFuture<'static, ()>,
    place: Rc<RefCell<Place>>,
}

/// Where a session and its operations meet.
#[derive(Default)]
struct Place {
    operation: Option<(u16, u64)>,
    result: Option<Result<u64>>,
}

impl Operations {
    fn new(shared: &Rc<RefCell<Shared>>, plan: &Rc<Plan>) -> Self {
        let place = Rc::new(RefCell::new(Place::default()));
        let worker = Worker::new(Rc::clone(plan), SharedStatements(Rc::clone(shared)));
        Self { future: Box::pin(operate(worker, Rc::clone(&place))), place }
    }

    fn start(&mut self, operation: u16, row: u64) {
        self.place.borrow_mut().operation = Some((operation, row));
    }

    fn poll_end(&mut self, context: &mut Context<'_>) -> Poll<Result<u64>> {
        let _ = self.future.as_mut().poll(context);
        self.place.borrow_mut().result.take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The session polls this after it has put an operation in place: no waker is kept.
async fn operate(mut worker: Worker<SharedStatements>, place: Rc<RefCell<Place>>) {
    let mut rows = RowBuffer::default();
    loop {
        let next = |_: &mut Context<'_>| match place.borrow_mut().operation.take() {
            Some(operation) => Poll::Ready(operation),
            None => Poll::Pending,
        };
        let (operation, row) = poll_fn(next).await;
        let result = worker.run(&Request::Operation { operation, row }, &mut rows).await;
        place.borrow_mut().result = Some(result.map(|outcome| outcome.rows));
    }
}

/// The session's connection, as its operations use it.
struct SharedStatements(Rc<RefCell<Shared>>);

impl SharedStatements {
    async fn text(&self, text: &str) -> Result<()> {
        {
            let mut shared = self.0.borrow_mut();
            shared.check()?;
            shared.send_text(text)?;
        }
        poll_fn(|context| self.0.borrow_mut().poll_end(context, |_, _| Ok(()))).await.map(|_| ())
    }
}

impl relational::Statements for SharedStatements {
    async fn query(&mut self, statement: usize, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64> {
        {
            let mut shared = self.0.borrow_mut();
            shared.check()?;
            shared.send(statement, parameters)?;
        }
        let mut keep = |row: Row<'_>, scratch: &mut String| row.keep(rows, scratch);
        poll_fn(|context| self.0.borrow_mut().poll_end(context, &mut keep)).await
    }

    async fn prepare(&mut self, _text: &str) -> Result<StatementId> {
        Err(Error::bug("an operation prepares nothing but its planned statements"))
    }

    async fn begin(&mut self) -> Result<()> {
        self.text(BEGIN).await
    }

    async fn commit(&mut self) -> Result<()> {
        self.text(COMMIT).await
    }

    async fn rollback(&mut self) -> Result<()> {
        self.text(ROLLBACK).await
    }

    fn is_broken(&self) -> bool {
        self.0.borrow().broken.is_some()
    }
}
