//! Data that stay: `load`, runs that use them, `clean`.

use crate::support::{Lab, text};

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
