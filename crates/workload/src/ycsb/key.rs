//! The text of keys: `user` and a number in decimal.

use std::sync::Arc;

use crate::distribution::fnv_hash64;

/// What every key begins with.
const PREFIX: &str = "user";

/// The keys of so many records, the first ones, are made once and then copied, which costs a third of hashing and
/// formatting them: 1.8 MB at most, so that they come from a cache.
const KNOWN_MAX: u64 = 1 << 16;

/// How a record's number becomes the number in its key: YCSB's `insertorder`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyOrder {
    /// The FNV hash, so that neighbouring records lie apart.
    Hashed,
    /// The number itself.
    Ordered,
}

/// Writes keys. Clones share what they know.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    order: KeyOrder,
    known: Arc<Known>,
}

/// Keys one behind the other.
#[derive(Debug, Default)]
struct Known {
    text: String,
    /// Where each key ends, behind a zero.
    ends: Vec<u32>,
}

impl Keys {
    /// For records in that order, of which so many are loaded.
    pub(super) fn new(order: KeyOrder, records: u64) -> Self {
        let unknowing = Self { order, known: Arc::default() };
        let mut known = Known { text: String::new(), ends: vec![0] };
        let mut key = String::new();
        for record in 0..records.min(KNOWN_MAX) {
            unknowing.write(record, &mut key);
            known.text.push_str(&key);
            known.ends.push(known.text.len() as u32);
        }
        Self { order, known: Arc::new(known) }
    }

    /// Bytes that a key can have. The two orders differ in it, so that the fingerprints of their data differ.
    pub(super) const fn length_max(&self) -> usize {
        match self.order {
            // Math.abs leaves 63 bits: 19 digits.
            KeyOrder::Hashed => PREFIX.len() + 19,
            KeyOrder::Ordered => PREFIX.len() + 20,
        }
    }

    /// Writes the key of a record over the text.
    #[inline]
    pub(super) fn write(&self, record: u64, text: &mut String) {
        text.clear();
        if let Some([start, end, ..]) = self.known.ends.get(record as usize..) {
            text.push_str(&self.known.text[*start as usize..*end as usize]);
        } else {
            text.push_str(PREFIX);
            text.push_str(itoa::Buffer::new().format(match self.order {
                KeyOrder::Hashed => fnv_hash64(record),
                KeyOrder::Ordered => record,
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_ycsb_known_or_not() {
        let mut text = String::new();
        for order in [KeyOrder::Hashed, KeyOrder::Ordered] {
            let keys = Keys::new(order, 500);
            for record in (0..1_000).chain([u64::from(u32::MAX), u64::MAX]) {
                keys.write(record, &mut text);
                let number = if order == KeyOrder::Hashed { fnv_hash64(record) } else { record };
                assert_eq!(text, format!("user{number}"));
                assert!(text.len() <= keys.length_max());
            }
        }
        Keys::new(KeyOrder::Hashed, 1).write(0, &mut text);
        assert_eq!(text, "user6284781860667377211");
    }
}
