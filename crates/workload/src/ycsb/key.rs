//! The text of keys, made anew for every operation: `user` and a number in decimal.

use crate::distribution::fnv_hash64;

/// What every key begins with.
const PREFIX: &[u8; 4] = b"user";

/// How a record's number becomes the number in its key: YCSB's `insertorder`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyOrder {
    /// The FNV hash, so that neighbouring records lie apart.
    Hashed,
    /// The number itself.
    Ordered,
}

impl KeyOrder {
    /// Bytes that a key can have. The two orders differ in it, so that the fingerprints of their data differ.
    pub(super) const fn key_length_max(self) -> usize {
        match self {
            // Math.abs leaves 63 bits: 19 digits.
            Self::Hashed => PREFIX.len() + 19,
            Self::Ordered => PREFIX.len() + 20,
        }
    }

    /// The key of a record.
    #[inline]
    pub(super) fn key(self, record: u64) -> Key {
        Key::new(match self {
            Self::Hashed => fnv_hash64(record),
            Self::Ordered => record,
        })
    }
}

/// A key's text, at the end of a buffer of a fixed size: it is written from its last digit to its first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    buffer: [u8; Self::BUFFER],
    start: u8,
}

impl Key {
    /// Room for `user` and for digits, 20 at most, written in three words of eight.
    const BUFFER: usize = 32;
    /// Where the first word begins.
    const DIGITS: usize = Self::BUFFER - 24;

    #[inline]
    fn new(number: u64) -> Self {
        /// Eight digits.
        const WORD: u64 = 100_000_000;
        let words = [(number / (WORD * WORD)) as u32, (number / WORD % WORD) as u32, (number % WORD) as u32];
        let mut buffer = [0; Self::BUFFER];
        let mut zeros = 0;
        let mut leading = true;
        for (place, word) in words.into_iter().enumerate() {
            let digits = eight_digits(word);
            let at = Self::DIGITS + 8 * place;
            buffer[at..at + 8].copy_from_slice(&(digits | 0x3030_3030_3030_3030).to_le_bytes());
            if leading {
                zeros += digits.trailing_zeros() as usize / 8;
                leading = digits == 0;
            }
        }
        // 24 digits were written, of which 4 are always zeros; of the number 0 one digit is kept.
        let start = Self::DIGITS + zeros.min(23) - PREFIX.len();
        buffer[start..start + PREFIX.len()].copy_from_slice(PREFIX);
        Self { buffer, start: start as u8 }
    }

    /// The text.
    #[inline]
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("only digits and letters were written")
    }

    /// The text's bytes.
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.buffer[self.start as usize..]
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new(0)
    }
}

/// The decimal digits of a number below 10^8, one a byte, the first in the lowest byte. All pairs are divided at once
/// by multiplication, twice: four digits by 100, two digits by 10.
#[inline]
const fn eight_digits(number: u32) -> u64 {
    let fours = (number / 10_000) as u64 | ((number % 10_000) as u64) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007F_0000_007F;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000F_000F_000F_000F;
    tens | (twos - 10 * tens) << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_ycsb() {
        assert_eq!(KeyOrder::Hashed.key(0).as_str(), "user6284781860667377211");
        assert_eq!(KeyOrder::Ordered.key(0).as_str(), "user0");
        assert_eq!(KeyOrder::Ordered.key(10_020).as_str(), "user10020");
    }

    #[test]
    fn numbers_are_written_in_decimal() {
        let powers = (0..20).map(|power| 10_u64.pow(power));
        let near = powers.flat_map(|power| [power - 1, power, power + 1]);
        let spread = (0..64).map(|shift| u64::MAX >> shift);
        for number in (0..20_000).chain(near).chain(spread) {
            assert_eq!(Key::new(number).as_str(), format!("user{number}"));
        }
        for order in [KeyOrder::Hashed, KeyOrder::Ordered] {
            assert!((0..1_000).all(|record| order.key(record).as_bytes().len() <= order.key_length_max()));
        }
        assert_eq!(Key::new(u64::MAX).as_bytes().len(), KeyOrder::Ordered.key_length_max());
    }
}
