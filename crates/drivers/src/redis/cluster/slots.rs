//! Hash slots: which one a key is in, who serves it, and where a server says that it is served instead.
//!
//! What a server says is not trusted: whatever its answer, the result is a map of slots or a typed error.

use store::{Error, ErrorKind, Node, Result};

use crate::redis::reply::{Replies, unexpected};
use crate::resp::{Item, parse_integer, take_item};

/// The slots of every cluster (Redis cluster specification).
pub(crate) const SLOTS: usize = 16_384;

/// Stands for no range in the table of slots. There are at most as many ranges as slots.
const NONE: u16 = u16::MAX;

/// Combinations of a master and its replicas: the specification recommends at most a thousand nodes.
const RANGES_MAX: usize = 1000;

/// Bytes of a host's name (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// Replicas of one range that are kept: more would not be used by one session.
const REPLICAS_MAX: usize = 16;

/// CRC-16/XMODEM, the checksum that the cluster specification names, by its polynomial 0x1021.
const CRC16: [u16; 256] = {
    let (mut table, mut byte) = ([0; 256], 0);
    while byte < table.len() {
        let (mut crc, mut bit) = ((byte as u16) << 8, 0);
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The checksum of which a slot is the remainder.
pub(crate) fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| (crc << 8) ^ CRC16[usize::from((crc >> 8) as u8 ^ byte)])
}

/// The slot of a key: of what is between its first `{` and the next `}`, where there is something, or of all of it.
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let rest = &key[open + 1..];
        let close = rest.iter().position(|byte| *byte == b'}')?;
        (close > 0).then(|| &rest[..close])
    });
    crc16(tag.unwrap_or(key)) % SLOTS as u16
}

/// A server as the cluster names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The target lists it: its number in the list.
    Listed(u16),
    /// It does not; nobody goes there.
    Elsewhere(Node),
}

impl Place {
    /// Of that node.
    pub(crate) fn of(node: Node, listed: &[Node]) -> Self {
        match listed.iter().position(|known| *known == node) {
            Some(place) => Self::Listed(place as u16),
            None => Self::Elsewhere(node),
        }
    }
}

/// Slots that the same servers have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) master: Place,
    /// Those that the target lists.
    pub(crate) replicas: Vec<u16>,
    /// The first of those that it does not list.
    pub(crate) replica_elsewhere: Option<Node>,
}

/// Who serves which slots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Topology {
    ranges: Vec<Range>,
    of_slot: Box<[u16]>,
}

impl Topology {
    /// Reads the answer to `CLUSTER SLOTS` that the node `asked` gave. None where the server is not part of a cluster.
    ///
    /// # Errors
    /// `WrongResult` where it is no such answer, `Rejected` where no slot is served.
    pub(crate) fn read(replies: &mut Replies<'_>, asked: &Node, listed: &[Node]) -> Result<Option<Self>> {
        let count = match replies.item()? {
            Item::Array(count) => count,
            Item::Error(_) => return Ok(None),
            _ => return Err(unexpected()),
        };
        if count > SLOTS {
            return Err(unexpected());
        }
        let mut topology = Self { ranges: Vec::new(), of_slot: vec![NONE; SLOTS].into_boxed_slice() };
        for _ in 0..count {
            topology.read_range(replies, asked, listed)?;
        }
        if topology.ranges.is_empty() {
            return Err(Error::rejected("the server is in cluster mode, but no slot is served")
                .with_hint("form the cluster first: redis-cli --cluster create"));
        }
        Ok(Some(topology))
    }

    fn read_range(&mut self, replies: &mut Replies<'_>, asked: &Node, listed: &[Node]) -> Result<()> {
        let items = replies.array()?;
        if items < 3 {
            return Err(unexpected());
        }
        let slot = |number: i64| usize::try_from(number).ok().filter(|slot| *slot < SLOTS).ok_or_else(unexpected);
        let (first, last) = (slot(replies.integer()?)?, slot(replies.integer()?)?);
        let master = Place::of(read_node(replies, asked)?, listed);
        let mut range = Range { master, replicas: Vec::new(), replica_elsewhere: None };
        for _ in 3..items {
            match Place::of(read_node(replies, asked)?, listed) {
                Place::Listed(replica) if range.replicas.len() < REPLICAS_MAX => range.replicas.push(replica),
                Place::Listed(_) => {}
                Place::Elsewhere(node) => range.replica_elsewhere = range.replica_elsewhere.or(Some(node)),
            }
        }
        let number = self.ranges.iter().position(|known| *known == range).unwrap_or(self.ranges.len());
        if number == RANGES_MAX {
            return Err(unexpected());
        }
        if number == self.ranges.len() {
            self.ranges.push(range);
        }
        self.of_slot.get_mut(first..=last).ok_or_else(unexpected)?.fill(number as u16);
        Ok(())
    }

