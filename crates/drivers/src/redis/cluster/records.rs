//! The key-value verbs in a cluster: records in parts, each with an index of its own in the same slot.
//!
//! A record is a hash at `<namespace>:{<tag>}:<key>`, and its key is a member of `<namespace>:{<tag>}:!index`. The tag is one of
//! twelve, by a checksum of the key, so that an insert's two commands go to the same node and a script can look at both. A
//! scan asks all twelve indexes side by side and merges what they say.

use store::{Record, Request, Result, Rows, Token};

use super::slots::{SLOTS, crc16, slot_of};
use crate::redis::records::{RecordKeys, ScanKeys, Step, Verb};
use crate::redis::reply::{Replies, unexpected};
use crate::resp::Decimal;

/// Parts of a table: as many for each of 2, 3, 4, 6 or 12 masters, and few enough for a scan to ask all of them.
const PARTS: usize = 12;

/// What a request's replies lead to.
pub(super) enum Next {
    /// It has ended, with so many rows.
    Done(u64),
    /// It goes on: more was appended, to which so many replies will come; with the slot of all of it where that is one.
    More(ClusterVerb, u32, Option<u16>),
}

/// What the replies of a request are about.
pub(super) enum ClusterVerb {
    /// One record, in that part.
    Keyed { part: usize, verb: Verb },
    /// All indexes, each asked for so many keys, of which so many are wanted in all.
    ScanIndexes { start: ScanKeys, limit: u32, asked: u32 },
    /// The records that a scan has found.
    ScanRecords { part: usize, verb: Verb },
}

/// Where a key was found: its place in the replies, and its part.
struct FoundKey {
    start: u32,
    end: u32,
    part: u8,
}

/// Where the records of a namespace live.
pub(crate) struct ClusterRecords {
    parts: Vec<(RecordKeys, u16)>,
    /// Memory of scans.
    found: Vec<FoundKey>,
    spare: Vec<ScanKeys>,
}

impl ClusterRecords {
    /// Of that namespace.
    pub(crate) fn new(namespace: &str) -> Self {
        let tags = tags();
        let part = |tag: u64| {
            let tag = Decimal::new(tag);
            let tag = std::str::from_utf8(tag.as_bytes()).expect("digits are ASCII");
            (RecordKeys::new(&format!("{namespace}:{{{tag}}}")), slot_of(format!("{{{tag}}}").as_bytes()))
        };
        Self { parts: tags.into_iter().map(part).collect(), found: Vec::new(), spare: Vec::new() }
    }

    /// Appends a request; what its replies are about, how many there will be, and the slot of all its keys where it is one.
    pub(super) fn encode(
        &mut self,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(ClusterVerb, u32, Option<u16>)> {
        let key = match *request {
            Request::Scan { start, limit } => {
                let mut kept = self.spare.pop().unwrap_or_default();
                kept.clear();
                kept.push(start);
                return Ok(self.ask_indexes(kept, limit, first_share(limit), out));
            }
            Request::Read { key, .. }
            | Request::Insert { key, .. }
            | Request::Update { key, .. }
            | Request::Delete { key } => key,
            // Refused by the part, as by a single server.
            _ => "",
        };
        let part = part_of(key);
        let (keys, slot) = &self.parts[part];
        let (verb, replies) = keys.encode(request, out, &mut self.spare)?;
        Ok((ClusterVerb::Keyed { part, verb }, replies, Some(*slot)))
    }

    /// Reads the replies of a request and shows its rows.
    pub(super) fn take(
        &mut self,
        verb: ClusterVerb,
        token: Token,
        bytes: &[u8],
        rows: &mut dyn Rows,
        out: &mut Vec<u8>,
    ) -> Result<Next> {
        let mut replies = Replies::new(bytes);
        let (part, verb) = match verb {
            ClusterVerb::ScanIndexes { start, limit, asked } => {
                return self.take_indexes(start, (limit, asked), token, bytes, rows, out);
            }
            ClusterVerb::Keyed { part, verb } | ClusterVerb::ScanRecords { part, verb } => (part, verb),
        };
        let (keys, slot) = &self.parts[part];
        Ok(match keys.take(verb, token, &mut replies, rows, out, &mut self.spare)? {
            Step::Done(rows) => Next::Done(rows),
            Step::More(verb, replies) => Next::More(ClusterVerb::Keyed { part, verb }, replies, Some(*slot)),
        })
    }

    /// Appends what loads a record; one reply. The part that its key is to be entered into.
    pub(crate) fn load(&self, out: &mut Vec<u8>, record: &Record, field_length: usize) -> Result<usize> {
        let part = part_of(&record.key);
        self.parts[part].0.load(out, record, field_length)?;
        Ok(part)
    }

    /// For each part the keys that are to be entered into its index: none.
    pub(crate) fn no_keys(&self) -> Vec<Vec<String>> {
        vec![Vec::new(); self.parts.len()]
    }

    /// Appends what enters keys into their parts' indexes; how many replies that has.
    pub(crate) fn index_all(&self, out: &mut Vec<u8>, keys: &[Vec<String>]) -> u32 {
        let mut replies = 0;
        for ((part, _), keys) in self.parts.iter().zip(keys).filter(|(_, keys)| !keys.is_empty()) {
            part.index_all(out, keys.iter().map(String::as_str));
            replies += 1;
        }
        replies
    }

    fn ask_indexes(
        &self,
        start: ScanKeys,
        limit: u32,
        asked: u32,
        out: &mut Vec<u8>,
    ) -> (ClusterVerb, u32, Option<u16>) {
        for (keys, _) in &self.parts {
            keys.scan_index(out, start.iter().next().unwrap_or_default(), asked);
        }
        (ClusterVerb::ScanIndexes { start, limit, asked }, self.parts.len() as u32, None)
    }

    /// Merges the indexes' answers, each of which is in order.
    fn take_indexes(
        &mut self,
        start: ScanKeys,
        (limit, asked): (u32, u32),
        token: Token,
        bytes: &[u8],
        rows: &mut dyn Rows,
        out: &mut Vec<u8>,
    ) -> Result<Next> {
        let is_whole = self.find_keys(bytes, asked, limit)?;
        if !is_whole && asked < limit {
            let (verb, replies, slot) = self.ask_indexes(start, limit, limit, out);
            return Ok(Next::More(verb, replies, slot));
        }
        let mut keys = start;
        keys.clear();
        if self.found.is_empty() {
            self.spare.push(keys);
            rows.begin(token);
            return Ok(Next::Done(0));
        }
        for found in &self.found {
            let key = text(bytes, found)?;
            keys.push(key);
            self.parts[usize::from(found.part)].0.read_all(out, key);
        }
        let verb = ClusterVerb::ScanRecords { part: 0, verb: Verb::ScanRecords(keys) };
        Ok(Next::More(verb, self.found.len() as u32, None))
    }

    /// The first `limit` keys of all indexes, in order. Whether these are certain: an index that gave as many as it was
    /// asked for may have more, and says nothing of what comes behind its last.
    fn find_keys(&mut self, bytes: &[u8], asked: u32, limit: u32) -> Result<bool> {
        let mut replies = Replies::new(bytes);
        let mut known_up_to: Option<&[u8]> = None;
        self.found.clear();
        for part in 0..self.parts.len() {
            let count = replies.array()?;
            for place in 0..count {
                let key = replies.bytes()?;
                let end = bytes.len() - replies.left() - 2;
                self.found.push(FoundKey { start: (end - key.len()) as u32, end: end as u32, part: part as u8 });
                if place + 1 == count && count >= asked as usize && known_up_to.is_none_or(|known| key < known) {
                    known_up_to = Some(key);
                }
            }
        }
        self.found.sort_unstable_by_key(|found| &bytes[found.start as usize..found.end as usize]);
        if let Some(last) = known_up_to {
            let certain = self.found.partition_point(|found| &bytes[found.start as usize..found.end as usize] <= last);
            if certain < limit as usize && asked < limit {
                return Ok(false);
            }
        }
        self.found.truncate(limit as usize);
        Ok(true)
    }
}

/// A key that was found, as text.
fn text<'a>(bytes: &'a [u8], found: &FoundKey) -> Result<&'a str> {
    std::str::from_utf8(&bytes[found.start as usize..found.end as usize]).map_err(|_| unexpected())
}

