//! The key-value verbs.

use store::{Capability, Dataset, Driver, ErrorKind, Fields, Request, Session, Values};

use crate::data::{FIELD_COUNT, KEY_LENGTH_MAX, fields, key, value};
use crate::lab::{Lab, ask, rows_of};
use crate::sentence::{Sentence, says};

/// Bytes of a field where a test asks for no other length.
const LENGTH: usize = 10;

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    let has = |capability| driver.capabilities().has(capability);
    let mut sentences = Vec::new();
    if has(Capability::KeyValue) {
        sentences.extend([
            says("what_was_loaded_or_inserted_is_read_back", read_back),
            says("an_absent_key_gives_0_rows_and_no_error", absent),
            says("an_update_overwrites_the_named_fields_only", update),
            says("an_update_with_the_same_values_still_found_its_record", update_same),
            says("an_insert_of_an_existing_key_is_rejected_or_overwrites", insert_existing),
            says("a_deleted_record_is_gone_and_can_be_inserted_again", delete),
            says("keys_may_have_every_printable_character", keys),
        ]);
        for length in [1, 100, 1_000, 4_096, 65_536] {
            let name = format!("values_of_{length}_bytes_are_kept");
            sentences.push(says(name, async move |lab: &Lab| values(lab, length).await));
        }
    }
    if has(Capability::OrderedScan) {
        sentences.extend([
            says("a_scan_goes_in_key_order_from_its_start_up_to_its_limit", scan),
            says("a_scan_orders_keys_by_bytes", scan_by_bytes),
        ]);
    }
    sentences
}

fn all(bytes: &[u8], length: usize) -> Values<'_> {
    Values { bytes, length, first: 0 }
}

/// Asserts that a record holds just these fields, read as a whole and one by one.
async fn holds(session: &mut dyn Session, key: &str, expect: &[u8], length: usize) {
    let (count, rows) = ask(session, Request::Read { key, fields: Fields::All }).await;
    assert_eq!((count, rows.len()), (Ok(1), 1), "{key}");
    let expect: Vec<_> = expect.chunks(length).enumerate().collect();
    assert!(rows[0].fields() == expect, "{key} holds other fields than were written");
    for field in expect {
        let (count, rows) = ask(session, Request::Read { key, fields: Fields::One(field.0 as u16) }).await;
        assert_eq!((count, rows.len()), (Ok(1), 1), "{key} field {}", field.0);
        assert!(rows[0].fields() == [field], "{key} field {} holds something else than was written", field.0);
    }
}

async fn read_back(lab: &Lab) {
    let dataset = lab.records(20);
    let mut session = lab.loaded(&dataset).await;
    for number in [0, 7, 19] {
        holds(session.as_mut(), &key(number), &fields(number, FIELD_COUNT, LENGTH), LENGTH).await;
    }
    let bytes = fields(77, FIELD_COUNT, LENGTH);
    assert_eq!(rows_of(session.as_mut(), Request::Insert { key: &key(77), values: all(&bytes, LENGTH) }).await, 1);
    holds(session.as_mut(), &key(77), &bytes, LENGTH).await;
    // What one session has been told is written, another one reads.
    let mut other = lab.session(Some(&dataset), 1).await;
    holds(other.as_mut(), &key(77), &bytes, LENGTH).await;
}

async fn absent(lab: &Lab) {
    let mut session = lab.loaded(&lab.records(5)).await;
    let bytes = fields(9, FIELD_COUNT, LENGTH);
    for absent in ["nobody", "key", "key0000000011", "z"] {
        for request in [
            Request::Read { key: absent, fields: Fields::All },
            Request::Read { key: absent, fields: Fields::One(1) },
            Request::Delete { key: absent },
            Request::Update { key: absent, values: all(&bytes, LENGTH) },
            Request::Update { key: absent, values: Values { bytes: &bytes[..LENGTH], length: LENGTH, first: 1 } },
            Request::Read { key: absent, fields: Fields::All },
        ] {
            if lab.has(Capability::BlindWrites) && !matches!(request, Request::Read { .. }) {
                blind(session.as_mut(), absent, &request).await;
                continue;
            }
            let (count, rows) = ask(session.as_mut(), request).await;
            assert_eq!((count, rows.len()), (Ok(0), 0), "{request:?}");
        }
        if lab.has(Capability::OrderedScan) {
            let found = rows_of(session.as_mut(), Request::Scan { start: "", limit: 100 }).await;
            assert_eq!(found, 5, "an update of an absent key makes no record");
        }
    }
}

