//! The SQL face, and transactions.

use store::{Capability, Driver, Error, ErrorKind, Request, Session, StatementId, Value, execute};

use crate::catalogue::in_dialect;
use crate::data::{Owned, Seen};
use crate::lab::{Lab, rows_of, unique};
use crate::raw::run_sql;
use crate::sentence::{Sentence, says};

pub(crate) fn sentences(driver: &dyn Driver) -> Vec<Sentence> {
    let has = |capability| driver.capabilities().has(capability);
    let mut sentences = Vec::new();
    if has(Capability::Sql) {
        sentences.extend([
            says("values_of_every_kind_come_back_as_they_went", values),
            says("statements_give_rows_or_how_many_they_changed", statements),
            says("several_prepared_statements_live_side_by_side", side_by_side),
            says("a_syntax_error_is_rejected_in_the_servers_words", syntax_error),
            says("a_broken_constraint_is_rejected_and_the_session_goes_on", constraint),
            says("a_wrong_number_of_parameters_is_an_error_and_the_session_goes_on", wrong_parameters),
            says("an_unknown_statement_is_an_error_and_the_session_goes_on", unknown_statement),
        ]);
    }
    if has(Capability::Transactions) {
        sentences.extend([
            says("a_transaction_is_seen_by_others_once_it_is_committed", commit),
            says("a_transaction_that_is_rolled_back_never_was", rollback),
            says("a_dropped_session_rolls_its_transaction_back", dropped),
            says("after_an_error_a_commit_does_not_claim_what_was_undone", failed_transaction),
        ]);
        if !has(Capability::Embedded) {
            sentences.push(says("of_two_in_each_others_way_one_gets_a_conflict", deadlock));
        }
    }
    sentences
}

/// A table of somebody's, which goes with the trial.
struct Table<'a> {
    lab: &'a Lab,
    name: String,
}

impl<'a> Table<'a> {
    async fn new(lab: &'a Lab, columns: &str) -> Self {
        let name = format!("conformance_{}_{}", std::process::id(), unique());
        let text = in_dialect(lab.driver.name(), &format!("CREATE TABLE {name} ({columns})"));
        run_sql(lab.session(None, 1).await.as_mut(), &text, &[]).await.expect("a table can be made");
        Self { lab, name }
    }

    /// Rows in the order of their ids, which are 1 and so on.
    async fn numbered(lab: &'a Lab, rows: i64) -> Self {
        let table = Self::new(lab, "id {integer} NOT NULL PRIMARY KEY, n {integer} NOT NULL").await;
        let mut session = lab.session(None, 1).await;
        for id in 1..=rows {
            table.insert(session.as_mut(), id).await.expect("the row is new");
        }
        table
    }

    async fn insert(&self, session: &mut dyn Session, id: i64) -> Result<Vec<Vec<Owned>>, Error> {
        run_sql(session, &format!("INSERT INTO {} (id, n) VALUES ({id}, 0)", self.name), &[]).await
    }

    async fn ids(&self, session: &mut dyn Session) -> Vec<i64> {
        let rows = run_sql(session, &format!("SELECT id FROM {} ORDER BY id", self.name), &[]).await;
        let number = |row: Vec<Owned>| match row.as_slice() {
            [Owned::Integer(number)] => *number,
            other => panic!("{other:?} is no whole number"),
        };
        rows.expect("it can be read").into_iter().map(number).collect()
    }

    async fn drop(self) {
        let text = format!("DROP TABLE {}", self.name);
        run_sql(self.lab.session(None, 1).await.as_mut(), &text, &[]).await.expect("it can be dropped");
    }
}

/// The session's way to write a statement's parameters, for a text with `?`.
fn placed(session: &mut dyn Session, text: &str) -> String {
    let sql = session.sql().expect("the store has the SQL face");
    let mut pieces = text.split('?');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.enumerate().fold(first, |text, (number, piece)| text + &sql.placeholder(number + 1) + piece)
}

async fn prepare(session: &mut dyn Session, text: &str) -> StatementId {
    let text = placed(session, text);
    session.sql().expect("the store has the SQL face").prepare(&text).await.expect("the statement is right")
}

