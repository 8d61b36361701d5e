//! Any sequence of key-value verbs gives what the `memory` driver gives.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use store::{
    Capability, Completion, Dataset, Driver, ErrorKind, Fields, Request, Session, SessionSpec, Store, Values, complete,
};

use crate::data::{Row, Seen, value};
use crate::lab::{Lab, ask, connect, load};
use crate::sentence::{Sentence, runtime, says};

/// Keys are few, so that verbs meet.
const KEYS: u8 = 6;
const COUNT: u16 = 3;
const LENGTH: usize = 4;

/// Sequences tried and their length: seconds on the slowest store.
const CASES: u32 = 40;
const VERBS_MAX: usize = 40;

/// Requests that are in flight at the same time.
const DEPTH: usize = 4;

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    let has = |capability| driver.capabilities().has(capability);
    let mut sentences = Vec::new();
    if has(Capability::KeyValue) && has(Capability::OrderedScan) {
        sentences.push(says("verbs_give_what_the_model_gives", async |lab: &Lab| check(lab, 1).await));
        if has(Capability::Pipelining) {
            sentences.push(says("verbs_in_flight_together_give_what_the_model_gives", async |lab: &Lab| {
                check(lab, DEPTH).await;
            }));
        }
    }
    sentences
}

#[derive(Debug, Clone)]
enum Verb {
    Read(u8),
    ReadOne(u8, u16),
    Scan(u8, u32),
    Insert(u8, u64),
    Update(u8, u64, u16, u16),
    Delete(u8),
}

impl Verb {
    fn key(&self) -> u8 {
        match self {
            Self::Read(key)
            | Self::ReadOne(key, _)
            | Self::Scan(key, _)
            | Self::Insert(key, _)
            | Self::Update(key, ..)
            | Self::Delete(key) => *key,
        }
    }
}

fn verb() -> impl Strategy<Value = Verb> {
    let key = 0..KEYS;
    prop_oneof![
        2 => key.clone().prop_map(Verb::Read),
        1 => (key.clone(), 0..COUNT).prop_map(|(key, field)| Verb::ReadOne(key, field)),
        2 => (0..=KEYS, 0..8_u32).prop_map(|(key, limit)| Verb::Scan(key, limit)),
        4 => (key.clone(), any::<u64>()).prop_map(|(key, seed)| Verb::Insert(key, seed)),
        3 => (key.clone(), any::<u64>(), 0..COUNT, 1..=COUNT)
            .prop_map(|(key, seed, first, count)| Verb::Update(key, seed, first, count.min(COUNT - first))),
        2 => key.prop_map(Verb::Delete),
    ]
}

fn name(key: u8) -> String {
    format!("k{key}")
}

/// What came of a verb, so that two stores can be compared: rows or the error's kind, and what was shown.
type Answer = (Result<u64, ErrorKind>, Vec<(Option<String>, Vec<u8>)>);

fn answer(result: Result<u64, ErrorKind>, rows: &[Row], is_scan: bool) -> Answer {
    // Only a scan must tell the keys.
    let shown = rows.iter().map(|row| (row.key.clone().filter(|_| is_scan), row.joined()));
    (result, shown.collect())
}

async fn check(lab: &Lab, depth: usize) {
    let dataset = lab.records_of(0, COUNT, LENGTH);
    lab.load(&dataset).await;
    let (store, is_blind) = (Arc::clone(&lab.store), lab.has(Capability::BlindWrites));
    // The runner of properties is no future, so it gets a thread where it can wait.
    let trial = std::thread::spawn(move || try_all(store.as_ref(), &dataset, depth, is_blind));
    if let Err(panic) = trial.join() {
        std::panic::resume_unwind(panic);
    }
}

