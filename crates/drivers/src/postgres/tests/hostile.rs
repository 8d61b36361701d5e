//! Answers that no server gives: whatever comes in, every request ends once, with a typed error where it must.

use ::store::{ErrorKind, Fields, StatementId, Token, Values};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::super::POSTGRES;
use super::super::dialect::DIALECT;
use super::super::error::ServerError;
use super::super::message::{Framer, Message, Reader, message};
use super::super::session::PostgresSession;
use super::super::statement::{Answered, Statement, buffer};
use super::super::value::Column;
use super::*;
use crate::hostile::{End, Script, check, cuts, drive, end, mutated, peer, same_however_cut, within_patience};
use crate::relational::Plan;

/// Requests in flight at once.
const DEPTH: usize = 8;

/// Enters without a password.
const GREETING: &[u8] = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x18server_version\x0015.1\0Z\0\0\0\x05I";

/// Numbers of types that are read in different ways: bool, bytea, int8, int2, int4, text, float4, float8, numeric, none.
const TYPES: [u32; 10] = [16, 17, 20, 21, 23, 25, 700, 701, 1700, 0];

fn framed(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, tag, |out| out.extend_from_slice(body));
    out
}

/// The columns of a statement.
fn description(types: &[u32]) -> Vec<u8> {
    let mut body = (types.len() as u16).to_be_bytes().to_vec();
    for oid in types {
        body.extend_from_slice(b"name\0\0\0\0\0\0\0");
        body.extend_from_slice(&oid.to_be_bytes());
        body.extend_from_slice(&[0; 8]);
    }
    framed(b'T', &body)
}

/// A row whose values may or may not fit their columns.
fn row(values: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        let length = value.as_ref().map_or(u32::MAX, |value| value.len() as u32);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    framed(b'D', &body)
}

/// A message as a server might send it.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..10).prop_map(Some),
        any::<i64>().prop_map(|number| Some(number.to_be_bytes().to_vec())),
        any::<i32>().prop_map(|number| Some(number.to_be_bytes().to_vec())),
        Just(None),
    ];
    let error = (select(&["ERROR", "FATAL", "PANIC", ""][..]), select(&["40001", "26000", "42P01", "xxxxx"][..]));
    prop_oneof![
        3 => Just(framed(b'Z', b"I")),
        1 => Just(framed(b'1', b"")),
        1 => Just(framed(b'2', b"")),
        1 => Just(framed(b'n', b"")),
        2 => vec(select(&TYPES[..]), 0..4).prop_map(|types| description(&types)),
        4 => vec(value, 0..4).prop_map(|values| row(&values)),
        2 => select(&["SELECT 1", "INSERT 0 1", "UPDATE 2", "COMMIT", "ROLLBACK", "BEGIN", ""][..])
            .prop_map(|tag| framed(b'C', format!("{tag}\0").as_bytes())),
        1 => vec(select(&TYPES[..]), 0..4).prop_map(|types| {
            let numbers: Vec<u8> = types.iter().flat_map(|oid| oid.to_be_bytes()).collect();
            framed(b't', &[&(types.len() as u16).to_be_bytes()[..], &numbers].concat())
        }),
        1 => error.prop_map(|(severity, code)| {
            framed(b'E', format!("S{severity}\0V{severity}\0C{code}\0Mwhat\0\0").as_bytes())
        }),
        1 => Just(framed(b'S', b"name\0value\0")),
        1 => (any::<u8>(), vec(any::<u8>(), 0..12)).prop_map(|(tag, body)| framed(tag, &body)),
        1 => (select(&b"12CDEIKNRSTZnt"[..]), vec(any::<u8>(), 0..12)).prop_map(|(tag, body)| framed(tag, &body)),
    ]
}

/// What a statement that is described with its first use is answered.
fn conversation() -> impl Strategy<Value = Vec<u8>> {
    let answer = (vec(select(&TYPES[..]), 0..4), 0..4_usize).prop_map(|(types, rows)| {
        let values: Vec<_> = types.iter().map(|oid| Some(vec![0; usize::from(Column::of(*oid).1 == 1) * 8])).collect();
        let rows = (0..rows).map(|_| row(&values)).collect::<Vec<_>>().concat();
        [
            framed(b'1', b""),
            framed(b'2', b""),
            description(&types),
            rows,
            framed(b'C', b"SELECT 1\0"),
            framed(b'Z', b"I"),
        ]
        .concat()
    });
    vec(answer, 0..5).prop_map(|answers| answers.concat())
}

