//! Turns an asynchronous client library into a [`Session`] without a boxed future per call.
//!
//! A *lane* is one future, boxed once when the session is opened, that serves one request after another: it takes a
//! request out of its [`Slot`], runs it through the library and puts rows and outcome back. A session has as many
//! lanes as it can have requests in flight. All buffers are reused.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use store::{
    Arguments, Completion, Error, ErrorKind, Fields, LocalBoxFuture, Outcome, Request, Result, Rows, Session, Sql,
    StatementId, Token, Values,
};

use crate::relational::{Parameters, Placeholder, RowBuffer};

/// What a lane runs requests through.
pub(crate) trait LaneClient {
    /// Runs one request. The buffer is empty before; what it holds afterwards is shown to the visitor if the
    /// request succeeded.
    async fn run(&mut self, request: &Request<'_>, rows: &mut RowBuffer) -> Result<Outcome>;

    /// Prepares a statement for all lanes of the session.
    async fn prepare(&mut self, text: &str) -> Result<StatementId>;

    /// Whether the connection is gone.
    fn is_broken(&self) -> bool;
}

/// Serves a slot's requests for ever: the body of a lane.
pub(crate) async fn serve<C: LaneClient>(mut client: C, slot: Rc<Slot>) {
    loop {
        let (request, mut rows) = poll_fn(|_| slot.take()).await;
        rows.clear();
        let result = if let Kind::Prepare = request.kind {
            client.prepare(&request.text).await.map(|id| Outcome { rows: u64::from(id.0) })
        } else {
            let mut parameters = Parameters::new();
            client.run(&request.borrow(&mut parameters), &mut rows).await
        };
        slot.put(request, rows, result, client.is_broken());
    }
}

/// Where a session and one of its lanes meet.
#[derive(Debug, Default)]
pub(crate) struct Slot(RefCell<SlotState>);

#[derive(Debug, Default)]
struct SlotState {
    submitted: bool,
    request: OwnedRequest,
    rows: RowBuffer,
    result: Option<Result<Outcome>>,
    broken: bool,
}

impl Slot {
    /// The session is the one who polls a lane after it has submitted to it: no waker is kept.
    fn take(&self) -> Poll<(OwnedRequest, RowBuffer)> {
        let mut state = self.0.borrow_mut();
        if !state.submitted {
            return Poll::Pending;
        }
        state.submitted = false;
        Poll::Ready((std::mem::take(&mut state.request), std::mem::take(&mut state.rows)))
    }

    fn put(&self, request: OwnedRequest, rows: RowBuffer, result: Result<Outcome>, broken: bool) {
        *self.0.borrow_mut() = SlotState { submitted: false, request, rows, result: Some(result), broken };
    }
}

/// A request that owns its buffers.
#[derive(Debug, Default)]
struct OwnedRequest {
    kind: Kind,
    /// The key, or the text of a statement to prepare.
    text: String,
    /// The values of a record.
    bytes: Vec<u8>,
    /// The parameters of a statement, as one row.
    parameters: RowBuffer,
    /// Those of a planned one.
    arguments: Arguments,
}

#[derive(Debug, Clone, Copy, Default)]
enum Kind {
    Read(Fields),
    Scan {
        limit: u32,
    },
    Insert {
        length: usize,
        first: u16,
    },
    Update {
        length: usize,
        first: u16,
    },
    Delete,
    Operation {
        operation: u16,
        row: u64,
    },
    Statement(StatementId),
    Planned(u32),
    Prepare,
    Begin,
    Commit,
    #[default]
    Rollback,
}

impl OwnedRequest {
    fn set(&mut self, request: &Request<'_>) {
        let (kind, key, values) = match *request {
            Request::Read { key, fields } => (Kind::Read(fields), key, None),
            Request::Scan { start, limit } => (Kind::Scan { limit }, start, None),
            Request::Insert { key, values } => {
                (Kind::Insert { length: values.length, first: values.first }, key, Some(values))
            }
            Request::Update { key, values } => {
                (Kind::Update { length: values.length, first: values.first }, key, Some(values))
            }
            Request::Delete { key } => (Kind::Delete, key, None),
            Request::Operation { operation, row } => (Kind::Operation { operation, row }, "", None),
            Request::Statement { statement, parameters } => {
                self.parameters.clear();
                self.parameters.begin_row();
                for parameter in parameters {
                    self.parameters.push(*parameter);
                }
                (Kind::Statement(statement), "", None)
            }
            Request::Planned { statement, arguments } => {
                self.arguments.clone_from(arguments);
                (Kind::Planned(statement), "", None)
            }
            Request::Begin => (Kind::Begin, "", None),
            Request::Commit => (Kind::Commit, "", None),
            Request::Rollback => (Kind::Rollback, "", None),
        };
        self.kind = kind;
        self.text.clear();
        self.text.push_str(key);
        if let Some(values) = values {
            self.bytes.clear();
            self.bytes.extend_from_slice(values.bytes);
        }
    }

