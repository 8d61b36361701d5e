//! A lane over a toy client library.

use std::cell::Cell;
use std::task::Waker;

use store::{Value, execute};

use super::*;

const SQL: Capabilities =
    Capabilities::of(&[Capability::KeyValue, Capability::OrderedScan, Capability::Sql, Capability::Transactions]);

/// What a toy connection has: how many requests may go on, and who waits for that.
#[derive(Default)]
struct Wire {
    allowed: Cell<u32>,
    cut: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
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

fn toy() -> (Rc<Wire>, LaneSession) {
    let wire = Rc::new(Wire::default());
    let session =
        LaneSession::new(SQL, Some(Placeholder::Question), |slot| Box::pin(serve(Toy(Rc::clone(&wire)), slot)));
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
    let (wire, mut session) = toy();
    for token in [3, 0, 7] {
        let key = format!("key{token}");
        session.submit(token, &read(&key)).expect("room");
        assert_eq!((session.in_flight(), session.depth()), (1, 1));
        assert_eq!(session.submit(9, &read("k")).expect_err("no room").kind(), ErrorKind::Bug);
        assert!(poll(&mut session, &mut ()).is_none());
        wire.allow(1);
        let mut seen = Seen::default();
        let completion = poll(&mut session, &mut seen).expect("allowed");
        assert_eq!((completion.token, completion.result.expect("allowed").rows), (token, 1));
        assert_eq!(seen.0, [format!("begin {token}"), format!("0 Text(\"{key}\")")]);
        assert_eq!((session.in_flight(), poll(&mut session, &mut ()).is_none()), (0, true));
    }
}

#[tokio::test]
async fn errors_leave_the_session_usable() {
    let (wire, mut session) = toy();
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
async fn statements_are_prepared_through_the_lane() {
    let (_wire, mut session) = toy();
    let sql = session.sql().expect("a lane session has it");
    assert_eq!(sql.prepare("four").await.expect("prepared"), StatementId(4));
    assert_eq!(sql.placeholder(2), "?");
    assert_eq!(session.in_flight(), 0);
}

#[test]
fn a_lost_connection_ends_what_is_in_flight_and_all_that_follows() {
    let (wire, mut session) = toy();
    session.submit(0, &read("k")).expect("room");
    assert!(poll(&mut session, &mut ()).is_none());
    wire.cut();
    for _ in 0..2 {
        let completion = poll(&mut session, &mut ()).expect("it ends");
        assert_eq!(completion.result.expect_err("cut").kind(), ErrorKind::Unreachable);
        assert!(session.is_broken());
        assert_eq!((session.in_flight(), poll(&mut session, &mut ()).is_none()), (0, true));
        session.submit(0, &read("k")).expect("room");
    }
}

#[test]
fn dropping_drops_the_client_at_once() {
    let (wire, mut session) = toy();
    session.submit(0, &read("k")).expect("room");
    assert!(poll(&mut session, &mut ()).is_none());
    drop(session);
    // A lane that was never polled has a client too.
    drop(LaneSession::new(SQL, Some(Placeholder::Question), |slot| Box::pin(serve(Toy(Rc::clone(&wire)), slot))));
    assert_eq!(wire.dropped.get(), 2);
}

#[test]
fn parameters_are_written_in_the_dialects_way() {
    for (placeholder, text, expected) in [
        (Placeholder::Question, "a = ? AND b = ?", "a = ? AND b = ?"),
        (Placeholder::Dollar, "a = ? AND b = ?", "a = $1 AND b = $2"),
        (Placeholder::Dollar, "no parameters", "no parameters"),
        (Placeholder::Dollar, "?", "$1"),
    ] {
        assert_eq!(placeholder.translate(text), expected);
    }
}
