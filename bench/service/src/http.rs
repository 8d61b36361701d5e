//! A client that costs as little as one can: a blocking connection, requests that are bytes already, and of answers no more than
//! what is needed to know where they end.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::Value;

/// How long an answer may take before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that are read at a time: a page of fifty experiments in one call.
const READ_BYTES: usize = 64 * 1024;

/// Where a head ends.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// Where a body in chunks ends.
const CHUNKS_END: &[u8] = b"0\r\n\r\n";

/// A connection that is kept.
pub(crate) struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    received: Vec<u8>,
}

/// What of an answer is looked at; its body lies in the connection until the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head_bytes: usize,
    is_chunked: bool,
}

/// What a head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    bytes: usize,
    /// None where the body comes in chunks.
    body_bytes: Option<usize>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("{address} cannot be connected to"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, address, received: Vec::with_capacity(READ_BYTES) })
    }

    /// A GET in bytes, as often as it is wanted.
    pub(crate) fn reading(address: SocketAddr, path: &str) -> Vec<u8> {
        format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").into_bytes()
    }

    /// Sends a request and receives its answer to the end.
    pub(crate) fn ask(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.stream.write_all(request).context("a request could not be sent")?;
        self.received.clear();
        let mut head = None;
        loop {
            if head.is_none() {
                head = parse(&self.received)?;
            }
            if let Some(head) = head
                && is_whole(&self.received, head)
            {
                return Ok(Answer {
                    status: head.status,
                    head_bytes: head.bytes,
                    is_chunked: head.body_bytes.is_none(),
                });
            }
            let before = self.received.len();
            self.received.resize(before + READ_BYTES, 0);
            let read = self.stream.read(&mut self.received[before..]).context("no answer came")?;
            self.received.truncate(before + read);
            ensure!(read > 0, "the service closed the connection before its answer was over");
        }
    }

    /// GET, which must succeed.
    pub(crate) fn get(&mut self, path: &str) -> anyhow::Result<Value> {
        let answer = self.ask(&Self::reading(self.address, path))?;
        self.succeeded(answer, path)
    }

    /// POST, which must succeed.
    pub(crate) fn post(&mut self, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let (host, bytes) = (self.address, body.len());
        let request = format!("POST {path} HTTP/1.1\r\nHost: {host}\r\n{kind}Content-Length: {bytes}\r\n\r\n{body}");
        let answer = self.ask(request.as_bytes())?;
        self.succeeded(answer, path)
    }

    fn succeeded(&self, answer: Answer, path: &str) -> anyhow::Result<Value> {
        let text = String::from_utf8_lossy(&self.received[answer.head_bytes..]);
        ensure!((200..300).contains(&answer.status), "{path}: {} {text}", answer.status);
        ensure!(!answer.is_chunked, "{path}: JSON in chunks is not expected");
        serde_json::from_str(&text).with_context(|| format!("{path} is no JSON"))
    }

    /// Asks for something that does not end, and gives the stream behind the head.
    pub(crate) fn follow(mut self, path: &str) -> anyhow::Result<TcpStream> {
        self.stream.write_all(&Self::reading(self.address, path))?;
        loop {
            if let Some(head) = parse(&self.received)? {
                ensure!(head.status == 200, "{path}: {}", head.status);
                return Ok(self.stream);
            }
            let mut byte = [0];
            ensure!(self.stream.read(&mut byte)? == 1, "{path}: the service closed the connection");
            self.received.extend_from_slice(&byte);
        }
    }
}

/// Ends a stream from another thread than the one that reads it.
pub(crate) fn hang_up(stream: &TcpStream) {
    // One that has ended already needs no end.
    let _ = stream.shutdown(Shutdown::Both);
}

/// The head of what was received; none where it is not whole yet.
fn parse(received: &[u8]) -> anyhow::Result<Option<Head>> {
    let Some(end) = received.windows(HEAD_END.len()).position(|window| window == HEAD_END) else { return Ok(None) };
    let text = std::str::from_utf8(&received[..end]).context("a head that is no text")?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).context("an answer without a status")?;
    let field = |wanted: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value.trim())
    };
    let is_chunked = field("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
    let length = field("content-length").map(str::parse).transpose().context("a length that is no number")?;
    Ok(Some(Head {
        status,
        bytes: end + HEAD_END.len(),
        body_bytes: if is_chunked { None } else { Some(length.unwrap_or(0)) },
    }))
}

/// Whether all of an answer is there. Nothing is sent ahead on these connections, so that what ends like the last chunk does end.
fn is_whole(received: &[u8], head: Head) -> bool {
    match head.body_bytes {
        Some(bytes) => received.len() >= head.bytes + bytes,
        None => received.len() > head.bytes && received.ends_with(CHUNKS_END),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_its_head_says() {
        for (received, expect) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", None),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{", Some((200, false))),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", Some((200, true))),
            ("HTTP/1.1 304 Not Modified\r\n\r\n", Some((304, true))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", Some((200, false))),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", Some((200, true))),
        ] {
            let head = parse(received.as_bytes()).expect("a head");
            assert_eq!(head.map(|head| (head.status, is_whole(received.as_bytes(), head))), expect, "{received}");
        }
        assert!(parse(b"HTTP/1.1\r\n\r\n").is_err());
    }
}