    fn borrow<'a>(&'a self, parameters: &'a mut Parameters<'a>) -> Request<'a> {
        let key = self.text.as_str();
        match self.kind {
            Kind::Read(fields) => Request::Read { key, fields },
            Kind::Scan { limit } => Request::Scan { start: key, limit },
            Kind::Insert { length, first } => {
                Request::Insert { key, values: Values { bytes: &self.bytes, length, first } }
            }
            Kind::Update { length, first } => {
                Request::Update { key, values: Values { bytes: &self.bytes, length, first } }
            }
            Kind::Delete => Request::Delete { key },
            Kind::Operation { operation, row } => Request::Operation { operation, row },
            Kind::Statement(statement) => {
                for value in self.parameters.row(0) {
                    parameters.push(value);
                }
                Request::Statement { statement, parameters: parameters.as_slice() }
            }
            Kind::Planned(statement) => Request::Planned { statement, arguments: &self.arguments },
            Kind::Begin => Request::Begin,
            Kind::Commit => Request::Commit,
            // A text to prepare does not come this way.
            Kind::Rollback | Kind::Prepare => Request::Rollback,
        }
    }
}

/// A session over lanes: its depth is their number.
pub(crate) struct LaneSession {
    lanes: Vec<Lane>,
    /// Lanes without a request.
    free: Vec<u32>,
    ready: Arc<ReadySet>,
    /// Where the search for a lane that can go on begins, so that none is starved.
    next: usize,
    /// Why the connection is gone.
    broken: Option<Error>,
    placeholder: Placeholder,
}

struct Lane {
    future: LocalBoxFuture<'static, ()>,
    slot: Rc<Slot>,
    waker: Waker,
    token: Option<Token>,
}

impl LaneSession {
    /// A session of `depth` lanes (at least 1); `open` makes the future of a lane, which ends in [`serve`].
    pub(crate) fn new(
        depth: usize,
        placeholder: Placeholder,
        mut open: impl FnMut(Rc<Slot>) -> LocalBoxFuture<'static, ()>,
    ) -> Self {
        let depth = depth.max(1);
        let words = depth.div_ceil(u64::BITS as usize);
        let ready =
            Arc::new(ReadySet { parent: AtomicWaker::new(), words: (0..words).map(|_| AtomicU64::new(0)).collect() });
        let lanes = (0..depth)
            .map(|index| {
                let slot = Rc::new(Slot::default());
                let waker = Waker::from(Arc::new(LaneWaker { index, ready: Arc::clone(&ready) }));
                Lane { future: open(Rc::clone(&slot)), slot, waker, token: None }
            })
            .collect();
        Self { lanes, free: (0..depth as u32).rev().collect(), ready, next: 0, broken: None, placeholder }
    }

    /// Polls one lane; true where its request has ended. A single lane uses the caller's own waker.
    fn poll_lane(&mut self, index: usize, context: &mut Context<'_>) -> bool {
        let single = self.lanes.len() == 1;
        let lane = &mut self.lanes[index];
        let ended = if single {
            lane.future.as_mut().poll(context)
        } else {
            lane.future.as_mut().poll(&mut Context::from_waker(&lane.waker))
        };
        if ended.is_ready() && self.broken.is_none() {
            self.broken = Some(Error::unreachable("the connection has ended"));
        }
        lane.slot.0.borrow().result.is_some()
    }