/// Bytes of any kind, near to the protocol or not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let messages = || vec(valid(), 0..24).prop_map(|messages| messages.concat());
    prop_oneof![vec(any::<u8>(), 0..200), messages(), mutated(messages()), conversation(), mutated(conversation()),]
}

/// An answer as it is understood: its rows, their number, and what went wrong.
type Read = std::result::Result<(Vec<String>, u64, bool), String>;

/// The answers in bytes that come in up to each of those ends, and how that ended.
fn decode(bytes: &[u8], ends: &[usize]) -> (Vec<Read>, Option<String>) {
    let (mut framer, mut start, mut answers) = (Framer::default(), 0, Vec::new());
    for &end in ends {
        loop {
            match framer.answer(&bytes[start..end]) {
                Ok(Some(answer)) => {
                    answers.push(read(&bytes[start..start + answer.length]));
                    start += answer.length;
                }
                Ok(None) => break,
                Err(error) => return (answers, Some(error.to_string())),
            }
        }
    }
    (answers, None)
}

fn read(answer: &[u8]) -> Read {
    let mut statement = Statement::described("s".to_owned());
    let _ = statement.prepared(answer);
    let mut rows = RowBuffer::default();
    let answered = Answered::read(&mut statement, answer, |columns, row| buffer(&mut rows, columns, row));
    let answered = answered.map_err(|error| format!("{error:?}"))?;
    let shown = (0..rows.len()).map(|row| format!("{:?}", rows.row(row).collect::<Vec<_>>())).collect();
    Ok((shown, answered.rows, answered.error.is_some()))
}

proptest! {
    #[test]
    fn answers_are_the_same_however_they_are_cut(bytes in bytes()) {
        same_however_cut(&bytes, |ends| decode(&bytes, ends));
    }

    #[test]
    fn any_body_is_survived(body in vec(any::<u8>(), 0..80), oid in select(&TYPES[..])) {
        let _ = ServerError::of(&body).into_error();
        let _ = Column::of(oid).0.read(Some(&body));
        let mut reader = Reader(&body);
        while reader.column().is_ok() {}
        let mut reader = Reader(&body);
        while reader.text().is_ok() {}
        prop_assert!(Message::all(&body).count() <= body.len());
    }
}

/// A connection that was let in.
async fn entered(port: u16) -> Connection {
    let target = Target::parse(&format!("postgres://me@127.0.0.1:{port}/x")).expect("a URL");
    Connection::open(&Address::of(&POSTGRES, &target).expect("valid")).await.expect("it is greeted")
}

/// A request about records, of each kind in turn.
fn submit_record(session: &mut dyn Session, token: Token, kind: u32) -> Result<()> {
    let (key, values) = ("user01", Values { bytes: b"000100010001", length: 4, first: 0 });
    let request = match kind % 9 {
        0 => Request::Read { key, fields: Fields::All },
        1 => Request::Scan { start: key, limit: 3 },
        2 => Request::Update { key, values },
        3 => Request::Read { key, fields: Fields::One(1) },
        4 => Request::Insert { key, values },
        5 => Request::Delete { key },
        6 => Request::Begin,
        7 => Request::Commit,
        _ => Request::Statement { statement: StatementId(0), parameters: &[] },
    };
    session.submit(token, &request)
}

#[test]
fn sessions_survive_hostile_servers() {
    check(&(bytes(), cuts(), end(), any::<bool>(), 0_u32..9), |runtime, (bytes, cuts, end, has_records, first)| {
        runtime.block_on(async {
            let (task, port) = peer(Script::new(GREETING, &bytes, &cuts, end)).await;
            let connection = entered(port).await.settle().expect("still connected");
            if has_records {
                let mut session = PostgresSession::new(connection, Plan::new(&DIALECT, Some(&records())), DEPTH);
                drive(&mut session, |session, token| submit_record(session, token, token + first), task).await;
            } else {
                let dataset = operations(3_000, DataSize::Small);
                let mut session = PostgresSession::new(connection, Plan::new(&DIALECT, Some(&dataset)), DEPTH);
                let submit = |session: &mut dyn Session, token: Token| {
                    session.submit(token, &Request::Operation { operation: ((token + first) % 9) as u16, row: 7 })
                };
                drive(&mut session, submit, task).await;
            }
        });
    });
}

