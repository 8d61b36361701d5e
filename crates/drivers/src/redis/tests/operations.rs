//! Every operation of the driver, alone, side by side, and on data that somebody spoiled.

use ::store::{Completion, complete};

use super::*;
use crate::redis::operations::OPERATIONS;

fn place(name: &str) -> u16 {
    OPERATIONS.iter().position(|operation| operation.name == name).expect("in the list") as u16
}

/// Runs an operation by its name.
pub(super) async fn by_name(session: &mut dyn Session, name: &str, row: u64) -> Result<u64> {
    let request = Request::Operation { operation: place(name), row };
    execute(session, &request, &mut ()).await.map(|outcome| outcome.rows)
}

/// The operations that the server has.
async fn available(store: &dyn Store) -> Vec<&'static str> {
    let missing = store.server().await.expect("readable").operations_missing;
    let names = OPERATIONS.iter().map(|operation| operation.name);
    names.filter(|name| !missing.contains_key(name)).collect()
}

#[tokio::test]
async fn every_operation_works_on_every_size() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let available = available(store.as_ref()).await;
    assert!(available.len() >= OPERATIONS.len() - 1, "only a module can be missing: {available:?}");
    // One row; blocks and slots that are not full; several blocks.
    for (count, size) in [(1, DataSize::Small), (250, DataSize::Large), (2100, DataSize::Medium)] {
        let dataset = rows(count, size);
        load(store.as_ref(), &dataset).await;
        let mut session = session(store.as_ref(), &dataset, 1).await;
        for name in &available {
            for row in [0, count / 2, count - 1] {
                for _ in 0..12 {
                    let done = by_name(session.as_mut(), name, row).await;
                    assert!(done.as_ref().is_ok_and(|rows| *rows > 0), "{name} of row {row} of {count}: {done:?}");
                }
            }
        }
        assert!(!session.is_broken());
    }
    store.clean(None).await.expect("possible");
    assert_eq!(key_count(&mut beside(&server).await).await, 0, "nothing is left");
}

#[tokio::test]
async fn sessions_with_deep_pipelines_do_not_disturb_one_another() {
    const DEPTH: usize = 16;
    const REQUESTS: usize = 400;
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let dataset = rows(120, DataSize::Small);
    load(store.as_ref(), &dataset).await;
    let available: Vec<u16> = available(store.as_ref()).await.into_iter().map(place).collect();
    let client = async |client: usize| {
        let mut session = session(store.as_ref(), &dataset, DEPTH).await;
        let mut free: Vec<u32> = (0..DEPTH as u32).collect();
        let (mut submitted, mut completed) = (0, 0);
        while completed < REQUESTS {
            while submitted < REQUESTS
                && let Some(token) = free.pop()
            {
                let operation = available[(submitted + client) % available.len()];
                let row = (submitted * 7 % 120) as u64;
                session.submit(token, &Request::Operation { operation, row }).expect("below the depth");
                submitted += 1;
            }
            let Completion { token, result } = complete(session.as_mut(), &mut ()).await;
            result.expect("verified");
            free.push(token);
            completed += 1;
        }
        assert_eq!((session.in_flight(), session.depth()), (0, DEPTH));
    };
    futures_util::future::join3(client(0), client(1), client(2)).await;
}

/// Puts a member that is no row where row 0 is.
const STRANGER_AT_ROW_0: &[u8] =
    b"local p = redis.call('GEOPOS', KEYS[1], '0')[1] return redis.call('GEOADD', KEYS[1], p[1], p[2], '7777')";

#[tokio::test]
async fn spoiled_data_is_noticed() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let dataset = rows(5, DataSize::Small);
    let mut session = session(store.as_ref(), &dataset, 1).await;
    let mut beside = beside(&server).await;
    let spoil: &[(&str, &[&[u8]], ErrorKind)] = &[
        ("get", &[b"SET", b"storelab_rows:s:2", b"x"], ErrorKind::WrongResult),
        ("get", &[b"DEL", b"storelab_rows:s:2"], ErrorKind::WrongResult),
        ("hash", &[b"SET", b"storelab_rows:h:2", b"x"], ErrorKind::Rejected),
        ("hash", &[b"HSET", b"storelab_rows:h:2", b"f9", b"x"], ErrorKind::WrongResult),
        ("sortedset", &[b"ZADD", b"storelab_rows:z:0", b"99999", b"7777"], ErrorKind::WrongResult),
        ("list", &[b"LPUSH", b"storelab_rows:l:2", b"x"], ErrorKind::WrongResult),
        ("sets", &[b"SADD", b"storelab_rows:m:{1}:2", b"x"], ErrorKind::WrongResult),
        ("stream", &[b"XADD", b"storelab_rows:x:2", b"*", b"v", b"x"], ErrorKind::WrongResult),
        ("bitmap", &[b"SETBIT", b"storelab_rows:b:0", b"5", b"1"], ErrorKind::WrongResult),
        ("hyperloglog", &[b"PFADD", b"storelab_rows:p:0", b"a", b"b", b"c"], ErrorKind::WrongResult),
        ("geo", &[b"EVAL", STRANGER_AT_ROW_0, b"1", b"storelab_rows:g:0"], ErrorKind::WrongResult),
        ("geo", &[b"ZREM", b"storelab_rows:g:0", b"1"], ErrorKind::WrongResult),
        ("transaction", &[b"HINCRBY", b"storelab_rows:t:2", b"a", b"1"], ErrorKind::WrongResult),
    ];
    for (name, command, expect) in spoil {
        load(store.as_ref(), &dataset).await;
        for row in 0..5 {
            by_name(session.as_mut(), name, row).await.expect("not spoiled yet");
        }
        beside.tell(command).await.expect("writable");
        let mut kinds = Vec::new();
        for row in 0..5 {
            kinds.extend(by_name(session.as_mut(), name, row).await.err().map(|error| error.kind()));
        }
        assert!(kinds.contains(expect), "{name} does not notice {:?}: {kinds:?}", String::from_utf8_lossy(command[0]));
    }
    assert!(!session.is_broken(), "errors leave the session usable");
    beside.tell(&[b"DEL", b"storelab_rows:s:2"]).await.expect("writable");
    assert_eq!(by_name(session.as_mut(), "set", 2).await.expect("repairs the row"), 1);
    assert_eq!(by_name(session.as_mut(), "get", 2).await.expect("repaired"), 1);
}

#[tokio::test]
async fn requests_that_make_no_sense_are_refused_and_leave_the_session_usable() {
    let Some(server) = Server::start(&[]) else { return };
    let store = connect(&server.url()).await.expect("the server runs");
    let dataset = rows(1, DataSize::Small);
    load(store.as_ref(), &dataset).await;
    let mut session = session(store.as_ref(), &dataset, 1).await;
    let unknown = Request::Operation { operation: 99, row: 0 };
    assert_eq!(run(session.as_mut(), unknown, &mut ()).await, Err(ErrorKind::Bug));
    assert_eq!(run(session.as_mut(), Request::Begin, &mut ()).await, Err(ErrorKind::Unsupported));
    let read = Request::Read { key: "a", fields: ::store::Fields::All };
    assert_eq!(run(session.as_mut(), read, &mut ()).await, Err(ErrorKind::Unsupported));
    assert_eq!(session.in_flight(), 0);
    by_name(session.as_mut(), "get", 0).await.expect("usable");
}
