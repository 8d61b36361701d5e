//! Servers that are killed, paused and started anew, each a server of the trial's own.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use libtest_mimic::Completion;
use provision::Server;
use store::{Capability, Dataset, Driver, ErrorKind, Fields, LoadState, Request, SessionSpec, Store, Values, complete};

use crate::addresses::texts;
use crate::data::{FIELD_COUNT, fields, key};
use crate::lab::{Lab, connect, load, rows_of};
use crate::sentence::{Sentence, may_skip};

/// Less than the drivers' default time-out, far more than the second that is given.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(9);

/// An orphaned connection is noticed at once; this is for a busy machine.
const TOLD_WITHIN: Duration = Duration::from_secs(30);

const DEPTH: usize = 16;

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    if driver.capabilities().has(Capability::Embedded) {
        return Vec::new();
    }
    vec![
        may_skip("a_killed_server_ends_all_in_flight_as_unreachable", async |lab: &Lab| match own(lab) {
            Some(server) => killed(lab, server).await,
            None => not_ours(),
        }),
        may_skip("a_paused_server_is_given_up_within_the_connect_timeout", async |lab: &Lab| match own(lab) {
            Some(server) => paused(server).await,
            None => not_ours(),
        }),
        may_skip("a_store_outlives_its_servers_restart", async |lab: &Lab| match own(lab) {
            Some(server) => restarted(lab, server).await,
            None => not_ours(),
        }),
    ]
}

fn own(lab: &Lab) -> Option<Server> {
    // A cluster lives on without one of its nodes, which is another sentence.
    let engine = lab.engine.filter(|_| !lab.is_cluster);
    engine.map(|engine| testkit::dedicated(engine).expect("a server can be started"))
}

fn not_ours() -> Completion {
    Completion::ignored_with("the server is not ours to kill")
}

/// The server's URL with a second for connecting.
fn impatient(server: &Server) -> String {
    format!("{}?connect_timeout=1", server.url())
}

/// The kind of the error with which connecting ends, in time and without the password.
async fn refused(server: &Server) -> ErrorKind {
    let url = impatient(server);
    let connected = tokio::time::timeout(GIVEN_UP_WITHIN, connect(&url)).await;
    let error = connected.expect("connecting is given up in its time").err().expect("nobody answers");
    let password = url::Url::parse(&url).expect("provision writes URLs").password().unwrap_or("?").to_owned();
    assert!(!texts(&error).contains(&password), "the password is shown");
    assert!(error.hint().is_some(), "what to do about `{error}`?");
    error.kind()
}

async fn loaded(lab: &Lab, server: &Server) -> (std::sync::Arc<dyn Store>, Dataset) {
    let store = connect(&impatient(server)).await.expect("it is up");
    let dataset = lab.records(50);
    lab.forget();
    load(store.as_ref(), &dataset).await.expect("it can be loaded");
    (store, dataset)
}

async fn killed(lab: &Lab, server: Server) -> Completion {
    let (store, dataset) = loaded(lab, &server).await;
    store.counters().await.expect("counters can be read");
    let mut session =
        store.session(SessionSpec { dataset: Some(&dataset), depth: DEPTH }).await.expect("a session can be opened");
    rows_of(session.as_mut(), Request::Read { key: &key(1), fields: Fields::All }).await;
    // So that none can be answered before the end.
    server.pause().expect("it can be paused");
    let wanted: BTreeSet<u32> = (0..session.depth() as u32).collect();
    let bytes = fields(1, FIELD_COUNT, 10);
    for token in &wanted {
        let key = key(u64::from(*token));
        let request = match token % 3 {
            0 => Request::Read { key: &key, fields: Fields::All },
            1 => Request::Scan { start: &key, limit: 10 },
            _ => Request::Update { key: &key, values: Values { bytes: &bytes, length: 10, first: 0 } },
        };
        session.submit(*token, &request).expect("below the depth");
    }
    let early = poll_fn(|context| Poll::Ready(session.poll_completion(context, &mut ()))).await;
    assert!(early.is_pending(), "a paused server does not answer: {early:?}");
    server.kill().expect("it can be killed");
    let ends = async {
        let mut told = BTreeSet::new();
        for _ in &wanted {
            let completion = complete(session.as_mut(), &mut ()).await;
            let error = completion.result.expect_err("nobody is there to answer");
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
            assert!(session.is_broken(), "from the first on");
            told.insert(completion.token);
        }
        told
    };
    let told = tokio::time::timeout(TOLD_WITHIN, ends).await.expect("all are told");
    assert_eq!(told, wanted);
    assert!(session.is_broken() && session.in_flight() == 0);
    drop(session);
    assert_eq!(refused(&server).await, ErrorKind::Unreachable);
    let again = store.session(SessionSpec { dataset: Some(&dataset), depth: 1 });
    let again = tokio::time::timeout(GIVEN_UP_WITHIN, again).await.expect("given up in time");
    assert_eq!(again.err().expect("nobody answers").kind(), ErrorKind::Unreachable);
    let counters = tokio::time::timeout(GIVEN_UP_WITHIN, store.counters()).await.expect("given up in time");
    if lab.has(Capability::ServerCounters) {
        assert_eq!(counters.expect_err("nobody answers").kind(), ErrorKind::Unreachable);
    }
    Completion::Completed
}

async fn paused(server: Server) -> Completion {
    server.pause().expect("it can be paused");
    let kind = refused(&server).await;
    assert!(matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout), "{kind}");
    server.resume().expect("it can be resumed");
    connect(server.url()).await.expect("it answers again");
    Completion::Completed
}

async fn restarted(lab: &Lab, mut server: Server) -> Completion {
    let (store, dataset) = loaded(lab, &server).await;
    let before = store.counters().await.expect("counters can be read");
    server.kill().expect("it can be killed");
    server.restart().expect("it can be started again");
    let after = store.counters().await.expect("counters can be read again");
    assert_eq!(before.is_empty(), after.is_empty());
    store.server().await.expect("the server describes itself");
    let durable = lab.has(Capability::Durable);
    let expect = if durable { LoadState::Loaded(dataset.fingerprint()) } else { LoadState::Absent };
    assert_eq!(
        store.load_state(&dataset).await.expect("known"),
        expect,
        "data outlives the process where it is durable"
    );
    if !durable {
        load(store.as_ref(), &dataset).await.expect("it can be loaded anew");
    }
    let mut session =
        store.session(SessionSpec { dataset: Some(&dataset), depth: 1 }).await.expect("a session can be opened");
    for number in 0..50 {
        let read = Request::Read { key: &key(number), fields: Fields::All };
        assert_eq!(rows_of(session.as_mut(), read).await, 1, "record {number}");
    }
    Completion::Completed
}
