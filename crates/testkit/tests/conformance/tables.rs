//! Tables that a workload describes, and its statements.

use store::{Arguments, Capability, Driver, ErrorKind, LoadState, Request, Session, execute};

use crate::catalogue::{assert_same, fingerprint};
use crate::data::{LARGE, Owned, Row};
use crate::lab::{Lab, ask, rows_of};
use crate::loading::{load_parts, state};
use crate::ownership::with_users;
use crate::raw::run_sql;
use crate::sentence::{Sentence, says};

/// Enough for several batches of every driver's bulk path.
const NUMBERS: u64 = 3_000;
const COUNT: i64 = NUMBERS.cast_signed();

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    if !driver.capabilities().has(Capability::Sql) {
        return Vec::new();
    }
    vec![
        says("tables_load_in_parallel_parts_and_all_rows_are_there", load),
        says("tables_of_other_content_are_not_taken_for_loaded", another),
        says("planned_statements_run_on_every_session_without_being_prepared", planned),
        says("a_planned_statement_that_fails_leaves_the_session_usable", failing),
        says("users_data_is_the_same_after_tables", users).alone(),
    ]
}

async fn number(session: &mut dyn Session, text: &str) -> i64 {
    match run_sql(session, text, &[]).await.expect("it can be read").as_slice() {
        [row] => match row.as_slice() {
            [Owned::Integer(number)] => *number,
            other => panic!("{other:?} is not one number"),
        },
        other => panic!("{other:?} is not one row"),
    }
}

async fn load(lab: &Lab) {
    let dataset = lab.tables(NUMBERS);
    assert_eq!(state(lab, &dataset).await, LoadState::Absent);
    lab.store.create(&dataset).await.expect("they can be made");
    assert_eq!(load_parts(lab.store.as_ref(), &dataset, 3), 2 * NUMBERS, "numbers of both tables");
    assert_eq!(state(lab, &dataset).await, LoadState::Partial);
    lab.store.finish_load(&dataset).await.expect("the load can be finished");
    assert_eq!(state(lab, &dataset).await, LoadState::Loaded(dataset.fingerprint()));
    let mut session = lab.session(None, 1).await;
    for table in ["first", "second"] {
        let name = dataset.namespace().object(table);
        for (what, expected) in [
            ("COUNT(*)", 2 * COUNT),
            ("MIN(id)", -1),
            ("MAX(id)", COUNT - 2),
            ("MIN(part)", LARGE),
            ("COUNT(DISTINCT label)", COUNT),
        ] {
            assert_eq!(number(session.as_mut(), &format!("SELECT {what} FROM {name}")).await, expected, "{table}");
        }
    }
    let listed = lab.store.owned().await.expect("the manifest can be read");
    for name in ["first", "second", "second_label"] {
        let name = dataset.namespace().object(name);
        assert!(listed.iter().any(|object| object.name == name), "{name} is listed");
    }
    lab.store.clean(Some(dataset.namespace())).await.expect("they can be cleaned");
    assert_eq!(state(lab, &dataset).await, LoadState::Absent);
}

async fn another(lab: &Lab) {
    let loaded = lab.tables(10);
    lab.load(&loaded).await;
    let store::Dataset::Tables(mut other) = loaded.clone() else { panic!("tables were asked for") };
    other.content.push('x');
    let other = store::Dataset::Tables(other);
    assert_eq!(state(lab, &other).await, LoadState::Partial);
    assert_eq!(state(lab, &loaded).await, LoadState::Loaded(loaded.fingerprint()));
    lab.load(&other).await;
    assert_eq!(state(lab, &other).await, LoadState::Loaded(other.fingerprint()));
}

/// What the first planned statement says about an id.
async fn rows_at(session: &mut dyn Session, id: i64) -> Vec<Row> {
    let mut arguments = Arguments::default();
    arguments.integer(id);
    let (count, rows) = ask(session, Request::Planned { statement: 0, arguments: &arguments }).await;
    assert_eq!(count, Ok(rows.len() as u64), "{id}");
    rows
}

async fn planned(lab: &Lab) {
    let dataset = lab.tables(20);
    lab.load(&dataset).await;
    for round in 0..2 {
        let mut session = lab.session(Some(&dataset), 1).await;
        for id in [-1, 5, 18] {
            let rows = rows_at(session.as_mut(), id).await;
            assert_eq!(rows.len(), 2, "{id}");
            for (row, part) in rows.iter().zip(0..) {
                assert_eq!(row.values[&0], Owned::Integer(LARGE + part));
                let label = std::str::from_utf8(row.values[&1].bytes()).expect("text").trim_end();
                assert_eq!(label, format!("row-1-{}", id + 1));
                let note = if round == 1 && id == 5 { "new" } else { &"ö".repeat(((id + 1) % 7) as usize) };
                assert_eq!(row.values[&2], Owned::Text(note.to_owned()));
            }
        }
        assert!(rows_at(session.as_mut(), 20).await.is_empty());
        let mut arguments = Arguments::default();
        arguments.text("new");
        arguments.integer(5);
        let update = Request::Planned { statement: 1, arguments: &arguments };
        assert_eq!(rows_of(session.as_mut(), update).await, 2);
        // Statements of the SQL face have numbers of their own.
        let name = dataset.namespace().object("first");
        assert_eq!(number(session.as_mut(), &format!("SELECT COUNT(*) FROM {name}")).await, 40);
        assert_eq!(rows_at(session.as_mut(), 0).await.len(), 2);
    }
}

async fn failing(lab: &Lab) {
    let dataset = lab.tables(20);
    lab.load(&dataset).await;
    let mut session = lab.session(Some(&dataset), 1).await;
    let none = Arguments::default();
    for _ in 0..2 {
        for (statement, kind) in [(2, ErrorKind::Rejected), (3, ErrorKind::Bug)] {
            let request = Request::Planned { statement, arguments: &none };
            let error = execute(session.as_mut(), &request, &mut ()).await.expect_err("it cannot work");
            assert_eq!(error.kind(), kind, "{statement}: {error}");
        }
        assert_eq!(rows_at(session.as_mut(), 0).await.len(), 2, "the session goes on");
    }
    let mut other = lab.session(None, 1).await;
    let request = Request::Planned { statement: 0, arguments: &none };
    assert!(execute(other.as_mut(), &request, &mut ()).await.is_err(), "a session without tables has none");
}

async fn users(lab: &Lab) {
    let (mut raw, before) = with_users(lab).await;
    for _ in 0..2 {
        let dataset = lab.tables(50);
        lab.load(&dataset).await;
        assert_ne!(fingerprint(lab, &mut raw).await, before, "what is ours can be seen");
        assert_eq!(rows_at(lab.session(Some(&dataset), 1).await.as_mut(), 3).await.len(), 2);
        lab.store.clean(None).await.expect("all can be cleaned");
        assert_same(&before, &fingerprint(lab, &mut raw).await, "after tables");
    }
}