    /// Who serves a slot; none where nobody does.
    pub(crate) fn serving(&self, slot: u16) -> Option<&Range> {
        self.ranges.get(usize::from(*self.of_slot.get(usize::from(slot))?))
    }

    /// Those that serve something, with each combination of a master and its replicas once.
    pub(crate) fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The masters, each once, in the order of the target's list.
    ///
    /// # Errors
    /// `Rejected` where the target does not list one, naming all that are missing in its hint.
    pub(crate) fn masters(&self, listed: &[Node]) -> Result<Vec<u16>> {
        let (mut masters, mut missing) = (Vec::new(), Vec::new());
        for range in &self.ranges {
            match &range.master {
                Place::Listed(place) => masters.push(*place),
                Place::Elsewhere(node) => missing.push(node.clone()),
            }
        }
        if let Some(first) = missing.first() {
            let all: Vec<_> = missing.iter().map(Node::to_string).collect();
            let error = first.clone().permitted(listed).err().unwrap_or_else(unexpected);
            return Err(error.with_hint(format!(
                "if they belong to the cluster, add all of its nodes to the target's URL: nodes={}",
                all.join(",")
            )));
        }
        masters.sort_unstable();
        masters.dedup();
        Ok(masters)
    }
}

/// A node of an answer: address, port, and what else there is. No address means the one that was asked at.
fn read_node(replies: &mut Replies<'_>, asked: &Node) -> Result<Node> {
    let items = replies.array()?;
    if items < 2 {
        return Err(unexpected());
    }
    let host = match replies.bulk()? {
        Some(host) => std::str::from_utf8(host).map_err(|_| unexpected())?,
        None => "",
    };
    let port = u16::try_from(replies.integer()?).map_err(|_| unexpected())?;
    for _ in 2..items {
        replies.skip()?;
    }
    Ok(Node { host: host_of(host, asked)?, port })
}

/// A host as a server names it; none means the one that was asked. It is shown to users, so it must be a name or an address.
fn host_of(host: &str, asked: &Node) -> Result<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%');
    match host {
        "" | "?" => Ok(asked.host.clone()),
        host if host.len() <= HOST_BYTES_MAX && host.bytes().all(is_plain) => Ok(host.to_owned()),
        _ => Err(unexpected()),
    }
}

/// Where a server says that a command belongs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Redirect {
    /// Whether it is only for this once: the slot is on its way there.
    pub(crate) is_ask: bool,
    pub(crate) node: Node,
}

impl Redirect {
    /// Of an error line: `MOVED 3999 127.0.0.1:6381`, `ASK 3999 127.0.0.1:6381`. None where it is another one.
    ///
    /// # Errors
    /// `WrongResult` where it is one that names nobody.
    pub(crate) fn of(line: &[u8], asked: &Node) -> Result<Option<Self>> {
        let is_ask = match line.split(|byte| *byte == b' ').next() {
            Some(b"MOVED") => false,
            Some(b"ASK") => true,
            _ => return Ok(None),
        };
        let address = line.split(|byte| *byte == b' ').nth(2).and_then(|text| std::str::from_utf8(text).ok());
        let (host, port) = address.and_then(|text| text.rsplit_once(':')).ok_or_else(unexpected)?;
        let port = parse_integer(port.as_bytes()).ok().and_then(|port| u16::try_from(port).ok());
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Ok(Some(Self { is_ask, node: Node { host: host_of(host, asked)?, port: port.ok_or_else(unexpected)? } }))
    }

    /// The first of so many replies that is one. All but the last have no replies within them: they are those of a
    /// transaction, or there is one only.
    pub(crate) fn among(mut bytes: &[u8], replies: u32, asked: &Node) -> Result<Option<Self>> {
        for _ in 0..replies {
            let Ok(Some((item, length))) = take_item(bytes) else { return Err(unexpected()) };
            if let Item::Error(line) = item
                && let Some(redirect) = Self::of(line, asked)?
            {
                return Ok(Some(redirect));
            }
            bytes = &bytes[length..];
        }
        Ok(None)
    }
}

