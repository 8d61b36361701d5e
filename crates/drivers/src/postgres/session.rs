//! The hot path: requests are encoded into one buffer, leave in one write, and their answers are read where they lie.
//!
//! The server answers in the order in which it was asked, so a queue says whose answer comes next. An operation may
//! take several round trips: it is a [`Lane`], which appends its next statement when the answer to the last is there.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ::store::{
    Completion, Error, ErrorKind, LocalBoxFuture, Outcome, Request, Result, Rows, Session, Sql, StatementId, Token,
};

use super::connection::Connection;
use super::lane::Lane;
use super::message::{self, Answer, OutOfStep};
use super::statement::{Answered, Statement, Statements, buffer, values};
use crate::relational::{Parameters, Plan, RowBuffer, Shape, Work};
use crate::wire::Settled;

/// Requests in flight: past this a deeper pipeline only lengthens the queue.
const DEPTH_MAX: usize = 1024;

/// One connection at work.
pub(super) struct PostgresSession {
    shared: Rc<RefCell<Shared>>,
    plan: Rc<Plan>,
    depth: usize,
    in_flight: usize,
    /// For operations; none on other sessions.
    lanes: Vec<Lane>,
    /// Lanes without an operation.
    free: Vec<usize>,
    /// Lanes whose operation has ended without a round trip.
    ended: Vec<usize>,
}

/// What a session and its lanes share.
pub(super) struct Shared {
    pub(super) connection: Connection<Settled>,
    statements: Statements,
    /// Whose answers come next.
    queue: VecDeque<Sent>,
    pub(super) broken: Option<Error>,
    /// The lane that has begun a transaction: until it ends, nothing of others may be sent.
    pub(super) holder: Option<usize>,
    /// Lanes that wait for the holder.
    pub(super) waiting: VecDeque<usize>,
    /// The answer to the lane that is polled next.
    pub(super) answered: Option<Result<u64>>,
    pub(super) rows: RowBuffer,
}

/// A request that was sent.
struct Sent {
    owner: Owner,
    work: Sending,
}

#[derive(Clone, Copy)]
enum Owner {
    Caller { token: Token, shape: Shape },
    Lane(usize),
}

#[derive(Clone, Copy)]
enum Sending {
    Statement {
        number: usize,
        parses: bool,
    },
    /// Begins or ends a transaction: one of the texts below.
    Transaction {
        text: &'static str,
    },
}

impl Shared {
    /// Appends a statement of a lane.
    pub(super) fn send_statement(&mut self, lane: usize, number: usize, parameters: &Parameters<'_>) -> Result<()> {
        self.statement(Owner::Lane(lane), number, parameters)
    }

    /// Appends what begins or ends a transaction of a lane.
    pub(super) fn send_transaction(&mut self, lane: usize, text: &'static str) {
        self.transaction(Owner::Lane(lane), text);
    }

    fn statement(&mut self, owner: Owner, number: usize, parameters: &Parameters<'_>) -> Result<()> {
        let parses = self.statements.execute(number, parameters.as_slice(), self.connection.out())?;
        self.queue.push_back(Sent { owner, work: Sending::Statement { number, parses } });
        Ok(())
    }

    fn transaction(&mut self, owner: Owner, text: &'static str) {
        message::query(self.connection.out(), text);
        self.queue.push_back(Sent { owner, work: Sending::Transaction { text } });
    }

    /// Takes the first answer: shows it to the caller, or keeps it for the lane whose it is.
    fn take(&mut self, answer: Answer, rows: &mut dyn Rows) -> Result<Taken, OutOfStep> {
        // It stays in the queue where the answer is none: the request has to end, and by its own token.
        let Sent { owner, work } = *self.queue.front().ok_or(OutOfStep)?;
        let bytes = self.connection.buffered().get(..answer.length).ok_or(OutOfStep)?;
        let result = match work {
            Sending::Transaction { text } => transaction_result(bytes, text)?,
            Sending::Statement { number, parses } => match owner {
                Owner::Caller { token, shape } => {
                    let mut is_first = true;
                    self.statements.read(number, parses, bytes, |columns, row| {
                        if answer.failed {
                            return Ok(());
                        }
                        if std::mem::take(&mut is_first) {
                            rows.begin(token);
                        }
                        show(rows, shape, columns, row)
                    })?
                }
                Owner::Lane(_) => {
                    self.rows.clear();
                    let rows = &mut self.rows;
                    self.statements.read(number, parses, bytes, |columns, row| buffer(rows, columns, row))?
                }
            },
        };
        self.queue.pop_front();
        self.connection.consume(answer);
        Ok(match owner {
            Owner::Caller { token, .. } => Taken::Caller(completion(token, result)),
            Owner::Lane(lane) => {
                self.answered = Some(result);
                Taken::Lane(lane)
            }
        })
    }
}

