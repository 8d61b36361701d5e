//! Single values: strings, many commands in one write, documents, transactions.

use store::Result;

use super::{Work, changes, reads, verify};
use crate::redis::contents::Contents;
use crate::redis::reply::Replies;
use crate::resp::{Decimal, argument, argument_of, command, command_of, parse_integer};

/// Commands of the `pipeline` operation, half of them SET and half GET: the depth that redis-benchmark's examples use.
const PIPELINE_COMMANDS: u32 = 16;

/// What the two accounts of a row begin with, each.
const BALANCE: i64 = 1000;

pub(super) const SET: Work = Work {
    operation: changes("set", "SET of a string key; the status is verified"),
    encode: |contents, row, out| {
        set(contents, row, out);
        1
    },
    check: |_, row, replies| check_ok(row, replies).map(|()| 1),
};

pub(super) const GET: Work = Work {
    operation: reads("get", "GET of a string key; the value is compared byte by byte"),
    encode: |contents, row, out| {
        get(contents, row, out);
        1
    },
    check: |contents, row, replies| check_value(contents, row, replies).map(|()| 1),
};

pub(super) const PIPELINE: Work = Work {
    operation: changes("pipeline", "16 SET and GET in one write; every reply is verified"),
    encode: |contents, row, out| {
        for pair in 0..PIPELINE_COMMANDS / 2 {
            set(contents, pipelined(contents, row, pair), out);
            get(contents, pipelined(contents, row, pair), out);
        }
        PIPELINE_COMMANDS
    },
    check: |contents, row, replies| {
        for pair in 0..PIPELINE_COMMANDS / 2 {
            check_ok(row, replies)?;
            check_value(contents, pipelined(contents, row, pair), replies)?;
        }
        Ok(PIPELINE_COMMANDS.into())
    },
};

pub(super) const JSON: Work = Work {
    operation: changes("json", "JSON.NUMINCRBY in a document, JSON.GET of its number and its text, which are compared")
        .needs("JSON module"),
    encode: |contents, row, out| {
        command(out, 4);
        argument(out, b"JSON.NUMINCRBY");
        contents.key(out, b"j", row);
        argument(out, b"$.count");
        argument(out, b"1");
        for path in [b"$.row".as_slice(), b"$.text"] {
            command(out, 3);
            argument(out, b"JSON.GET");
            contents.key(out, b"j", row);
            argument(out, path);
        }
        3
    },
    check: |contents, row, replies| {
        let count = found(replies)?.and_then(number);
        verify(count.is_some_and(|count| count > 0), row, "the document's count did not grow")?;
        let row_found = found(replies)?;
        verify(row_found == Some(Decimal::new(row).as_bytes()), row, "the document holds another number")?;
        let text = found(replies)?.and_then(|text| text.strip_prefix(b"\"")?.strip_suffix(b"\""));
        verify(text == Some(contents.text(row)), row, "the document holds another text")?;
        Ok(1)
    },
};

/// What a path of a document leads to, where that is one thing: `[7]`.
fn found<'a>(replies: &mut Replies<'a>) -> Result<Option<&'a [u8]>> {
    let list = replies.bulk()?;
    Ok(list.and_then(|list| list.strip_prefix(b"[")?.strip_suffix(b"]")))
}

/// Appends the row's document.
pub(super) fn load_json(contents: &Contents, row: u64, out: &mut Vec<u8>) -> u32 {
    command(out, 4);
    argument(out, b"JSON.SET");
    contents.key(out, b"j", row);
    argument(out, b"$");
    let number = Decimal::new(row);
    argument_of(out, &[b"{\"row\":", number.as_bytes(), b",\"count\":0,\"text\":\"", contents.text(row), b"\"}"]);
    1
}

pub(super) const TRANSACTION: Work = Work {
    operation: changes("transaction", "MULTI … EXEC moves 1 between two accounts; their sum is verified"),
    encode: |contents, row, out| {
        command_of(out, &[b"MULTI"]);
        for (account, amount) in [(b"a", b"-1".as_slice()), (b"b", b"1")] {
            command(out, 4);
            argument(out, b"HINCRBY");
            contents.key(out, b"t", row);
            argument(out, account);
            argument(out, amount);
        }
        command_of(out, &[b"EXEC"]);
        4
    },
    check: |_, row, replies| {
        check_ok(row, replies)?;
        for _ in 0..2 {
            verify(replies.status()? == b"QUEUED", row, "a command was not queued")?;
        }
        verify(replies.array()? == 2, row, "the transaction did not take place")?;
        let sum = replies.integer()?.saturating_add(replies.integer()?);
        verify(sum == 2 * BALANCE, row, "the accounts' sum is another than before")?;
        Ok(2)
    },
};

/// Appends what these operations need of a row.
pub(super) fn load(contents: &Contents, row: u64, out: &mut Vec<u8>) -> u32 {
    set(contents, row, out);
    command(out, 6);
    argument(out, b"HSET");
    contents.key(out, b"t", row);
    let balance = Decimal::new(BALANCE.unsigned_abs());
    for account in [b"a", b"b"] {
        argument(out, account);
        argument(out, balance.as_bytes());
    }
    2
}

fn set(contents: &Contents, row: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"*3\r\n$3\r\nSET\r\n");
    contents.key(out, b"s", row);
    contents.argument(out, row);
}

fn get(contents: &Contents, row: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"*2\r\n$3\r\nGET\r\n");
    contents.key(out, b"s", row);
}

/// The rows behind the first, and from the beginning again.
fn pipelined(contents: &Contents, row: u64, pair: u32) -> u64 {
    (row + u64::from(pair)) % contents.rows.rows.max(1)
}

fn check_ok(row: u64, replies: &mut Replies<'_>) -> Result<()> {
    verify(replies.status()? == b"OK", row, "the status is not OK")
}

fn check_value(contents: &Contents, row: u64, replies: &mut Replies<'_>) -> Result<()> {
    match replies.bulk()? {
        Some(found) => verify(contents.matches(found, row), row, "the value is another than was written"),
        None => verify(false, row, "the value is missing"),
    }
}

/// A field's value as a number.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    parse_integer(bytes).ok().and_then(|number| u64::try_from(number).ok())
}
