//! The driver's own operations: one entry each in [`WORK`], with how it is asked and how its answer is verified.
//!
//! Sessions run them side by side without breaking one another's verification: what one writes is a pure function of
//! seed and row, or is judged by laws that hold whoever else writes (an order, a bound, a sum).
//!
//! Kinds of keys, behind the namespace: `s` strings, `h` hashes, `m` sets, `t` pairs of accounts and `j` documents by
//! row; `z` leaderboards, `b` bitmaps, `p` counts of distinct elements and `g` maps by block of 1,000 rows; `l` lists
//! and `x` streams by slot. What one command or transaction names together shares a hash slot, so that a cluster takes it.

mod collections;
mod counts;
mod strings;

use std::collections::BTreeMap;

use store::{Effect, Error, Operation, Result};

use super::connection::Connection;
use super::contents::Contents;
use super::reply::Replies;
use crate::resp::{Item, command_of};

/// Rows that share a leaderboard, bitmap, count or map.
const BLOCK_ROWS: u64 = 1000;

/// Lists and streams: as they grow to 100 entries each, more of them would make the data many times larger.
const SLOTS: u64 = 100;

/// An operation, how it is asked, and how its answer is verified.
struct Work {
    operation: Operation,
    /// Appends commands about the row; says how many.
    encode: fn(&Contents, u64, &mut Vec<u8>) -> u32,
    /// Verifies their replies; says how many rows it was.
    check: fn(&Contents, u64, &mut Replies<'_>) -> Result<u64>,
}

const WORK: [Work; 13] = [
    strings::SET,
    strings::GET,
    strings::PIPELINE,
    collections::HASH,
    collections::SORTED_SET,
    collections::LIST,
    collections::SETS,
    collections::STREAM,
    counts::BITMAP,
    counts::HYPERLOGLOG,
    counts::GEO,
    strings::JSON,
    strings::TRANSACTION,
];

static TABLE: [Work; WORK.len()] = WORK;

/// What users can ask for.
pub(crate) static OPERATIONS: [Operation; WORK.len()] = {
    let (mut list, mut place) = ([WORK[0].operation; WORK.len()], 0);
    while place < WORK.len() {
        list[place] = WORK[place].operation;
        place += 1;
    }
    list
};

/// Appends an operation's commands and says how many replies they have.
///
/// # Errors
/// `Bug` for a place that is not in the list.
pub(crate) fn encode(contents: &Contents, operation: u16, row: u64, out: &mut Vec<u8>) -> Result<u32> {
    Ok((work(operation)?.encode)(contents, row, out))
}

/// Verifies an operation's replies.
///
/// # Errors
/// `WrongResult` where they are not what must come, or what the server answered instead.
pub(crate) fn check(contents: &Contents, operation: u16, row: u64, replies: &mut Replies<'_>) -> Result<u64> {
    (work(operation)?.check)(contents, row, replies)
}

fn work(operation: u16) -> Result<&'static Work> {
    TABLE.get(usize::from(operation)).ok_or_else(|| Error::bug("an operation that is not in the list"))
}

/// Appends what loads a row, for all operations that the server has, and says how many replies that has.
pub(crate) fn load(contents: &Contents, row: u64, has_json: bool, out: &mut Vec<u8>) -> u32 {
    let json = if has_json { strings::load_json(contents, row, out) } else { 0 };
    json + strings::load(contents, row, out) + collections::load(contents, row, out) + counts::load(contents, row, out)
}

/// Whether the server takes documents.
pub(crate) async fn has_json(connection: &mut Connection) -> Result<bool> {
    Ok(!missing(connection).await?.contains_key(strings::JSON.operation.name))
}

/// The operations that this server cannot do, with the reason. What it may not be asked about counts as there.
pub(crate) async fn missing(connection: &mut Connection) -> Result<BTreeMap<&'static str, String>> {
    const ASKED: [(&str, &str, &str); 2] = [
        ("JSON.SET", "json", "the server has no JSON module (RedisJSON or valkey-json)"),
        ("GEOSEARCH", "geo", "the server is older than Redis 6.2, the first with GEOSEARCH"),
    ];
    for (command, _, _) in ASKED {
        command_of(connection.out(), &[b"COMMAND", b"INFO", command.as_bytes()]);
    }
    let read = |replies: &mut Replies<'_>| {
        let mut missing = BTreeMap::new();
        for (_, operation, reason) in ASKED {
            // One item for each name: a description, or nothing.
            if let Item::Array(1) = replies.item()? {
                match replies.item()? {
                    Item::Array(items) if items > 0 => {
                        for _ in 0..items {
                            replies.skip()?;
                        }
                    }
                    _ => {
                        missing.insert(operation, reason.to_owned());
                    }
                }
            }
        }
        Ok(missing)
    };
    connection.replies(ASKED.len() as u32, read).await
}

/// The block that a row belongs to, and how many rows it has.
fn block(contents: &Contents, row: u64) -> (u64, u64) {
    let block = row / BLOCK_ROWS;
    (block, contents.rows.rows.saturating_sub(block * BLOCK_ROWS).min(BLOCK_ROWS))
}

/// The list or stream that a row belongs to.
fn slot(contents: &Contents, row: u64) -> u64 {
    row % contents.rows.rows.clamp(1, SLOTS)
}

/// An operation that reads what was loaded.
const fn reads(name: &'static str, summary: &'static str) -> Operation {
    Operation::new(name, Effect::Reads, summary)
}

/// An operation that overwrites or adds to what was loaded.
const fn changes(name: &'static str, summary: &'static str) -> Operation {
    Operation::new(name, Effect::Changes, summary)
}

/// `Ok`, or that the row does not hold what it must.
fn verify(holds: bool, row: u64, what: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::wrong_result(format!("row {row}: {what}"))) }
}