/// The part that a key's record is in.
fn part_of(key: &str) -> usize {
    usize::from(crc16(key.as_bytes())) % PARTS
}

/// How many keys each part is asked for at first: its share and three standard deviations, so that one look nearly always does.
fn first_share(limit: u32) -> u32 {
    let share = f64::from(limit) / PARTS as f64;
    limit.min((share + 3.0 * share.sqrt()).ceil() as u32 + 1)
}

/// For each part the first number whose slot is well within that part's share of all slots: in a cluster that is cut into
/// equal pieces, each master has as many parts.
fn tags() -> [u64; PARTS] {
    let mut tags = [None; PARTS];
    let mut number = 0;
    while tags.contains(&None) {
        let slot = usize::from(slot_of(Decimal::new(number).as_bytes()));
        let part = slot * PARTS / SLOTS;
        let within = slot * PARTS * 4 / SLOTS - part * 4;
        if (1..=2).contains(&within) && tags[part].is_none() {
            tags[part] = Some(number);
        }
        number += 1;
    }
    tags.map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::{argument, command};

    #[test]
    fn tags_are_spread_evenly_over_the_slots() {
        let records = ClusterRecords::new("storelab_x");
        for masters in [1, 2, 3, 4, 6, 12] {
            for master in 0..masters {
                let (first, last) = (master * SLOTS / masters, (master + 1) * SLOTS / masters);
                let own = records.parts.iter().filter(|(_, slot)| (first..last).contains(&usize::from(*slot))).count();
                assert_eq!(own, PARTS / masters, "master {master} of {masters}");
            }
        }
    }

    proptest! {
        /// Whatever the keys, a scan of two looks at most finds the first of all of them.
        #[test]
        fn scans_merge_in_order(
            keys in proptest::collection::btree_set("[a-z]{1,4}", 0..200), limit in 1_u32..60,
        ) {
            let mut records = ClusterRecords::new("storelab_x");
            let mut asked = first_share(limit);
            let found = loop {
                let mut answer = Vec::new();
                for part in 0..PARTS {
                    let own: Vec<_> =
                        keys.iter().filter(|key| part_of(key) == part).take(asked as usize).collect();
                    command(&mut answer, own.len());
                    for key in own {
                        argument(&mut answer, key.as_bytes());
                    }
                }
                if records.find_keys(&answer, asked, limit).expect("well-formed") {
                    let text = |found: &FoundKey| text(&answer, found).expect("UTF-8").to_owned();
                    break records.found.iter().map(text).collect::<Vec<_>>();
                }
                prop_assert!(asked < limit, "the second look is certain");
                asked = limit;
            };
            prop_assert_eq!(found, keys.into_iter().take(limit as usize).collect::<Vec<_>>());
        }
    }
}
