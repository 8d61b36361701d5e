//! Values that prove by themselves that they are what was written: printable, and bound to key and field.
//!
//! A value is a head of 16 characters and a body. The head holds a 48-bit version, chosen by the writer, and 48 bits
//! that follow from version, key and field by a one-to-one function; the body is the piece of a fixed pool of
//! random characters that the version names. Writing is a copy, checking a comparison, and no damage to a single
//! byte passes: another version gives other check bits for certain, and every other byte is compared with what it
//! must be. The value of another key or field passes by accident once in 2^48. Values too short for the head have
//! one content for each key and field.

use std::fmt;
use std::sync::Arc;

use crate::random::mix64;

/// What values consist of: 64 characters that need no escaping in SQL, JSON, CSV or a shell.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// The six bits of each character, 255 for one that is not in the alphabet.
const SIX_BITS: [u8; 256] = {
    let mut table = [u8::MAX; 256];
    let mut place = 0;
    while place < ALPHABET.len() {
        table[ALPHABET[place] as usize] = place as u8;
        place += 1;
    }
    table
};
/// Characters of the version and of the check, each.
const WORD_LENGTH: usize = 8;
const HEAD_LENGTH: usize = 2 * WORD_LENGTH;
/// The bits that eight characters hold.
const WORD_MASK: u64 = (1 << 48) - 1;
/// Bodies begin at this many places of the pool: enough that values do not repeat soon, and it stays in the
/// second-level cache.
const POOL_STARTS: u64 = 1 << 16;

/// The form of a record's fields.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    field_count: u16,
    field_length: usize,
    /// Random characters, the same in every run: data that one run has loaded another must be able to check.
    pool: Arc<[u8]>,
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueFault {
    /// It has another length.
    Length { found: usize },
    /// Its head is no version and check of ours for that key and field.
    Head,
    /// From the head on it is not what the version names.
    Body { position: usize },
    /// It is too short for a head and not what it must be.
    Short,
}

impl fmt::Display for ValueFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { found } => write!(f, "has {found} bytes, which is not the field's length"),
            Self::Head => f.write_str("was never written to that key and field, or is damaged in its first 16 bytes"),
            Self::Body { position } => write!(f, "differs from what was written from byte {position} on"),
            Self::Short => f.write_str("differs from the only content that it can have"),
        }
    }
}

impl Layout {
    /// Of records with so many fields of so many bytes.
    pub(super) fn new(field_count: u16, field_length: usize) -> Self {
        let pool_length = POOL_STARTS as usize + field_length;
        let pool = (0..pool_length as u64)
            .step_by(WORD_LENGTH)
            .flat_map(|place| characters(mix64(place) & WORD_MASK))
            .take(pool_length)
            .collect();
        Self { field_count, field_length, pool }
    }

    /// Fields of a record.
    pub(super) fn field_count(&self) -> u16 {
        self.field_count
    }

    /// Bytes of a field.
    pub(super) fn field_length(&self) -> usize {
        self.field_length
    }

    /// Appends a value. Versions count modulo 2^48.
    pub(super) fn write(&self, key_hash: u64, field: u16, version: u64, bytes: &mut Vec<u8>) {
        let binding = binding(key_hash, field);
        if self.field_length < HEAD_LENGTH {
            bytes.extend((0..self.field_length).map(|position| short(binding, position)));
            return;
        }
        let version = version & WORD_MASK;
        bytes.extend_from_slice(&characters(version));
        bytes.extend_from_slice(&characters(check(version, binding)));
        bytes.extend_from_slice(self.body(version));
    }

    /// Checks a value that was read.
    pub(super) fn verify(&self, key_hash: u64, field: u16, value: &[u8]) -> Result<(), ValueFault> {
        if value.len() != self.field_length {
            return Err(ValueFault::Length { found: value.len() });
        }
        let binding = binding(key_hash, field);
        let Some((head, body)) = value.split_first_chunk::<HEAD_LENGTH>() else {
            let right = value.iter().enumerate().all(|(position, byte)| *byte == short(binding, position));
            return if right { Ok(()) } else { Err(ValueFault::Short) };
        };
        let (version, checked) = head.split_at(WORD_LENGTH);
        let (Some(version), Some(checked)) = (word(version), word(checked)) else {
            return Err(ValueFault::Head);
        };
        if checked != check(version, binding) {
            return Err(ValueFault::Head);
        }
        let expected = self.body(version);
        if body == expected {
            return Ok(());
        }
        let same = body.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
        Err(ValueFault::Body { position: HEAD_LENGTH + same })
    }

