//! The few messages of MongoDB's protocol that bring a server up: no client library is needed for them.
//!
//! A message is a header, four bytes of flags, and one document
//! (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>, `OP_MSG`).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::{Error, ErrorKind, Result};

/// How long one answer may take: making the first user waits for all members of a set.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connecting on loopback takes no time; who does not accept is not up.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(900);

/// Answers to our questions are a few kilobytes: whoever announces more is no such server.
const ANSWER_BYTES_MAX: usize = 1 << 20;

const OP_MSG: i32 = 2013;
const HEADER_BYTES: usize = 16;

/// Flags, and the kind of the section that is the document.
const PREFIX_BYTES: usize = 5;

const DOUBLE: u8 = 0x01;
const STRING: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BOOLEAN: u8 = 0x08;
const INTEGER: u8 = 0x10;

/// A document that is being written: its elements.
#[derive(Debug, Default, Clone)]
pub(super) struct Document(Vec<u8>);

impl Document {
    fn element(mut self, kind: u8, name: &str, value: &[u8]) -> Self {
        self.0.push(kind);
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0);
        self.0.extend_from_slice(value);
        self
    }

    /// One more whole number.
    pub(super) fn int(self, name: &str, number: i32) -> Self {
        self.element(INTEGER, name, &number.to_le_bytes())
    }

    /// One more text.
    pub(super) fn text(self, name: &str, text: &str) -> Self {
        let mut value = (text.len() as u32 + 1).to_le_bytes().to_vec();
        value.extend_from_slice(text.as_bytes());
        value.push(0);
        self.element(STRING, name, &value)
    }

    /// One more document.
    pub(super) fn document(self, name: &str, document: &Self) -> Self {
        self.element(DOCUMENT, name, &document.bytes())
    }

    /// One more array of documents.
    pub(super) fn array(self, name: &str, items: &[Self]) -> Self {
        let array = items
            .iter()
            .enumerate()
            .fold(Self::default(), |array, (place, item)| array.document(&place.to_string(), item));
        self.element(ARRAY, name, &array.bytes())
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = (self.0.len() as u32 + 5).to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.0);
        bytes.push(0);
        bytes
    }
}

/// A connection.
pub(super) struct Client(TcpStream);

impl Client {
    /// Connects, without a password.
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(Self(stream))
    }

    /// The same, for questions that are answered at once or never.
    pub(super) fn impatient(self) -> io::Result<Self> {
        self.0.set_read_timeout(Some(CONNECT_TIMEOUT))?;
        Ok(self)
    }

    /// Asks one thing.
    pub(super) fn ask(mut self, command: &Document) -> io::Result<Reply> {
        let body = command.bytes();
        let length = ((HEADER_BYTES + PREFIX_BYTES + body.len()) as u32).cast_signed();
        let mut message = Vec::new();
        for number in [length, 1, 0, OP_MSG, 0] {
            message.extend_from_slice(&number.to_le_bytes());
        }
        message.push(0);
        message.extend_from_slice(&body);
        self.0.write_all(&message)?;
        let mut header = [0; HEADER_BYTES];
        self.0.read_exact(&mut header)?;
        let length = number_at(&header, 0).unwrap_or(0) as usize;
        if !(HEADER_BYTES + PREFIX_BYTES..=ANSWER_BYTES_MAX).contains(&length) {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let mut answer = vec![0; length - HEADER_BYTES];
        self.0.read_exact(&mut answer)?;
        Ok(Reply(answer.split_off(PREFIX_BYTES)))
    }
}

/// An answer's document.
pub(super) struct Reply(Vec<u8>);

impl Reply {
    /// Whether it says yes to something.
    pub(super) fn bool(&self, name: &str) -> bool {
        self.find(name).is_some_and(|(kind, value)| kind == BOOLEAN && value.first() == Some(&1))
    }

    /// Whether a primary answered.
    pub(super) fn is_primary(&self) -> bool {
        self.bool("isWritablePrimary")
    }

    /// How many items an array has; 0 where there is none.
    pub(super) fn count(&self, name: &str) -> usize {
        match self.find(name) {
            Some((ARRAY, value)) => elements(value).count(),
            _ => 0,
        }
    }

    /// The error that it is, unless all was done.
    pub(super) fn expect_ok(&self, what: &str) -> Result<()> {
        let is_ok = self.find("ok").is_some_and(|(kind, value)| kind == DOUBLE && value == 1.0_f64.to_le_bytes());
        if is_ok {
            return Ok(());
        }
        let said = match self.find("errmsg") {
            Some((STRING, value)) => String::from_utf8_lossy(value.get(4..).unwrap_or_default()).into_owned(),
            _ => "nothing of why".to_owned(),
        };
        let said = said.trim_end_matches('\0');
        Err(Error::new(ErrorKind::StartFailed, format!("the server did not {what}; it says {said}")))
    }

    fn find(&self, name: &str) -> Option<(u8, &[u8])> {
        elements(&self.0).find(|(_, found, _)| *found == name.as_bytes()).map(|(kind, _, value)| (kind, value))
    }
}

fn number_at(bytes: &[u8], place: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(place..place + 4)?.try_into().ok()?))
}

/// The elements of a document, with kind, name and value, up to the first that is none.
fn elements(document: &[u8]) -> impl Iterator<Item = (u8, &[u8], &[u8])> {
    let mut rest = document.get(4..).unwrap_or_default();
    std::iter::from_fn(move || {
        let (kind, named) = rest.split_first().filter(|(kind, _)| **kind != 0)?;
        let end = named.iter().position(|byte| *byte == 0)?;
        let (name, value) = (&named[..end], &named[end + 1..]);
        let length = match *kind {
            DOUBLE | 0x09 | 0x11 | 0x12 => 8,
            STRING | 0x0d | 0x0e => number_at(value, 0)? as usize + 4,
            DOCUMENT | ARRAY => number_at(value, 0)? as usize,
            0x05 => number_at(value, 0)? as usize + 5,
            0x07 => 12,
            BOOLEAN => 1,
            0x0a => 0,
            INTEGER => 4,
            0x13 => 16,
            _ => return None,
        };
        let value = value.get(..length)?;
        rest = &named[end + 1 + length..];
        Some((*kind, name, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let items = [Document::default().int("a", 1), Document::default()];
        let document = Document::default()
            .int("hello", 1)
            .text("name", "ä")
            .array("hosts", &items)
            .element(BOOLEAN, "secondary", &[1])
            .element(DOUBLE, "ok", &1.0_f64.to_le_bytes());
        let reply = Reply(document.bytes());
        assert_eq!((reply.count("hosts"), reply.bool("secondary"), reply.bool("hello")), (2, true, false));
        reply.expect_ok("do it").expect("it says so");
        let refused = Reply(Document::default().text("errmsg", "no").bytes()).expect_ok("do it");
        assert!(refused.expect_err("it says no").to_string().ends_with("it says no"));
    }

    #[test]
    fn nothing_that_a_server_sends_is_a_panic() {
        let good = Document::default().text("name", "x").array("hosts", &[Document::default()]).int("n", 1).bytes();
        for cut in 0..good.len() {
            for change in 0..=u8::MAX {
                let mut bytes = good.clone();
                bytes[cut] = change;
                let _ = Reply(bytes).count("hosts");
            }
            let reply = Reply(good[..cut].to_vec());
            assert!(!reply.bool("name") && reply.expect_ok("").is_err(), "cut at {cut}");
        }
    }
}
