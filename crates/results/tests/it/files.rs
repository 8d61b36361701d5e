//! Files that are not ours, or not yet.

use std::fs;
use std::path::Path;

use results::{Error, Location, Results};

use crate::on::{On, number, place};
use crate::{keep, open};

fn refused(path: &Path) -> Error {
    let before = fs::read(path).expect("there");
    let error = Results::open(&path.into()).expect_err("refused");
    assert!(error.hint().is_some_and(|hint| hint.contains("--store PATH")), "{error}");
    assert_eq!(fs::read(path).expect("there"), before, "it was left as it was");
    error
}

pub(crate) fn of_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = folder.path().join("notes.txt");
    fs::write(&text, "not a database at all, but long enough to have a header ".repeat(40)).expect("written");
    assert!(matches!(refused(&text), Error::NotADatabase { .. }));
    let other = folder.path().join("other.db");
    let connection = rusqlite::Connection::open(&other).expect("opens");
    connection.execute_batch("CREATE TABLE runs (mine)").expect("made");
    drop(connection);
    let error = refused(&other);
    assert!(matches!(error, Error::NotADatabase { .. }) && error.to_string().contains("another program"), "{error}");
    let unmade = text.join("results.db");
    assert!(matches!(Results::open(&Location::File(unmade)), Err(Error::Io { .. })), "its folder is a file");
}

pub(crate) fn newer() {
    let (_folder, location) = place(On::Sqlite);
    let Location::File(path) = &location else { panic!("it is a file") };
    let kept = keep(&mut open(&location), "before");
    let known = number(&location, "SELECT user_version FROM pragma_user_version");
    let version = |version: i64| {
        let connection = rusqlite::Connection::open(path).expect("opens");
        connection.pragma_update(None, "user_version", version).expect("set");
        connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("written");
    };
    version(1_000);
    let error = refused(path);
    assert!(matches!(error, Error::NewerVersion { found: 1_000, .. }), "{error}");
    version(known);
    assert_eq!(open(&location).record(kept.id).expect("there"), kept);
}