async fn values(lab: &Lab) {
    let columns = "id {integer} NOT NULL PRIMARY KEY, i {integer}, r {real}, t {text}, b {bytes}";
    let table = Table::new(lab, columns).await;
    let mut session = lab.session(None, 1).await;
    let insert = prepare(session.as_mut(), &format!("INSERT INTO {} VALUES (?, ?, ?, ?, ?)", table.name)).await;
    let select = prepare(session.as_mut(), &format!("SELECT i, r, t, b FROM {} WHERE id = ?", table.name)).await;
    let every_byte: Vec<u8> = (0..=255).collect();
    let long = "x".repeat(60_000);
    let cases: Vec<[Value<'_>; 4]> = vec![
        [Value::Null; 4],
        [Value::Integer(0), Value::Real(0.0), Value::Text(""), Value::Bytes(b"")],
        [Value::Integer(i64::MAX), Value::Real(f64::MAX), Value::Text("plain"), Value::Bytes(&every_byte)],
        [Value::Integer(i64::MIN), Value::Real(-1e-300), Value::Text("Łódź 日本 🦀"), Value::Bytes(&[0])],
        [Value::Integer(-1), Value::Real(0.1), Value::Text("'\"\\;--%_$1?\n\t"), Value::Bytes(b"'\\\0'")],
        [Value::Integer(1 << 40), Value::Real(1.0), Value::Text(&long), Value::Bytes(long.as_bytes())],
        [Value::Integer(7), Value::Null, Value::Text("NULL"), Value::Null],
    ];
    for (id, case) in (1..).zip(&cases) {
        let id = Value::Integer(id);
        let parameters = [id, case[0], case[1], case[2], case[3]];
        let request = Request::Statement { statement: insert, parameters: &parameters };
        assert_eq!(rows_of(session.as_mut(), request).await, 1, "{case:?}");
        let mut seen = Seen::default();
        let request = Request::Statement { statement: select, parameters: &[id] };
        let rows = execute(session.as_mut(), &request, &mut seen).await.expect("it is there").rows;
        assert_eq!((rows, seen.rows.len()), (1, 1), "{case:?}");
        let found: Vec<_> = seen.rows[0].values.values().cloned().collect();
        let expect: Vec<_> = case.iter().map(|value| Owned::from(*value)).collect();
        assert!(found == expect, "{case:?} came back as {found:?}");
    }
    table.drop().await;
}

async fn statements(lab: &Lab) {
    let table = Table::numbered(lab, 6).await;
    let mut session = lab.session(None, 1).await;
    for (text, parameters, expect) in [
        ("UPDATE {t} SET n = n + 1 WHERE id > ?", &[Value::Integer(2)][..], 4),
        ("UPDATE {t} SET n = 5 WHERE id = ?", &[Value::Integer(99)], 0),
        ("UPDATE {t} SET id = id", &[], 6),
        ("DELETE FROM {t} WHERE id = ?", &[Value::Integer(6)], 1),
        ("SELECT id FROM {t} WHERE id >= ? AND id <= ?", &[Value::Integer(2), Value::Integer(4)], 3),
        ("SELECT id FROM {t} WHERE id = ?", &[Value::Integer(99)], 0),
    ] {
        let statement = prepare(session.as_mut(), &text.replace("{t}", &table.name)).await;
        let mut seen = Seen::default();
        let request = Request::Statement { statement, parameters };
        let rows = execute(session.as_mut(), &request, &mut seen).await.expect("the statement is right").rows;
        assert_eq!(rows, expect, "{text}");
        let shown = if text.starts_with("SELECT") { expect } else { 0 };
        assert_eq!(seen.rows.len() as u64, shown, "{text}");
    }
    table.drop().await;
}

async fn side_by_side(lab: &Lab) {
    let table = Table::numbered(lab, 5).await;
    // Also where the session has planned statements of its own.
    let dataset = lab.rows(20, store::DataSize::Small);
    lab.load(&dataset).await;
    for dataset in [None, Some(&dataset)] {
        let mut session = lab.session(dataset, 1).await;
        let mut prepared = Vec::new();
        for number in 0..20 {
            let text = format!("SELECT id, {number} FROM {} WHERE id = ?", table.name);
            prepared.push(prepare(session.as_mut(), &text).await);
        }
        for (number, statement) in (0..20_i32).zip(&prepared).rev() {
            for id in [1, 5, 3] {
                let mut seen = Seen::default();
                let request = Request::Statement { statement: *statement, parameters: &[Value::Integer(id)] };
                execute(session.as_mut(), &request, &mut seen).await.expect("it stays prepared");
                let expect = [Owned::Integer(id), Owned::Integer(number.into())];
                assert!(seen.rows[0].values.values().eq(&expect), "{:?} is not {expect:?}", seen.rows);
            }
        }
    }
    table.drop().await;
}

