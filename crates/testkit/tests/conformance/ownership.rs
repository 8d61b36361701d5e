//! Only what is ours is touched, and nothing of ours stays.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::task::Poll;

use libtest_mimic::Completion;
use store::{
    DataSize, Dataset, Driver, ErrorKind, LoadPart, LoadState, Namespace, OwnedObject, Request, Store, execute,
};
use tokio::task::yield_now;

use crate::catalogue::{assert_same, fingerprint, in_dialect, populate};
use crate::data::Source;
use crate::lab::{Lab, TABLE};
use crate::raw::{Raw, has_other_way_in};
use crate::sentence::{Sentence, may_skip, says};

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    let mut sentences = vec![
        says("the_manifest_lists_what_was_made_and_goes_with_its_last_entry", manifest).alone(),
        says("cleaning_one_namespace_leaves_the_others", one_of_several).alone(),
        says("cleaning_nothing_is_fine", nothing).alone(),
        says("the_manifest_is_listed_while_others_make_and_drop_it", changing).alone(),
    ];
    if has_other_way_in(driver) {
        sentences.extend([
            says("users_data_is_the_same_after_everything", everything).alone(),
            says("users_data_is_the_same_after_interrupted_loads", interrupted_loads).alone(),
            says("users_data_is_the_same_after_interrupted_creates", interrupted_creates).alone(),
            says("a_foreign_object_of_our_name_is_refused_and_untouched", foreign_object).alone(),
            says("a_foreign_manifest_is_refused_and_untouched", foreign_manifest).alone(),
        ]);
    } else {
        sentences.push(may_skip("users_data_is_the_same_after_everything", async |_: &Lab| {
            Completion::ignored_with("there is no way in past the driver's verbs")
        }));
    }
    sentences
}

async fn owned(lab: &Lab) -> Vec<OwnedObject> {
    lab.store.owned().await.expect("the manifest can be read")
}

async fn manifest(lab: &Lab) {
    assert!(owned(lab).await.is_empty(), "at first nothing is ours");
    let (records, rows) = (lab.records(10), lab.rows(10, DataSize::Small));
    for dataset in [&records, &rows] {
        lab.store.create(dataset).await.expect("it can be made");
        let namespace = dataset.namespace();
        let made = owned(lab).await;
        let ours: Vec<_> = made.iter().filter(|object| object.namespace == namespace.as_str()).collect();
        assert!(!ours.is_empty(), "what is made is listed before the load");
        assert!(ours.iter().all(|object| object.name.starts_with(namespace.as_str())), "{ours:?}");
        assert!(ours.iter().all(|object| !object.kind.is_empty()), "{ours:?}");
        lab.load(dataset).await;
    }
    let mut listed = owned(lab).await;
    let mut gone = lab.store.clean(None).await.expect("all can be cleaned");
    for list in [&mut listed, &mut gone] {
        list.sort_by(|first, second| first.name.cmp(&second.name));
    }
    assert_eq!(gone, listed, "cleaning says what it dropped");
    assert!(owned(lab).await.is_empty());
    for dataset in [&records, &rows] {
        assert_eq!(lab.store.load_state(dataset).await.expect("known"), LoadState::Absent);
    }
}

async fn one_of_several(lab: &Lab) {
    let datasets = [lab.records(10), lab.rows(10, DataSize::Small), lab.records(10)];
    for dataset in &datasets {
        lab.load(dataset).await;
    }
    lab.store.clean(Some(datasets[1].namespace())).await.expect("it can be cleaned");
    for (dataset, stays) in datasets.iter().zip([true, false, true]) {
        let expect = if stays { LoadState::Loaded(dataset.fingerprint()) } else { LoadState::Absent };
        assert_eq!(lab.store.load_state(dataset).await.expect("known"), expect);
    }
    // A name that begins like another is another.
    let longer = Namespace::new(&format!("{}0", &datasets[0].namespace().as_str()["storelab_".len()..]));
    let gone = lab.store.clean(Some(&longer.expect("short"))).await.expect("cleaning nothing is fine");
    assert!(gone.is_empty(), "{gone:?}");
    assert!(owned(lab).await.iter().any(|object| object.namespace == datasets[0].namespace().as_str()));
}

async fn nothing(lab: &Lab) {
    assert!(lab.store.clean(None).await.expect("fine").is_empty());
    assert!(lab.store.clean(Some(&lab.namespace())).await.expect("fine").is_empty());
    assert!(owned(lab).await.is_empty());
}