    /// A lane whose request has ended, found by polling those that were woken.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Option<usize> {
        if self.lanes.len() == 1 {
            return (self.lanes[0].token.is_some() && self.poll_lane(0, context)).then_some(0);
        }
        self.ready.parent.register(context.waker());
        while let Some(index) = self.ready.take(self.next) {
            self.next = index + 1;
            if self.lanes[index].token.is_some() && self.poll_lane(index, context) {
                return Some(index);
            }
        }
        None
    }

    fn complete(&mut self, index: usize, rows: &mut dyn Rows) -> Completion {
        let lane = &mut self.lanes[index];
        let token = lane.token.take().expect("only lanes with a request complete");
        let mut state = lane.slot.0.borrow_mut();
        let result = state.result.take().unwrap_or_else(|| {
            Err(self.broken.as_ref().map_or_else(|| Error::bug("a lane without an end"), Error::repeated))
        });
        match &result {
            Ok(_) => state.rows.replay(token, rows),
            Err(error) if self.broken.is_none() && (state.broken || error.kind() == ErrorKind::Unreachable) => {
                self.broken = Some(lost(error));
            }
            Err(_) => {}
        }
        drop(state);
        self.free.push(index as u32);
        Completion { token, result }
    }
}

/// What requests that were in flight beside the one that met the loss are told.
fn lost(error: &Error) -> Error {
    if error.kind() == ErrorKind::Unreachable {
        error.repeated()
    } else {
        Error::unreachable(format!("the connection was lost: {error}"))
    }
}

impl Session for LaneSession {
    fn depth(&self) -> usize {
        self.lanes.len()
    }

    fn in_flight(&self) -> usize {
        self.lanes.len() - self.free.len()
    }

    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        let index = self.free.pop().ok_or_else(|| Error::bug("more requests than the session's depth"))? as usize;
        let lane = &mut self.lanes[index];
        let mut state = lane.slot.0.borrow_mut();
        state.request.set(request);
        state.submitted = true;
        lane.token = Some(token);
        self.ready.set(index);
        Ok(())
    }

    fn poll_completion(&mut self, context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion> {
        if self.broken.is_none()
            && let Some(index) = self.poll_ended(context)
        {
            return Poll::Ready(self.complete(index, rows));
        }
        if self.broken.is_some()
            && let Some(index) = self.lanes.iter().position(|lane| lane.token.is_some())
        {
            return Poll::Ready(self.complete(index, rows));
        }
        Poll::Pending
    }

    fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    fn sql(&mut self) -> Option<&mut dyn Sql> {
        Some(self)
    }
}

impl Sql for LaneSession {
    fn prepare<'a>(&'a mut self, statement: &'a str) -> LocalBoxFuture<'a, Result<StatementId>> {
        Box::pin(async move {
            self.submit(0, &Request::Rollback)?;
            let index = self.lanes.iter().position(|lane| lane.token.is_some()).expect("one was just submitted");
            {
                let mut state = self.lanes[index].slot.0.borrow_mut();
                state.request.kind = Kind::Prepare;
                state.request.text.push_str(statement);
            }
            let outcome = poll_fn(|context| self.poll_completion(context, &mut ())).await.result?;
            Ok(StatementId(outcome.rows as u32))
        })
    }

    fn placeholder(&self, number: usize) -> String {
        self.placeholder.number(number)
    }
}

/// Which lanes can go on: a bit each.
#[derive(Debug)]
struct ReadySet {
    parent: AtomicWaker,
    words: Box<[AtomicU64]>,
}

impl ReadySet {
    fn set(&self, index: usize) {
        self.words[index / 64].fetch_or(1 << (index % 64), Ordering::AcqRel);
    }

    /// Takes out one index: the first from `start` on, else the first of all.
    fn take(&self, start: usize) -> Option<usize> {
        let first = start / 64 % self.words.len();
        let mask = u64::MAX << (start % 64);
        // The word of `start` comes first with its upper bits and last with all of them.
        (0..=self.words.len()).find_map(|step| {
            let word = (first + step) % self.words.len();
            let bits = self.words[word].load(Ordering::Acquire) & if step == 0 { mask } else { u64::MAX };
            if bits == 0 {
                return None;
            }
            let bit = bits.trailing_zeros() as usize;
            self.words[word].fetch_and(!(1 << bit), Ordering::AcqRel);
            Some(word * 64 + bit)
        })
    }
}

struct LaneWaker {
    index: usize,
    ready: Arc<ReadySet>,
}

impl Wake for LaneWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.set(self.index);
        self.ready.parent.wake();
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
