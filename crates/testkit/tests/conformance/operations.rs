//! The drivers' own operations: verified, with the effects that they declare, from several sessions at once.

use libtest_mimic::Completion;
use store::{
    Capability, DataSize, Dataset, Driver, Effect, ErrorKind, Namespace, Operation, Request, Session, SessionSpec,
    Store,
};

use crate::EVERY_WAY;
use crate::lab::{Lab, patiently};
use crate::raw::Raw;
use crate::sentence::{Sentence, may_skip, runtime};

/// Rows that are loaded: several groups, customers, topics and slots of every kind.
const ROWS: u64 = 60;

/// Sessions that work at the same time, each on a thread of its own, and what each does.
const SESSIONS: u64 = 4;
const ROUNDS: u64 = 14;

pub(crate) fn sentences(driver: &'static dyn Driver) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let every_size = std::env::var_os(EVERY_WAY).is_some();
    for (place, operation) in driver.operations().iter().enumerate() {
        let sizes = DataSize::ALL.into_iter().enumerate();
        let sizes = sizes.filter(|(size, _)| every_size || *size == place % DataSize::ALL.len());
        for (_, (size_name, size)) in sizes {
            let name = format!("operation_{}_holds_on_{size_name}_rows", operation.name);
            let holds = may_skip(name, async move |lab: &Lab| check(lab, place as u16, operation, size).await);
            sentences.push(holds.about(operation.name));
        }
    }
    sentences
}

async fn check(lab: &Lab, place: u16, operation: &Operation, size: DataSize) -> Completion {
    let server = lab.store.server().await.expect("the server describes itself");
    if let Some(reason) = server.operations_missing.get(operation.name) {
        assert!(operation.needs.is_some() || !reason.is_empty(), "what is missing has a reason");
        return Completion::ignored_with(reason);
    }
    let dataset = lab.rows(ROWS, size);
    let mut session = lab.loaded(&dataset).await;
    let namespace = dataset.namespace();
    let mut raw = if lab.has(Capability::Sql) || lab.engine.is_some() { lab.raw().await } else { None };
    let before = size_of(raw.as_mut(), lab, namespace).await;
    match operation.effect {
        Effect::Adds => adds(session.as_mut(), place, raw.as_mut(), lab, namespace).await,
        Effect::Removes => removes(session.as_mut(), place, raw.as_mut(), lab, namespace).await,
        Effect::Reads | Effect::Changes => {
            for row in 0..ROWS {
                let ran = run(session.as_mut(), place, row).await;
                let rows = ran.unwrap_or_else(|error| panic!("row {row}: {error}"));
                assert!(operation.effect == Effect::Reads || rows > 0, "row {row}: a change of nothing is none");
            }
        }
    }
    from_several_sessions(lab.store.as_ref(), &dataset, place, operation.effect);
    let after = size_of(raw.as_mut(), lab, namespace).await;
    let done = SESSIONS * ROUNDS;
    match operation.effect {
        Effect::Adds => assert_eq!(after, before.map(|before| before + done + 1), "one row for each that was added"),
        Effect::Removes => assert_eq!(after, before.map(|before| before - done - 1), "one for each that was removed"),
        Effect::Reads | Effect::Changes => assert_eq!(after, before, "no row comes or goes"),
    }
    Completion::Completed
}

async fn run(session: &mut dyn Session, operation: u16, row: u64) -> store::Result<u64> {
    patiently(session, &Request::Operation { operation, row }).await
}

/// Rows that are ours as the server counts them: of all tables, or keys. None where they cannot be counted.
async fn size_of(raw: Option<&mut Raw>, lab: &Lab, namespace: &Namespace) -> Option<u64> {
    match raw? {
        Raw::Redis(commands) => Some(commands.keys(&format!("{namespace}:*")).len() as u64),
        Raw::Side(side) => {
            let mut owned = lab.store.owned().await.expect("the manifest can be read");
            owned.retain(|object| object.namespace == namespace.as_str());
            side.size(&owned).await
        }
        raw @ Raw::Sql(_) => {
            let owned = lab.store.owned().await.expect("the manifest can be read");
            let mut rows = 0;
            for object in owned.iter().filter(|object| object.namespace == namespace.as_str()) {
                if object.kind == "table" {
                    rows += raw.number(&format!("SELECT COUNT(*) FROM {}", object.name)).await.unsigned_abs();
                }
            }
            Some(rows)
        }
    }
}

async fn adds(session: &mut dyn Session, place: u16, mut raw: Option<&mut Raw>, lab: &Lab, namespace: &Namespace) {
    let row = ROWS + 1000;
    let before = size_of(raw.as_deref_mut(), lab, namespace).await;
    assert_eq!(run(session, place, row).await.expect("the row is not there yet"), 1);
    let added = size_of(raw.as_deref_mut(), lab, namespace).await;
    assert_eq!(added, before.map(|before| before + 1), "exactly one row is added");
    match run(session, place, row).await {
        // It overwrites the row with what it had.
        Ok(rows) => assert!(rows == 1 && lab.has(Capability::BlindWrites), "the row is there"),
        Err(again) => {
            assert!(matches!(again.kind(), ErrorKind::Rejected | ErrorKind::WrongResult), "{again} ({})", again.kind());
        }
    }
    assert_eq!(size_of(raw, lab, namespace).await, added, "and nothing the second time");
}

async fn removes(session: &mut dyn Session, place: u16, mut raw: Option<&mut Raw>, lab: &Lab, namespace: &Namespace) {
    let row = ROWS - 1;
    let before = size_of(raw.as_deref_mut(), lab, namespace).await;
    assert_eq!(run(session, place, row).await.expect("the row is there"), 1);
    let removed = size_of(raw.as_deref_mut(), lab, namespace).await;
    assert_eq!(removed, before.map(|before| before - 1), "exactly one row is removed");
    match run(session, place, row).await {
        Ok(rows) => assert!(rows == 0 || lab.has(Capability::BlindWrites), "nothing is left to remove"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::WrongResult, "{error}"),
    }
    assert_eq!(size_of(raw, lab, namespace).await, removed, "and nothing the second time");
}

/// The row that a session's round is about: of its own where rows come and go, anybody's otherwise.
fn row_of(effect: Effect, session: u64, round: u64) -> u64 {
    match effect {
        Effect::Adds => ROWS + session * ROUNDS + round,
        Effect::Removes => session * ROUNDS + round,
        Effect::Reads | Effect::Changes => (session + round * 7) % ROWS,
    }
}

fn from_several_sessions(store: &dyn Store, dataset: &Dataset, place: u16, effect: Effect) {
    std::thread::scope(|scope| {
        for number in 0..SESSIONS {
            scope.spawn(move || {
                runtime().block_on(async {
                    let spec = SessionSpec { dataset: Some(dataset), depth: 1 };
                    let mut session = store.session(spec).await.expect("a session can be opened");
                    for round in 0..ROUNDS {
                        let row = row_of(effect, number, round);
                        let result = run(session.as_mut(), place, row).await;
                        result.unwrap_or_else(|error| panic!("row {row}: {error} ({})", error.kind()));
                    }
                });
            });
        }
    });
}
