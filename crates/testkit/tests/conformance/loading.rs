//! Making, loading and recognising datasets.

use std::sync::atomic::{AtomicU64, Ordering};

use store::{Capability, DataSize, Dataset, Driver, Fields, LoadPart, LoadState, Request, Session, Store, execute};

use crate::data::{FIELD_COUNT, Source, fields, key};
use crate::lab::{Lab, ask, rows_of};
use crate::sentence::{Sentence, runtime, says};

/// Enough for several batches of every driver's bulk path.
const RECORDS: u64 = 5_000;

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    let mut sentences = vec![
        says("rows_load_in_parallel_parts_and_all_are_counted", rows_in_parts),
        says("loading_goes_from_absent_over_partial_to_loaded", states),
        says("creating_over_an_earlier_load_replaces_it", replace),
        says("another_dataset_of_the_namespace_is_not_taken_for_loaded", another),
    ];
    if driver.capabilities().has(Capability::KeyValue) && !crate::KEEPS_NOTHING.contains(&driver.name()) {
        sentences.extend([
            says("records_load_in_parallel_parts_and_all_are_counted", records_in_parts),
            says("no_records_and_more_parts_than_records_are_fine", few_records),
        ]);
    }
    sentences
}

pub(crate) async fn state(lab: &Lab, dataset: &Dataset) -> LoadState {
    lab.store.load_state(dataset).await.expect("the manifest can be read")
}

/// Loads all parts at the same time, from a thread each; what the progress says then.
pub(crate) fn load_parts(store: &dyn Store, dataset: &Dataset, parts: u64) -> u64 {
    let progress = AtomicU64::new(0);
    let source = Source::of(dataset);
    std::thread::scope(|scope| {
        for index in 0..parts {
            let (progress, source) = (&progress, &source);
            scope.spawn(move || {
                let part = LoadPart { index, of: parts };
                runtime().block_on(store.load(dataset, part, source, progress)).expect("a part can be loaded");
            });
        }
    });
    progress.load(Ordering::Relaxed)
}

async fn records_in_parts(lab: &Lab) {
    let dataset = lab.records(RECORDS);
    lab.store.create(&dataset).await.expect("it can be made");
    assert_eq!(load_parts(lab.store.as_ref(), &dataset, 4), RECORDS);
    lab.store.finish_load(&dataset).await.expect("the load can be finished");
    let mut session = lab.session(Some(&dataset), 1).await;
    for number in (0..RECORDS).step_by(101).chain([RECORDS - 1]) {
        let (count, rows) = ask(session.as_mut(), Request::Read { key: &key(number), fields: Fields::All }).await;
        assert_eq!(count, Ok(1), "record {number}");
        assert!(rows[0].joined() == fields(number, FIELD_COUNT, 10), "record {number}");
    }
    if lab.has(Capability::OrderedScan) {
        assert_eq!(count(session.as_mut()).await, RECORDS, "all records and no other");
    }
}

async fn count(session: &mut dyn Session) -> u64 {
    rows_of(session, Request::Scan { start: "", limit: 1_000_000 }).await
}

async fn rows_in_parts(lab: &Lab) {
    const ROWS: u64 = 600;
    let dataset = lab.rows(ROWS, DataSize::Small);
    lab.store.create(&dataset).await.expect("it can be made");
    assert_eq!(load_parts(lab.store.as_ref(), &dataset, 4), ROWS);
    lab.store.finish_load(&dataset).await.expect("the load can be finished");
    let missing = lab.store.server().await.expect("the server describes itself").operations_missing;
    let mut session = lab.session(Some(&dataset), 1).await;
    for (place, operation) in lab.driver.operations().iter().enumerate() {
        let is_there = !missing.contains_key(operation.name);
        if is_there && matches!(operation.effect, store::Effect::Reads | store::Effect::Changes) {
            for row in (0..ROWS).step_by(37) {
                let request = Request::Operation { operation: place as u16, row };
                let result = execute(session.as_mut(), &request, &mut ()).await;
                result.unwrap_or_else(|error| panic!("{} of row {row}: {error}", operation.name));
            }
        }
    }
}

