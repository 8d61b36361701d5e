//! Targets that cannot be reached or do not let us in, and sessions that are cut short.

use ::store::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn servers_that_refuse_say_why_and_what_to_do() {
    let Some(database) = Database::new().await else { return };
    let url = &database.url;
    run(url, "CREATE ROLE few LOGIN PASSWORD 'few' CONNECTION LIMIT 0").await;
    run(url, "CREATE ROLE plain LOGIN PASSWORD 'plain'").await;
    for (url, kind, told) in [
        (as_user(url, "storelab", "canary-secret"), ErrorKind::Rejected, "28P01"),
        (as_user(url, "nobody", "canary-secret"), ErrorKind::Rejected, "28P01"),
        (as_user(url, "few", "few"), ErrorKind::Rejected, "53300"),
        (as_user(url, "plain", "plain").replace(":plain@", "@"), ErrorKind::Rejected, "has none"),
        (with_database(url, "nowhere"), ErrorKind::Rejected, "3D000"),
        (format!("{url}?statement_timeout=soon"), ErrorKind::Config, "statement_timeout"),
        (format!("{url}?options=-c%20no_such%3D1"), ErrorKind::Config, "no_such"),
        (format!("{url}?tls=insecure"), ErrorKind::Rejected, "does not encrypt"),
    ] {
        let error = refused(&url).await;
        assert_eq!((error.kind(), error.hint().is_some()), (kind, true), "{error}");
        assert!(error.to_string().contains(told), "{error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let store = connect(&as_user(url, "plain", "plain")).await.expect("let in");
    let error = store.create(&records()).await.expect_err("may not");
    assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Rejected, true), "{error}");
    // What only a superuser may know is left out.
    assert_eq!(store.server().await.expect("read").process_id, None);
}

#[tokio::test]
async fn ports_without_a_server_say_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let url = format!("postgres://me:canary-secret@127.0.0.1:{port}/x?connect_timeout=0.2");
    // Nobody accepts: the kernel does, and nothing is said.
    for url in [url.clone(), format!("{url}&tls=insecure")] {
        let error = refused(&url).await;
        assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Unreachable, true), "{error}");
    }
    drop(listener);
    let error = refused(&url).await;
    assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Unreachable, true), "{error}");
}

#[tokio::test]
async fn other_servers_are_told_apart() {
    let fatal = b"E\0\0\0\x33SFATAL\0VFATAL\0C57P03\0Mthe server is starting up\0\0";
    for (answer, kind) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], ErrorKind::Rejected),
        (b"-ERR unknown command\r\n", ErrorKind::Rejected),
        (b"\x4a\0\0\0\x0a8.0.36\0", ErrorKind::Rejected),
        (b"R\xff\xff\xff\xff", ErrorKind::Rejected),
        (b"R\0\0\0\x08\0\0\0\x07", ErrorKind::Unsupported),
        (b"R\0\0\0\x08\0\0\0\x0c", ErrorKind::Rejected),
        (b"R\0\0\0\x06\0\0", ErrorKind::Unreachable),
        (b"", ErrorKind::Unreachable),
        (fatal, ErrorKind::Unreachable),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let peer = async {
            let (mut stream, _) = listener.accept().await.expect("our own connection");
            let _ = stream.read(&mut [0; 200]).await;
            stream.write_all(answer).await.expect("written");
            let _ = stream.shutdown().await;
        };
        let url = format!("postgres://me:x@127.0.0.1:{port}/x?connect_timeout=5");
        let ((), error) = tokio::join!(peer, refused(&url));
        assert_eq!((error.kind(), error.hint().is_some()), (kind, true), "{answer:?}: {error}");
    }
}

/// A session with that many statements in flight that will not end.
async fn stuck(store: &dyn Store, depth: usize) -> Box<dyn Session> {
    let mut session = session(store, None, depth).await;
    let statement = session.sql().expect("sql").prepare("SELECT pg_sleep(600)").await.expect("prepared");
    for token in 0..depth as u32 {
        session.submit(token, &Request::Statement { statement, parameters: &[] }).expect("taken");
    }
    let sent = poll_fn(|context| std::task::Poll::Ready(session.poll_completion(context, &mut ()).is_pending())).await;
    assert!(sent, "nothing has ended yet");
    session
}

async fn all_are_lost(session: &mut dyn Session) {
    for _ in 0..session.in_flight() {
        let completion = poll_fn(|context| session.poll_completion(context, &mut ())).await;
        let error = completion.result.expect_err("lost");
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
    assert!(session.is_broken());
    assert_eq!(session.in_flight(), 0);
}

#[tokio::test]
async fn a_connection_that_the_server_ends_ends_all_that_is_in_flight() {
    let Some(database) = Database::new().await else { return };
    let store = database.store().await;
    let mut session = stuck(&*store, 16).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    run(&database.url, end).await;
    all_are_lost(&mut *session).await;
}

#[tokio::test]
async fn statements_that_take_too_long_end_alone() {
    let Some(database) = Database::new().await else { return };
    let store = database.store_with("statement_timeout=20").await;
    let mut session = session(&*store, None, 2).await;
    let sleep = session.sql().expect("sql").prepare("SELECT pg_sleep(600)").await.expect("prepared");
    let one = session.sql().expect("sql").prepare("SELECT 1").await.expect("prepared");
    let statement = |statement| Request::Statement { statement, parameters: &[] };
    let results = pipelined(&mut *session, &[statement(sleep), statement(one)]).await;
    assert_eq!(results[0].as_ref().expect_err("too long").kind(), ErrorKind::Timeout);
    assert_eq!(results[1].as_ref().expect("done").rows, 1);
}

#[tokio::test]
async fn a_server_that_is_killed_or_paused_is_missed_and_found_again() {
    let Some(mut server) = start(&[("fsync", "off")]) else { return };
    let store = connect(server.url()).await.expect("reached");
    let dataset = operations(10, DataSize::Small);
    loaded(&*store, &dataset).await;
    let before = store.counters().await.expect("read");
    let info = store.server().await.expect("read");
    assert_eq!(info.process_id, Some(server.process_id()));

    server.pause().expect("paused");
    let error = refused(&format!("{}?connect_timeout=0.2", server.url())).await;
    server.resume().expect("resumed");
    assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Unreachable, true), "{error}");

    let mut statements = stuck(&*store, 16).await;
    let mut operations = session(&*store, Some(&dataset), 16).await;
    server.kill().expect("killed");
    for token in 0..16 {
        operations.submit(token, &Request::Operation { operation: (token % 9) as u16, row: 1 }).expect("taken");
    }
    all_are_lost(&mut *statements).await;
    all_are_lost(&mut *operations).await;
    assert_eq!(store.counters().await.expect_err("gone").kind(), ErrorKind::Unreachable);
    server.restart().expect("restarted");
    let after = store.counters().await.expect("read again");
    assert!(before.keys().all(|name| after.contains_key(name)));
    server.stop().expect("stopped");
}
