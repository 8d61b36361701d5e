//! No room: writes say so, reads go on, and all is well once there is room again.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use experiment::{Sink, Status};
use results::{Access, Error, Location, Results};
use uuid::Uuid;

use crate::on::{On, place};
use crate::{CHILD_VARIABLE, fixture, keep, open, short_run};

/// Pages past those in use that a store may still take, in the test that needs no root.
const PAGES_LEFT: u32 = 4;

/// What is taken away to make room again on the small file system.
const BALLAST_BYTES: usize = 300 * 1024;

pub(crate) fn pages_run_out() {
    let (_folder, path) = place(On::Sqlite);
    let kept = keep(&mut open(&path), "before");
    let mut results = open(&path);
    results.limit_pages(PAGES_LEFT).expect("limited");
    let error = write_until_refused(&mut results);
    assert!(error.to_string().starts_with("the results store is full"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--store PATH")), "{error}");
    assert_eq!(results.record(kept.id).expect("reading goes on"), kept);
    assert!(results.report(kept.id).expect("drawn").ends_with("</html>\n"));
}

fn write_until_refused(results: &mut Results) -> store::Error {
    let (record, samples, _) = short_run("too much");
    if let Err(error) = results.started(&fixture::started("too much", record.id)) {
        return error;
    }
    let steady = samples.last().expect("it has seconds");
    let refused = (0..100_000).find_map(|second| {
        let mut sample = steady.clone();
        sample.second = second;
        results.sampled(record.id, &sample).err()
    });
    refused.expect("it fills")
}

/// A file system of a megabyte in a mount namespace of the child's own.
pub(crate) fn a_full_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs \"$0\" && exec \"$1\""])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("this binary"))
        .env(CHILD_VARIABLE, format!("full:{}", folder.path().join("results.db").display()))
        .output()
        .expect("unshare runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// The child, on the small file system.
pub(crate) fn fill_and_heal(path: &Path) {
    let mut results = open(&path.into());
    let kept = keep(&mut results, "before");
    let ballast = path.with_file_name("ballast");
    fs::write(&ballast, vec![1; BALLAST_BYTES]).expect("there is room so far");
    let error = write_until_refused(&mut results);
    assert!(error.to_string().starts_with("the results store is full"), "{error}");
    assert_eq!(results.record(kept.id).expect("reading goes on through the same handle"), kept);
    let filler = path.with_file_name("filler");
    fill(&filler);
    drop(results);
    fill(&filler);

    // A new process has no shared memory to join and no room to make it.
    let mut again = open(&path.into());
    assert_eq!(again.record(kept.id).expect("reading goes on through a new handle"), kept);
    assert!(again.report(kept.id).expect("drawn").ends_with("</html>\n"));
    let error = again.started(&fixture::started("refused", Uuid::now_v7())).expect_err("no room");
    assert!(
        ["the results store is full", "the results store cannot be written"]
            .iter()
            .any(|start| error.to_string().starts_with(start)),
        "{error}"
    );
    let listed = again.runs(10).expect("listed");
    assert_eq!(listed.len(), 2);
    drop(again);
    let elsewhere =
        Results::open(&Location::File(path.with_file_name("another.db"))).expect_err("no room for a new store");
    assert!(matches!(elsewhere, Error::StorageFull { .. }), "{elsewhere:?}");

    fs::remove_file(&filler).expect("removed");
    fs::remove_file(&ballast).expect("removed");
    let mut healed = open(&path.into());
    assert_eq!(healed.access(), Access::ReadWrite);
    let unfinished = healed.runs(10).expect("listed").into_iter().find(|run| run.status == Status::Running);
    let unfinished = unfinished.expect("its process is this one");
    healed.ended(&fixture::started("too much", unfinished.id), &[]).expect("there is room again");
}

/// Takes all that is left, to the last byte.
fn fill(path: &Path) {
    let mut file = fs::File::options().create(true).append(true).open(path).expect("opens");
    let mut bytes = 4096;
    while bytes > 0 {
        if file.write_all(&vec![1; bytes]).is_err() {
            bytes /= 2;
        }
    }
}
