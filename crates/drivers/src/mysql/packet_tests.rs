//! Answers are found and read however they are cut, and what is none is told.

use proptest::prelude::*;

use super::super::statement::{Answered, Encoding, Row, Statement};
use super::super::value::Binary;
use super::*;

/// The same two columns as the server would define them: a number and a text.
const NUMBER: &[u8] = b"\x03def\x01d\x01t\x01t\x01n\x01n\x0c\x3f\x00\x0b\x00\x00\x00\x08\x00\x00\x00\x00\x00";
const TEXT: &[u8] = b"\x03def\x01d\x01t\x01t\x01x\x01x\x0c\x2d\x00\x0b\x00\x00\x00\xfd\x00\x00\x00\x00\x00";
const DONE: &[u8] = &[OK, 7, 0, 2, 0, 0, 0];
const REFUSED: &[u8] = b"\xff\x2a\x04#42000no";
const OLD_END: &[u8] = &[END, 0, 0, 2, 0];
const NEW_END: &[u8] = &[END, 0, 0, 2, 0, 0, 0];
const NEW_END_WITH_MORE: &[u8] = &[END, 0, 0, 8, 0, 0, 0];

const EVERY_SPOKEN: [Spoken; 3] = [
    Spoken { without_eof: false, known_columns: false },
    Spoken { without_eof: true, known_columns: false },
    Spoken { without_eof: true, known_columns: true },
];

/// Payloads as the answer to a request of one packet.
fn framed<P: AsRef<[u8]>>(payloads: &[P]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sequence = 1;
    for payload in payloads {
        sequence = packet(&mut bytes, sequence, |out| out.extend_from_slice(payload.as_ref()));
    }
    bytes
}

fn framer(asked: Asked, spoken: Spoken) -> Framer {
    let mut framer = Framer::new(spoken);
    framer.begin(asked, 1, false);
    framer
}

/// Answers with what they come to: rows, or none where there is an error in them.
fn answers(spoken: Spoken) -> Vec<(Asked, Vec<u8>, Option<u64>)> {
    let end = if spoken.without_eof { NEW_END } else { OLD_END };
    let eof: &[&[u8]] = if spoken.without_eof { &[] } else { &[OLD_END] };
    let count: &[u8] = if spoken.known_columns { &[2, 1] } else { &[2] };
    let row = b"\x00\x00\x05\0\0\0\0\0\0\0\x02ab".as_slice();
    let result = [&[count, NUMBER, TEXT], eof].concat();
    let prepared = [b"\x00\x09\0\0\0\x02\0\x01\0\0\0\0".as_slice(), TEXT];
    let mut answers = vec![
        (Asked::Result, framed(&[DONE]), Some(7)),
        (Asked::Result, framed(&[REFUSED]), None),
        (Asked::Result, framed(&[result.as_slice(), &[row, row, end]].concat()), Some(2)),
        (Asked::Result, framed(&[result.as_slice(), &[row, REFUSED]].concat()), None),
        (Asked::Result, framed(&[result.as_slice(), &[REFUSED]].concat()), None),
        (Asked::Statement, framed(&[b"\x00\x09\0\0\0\0\0\0\0\0\0\0"]), Some(0)),
        (Asked::Statement, framed(&[prepared.as_slice(), eof, &[NUMBER, TEXT], eof].concat()), Some(0)),
        (Asked::Statement, framed(&[REFUSED]), None),
    ];
    if spoken.without_eof {
        let more = [result.as_slice(), &[row, NEW_END_WITH_MORE], &result, &[row, row, NEW_END_WITH_MORE, DONE]];
        answers.push((Asked::Result, framed(&more.concat()), Some(1)));
    }
    answers
}

/// Reads an answer as a session would.
fn read(
    asked: Asked,
    bytes: &[u8],
    answer: Answer,
    spoken: Spoken,
    encoding: Encoding,
) -> Result<Option<u64>, OutOfStep> {
    if asked == Asked::Statement {
        return Ok(Statement::prepared(bytes, spoken, Binary::Bytes)?.ok().map(|_| 0));
    }
    let (mut columns, mut scratch) = (Vec::new(), String::new());
    let show = |row: Row<'_>| row.values(&mut scratch, |_, _| {});
    let answered = Answered::read(&mut columns, bytes, answer, encoding, spoken, Binary::Bytes, show)?;
    Ok(answered.error.is_none().then_some(answered.rows))
}