enum Taken {
    Caller(Completion),
    Lane(usize),
}

pub(super) const BEGIN: &str = "BEGIN";
pub(super) const COMMIT: &str = "COMMIT";
pub(super) const ROLLBACK: &str = "ROLLBACK";

fn transaction_result(bytes: &[u8], text: &str) -> Result<Result<u64>, OutOfStep> {
    let answered = Answered::read(&mut Statement::default(), bytes, |_, _| Ok(()))?;
    Ok(match answered.error {
        // A commit that failed has ended it on some products, which then refuse what others only warn of.
        Some(error) if text == ROLLBACK && error.is_of_no_transaction() => Ok(0),
        Some(error) => Err(error.into_error()),
        None if text == COMMIT && answered.is_rolled_back => {
            Err(Error::rejected("the transaction was rolled back instead of committed: a statement in it had failed"))
        }
        None => Ok(0),
    })
}

fn show(
    rows: &mut dyn Rows,
    shape: Shape,
    columns: &[super::value::Column],
    row: message::Reader<'_>,
) -> Result<(), OutOfStep> {
    if !shape.key {
        rows.row(None);
    }
    values(columns, row, |position, value| match (shape.key, position) {
        (true, 0) => rows.row(value.as_bytes().and_then(|key| std::str::from_utf8(key).ok())),
        (key, _) => rows.value(shape.first + position - usize::from(key), value),
    })
}

fn completion(token: Token, result: Result<u64>) -> Completion {
    Completion { token, result: result.map(|rows| Outcome { rows }) }
}

impl PostgresSession {
    /// On a connection of its own.
    pub(super) fn new(connection: Connection<Settled>, plan: Plan, depth: usize) -> Self {
        let plan = Rc::new(plan);
        let depth = depth.clamp(1, DEPTH_MAX);
        let shared = Rc::new(RefCell::new(Shared {
            connection,
            statements: Statements::new(Rc::clone(&plan)),
            queue: VecDeque::new(),
            broken: None,
            holder: None,
            waiting: VecDeque::new(),
            answered: None,
            rows: RowBuffer::default(),
        }));
        let count = if matches!(plan.work, Work::Operations(_)) { depth } else { 0 };
        let lanes = (0..count).map(|index| Lane::new(index, &shared, &plan)).collect();
        Self { shared, plan, depth, in_flight: 0, lanes, free: (0..count).rev().collect(), ended: Vec::new() }
    }

    /// Lets a lane go on, and then those that it was in the way of.
    fn run_lane(&mut self, lane: usize) {
        let mut next = Some(lane);
        while let Some(lane) = next {
            if self.lanes[lane].go_on() {
                self.ended.push(lane);
            }
            let mut shared = self.shared.borrow_mut();
            next = if shared.holder.is_none() { shared.waiting.pop_front() } else { None };
        }
    }

    fn submit_operation(&mut self, token: Token, operation: u16, row: u64) -> Result<()> {
        if self.lanes.is_empty() {
            return Err(Error::bug("an operation on a session without its dataset"));
        }
        let lane = self.free.pop().ok_or_else(|| Error::bug("more requests than the session's depth"))?;
        self.lanes[lane].start(token, operation, row);
        self.run_lane(lane);
        Ok(())
    }

    /// The end of an operation, where a lane has come to one.
    fn ended(&mut self) -> Option<Completion> {
        let lane = self.ended.pop()?;
        let (token, result) = self.lanes[lane].end()?;
        self.free.push(lane);
        Some(completion(token, result))
    }

