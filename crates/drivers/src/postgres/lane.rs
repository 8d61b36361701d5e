//! An operation in flight: a future, boxed once, that the session polls when the answer to its last statement is there.
//!
//! It waits for nothing but its session, so it needs no waker. A transaction holds the session from its BEGIN until its
//! COMMIT is sent: what others sent in between would become a part of it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ::store::{Error, LocalBoxFuture, Request, Result, StatementId, Token, Value};

use super::session::{BEGIN, COMMIT, ROLLBACK, Shared};
use crate::lane::LaneClient;
use crate::relational::{Parameters, Plan, RowBuffer, Statements, Worker};

/// One operation after the other.
pub(super) struct Lane {
    future: LocalBoxFuture<'static, ()>,
    place: Rc<RefCell<Place>>,
    /// Of the operation in flight.
    token: Option<Token>,
}

/// Where a session and its lane meet.
#[derive(Default)]
struct Place {
    operation: Option<(u16, u64)>,
    result: Option<Result<u64>>,
}

impl Lane {
    /// The lane of that number.
    pub(super) fn new(index: usize, shared: &Rc<RefCell<Shared>>, plan: &Rc<Plan>) -> Self {
        let place = Rc::new(RefCell::new(Place::default()));
        let worker = Worker::new(Rc::clone(plan), LaneStatements { index, shared: Rc::clone(shared) });
        Self { future: Box::pin(operate(worker, Rc::clone(&place))), place, token: None }
    }

    /// Gives it an operation.
    pub(super) fn start(&mut self, token: Token, operation: u16, row: u64) {
        self.token = Some(token);
        self.place.borrow_mut().operation = Some((operation, row));
    }

    /// Lets it go on; true where its operation has ended.
    pub(super) fn go_on(&mut self) -> bool {
        let _ = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.place.borrow().result.is_some()
    }

    /// The operation that has ended, and how.
    pub(super) fn end(&mut self) -> Option<(Token, Result<u64>)> {
        let result = self.place.borrow_mut().result.take()?;
        Some((self.token.take()?, result))
    }

    /// The operation in flight, which nobody will end.
    pub(super) fn abandon(&mut self) -> Option<Token> {
        self.token.take()
    }
}

async fn operate(mut worker: Worker<LaneStatements>, place: Rc<RefCell<Place>>) {
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

/// The session's connection, as a lane uses it.
struct LaneStatements {
    index: usize,
    shared: Rc<RefCell<Shared>>,
}

impl LaneStatements {
    /// Waits until no other lane has a transaction open.
    async fn turn(&self) {
        poll_fn(|_| {
            let mut shared = self.shared.borrow_mut();
            if shared.holder.is_none_or(|holder| holder == self.index) {
                return Poll::Ready(());
            }
            shared.waiting.push_back(self.index);
            Poll::Pending
        })
        .await;
    }

    async fn answer(&self) -> Result<u64> {
        poll_fn(|_| match self.shared.borrow_mut().answered.take() {
            Some(result) => Poll::Ready(result),
            None => Poll::Pending,
        })
        .await
    }

    async fn transaction(&self, text: &'static str) -> Result<()> {
        self.turn().await;
        {
            let mut shared = self.shared.borrow_mut();
            shared.send_transaction(self.index, text);
            shared.holder = (text == BEGIN).then_some(self.index);
        }
        self.answer().await.map(|_| ())
    }
}

impl Statements for LaneStatements {
    async fn query(&mut self, statement: usize, parameters: &[Value<'_>], rows: &mut RowBuffer) -> Result<u64> {
        self.turn().await;
        {
            let mut given = Parameters::new();
            for value in parameters {
                given.push(*value);
            }
            self.shared.borrow_mut().send_statement(self.index, statement, &given)?;
        }
        let result = self.answer().await;
        std::mem::swap(rows, &mut self.shared.borrow_mut().rows);
        result
    }

    async fn prepare(&mut self, _text: &str) -> Result<StatementId> {
        Err(Error::bug("an operation prepares nothing but its planned statements"))
    }

    async fn begin(&mut self) -> Result<()> {
        let begun = self.transaction(BEGIN).await;
        if begun.is_err() {
            self.shared.borrow_mut().holder = None;
        }
        begun
    }

    async fn commit(&mut self) -> Result<()> {
        self.transaction(COMMIT).await
    }

    async fn rollback(&mut self) -> Result<()> {
        self.transaction(ROLLBACK).await
    }

    fn is_broken(&self) -> bool {
        self.shared.borrow().broken.is_some()
    }
}
