//! What the operations' rows hold: a pure function of seed, row and size, cheap to make and cheaper to compare.

use store::OperationRows;

use crate::resp::{Decimal, argument_of};

/// A value begins with its row's number, so that no two rows are equal.
const HEADER_BYTES: usize = 16;

/// Where in the pattern a value can begin.
const OFFSETS: usize = 1021;

/// Makes and recognises values.
///
/// A value is the row's number and then a slice of one pattern that all rows share, from an offset of its own. It is
/// lower-case letters and digits, so it needs no escaping anywhere.
pub(crate) struct Contents {
    /// What they were made for.
    pub(crate) rows: OperationRows,
    /// What the keys begin with: `storelab_x:`.
    prefix: Vec<u8>,
    pattern: Vec<u8>,
}

/// A row's number in 16 digits.
fn header(row: u64) -> [u8; HEADER_BYTES] {
    let (mut digits, mut row) = ([b'0'; HEADER_BYTES], row);
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (row % 10) as u8;
        row /= 10;
    }
    digits
}

/// Spreads numbers over 64 bits (the finaliser of `SplitMix64`).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Contents {
    /// For those rows.
    pub(crate) fn new(rows: &OperationRows) -> Self {
        const CHARACTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz012345";
        let length = rows.size.payload_bytes() + OFFSETS;
        let seed = mix(rows.seed);
        let pattern = (0..length as u64).map(|place| CHARACTERS[(mix(seed ^ place) >> 59) as usize]).collect();
        Self { rows: rows.clone(), prefix: format!("{}:", rows.namespace).into_bytes(), pattern }
    }

    /// A row's value in two parts.
    fn parts(&self, row: u64) -> ([u8; HEADER_BYTES], &[u8]) {
        (header(row), &self.pattern[self.offset(row)..][..self.rows.size.payload_bytes() - HEADER_BYTES])
    }

    /// Appends the key of that kind and number as an argument: `storelab_x:s:7`.
    pub(crate) fn key(&self, out: &mut Vec<u8>, kind: &[u8], number: u64) {
        argument_of(out, &[&self.prefix, kind, b":", Decimal::new(number).as_bytes()]);
    }

    /// Appends the key of that kind and row, which a cluster keeps where the other row of its pair is: `storelab_x:m:{3}:7`.
    pub(crate) fn key_in_pair(&self, out: &mut Vec<u8>, kind: &[u8], row: u64) {
        let (pair, row) = (Decimal::new(row / 2), Decimal::new(row));
        argument_of(out, &[&self.prefix, kind, b":{", pair.as_bytes(), b"}:", row.as_bytes()]);
    }

    /// A number that looks random, but is always the same for the row.
    pub(crate) fn random(&self, row: u64) -> u64 {
        mix(row ^ mix(self.rows.seed))
    }

    /// Where the row's part of the pattern begins.
    fn offset(&self, row: u64) -> usize {
        (self.random(row) % OFFSETS as u64) as usize
    }

    /// Appends the row's value as an argument.
    pub(crate) fn argument(&self, out: &mut Vec<u8>, row: u64) {
        let (header, body) = self.parts(row);
        argument_of(out, &[&header, body]);
    }

    /// Whether those bytes are the row's value.
    pub(crate) fn matches(&self, found: &[u8], row: u64) -> bool {
        let (header, body) = self.parts(row);
        found.len() == HEADER_BYTES + body.len() && found[..HEADER_BYTES] == header && found[HEADER_BYTES..] == *body
    }

    /// Text of the row, as long as its value without the number.
    pub(crate) fn text(&self, row: u64) -> &[u8] {
        self.parts(row).1
    }

    /// One of the row's value's four quarters, for rows that have fields.
    pub(crate) fn quarter(&self, row: u64, quarter: usize) -> &[u8] {
        let length = self.rows.size.payload_bytes() / 4;
        &self.pattern[self.offset(row) + quarter * length..][..length]
    }
}

#[cfg(test)]
mod tests {
    use store::{DataSize, Namespace};

    use super::*;

    #[test]
    fn values_are_recognised_and_differ_from_row_to_row() {
        for (_, size) in DataSize::ALL {
            let namespace = Namespace::new("x").expect("valid");
            let contents = Contents::new(&OperationRows { namespace, rows: 10, size, seed: 42 });
            for row in [0, 1, 9_999_999_999_999_999] {
                let mut out = Vec::new();
                contents.argument(&mut out, row);
                let start = out.iter().position(|byte| *byte == b'\n').expect("a length comes first") + 1;
                let value = &out[start..out.len() - 2];
                assert_eq!(value.len(), size.payload_bytes());
                assert!(contents.matches(value, row) && !contents.matches(value, row + 1));
                assert!(!contents.matches(&value[1..], row) && !contents.matches(b"", row));
                assert!(value.iter().all(u8::is_ascii_alphanumeric));
            }
            assert_ne!(contents.quarter(1, 0), contents.quarter(2, 0));
        }
    }
}
