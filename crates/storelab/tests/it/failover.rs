//! Data stores of several nodes, one of which dies under load.

use crate::crash::{await_load, errors_of};
use crate::support::{Ended, Lab, assert_exact};

/// A replica set of MongoDB: the members elect another primary, and every session finds it among the nodes that are listed.
#[test]
fn a_primary_killed_under_load_is_counted_and_its_successor_is_used() {
    let lab = Lab::new();
    let Some(cluster) = lab.cluster("mongodb", 3) else { return };
    let url = cluster.url();
    let work = ["--json", "--rate", "200/s", "--sessions", "8", "--for", "25s", "--drain", "5s", "--workload", "ycsb:a"];
    let mut child = lab.spawn(&[&["run", &url][..], &work, &["--set", "records=200"]].concat());
    let primary = &cluster.nodes()[0];
    await_load(&lab, &mut child, primary.port());
    primary.kill().expect("it is ours");
    let ended = Ended::of(child.wait_with_output().expect("it ends"));
    let record = ended.record();
    assert_exact(&record);
    // A busy host makes the generator late, which the verdict says; what is shown here is that the load goes on.
    assert!(matches!(ended.code, Some(0 | 3 | 4)), "{}", ended.stderr);
    let errors = errors_of(&record);
    assert!(errors["unreachable"].as_u64() > Some(0), "{errors:?}");
    assert!(record["generator"]["reconnects"].as_u64() >= Some(8), "{}", record["generator"]);
    let recovery = &record["recovery"];
    assert!(recovery["outages"].as_u64() >= Some(1) && recovery["is_gone"] == false, "{recovery}");
    // Its successor knows what is ours.
    let cleaned = lab.run(&["clean", &url]);
    assert_eq!(cleaned.code, Some(0), "{cleaned:?}");
}