/// A write that does not look first: it is done, an update makes a record of just its fields, and the key is absent again.
async fn blind(session: &mut dyn Session, key: &str, request: &Request<'_>) {
    assert_eq!(rows_of(session, *request).await, 1, "{request:?}");
    let (count, rows) = ask(session, Request::Read { key, fields: Fields::All }).await;
    if let Request::Update { values, .. } = request {
        assert_eq!((count, rows.len()), (Ok(1), 1), "{request:?}");
        let is_written = |(field, value): (u16, &[u8])| rows[0].values[&usize::from(field)].bytes() == value;
        assert!(values.iter().all(is_written), "{request:?}");
        assert_eq!(rows_of(session, Request::Delete { key }).await, 1, "{request:?}");
    } else {
        assert_eq!((count, rows.len()), (Ok(0), 0), "{request:?}");
    }
}

async fn update(lab: &Lab) {
    const COUNT: u16 = 5;
    let mut session = lab.loaded(&lab.records_of(5, COUNT, LENGTH)).await;
    let mut expect = fields(3, COUNT, LENGTH);
    for (round, (first, count)) in [(0, 5), (0, 1), (2, 1), (4, 1), (1, 3), (3, 2)].into_iter().enumerate() {
        let bytes = value(round as u64 + 5000, count * LENGTH);
        let values = Values { bytes: &bytes, length: LENGTH, first };
        assert_eq!(rows_of(session.as_mut(), Request::Update { key: &key(3), values }).await, 1);
        let from = usize::from(first) * LENGTH;
        expect[from..from + bytes.len()].copy_from_slice(&bytes);
        holds(session.as_mut(), &key(3), &expect, LENGTH).await;
    }
    for other in [2, 4] {
        holds(session.as_mut(), &key(other), &fields(other, COUNT, LENGTH), LENGTH).await;
    }
}

async fn update_same(lab: &Lab) {
    let mut session = lab.loaded(&lab.records(3)).await;
    let bytes = fields(1, FIELD_COUNT, LENGTH);
    for _ in 0..2 {
        let request = Request::Update { key: &key(1), values: all(&bytes, LENGTH) };
        assert_eq!(rows_of(session.as_mut(), request).await, 1);
    }
}

async fn insert_existing(lab: &Lab) {
    let mut session = lab.loaded(&lab.records(3)).await;
    let bytes = value(4242, usize::from(FIELD_COUNT) * LENGTH);
    let (result, _) = ask(session.as_mut(), Request::Insert { key: &key(1), values: all(&bytes, LENGTH) }).await;
    let old = fields(1, FIELD_COUNT, LENGTH);
    let expect = match result {
        Ok(1) => &bytes,
        Err(ErrorKind::Rejected) => &old,
        other => panic!("neither overwritten nor rejected: {other:?}"),
    };
    holds(session.as_mut(), &key(1), expect, LENGTH).await;
    if lab.has(Capability::OrderedScan) {
        assert_eq!(rows_of(session.as_mut(), Request::Scan { start: "", limit: 100 }).await, 3, "it is there once");
    }
}

async fn delete(lab: &Lab) {
    let mut session = lab.loaded(&lab.records(5)).await;
    let (gone, bytes) = (key(2), fields(2, FIELD_COUNT, LENGTH));
    for round in 0..2 {
        assert_eq!(rows_of(session.as_mut(), Request::Delete { key: &gone }).await, 1, "round {round}");
        let again = rows_of(session.as_mut(), Request::Delete { key: &gone }).await;
        assert!(again == 0 || lab.has(Capability::BlindWrites), "round {round}");
        assert_eq!(ask(session.as_mut(), Request::Read { key: &gone, fields: Fields::All }).await, (Ok(0), vec![]));
        let insert = Request::Insert { key: &gone, values: all(&bytes, LENGTH) };
        assert_eq!(rows_of(session.as_mut(), insert).await, 1, "round {round}");
        holds(session.as_mut(), &gone, &bytes, LENGTH).await;
    }
    for other in [1, 3] {
        holds(session.as_mut(), &key(other), &fields(other, FIELD_COUNT, LENGTH), LENGTH).await;
    }
}