fn try_all(store: &dyn Store, dataset: &Dataset, depth: usize, is_blind: bool) {
    let runtime = runtime();
    let (tried, model) = runtime.block_on(async {
        let memory = connect("memory:").await.expect("it is always there");
        load(memory.as_ref(), dataset).await.expect("it takes everything");
        let tried =
            store.session(SessionSpec { dataset: Some(dataset), depth }).await.expect("a session can be opened");
        let model = memory.session(SessionSpec { dataset: Some(dataset), depth: 1 }).await.expect("always possible");
        (RefCell::new(tried), RefCell::new(model))
    });
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&proptest::collection::vec(verb(), 1..VERBS_MAX), |verbs| {
        runtime.block_on(compare(tried.borrow_mut().as_mut(), model.borrow_mut().as_mut(), &verbs, depth, is_blind))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

async fn compare(
    tried: &mut dyn Session,
    model: &mut dyn Session,
    verbs: &[Verb],
    depth: usize,
    is_blind: bool,
) -> Result<(), TestCaseError> {
    for key in 0..KEYS {
        let key = name(key);
        for gone in [ask(tried, Request::Delete { key: &key }).await, ask(model, Request::Delete { key: &key }).await] {
            assert!(gone.0.is_ok(), "deleting is fine, there or not: {gone:?}");
        }
    }
    for batch in batches(verbs, depth) {
        let found = together(tried, batch).await;
        for (verb, found) in batch.iter().zip(found) {
            let mut expect = together(model, std::slice::from_ref(verb)).await.remove(0);
            if let (Verb::Insert(key, _), Err(ErrorKind::Rejected), Ok(1)) = (verb, &expect.0, &found.0) {
                // The contract lets a store overwrite where it cannot tell at no extra cost.
                together(model, &[Verb::Delete(*key)]).await;
                expect = together(model, std::slice::from_ref(verb)).await.remove(0);
            }
            if is_blind && let (Verb::Update(key, ..) | Verb::Delete(key), Ok(0), Ok(1)) = (verb, &expect.0, &found.0) {
                // It did not look whether there was anything; what it made is not in the model.
                together(tried, &[Verb::Delete(*key)]).await;
                expect.0 = Ok(1);
            }
            prop_assert_eq!(&found, &expect, "{:?} of {:?}", verb, batch);
        }
    }
    Ok(())
}

/// Verbs that may be in flight together with one outcome only: about different keys, and no scans beside others.
fn batches(verbs: &[Verb], depth: usize) -> impl Iterator<Item = &[Verb]> {
    let mut rest = verbs;
    std::iter::from_fn(move || {
        let is_scan = |verb: &Verb| matches!(verb, Verb::Scan(..));
        let mut length = usize::from(!rest.is_empty());
        while length > 0 && length < depth.min(rest.len()) {
            let next = &rest[length];
            if is_scan(next) || is_scan(&rest[0]) || rest[..length].iter().any(|verb| verb.key() == next.key()) {
                break;
            }
            length += 1;
        }
        let (batch, left) = rest.split_at(length);
        rest = left;
        (!batch.is_empty()).then_some(batch)
    })
}

/// Submits all, then awaits all; the answers in the order of the verbs.
async fn together(session: &mut dyn Session, verbs: &[Verb]) -> Vec<Answer> {
    for (token, verb) in verbs.iter().enumerate() {
        submit(session, token as u32, verb);
    }
    let mut answers = BTreeMap::new();
    for _ in verbs {
        let mut seen = Seen::default();
        let Completion { token, result } = complete(session, &mut seen).await;
        let result = result.map(|outcome| outcome.rows).map_err(|error| error.kind());
        assert!(seen.begun.iter().all(|begun| *begun == token), "rows come with their own completion");
        let is_scan = matches!(verbs[token as usize], Verb::Scan(..));
        assert!(answers.insert(token, answer(result, &seen.rows, is_scan)).is_none(), "a token completes once");
    }
    answers.into_values().collect()
}

fn submit(session: &mut dyn Session, token: u32, verb: &Verb) {
    let key = name(verb.key());
    let bytes = match verb {
        Verb::Insert(_, seed) => value(*seed, usize::from(COUNT) * LENGTH),
        Verb::Update(_, seed, _, count) => value(*seed, usize::from(*count) * LENGTH),
        _ => Vec::new(),
    };
    let values = |first| Values { bytes: &bytes, length: LENGTH, first };
    let request = match *verb {
        Verb::Read(_) => Request::Read { key: &key, fields: Fields::All },
        Verb::ReadOne(_, field) => Request::Read { key: &key, fields: Fields::One(field) },
        Verb::Scan(_, limit) => Request::Scan { start: &key, limit },
        Verb::Insert(..) => Request::Insert { key: &key, values: values(0) },
        Verb::Update(_, _, first, _) => Request::Update { key: &key, values: values(first) },
        Verb::Delete(_) => Request::Delete { key: &key },
    };
    session.submit(token, &request).expect("below the depth");
}
