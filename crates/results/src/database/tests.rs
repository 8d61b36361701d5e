//! What a transaction promises, on a file; `tests/it` asks the same of a server.

use super::*;

fn opened() -> (tempfile::TempDir, Database) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (database, access) = Database::open(&Location::File(folder.path().join("results.db"))).expect("opens");
    assert_eq!(access, Access::ReadWrite);
    (folder, database)
}

fn note(transaction: &mut Transaction<'_>, id: &str) -> Result<i64> {
    let statement = "INSERT INTO runs (id, name, status, started_at_us, ended_at_us, driver, workload, record) \
                     VALUES (?1, '?', 'completed', {now}, 0, '', '', '{}') RETURNING key";
    transaction.query_one(statement, &[id.into()])?.map_or(Ok(0), |row| row.get(0))
}

fn count(database: &mut Database) -> i64 {
    let row = database.query_one("SELECT count(*) FROM runs WHERE name = '?' AND record = '{}'", &[]);
    row.expect("read").expect("a row").get(0).expect("a number")
}

#[test]
fn all_or_nothing() {
    let (_folder, mut database) = opened();
    let key = database.transaction(Durability::Full, |transaction| note(transaction, "first")).expect("kept");
    assert!(key > 0);
    let failed = database.transaction(Durability::Normal, |transaction| {
        note(transaction, "second")?;
        note(transaction, "first")
    });
    assert!(matches!(failed, Err(Error::Failed { .. })), "{failed:?}");
    let refused: Result<()> = database.transaction(Durability::Normal, |transaction| {
        note(transaction, "third")?;
        Err(Error::NotFound { asked: "enough".to_owned(), near: None })
    });
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    assert_eq!(count(&mut database), 1);
    let changed = database.transaction(Durability::Full, |transaction| {
        transaction.execute("UPDATE runs SET failed = ?2 WHERE id = ?1", &["first".into(), u64::MAX.into()])
    });
    assert_eq!(changed.expect("changed"), 1);
    let row = database.query_one("SELECT failed, started_at_us > 1600000000000000 FROM runs", &[]).expect("read");
    let row = row.expect("a row");
    assert_eq!((row.get::<u64>(0).expect("a number"), row.get::<bool>(1).expect("a boolean")), (u64::MAX, true));
}

#[test]
fn rows_are_handed_over_until_somebody_has_enough() {
    let (_folder, mut database) = opened();
    for id in ["a", "b", "c"] {
        database.transaction(Durability::Normal, |transaction| note(transaction, id)).expect("kept");
    }
    let mut taken = Vec::new();
    let ended = database.each("SELECT id FROM runs WHERE id <> ?1 ORDER BY id", &["a".into()], |row| {
        taken.push(row.get::<String>(0)?);
        Err(Error::NotFound { asked: "enough".to_owned(), near: None })
    });
    assert!(matches!(ended, Err(Error::NotFound { .. })), "{ended:?}");
    assert_eq!(taken, ["b"]);
    assert_eq!(count(&mut database), 3);
}
