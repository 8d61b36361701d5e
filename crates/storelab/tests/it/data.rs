//! Data that stay: `load`, runs that use them, `clean`.

use crate::support::{Lab, assert_exact, skipped, text, with_every_engine};

#[test]
fn rows_loaded_once_serve_operations_of_any_seed() {
    let lab = Lab::new();
    let url = format!("sqlite:{}", text(&lab.path("mine.db")));
    let work = ["--workload", "operations", "--set", "operations=select,join", "--set", "rows=300"];
    let loaded = lab.run(&[&["load", &url][..], &work].concat());
    assert_eq!(loaded.code, Some(0), "{loaded:?}");
    for seed in ["1", "2"] {
        let ran = lab.run(&[&["run", &url, "--seed", seed][..], &work].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    // A run that had loaded anew would have taken its rows out again.
    let cleaned = lab.run(&["clean", &url]);
    assert!(cleaned.stdout.contains("storelab_operations"), "{cleaned:?}");
}

#[test]
fn loaded_data_are_used_again_and_cleaned_by_the_manifest() {
    let lab = Lab::new();
    let url = format!("sqlite:{}", text(&lab.path("mine.db")));
    let count = |table: &str| {
        let ended = lab.run(&["clean", &url]);
        ended.stdout.lines().filter(|line| line.contains(table)).count()
    };
    let loaded = lab.run(&["load", &url, "--workload", "ycsb:c", "--set", "records=500"]);
    assert!(loaded.code == Some(0) && loaded.stdout.contains("500 rows"), "{loaded:?}");
    for _ in 0..2 {
        let ran = lab.run(&["run", &url, "--workload", "ycsb:c", "--set", "records=500", "--operations", "300"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
    assert_eq!(count("storelab_ycsb_usertable"), 1, "a run leaves what `load` loaded");
    assert_eq!(count("storelab"), 0, "clean leaves nothing");
    let ran = lab.run(&["run", &url, "--workload", "ycsb:a", "--operations", "300"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(count("storelab"), 0, "a run takes out what it loaded itself");
}

#[test]
fn connections_go_the_way_that_is_asked_for_and_bring_the_same() {
    let lab = Lab::new();
    for engine in ["mariadb", "postgres", "redis"] {
        let Some(server) = lab.server(engine) else { continue };
        let work =
            ["--workload", "ycsb:a", "--set", "records=2000", "--seed", "7", "--operations", "5000", "--pin", "--json"];
        for io in ["epoll", "io_uring"] {
            let load: [&[&str]; 2] = [&["--sessions", "40"], &["--sessions", "4", "--rate", "20000/s"]];
            for load in load {
                let ended = lab.run(&[&["run", server.url(), "--io", io][..], &work, load].concat());
                if ended.stderr.contains("io_uring is not to be had") {
                    skipped("the kernel has no io_uring for us");
                    continue;
                }
                let record = ended.record();
                assert_exact(&record);
                assert_eq!(record["accounting"]["succeeded"], 5000, "{engine} by {io}: {record}");
                assert_eq!(record["generator"]["io"], io, "{engine}");
            }
        }
    }
}

#[test]
fn every_store_keeps_what_ycsb_writes() {
    with_every_engine(|lab, engine| {
        let Some(server) = lab.server(engine.name()) else { return };
        for variant in ["a", "b", "c", "d", "e", "f"] {
            let workload = format!("ycsb:{variant}");
            let work = ["--workload", &workload, "--set", "records=300", "--operations", "600", "--sessions", "6"];
            let ended = lab.run(&[&["run", server.url(), "--json"][..], &work].concat());
            let record = ended.record();
            assert_exact(&record);
            // A busy host makes a run invalid and leaves its data as they are.
            assert!(matches!(ended.code, Some(0 | 4)), "{} {workload}: {}", engine.name(), ended.stderr);
            assert_eq!(record["accounting"]["succeeded"], 600, "{} {workload}: {record}", engine.name());
            let checks = record["verification"]["checks"].as_array().expect("a list");
            assert!(!checks.is_empty(), "{} {workload}: {record}", engine.name());
            assert!(checks.iter().all(|check| check["passed"] == true), "{} {workload}: {checks:?}", engine.name());
        }
    });
}
