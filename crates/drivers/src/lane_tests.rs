//! Lanes over a toy client library.

use std::cell::Cell;
use std::task::Waker;

use store::{Value, execute};

use super::*;

/// What the lanes of a toy connection share: how many requests may go on, and who waits for that.
#[derive(Default)]
struct Wire {
    allowed: Cell<u32>,
    cut: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
    polls: Cell<u32>,
    dropped: Cell<u32>,
}

impl Wire {
    fn allow(&self, count: u32) {
        self.allowed.set(self.allowed.get() + count);
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    fn cut(&self) {
        self.cut.set(true);
        self.allow(0);
    }

    fn poll(&self, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.polls.set(self.polls.get() + 1);
        if self.cut.get() {
            return Poll::Ready(Err(Error::unreachable("cut")));
        }
        if self.allowed.get() == 0 {
            self.waiting.borrow_mut().push(context.waker().clone());
            return Poll::Pending;
        }
        self.allowed.set(self.allowed.get() - 1);
        Poll::Ready(Ok(()))
    }
}

struct Toy(Rc<Wire>);

impl Drop for Toy {
    fn drop(&mut self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
    }
}

impl LaneClient for Toy {
    async fn run(&mut self, request: &Request<'_>, rows: &mut RowBuffer) -> Result<Outcome> {
        poll_fn(|context| self.0.poll(context)).await?;
        rows.begin_row();
        match *request {
            Request::Read { key: "refused", .. } => return Err(Error::rejected("refused")),
            Request::Read { key, .. } => rows.push(Value::Text(key)),
            Request::Insert { values, .. } => rows.push(Value::Bytes(values.bytes)),
            Request::Statement { parameters, .. } => parameters.iter().for_each(|value| rows.push(*value)),
            _ => return Err(Error::bug("not of this toy")),
        }
        Ok(Outcome { rows: 1 })
    }

    async fn prepare(&mut self, text: &str) -> Result<StatementId> {
        Ok(StatementId(text.len() as u32))
    }

    fn is_broken(&self) -> bool {
        self.0.cut.get()
    }
}

fn toy(depth: usize) -> (Rc<Wire>, LaneSession) {
    let wire = Rc::new(Wire::default());
    let session = LaneSession::new(depth, Placeholder::Question, |slot| Box::pin(serve(Toy(Rc::clone(&wire)), slot)));
    (wire, session)
}

#[derive(Default)]
struct Seen(Vec<String>);

impl Rows for Seen {
    fn begin(&mut self, token: Token) {
        self.0.push(format!("begin {token}"));
    }
    fn value(&mut self, column: usize, value: Value<'_>) {
        self.0.push(format!("{column} {value:?}"));
    }
}

fn read(key: &str) -> Request<'_> {
    Request::Read { key, fields: Fields::All }
}

fn poll(session: &mut LaneSession, rows: &mut dyn Rows) -> Option<Completion> {
    match session.poll_completion(&mut Context::from_waker(Waker::noop()), rows) {
        Poll::Ready(completion) => Some(completion),
        Poll::Pending => None,
    }
}

#[test]
fn every_request_completes_once_with_its_own_rows() {
    for depth in [1, 2, 64, 65, 130] {
        let (wire, mut session) = toy(depth);
        let keys: Vec<_> = (0..depth).map(|number| format!("key{number}")).collect();
        for round in 0..3 {
            for (token, key) in keys.iter().enumerate() {
                session.submit(token as u32, &read(key)).expect("room");
            }
            assert_eq!(session.in_flight(), depth);
            assert!(poll(&mut session, &mut ()).is_none(), "round {round}");
            wire.allow(depth as u32);
            let mut tokens = Vec::new();
            let mut seen = Seen::default();
            while let Some(completion) = poll(&mut session, &mut seen) {
                assert_eq!(completion.result.expect("allowed").rows, 1);
                let expected = [format!("begin {}", completion.token), format!("0 Text(\"key{}\")", completion.token)];
                assert_eq!(seen.0.split_off(0), expected);
                tokens.push(completion.token);
            }
            tokens.sort_unstable();
            assert_eq!(tokens, (0..depth as u32).collect::<Vec<_>>());
            assert_eq!(session.in_flight(), 0);
        }
    }
}

#[test]
fn only_lanes_that_were_woken_are_polled() {
    let (wire, mut session) = toy(8);
    for token in 0..8 {
        session.submit(token, &read("k")).expect("room");
    }
    assert!(poll(&mut session, &mut ()).is_none());
    assert_eq!(wire.polls.get(), 8);
    assert!(poll(&mut session, &mut ()).is_none());
    assert_eq!(wire.polls.get(), 8);
    let waker = wire.waiting.borrow_mut().pop().expect("eight wait");
    waker.wake();
    assert!(poll(&mut session, &mut ()).is_none());
    assert_eq!(wire.polls.get(), 9);
}

#[tokio::test]
async fn errors_leave_the_session_usable() {
    let (wire, mut session) = toy(2);
    wire.allow(3);
    let error = execute(&mut session, &read("refused"), &mut ()).await.expect_err("refused");
    assert_eq!((error.kind(), session.is_broken()), (ErrorKind::Rejected, false));
    let mut seen = Seen::default();
    let values = Values { bytes: b"abcd", length: 2, first: 0 };
    execute(&mut session, &Request::Insert { key: "k", values }, &mut seen).await.expect("allowed");
    let parameters = [Value::Integer(5), Value::Null, Value::Text("t")];
    let request = Request::Statement { statement: StatementId(0), parameters: &parameters };
    execute(&mut session, &request, &mut seen).await.expect("allowed");
    let expected = ["begin 0", "0 Bytes([97, 98, 99, 100])", "begin 0", "0 Integer(5)", "1 Null", "2 Text(\"t\")"];
    assert_eq!(seen.0, expected);
}

#[tokio::test]
async fn statements_are_prepared_through_a_lane() {
    for depth in [1, 3] {
        let (_wire, mut session) = toy(depth);
        let sql = session.sql().expect("a lane session has it");
        assert_eq!(sql.prepare("four").await.expect("prepared"), StatementId(4));
        assert_eq!(sql.placeholder(2), "?");
        assert_eq!(session.in_flight(), 0);
    }
}

#[test]
fn a_lost_connection_ends_everything_in_flight() {
    for depth in [1, 3, 70] {
        let (wire, mut session) = toy(depth);
        for token in 0..depth {
            session.submit(token as u32, &read("k")).expect("room");
        }
        assert!(poll(&mut session, &mut ()).is_none());
        wire.cut();
        for _ in 0..depth {
            let completion = poll(&mut session, &mut ()).expect("all end");
            assert_eq!(completion.result.expect_err("cut").kind(), ErrorKind::Unreachable);
            assert!(session.is_broken());
        }
        assert_eq!((session.in_flight(), poll(&mut session, &mut ()).is_none()), (0, true));
    }
}

#[test]
fn dropping_drops_the_clients_at_once() {
    let (wire, mut session) = toy(3);
    session.submit(0, &read("k")).expect("room");
    assert!(poll(&mut session, &mut ()).is_none());
    drop(session);
    // Lanes that were never polled have a client too.
    assert_eq!(wire.dropped.get(), 3);
}
