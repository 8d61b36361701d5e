//! Nodes of a cluster that send us elsewhere: to nodes that the target lists, to strangers, in circles, or anywhere at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::store::{Fields, Node, Reach, Token, Values};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::hostile::{bytes, submit_record};
use super::*;
use crate::hostile::{End, check, cuts, drive, end, within_patience};
use crate::redis::operations::OPERATIONS;
use crate::resp::{Item, take_item};

/// A node that we made up: it answers each command with what a function says.
struct Peer {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Peer {
    async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        Self::serve(listener, answer)
    }

    fn serve(listener: TcpListener, answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let port = listener.local_addr().expect("bound").port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, heard) = (Arc::new(answer), Arc::clone(&asked));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (answer, heard) = (Arc::clone(&answer), Arc::clone(&heard));
                tokio::spawn(async move {
                    let (mut input, mut piece) = (Vec::new(), vec![0; 4096]);
                    while let Ok(length @ 1..) = stream.read(&mut piece).await {
                        input.extend_from_slice(&piece[..length]);
                        while let Some((command, length)) = command_in(&input) {
                            input.drain(..length);
                            let reply = answer(&command);
                            heard.lock().unwrap_or_else(PoisonError::into_inner).push(command);
                            if stream.write_all(reply.as_bytes()).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { port, asked, task }
    }

    /// What it was asked about data, without how it was entered.
    fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|command| !command.starts_with("CL")).cloned().collect()
    }

    fn looks_at_topology(&self) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|command| *command == "CLUSTER SLOTS").count()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The first command, with blanks between its arguments, and its length.
fn command_in(input: &[u8]) -> Option<(String, usize)> {
    let (Item::Array(arguments), mut end) = take_item(input).expect("the driver writes commands")? else {
        panic!("a command is an array");
    };
    let mut words = Vec::new();
    for _ in 0..arguments {
        let (Item::Bulk(word), length) = take_item(&input[end..]).expect("the driver writes commands")? else {
            panic!("arguments are byte strings");
        };
        words.push(String::from_utf8_lossy(word).into_owned());
        end += length;
    }
    Some((words.join(" "), end))
}

/// All slots at that address.
fn all_slots_at(host: &str, port: u16) -> String {
    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n${}\r\n{host}\r\n:{port}\r\n$2\r\nid\r\n", host.len())
}

/// What is answered before any data is asked for, by a node that says that all slots are at that port of loopback.
fn entry(command: &str, owner: u16) -> Option<String> {
    match command {
        "CLIENT SETNAME storelab" => Some("+OK\r\n".to_owned()),
        "CLUSTER SLOTS" => Some(all_slots_at("127.0.0.1", owner)),
        _ => None,
    }
}

/// A node that is entered and answers everything about data with the same, its own port in place of `{port}`.
async fn node(reply: &'static str) -> Peer {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    Peer::serve(listener, move |command| {
        entry(command, port).unwrap_or_else(|| reply.replace("{port}", &port.to_string()))
    })
}

/// The session of a target that lists those ports.
async fn session_of(ports: &[u16]) -> Result<Box<dyn Session>> {
    let others: Vec<_> = ports[1..].iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let nodes = if others.is_empty() { String::new() } else { format!("?nodes={}", others.join(",")) };
    let store = connect(&format!("redis://127.0.0.1:{}{nodes}", ports[0])).await?;
    let dataset = records(10);
    store.session(SessionSpec { dataset: Some(&dataset), depth: 4 }).await
}

const READ: Request<'static> = Request::Read { key: "user0001", fields: Fields::One(0) };

#[tokio::test]
async fn nobody_is_reached_whom_the_target_does_not_list() {
    // A forbidden host: what it accepts is all that it does.
    let stranger = TcpListener::bind("127.0.0.2:0").await.expect("loopback has that address too");
    let port = stranger.local_addr().expect("bound").port();
    for redirect in ["MOVED 1", "ASK 1"] {
        let peer = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = peer.local_addr().expect("bound").port();
        let peer = Peer::serve(peer, move |command| {
            entry(command, own).unwrap_or_else(|| format!("-{redirect} 127.0.0.2:{port}\r\n"))
        });
        let mut session = session_of(&[peer.port]).await.expect("it is a cluster of one");
        for request in [READ, Request::Scan { start: "", limit: 3 }, Request::Delete { key: "user0001" }] {
            let error = within_patience(execute(session.as_mut(), &request, &mut ())).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
            assert!(error.to_string().contains(&format!("127.0.0.2:{port}")), "{error}");
            assert!(error.hint().is_some_and(|hint| hint.contains(&format!("nodes=127.0.0.2:{port}"))), "{error:?}");
        }
        assert!(!session.is_broken(), "a refusal leaves the session usable");
    }
    // A topology with a stranger in it is refused as a whole.
    let peer = Peer::start(move |command| match command {
        "CLUSTER SLOTS" => all_slots_at("127.0.0.2", port),
        _ => "+OK\r\n".to_owned(),
    })
    .await;
    let error = session_of(&[peer.port]).await.err().expect("refused");
    assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Rejected, true), "{error}");
    assert!(error.to_string().contains(&format!("127.0.0.2:{port}")), "{error}");
    let accepted = tokio::time::timeout(std::time::Duration::from_millis(50), stranger.accept()).await;
    assert!(accepted.is_err(), "somebody connected to a host that is not listed");
}