/// Nobody serves a slot just now.
pub(crate) fn unserved(slot: u16) -> Error {
    Error::new(ErrorKind::Unreachable, format!("no server of the cluster serves slot {slot}"))
        .with_hint("see CLUSTER INFO: a master may be down with no replica to take over")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(port: u16) -> Node {
        Node { host: "127.0.0.1".to_owned(), port }
    }

    #[test]
    fn keys_have_the_slots_that_the_specification_gives() {
        // The checksum's test vector, and slots as CLUSTER KEYSLOT tells them.
        assert_eq!(crc16(b"123456789"), 0x31C3);
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{user1000}.following", 3_443),
            ("{user1000}.followers", 3_443),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
            ("foo{bar}{zap}", 5_061),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
        assert_eq!(slot_of(b"foo{{bar}}zap"), slot_of(b"{{bar}"));
        assert_ne!(slot_of(b"a{"), slot_of(b"a"));
    }

    /// The answer of a cluster of two masters, the first of which has a replica.
    const ANSWER: &[u8] = b"*2\r\n\
        *4\r\n:0\r\n:8191\r\n*4\r\n$9\r\n127.0.0.1\r\n:7000\r\n$2\r\nid\r\n*0\r\n*3\r\n$9\r\n127.0.0.1\r\n:7002\r\n$1\r\nr\r\n\
        *3\r\n:8192\r\n:16383\r\n*3\r\n$0\r\n\r\n:7001\r\n$2\r\nid\r\n";

    #[test]
    fn a_topology_says_who_serves_what_and_who_is_not_listed() {
        let listed = [node(7000), node(7001), node(7002)];
        let read = |listed: &[Node]| Topology::read(&mut Replies::new(ANSWER), &listed[0], listed);
        let topology = read(&listed).expect("an answer").expect("of a cluster");
        let first = topology.serving(8191).expect("served");
        assert_eq!((&first.master, first.replicas.as_slice()), (&Place::Listed(0), [2].as_slice()));
        assert_eq!(topology.serving(8192).expect("served").master, Place::Listed(1));
        assert_eq!(topology.masters(&listed).expect("listed"), [0, 1]);

        let topology = read(&listed[..1]).expect("an answer").expect("of a cluster");
        let error = topology.masters(&listed[..1]).expect_err("one is not listed");
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.hint().is_some_and(|hint| hint.contains("nodes=127.0.0.1:7001")), "{error:?}");
        let alone = b"-ERR This instance has cluster support disabled\r\n";
        assert_eq!(Topology::read(&mut Replies::new(alone), &listed[0], &listed).expect("an answer"), None);
        let unformed = Topology::read(&mut Replies::new(b"*0\r\n"), &listed[0], &listed);
        assert_eq!(unformed.expect_err("nothing is served").kind(), ErrorKind::Rejected);
    }

    #[test]
    fn redirects_are_recognised() {
        let of = |line: &str| Redirect::of(line.as_bytes(), &node(1)).map_err(|error| error.kind());
        let to = |is_ask, host: &str, port| Ok(Some(Redirect { is_ask, node: Node { host: host.to_owned(), port } }));
        assert_eq!(of("MOVED 3999 127.0.0.2:6381"), to(false, "127.0.0.2", 6381));
        assert_eq!(of("ASK 3999 ::1:6381"), to(true, "::1", 6381));
        assert_eq!(of("MOVED 3999 :6381"), to(false, "127.0.0.1", 6381));
        assert_eq!(of("ERR MOVED 1 a:1"), Ok(None));
        for bad in [
            "MOVED",
            "MOVED 1",
            "MOVED 1 a\x1b[2J:1",
            "MOVED 1 host",
            "MOVED 1 host:",
            "MOVED 1 host:70000",
            "ASK 1 host:-1",
        ] {
            assert_eq!(of(bad), Err(ErrorKind::WrongResult), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_a_topology_or_an_error(
            bytes in "([*][0-9]\r\n|:[0-9]{1,6}\r\n|[$]2\r\nab\r\n|[$]-1\r\n|-ERR\r\n){0,30}",
        ) {
            let listed = [node(7000)];
            let found = Topology::read(&mut Replies::new(bytes.as_bytes()), &listed[0], &listed);
            if let Ok(Some(topology)) = found {
                for slot in 0..SLOTS as u16 {
                    let _ = topology.serving(slot);
                }
            }
        }

        #[test]
        fn any_line_is_a_redirect_or_not(line in "(MOVED|ASK|ERR)?[ -~]{0,30}") {
            let _ = Redirect::of(line.as_bytes(), &node(1));
        }
    }
}