    /// The end of a request that was in flight when the connection was lost.
    fn abandoned(&mut self, error: Error) -> Completion {
        let caller = self.shared.borrow_mut().queue.iter().position(|sent| matches!(sent.owner, Owner::Caller { .. }));
        if let Some(Sent { owner: Owner::Caller { token, .. }, .. }) =
            caller.and_then(|position| self.shared.borrow_mut().queue.remove(position))
        {
            return completion(token, Err(error));
        }
        let token = self.lanes.iter_mut().find_map(Lane::abandon).unwrap_or_default();
        completion(token, Err(error))
    }

    fn poll_next(&mut self, context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion> {
        loop {
            if let Some(completion) = self.ended() {
                return Poll::Ready(completion);
            }
            let broken = self.shared.borrow().broken.as_ref().map(Error::repeated);
            if let Some(error) = broken {
                return Poll::Ready(self.abandoned(error));
            }
            let mut shared = self.shared.borrow_mut();
            let taken = match ready!(shared.connection.poll_answer(context)) {
                Ok(answer) => shared.take(answer, rows).map_err(Error::from),
                Err(error) => Err(error),
            };
            match taken {
                Ok(Taken::Caller(completion)) => return Poll::Ready(completion),
                Ok(Taken::Lane(lane)) => {
                    drop(shared);
                    self.run_lane(lane);
                }
                Err(error) => shared.broken = Some(error),
            }
        }
    }
}

impl Session for PostgresSession {
    fn depth(&self) -> usize {
        self.depth
    }

    fn in_flight(&self) -> usize {
        self.in_flight
    }

    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        if let Request::Operation { operation, row } = *request {
            self.submit_operation(token, operation, row)?;
            self.in_flight += 1;
            return Ok(());
        }
        if self.free.len() < self.lanes.len() {
            return Err(Error::unsupported("a statement while an operation is in flight on the same session"));
        }
        let mut shared = self.shared.borrow_mut();
        let owner = |shape| Owner::Caller { token, shape };
        match request {
            Request::Begin => shared.transaction(owner(Shape::default()), BEGIN),
            Request::Commit => shared.transaction(owner(Shape::default()), COMMIT),
            Request::Rollback => shared.transaction(owner(Shape::default()), ROLLBACK),
            _ => {
                let mut parameters = Parameters::new();
                let (number, shape) = self.plan.statement(request, &mut parameters)?;
                shared.statement(owner(shape), number, &parameters)?;
            }
        }
        self.in_flight += 1;
        Ok(())
    }

    fn poll_completion(&mut self, context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion> {
        if self.in_flight == 0 {
            return Poll::Pending;
        }
        let completion = ready!(self.poll_next(context, rows));
        self.in_flight -= 1;
        Poll::Ready(completion)
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

impl Sql for PostgresSession {
    fn prepare<'a>(&'a mut self, text: &'a str) -> LocalBoxFuture<'a, Result<StatementId>> {
        Box::pin(async move {
            if self.in_flight > 0 {
                return Err(Error::bug("a statement is prepared while requests are in flight"));
            }
            // Its data would have to come from somewhere, or go there; bulk loading has a way of its own.
            if text.trim_start().get(..4).is_some_and(|word| word.eq_ignore_ascii_case("copy")) {
                return Err(Error::unsupported("COPY cannot be a prepared statement"));
            }
            let mut statement = {
                let mut shared = self.shared.borrow_mut();
                if let Some(error) = &shared.broken {
                    return Err(error.repeated());
                }
                let statement = shared.statements.next_own();
                statement.prepare(text, shared.connection.out());
                statement
            };
            let answer = poll_fn(|context| self.shared.borrow_mut().connection.poll_answer(context)).await;
            let mut shared = self.shared.borrow_mut();
            let answer = answer.inspect_err(|error| shared.broken = Some(error.repeated()))?;
            let prepared = statement.prepared(&shared.connection.buffered()[..answer.length]);
            shared.connection.consume(answer);
            if let Err(error) = prepared {
                // An answer that is none leaves nothing behind it to be trusted.
                if error.kind() == ErrorKind::Unreachable {
                    shared.broken = Some(error.repeated());
                }
                return Err(error);
            }
            Ok(shared.statements.push(statement))
        })
    }

    fn placeholder(&self, number: usize) -> String {
        self.plan.dialect.placeholder.number(number)
    }
}
