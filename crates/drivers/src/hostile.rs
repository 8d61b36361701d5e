//! For tests: bytes that no server would send, and a peer that sends them.

use std::ops::Range;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use store::{Completion, ErrorKind, Session, Token, complete};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Tests with a connection for each case have a share of the cases that others have: `PROPTEST_CASES`, 256 without it.
const CASES_SHARE: u32 = 4;

/// Longer than anything takes where nobody waits for anything, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a silent peer is waited for before it is ended.
const SILENCE: Duration = Duration::from_millis(5);

/// Tokens do not begin at 0, so that one that is made up shows.
const TOKEN_FIRST: Token = 1_000;

/// What a peer does once it has sent everything.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Closes,
    FallsSilent,
}

/// What a peer sends.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    /// To the first thing that it is told.
    pub(crate) greeting: Vec<u8>,
    /// To the second, one write each.
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) end: End,
}

impl Script {
    /// Those bytes, cut at those places, behind a greeting.
    pub(crate) fn new(greeting: &[u8], bytes: &[u8], cuts: &[Index], end: End) -> Self {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        let pieces = places.windows(2).map(|pair| bytes[pair[0]..pair[1]].to_vec());
        Self { greeting: greeting.to_vec(), pieces: pieces.filter(|piece| !piece.is_empty()).collect(), end }
    }
}

/// A peer on loopback, and its port.
pub(crate) async fn peer(script: Script) -> (JoinHandle<()>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("our own connection");
        let mut told = vec![0; 64 << 10];
        // Whoever it talks to may be gone, which ends it.
        let is_told = matches!(stream.read(&mut told).await, Ok(1..));
        if !is_told || stream.write_all(&script.greeting).await.is_err() {
            return;
        }
        if script.pieces.is_empty() && matches!(script.end, End::Closes) {
            return;
        }
        if !matches!(stream.read(&mut told).await, Ok(1..)) {
            return;
        }
        for piece in &script.pieces {
            if stream.write_all(piece).await.is_err() {
                return;
            }
            // The other side runs on this thread too: it reads what is there so far.
            tokio::task::yield_now().await;
        }
        if matches!(script.end, End::FallsSilent) {
            while matches!(stream.read(&mut told).await, Ok(1..)) {}
        }
    });
    (task, port)
}

/// Submits requests until the session takes no more, and waits for all of them, whatever the peer does: each ends once,
/// and where the connection is gone, as `Unreachable`.
pub(crate) async fn drive(
    session: &mut dyn Session,
    mut submit: impl FnMut(&mut dyn Session, Token) -> store::Result<()>,
    peer: JoinHandle<()>,
) {
    let mut tokens: Vec<Token> = Vec::new();
    for token in TOKEN_FIRST..TOKEN_FIRST + session.depth() as Token {
        if submit(session, token).is_ok() {
            tokens.push(token);
        }
    }
    assert_eq!(session.in_flight(), tokens.len());
    let mut peer = Some(peer);
    while session.in_flight() > 0 {
        let mut unseen = ();
        let next = complete(session, &mut unseen);
        let waited = if peer.is_some() { SILENCE } else { PATIENCE };
        let Ok(Completion { token, result }) = tokio::time::timeout(waited, next).await else {
            // It waits for a peer that says no more. Now the peer goes, and nothing may be left waiting.
            let task = peer.take().expect("nothing waits for a peer that is gone");
            task.abort();
            continue;
        };
        let place = tokens.iter().position(|known| *known == token);
        tokens.remove(place.unwrap_or_else(|| panic!("{token} is nobody's, or ended twice")));
        if let (true, Err(error)) = (session.is_broken(), &result) {
            assert_eq!((error.kind(), error.hint().is_some()), (ErrorKind::Unreachable, true), "{error}");
        }
    }
    assert!(tokens.is_empty(), "in flight no more, but never ended: {tokens:?}");
    if let Some(peer) = peer {
        peer.abort();
    }
}

/// Bounds a wait that must end by itself.
pub(crate) async fn within_patience<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it ends by itself")
}

/// Runs a test for many inputs, with a runtime.
pub(crate) fn check<S: Strategy>(strategy: &S, test: impl Fn(&Runtime, S::Value)) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("there are threads");
    let cases = (Config::default().cases / CASES_SHARE).max(1);
    // What fails is told as a seed to repeat it with, not kept in a file beside the sources.
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let result = runner.run(strategy, |input| {
        test(&runtime, input);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// How a peer ends.
pub(crate) fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Closes), Just(End::FallsSilent)]
}

/// Where bytes are cut.
pub(crate) fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..6)
}

/// Bytes with some of them changed, removed, repeated or put in.
pub(crate) fn mutated(bytes: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<Index>(), vec(any::<u8>(), 0..4), 0..4_u8);
    (bytes, vec(change, 0..4)).prop_map(|(mut bytes, changes)| {
        for (first, last, new, kind) in changes {
            let places = [first.index(bytes.len() + 1), last.index(bytes.len() + 1)];
            let range: Range<usize> = places[0].min(places[1])..places[0].max(places[1]);
            match kind {
                0 => drop(bytes.drain(range)),
                1 => bytes.extend_from_within(range),
                2 => drop(bytes.splice(range.start..range.start, new)),
                _ => {
                    for (byte, new) in bytes[range].iter_mut().zip(new) {
                        *byte = new;
                    }
                }
            }
        }
        bytes
    })
}

/// Calls `decode` with every way to cut the bytes in two, with none, and with all of them alone: each is the end of what
/// has come in, in order. The results must be the same.
pub(crate) fn same_however_cut<T: PartialEq + std::fmt::Debug>(bytes: &[u8], decode: impl Fn(&[usize]) -> T) {
    let whole = decode(&[bytes.len()]);
    let alone: Vec<usize> = (0..=bytes.len()).collect();
    assert_eq!(decode(&alone), whole, "byte by byte");
    for cut in 0..bytes.len() {
        assert_eq!(decode(&[cut, bytes.len()]), whole, "cut at {cut}");
    }
}
