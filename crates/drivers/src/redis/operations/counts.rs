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

/// A block's members are the places of a city: a row each 500 m, on a square of 32 by 32, and each up to 100 m beside its
/// point both ways. A search looks at a neighbourhood, as applications' do, and not at all that there is.
const CITY_COLUMNS: u64 = 32;
const SPACING_METRES: f64 = 500.0;
const ASTRAY_METRES: f64 = 100.0;

/// How far around a row its neighbours are searched, in metres.
const SEARCH_METRES: f64 = 700.0;

/// Columns and rows of the city within which whatever is found must be: 700 m and twice 100 m are less than two spacings.
const SEARCH_STEPS: u64 = 1;

/// Places that a search can find: those of three columns and three rows.
const CANDIDATES: usize = 9;

/// Neighbours that are listed.
const NEIGHBOURS: usize = 5;

/// How far a distance may be off, in metres: Redis keeps positions in 52 bits, which is under a metre each.
const DISTANCE_ERROR_METRES: f64 = 2.0;

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
    operation: changes(
        "geo",
        "GEOADD, GEOSEARCH of the five nearest within 700 m; that it is they, in order, is verified",
    ),
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
        let (distances, near) = distances_around(contents, row);
        let found = replies.array()?;
        let least = distances[..near].iter().filter(|away| **away < SEARCH_METRES - DISTANCE_ERROR_METRES).count();
        let most = distances[..near].iter().filter(|away| **away <= SEARCH_METRES + DISTANCE_ERROR_METRES).count();
        let bounds = least.min(NEIGHBOURS)..=most.min(NEIGHBOURS);
        verify(bounds.contains(&found), row, "the search found another number of members")?;
        let mut before = 0.0;
        let city = City::of(contents, row / BLOCK_ROWS);
        let here = city.position(contents, row);
        for exact in &distances[..found] {
            replies.array()?;
            let member = super::strings::number(replies.bytes()?).ok_or_else(unexpected)?;
            let is_ours = member / BLOCK_ROWS == row / BLOCK_ROWS && member < contents.rows.rows;
            verify(is_ours, row, "the search found a stranger")?;
            let text = std::str::from_utf8(replies.bytes()?).ok();
            let away = text.and_then(|text| text.parse::<f64>().ok()).ok_or_else(unexpected)?;
            verify(away >= before, row, "the neighbours are out of order")?;
            // The next nearest by our own reckoning, so that nobody is left out.
            verify((away - exact).abs() <= DISTANCE_ERROR_METRES, row, "a nearer neighbour was not found")?;
            let its_own = distance_metres(here, city.position(contents, member));
            verify((away - its_own).abs() <= DISTANCE_ERROR_METRES, row, "a neighbour is at another distance")?;
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
    let (longitude, latitude) = City::of(contents, row / BLOCK_ROWS).position(contents, row);
    command(out, 5);
    argument(out, b"GEOADD");
    contents.key(out, b"g", block(contents, row).0);
    decimal_argument(out, longitude);
    decimal_argument(out, latitude);
    argument(out, Decimal::new(row).as_bytes());
}

/// Where a block's members are.
struct City {
    /// Its south-western corner: longitude and latitude.
    corner: (f64, f64),
    /// Degrees of a metre to the east and to the north.
    degrees: (f64, f64),
}

impl City {
    /// Anywhere that is neither near a pole nor across the line where longitudes begin anew.
    fn of(contents: &Contents, block: u64) -> Self {
        let random = contents.random(!block);
        let micro = |bits: u64, range: u64| (bits % range) as f64 / 1e6 - range as f64 / 2e6;
        let corner = (micro(random >> 32, 350_000_000), micro(random & u64::from(u32::MAX), 120_000_000));
        let north = 1.0 / (EARTH_RADIUS_METRES * 1.0_f64.to_radians());
        Self { corner, degrees: (north / corner.1.to_radians().cos(), north) }
    }

    /// Where a row of the block is, in degrees: longitude and latitude.
    fn position(&self, contents: &Contents, row: u64) -> (f64, f64) {
        let (place, random) = (row % BLOCK_ROWS, contents.random(row));
        let astray = |bits: u64| (bits % 1001) as f64 / 500.0 * ASTRAY_METRES - ASTRAY_METRES;
        let east = (place % CITY_COLUMNS) as f64 * SPACING_METRES + astray(random >> 32);
        let north = (place / CITY_COLUMNS) as f64 * SPACING_METRES + astray(random & u64::from(u32::MAX));
        (self.corner.0 + east * self.degrees.0, self.corner.1 + north * self.degrees.1)
    }
}

/// The distances of all rows that a search around one could find, itself among them, the nearest first, and how many.
fn distances_around(contents: &Contents, row: u64) -> ([f64; CANDIDATES], usize) {
    let (block, rows) = block(contents, row);
    let city = City::of(contents, block);
    let here = city.position(contents, row);
    let (mut distances, mut count) = ([f64::INFINITY; CANDIDATES], 0);
    let place = row % BLOCK_ROWS;
    let around = |at: u64| at.saturating_sub(SEARCH_STEPS)..=at + SEARCH_STEPS;
    for line in around(place / CITY_COLUMNS) {
        for column in around(place % CITY_COLUMNS) {
            let candidate = line * CITY_COLUMNS + column;
            if column < CITY_COLUMNS && candidate < rows {
                distances[count] = distance_metres(here, city.position(contents, block * BLOCK_ROWS + candidate));
                count += 1;
            }
        }
    }
    distances[..count].sort_unstable_by(f64::total_cmp);
    (distances, count)
}

fn decimal_argument(out: &mut Vec<u8>, number: f64) {
    /// `-179.9999999` and room to spare.
    const BYTES: usize = 24;
    let mut text = [0; BYTES];
    let mut spare = text.as_mut_slice();
    write!(spare, "{number:.7}").expect("degrees with seven decimals have at most twelve characters");
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