#[test]
fn answers_are_found_and_read_however_they_are_cut() {
    for spoken in EVERY_SPOKEN {
        for (asked, bytes, expected) in answers(spoken) {
            for cut in 0..bytes.len() {
                let mut framer = framer(asked, spoken);
                assert_eq!(framer.answer(&bytes[..cut]).expect("in step"), None, "{cut} of {bytes:?}");
                let answer = framer.answer(&bytes).expect("in step").expect("whole");
                assert_eq!(answer, Answer { length: bytes.len(), failed: expected.is_none() }, "{cut} of {bytes:?}");
                assert!(!framer.is_busy());
                assert_eq!(read(asked, &bytes, answer, spoken, Encoding::Binary), Ok(expected), "{bytes:?}");
                // Its own pieces are not enough.
                let cut_short = Answer { length: cut, failed: false };
                let _ = read(asked, &bytes[..cut], cut_short, spoken, Encoding::Binary);
            }
        }
    }
}

#[test]
fn columns_that_are_known_are_not_defined_again() {
    let spoken = Spoken { without_eof: true, known_columns: true };
    let row = b"\x00\x08\x05\0\0\0\0\0\0\0".as_slice();
    let defined = framed(&[&[2, 1][..], NUMBER, TEXT, row, NEW_END]);
    let again = framed(&[&[2, 0][..], row, NEW_END]);
    let (mut columns, mut scratch, mut seen) = (Vec::new(), String::new(), Vec::new());
    for bytes in [defined, again.clone()] {
        let answer = framer(Asked::Result, spoken).answer(&bytes).expect("in step").expect("whole");
        let show = |row: Row<'_>| row.values(&mut scratch, |column, value| seen.push(format!("{column} {value:?}")));
        let answered = Answered::read(&mut columns, &bytes, answer, Encoding::Binary, spoken, Binary::Bytes, show);
        assert_eq!(answered.expect("in step").rows, 1);
    }
    assert_eq!(seen, ["0 Integer(5)", "1 Null", "0 Integer(5)", "1 Null"]);
    let answer = Answer { length: again.len(), failed: false };
    assert_eq!(read(Asked::Result, &again, answer, spoken, Encoding::Binary), Err(OutOfStep), "they never were");
}

#[test]
fn what_cannot_be_an_answer_ends_the_connection() {
    let spoken = EVERY_SPOKEN[1];
    let killed = b"\xff\x87\x07#70100Connection was killed";
    let mut unasked = Vec::new();
    packet(&mut unasked, 0, |out| out.extend_from_slice(killed));
    for (bytes, told) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "out of step"),
        (&framed(&[&b""[..]]), "out of step"),
        (&framed(&[&b"\xfbfile"[..]]), "out of step"),
        (&framed(&[&[1][..], NUMBER, b""]), "out of step"),
        (&framed(&[&[0xfd, 1, 0, 1][..]]), "out of step"),
        (&framed(&[&[OK, 7][..]]), "out of step"),
        (&[framed(&[&[1][..], NUMBER]), framed(&[DONE])].concat(), "out of step"),
        (&unasked, "Connection was killed (error 1927)"),
    ] {
        // Longer than any length in them says, so that nothing is waited for.
        let bytes = [bytes, &[0; 64]].concat();
        let error = framer(Asked::Result, spoken).answer(&bytes).expect_err("no answer");
        assert_eq!(error.kind(), ::store::ErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains(told) && error.hint().is_some(), "{error}");
    }
    let mut framer = Framer::new(spoken);
    framer.begin(Asked::Result, 1, true);
    assert!(framer.answer(&framed(&[DONE])).is_err(), "it was there before the question");
}

