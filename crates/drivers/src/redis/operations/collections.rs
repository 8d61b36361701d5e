//! Keys that hold many elements: hashes, leaderboards, lists, sets, streams.

use store::Result;

use super::strings::number;
use super::{BLOCK_ROWS, Work, block, changes, slot, verify};
use crate::redis::contents::Contents;
use crate::redis::reply::unexpected;
use crate::resp::{Decimal, argument, command};

/// Fields of a row's hash.
const FIELDS: [&[u8]; 4] = [b"f0", b"f1", b"f2", b"f3"];

/// How much of a leaderboard, list or stream is read.
const PAGE: u64 = 10;

/// Scores are loaded below this.
const SCORE_MAX: u64 = 1000;

/// Entries that a list or stream keeps.
const KEPT_MAX: u64 = 100;

/// Members of a row's set, of which it shares half with that of the other row of its pair. At most 32.
const MEMBERS: u64 = 16;

pub(super) const HASH: Work = Work {
    operation: changes("hash", "HSET of four fields and HGETALL; every field is compared"),
    encode: |contents, row, out| {
        hash_set(contents, row, out);
        command(out, 2);
        argument(out, b"HGETALL");
        contents.key(out, b"h", row);
        2
    },
    check: |contents, row, replies| {
        replies.integer()?;
        verify(replies.array()? == 2 * FIELDS.len(), row, "the hash has another number of fields")?;
        for _ in FIELDS {
            let name = replies.bytes()?;
            let field = FIELDS.iter().position(|field| *field == name).ok_or_else(unexpected)?;
            let found = replies.bytes()?;
            verify(found == contents.quarter(row, field), row, "a field is another than was written")?;
        }
        Ok(1)
    },
};

pub(super) const SORTED_SET: Work = Work {
    operation: changes("sortedset", "a leaderboard: ZINCRBY, the top ten with their order verified, ZREVRANK"),
    encode: |contents, row, out| {
        let (block, _) = block(contents, row);
        let member = Decimal::new(row);
        command(out, 4);
        argument(out, b"ZINCRBY");
        contents.key(out, b"z", block);
        argument(out, b"1");
        argument(out, member.as_bytes());
        command(out, 5);
        argument(out, b"ZREVRANGE");
        contents.key(out, b"z", block);
        argument(out, b"0");
        argument(out, Decimal::new(PAGE - 1).as_bytes());
        argument(out, b"WITHSCORES");
        command(out, 3);
        argument(out, b"ZREVRANK");
        contents.key(out, b"z", block);
        argument(out, member.as_bytes());
        3
    },
    check: |contents, row, replies| {
        let (block, members) = block(contents, row);
        let score = number(replies.bytes()?).ok_or_else(unexpected)?;
        verify(score > base_score(contents, row), row, "the score did not grow")?;
        let listed = replies.array()? as u64 / 2;
        verify(listed == members.min(PAGE), row, "the leaderboard has another number of members")?;
        let mut above = u64::MAX;
        for _ in 0..listed {
            let member = number(replies.bytes()?).ok_or_else(unexpected)?;
            let score = number(replies.bytes()?).ok_or_else(unexpected)?;
            verify(member / BLOCK_ROWS == block, row, "the leaderboard holds a stranger")?;
            verify(score >= base_score(contents, member), row, "a score of the leaderboard is too low")?;
            verify(score <= above, row, "the leaderboard is out of order")?;
            above = score;
        }
        let rank = replies.integer()?;
        verify((0..members.cast_signed()).contains(&rank), row, "the rank is beyond the leaderboard")?;
        Ok(listed)
    },
};

pub(super) const LIST: Work = Work {
    operation: changes("list", "LPUSH, LRANGE of ten with every element compared, LTRIM to a hundred"),
    encode: |contents, row, out| {
        let slot = slot(contents, row);
        command(out, 3);
        argument(out, b"LPUSH");
        contents.key(out, b"l", slot);
        contents.argument(out, slot);
        for (name, last) in [(b"LRANGE".as_slice(), PAGE - 1), (b"LTRIM", KEPT_MAX - 1)] {
            command(out, 4);
            argument(out, name);
            contents.key(out, b"l", slot);
            argument(out, b"0");
            argument(out, Decimal::new(last).as_bytes());
        }
        3
    },
    check: |contents, row, replies| {
        let slot = slot(contents, row);
        let length = u64::try_from(replies.integer()?).map_err(|_| unexpected())?;
        let listed = replies.array()? as u64;
        // Others may have pushed since.
        verify((length.min(PAGE)..=PAGE).contains(&listed), row, "the list has another length")?;
        for _ in 0..listed {
            verify(contents.matches(replies.bytes()?, slot), row, "an element is another than was pushed")?;
        }
        replies.status()?;
        Ok(listed)
    },
};

