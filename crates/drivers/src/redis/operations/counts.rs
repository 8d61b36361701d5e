//! Keys that answer a question about many rows at once: bitmaps, counts of distinct elements, maps.

use std::io::Write;

use super::{Work, block, changes, verify};
use crate::redis::contents::Contents;
use crate::redis::operations::BLOCK_ROWS;
use crate::redis::reply::unexpected;
use crate::resp::{Decimal, argument, argument_of, command};

/// How far PFCOUNT may be off. Its standard error is 0.81 % (Redis documentation), so this is over three of them.
const DISTINCT_ERROR_MAX: f64 = 0.03;

/// What Redis takes for the Earth's radius, in metres (`geohash_helper.c`).
const EARTH_RADIUS_METRES: f64 = 6_372_797.560_856;

/// How far around a row its neighbours are searched, in metres: about a tenth of the globe.
const SEARCH_METRES: f64 = 4_000_000.0;

/// Neighbours that are listed.
const NEIGHBOURS: usize = 5;

/// How far a distance may be off, in metres: Redis keeps positions in 52 bits, which is under a metre each.
const DISTANCE_ERROR_METRES: f64 = 5.0;

pub(super) const BITMAP: Work = Work {
    operation: changes("bitmap", "SETBIT, GETBIT of a set and a clear bit, BITCOUNT; all answers are exact"),
    encode: |contents, row, out| {
        let (block, _) = block(contents, row);
        set_bit(contents, row, out);
        for clear in [0, 1] {
            command(out, 3);
            argument(out, b"GETBIT");
            contents.key(out, b"b", block);
            argument(out, Decimal::new(bit(row) + clear).as_bytes());
        }
        command(out, 2);
        argument(out, b"BITCOUNT");
        contents.key(out, b"b", block);
        4
    },
    check: |contents, row, replies| {
        verify(replies.integer()? == 1, row, "the bit had been cleared")?;
        verify(replies.integer()? == 1, row, "the bit is clear")?;
        verify(replies.integer()? == 0, row, "the bit beside it is set")?;
        let rows = block(contents, row).1.cast_signed();
        verify(replies.integer()? == rows, row, "the bitmap has another number of bits set")?;
        Ok(1)
    },
};

pub(super) const HYPERLOGLOG: Work = Work {
    operation: changes("hyperloglog", "PFADD and PFCOUNT, which must be within 3 % of the true count"),
    encode: |contents, row, out| {
        add_distinct(contents, row, out);
        command(out, 2);
        argument(out, b"PFCOUNT");
        contents.key(out, b"p", block(contents, row).0);
        2
    },
    check: |contents, row, replies| {
        replies.integer()?;
        let (counted, rows) = (replies.integer()? as f64, block(contents, row).1 as f64);
        let error_max = (rows * DISTINCT_ERROR_MAX).max(1.0);
        verify((counted - rows).abs() <= error_max, row, "the count is over 3 % off")?;
        Ok(1)
    },
};

pub(super) const GEO: Work = Work {
    operation: changes("geo", "GEOADD and GEOSEARCH of the nearest five; order and distances are verified"),
    encode: |contents, row, out| {
        add_position(contents, row, out);
        command(out, 11);
        argument(out, b"GEOSEARCH");
        contents.key(out, b"g", block(contents, row).0);
        argument(out, b"FROMMEMBER");
        argument(out, Decimal::new(row).as_bytes());
        argument(out, b"BYRADIUS");
        argument(out, Decimal::new(SEARCH_METRES as u64).as_bytes());
        argument(out, b"m");
        argument(out, b"ASC");
        argument(out, b"COUNT");
        argument(out, Decimal::new(NEIGHBOURS as u64).as_bytes());
        argument(out, b"WITHDIST");
        2
    },
    check: |contents, row, replies| {
        replies.integer()?;
        let found = replies.array()?;
        verify((1..=NEIGHBOURS).contains(&found), row, "the search found another number of members")?;
        let here = position(contents, row);
        let mut before = 0.0;
        for place in 0..found {
            replies.array()?;
            let member = super::strings::number(replies.bytes()?).ok_or_else(unexpected)?;
            verify(place > 0 || member == row, row, "the search did not find the member itself first")?;
            verify(member / BLOCK_ROWS == row / BLOCK_ROWS, row, "the search found a stranger")?;
            let text = std::str::from_utf8(replies.bytes()?).ok();
            let away = text.and_then(|text| text.parse::<f64>().ok()).ok_or_else(unexpected)?;
            verify(away >= before && away <= SEARCH_METRES, row, "the neighbours are out of order")?;
            let exact = distance_metres(here, position(contents, member));
            verify((away - exact).abs() <= DISTANCE_ERROR_METRES, row, "a neighbour is at another distance")?;
            before = away;
        }
        Ok(found as u64)
    },
};

/// Appends what these operations need of a row.
pub(super) fn load(contents: &Contents, row: u64, out: &mut Vec<u8>) -> u32 {
    set_bit(contents, row, out);
    add_distinct(contents, row, out);
    add_position(contents, row, out);
    3
}

/// A row has two bits in its block: the first is set, the second stays clear.
fn bit(row: u64) -> u64 {
    row % BLOCK_ROWS * 2
}

fn set_bit(contents: &Contents, row: u64, out: &mut Vec<u8>) {
    command(out, 4);
    argument(out, b"SETBIT");
    contents.key(out, b"b", block(contents, row).0);
    argument(out, Decimal::new(bit(row)).as_bytes());
    argument(out, b"1");
}

fn add_distinct(contents: &Contents, row: u64, out: &mut Vec<u8>) {
    command(out, 3);
    argument(out, b"PFADD");
    contents.key(out, b"p", block(contents, row).0);
    argument_of(out, &[b"visitor:", Decimal::new(contents.random(row)).as_bytes()]);
}

fn add_position(contents: &Contents, row: u64, out: &mut Vec<u8>) {
    let (longitude, latitude) = position(contents, row);
    command(out, 5);
    argument(out, b"GEOADD");
    contents.key(out, b"g", block(contents, row).0);
    decimal_argument(out, longitude);
    decimal_argument(out, latitude);
    argument(out, Decimal::new(row).as_bytes());
}

/// Where a row is, in degrees with six decimals: longitude, and latitude within the 85 degrees that Redis takes.
fn position(contents: &Contents, row: u64) -> (f64, f64) {
    let random = contents.random(row);
    let micro = |bits: u64, range: u64| (bits % range) as f64 / 1e6 - range as f64 / 2e6;
    (micro(random >> 32, 360_000_000), micro(random & u64::from(u32::MAX), 170_000_000))
}

fn decimal_argument(out: &mut Vec<u8>, number: f64) {
    /// `-179.999999` and room to spare.
    const BYTES: usize = 24;
    let mut text = [0; BYTES];
    let mut spare = text.as_mut_slice();
    write!(spare, "{number:.6}").expect("degrees with six decimals have at most eleven characters");
    let left = spare.len();
    argument(out, &text[..BYTES - left]);
}

/// The great-circle distance by the haversine formula, as Redis has it.
fn distance_metres(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (longitude, latitude) = ((to.0 - from.0).to_radians(), (to.1 - from.1).to_radians());
    let (u, v) = ((latitude / 2.0).sin(), (longitude / 2.0).sin());
    let root = (u * u + from.1.to_radians().cos() * to.1.to_radians().cos() * v * v).sqrt();
    2.0 * EARTH_RADIUS_METRES * root.min(1.0).asin()
}
