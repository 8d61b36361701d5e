//! Every exit code, by real runs.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::{Ended, Lab, eventually, signal, text};

/// A run that is over in no time.
const SOON: [&str; 2] = ["--operations", "200"];

/// The data that are damaged.
const DAMAGED: &str = "records=200";

fn check(lab: &Lab, arguments: &[&str], more: &[&str], code: i32) -> Ended {
    let all = [arguments, more].concat();
    let ended = lab.run(&all);
    assert_eq!(ended.code, Some(code), "{all:?}: {ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{all:?}: {}", ended.stderr);
    ended
}

#[test]
fn every_way_to_end_has_its_code() {
    let lab = Lab::new();
    let folder = lab.path("folder");
    std::fs::create_dir(&folder).expect("a folder");
    let damaged = damaged_data(&lab);
    // Nobody listens on a port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").expect("loopback").local_addr().expect("bound").port();
    let closed = format!("redis://127.0.0.1:{port}/0");
    let (holds, fails) = ("p99 < 3_600s", "count < 1");
    for (arguments, code) in [
        (&["run", "null:"][..], 0),
        (&["run", "null:", "--threshold", holds], 0),
        (&["run", "null:", "--store", text(&folder)], 1),
        (&["run", "null:", "--junit", text(&folder)], 1),
        (&["run", "null:", "--threshold", "p99(raed) < 1s"], 2),
        (&["run", &closed], 3),
        (&["run", "null:?fail_every=1"], 4),
        (&["run", &damaged, "--set", DAMAGED], 5),
        (&["run", "null:", "--threshold", fails], 99),
        (&["run", "null:", "--threshold", holds, "--threshold", fails], 99),
        // Of several that apply, the one that says most.
        (&["run", "null:?fail_every=1", "--threshold", fails], 4),
        (&["run", &damaged, "--set", DAMAGED, "--threshold", fails], 5),
        (&["run", &closed, "--threshold", fails], 3),
    ] {
        check(&lab, arguments, &SOON, code);
    }
}

#[test]
fn an_interrupted_run_says_so_whatever_failed() {
    let lab = Lab::new();
    let mut child = lab.spawn(&["run", "null:", "--for", "60s", "--threshold", "count < 1"]);
    eventually("the run goes on", Duration::from_mins(1), || {
        assert!(child.try_wait().expect("our child").is_none(), "the run ended by itself");
        lab.run(&["runs"]).stdout.contains("running")
    });
    signal(&child, Signal::INT);
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ended.code, Some(130), "{ended:?}");
}

/// A store whose data are not what was written: the URL of an `SQLite` file in which every value lost a character.
fn damaged_data(lab: &Lab) -> String {
    /// Values of YCSB have 100 characters of this alphabet; nothing else in the file has as many in a row.
    const VALUE_LENGTH_MIN: usize = 90;
    let is_of_value = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let path = lab.path("damaged.db");
    let url = format!("sqlite:{}", text(&path));
    check(lab, &["load", &url, "--workload", "ycsb:b", "--set", DAMAGED], &[], 0);
    assert!(!Path::new(&format!("{}-wal", text(&path))).exists(), "all is in the file");
    let mut bytes = std::fs::read(&path).expect("it was loaded");
    let mut damaged = 0;
    for value in bytes.split_mut(|byte| !is_of_value(byte)).filter(|value| value.len() >= VALUE_LENGTH_MIN) {
        let middle = value.len() / 2;
        value[middle] = if value[middle] == b'x' { b'y' } else { b'x' };
        damaged += 1;
    }
    assert!(damaged > 100, "{damaged} values were damaged");
    std::fs::write(&path, bytes).expect("it is ours");
    url
}

#[test]
fn the_guide_and_the_help_name_the_same_codes() {
    let guide = include_str!("../../../../docs/guide.md");
    let (_, rest) = guide.split_once("\n## Exit codes\n").expect("the guide has them");
    let rows = rest.lines().take_while(|line| !line.starts_with("## "));
    let cells = rows.filter_map(|line| line.strip_prefix("| ")?.split_once(' '));
    let documented: Vec<i32> = cells.filter_map(|(code, _)| code.parse().ok()).collect();
    assert_eq!(documented, [0, 1, 2, 3, 4, 5, 99, 130], "each has its run above");
    let help = Lab::new().run(&["--help"]).stdout;
    let (_, rest) = help.split_once("Exit codes:").expect("the help has them");
    let said: Vec<i32> = rest.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert_eq!(said, documented);
}
