//! Turns an asynchronous client library into a [`Session`] without a boxed future per call.
//!
//! A *lane* is one future, boxed once when the session is opened, that serves one request after another: it takes a
//! request out of its [`Slot`], runs it through the library and puts rows and outcome back. All buffers are reused.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use store::{
    Arguments, Capabilities, Capability, Completion, Error, ErrorKind, Fields, LocalBoxFuture, Outcome, Request,
    Result, Rows, Session, Sql, StatementId, Token, Values,
};

use crate::rows::{Parameters, RowBuffer};

/// How a dialect writes parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// `?`
    #[cfg_attr(
        not(any(feature = "mysql", feature = "sqlite", test)),
        expect(dead_code, reason = "PostgreSQL does without")
    )]
    Question,
    /// `$1`, `$2` …
    #[cfg_attr(not(any(feature = "postgres", test)), expect(dead_code, reason = "only PostgreSQL writes them so"))]
    Dollar,
}

impl Placeholder {
    /// The `number`th parameter, from 1.
    pub(crate) fn number(self, number: usize) -> String {
        match self {
            Self::Question => "?".to_owned(),
            Self::Dollar => format!("${number}"),
        }
    }

    /// A statement whose parameters are all written `?`, in the dialect's own way.
    pub(crate) fn translate(self, text: &str) -> String {
        let mut pieces = text.split('?');
        let mut translated = pieces.next().unwrap_or_default().to_owned();
        for (position, piece) in pieces.enumerate() {
            translated.push_str(&self.number(position + 1));
            translated.push_str(piece);
        }
        translated
    }
}

/// What a lane runs requests through.
pub(crate) trait LaneClient {
    /// Runs one request. The buffer is empty before; what it holds afterwards is shown to the visitor if the
    /// request succeeded.
    async fn run(&mut self, request: &Request<'_>, rows: &mut RowBuffer) -> Result<Outcome>;

    /// Prepares a statement, for stores with SQL.
    async fn prepare(&mut self, text: &str) -> Result<StatementId> {
        let _ = text;
        Err(Error::unsupported("this store has no statements"))
    }

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

/// A session with one lane, and so with one request in flight.
pub(crate) struct LaneSession {
    future: LocalBoxFuture<'static, ()>,
    slot: Rc<Slot>,
    /// Of the request in flight.
    token: Option<Token>,
    /// Why the connection is gone.
    broken: Option<Error>,
    /// What the store can do; the rest is refused before it reaches the lane.
    capabilities: Capabilities,
    /// How the dialect writes parameters, where the store has SQL.
    placeholder: Option<Placeholder>,
}

impl LaneSession {
    /// A session whose lane `open` makes: a future that ends in [`serve`].
    pub(crate) fn new(
        capabilities: Capabilities,
        placeholder: Option<Placeholder>,
        open: impl FnOnce(Rc<Slot>) -> LocalBoxFuture<'static, ()>,
    ) -> Self {
        let slot = Rc::new(Slot::default());
        Self { future: open(Rc::clone(&slot)), slot, token: None, broken: None, capabilities, placeholder }
    }

    /// Lets the lane go on; true where its request has ended.
    fn poll_lane(&mut self, context: &mut Context<'_>) -> bool {
        if self.broken.is_none() && self.future.as_mut().poll(context).is_ready() {
            self.broken = Some(Error::unreachable("the connection has ended"));
        }
        self.broken.is_some() || self.slot.0.borrow().result.is_some()
    }

    fn complete(&mut self, token: Token, rows: &mut dyn Rows) -> Completion {
        self.token = None;
        let mut state = self.slot.0.borrow_mut();
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
        Completion { token, result }
    }
}

/// What a store must be able to do for a request; none for its own operations.
fn needed(request: &Request<'_>) -> Option<Capability> {
    match request {
        Request::Read { .. } | Request::Insert { .. } | Request::Update { .. } | Request::Delete { .. } => {
            Some(Capability::KeyValue)
        }
        Request::Scan { .. } => Some(Capability::OrderedScan),
        Request::Statement { .. } | Request::Planned { .. } => Some(Capability::Sql),
        Request::Begin | Request::Commit | Request::Rollback => Some(Capability::Transactions),
        Request::Operation { .. } => None,
    }
}

/// What requests after the one that met the loss are told.
fn lost(error: &Error) -> Error {
    if error.kind() == ErrorKind::Unreachable {
        error.repeated()
    } else {
        Error::unreachable(format!("the connection was lost: {error}"))
    }
}

impl Session for LaneSession {
    fn depth(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        usize::from(self.token.is_some())
    }

    fn submit(&mut self, token: Token, request: &Request<'_>) -> Result<()> {
        if self.token.is_some() {
            return Err(Error::bug("more requests than the session's depth"));
        }
        if let Some(needed) = needed(request)
            && !self.capabilities.has(needed)
        {
            return Err(Error::unsupported(format!("this store has not the capability `{}`", needed.name())));
        }
        let mut state = self.slot.0.borrow_mut();
        state.request.set(request);
        state.submitted = true;
        self.token = Some(token);
        Ok(())
    }

    fn poll_completion(&mut self, context: &mut Context<'_>, rows: &mut dyn Rows) -> Poll<Completion> {
        let Some(token) = self.token else { return Poll::Pending };
        if self.poll_lane(context) { Poll::Ready(self.complete(token, rows)) } else { Poll::Pending }
    }

    fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    fn sql(&mut self) -> Option<&mut dyn Sql> {
        if self.placeholder.is_some() { Some(self) } else { None }
    }
}

impl Sql for LaneSession {
    fn prepare<'a>(&'a mut self, statement: &'a str) -> LocalBoxFuture<'a, Result<StatementId>> {
        Box::pin(async move {
            self.submit(0, &Request::Rollback)?;
            {
                let mut state = self.slot.0.borrow_mut();
                state.request.kind = Kind::Prepare;
                state.request.text.push_str(statement);
            }
            let outcome = poll_fn(|context| self.poll_completion(context, &mut ())).await.result?;
            Ok(StatementId(outcome.rows as u32))
        })
    }

    fn placeholder(&self, number: usize) -> String {
        self.placeholder.map_or_else(String::new, |placeholder| placeholder.number(number))
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