/// Runs what must fail; the session must be as good as before.
async fn fails(session: &mut dyn Session, table: &Table<'_>, text: &str, values: &[Value<'_>]) -> Error {
    let text = placed(session, text);
    let error = run_sql(session, &text, values).await.expect_err("it cannot work");
    assert!(!session.is_broken() && session.in_flight() == 0, "{text}: {error}");
    assert!(!table.ids(session).await.is_empty(), "the session goes on after {text}");
    error
}

async fn syntax_error(lab: &Lab) {
    let table = Table::numbered(lab, 1).await;
    let mut session = lab.session(None, 1).await;
    for text in ["SELEC 1", "SELECT FROM WHERE", "UPDATE SET x"] {
        let error = fails(session.as_mut(), &table, text, &[]).await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{text}: {error}");
        assert!(error.to_string().to_lowercase().contains("syntax"), "{text}: {error}");
    }
    let error = fails(session.as_mut(), &table, "SELECT id FROM no_such_table_here", &[]).await;
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.to_string().contains("no_such_table_here"), "{error}");
    table.drop().await;
}

async fn constraint(lab: &Lab) {
    let table = Table::numbered(lab, 3).await;
    let mut session = lab.session(None, 1).await;
    let insert = format!("INSERT INTO {} (id, n) VALUES (?, ?)", table.name);
    for row in [[Value::Integer(2), Value::Integer(0)], [Value::Integer(9), Value::Null]] {
        let error = fails(session.as_mut(), &table, &insert, &row).await;
        assert_eq!(error.kind(), ErrorKind::Rejected, "{row:?}: {error}");
    }
    assert_eq!(table.ids(session.as_mut()).await, [1, 2, 3]);
    table.drop().await;
}

async fn wrong_parameters(lab: &Lab) {
    let table = Table::numbered(lab, 3).await;
    let mut session = lab.session(None, 1).await;
    let text = format!("SELECT id FROM {} WHERE id = ? OR id = ?", table.name);
    for values in [&[][..], &[Value::Integer(1)], &[Value::Integer(1); 3]] {
        let error = fails(session.as_mut(), &table, &text, values).await;
        let kinds = [ErrorKind::Config, ErrorKind::Rejected, ErrorKind::Bug];
        assert!(kinds.contains(&error.kind()), "{}: {error}", error.kind());
    }
    table.drop().await;
}

async fn unknown_statement(lab: &Lab) {
    let table = Table::numbered(lab, 3).await;
    let mut session = lab.session(None, 1).await;
    let request = Request::Statement { statement: StatementId(77), parameters: &[] };
    let error = execute(session.as_mut(), &request, &mut ()).await.expect_err("nobody prepared it");
    assert_eq!(error.kind(), ErrorKind::Bug, "{error}");
    assert!(!session.is_broken() && session.in_flight() == 0);
    assert_eq!(table.ids(session.as_mut()).await, [1, 2, 3], "the session goes on");
    table.drop().await;
}

/// Stores whose readers wait until whoever writes the same rows has ended.
const READERS_WAIT: &[&str] = &["cockroachdb"];

async fn commit(lab: &Lab) {
    let table = Table::numbered(lab, 1).await;
    let (mut writer, mut reader) = (lab.session(None, 1).await, lab.session(None, 1).await);
    rows_of(writer.as_mut(), Request::Begin).await;
    for id in [10, 11] {
        table.insert(writer.as_mut(), id).await.expect("the row is new");
    }
    assert_eq!(table.ids(writer.as_mut()).await, [1, 10, 11], "it sees its own writes");
    if READERS_WAIT.contains(&lab.driver.name()) {
        let end = async { rows_of(writer.as_mut(), Request::Commit).await };
        let (found, _) = tokio::join!(table.ids(reader.as_mut()), end);
        assert_eq!(found, [1, 10, 11], "who asked before the end waited for it");
    } else {
        assert_eq!(table.ids(reader.as_mut()).await, [1], "nobody else does");
        rows_of(writer.as_mut(), Request::Commit).await;
    }
    assert_eq!(table.ids(reader.as_mut()).await, [1, 10, 11]);
    drop((writer, reader));
    table.drop().await;
}

