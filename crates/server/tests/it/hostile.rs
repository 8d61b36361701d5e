//! Clients that send half of something and wait: they are closed, and others are answered meanwhile.
//!
//! There are 50 of each kind; `STORELAB_HOSTILE=2000,500,500` makes it as many heads, bodies and idle sockets, and holds the service
//! to what docs/service.md promises: 15 seconds, and 100 ms for whoever is honest.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::{Answer, Lab};

/// What is promised, and held where the numbers are given.
const CLOSED_WITHIN: Duration = Duration::from_secs(15);
const HONEST_P99_MAX: Duration = Duration::from_millis(100);

/// After which a test gives up.
const GIVEN_UP_AFTER: Duration = Duration::from_mins(1);

/// How many of each kind, and whether times are held.
fn numbers() -> ([usize; 3], bool) {
    let Ok(text) = std::env::var("STORELAB_HOSTILE") else { return ([50; 3], false) };
    let numbers: Vec<usize> = text.split(',').map(|number| number.parse().expect("a number")).collect();
    (numbers.try_into().expect("three numbers"), true)
}

/// Sends bytes, and reads what comes back until the other side closes.
pub(crate) fn exchange(address: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(GIVEN_UP_AFTER)).expect("a socket");
    let _ = stream.write_all(bytes);
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read);
    Answer::parse(&read, "POST")
}

/// A client that has sent something and waits.
struct Waiting {
    stream: TcpStream,
    read: Vec<u8>,
    since: Instant,
    /// After how long the other side has closed, once it has.
    closed: Option<Duration>,
}

impl Waiting {
    fn after(address: SocketAddr, bytes: &[u8]) -> Self {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.write_all(bytes).expect("it is taken");
        stream.set_nonblocking(true).expect("a socket");
        Self { stream, read: Vec::new(), since: Instant::now(), closed: None }
    }

    /// Takes what has come, and notes whether the other side has closed.
    fn look(&mut self) {
        let mut buffer = [0; 4_096];
        while self.closed.is_none() {
            match self.stream.read(&mut buffer) {
                Ok(length) if length > 0 => self.read.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(_) | Err(_) => self.closed = Some(self.since.elapsed()),
            }
        }
    }
}

#[test]
fn clients_that_wait_are_closed_and_others_are_answered() {
    let lab = Lab::open();
    let address = lab.address();
    let ([heads, bodies, idle], is_held) = numbers();
    // A connection each, theirs and ours.
    let wanted = 2 * (heads + bodies + idle) as u64 + 512;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = rustix::process::Rlimit { current: Some(wanted), maximum: limit.maximum };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, raised).expect("as many descriptors");
    }
    let begun = Instant::now();
    let half_head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    let half_body = lab.ask("POST", "/api/v1/targets").header("Content-Type", "application/json");
    let half_body = [half_body.header("Content-Length", "1000").bytes().as_slice(), b"{\"host\":"].concat();
    let served_once = lab.get("/health/live").without("Connection").bytes();
    let sent: [(&[u8], usize); 3] = [(half_head, heads), (&half_body, bodies), (&served_once, idle)];
    let mut waiting: Vec<Waiting> =
        sent.iter().flat_map(|(bytes, count)| (0..*count).map(move |_| Waiting::after(address, bytes))).collect();
    let mut honest = Vec::new();
    while waiting.iter().any(|client| client.closed.is_none()) {
        assert!(
            begun.elapsed() < GIVEN_UP_AFTER,
            "{} are still open",
            waiting.iter().filter(|client| client.closed.is_none()).count()
        );
        let asked = Instant::now();
        lab.get("/api/v1/stores").send().expect(200);
        honest.push(asked.elapsed());
        waiting.iter_mut().for_each(Waiting::look);
    }
    let took = waiting.iter().filter_map(|client| client.closed).max().unwrap_or_default();
    honest.sort_unstable();
    let p99 = honest[honest.len() * 99 / 100];
    let numbers = format!(
        "{heads} heads, {bodies} bodies, {idle} idle: closed after {took:?}; {} honest, p99 {p99:?}",
        honest.len()
    );
    writeln!(std::io::stderr(), "{numbers}").expect("it is told");
    for client in &waiting[heads..heads + bodies] {
        assert_eq!(Answer::parse(&client.read, "POST").map(|answer| answer.status), Some(408));
    }
    for client in &waiting[heads + bodies..] {
        assert_eq!(Answer::parse(&client.read, "GET").map(|answer| answer.status), Some(200));
    }
    if is_held {
        assert!(took <= CLOSED_WITHIN, "{took:?}");
        assert!(p99 <= HONEST_P99_MAX, "{p99:?}");
    }
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    let lab = Lab::open();
    let host = format!("Host: {}\r\n", lab.address());
    let long = "x".repeat(100_000);
    for (what, bytes) in [
        ("nonsense", "nonsense\r\n\r\n".to_owned()),
        ("a TLS hello", "\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n".to_owned()),
        ("a long path", format!("GET /{long} HTTP/1.1\r\n{host}\r\n")),
        ("a long header", format!("GET / HTTP/1.1\r\n{host}X: {long}\r\n\r\n")),
        ("many headers", format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(1_000))),
        ("two lengths", format!("POST /api/v1/stop HTTP/1.1\r\n{host}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx")),
        (
            "a length and chunks",
            format!(
                "POST /api/v1/tokens HTTP/1.1\r\n{host}Content-Type: application/json\r\nContent-Length: 3\r\n\
                     Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n"
            ),
        ),
        (
            "a bad chunk",
            format!(
                "POST /api/v1/tokens HTTP/1.1\r\n{host}Content-Type: application/json\r\n\
                                 Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n"
            ),
        ),
    ] {
        if let Some(answer) = exchange(lab.address(), bytes.as_bytes()) {
            assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
        }
        lab.get("/health/live").send().expect(200);
    }
}
