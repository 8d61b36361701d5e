//! Answers that no server gives: whatever comes in, every request ends once, with a typed error where it must.

use ::store::Token;
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::contents::Contents;
use super::super::session::RedisSession;
use super::*;
use crate::hostile::{End, Script, check, cuts, drive, end, mutated, peer, same_however_cut, within_patience};
use crate::redis::operations::OPERATIONS;
use crate::resp::tests::reply;
use crate::resp::{Framer, Malformed, take_item};

/// Requests in flight at once.
const DEPTH: usize = 8;

/// What a server says to `CLIENT SETNAME`.
const GREETING: &[u8] = b"+OK\r\n";

/// Bytes of any kind, near to replies or not.
pub(super) fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let replies = || vec(reply(), 0..12).prop_map(|replies| replies.concat());
    prop_oneof![
        vec(any::<u8>(), 0..200),
        "([-+:$*][-0-9]{0,3}\r\n){0,20}".prop_map(String::into_bytes),
        replies(),
        mutated(replies()),
        // What the operations' own answers are made of.
        "([:][01]\r\n|[+]OK\r\n|[+]QUEUED\r\n|[$]2\r\nf0\r\n|[$]3\r\n1-1\r\n|[*][0-9]\r\n|[$]-1\r\n){0,40}"
            .prop_map(String::into_bytes),
    ]
}

/// An answer's items as text, or what was wrong with it.
type Framed = (Vec<Vec<String>>, Option<Malformed>);

/// The answers to requests with so many replies each, from bytes that come in up to each of those ends.
fn decode(bytes: &[u8], ends: &[usize], replies: u32) -> Framed {
    let (mut framer, mut start, mut answers) = (Framer::default(), 0, Vec::new());
    for &end in ends {
        loop {
            match framer.frame(&bytes[start..end], replies) {
                Ok(Some(length)) => {
                    answers.push(items(&bytes[start..start + length]));
                    start += length;
                    if length == 0 {
                        break;
                    }
                }
                Ok(None) => break,
                Err(malformed) => return (answers, Some(malformed)),
            }
        }
    }
    (answers, None)
}

/// The items of an answer that is whole.
fn items(mut bytes: &[u8]) -> Vec<String> {
    let mut items = Vec::new();
    while !bytes.is_empty() {
        let (item, length) = take_item(bytes).expect("framed").expect("whole");
        items.push(format!("{item:?}"));
        bytes = &bytes[length..];
    }
    items
}

proptest! {
    #[test]
    fn answers_are_the_same_however_they_are_cut(bytes in bytes(), replies in 1_u32..4) {
        same_however_cut(&bytes, |ends| decode(&bytes, ends, replies));
    }

    #[test]
    fn any_answer_to_an_operation_is_right_or_an_error(bytes in bytes(), row in 0_u64..3_000) {
        let Dataset::Operations(rows) = rows(3_000, DataSize::Small) else { unreachable!("rows are asked for") };
        let contents = Contents::new(&rows);
        for operation in 0..OPERATIONS.len() as u16 {
            let found = crate::redis::operations::check(&contents, operation, row, &mut Replies::new(&bytes));
            let kind = found.err().map(|error| error.kind());
            prop_assert!(matches!(kind, None | Some(ErrorKind::WrongResult | ErrorKind::Rejected | ErrorKind::Conflict)));
        }
    }
}

/// A session that has entered.
async fn entered(port: u16, dataset: &Dataset) -> RedisSession {
    let target = Target::parse(&format!("redis://127.0.0.1:{port}")).expect("a URL of the test's own");
    let connection = Connection::open(&Address::of(&target).expect("valid")).await.expect("it is greeted");
    let contents = match dataset {
        Dataset::Operations(rows) => Some(Arc::new(Contents::new(rows))),
        Dataset::Records(_) | Dataset::Tables(_) => None,
    };
    RedisSession::new(connection, Some(dataset), contents, DEPTH).expect("still connected")
}

/// A request about records, of each kind in turn.
pub(super) fn submit_record(session: &mut dyn Session, token: Token, kind: u32) -> Result<()> {
    let (key, values) = ("user0001", ::store::Values { bytes: b"0000000100000001", length: FIELD_LENGTH, first: 0 });
    let request = match kind % 6 {
        0 => Request::Read { key, fields: ::store::Fields::All },
        1 => Request::Scan { start: key, limit: 3 },
        2 => Request::Update { key, values },
        3 => Request::Read { key, fields: ::store::Fields::One(1) },
        4 => Request::Insert { key, values },
        _ => Request::Delete { key },
    };
    session.submit(token, &request)
}

#[test]
fn sessions_survive_hostile_servers() {
    check(&(bytes(), cuts(), end(), any::<bool>(), 0_u32..13), |runtime, (bytes, cuts, end, records, first)| {
        runtime.block_on(async {
            let (task, port) = peer(Script::new(GREETING, &bytes, &cuts, end)).await;
            if records {
                let mut session = entered(port, &self::records(10)).await;
                drive(&mut session, |session, token| submit_record(session, token, token + first), task).await;
            } else {
                let mut session = entered(port, &rows(3_000, DataSize::Small)).await;
                let submit = |session: &mut dyn Session, token: Token| {
                    let operation = ((token + first) % OPERATIONS.len() as u32) as u16;
                    session.submit(token, &Request::Operation { operation, row: token.into() })
                };
                drive(&mut session, submit, task).await;
            }
        });
    });
}

#[test]
fn hostile_servers_are_not_entered() {
    check(&(bytes(), cuts(), end()), |runtime, (bytes, cuts, end)| {
        runtime.block_on(async {
            let (task, port) = peer(Script { greeting: bytes.clone(), ..Script::new(b"", b"", &cuts, end) }).await;
            let url = format!("redis://:canary@127.0.0.1:{port}/1?connect_timeout=0.02");
            if let Err(error) = within_patience(connect(&url)).await {
                assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            }
            task.abort();
        });
    });
}

#[tokio::test]
async fn a_scan_that_is_answered_wrongly_leaves_nothing_behind() {
    // The second key is a number: the scan fails, and what would have read the first must not be sent any more.
    let answers = [&b"*2\r\n$8\r\nuser0001\r\n:1\r\n"[..], b"$8\r\n00000007\r\n"].concat();
    let (task, port) = peer(Script::new(GREETING, &answers, &[], End::FallsSilent)).await;
    let mut session = entered(port, &records(10)).await;
    session.submit(1, &Request::Scan { start: "user0001", limit: 3 }).expect("below the depth");
    session.submit(2, &Request::Read { key: "user0001", fields: ::store::Fields::One(0) }).expect("below the depth");
    let first = within_patience(::store::complete(&mut session, &mut ())).await;
    assert_eq!((first.token, first.result.map_err(|error| error.kind()).err()), (1, Some(ErrorKind::WrongResult)));
    let second = within_patience(::store::complete(&mut session, &mut ())).await;
    assert_eq!((second.token, second.result.expect("answered").rows), (2, 1));
    assert!(!session.has_unsent(), "commands of a request that has ended would be answered to the next");
    task.abort();
}
