//! Documents: commands are written as BSON straight into the buffer that is sent, and answers are read where they lie.
//!
//! See <https://bsonspec.org/spec.html> for the layout.

use ::mongodb::bson::{RawBsonRef, RawDocument};
use store::Error;

/// What commands begin with: one record of YCSB has a little over 1 kB.
const COMMAND_BYTES: usize = 256;

const STRING: u8 = 0x02;
const DOCUMENT: u8 = 0x03;
const ARRAY: u8 = 0x04;
const BINARY: u8 = 0x05;
const BOOLEAN: u8 = 0x08;
const INTEGER_32: u8 = 0x10;
const INTEGER_64: u8 = 0x12;

/// The subtype of binary values that are UUIDs.
const SUBTYPE_UUID: u8 = 4;

/// A whole document, written by `write`.
pub(crate) fn document(write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    document_of(COMMAND_BYTES, write)
}

/// The same with room for about so many bytes.
pub(crate) fn document_of(bytes: usize, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(bytes);
    nest(&mut buffer, |buffer| write(&mut Writer { buffer }));
    buffer
}

/// A length, what is written, and the byte that ends it.
fn nest(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    write(buffer);
    buffer.push(0);
    let length = (buffer.len() - start) as u32;
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Appends the elements of a document. Names are ours and hold no zero byte.
pub(crate) struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn element(&mut self, kind: u8, name: &str) -> &mut Vec<u8> {
        debug_assert!(!name.as_bytes().contains(&0), "a zero byte would end the name");
        self.buffer.push(kind);
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.push(0);
        self.buffer
    }

    /// A text.
    pub(crate) fn text(&mut self, name: &str, text: &str) -> &mut Self {
        put_text(self.element(STRING, name), text.as_bytes());
        self
    }

    /// A text that is written in place.
    pub(crate) fn text_with(&mut self, name: &str, scratch: &mut String, write: impl FnOnce(&mut String)) -> &mut Self {
        scratch.clear();
        write(scratch);
        self.text(name, scratch)
    }

    /// A text of printable ASCII, as values of records are.
    pub(crate) fn ascii(&mut self, name: &str, text: &[u8]) -> &mut Self {
        put_text(self.element(STRING, name), text);
        self
    }

    /// A whole number of 64 bits.
    pub(crate) fn integer(&mut self, name: &str, number: i64) -> &mut Self {
        self.element(INTEGER_64, name).extend_from_slice(&number.to_le_bytes());
        self
    }

    /// A whole number of 32 bits.
    pub(crate) fn small(&mut self, name: &str, number: i32) -> &mut Self {
        self.element(INTEGER_32, name).extend_from_slice(&number.to_le_bytes());
        self
    }

    /// True or false.
    pub(crate) fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        self.element(BOOLEAN, name).push(u8::from(value));
        self
    }

    /// A UUID.
    pub(crate) fn uuid(&mut self, name: &str, uuid: [u8; 16]) -> &mut Self {
        let buffer = self.element(BINARY, name);
        buffer.extend_from_slice(&(uuid.len() as u32).to_le_bytes());
        buffer.push(SUBTYPE_UUID);
        buffer.extend_from_slice(&uuid);
        self
    }

    /// A document within.
    pub(crate) fn document(&mut self, name: &str, write: impl FnOnce(&mut Writer<'_>)) -> &mut Self {
        nest(self.element(DOCUMENT, name), |buffer| write(&mut Writer { buffer }));
        self
    }

    /// A document that has been written before.
    pub(crate) fn written(&mut self, name: &str, document: &[u8]) -> &mut Self {
        self.element(DOCUMENT, name).extend_from_slice(document);
        self
    }

    /// Nothing more follows.
    pub(crate) fn end(&mut self) {
        debug_assert!(!self.buffer.is_empty(), "a length stands before everything");
    }

    /// An array.
    pub(crate) fn array(&mut self, name: &str, write: impl FnOnce(&mut Items<'_>)) -> &mut Self {
        nest(self.element(ARRAY, name), |buffer| write(&mut Items { buffer, count: 0 }));
        self
    }
}

/// Appends the items of an array.
pub(crate) struct Items<'a> {
    buffer: &'a mut Vec<u8>,
    count: u32,
}

impl Items<'_> {
    /// One more document.
    pub(crate) fn document(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        nest(self.item(DOCUMENT), |buffer| write(&mut Writer { buffer }));
    }

    /// Documents that have been written before, one behind the other.
    pub(crate) fn written(&mut self, documents: &[u8], ends: &[usize]) {
        let mut start = 0;
        for end in ends {
            self.item(DOCUMENT).extend_from_slice(&documents[start..*end]);
            start = *end;
        }
    }

    /// An item's name is its place, in decimal digits.
    fn item(&mut self, kind: u8) -> &mut Vec<u8> {
        self.buffer.push(kind);
        let (mut digits, mut rest, mut first) = ([0; 10], self.count, 10);
        loop {
            first -= 1;
            digits[first] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.buffer.extend_from_slice(&digits[first..]);
        self.buffer.push(0);
        self.count += 1;
        self.buffer
    }
}

