//! Packets of the protocol, and where answers end.
//!
//! Sources: <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html> and, for what `MariaDB` added,
//! <https://mariadb.com/kb/en/clientserver-protocol/>.

use std::borrow::Cow;

use ::store::{Error, Result};
use mysql_common::constants::StatusFlags;

use super::error::ServerError;

/// Three bytes of length, one of sequence.
pub(super) const HEADER_BYTES: usize = 4;

/// A packet with a payload of this length is followed by another one that goes on with it.
pub(super) const PAYLOAD_BYTES_MAX: usize = 0xff_ffff;

/// No error is longer: a message has at most 512 characters.
const FAREWELL_BYTES_MAX: usize = 4 << 10;

/// First bytes of payloads.
pub(super) const OK: u8 = 0x00;
pub(super) const END: u8 = 0xfe;
pub(super) const ERROR: u8 = 0xff;
/// Asks for a file of the client's, which no server is given.
const LOCAL_FILE: u8 = 0xfb;

/// In a row of text: NULL.
const NULL: u8 = 0xfb;

/// What came in is not in the protocol, so nothing behind it can be trusted either.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfStep;

impl From<OutOfStep> for Error {
    fn from(_: OutOfStep) -> Self {
        Self::unreachable("the connection is out of step: the server's answers are not in the MySQL protocol")
            .with_hint("check what stands between Storelab and the server, and that it is a server of MySQL's family")
    }
}

/// Which of the protocol's later parts are spoken on a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spoken {
    /// Rows end with an OK packet, and definitions with nothing (`CLIENT_DEPRECATE_EOF`).
    pub(super) without_eof: bool,
    /// Columns that were defined before are not defined again (`MARIADB_CLIENT_CACHE_METADATA`).
    pub(super) known_columns: bool,
}

/// Reads a payload from its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], OutOfStep> {
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(OutOfStep)?;
        self.0 = rest;
        Ok(bytes)
    }

    /// So many bytes as they are.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], OutOfStep> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(OutOfStep)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, OutOfStep> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn short(&mut self) -> Result<u16, OutOfStep> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn number(&mut self) -> Result<u32, OutOfStep> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number whose first byte says how long it is.
    pub(super) fn variable(&mut self) -> Result<u64, OutOfStep> {
        match self.byte()? {
            small @ 0..=0xfa => Ok(small.into()),
            0xfc => self.short().map(u64::from),
            0xfd => self.array().map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]).into()),
            0xfe => self.array().map(u64::from_le_bytes),
            _ => Err(OutOfStep),
        }
    }

    /// Bytes with their length before them.
    pub(super) fn sized(&mut self) -> Result<&'a [u8], OutOfStep> {
        let length = usize::try_from(self.variable()?).map_err(|_| OutOfStep)?;
        self.bytes(length)
    }

    /// A column of a row of text; none for NULL.
    pub(super) fn column(&mut self) -> Result<Option<&'a [u8]>, OutOfStep> {
        if self.0.first() == Some(&NULL) {
            self.0 = &self.0[1..];
            return Ok(None);
        }
        self.sized().map(Some)
    }

    /// Bytes up to a zero byte.
    pub(super) fn text(&mut self) -> Result<&'a [u8], OutOfStep> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(OutOfStep)?;
        let text = self.bytes(length)?;
        self.0 = &self.0[1..];
        Ok(text)
    }
}

/// One packet, which may hold only a part of a payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet<'a> {
    pub(super) sequence: u8,
    pub(super) payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// The first packet, where all of it is there.
    pub(super) fn first(bytes: &'a [u8]) -> Option<Self> {
        let (&[a, b, c, sequence], rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
        let payload = rest.get(..u32::from_le_bytes([a, b, c, 0]) as usize)?;
        Some(Self { sequence, payload })
    }

    /// Bytes with the header.
    pub(super) fn length(&self) -> usize {
        HEADER_BYTES + self.payload.len()
    }

    /// Whether its payload goes on in the next one.
    fn goes_on(&self) -> bool {
        self.payload.len() == PAYLOAD_BYTES_MAX
    }
}

/// The payloads of an answer that is there as a whole, those that came in several packets joined.
#[derive(Debug)]
pub(super) struct Payloads<'a>(pub(super) &'a [u8]);

impl<'a> Payloads<'a> {
    /// The next payload, which must be there.
    pub(super) fn following(&mut self) -> Result<Cow<'a, [u8]>, OutOfStep> {
        self.next().ok_or(OutOfStep)
    }

    fn packet(&mut self) -> Option<Packet<'a>> {
        let packet = Packet::first(self.0)?;
        self.0 = &self.0[packet.length()..];
        Some(packet)
    }
}

impl<'a> Iterator for Payloads<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut packet = self.packet()?;
        if !packet.goes_on() {
            return Some(Cow::Borrowed(packet.payload));
        }
        let mut joined = packet.payload.to_vec();
        while packet.goes_on() {
            packet = self.packet()?;
            joined.extend_from_slice(packet.payload);
        }
        Some(Cow::Owned(joined))
    }
}