/// What several make and drop at once is listed while it is there. The manifest, which goes with its last entry and comes
/// with the next one, is seen as it was or as it is, and never as foreign.
async fn changing(lab: &Lab) {
    const ROUNDS: usize = 3;
    let datasets = [lab.records(1), lab.records(1), lab.records(1)];
    let going_on = Cell::new(datasets.len());
    let others = async |dataset: &Dataset| {
        let namespace = dataset.namespace();
        let is_ours = |object: &OwnedObject| object.namespace == namespace.as_str();
        for _ in 0..ROUNDS {
            lab.store.create(dataset).await.expect("it can be made");
            assert!(owned(lab).await.iter().any(is_ours), "what is there is listed");
            let gone = lab.store.clean(Some(namespace)).await.expect("it can be cleaned");
            assert!(gone.iter().any(is_ours), "it is dropped: {gone:?}");
            assert!(!owned(lab).await.iter().any(is_ours), "what is gone is not listed");
        }
        going_on.set(going_on.get() - 1);
    };
    let lists = async {
        while going_on.get() > 0 {
            let is_ours =
                |object: &OwnedObject| datasets.iter().any(|dataset| dataset.namespace().as_str() == object.namespace);
            assert!(owned(lab).await.iter().all(is_ours), "nothing else is there");
            lab.store.load_state(&datasets[0]).await.expect("known");
            yield_now().await;
        }
    };
    tokio::join!(others(&datasets[0]), others(&datasets[1]), others(&datasets[2]), lists);
    assert!(owned(lab).await.is_empty());
}

/// Users' objects and what all looked like before Storelab came.
pub(crate) async fn with_users(lab: &Lab) -> (Raw, Vec<String>) {
    let mut raw = lab.raw().await.expect("there is another way in");
    populate(lab, &mut raw).await;
    let before = fingerprint(lab, &mut raw).await;
    assert!(before.len() > 8, "users have something: {before:?}");
    (raw, before)
}

async fn everything(lab: &Lab) {
    let (mut raw, before) = with_users(lab).await;
    for round in 0..2 {
        let (records, rows) = (lab.records(100), lab.rows(50, DataSize::Medium));
        lab.load(&records).await;
        lab.load(&rows).await;
        assert_ne!(fingerprint(lab, &mut raw).await, before, "what is ours can be seen");
        work(lab, &rows).await;
        if round == 0 {
            lab.store.clean(None).await.expect("all can be cleaned");
        } else {
            for dataset in [&records, &rows] {
                lab.store.clean(Some(dataset.namespace())).await.expect("it can be cleaned");
            }
        }
        assert_same(&before, &fingerprint(lab, &mut raw).await, "after everything");
    }
}

/// Every operation that this server has, on every row.
async fn work(lab: &Lab, rows: &Dataset) {
    let missing = lab.store.server().await.expect("the server describes itself").operations_missing;
    let mut session = lab.session(Some(rows), 1).await;
    for (place, operation) in lab.driver.operations().iter().enumerate() {
        for row in 0..rows.rows() {
            if !missing.contains_key(operation.name) {
                let row = if operation.effect == store::Effect::Adds { row + rows.rows() } else { row };
                let request = Request::Operation { operation: place as u16, row };
                // A row that another operation removed cannot be read; this test is not about that.
                let _ = execute(session.as_mut(), &request, &mut ()).await;
            }
        }
    }
}

/// Polls a future so often, and then drops it. Whether it had ended.
async fn abandon<T>(future: impl Future<Output = T>, polls: usize) -> bool {
    let mut future = pin!(future);
    let mut polled = 0;
    let outcome = tokio::time::timeout(
        // It is woken for every poll but perhaps the last, by a store that is busy not at once.
        std::time::Duration::from_secs(5),
        poll_fn(|context| {
            if polled == polls {
                return Poll::Ready(false);
            }
            polled += 1;
            match future.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if polled == polls => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        }),
    );
    outcome.await.unwrap_or(false)
}

async fn interrupted_loads(lab: &Lab) {
    let (mut raw, before) = with_users(lab).await;
    for polls in [1, 2, 3, 5, 8] {
        for dataset in [lab.records(20_000), lab.rows(2_000, DataSize::Small)] {
            lab.store.create(&dataset).await.expect("it can be made");
            let (source, progress) = (Source::of(&dataset), AtomicU64::new(0));
            let whole = lab.store.load(&dataset, LoadPart { index: 0, of: 10 }, &source, &progress);
            whole.await.expect("a part can be loaded");
            let cut = lab.store.load(&dataset, LoadPart { index: 1, of: 2 }, &source, &progress);
            abandon(cut, polls).await;
            assert_eq!(lab.store.load_state(&dataset).await.expect("known"), LoadState::Partial, "after {polls} polls");
            lab.store.clean(Some(dataset.namespace())).await.expect("it can be cleaned");
            settled(lab, &mut raw, &before, &format!("a load dropped after {polls} polls")).await;
        }
    }
}