fn put_text(buffer: &mut Vec<u8>, text: &[u8]) {
    buffer.extend_from_slice(&(text.len() as u32 + 1).to_le_bytes());
    buffer.extend_from_slice(text);
    buffer.push(0);
}

/// Appends a document behind others; what a load collects.
pub(crate) fn append(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    nest(buffer, |buffer| write(&mut Writer { buffer }));
}

/// A value of documents within documents, by its names with dots between.
pub(crate) fn get_path<'a>(document: &'a RawDocument, path: &str) -> Option<RawBsonRef<'a>> {
    let (mut document, mut rest) = (document, path);
    while let Some((name, inner)) = rest.split_once('.') {
        document = document.get(name).ok()??.as_document()?;
        rest = inner;
    }
    document.get(rest).ok()?
}

/// A text of a document.
pub(crate) fn get_text<'a>(document: &'a RawDocument, name: &str) -> Option<&'a str> {
    document.get(name).ok()??.as_str()
}

/// A number, whatever its type, as a whole one. Servers answer counts as any of them.
pub(crate) fn whole(value: RawBsonRef<'_>) -> Option<i64> {
    match value {
        RawBsonRef::Int32(number) => Some(number.into()),
        RawBsonRef::Int64(number) => Some(number),
        RawBsonRef::Double(number) if number.fract() == 0.0 => Some(number as i64),
        _ => None,
    }
}

/// A number, whatever its type.
pub(crate) fn number(value: RawBsonRef<'_>) -> Option<f64> {
    match value {
        RawBsonRef::Double(number) => Some(number),
        other => whole(other).map(|number| number as f64),
    }
}

/// What came is no BSON.
pub(crate) fn malformed() -> Error {
    Error::rejected("the server's answer is not one that MongoDB gives")
        .with_hint("check that the port is a MongoDB server's, and whether it expects TLS (tls=verify)")
}

#[cfg(test)]
mod tests {
    use ::mongodb::bson::{Document, RawDocumentBuf, doc};
    use proptest::prelude::*;

    use super::*;

    fn parsed(bytes: Vec<u8>) -> Document {
        let raw = RawDocumentBuf::from_bytes(bytes).expect("the length is right");
        Document::try_from(&*raw).expect("it is BSON")
    }

    #[test]
    fn every_type_is_read_back_by_the_library() {
        let written = document(|command| {
            command
                .text("text", "ä\0b")
                .ascii("ascii", b"abc")
                .integer("integer", -7)
                .small("small", i32::MIN)
                .boolean("boolean", true)
                .document("document", |inner| {
                    inner.small("one", 1);
                })
                .written("written", &document(|inner| inner.boolean("b", false).end()))
                .array("items", |items| {
                    for place in 0..12 {
                        items.document(|item| item.small("place", place).end());
                    }
                });
        });
        let items: Vec<::mongodb::bson::Bson> = (0..12).map(|place| doc! { "place": place }.into()).collect();
        let expect = doc! {
            "text": "ä\0b", "ascii": "abc", "integer": -7_i64, "small": i32::MIN, "boolean": true,
            "document": { "one": 1 }, "written": { "b": false }, "items": items,
        };
        assert_eq!(parsed(written), expect);
    }

    #[test]
    fn paths_and_numbers_are_found_whatever_their_type() {
        let raw = RawDocumentBuf::try_from(&doc! { "a": { "b c": { "d": 1.0 } }, "n": 3_i64, "s": "x" }).expect("BSON");
        assert_eq!(get_path(&raw, "a.b c.d").and_then(whole), Some(1));
        assert_eq!(get_path(&raw, "n").and_then(number), Some(3.0));
        for absent in ["a.x.d", "s.a", "s", "z"] {
            assert_eq!(get_path(&raw, absent).and_then(whole), None, "{absent}");
        }
    }

    proptest! {
        #[test]
        fn texts_and_numbers_round_trip(key in "\\PC*", value in "[ -~]*", number in any::<i64>()) {
            let written = document(|command| {
                command.text("_id", &key).ascii("value", value.as_bytes()).integer("number", number);
            });
            prop_assert_eq!(parsed(written), doc! { "_id": key, "value": value, "number": number });
        }

        #[test]
        fn anything_can_be_looked_into(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            let length = bytes.len() as u32 + 5;
            bytes.splice(0..0, length.to_le_bytes());
            bytes.push(0);
            if let Ok(raw) = RawDocumentBuf::from_bytes(bytes) {
                for name in ["", "n", "cursor", "ok"] {
                    let _ = get_path(&raw, name);
                    let _ = get_path(&raw, "cursor.firstBatch.a");
                }
                for element in &*raw {
                    let _ = element;
                }
            }
        }
    }
}