/// Permits 127.0.0.1, and counts what it is asked.
#[derive(Debug, Default)]
struct Home(AtomicUsize);

impl Reach for Home {
    fn permits(&self, _node: &Node, address: SocketAddr) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        address.ip() == Ipv4Addr::LOCALHOST
    }

    fn permits_file(&self, _path: &Path) -> bool {
        false
    }

    fn remedy(&self) -> &'static str {
        "stay at home"
    }
}

#[tokio::test]
async fn a_node_that_is_listed_and_not_permitted_is_not_followed_to() {
    let stranger = TcpListener::bind("127.0.0.2:0").await.expect("loopback has that address too");
    let port = stranger.local_addr().expect("bound").port();
    for redirect in ["MOVED 1", "ASK 1", "topology"] {
        let own = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own_port = own.local_addr().expect("bound").port();
        let peer = Peer::serve(own, move |command| match command {
            "CLUSTER SLOTS" if redirect == "topology" => all_slots_at("127.0.0.2", port),
            _ => entry(command, own_port).unwrap_or_else(|| format!("-{redirect} 127.0.0.2:{port}\r\n")),
        });
        let home = Arc::new(Home::default());
        let target = Target::parse(&format!("redis://127.0.0.1:{own_port}?nodes=127.0.0.2:{port}")).expect("a URL");
        let store = Redis.connect(&target.with_reach(home.clone())).await.expect("the first node lets us in");
        let asked = home.0.swap(0, Ordering::Relaxed);
        let dataset = records(10);
        let mut session =
            store.session(SessionSpec { dataset: Some(&dataset), depth: 4 }).await.expect("the first node lets us in");
        let error = within_patience(execute(session.as_mut(), &READ, &mut ())).await.expect_err("it is not permitted");
        assert_eq!((error.kind(), error.hint()), (ErrorKind::Rejected, Some("stay at home")), "{redirect}: {error}");
        assert!(error.to_string().contains(&format!("127.0.0.2:{port}")), "{error}");
        assert!(asked >= 1 && home.0.load(Ordering::Relaxed) >= 2, "the session's connections were not asked about");
        drop(peer);
    }
    let accepted = tokio::time::timeout(std::time::Duration::from_millis(50), stranger.accept()).await;
    assert!(accepted.is_err(), "somebody connected to a host that is not permitted");
}

#[tokio::test]
async fn moved_is_followed_and_remembered() {
    let new = node("$3\r\nnew\r\n").await;
    let to = new.port;
    let old = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = old.local_addr().expect("bound").port();
    let old =
        Peer::serve(old, move |command| entry(command, port).unwrap_or_else(|| format!("-MOVED 1 127.0.0.1:{to}\r\n")));
    let mut session = session_of(&[old.port, new.port]).await.expect("entered");
    for _ in 0..3 {
        let mut seen = Seen::default();
        assert_eq!(run(session.as_mut(), READ, &mut seen).await, Ok(1));
        assert_eq!(seen.0, [(None, vec![(0, "new".to_owned())])]);
    }
    assert_eq!(old.asked().len(), 1, "the others went straight there: {:?}", old.asked());
    assert_eq!((new.asked().len(), new.looks_at_topology()), (3, 1));
}

#[tokio::test]
async fn ask_is_followed_once_and_said_there() {
    let target = node("+OK\r\n").await;
    let to = target.port;
    let source = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = source.local_addr().expect("bound").port();
    // The index is still here, the record is on its way.
    let source = Peer::serve(source, move |command| {
        entry(command, port).unwrap_or_else(|| match command.split(' ').next() {
            Some("ZADD") => ":1\r\n".to_owned(),
            _ => format!("-ASK 1 127.0.0.1:{to}\r\n"),
        })
    });
    let mut session = session_of(&[source.port, target.port]).await.expect("entered");
    let values = Values { bytes: b"0000000100000001", length: FIELD_LENGTH, first: 0 };
    let insert = Request::Insert { key: "user0001", values };
    let result = within_patience(run(session.as_mut(), insert, &mut ())).await;
    // The made-up node says `+OK`, which is no number: what matters is what it was told.
    assert_eq!(result, Err(ErrorKind::WrongResult));
    let told = target.asked();
    assert_eq!((told.len(), told[0].as_str()), (2, "ASKING"));
    assert!(told[1].starts_with("HSET storelab_records:{"), "{told:?}");
    assert_eq!(target.looks_at_topology(), 0, "a slot that is asked for has not moved yet");
    assert_eq!(source.asked().len(), 2);
    assert!(!session.is_broken());
}