    fn body(&self, version: u64) -> &[u8] {
        let start = (version & (POOL_STARTS - 1)) as usize;
        &self.pool[start..start + self.field_length - HEAD_LENGTH]
    }
}

/// A number that stands for a key's text.
pub(super) fn key_hash(key: &[u8]) -> u64 {
    let (words, rest) = key.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let length = key.len() as u64;
    words.iter().chain([&last]).fold(length, |hash, word| {
        (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
    })
}

/// What a value of that key and field is bound to.
fn binding(key_hash: u64, field: u16) -> u64 {
    mix64(key_hash ^ u64::from(field) << 48)
}

/// The check bits: for a given binding a one-to-one function of the version, because each step can be undone.
fn check(version: u64, binding: u64) -> u64 {
    let mut word = (version ^ binding) & WORD_MASK;
    word ^= word >> 23;
    word = word.wrapping_mul(0xD1B5_4A32_D192_ED03) & WORD_MASK;
    word ^= word >> 25;
    word = word.wrapping_mul(0xAEF1_7502_108E_F2D9) & WORD_MASK;
    word ^ word >> 24
}

/// A character of a value that is too short for a head.
fn short(binding: u64, position: usize) -> u8 {
    ALPHABET[(mix64(binding.wrapping_add(position as u64)) & 63) as usize]
}

/// 48 bits as eight characters.
fn characters(word: u64) -> [u8; WORD_LENGTH] {
    std::array::from_fn(|place| ALPHABET[(word >> (6 * place) & 63) as usize])
}

/// Eight characters as 48 bits; none where one is not in the alphabet.
fn word(characters: &[u8]) -> Option<u64> {
    characters.iter().rev().try_fold(0, |word, character| match SIX_BITS[*character as usize] {
        u8::MAX => None,
        bits => Some(word << 6 | u64::from(bits)),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(layout: &Layout, key: &str, field: u16, version: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        layout.write(key_hash(key.as_bytes()), field, version, &mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_passes_and_nothing_else(
            key in "[a-z]{0,20}[0-9]{1,20}", field in 0_u16..100, version: u64, length in 1_usize..300,
            place: prop::sample::Index, damage in 1_u8..=255,
        ) {
            let layout = Layout::new(100, length);
            let value = written(&layout, &key, field, version);
            let hash = key_hash(key.as_bytes());
            prop_assert_eq!(value.len(), length);
            prop_assert!(value.iter().all(u8::is_ascii_graphic));
            prop_assert_eq!(layout.verify(hash, field, &value), Ok(()));
            prop_assert!(layout.verify(hash, field, &value[1..]).is_err());
            let mut damaged = value.clone();
            damaged[place.index(length)] ^= damage;
            prop_assert!(layout.verify(hash, field, &damaged).is_err());
            if length >= HEAD_LENGTH {
                prop_assert_eq!(layout.verify(hash, field + 1, &value), Err(ValueFault::Head));
                prop_assert_eq!(layout.verify(key_hash(b"other"), field, &value), Err(ValueFault::Head));
            }
        }
    }

    #[test]
    fn every_damage_to_one_byte_is_found_and_said_where() {
        let layout = Layout::new(1, 40);
        let hash = key_hash(b"user1");
        let value = written(&layout, "user1", 0, 77);
        for position in 0..value.len() {
            for byte in (0..=255).filter(|byte| *byte != value[position]) {
                let mut damaged = value.clone();
                damaged[position] = byte;
                let expected = if position < HEAD_LENGTH { ValueFault::Head } else { ValueFault::Body { position } };
                assert_eq!(layout.verify(hash, 0, &damaged), Err(expected));
            }
        }
    }

    #[test]
    fn keys_that_differ_little_hash_apart() {
        let mut hashes: Vec<u64> = (0..20_000).map(|n| key_hash(format!("user{n}").as_bytes())).collect();
        hashes.extend([key_hash(b"user1\0"), key_hash(b"user"), key_hash(b"")]);
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }
}
