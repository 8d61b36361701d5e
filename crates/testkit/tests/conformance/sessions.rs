//! What a session promises to its worker.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use libtest_mimic::Completion;
use store::{Capability, DataSize, Driver, ErrorKind, Fields, Request, Session, Values, complete, execute};

use crate::data::{FIELD_COUNT, Seen, fields, key};
use crate::lab::{Lab, ask, rows_of};
use crate::raw::{Raw, Reply};
use crate::sentence::{Sentence, may_skip, says};

/// Requests in flight, where the store pipelines.
const DEPTH: usize = 16;

/// How often the server's list of connections is looked at, and how long it may take to notice that one has gone.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const GONE_WITHIN: Duration = Duration::from_secs(20);

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    let has = |capability| driver.capabilities().has(capability);
    let mut sentences = vec![
        says("every_accepted_request_completes_once_with_its_token", tokens),
        says("with_nothing_in_flight_there_is_no_completion", nothing_in_flight),
        says("a_completion_nobody_waited_for_comes_later", abandoned_wait),
    ];
    if crate::KEEPS_NOTHING.contains(&driver.name()) {
        return sentences;
    }
    sentences.extend([
        says("rows_are_shown_with_their_own_completion", rows_with_completion),
        says("an_operation_that_fails_leaves_the_session_usable", failed_operation),
        says("sessions_are_dropped_with_requests_in_flight", dropped),
    ]);
    if !has(Capability::Embedded) {
        sentences.push(may_skip("a_dropped_session_closes_its_connection", connections).alone());
    }
    sentences
}

async fn tokens(lab: &Lab) {
    let dataset = lab.records(50);
    lab.load(&dataset).await;
    let mut session = lab.session(Some(&dataset), DEPTH).await;
    let depth = session.depth();
    let keys: Vec<_> = (0..50).map(key).collect();
    for round in 0..20 {
        // Tokens in any order, and a session that is not always full.
        let wanted: Vec<u32> = (0..depth as u32).rev().filter(|token| depth == 1 || (token + round) % 3 > 0).collect();
        for (position, token) in wanted.iter().enumerate() {
            let key = &keys[(round as usize * 7 + position) % 50];
            session.submit(*token, &Request::Read { key, fields: Fields::All }).expect("below the depth");
            assert_eq!(session.in_flight(), position + 1);
        }
        let mut completed = BTreeSet::new();
        for left in (0..wanted.len()).rev() {
            let store::Completion { token, result } = complete(session.as_mut(), &mut ()).await;
            assert_eq!(result.expect("the record is there").rows, 1);
            assert!(completed.insert(token), "{token} completed twice");
            assert_eq!(session.in_flight(), left);
        }
        assert_eq!(completed, wanted.into_iter().collect());
    }
    assert!(!session.is_broken());
}

async fn poll_once(session: &mut dyn Session) -> Poll<store::Completion> {
    poll_fn(|context| Poll::Ready(session.poll_completion(context, &mut ()))).await
}

async fn nothing_in_flight(lab: &Lab) {
    let dataset = lab.records(3);
    let mut session = lab.loaded(&dataset).await;
    assert!(poll_once(session.as_mut()).await.is_pending());
    assert_eq!(rows_of(session.as_mut(), Request::Read { key: &key(1), fields: Fields::All }).await, 1);
    assert!(poll_once(session.as_mut()).await.is_pending());
    assert_eq!(session.in_flight(), 0);
}

async fn abandoned_wait(lab: &Lab) {
    let dataset = lab.records(3);
    let mut session = lab.loaded(&dataset).await;
    for _ in 0..5 {
        session.submit(0, &Request::Read { key: &key(1), fields: Fields::All }).expect("below the depth");
        let first = poll_once(session.as_mut()).await;
        // Whoever looked has gone; the next waits with another waker.
        let completion = match first {
            Poll::Ready(completion) => completion,
            Poll::Pending => complete(session.as_mut(), &mut ()).await,
        };
        assert_eq!((completion.token, completion.result.expect("it is there").rows), (0, 1));
    }
}

async fn rows_with_completion(lab: &Lab) {
    let dataset = lab.records(100);
    lab.load(&dataset).await;
    let mut session = lab.session(Some(&dataset), DEPTH).await;
    let depth = session.depth() as u64;
    for round in 0..5 {
        for token in 0..depth {
            let number = (round * depth + token) % 90;
            let key = key(number);
            let scans = token % 2 == 1 && lab.has(Capability::OrderedScan);
            let request = if scans {
                Request::Scan { start: &key, limit: 5 }
            } else {
                Request::Read { key: &key, fields: Fields::All }
            };
            session.submit(token as u32, &request).expect("below the depth");
        }
        for _ in 0..depth {
            let mut seen = Seen::default();
            let store::Completion { token, result } = complete(session.as_mut(), &mut seen).await;
            let rows = result.expect("the records are there").rows;
            assert!(seen.begun.len() <= 1, "a request begins once: {:?}", seen.begun);
            assert_eq!(seen.rows.len() as u64, rows, "all rows are shown before the completion");
            let first = (round * depth + u64::from(token)) % 90;
            for (row, number) in seen.rows.iter().zip(first..) {
                assert_eq!(row.token, token, "and only those that belong to it");
                assert!(row.joined() == fields(number, FIELD_COUNT, 10), "record {number}");
            }
        }
    }
}