async fn interrupted_creates(lab: &Lab) {
    let (mut raw, before) = with_users(lab).await;
    let mut polls = 1;
    loop {
        let dataset = lab.rows(10, DataSize::Small);
        let ended = abandon(lab.store.create(&dataset), polls).await;
        let state = lab.store.load_state(&dataset).await.expect("known");
        assert!(matches!(state, LoadState::Absent | LoadState::Partial), "{state:?} after {polls} polls");
        lab.store.clean(None).await.expect("it can be cleaned");
        settled(lab, &mut raw, &before, &format!("making it was dropped after {polls} polls")).await;
        if ended {
            return;
        }
        polls += 1 + polls / 3;
    }
}

/// A server may still be at work on what a connection had sent before it was dropped; then cleaning again must do.
async fn settled(lab: &Lab, raw: &mut Raw, before: &[String], when: &str) {
    const ATTEMPTS: usize = 40;
    for _ in 0..ATTEMPTS {
        let after = fingerprint(lab, raw).await;
        let is_listed = !owned(lab).await.is_empty();
        if after == before && !is_listed {
            return;
        }
        assert!(is_listed || after == before, "{when}: something of ours is not in the manifest any more: {after:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        lab.store.clean(None).await.expect("it can be cleaned");
    }
    assert_same(before, &fingerprint(lab, raw).await, when);
}

async fn refused(lab: &Lab, raw: &mut Raw, dataset: &Dataset) {
    let before = fingerprint(lab, raw).await;
    let error = lab.store.create(dataset).await.expect_err("the name is somebody else's");
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("storelab_") && error.hint().is_some(), "{error} {:?}", error.hint());
    assert_same(&before, &fingerprint(lab, raw).await, "after the refusal");
}

async fn foreign_object(lab: &Lab) {
    let mut raw = lab.raw().await.expect("there is another way in");
    let (records, rows) = (lab.records(10), lab.rows(10, DataSize::Small));
    match &mut raw {
        Raw::Redis(commands) => {
            for dataset in [&records, &rows] {
                commands.ask(&["SET", &format!("{}:mine", dataset.namespace()), "not ours"]);
            }
        }
        Raw::Side(side) => {
            for dataset in [&records, &rows] {
                side.occupy(dataset).await;
            }
        }
        Raw::Sql(_) => {
            for name in [records.namespace().object(TABLE), rows.namespace().object("items")] {
                let text = format!("CREATE TABLE {name} (mine {{integer}} NOT NULL PRIMARY KEY)");
                raw.sql(&in_dialect(lab.driver.name(), &text)).await;
                raw.sql(&format!("INSERT INTO {name} VALUES (7)")).await;
            }
        }
    }
    let before = fingerprint(lab, &mut raw).await;
    for dataset in [&records, &rows] {
        refused(lab, &mut raw, dataset).await;
        lab.store.clean(Some(dataset.namespace())).await.expect("cleaning nothing is fine");
        assert_eq!(lab.store.load_state(dataset).await.expect("known"), LoadState::Absent);
    }
    // Also where there is a manifest, with other things of ours in it.
    let other = lab.rows(10, DataSize::Small);
    lab.load(&other).await;
    for dataset in [&records, &rows] {
        refused(lab, &mut raw, dataset).await;
    }
    lab.store.clean(None).await.expect("ours can be cleaned");
    assert_same(&before, &fingerprint(lab, &mut raw).await, "after cleaning");
}

async fn foreign_manifest(lab: &Lab) {
    let mut raw = lab.raw().await.expect("there is another way in");
    match &mut raw {
        Raw::Redis(commands) => {
            commands.ask(&["SET", "storelab_manifest", "not ours"]);
        }
        Raw::Side(side) => side.occupy_manifest().await,
        Raw::Sql(_) => {
            let text = "CREATE TABLE storelab_manifest (mine {integer} NOT NULL PRIMARY KEY, name VARCHAR(10))";
            raw.sql(&in_dialect(lab.driver.name(), text)).await;
            raw.sql("INSERT INTO storelab_manifest VALUES (7, 'people')").await;
        }
    }
    let before = fingerprint(lab, &mut raw).await;
    for dataset in [lab.records(10), lab.rows(10, DataSize::Small)] {
        refused(lab, &mut raw, &dataset).await;
        let store: &dyn Store = lab.store.as_ref();
        for error in [
            store.owned().await.expect_err("it is not ours"),
            store.clean(Some(dataset.namespace())).await.expect_err("it is not ours"),
            store.clean(None).await.expect_err("it is not ours"),
            store.load_state(&dataset).await.expect_err("it is not ours"),
        ] {
            assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        }
    }
    assert_same(&before, &fingerprint(lab, &mut raw).await, "after all refusals");
    lab.forget();
}