async fn few_records(lab: &Lab) {
    for records in [0, 1, 3] {
        let dataset = lab.records(records);
        lab.store.create(&dataset).await.expect("it can be made");
        assert_eq!(load_parts(lab.store.as_ref(), &dataset, 5), records);
        lab.store.finish_load(&dataset).await.expect("the load can be finished");
        assert_eq!(state(lab, &dataset).await, LoadState::Loaded(dataset.fingerprint()));
    }
}

async fn states(lab: &Lab) {
    for dataset in [lab.records(40), lab.rows(40, DataSize::Small)] {
        let store = lab.store.as_ref();
        let (source, progress) = (Source::of(&dataset), AtomicU64::new(0));
        assert_eq!(state(lab, &dataset).await, LoadState::Absent);
        store.create(&dataset).await.expect("it can be made");
        assert_eq!(state(lab, &dataset).await, LoadState::Partial, "made");
        for index in 0..2 {
            store.load(&dataset, LoadPart { index, of: 2 }, &source, &progress).await.expect("it can be loaded");
            assert_eq!(state(lab, &dataset).await, LoadState::Partial, "part {index} is there");
        }
        store.finish_load(&dataset).await.expect("the load can be finished");
        assert_eq!(state(lab, &dataset).await, LoadState::Loaded(dataset.fingerprint()));
        let namespace = dataset.namespace();
        let gone = store.clean(Some(namespace)).await.expect("it can be cleaned");
        assert!(!gone.is_empty() && gone.iter().all(|object| object.namespace == namespace.as_str()), "{gone:?}");
        assert_eq!(state(lab, &dataset).await, LoadState::Absent);
        assert!(store.clean(Some(namespace)).await.expect("cleaning nothing is fine").is_empty());
    }
}

async fn replace(lab: &Lab) {
    let Dataset::Records(first) = lab.records_of(60, 2, 10) else { panic!("records were asked for") };
    let mut second = first.clone();
    (second.records, second.field_count, second.field_length) = (20, 4, 30);
    let (first, second) = (Dataset::Records(first), Dataset::Records(second));
    lab.load(&first).await;
    lab.store.create(&second).await.expect("it replaces ours");
    assert_eq!(state(lab, &second).await, LoadState::Partial);
    assert_ne!(state(lab, &first).await, LoadState::Loaded(first.fingerprint()));
    lab.load(&second).await;
    assert_eq!(state(lab, &second).await, LoadState::Loaded(second.fingerprint()));
    if lab.has(Capability::OrderedScan) && !crate::KEEPS_NOTHING.contains(&lab.driver.name()) {
        let mut session = lab.session(Some(&second), 1).await;
        assert_eq!(count(session.as_mut()).await, 20, "nothing of the earlier load is left");
        let (_, rows) = ask(session.as_mut(), Request::Read { key: &key(3), fields: Fields::All }).await;
        assert!(rows[0].joined() == fields(3, 4, 30));
    }
    // Operations in place of records, in the same namespace.
    let Dataset::Operations(mut rows) = lab.rows(10, DataSize::Small) else { panic!("rows were asked for") };
    rows.namespace = first.namespace().clone();
    let rows = Dataset::Operations(rows);
    lab.load(&rows).await;
    assert_eq!(state(lab, &rows).await, LoadState::Loaded(rows.fingerprint()));
    assert_ne!(state(lab, &second).await, LoadState::Loaded(second.fingerprint()));
}

async fn another(lab: &Lab) {
    let Dataset::Operations(rows) = lab.rows(20, DataSize::Small) else { panic!("rows were asked for") };
    let loaded = Dataset::Operations(rows.clone());
    lab.load(&loaded).await;
    let mut others = [rows.clone(), rows.clone(), rows];
    others[0].rows = 21;
    others[1].seed += 1;
    others[2].size = DataSize::Medium;
    for other in others.map(Dataset::Operations) {
        let found = state(lab, &other).await;
        assert_ne!(found, LoadState::Loaded(other.fingerprint()), "it is not what was loaded");
        assert_ne!(found, LoadState::Absent, "something of ours is there");
    }
    assert_eq!(state(lab, &loaded).await, LoadState::Loaded(loaded.fingerprint()));
}
