//! The rows of sysbench's tables: pure functions of the table and the id, so that what is read can be verified.
//!
//! `c` has ten groups of eleven digits and `pad` five, all of them as random as sysbench's, with two differences: the
//! first group of a `c` follows from table and id, also in a `c` that a run writes, and the last one from the nine
//! before it. So every `c` proves by itself that it is whole, and the first groups of a range say which rows it had,
//! whatever their order. The seed of a run has no part in it: data that is there already serves runs of every seed.

use std::array;

use super::draw::special;
use crate::random::{mix64, unit};

/// Digits of a group.
const GROUP: usize = 11;
/// A group and the dash behind it.
const PITCH: usize = GROUP + 1;
/// Groups of a `c`.
const C_GROUPS: usize = 10;
/// Characters of a `c`; its column has one more, `CHAR(120)`, which stores may show as a blank.
pub(super) const C_LENGTH: usize = C_GROUPS * PITCH - 1;
/// What the last group is made from.
const C_BODY: usize = (C_GROUPS - 1) * PITCH;
/// Groups of a `pad`.
const PAD_GROUPS: usize = 5;
/// Characters of a `pad`, whose column is `CHAR(60)`.
pub(super) const PAD_LENGTH: usize = PAD_GROUPS * PITCH - 1;

/// What a number is drawn for: two purposes share no random numbers.
const FOR_C: u64 = 0x6300_0000_0000_0000;
const FOR_PAD: u64 = 0x7000_0000_0000_0000;
const FOR_K: u64 = 0x6B00_0000_0000_0000;

/// All numbers of four digits as text: three look-ups make a group.
static FOUR_DIGITS: [[u8; 4]; 10_000] = {
    let mut table = [[0; 4]; 10_000];
    let mut number = 0;
    while number < table.len() {
        table[number] = [
            b'0' + (number / 1_000) as u8,
            b'0' + (number / 100 % 10) as u8,
            b'0' + (number / 10 % 10) as u8,
            b'0' + (number % 10) as u8,
        ];
        number += 1;
    }
    table
};

/// A group of digits, all alike in probability: the bits are taken for a fraction, whose digits these are.
#[inline]
fn digits(bits: u64) -> [u8; GROUP] {
    let mut fraction = bits;
    let mut next = |count: u64| {
        let product = u128::from(fraction) * u128::from(count);
        fraction = product as u64;
        FOUR_DIGITS[(product >> 64) as usize]
    };
    let (first, second, third) = (next(10_000), next(10_000), next(1_000));
    let mut group = [0; GROUP];
    group[..4].copy_from_slice(&first);
    group[4..8].copy_from_slice(&second);
    group[8..].copy_from_slice(&third[1..]);
    group
}

/// A row, as everything about it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Table and id in one number that looks random.
    binding: u64,
}

impl Row {
    /// The row of that id, in the table of that number from 0.
    #[inline]
    pub(super) fn new(table: u32, id: u64) -> Self {
        Self { binding: mix64(u64::from(table) << 40 | id) }
    }

    /// The loaded `k`, from 1 to `table_size`: drawn as sysbench's `prepare` does with its defaults.
    pub(super) fn k(self, table_size: u64) -> u64 {
        let mut state = self.binding ^ FOR_K;
        let next = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            unit(mix64(state))
        };
        special(table_size, next) + 1
    }

    /// The loaded `c`.
    pub(super) fn c(self) -> [u8; C_LENGTH] {
        self.c_of(self.binding ^ FOR_C)
    }

    /// A `c` for this row that differs from version to version.
    pub(super) fn c_of(self, version: u64) -> [u8; C_LENGTH] {
        let mut c = [b'-'; C_LENGTH];
        c[..GROUP].copy_from_slice(&digits(self.binding));
        for place in 1..C_GROUPS - 1 {
            let start = place * PITCH;
            c[start..start + GROUP].copy_from_slice(&digits(mix64(version.wrapping_add(place as u64))));
        }
        let seal = seal(&c);
        c[C_BODY..].copy_from_slice(&seal);
        c
    }

    /// The loaded `pad`.
    pub(super) fn pad(self) -> [u8; PAD_LENGTH] {
        pad_of(self.binding ^ FOR_PAD)
    }

    /// What [`mark`] gives for every `c` of this row.
    #[inline]
    pub(super) fn mark(self) -> u64 {
        let group = digits(self.binding);
        u64::from_be_bytes(array::from_fn(|place| group[place]))
    }
}