#[test]
fn work_around_a_run_survives_hostile_servers() {
    check(&(bytes(), cuts(), any::<bool>()), |runtime, (bytes, cuts, counts)| {
        runtime.block_on(async {
            let (task, port) = peer(Script::new(GREETING, &bytes, &cuts, End::Closes)).await;
            let mut connection = entered(port).await;
            // Once something went wrong, whatever comes next may go wrong too, but it must end.
            for _ in 0..4 {
                if counts {
                    let _ = within_patience(connection.numbers("SELECT 1", |_, _| ())).await;
                } else {
                    let mut rows = RowBuffer::default();
                    let _ = within_patience(connection.run("SELECT $1", &[Value::Integer(1)], &mut rows)).await;
                }
            }
            task.abort();
        });
    });
}

#[test]
fn statements_are_not_prepared_by_hostile_servers() {
    check(&(bytes(), cuts()), |runtime, (bytes, cuts)| {
        runtime.block_on(async {
            let (task, port) = peer(Script::new(GREETING, &bytes, &cuts, End::Closes)).await;
            let mut session = PostgresSession::new(
                entered(port).await.settle().expect("still connected"),
                Plan::new(&DIALECT, None),
                1,
            );
            for _ in 0..3 {
                let sql = session.sql().expect("it has SQL");
                if let Err(error) = within_patience(sql.prepare("SELECT 1")).await {
                    assert_eq!(session.is_broken(), error.kind() == ErrorKind::Unreachable, "{error}");
                    continue;
                }
                let request = Request::Statement { statement: StatementId(0), parameters: &[] };
                let _ = within_patience(execute(&mut session, &request, &mut ())).await;
            }
            task.abort();
        });
    });
}

#[test]
fn hostile_servers_are_not_entered() {
    let authentication = (0..16_u32, vec(any::<u8>(), 0..60)).prop_map(|(kind, rest)| {
        framed(
            b'R',
            &[&kind.to_be_bytes()[..], b"SCRAM-SHA-256\0\0".get(..rest.len() % 16).unwrap_or(b""), &rest].concat(),
        )
    });
    let asked = prop_oneof![bytes(), vec(authentication, 1..4).prop_map(|messages| messages.concat())];
    check(&(asked, bytes(), cuts(), end()), |runtime, (greeting, bytes, cuts, end)| {
        runtime.block_on(async {
            let (task, port) = peer(Script::new(&greeting, &bytes, &cuts, end)).await;
            let url = format!("postgres://me:canary@127.0.0.1:{port}/x?connect_timeout=0.02");
            let target = Target::parse(&url).expect("a URL");
            let address = Address::of(&POSTGRES, &target).expect("valid");
            if let Err(error) = within_patience(Connection::open(&address)).await {
                assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            }
            task.abort();
        });
    });
}

#[tokio::test]
async fn a_request_whose_answer_is_out_of_step_ends_with_its_own_token() {
    // The answer to the first read has a row of three columns where none were described.
    let answer = [framed(b'1', b""), row(&[None, None, None]), framed(b'Z', b"I")].concat();
    let (task, port) = peer(Script::new(GREETING, &answer, &[], End::FallsSilent)).await;
    let plan = Plan::new(&DIALECT, Some(&records()));
    let mut session = PostgresSession::new(entered(port).await.settle().expect("still connected"), plan, DEPTH);
    for token in [41, 42] {
        let request = Request::Read { key: "user01", fields: Fields::All };
        session.submit(token, &request).expect("below the depth");
    }
    for token in [41, 42] {
        let completion = within_patience(::store::complete(&mut session, &mut ())).await;
        assert_eq!(completion.token, token);
        assert_eq!(completion.result.expect_err("out of step").kind(), ErrorKind::Unreachable);
    }
    task.abort();
}