pub(super) const SETS: Work = Work {
    operation: changes("sets", "SADD, SISMEMBER, SCARD and SINTER of two sets; all four answers are verified"),
    encode: |contents, row, out| {
        set_add(contents, row, out);
        command(out, 3);
        argument(out, b"SISMEMBER");
        contents.key_in_pair(out, b"m", row);
        argument(out, Decimal::new(first_member(row)).as_bytes());
        command(out, 2);
        argument(out, b"SCARD");
        contents.key_in_pair(out, b"m", row);
        command(out, 3);
        argument(out, b"SINTER");
        contents.key_in_pair(out, b"m", row);
        contents.key_in_pair(out, b"m", partner(contents, row));
        4
    },
    check: |contents, row, replies| {
        replies.integer()?;
        verify(replies.integer()? == 1, row, "a member is missing")?;
        verify(replies.integer()? == MEMBERS.cast_signed(), row, "the set has another number of members")?;
        let (own, partners) = (first_member(row), first_member(partner(contents, row)));
        let (shared_from, shared) = (own.max(partners), MEMBERS - own.abs_diff(partners));
        verify(replies.array()? as u64 == shared, row, "the sets share another number of members")?;
        let mut seen = 0_u32;
        for _ in 0..shared {
            let member = number(replies.bytes()?).ok_or_else(unexpected)?;
            verify((shared_from..shared_from + shared).contains(&member), row, "the sets share a stranger")?;
            seen |= 1 << (member - shared_from);
        }
        verify(u64::from(seen.count_ones()) == shared, row, "a member is shared twice")?;
        Ok(shared)
    },
};

pub(super) const STREAM: Work = Work {
    operation: changes("stream", "XADD with a limit of 100 entries, XRANGE of ten: contents and order are verified"),
    encode: |contents, row, out| {
        let slot = slot(contents, row);
        stream_add(contents, slot, out);
        command(out, 6);
        argument(out, b"XRANGE");
        contents.key(out, b"x", slot);
        argument(out, b"-");
        argument(out, b"+");
        argument(out, b"COUNT");
        argument(out, Decimal::new(PAGE).as_bytes());
        command(out, 2);
        argument(out, b"XLEN");
        contents.key(out, b"x", slot);
        3
    },
    check: |contents, row, replies| {
        let slot = slot(contents, row);
        let added = entry_id(replies.bytes()?)?;
        let listed = replies.array()? as u64;
        verify((1..=PAGE).contains(&listed), row, "the stream has another number of entries")?;
        let mut before = (0, 0);
        for _ in 0..listed {
            replies.array()?;
            let id = entry_id(replies.bytes()?)?;
            verify(id > before, row, "the stream is out of order")?;
            before = id;
            verify(replies.array()? == 2 && replies.bytes()? == b"v", row, "an entry has other fields")?;
            verify(contents.matches(replies.bytes()?, slot), row, "an entry is another than was added")?;
        }
        let length = u64::try_from(replies.integer()?).map_err(|_| unexpected())?;
        verify((1..=KEPT_MAX).contains(&length), row, "the stream was not trimmed")?;
        // Where all entries were listed, the one that was added must be among them.
        verify(length > PAGE || before >= added, row, "the entry that was added is missing")?;
        Ok(listed)
    },
};

/// Appends what these operations need of a row.
pub(super) fn load(contents: &Contents, row: u64, out: &mut Vec<u8>) -> u32 {
    hash_set(contents, row, out);
    set_add(contents, row, out);
    command(out, 4);
    argument(out, b"ZADD");
    contents.key(out, b"z", block(contents, row).0);
    argument(out, Decimal::new(base_score(contents, row)).as_bytes());
    argument(out, Decimal::new(row).as_bytes());
    if slot(contents, row) != row {
        return 3;
    }
    stream_add(contents, row, out);
    command(out, 3);
    argument(out, b"RPUSH");
    contents.key(out, b"l", row);
    contents.argument(out, row);
    5
}

fn hash_set(contents: &Contents, row: u64, out: &mut Vec<u8>) {
    command(out, 2 + 2 * FIELDS.len());
    argument(out, b"HSET");
    contents.key(out, b"h", row);
    for (place, field) in FIELDS.iter().enumerate() {
        argument(out, field);
        argument(out, contents.quarter(row, place));
    }
}

fn set_add(contents: &Contents, row: u64, out: &mut Vec<u8>) {
    command(out, 2 + MEMBERS as usize);
    argument(out, b"SADD");
    contents.key_in_pair(out, b"m", row);
    for member in 0..MEMBERS {
        argument(out, Decimal::new(first_member(row) + member).as_bytes());
    }
}

fn stream_add(contents: &Contents, slot: u64, out: &mut Vec<u8>) {
    command(out, 8);
    argument(out, b"XADD");
    contents.key(out, b"x", slot);
    argument(out, b"MAXLEN");
    argument(out, b"=");
    argument(out, Decimal::new(KEPT_MAX).as_bytes());
    argument(out, b"*");
    argument(out, b"v");
    contents.argument(out, slot);
}

fn base_score(contents: &Contents, row: u64) -> u64 {
    contents.random(row) % SCORE_MAX
}

/// Sets overlap: each begins in the middle of the one before.
fn first_member(row: u64) -> u64 {
    row.saturating_mul(MEMBERS / 2)
}

/// The other row of its pair, or the row itself where it is the last and has none.
fn partner(contents: &Contents, row: u64) -> u64 {
    if row ^ 1 < contents.rows.rows { row ^ 1 } else { row }
}

/// `1700000000000-0` as two numbers.
fn entry_id(text: &[u8]) -> Result<(u64, u64)> {
    let dash = text.iter().position(|byte| *byte == b'-').ok_or_else(unexpected)?;
    number(&text[..dash]).zip(number(&text[dash + 1..])).ok_or_else(unexpected)
}