/// A `pad` that differs from version to version.
pub(super) fn pad_of(version: u64) -> [u8; PAD_LENGTH] {
    let mut pad = [b'-'; PAD_LENGTH];
    for place in 0..PAD_GROUPS {
        let start = place * PITCH;
        pad[start..start + GROUP].copy_from_slice(&digits(mix64(version.wrapping_add(place as u64))));
    }
    pad
}

/// The last group of a `c`, which follows from the others.
#[inline]
fn seal(c: &[u8; C_LENGTH]) -> [u8; GROUP] {
    const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;
    let (words, rest) = c[..C_BODY].as_chunks::<8>();
    // Two chains at a time: one would wait for its own multiplication.
    let mut sums = [u64::from_le_bytes([rest[0], rest[1], rest[2], rest[3], 0, 0, 0, 0]), 1];
    for (place, word) in words.iter().enumerate() {
        let sum = &mut sums[place & 1];
        *sum = (*sum ^ u64::from_le_bytes(*word)).wrapping_mul(MULTIPLIER).rotate_left(29);
    }
    digits(mix64(sums[0].wrapping_add(sums[1].rotate_left(32))))
}

/// A text of that length, without the blank that stores may add to a `CHAR`.
#[inline]
pub(super) fn unpadded<const N: usize>(text: &[u8]) -> Option<&[u8; N]> {
    let (body, blanks) = text.split_first_chunk::<N>()?;
    (blanks.is_empty() || blanks == b" ").then_some(body)
}

/// Whether it is a `c` of ours, of any row: no damage to a single byte passes.
#[inline]
pub(super) fn is_whole(c: &[u8; C_LENGTH]) -> bool {
    c[C_BODY..] == seal(c)
}

/// Which row a `c` is of, about, and its place in the order of all `c`: its first eight digits.
#[inline]
pub(super) fn mark(c: &[u8; C_LENGTH]) -> u64 {
    u64::from_be_bytes(array::from_fn(|place| c[place]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_sysbenchs_form() {
        let row = Row::new(1, 7);
        let form = |text: &[u8]| {
            text.iter().enumerate().all(
                |(place, byte)| {
                    if place % PITCH == GROUP { *byte == b'-' } else { byte.is_ascii_digit() }
                },
            )
        };
        assert!(form(&row.c()) && form(&row.pad()) && form(&row.c_of(3)));
        assert_eq!((C_LENGTH, PAD_LENGTH), (119, 59));
        assert_ne!(row.c(), Row::new(2, 7).c());
        assert_ne!(row.c(), Row::new(1, 8).c());
        assert_ne!(row.c_of(1), row.c_of(2));
        assert_eq!(mark(&row.c_of(1)), row.mark());
    }

    #[test]
    fn every_damage_to_one_byte_is_found() {
        for id in 1..50 {
            let c = Row::new(0, id).c();
            assert!(is_whole(&c));
            for place in 0..C_LENGTH {
                for byte in (b'-'..=b'9').filter(|byte| *byte != c[place]) {
                    let mut damaged = c;
                    damaged[place] = byte;
                    assert!(!is_whole(&damaged), "{place}");
                }
            }
        }
    }

    #[test]
    fn blanks_are_taken_for_none() {
        assert_eq!(unpadded::<2>(b"ab"), Some(b"ab"));
        assert_eq!(unpadded::<2>(b"ab "), Some(b"ab"));
        for wrong in [&b"a"[..], b"abc", b"ab  "] {
            assert_eq!(unpadded::<2>(wrong), None);
        }
    }

    #[test]
    fn digits_are_alike_in_probability() {
        let mut counts = [[0_u32; 10]; GROUP];
        for number in 0..20_000 {
            for (place, digit) in digits(mix64(number)).iter().enumerate() {
                counts[place][usize::from(digit - b'0')] += 1;
            }
        }
        assert!(counts.iter().flatten().all(|count| (1_800..2_200).contains(count)), "{counts:?}");
    }
}