/// What a request is answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// A prepared statement.
    Statement,
    /// Rows, or how many were changed; several of them one after the other, where a procedure is called.
    Result,
}

/// Finds where answers end, looking at each packet once.
#[derive(Debug)]
pub(super) struct Framer {
    spoken: Spoken,
    state: State,
    /// Bytes of whole packets that have been looked at.
    scanned: usize,
    /// The number that the next packet must have.
    sequence: u8,
    /// Whether the next packet goes on with the payload of the last.
    goes_on: bool,
    failed: bool,
    /// Whether something came in before the request was sent, which cannot be its answer.
    unasked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was asked.
    Idle,
    Begin(Asked),
    /// So many definitions, then rows where those follow.
    Definitions {
        left: u64,
        rows: bool,
    },
    Rows,
}

/// An answer that is there as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) length: usize,
    /// Whether there is an error in it.
    pub(super) failed: bool,
}

impl Framer {
    /// For a connection on which that is spoken.
    pub(super) fn new(spoken: Spoken) -> Self {
        Self { spoken, state: State::Idle, scanned: 0, sequence: 0, goes_on: false, failed: false, unasked: false }
    }

    /// A request was sent: its answer begins with that sequence number. `unasked` where something is there already.
    pub(super) fn begin(&mut self, asked: Asked, sequence: u8, unasked: bool) {
        *self = Self { state: State::Begin(asked), sequence, unasked, ..Self::new(self.spoken) };
    }

    /// Whether an answer is waited for.
    pub(super) fn is_busy(&self) -> bool {
        self.state != State::Idle
    }

    /// The answer in what has come in. Once it was given, its bytes must be consumed.
    ///
    /// # Errors
    /// `Unreachable` where the server says that it ended the connection, or what came in is not in the protocol.
    pub(super) fn answer(&mut self, bytes: &[u8]) -> Result<Option<Answer>> {
        while let Some(rest) = bytes.get(self.scanned..)
            && let Some(&[.., sequence]) = rest.first_chunk::<HEADER_BYTES>()
        {
            if sequence != self.sequence || self.unasked {
                return self.unexpected(rest).map_or(Ok(None), Err);
            }
            let Some(packet) = Packet::first(rest) else { return Ok(None) };
            self.sequence = self.sequence.wrapping_add(1);
            self.scanned += packet.length();
            let is_first = !std::mem::replace(&mut self.goes_on, packet.goes_on());
            if is_first && self.payload(packet)? {
                self.state = State::Idle;
                return Ok(Some(Answer { length: self.scanned, failed: self.failed }));
            }
        }
        Ok(None)
    }

    /// What a packet means that is out of order: a server that ends a connection says so without having been asked.
    /// None where more is needed to know.
    fn unexpected(&self, rest: &[u8]) -> Option<Error> {
        let [a, b, c, _] = *rest.first_chunk::<HEADER_BYTES>()?;
        let is_short = u32::from_le_bytes([a, b, c, 0]) as usize <= FAREWELL_BYTES_MAX;
        let is_error = rest.get(HEADER_BYTES).is_none_or(|first| *first == ERROR);
        if self.scanned > 0 || !is_short || !is_error {
            return Some(OutOfStep.into());
        }
        Packet::first(rest).map(|packet| ServerError::of(packet.payload).into_end())
    }

    /// Looks at the beginning of a payload; true where it ends the answer.
    fn payload(&mut self, packet: Packet<'_>) -> Result<bool, OutOfStep> {
        let payload = packet.payload;
        let first = *payload.first().ok_or(OutOfStep)?;
        // No text is as long as 255 would say.
        if first == ERROR {
            self.failed = true;
            return Ok(true);
        }
        match self.state {
            State::Idle => Err(OutOfStep),
            State::Begin(Asked::Statement) => {
                let Prepared { parameters, columns, .. } = Prepared::of(payload)?;
                let definitions = |count: u16| match count {
                    0 => 0,
                    count => u64::from(count) + u64::from(!self.spoken.without_eof),
                };
                self.state = State::Definitions { left: definitions(parameters) + definitions(columns), rows: false };
                Ok(self.state == State::Definitions { left: 0, rows: false })
            }
            State::Begin(Asked::Result) if first == OK => Ok(!self.next_result(Ending::of_ok(payload)?)),
            State::Begin(Asked::Result) => {
                let Columns { count, defined } = Columns::of(payload, self.spoken)?;
                let left = if defined { count + u64::from(!self.spoken.without_eof) } else { 0 };
                self.state = if left == 0 { State::Rows } else { State::Definitions { left, rows: true } };
                Ok(false)
            }
            State::Definitions { left: 1, rows: false } => Ok(true),
            State::Definitions { left: 1, rows: true } => {
                self.state = State::Rows;
                Ok(false)
            }
            State::Definitions { left, rows } => {
                self.state = State::Definitions { left: left - 1, rows };
                Ok(false)
            }
            State::Rows if first == END && !packet.goes_on() => {
                Ok(!self.next_result(Ending::of_rows(payload, self.spoken)?))
            }
            State::Rows => Ok(false),
        }
    }