#[test]
fn payloads_of_every_length_are_cut_and_joined() {
    for length in [0, 1, PAYLOAD_BYTES_MAX - 1, PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1, 2 * PAYLOAD_BYTES_MAX] {
        let payload: Vec<u8> = (0..length).map(|position| (position % 251) as u8).collect();
        let mut bytes = b"before".to_vec();
        let next = packet(&mut bytes, 255, |out| out.extend_from_slice(&payload));
        let packets = length / PAYLOAD_BYTES_MAX + 1;
        assert_eq!((bytes.len(), next), (6 + length + packets * HEADER_BYTES, (255 + packets) as u8));
        let mut payloads = Payloads(&bytes[6..]);
        assert!(payloads.next().is_some_and(|joined| *joined == *payload), "{length}");
        assert!(payloads.next().is_none(), "{length}");
        assert!(Payloads(&bytes[6..bytes.len() - 1]).next().is_none(), "{length}");
    }
}

#[test]
fn a_row_in_two_packets_is_one() {
    let spoken = EVERY_SPOKEN[1];
    // Begins as the end of rows would.
    let mut row = vec![END];
    row.extend_from_slice(&(PAYLOAD_BYTES_MAX as u64).to_le_bytes());
    row.resize(9 + PAYLOAD_BYTES_MAX, b'x');
    let bytes = framed(&[&[1][..], TEXT, &row, NEW_END]);
    let answer = framer(Asked::Result, spoken).answer(&bytes).expect("in step").expect("whole");
    assert_eq!(answer.length, bytes.len());
    assert_eq!(read(Asked::Result, &bytes, answer, spoken, Encoding::Text), Ok(Some(1)));
}

#[test]
fn lengths_are_read_as_they_were_written() {
    for length in [0, 250, 251, 255, 256, 65_535, 65_536, 0xff_ffff, 0x100_0000] {
        let mut bytes = Vec::new();
        sized(&mut bytes, &vec![1; length]);
        let mut reader = Reader(&bytes);
        assert_eq!(reader.sized().map(<[u8]>::len), Ok(length));
        assert_eq!(reader.0, b"");
        assert_eq!(Reader(&bytes[..bytes.len() - 1]).sized(), Err(OutOfStep));
    }
    assert_eq!(Reader(b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff").sized(), Err(OutOfStep));
}

/// Payloads that look like those of answers.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let fixed = [DONE, REFUSED, OLD_END, NEW_END, NEW_END_WITH_MORE, NUMBER, TEXT, b"\x01", b"\x02\x01", b"\x02\x00"];
    let known = prop::sample::select(fixed.map(<[u8]>::to_vec).to_vec());
    let byte = prop_oneof![Just(0), Just(1), Just(0xfb), Just(0xfe), Just(0xff), any::<u8>()];
    let random = prop::collection::vec(byte, 0..24);
    let cut = (known.clone(), any::<prop::sample::Index>())
        .prop_map(|(payload, at)| payload[..at.index(payload.len())].to_vec());
    prop_oneof![4 => known, 2 => random, 1 => cut]
}

proptest! {
    /// Whatever comes in is an answer, the beginning of one, or a typed error; and it is read without a panic.
    #[test]
    fn arbitrary_bytes_are_survived(
        payloads in prop::collection::vec(payload(), 0..8),
        noise in prop::collection::vec(any::<u8>(), 0..32),
        spoken in prop::sample::select(EVERY_SPOKEN.to_vec()),
        asked in prop::sample::select(vec![Asked::Statement, Asked::Result]),
        encoding in prop::sample::select(vec![Encoding::Binary, Encoding::Text]),
    ) {
        let bytes = [framed(&payloads), noise].concat();
        let mut framer = framer(asked, spoken);
        match framer.answer(&bytes) {
            Ok(Some(answer)) => {
                prop_assert!(answer.length <= bytes.len());
                let _ = read(asked, &bytes[..answer.length], answer, spoken, encoding);
            }
            Ok(None) => prop_assert!(framer.is_busy()),
            Err(error) => prop_assert_eq!(error.kind(), ::store::ErrorKind::Unreachable),
        }
        let failed = Answer { length: bytes.len(), failed: false };
        let _ = read(asked, &bytes, failed, spoken, encoding);
    }
}
