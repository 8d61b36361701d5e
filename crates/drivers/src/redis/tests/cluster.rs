//! The driver against real clusters: what moves while it works, replicas that answer, users with few rights.

use ::store::{Fields, complete};
use provision::{Cluster, Options};

use super::operations::by_name;
use super::*;
use crate::redis::cluster::slot_of_key;

/// Set where a missing server must not pass unnoticed.
const REQUIRE: &str = "STORELAB_REQUIRE_ENGINES";

/// So many nodes of Redis. None where it is not installed, which is said.
#[expect(clippy::print_stderr, reason = "a test that was skipped must say so")]
fn start(nodes: usize) -> Option<Cluster> {
    let engine = provision::engine("redis").expect("there is such an engine");
    match Cluster::start(engine, nodes, &Options::default()) {
        Ok(cluster) => Some(cluster),
        Err(error) if error.kind() == provision::ErrorKind::NotInstalled => {
            eprintln!("skipped: redis-server is not installed");
            assert!(std::env::var_os(REQUIRE).is_none(), "{REQUIRE} is set, and redis-server is not installed");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Connections of the test's own to all nodes.
async fn beside_all(cluster: &Cluster) -> Vec<Connection> {
    let mut connections = Vec::new();
    for node in cluster.nodes() {
        let target = Target::parse(node.url()).expect("provision writes URLs");
        connections.push(Connection::open(&Address::of(&target).expect("valid")).await.expect("the node runs"));
    }
    connections
}

async fn text_of(connection: &mut Connection, command: &[&[u8]]) -> String {
    let read = |replies: &mut Replies<'_>| Ok(String::from_utf8_lossy(replies.bytes()?).into_owned());
    connection.ask(command, read).await.expect("a text")
}

/// The keys of a slot on a node.
async fn keys_in(connection: &mut Connection, slot: &[u8]) -> Vec<Vec<u8>> {
    let read = |replies: &mut Replies<'_>| {
        (0..replies.array()?).map(|_| replies.bytes().map(<[u8]>::to_vec)).collect::<Result<Vec<_>>>()
    };
    connection.ask(&[b"CLUSTER", b"GETKEYSINSLOT", slot, b"10000"], read).await.expect("a list")
}

/// Reads every record, many at a time, and compares it.
async fn all_are_there(session: &mut dyn Session, count: u64, when: &str) {
    let keys: Vec<String> = (0..count).map(|number| format!("user{number:04}")).collect();
    let (mut next, mut ended) = (0, 0);
    let mut free: Vec<u32> = (0..session.depth() as u32).collect();
    let mut wanted = vec![0; free.len()];
    while ended < keys.len() {
        while next < keys.len()
            && let Some(token) = free.pop()
        {
            wanted[token as usize] = next;
            session.submit(token, &Request::Read { key: &keys[next], fields: Fields::All }).expect("below the depth");
            next += 1;
        }
        let mut seen = Seen::default();
        let completion = complete(session, &mut seen).await;
        let number = wanted[completion.token as usize];
        assert_eq!(completion.result.expect("answered").rows, 1, "{when}: record {number}");
        let value = format!("{number:08}");
        assert_eq!(seen.0, [(None, vec![(0, value.clone()), (1, value)])], "{when}: record {number}");
        free.push(completion.token);
        ended += 1;
    }
    let mut seen = Seen::default();
    let scan = Request::Scan { start: "user0010", limit: 60 };
    assert_eq!(run(session, scan, &mut seen).await, Ok(60), "{when}");
    let found: Vec<_> = seen.0.into_iter().map(|(key, _)| key.expect("a scan shows keys")).collect();
    assert_eq!(found, keys[10..70], "{when}: in the order of their bytes");
}

#[tokio::test]
async fn sessions_go_on_while_slots_move() {
    const COUNT: u64 = 300;
    let Some(cluster) = start(3) else { return };
    let store = connect(&cluster.url()).await.expect("the cluster serves");
    let info = store.server().await.expect("readable");
    assert_eq!(info.settings["cluster"], "3 masters, 0 replicas");
    let dataset = records(COUNT);
    load(store.as_ref(), &dataset).await;
    let mut session = session(store.as_ref(), &dataset, 16).await;
    all_are_there(session.as_mut(), COUNT, "at first").await;

    let mut nodes = beside_all(&cluster).await;
    let mut names = Vec::new();
    for node in &mut nodes {
        names.push(text_of(node, &[b"CLUSTER", b"MYID"]).await);
    }
    // The slot of some record: its part's, with an index and many records in it.
    let mut slot = None;
    for (from, node) in nodes.iter_mut().enumerate() {
        for key in keys_of(node).await {
            slot = slot.or(Some((from, slot_of_key(&key).to_string().into_bytes())));
        }
    }
    let (from, slot) = slot.expect("a record is somewhere");
    let to = (from + 1) % nodes.len();
    let keys = keys_in(&mut nodes[from], &slot).await;
    assert!(keys.len() > 10, "{}", keys.len());
    nodes[to].tell(&[b"CLUSTER", b"SETSLOT", &slot, b"IMPORTING", names[from].as_bytes()]).await.expect("allowed");
    nodes[from].tell(&[b"CLUSTER", b"SETSLOT", &slot, b"MIGRATING", names[to].as_bytes()]).await.expect("allowed");
    let port = cluster.nodes()[to].port().to_string();
    let password = Target::parse(&cluster.url()).expect("a URL").password().expect("it has one").expose().to_owned();
    let (half, rest) = keys.split_at(keys.len() / 2);
    for (keys, when) in [(half, "half of a slot has moved"), (rest, "all keys of a slot have moved")] {
        for key in keys {
            let command: &[&[u8]] =
                &[b"MIGRATE", b"127.0.0.1", port.as_bytes(), key, b"0", b"5000", b"AUTH", password.as_bytes()];
            nodes[from].tell(command).await.expect("the other node takes it");
        }
        all_are_there(session.as_mut(), COUNT, when).await;
    }
    for place in [to, from, (to + 1) % nodes.len()] {
        nodes[place].tell(&[b"CLUSTER", b"SETSLOT", &slot, b"NODE", names[to].as_bytes()]).await.expect("allowed");
    }
    all_are_there(session.as_mut(), COUNT, "the slot has moved").await;
    assert!(!session.is_broken());
    let owned = store.owned().await.expect("readable");
    assert_eq!(store.clean(None).await.expect("possible"), owned);
    for node in &mut nodes {
        assert_eq!(key_count(node).await, 0, "nothing is left");
    }
}

/// Our records' keys on a node.
async fn keys_of(connection: &mut Connection) -> Vec<Vec<u8>> {
    let read = |replies: &mut Replies<'_>| {
        replies.array()?;
        replies.bytes()?;
        (0..replies.array()?).map(|_| replies.bytes().map(<[u8]>::to_vec)).collect::<Result<Vec<_>>>()
    };
    let command: &[&[u8]] = &[b"SCAN", b"0", b"MATCH", b"storelab_records:*:user*", b"COUNT", b"1000"];
    connection.ask(command, read).await.expect("a list")
}

/// How often a node was asked for a whole record or a value.
async fn reads_of(connection: &mut Connection) -> u64 {
    let text = text_of(connection, &[b"INFO", b"commandstats"]).await;
    let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<u64>().ok();
    let reads = text.lines().filter(|line| line.starts_with("cmdstat_hgetall:") || line.starts_with("cmdstat_get:"));
    reads.filter_map(calls).sum()
}

#[tokio::test]
async fn replicas_answer_reads_where_that_is_asked_for() {
    let Some(cluster) = start(6) else { return };
    let url = cluster.url();
    let mut nodes = beside_all(&cluster).await;
    for (read_from, from_replicas) in [("master", false), ("replica", true)] {
        let store = connect(&format!("{url}&read_from={read_from}")).await.expect("the cluster serves");
        let dataset = records(200);
        load(store.as_ref(), &dataset).await;
        let mut before = Vec::new();
        for node in &mut nodes {
            before.push(reads_of(node).await);
        }
        let mut session = session(store.as_ref(), &dataset, 8).await;
        all_are_there(session.as_mut(), 200, read_from).await;
        for (place, node) in nodes.iter_mut().enumerate() {
            let is_replica = place >= 3;
            let has_read = reads_of(node).await > before[place];
            assert_eq!(has_read, is_replica == from_replicas, "node {place}, reading from the {read_from}");
        }
        // What writes goes to masters all the same.
        let rows = rows(50, DataSize::Small);
        load(store.as_ref(), &rows).await;
        let mut session = self::session(store.as_ref(), &rows, 1).await;
        for name in ["get", "hash", "pipeline", "sets", "transaction", "sortedset"] {
            by_name(session.as_mut(), name, 7).await.expect("verified");
        }
        store.clean(None).await.expect("possible");
    }
    let error = connect(&format!("{url}&read_from=nobody")).await.err().expect("no such way");
    assert_eq!(hinted(&error), ErrorKind::Config);
    // Only masters are listed: there is nobody to read from.
    let masters: Vec<_> = cluster.nodes()[1..3].iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    let first = url.split('?').next().expect("there is a first part");
    let error = connect(&format!("{first}?nodes={}&read_from=replica", masters.join(","))).await.err();
    assert_eq!(hinted(&error.expect("replicas are not listed")), ErrorKind::Rejected);
}

#[tokio::test]
async fn a_server_that_stands_alone_has_no_replicas_to_read_from() {
    let Some(server) = Server::start(&[]) else { return };
    let error = connect(&format!("{}?read_from=replica", server.url())).await.err().expect("it is no cluster");
    assert_eq!(hinted(&error), ErrorKind::Config);
    connect(&format!("{}?read_from=master&nodes=127.0.0.1:1", server.url())).await.expect("it stands alone");
}

#[tokio::test]
async fn a_user_needs_rights_on_our_keys_and_no_others() {
    let Some(server) = Server::start(&[]) else { return };
    let mut beside = beside(&server).await;
    let user: &[&[u8]] = &[
        b"ACL",
        b"SETUSER",
        b"lab",
        b"on",
        b">canary",
        b"~storelab_*",
        b"+@all",
        b"-@admin",
        b"-@dangerous",
        b"+info",
    ];
    beside.tell(user).await.expect("allowed");
    let url = format!("redis://lab:canary@127.0.0.1:{}", server.port());
    let store = connect(&url).await.expect("the user may enter");
    assert!(!store.server().await.expect("readable").settings.is_empty(), "INFO has what CONFIG would tell");
    let dataset = records(20);
    load(store.as_ref(), &dataset).await;
    assert_eq!(store.clean(None).await.expect("possible").len(), 1);
    beside.tell(&[b"ACL", b"SETUSER", b"lab", b"resetkeys", b"~other:*"]).await.expect("allowed");
    let error = store.create(&dataset).await.expect_err("the user may not touch our keys any more");
    assert_eq!(hinted(&error), ErrorKind::Rejected);
    assert!(!format!("{error} {error:?}").contains("canary"));
}