    /// Whether another result follows.
    fn next_result(&mut self, ending: Ending) -> bool {
        self.state = State::Begin(Asked::Result);
        ending.more
    }
}

/// A statement that was prepared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prepared {
    pub(super) id: u32,
    pub(super) columns: u16,
    pub(super) parameters: u16,
}

impl Prepared {
    pub(super) fn of(payload: &[u8]) -> Result<Self, OutOfStep> {
        let mut reader = Reader(payload);
        if reader.byte()? != OK {
            return Err(OutOfStep);
        }
        Ok(Self { id: reader.number()?, columns: reader.short()?, parameters: reader.short()? })
    }
}

/// What a result with rows begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    pub(super) count: u64,
    /// Whether their definitions follow; otherwise they are as they were.
    pub(super) defined: bool,
}

impl Columns {
    pub(super) fn of(payload: &[u8], spoken: Spoken) -> Result<Self, OutOfStep> {
        let mut reader = Reader(payload);
        if payload.first() == Some(&LOCAL_FILE) {
            return Err(OutOfStep);
        }
        let count = reader.variable()?;
        let defined = !spoken.known_columns || reader.byte()? != 0;
        // The number of a statement's columns is sent in 16 bits when it is prepared.
        if (1..=u64::from(u16::MAX)).contains(&count) { Ok(Self { count, defined }) } else { Err(OutOfStep) }
    }
}

/// How a result ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// Rows changed, or found by what changes rows.
    pub(super) changed: u64,
    /// Whether another result follows.
    pub(super) more: bool,
}

impl Ending {
    /// From an OK packet.
    pub(super) fn of_ok(payload: &[u8]) -> Result<Self, OutOfStep> {
        let mut reader = Reader(payload);
        reader.byte()?;
        let changed = reader.variable()?;
        reader.variable()?;
        Ok(Self { changed, more: is_more(reader.short()?) })
    }

    /// From what stands behind the last row.
    pub(super) fn of_rows(payload: &[u8], spoken: Spoken) -> Result<Self, OutOfStep> {
        if spoken.without_eof {
            return Self::of_ok(payload);
        }
        let mut reader = Reader(payload);
        // The mark and the number of warnings.
        reader.bytes(3)?;
        Ok(Self { changed: 0, more: is_more(reader.short()?) })
    }
}

fn is_more(status: u16) -> bool {
    StatusFlags::from_bits_truncate(status).contains(StatusFlags::SERVER_MORE_RESULTS_EXISTS)
}

/// Appends a payload that `write` appends, in packets from that sequence number on; gives the next number.
pub(super) fn packet(out: &mut Vec<u8>, sequence: u8, write: impl FnOnce(&mut Vec<u8>)) -> u8 {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    write(out);
    finish(out, start, sequence)
}

/// Writes the header of a packet that begins at `start` and ends here; gives the next sequence number.
pub(super) fn finish(out: &mut Vec<u8>, start: usize, sequence: u8) -> u8 {
    let length = out.len() - start - HEADER_BYTES;
    if length >= PAYLOAD_BYTES_MAX {
        return split(out, start, sequence);
    }
    out[start..start + HEADER_BYTES].copy_from_slice(&header(length, sequence));
    sequence.wrapping_add(1)
}

fn header(length: usize, sequence: u8) -> [u8; HEADER_BYTES] {
    let [a, b, c, _] = (length as u32).to_le_bytes();
    [a, b, c, sequence]
}

/// Cuts a payload that does not fit into one packet. One that fills its last packet is ended by an empty one.
#[cold]
fn split(out: &mut Vec<u8>, start: usize, mut sequence: u8) -> u8 {
    let payload = out.split_off(start + HEADER_BYTES);
    out.truncate(start);
    let mut rest = payload.as_slice();
    loop {
        let length = rest.len().min(PAYLOAD_BYTES_MAX);
        let (piece, behind) = rest.split_at(length);
        out.extend_from_slice(&header(length, sequence));
        out.extend_from_slice(piece);
        sequence = sequence.wrapping_add(1);
        rest = behind;
        if length < PAYLOAD_BYTES_MAX {
            return sequence;
        }
    }
}

/// Appends bytes with their length before them.
pub(super) fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        small @ 0..=0xfa => out.push(small as u8),
        short @ 0xfb..=0xffff => {
            out.push(0xfc);
            out.extend_from_slice(&(short as u16).to_le_bytes());
        }
        length => {
            let marked = if length <= 0xff_ffff { 0xfd } else { 0xfe };
            out.push(marked);
            out.extend_from_slice(&(length as u64).to_le_bytes()[..if marked == 0xfd { 3 } else { 8 }]);
        }
    }
    out.extend_from_slice(bytes);
}

#[cfg(test)]
#[path = "packet_tests.rs"]
mod tests;
