//! The messages of the protocol, version 3.0 (<https://www.postgresql.org/docs/current/protocol-message-formats.html>).

use ::store::{Error, Result, Value};

use super::error::ServerError;

/// What the server itself takes or sends in one message (`MaxAllocSize`).
const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// A message's tag and length.
pub(super) const HEADER_BYTES: usize = 5;

/// What follows every Bind: run all of the unnamed portal, and that ends the request.
const EXECUTE_AND_SYNC: &[u8] = b"E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";

/// What came in is not in the protocol, so nothing behind it can be trusted either.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfStep;

impl From<OutOfStep> for Error {
    fn from(_: OutOfStep) -> Self {
        Self::unreachable("the connection is out of step: the server's answers are not in the PostgreSQL protocol")
            .with_hint("check what stands between Storelab and the server, and that it is a PostgreSQL server")
    }
}

/// A message that has come in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub(super) tag: u8,
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The first message, where all of it is there.
    pub(super) fn first(bytes: &'a [u8]) -> Result<Option<Self>, OutOfStep> {
        let Some((&[tag, a, b, c, d], rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let length = (u32::from_be_bytes([a, b, c, d]) as usize).checked_sub(4).ok_or(OutOfStep)?;
        if length > MESSAGE_BYTES_MAX {
            return Err(OutOfStep);
        }
        Ok(rest.get(..length).map(|body| Self { tag, body }))
    }

    /// All messages of an answer that is there as a whole.
    pub(super) fn all(mut bytes: &'a [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let message = Self::first(bytes).ok().flatten()?;
            bytes = &bytes[message.length()..];
            Some(message)
        })
    }

    /// Bytes with the header.
    pub(super) fn length(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }
}

/// Finds where answers end, looking at each message once.
#[derive(Debug, Default)]
pub(super) struct Framer {
    /// Bytes of whole messages that have been looked at.
    scanned: usize,
    failed: bool,
}

/// An answer that is there as a whole, up to `ReadyForQuery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) length: usize,
    /// Whether there is an error in it.
    pub(super) failed: bool,
}

impl Framer {
    /// The first answer in what has come in. Once it was given, its bytes must be consumed.
    ///
    /// # Errors
    /// `Unreachable` where the server says that it ends the connection, or what came in is not in the protocol.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Result<Option<Answer>> {
        while let Some(message) = Message::first(&bytes[self.scanned..])? {
            self.scanned += message.length();
            match message.tag {
                b'E' => {
                    let error = ServerError::of(message.body);
                    if error.is_fatal() {
                        return Err(error.into_end());
                    }
                    self.failed = true;
                }
                b'Z' => {
                    let Self { scanned: length, failed } = std::mem::take(self);
                    return Ok(Some(Answer { length, failed }));
                }
                b'1' | b'2' | b'3' | b'A' | b'C' | b'D' | b'G' | b'I' | b'N' | b'S' | b'T' | b'n' | b's' | b't' => {}
                _ => return Err(OutOfStep.into()),
            }
        }
        Ok(None)
    }
}

/// Reads a message's body from its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], OutOfStep> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(OutOfStep)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], OutOfStep> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(OutOfStep)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn count(&mut self) -> Result<u16, OutOfStep> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn number(&mut self) -> Result<u32, OutOfStep> {
        self.array().map(u32::from_be_bytes)
    }

    /// A text that ends with a zero byte.
    pub(super) fn text(&mut self) -> Result<&'a [u8], OutOfStep> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(OutOfStep)?;
        let text = self.bytes(length)?;
        self.0 = &self.0[1..];
        Ok(text)
    }

    /// A column of a row; none for NULL.
    pub(super) fn column(&mut self) -> Result<Option<&'a [u8]>, OutOfStep> {
        match self.number()? {
            u32::MAX => Ok(None),
            length => self.bytes(length as usize).map(Some),
        }
    }
}

/// Appends a message whose body `write` appends.
pub(super) fn message(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    with_length(out, write);
}

/// Appends a length that counts itself, and what it is the length of.
pub(super) fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a text with the zero byte that ends it.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.push(0);
}

