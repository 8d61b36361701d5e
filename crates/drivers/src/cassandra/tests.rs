//! Peers that are not Cassandra, or no longer: connecting to them ends in time, with an error that says who must act.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use store::{Driver, Error, ErrorKind, Target};
use tokio::runtime::Builder;

use super::Cassandra;

mod discovery;

/// Longer than anything takes here that is bounded by a fraction of a second, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server says first: that it speaks version 3 of CQL.
const SUPPORTED: &[u8] = b"\x84\0\0\0\x06\0\0\0\x1c\0\x01\0\x0bCQL_VERSION\0\x01\0\x053.4.7\0\0\0\0";

/// What it says to somebody whom it lets in.
const READY: &[u8] = b"\x84\0\0\0\x02\0\0\0\0";

/// Answers each thing that it is told by the next of these, then closes or says no more.
fn peer(answers: Vec<Vec<u8>>, closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        // Those that were kept open end with the test's process.
        let mut kept = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            if let Some(stream) = answer(stream, &answers).filter(|_| !closes) {
                kept.push(stream);
            }
        }
    });
    address
}

fn answer(mut stream: TcpStream, answers: &[Vec<u8>]) -> Option<TcpStream> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut told = [0; 4096];
    for answer in answers {
        if stream.read(&mut told).ok()? == 0 {
            return None;
        }
        stream.write_all(answer).ok()?;
    }
    Some(stream)
}

/// How connecting there ends.
fn refused(address: SocketAddr) -> Error {
    let target = format!("cassandra://lab:canary7b1e@{address}?connect_timeout=0.3");
    let target = Target::parse(&target).expect("a URL");
    let runtime = Builder::new_current_thread().enable_all().build().expect("there are threads");
    let connected = runtime.block_on(async { tokio::time::timeout(PATIENCE, Cassandra.connect(&target)).await });
    let error = connected.expect("it ends in its time").err().expect("that is no server");
    let text = format!("{error} {error:?}");
    assert!(error.hint().is_some() && !text.contains("canary7b1e"), "{text}");
    assert!(matches!(error.kind(), ErrorKind::Unreachable | ErrorKind::Rejected), "{text}");
    error
}

#[test]
fn who_does_not_speak_the_protocol_is_unreachable() {
    let huge = b"\x84\0\0\0\x06\x7f\xff\xff\xff";
    let scripts: [&[&[u8]]; 8] = [
        &[],
        &[b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        &[b"\x84\0\0"],
        // Two gigabytes are announced, and none of them are sent.
        &[huge],
        &[&[0; 64]],
        &[SUPPORTED, huge],
        &[SUPPORTED, b"\xff\xff\xff\xff"],
        &[SUPPORTED, READY, b"garbage garbage garbage"],
    ];
    for script in scripts {
        for closes in [true, false] {
            let answers = script.iter().map(|bytes| bytes.to_vec()).collect();
            let error = refused(peer(answers, closes));
            assert_eq!(error.kind(), ErrorKind::Unreachable, "{script:?}: {error}");
        }
    }
}

#[test]
fn a_refusal_is_told_in_the_servers_words() {
    let text = b"not today";
    let mut frame = b"\x84\0\0\0\0\0\0\0\x0f\0\0\x01\0\0\x09".to_vec();
    frame.extend_from_slice(text);
    let error = refused(peer(vec![SUPPORTED.to_vec(), frame], true));
    assert_eq!((error.kind(), error.to_string().contains("not today")), (ErrorKind::Rejected, true), "{error}");
}

/// Conversations that begin well and have bytes changed anywhere.
#[test]
fn no_conversation_makes_connecting_hang_or_panic() {
    let bytes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    let config = Config { cases: 24, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&bytes, |changes| {
        let mut answers = vec![SUPPORTED.to_vec(), READY.to_vec(), READY.to_vec()];
        for (place, byte) in changes {
            let which = place.index(answers.len());
            let answer = &mut answers[which];
            let at = place.index(answer.len());
            answer[at] = byte;
        }
        refused(peer(answers, true));
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
