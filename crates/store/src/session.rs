//! One connection's worth of work.

use std::future::poll_fn;
use std::task::{Context, Poll};

use crate::{Completion, LocalBoxFuture, Outcome, Request, Result, Rows, StatementId, Token};

/// One connection's worth of work, owned by one worker.
///
/// # Contract
/// - **Submitting** only encodes and queues; bytes may leave at the next poll. A request that was accepted gets
///   exactly one [`Completion`], in any order. No call blocks, except in stores with
///   [`Capability::BlockingClient`](crate::Capability::BlockingClient), which may do the whole work in `submit`.
/// - **Retries** are the caller's business; a session never repeats a request.
/// - **A lost connection** completes every request in flight with
///   [`ErrorKind::Unreachable`](crate::ErrorKind::Unreachable), after which
///   [`is_broken`](Session::is_broken) holds and the session is only good for dropping. Other errors leave it usable.
/// - **Dropping** closes the connection at once, whatever is in flight.
/// - **Rows** are shown to the visitor before the completion that they belong to is returned, in the same call.
///
/// It is dyn-compatible without a boxed future per call: a driver may speak the wire itself with frames encoded
/// in advance, or keep one client library future alive; callers cannot tell.
pub trait Session {
    /// How many requests may be in flight; 1 where the store cannot pipeline.
    fn depth(&self) -> usize;

    /// How many are.
    fn in_flight(&self) -> usize;

    /// Takes a request. The caller keeps `in_flight() < depth()` and the token unique among those in flight.
    ///
    /// # Errors
    /// `Unsupported` or `Bug` where this session cannot encode the request at all; it is then not in flight.
    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()>;

    /// The next completion. `Pending` where none is there yet: the waker is then called once that may have changed.
    /// Also drives what has been submitted, so it must be polled after submitting.
    fn poll_completion(&mut self, context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion>;

    /// Whether the connection is gone.
    fn is_broken(&self) -> bool;

    /// Whether all that it waits for comes through the thread's reactor, so that a worker all of whose sessions say so may
    /// wait there instead of in its runtime.
    fn waits_in_reactor(&self) -> bool {
        false
    }

    /// The SQL face, for stores with [`Capability::Sql`](crate::Capability::Sql).
    fn sql(&mut self) -> Option<&mut dyn Sql> {
        None
    }
}

/// The SQL face of a session. Statements run through [`Session::submit`] as [`Request::Statement`], transactions
/// as [`Request::Begin`], [`Request::Commit`] and [`Request::Rollback`].
pub trait Sql {
    /// Prepares a statement, with parameters written as the store's dialect has it ([`Sql::placeholder`]). The
    /// session must have nothing in flight.
    fn prepare<'a>(&'a mut self, statement: &'a str) -> LocalBoxFuture<'a, Result<StatementId>>;

    /// How the dialect writes its `number`th parameter, from 1: `$1` or `?`.
    fn placeholder(&self, number: usize) -> String;
}

/// Submits one request and waits for its completion, on a session with nothing else in flight.
pub async fn execute(session: &mut dyn Session, request: &Request<'_>, rows: &mut dyn Rows) -> Result<Outcome> {
    session.submit(0, request)?;
    complete(session, rows).await.result
}

/// Waits for the next completion.
pub async fn complete(session: &mut dyn Session, rows: &mut dyn Rows) -> Completion {
    poll_fn(|context| session.poll_completion(context, rows)).await
}