async fn failed_operation(lab: &Lab) {
    let dataset = lab.rows(20, DataSize::Small);
    lab.load(&dataset).await;
    let mut session = lab.session(Some(&dataset), DEPTH).await;
    let operations = lab.driver.operations();
    let reading = operations.iter().position(|operation| operation.effect == store::Effect::Reads);
    let good = Request::Operation { operation: reading.expect("every store reads") as u16, row: 3 };
    let bad = Request::Operation { operation: operations.len() as u16 + 7, row: 3 };
    for _ in 0..3 {
        let error = execute(session.as_mut(), &bad, &mut ()).await.expect_err("there is no such operation");
        assert_eq!(error.kind(), ErrorKind::Bug, "{error}");
        assert!(!session.is_broken() && session.in_flight() == 0);
        execute(session.as_mut(), &good, &mut ()).await.expect("the session is as good as before");
    }
}

/// Those that were in flight are done or not, and nobody hangs or is harmed by it.
async fn dropped(lab: &Lab) {
    let dataset = lab.records(50);
    lab.load(&dataset).await;
    let bytes = fields(7, FIELD_COUNT, 10);
    for polls in 0..3 {
        let mut session = lab.session(Some(&dataset), DEPTH).await;
        for token in 0..session.depth() as u32 {
            let key = key(u64::from(token));
            let values = Values { bytes: &bytes, length: 10, first: 0 };
            session.submit(token, &Request::Update { key: &key, values }).expect("below the depth");
        }
        for _ in 0..polls {
            let _ = poll_once(session.as_mut()).await;
        }
        drop(session);
    }
    let mut session = lab.session(Some(&dataset), 1).await;
    for number in 0..50 {
        let (count, rows) = ask(session.as_mut(), Request::Read { key: &key(number), fields: Fields::All }).await;
        assert_eq!(count, Ok(1), "record {number}");
        let found = rows[0].joined();
        assert!(found == bytes || found == fields(number, FIELD_COUNT, 10), "record {number} is old or new");
    }
}

/// The connections to this database, as the server lists them; the one that asks may be among them, always. None where the
/// server does not list them.
async fn connected(lab: &Lab, raw: &mut Raw) -> Option<usize> {
    Some(match raw {
        Raw::Side(side) => return side.connections().await,
        Raw::Redis(commands) => {
            let target = lab.target();
            let database = format!(" db={} ", if target.path().is_empty() { "0" } else { target.path() });
            let of_node = |list: &Reply| list.text().lines().filter(|line| line.contains(&database)).count();
            let lists = commands.ask_all(&["CLIENT", "LIST"]);
            // Who asks a cluster has a connection to each node, which counts as one.
            lists.iter().map(of_node).sum::<usize>() - (lists.len() - 1)
        }
        Raw::Sql(_) => {
            let text = match lab.driver.name() {
                "mariadb" | "mysql" | "oceanbase" | "tidb" => {
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()"
                }
                "cockroachdb" => {
                    "SELECT COUNT(*) FROM crdb_internal.node_sessions \
                     WHERE application_name = current_setting('application_name') AND status <> 'CLOSED'"
                }
                "postgres" => "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()",
                other => panic!("how are {other}'s connections counted?"),
            };
            raw.number(text).await.unsigned_abs() as usize
        }
    })
}

async fn connections(lab: &Lab) -> Completion {
    const SESSIONS: usize = 5;
    let dataset = lab.records(50);
    lab.load(&dataset).await;
    let mut raw = lab.raw().await.expect("servers have another way in");
    if connected(lab, &mut raw).await.is_none() {
        return Completion::ignored_with("the server does not list its connections");
    }
    // Connections of the load may still be on their way out.
    tokio::time::timeout(GONE_WITHIN, async {
        while connected(lab, &mut raw).await > Some(2) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    })
    .await
    .expect("the load's own connections go");
    let before = connected(lab, &mut raw).await;
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let mut session = lab.session(Some(&dataset), DEPTH).await;
        for token in 0..session.depth() as u32 {
            session.submit(token, &Request::Scan { start: "", limit: 50 }).expect("below the depth");
        }
        let _ = poll_once(session.as_mut()).await;
        sessions.push(session);
    }
    // A busy server takes them later than the kernel does.
    let opened = async {
        while connected(lab, &mut raw).await < before.map(|before| before + SESSIONS) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(GONE_WITHIN, opened).await.expect("a session is a connection at least");
    drop(sessions);
    let gone = async {
        while connected(lab, &mut raw).await > before {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(GONE_WITHIN, gone).await.expect("dropped sessions close their connections");
    Completion::Completed
}