#[tokio::test]
async fn circles_and_nonsense_end_as_errors() {
    for (reply, expect) in [
        ("-MOVED 1 127.0.0.1:{port}\r\n", ErrorKind::Conflict),
        ("-ASK 1 :{port}\r\n", ErrorKind::Conflict),
        ("-MOVED\r\n", ErrorKind::WrongResult),
        ("-ASK 1 nowhere\r\n", ErrorKind::WrongResult),
        ("-MOVED 1 127.0.0.1:99999\r\n", ErrorKind::WrongResult),
        ("-CLUSTERDOWN The cluster is down\r\n", ErrorKind::Unreachable),
        ("-TRYAGAIN Multiple keys request during rehashing of slot\r\n", ErrorKind::Conflict),
    ] {
        let peer = node(reply).await;
        let mut session = session_of(&[peer.port]).await.expect("entered");
        for _ in 0..2 {
            let result = within_patience(run(session.as_mut(), READ, &mut ())).await;
            assert_eq!(result, Err(expect), "{reply}");
        }
        assert!(!session.is_broken(), "{reply}");
    }
}

#[tokio::test]
async fn a_node_that_is_down_fails_its_own_requests_only() {
    let alive = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = alive.local_addr().expect("bound").port();
    let dead = {
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        closed.local_addr().expect("bound").port()
    };
    let part = |first: u16, last: u16, port: u16| {
        format!("*3\r\n:{first}\r\n:{last}\r\n*3\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$2\r\nid\r\n")
    };
    let topology = format!("*2\r\n{}{}", part(0, 8191, port), part(8192, 16383, dead));
    let alive = Peer::serve(alive, move |command| match command {
        "CLUSTER SLOTS" => topology.clone(),
        "CLIENT SETNAME storelab" => "+OK\r\n".to_owned(),
        _ => "$3\r\nyes\r\n".to_owned(),
    });
    let mut session = session_of(&[alive.port, dead]).await.expect("one of them answers");
    let keys: Vec<String> = (0..12).map(|number| format!("user{number:04}")).collect();
    let mut ends = Vec::new();
    for key in &keys {
        let read = Request::Read { key, fields: Fields::One(0) };
        ends.push(within_patience(run(session.as_mut(), read, &mut ())).await);
    }
    let count = |expect: Result<u64, ErrorKind>| ends.iter().filter(|end| **end == expect).count();
    assert!(count(Ok(1)) > 0 && count(Err(ErrorKind::Unreachable)) > 0, "{ends:?}");
    assert_eq!(count(Ok(1)) + count(Err(ErrorKind::Unreachable)), keys.len(), "{ends:?}");
    assert!(!session.is_broken());
}

/// A node of a cluster that lets sessions in and then says those bytes.
async fn hostile_node(pieces: Vec<Vec<u8>>, end: End) -> (JoinHandle<()>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        let mut told = vec![0; 64 << 10];
        loop {
            let (mut stream, _) = listener.accept().await.expect("our own connection");
            let mut is_told =
                async |stream: &mut tokio::net::TcpStream| matches!(stream.read(&mut told).await, Ok(1..));
            // Whoever it talks to may be gone, and comes again.
            for answer in ["+OK\r\n".to_owned(), all_slots_at("127.0.0.1", port)] {
                if !is_told(&mut stream).await || stream.write_all(answer.as_bytes()).await.is_err() {
                    break;
                }
            }
            if !is_told(&mut stream).await {
                continue;
            }
            for piece in &pieces {
                if stream.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            if matches!(end, End::FallsSilent) {
                while is_told(&mut stream).await {}
            }
        }
    });
    (task, port)
}

/// Redirects among other answers, some of them to the node itself.
fn answers() -> impl Strategy<Value = Vec<u8>> {
    let redirect = "-(MOVED|ASK) ?[0-9]{0,5} ?[a-z0-9.:]{0,12}\r\n".prop_map(String::into_bytes);
    let mixed =
        proptest::collection::vec(prop_oneof![redirect, Just(b":1\r\n".to_vec()), Just(b"*0\r\n".to_vec())], 0..20);
    prop_oneof![bytes(), mixed.prop_map(|pieces| pieces.concat())]
}

#[test]
fn sessions_survive_hostile_clusters() {
    check(&(answers(), cuts(), end(), any::<bool>(), 0_u32..13), |runtime, (bytes, cuts, end, of_records, first)| {
        runtime.block_on(async {
            let pieces = crate::hostile::Script::new(b"", &bytes, &cuts, end).pieces;
            let (task, port) = hostile_node(pieces, end).await;
            let dataset = if of_records { records(10) } else { rows(3_000, DataSize::Small) };
            let store = connect(&format!("redis://127.0.0.1:{port}")).await.expect("it lets us in");
            let mut session =
                store.session(SessionSpec { dataset: Some(&dataset), depth: 8 }).await.expect("it lets us in");
            let submit = |session: &mut dyn Session, token: Token| {
                if of_records {
                    return submit_record(session, token, token + first);
                }
                let operation = ((token + first) % OPERATIONS.len() as u32) as u16;
                session.submit(token, &Request::Operation { operation, row: token.into() })
            };
            drive(session.as_mut(), submit, task).await;
        });
    });
}