async fn rollback(lab: &Lab) {
    let table = Table::numbered(lab, 2).await;
    let (mut writer, mut reader) = (lab.session(None, 1).await, lab.session(None, 1).await);
    for round in 0..2 {
        rows_of(writer.as_mut(), Request::Begin).await;
        table.insert(writer.as_mut(), 10 + round).await.expect("the row is new");
        run_sql(writer.as_mut(), &format!("DELETE FROM {} WHERE id = 1", table.name), &[]).await.expect("it is there");
        assert_eq!(table.ids(writer.as_mut()).await, [2, 10 + round]);
        rows_of(writer.as_mut(), Request::Rollback).await;
        for session in [writer.as_mut(), reader.as_mut()] {
            assert_eq!(table.ids(session).await, [1, 2], "round {round}");
        }
    }
    assert_eq!(rows_of(writer.as_mut(), Request::Rollback).await, 0, "there is nothing to roll back");
    drop((writer, reader));
    table.drop().await;
}

async fn dropped(lab: &Lab) {
    let table = Table::numbered(lab, 1).await;
    let mut writer = lab.session(None, 1).await;
    rows_of(writer.as_mut(), Request::Begin).await;
    table.insert(writer.as_mut(), 10).await.expect("the row is new");
    drop(writer);
    let mut other = lab.session(None, 1).await;
    // It waits until the server has let go of the row, and must not find it there.
    table.insert(other.as_mut(), 10).await.expect("the row was never committed");
    assert_eq!(table.ids(other.as_mut()).await, [1, 10]);
    drop(other);
    table.drop().await;
}

async fn failed_transaction(lab: &Lab) {
    let table = Table::numbered(lab, 1).await;
    let (mut writer, mut reader) = (lab.session(None, 1).await, lab.session(None, 1).await);
    rows_of(writer.as_mut(), Request::Begin).await;
    table.insert(writer.as_mut(), 10).await.expect("the row is new");
    table.insert(writer.as_mut(), 1).await.expect_err("the row is there");
    let committed = execute(writer.as_mut(), &Request::Commit, &mut ()).await;
    let found = table.ids(reader.as_mut()).await;
    match committed {
        Ok(_) => assert_eq!(found, [1, 10], "what was committed is there"),
        Err(error) => assert_eq!(found, [1], "{error}"),
    }
    // Some stores want to be told, to all of them it must be possible.
    let _ = execute(writer.as_mut(), &Request::Rollback, &mut ()).await;
    rows_of(writer.as_mut(), Request::Begin).await;
    table.insert(writer.as_mut(), 20).await.expect("the session goes on");
    rows_of(writer.as_mut(), Request::Commit).await;
    assert!(table.ids(reader.as_mut()).await.contains(&20));
    drop((writer, reader));
    table.drop().await;
}

async fn deadlock(lab: &Lab) {
    let table = Table::numbered(lab, 2).await;
    let (mut first, mut second) = (lab.session(None, 1).await, lab.session(None, 1).await);
    let update = |id: i64| format!("UPDATE {} SET n = n + 1 WHERE id = {id}", table.name);
    for (session, id) in [(first.as_mut(), 1), (second.as_mut(), 2)] {
        rows_of(session, Request::Begin).await;
        run_sql(session, &update(id), &[]).await.expect("nobody is in the way yet");
    }
    let (to_second, to_first) = (update(2), update(1));
    let finish = async |session: &mut dyn Session, text: &str| {
        let result = run_sql(session, text, &[]).await.map(|_| ()).map_err(|error| error.kind());
        let end = if result.is_ok() { Request::Commit } else { Request::Rollback };
        rows_of(session, end).await;
        result
    };
    let mut ends: [_; 2] = tokio::join!(finish(first.as_mut(), &to_second), finish(second.as_mut(), &to_first)).into();
    ends.sort();
    assert_eq!(ends, [Ok(()), Err(ErrorKind::Conflict)]);
    drop((first, second));
    table.drop().await;
}