/// Each alone, within a key and at its end, where some stores drop blanks; in both cases of letters, which some confuse.
async fn keys(lab: &Lab) {
    let mut session = lab.loaded(&lab.records(0)).await;
    let mut written: Vec<String> = Vec::new();
    let printable = || (b' '..=b'~').map(char::from);
    let candidates = printable()
        .flat_map(|character| [format!("{character}"), format!("k{character}k"), format!("k{character}")])
        .chain(["k".to_owned(), "k  ".to_owned(), "K".repeat(KEY_LENGTH_MAX), "k".repeat(KEY_LENGTH_MAX)]);
    let candidates: std::collections::BTreeSet<_> = candidates.collect();
    for (number, key) in candidates.iter().enumerate() {
        let bytes = fields(number as u64, FIELD_COUNT, LENGTH);
        let insert = Request::Insert { key, values: all(&bytes, LENGTH) };
        match session.submit(0, &insert) {
            Ok(()) => {
                let result = store::complete(session.as_mut(), &mut ()).await.result;
                assert_eq!(result.unwrap_or_else(|error| panic!("`{key}`: {error}")).rows, 1, "`{key}`");
                written.push(key.clone());
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "`{key}`: {error}"),
        }
    }
    // A store may reserve a first character, no more.
    assert!(written.len() + 4 > candidates.len(), "{} of {} keys are taken", written.len(), candidates.len());
    for (number, key) in candidates.iter().enumerate().filter(|(_, key)| written.contains(key)) {
        holds(session.as_mut(), key, &fields(number as u64, FIELD_COUNT, LENGTH), LENGTH).await;
    }
    if lab.has(Capability::OrderedScan) {
        let (_, rows) = ask(session.as_mut(), Request::Scan { start: "", limit: 1000 }).await;
        let found: Vec<_> = rows.into_iter().map(|row| row.key.expect("a scan shows keys")).collect();
        assert_eq!(found, written, "in the order of their bytes");
    }
    for key in &written {
        assert_eq!(rows_of(session.as_mut(), Request::Delete { key }).await, 1, "`{key}`");
    }
}

async fn values(lab: &Lab, length: usize) {
    let dataset = lab.records_of(3, 2, length);
    let mut session = lab.loaded(&dataset).await;
    for number in 0..3 {
        holds(session.as_mut(), &key(number), &fields(number, 2, length), length).await;
    }
    let (new, bytes) = (key(5), fields(5, 2, length));
    assert_eq!(rows_of(session.as_mut(), Request::Insert { key: &new, values: all(&bytes, length) }).await, 1);
    holds(session.as_mut(), &new, &bytes, length).await;
    let bytes = fields(6, 2, length);
    assert_eq!(rows_of(session.as_mut(), Request::Update { key: &new, values: all(&bytes, length) }).await, 1);
    holds(session.as_mut(), &new, &bytes, length).await;
    if lab.has(Capability::OrderedScan) {
        let (count, rows) = ask(session.as_mut(), Request::Scan { start: &new, limit: 9 }).await;
        assert!(count == Ok(1) && rows[0].joined() == bytes, "a scan reads the same");
    }
}

async fn scan(lab: &Lab) {
    const RECORDS: u64 = 50;
    let dataset = lab.records(RECORDS);
    let mut session = lab.loaded(&dataset).await;
    let Dataset::Records(table) = &dataset else { panic!("records were asked for") };
    let between = format!("{}x", key(20));
    let cases: &[(&str, u32, std::ops::Range<u64>)] = &[
        ("", 5, 0..5),
        ("", 1000, 0..RECORDS),
        ("a", 1, 0..1),
        (&key(0), 3, 0..3),
        (&key(20), 4, 20..24),
        (&between, 4, 21..25),
        (&key(48), 10, 48..50),
        (&key(49), 1, 49..50),
        (&key(RECORDS), 10, 0..0),
        ("z", 10, 0..0),
        (&key(5), 0, 0..0),
    ];
    for (start, limit, expect) in cases {
        let (count, rows) = ask(session.as_mut(), Request::Scan { start, limit: *limit }).await;
        assert_eq!(count, Ok(expect.end - expect.start), "from `{start}`, {limit} at most");
        assert_eq!(rows.len() as u64, expect.end - expect.start, "from `{start}`, {limit} at most");
        for (row, number) in rows.iter().zip(expect.clone()) {
            assert_eq!(row.key, Some(key(number)), "from `{start}`, {limit} at most");
            assert!(row.joined() == fields(number, table.field_count, table.field_length), "{:?}", row.key);
        }
    }
}

async fn scan_by_bytes(lab: &Lab) {
    let mut session = lab.loaded(&lab.records(0)).await;
    let sorted = ["0", "10", "9", "A", "B", "Z", "_", "a", "aB", "ab", "b", "z", "~"];
    for key in sorted.iter().rev() {
        let bytes = fields(1, FIELD_COUNT, LENGTH);
        assert_eq!(rows_of(session.as_mut(), Request::Insert { key, values: all(&bytes, LENGTH) }).await, 1);
    }
    for (position, start) in sorted.iter().enumerate() {
        let (_, rows) = ask(session.as_mut(), Request::Scan { start, limit: 100 }).await;
        let found: Vec<_> = rows.iter().map(|row| row.key.as_deref().expect("a scan shows keys")).collect();
        assert_eq!(found, sorted[position..]);
    }
}