/// Makes a statement of a text. Types that are 0 or missing are found by the server.
pub(super) fn parse(out: &mut Vec<u8>, name: &str, statement: &str, types: &[u32]) {
    message(out, b'P', |out| {
        text(out, name);
        text(out, statement);
        out.extend_from_slice(&(types.len() as u16).to_be_bytes());
        for number in types {
            out.extend_from_slice(&number.to_be_bytes());
        }
    });
}

/// Asks for a statement's parameters and columns.
pub(super) fn describe_statement(out: &mut Vec<u8>, name: &str) {
    message(out, b'D', |out| {
        out.push(b'S');
        text(out, name);
    });
}

/// Asks for the columns of what was bound.
pub(super) fn describe_portal(out: &mut Vec<u8>) {
    out.extend_from_slice(b"D\0\0\0\x06P\0");
}

/// Runs what was bound; ends the request.
pub(super) fn execute_and_sync(out: &mut Vec<u8>) {
    out.extend_from_slice(EXECUTE_AND_SYNC);
}

/// Ends a request.
pub(super) fn sync(out: &mut Vec<u8>) {
    out.extend_from_slice(b"S\0\0\0\x04");
}

/// Runs a text as it stands; a request of its own.
pub(super) fn query(out: &mut Vec<u8>, statement: &str) {
    message(out, b'Q', |out| text(out, statement));
}

/// Appends rows in the binary format of `COPY`, with what begins and ends them.
pub(super) fn copy_rows<'a, R: Iterator<Item = Value<'a>>>(
    out: &mut Vec<u8>,
    rows: impl Iterator<Item = R>,
    mut write: impl FnMut(&mut Vec<u8>, usize, Value<'a>),
) {
    message(out, b'd', |out| {
        out.extend_from_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0");
        for row in rows {
            let start = out.len();
            out.extend_from_slice(&[0; 2]);
            let mut columns: u16 = 0;
            for (position, value) in row.enumerate() {
                write(out, position, value);
                columns += 1;
            }
            out[start..start + 2].copy_from_slice(&columns.to_be_bytes());
        }
        out.extend_from_slice(&[0xff; 2]);
    });
    message(out, b'c', |_| {});
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &[u8] = b"Z\0\0\0\x05I";

    #[test]
    fn answers_are_found_however_they_are_cut() {
        let mut bytes = Vec::new();
        message(&mut bytes, b'2', |_| {});
        message(&mut bytes, b'N', |out| out.extend_from_slice(b"SNOTICE\0\0"));
        message(&mut bytes, b'E', |out| out.extend_from_slice(b"SERROR\0VERROR\0C23505\0Mtwice\0\0"));
        bytes.extend_from_slice(READY);
        let whole = bytes.len();
        bytes.extend_from_slice(READY);
        for cut in 0..whole {
            let mut framer = Framer::default();
            assert_eq!(framer.answer(&bytes[..cut]).expect("in step"), None, "{cut}");
            let answer = framer.answer(&bytes).expect("in step");
            assert_eq!(answer, Some(Answer { length: whole, failed: true }), "{cut}");
            let next = framer.answer(&bytes[whole..]).expect("in step");
            assert_eq!(next, Some(Answer { length: READY.len(), failed: false }), "{cut}");
        }
    }

    #[test]
    fn what_cannot_be_an_answer_ends_the_connection() {
        let fatal = b"E\0\0\0\x26SFATAL\0VFATAL\0C57P01\0Mgoing down\0\0\0";
        for bytes in
            [&b"Z\0\0\0\x03I"[..], b"Z\xff\xff\xff\xffI", b"?\0\0\0\x04", b"HTTP/1.1 400 no", b"W\0\0\0\x04", fatal]
        {
            let error = Framer::default().answer(bytes).expect_err("no answer");
            assert_eq!(error.kind(), ::store::ErrorKind::Unreachable, "{bytes:?}");
        }
    }

    #[test]
    fn short_bodies_are_out_of_step() {
        for bytes in [&b""[..], b"\0", b"\0\0\0\x05abcd", b"\x7f\xff\xff\xff"] {
            assert_eq!(Reader(bytes).column(), Err(OutOfStep), "{bytes:?}");
        }
        assert_eq!(Reader(b"\xff\xff\xff\xff").column(), Ok(None));
        assert_eq!(Reader(b"no end").text(), Err(OutOfStep));
    }
}
