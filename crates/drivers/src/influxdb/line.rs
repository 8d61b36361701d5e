//! Line protocol (<https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/>), and keys as tags.
//!
//! A tag's value cannot hold line breaks, and a backslash before a comma, a blank or an equals sign, or at its end, does not
//! come back as it was written. So a key is written in an alphabet that needs no escapes anywhere: not in line protocol,
//! not in a Flux text within JSON, not in the predicate of a deletion, not in CSV. The order of bytes stays.

use std::io::Write;

use store::{Error, Result, Values};

/// Characters that need escapes somewhere, and the one before each: both are written as the one before, and a digit.
const PAIRS: [(u8, u8); 4] = [(b'#', b'$'), (b'+', b','), (b'<', b'='), (b'[', b'\\')];

/// The last of the characters that are all written as this and two digits: control characters, the blank, `!` and `"`.
const FIRST_LETTER: char = '!';
const FIRST_CODE_MAX: u8 = b'"';

/// The nanosecond at which every record is.
const RECORD_TIME: &[u8] = b" 0";

/// Appends a key as a tag's value.
///
/// # Errors
/// `Unsupported` for the empty key: there are no empty tags.
pub(crate) fn encode_key(key: &str, tag: &mut String) -> Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if key.is_empty() {
        return Err(Error::unsupported("a record's key is a tag of InfluxDB, which cannot be empty"));
    }
    let is_plain =
        |byte: u8| byte > FIRST_CODE_MAX && !PAIRS.iter().any(|(before, odd)| byte == *before || byte == *odd);
    if key.bytes().all(is_plain) {
        tag.push_str(key);
        return Ok(());
    }
    for character in key.chars() {
        let code = u8::try_from(character).unwrap_or(u8::MAX);
        if code <= FIRST_CODE_MAX {
            let digits = [DIGITS[usize::from(code >> 4)], DIGITS[usize::from(code & 15)]];
            tag.extend([FIRST_LETTER, char::from(digits[0]), char::from(digits[1])]);
        } else if let Some((before, odd)) = PAIRS.iter().find(|(before, odd)| code == *before || code == *odd) {
            tag.extend([char::from(*before), if code == *odd { '1' } else { '0' }]);
        } else {
            tag.push(character);
        }
    }
    Ok(())
}

/// Appends the key that a tag's value was made of. None where it was made of none.
pub(crate) fn decode_key(tag: &str, key: &mut String) -> Option<()> {
    let mut rest = tag.chars();
    while let Some(character) = rest.next() {
        let pair = PAIRS.iter().find(|(before, _)| char::from(*before) == character);
        if character == FIRST_LETTER {
            let code = rest.next()?.to_digit(16)? * 16 + rest.next()?.to_digit(16)?;
            key.push(char::from(u8::try_from(code).ok().filter(|code| *code <= FIRST_CODE_MAX)?));
        } else if let Some((before, odd)) = pair {
            key.push(match rest.next()? {
                '0' => char::from(*before),
                '1' => char::from(*odd),
                _ => return None,
            });
        } else {
            key.push(character);
        }
    }
    Some(())
}

/// Appends fields of a record, whose key is a tag's value already.
pub(crate) fn push_record(line: &mut Vec<u8>, measurement: &str, tag: &str, values: Values<'_>) {
    line.extend_from_slice(measurement.as_bytes());
    line.extend_from_slice(b",id=");
    line.extend_from_slice(tag.as_bytes());
    let mut separator = b' ';
    for (field, value) in values.iter() {
        line.push(separator);
        write!(line, "field{field}").expect("memory takes everything");
        push_text(line, value);
        separator = b',';
    }
    line.extend_from_slice(RECORD_TIME);
    line.push(b'\n');
}

/// Appends `=` and a field's text.
pub(crate) fn push_text(line: &mut Vec<u8>, text: &[u8]) {
    line.extend_from_slice(b"=\"");
    let mut rest = text;
    while let Some(place) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
        line.extend_from_slice(&rest[..place]);
        line.extend_from_slice(&[b'\\', rest[place]]);
        rest = &rest[place + 1..];
    }
    line.extend_from_slice(rest);
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(key: &str) -> String {
        let mut tag = String::new();
        encode_key(key, &mut tag).expect("it is not empty");
        tag
    }

    #[test]
    fn keys_need_no_escapes_and_plain_ones_stay() {
        for (key, tag) in [
            ("user6284781860667377211", "user6284781860667377211"),
            ("k", "k"),
            ("ä€", "ä€"),
            (" a\"", "!20a!22"),
            ("!", "!21"),
            ("#$+,<=[\\", "#0#1+0+1<0<1[0[1"),
            ("a\nb\0", "a!0ab!00"),
        ] {
            assert_eq!(encoded(key), tag, "{key:?}");
        }
        assert_eq!(encode_key("", &mut String::new()).expect_err("empty").kind(), store::ErrorKind::Unsupported);
    }

    #[test]
    fn what_is_no_key_is_noticed() {
        for tag in ["!", "!2", "!zz", "!23", "!ff", "#", "#2", "[", "[ä", "<x", "+"] {
            assert_eq!(decode_key(tag, &mut String::new()), None, "{tag}");
        }
    }

    #[test]
    fn a_record_is_one_line() {
        let mut line = Vec::new();
        let values = Values { bytes: b"ab\"\\ , ", length: 2, first: 1 };
        push_record(&mut line, "usertable", "k", Values { bytes: &values.bytes[..6], ..values });
        assert_eq!(
            String::from_utf8(line).expect("text"),
            "usertable,id=k field1=\"ab\",field2=\"\\\"\\\\\",field3=\" ,\" 0\n"
        );
    }

    proptest! {
        #[test]
        fn keys_come_back(key in "(?s).{1,12}") {
            let mut back = String::new();
            prop_assert_eq!(decode_key(&encoded(&key), &mut back), Some(()));
            prop_assert_eq!(back, key);
        }

        #[test]
        fn keys_keep_their_order(first in "[ -~]{1,4}|(?s).{1,4}", second in "[ -~]{1,4}|(?s).{1,4}") {
            prop_assert_eq!(encoded(&first).cmp(&encoded(&second)), first.cmp(&second));
        }

        #[test]
        fn tags_are_plain_everywhere(key in "[\0-~]{1,8}") {
            let tag = encoded(&key);
            prop_assert!(tag.bytes().all(|byte| byte > b' ' && !b"\"\\,=$".contains(&byte)), "{tag}");
        }

        #[test]
        fn any_tag_gives_a_key_or_none(tag in "(?s).{0,12}") {
            let _ = decode_key(&tag, &mut String::new());
        }

        #[test]
        fn texts_come_back_from_their_escapes(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut line = Vec::new();
            push_text(&mut line, &text);
            let inner = &line[2..line.len() - 1];
            let mut back = Vec::new();
            let mut bytes = inner.iter();
            while let Some(byte) = bytes.next() {
                prop_assert_ne!(*byte, b'"', "the text ends early");
                back.push(if *byte == b'\\' { *bytes.next().expect("an escape has its byte") } else { *byte });
            }
            prop_assert_eq!(back, text);
        }
    }
}
