//! Data stores of several nodes, one of which dies under load.

use crate::crash::{await_load, errors_of};
use crate::support::{Ended, Lab, assert_exact};

/// A store of several nodes that goes on without one of them.
struct Case {
    engine: &'static str,
    nodes: usize,
    /// The node that is killed.
    victim: usize,
    workload: &'static str,
    /// So many that eight are at that node.
    sessions: &'static str,
    /// Whether the others let Storelab's own be dropped at once. A standby takes no writes, and `CockroachDB` waits minutes
    /// for what the dead node has leased.
    cleans: bool,
}

/// A replica set of MongoDB elects another primary; PostgreSQL's standby goes on reading; the ranges of CockroachDB are
/// leased by those that are left. Every session finds who serves it among the nodes that are listed.
const CASES: [Case; 3] = [
    Case { engine: "cockroachdb", nodes: 3, victim: 1, workload: "ycsb:a", sessions: "24", cleans: false },
    Case { engine: "mongodb", nodes: 3, victim: 0, workload: "ycsb:a", sessions: "8", cleans: true },
    Case { engine: "postgres", nodes: 2, victim: 0, workload: "ycsb:c", sessions: "8", cleans: false },
];

#[test]
fn a_node_killed_under_load_is_counted_and_another_is_used() {
    for Case { engine, nodes, victim, workload, sessions, cleans } in CASES {
        let lab = Lab::new();
        let Some(cluster) = lab.cluster(engine, nodes) else { continue };
        let url = cluster.url();
        let work = ["--json", "--rate", "200/s", "--for", "25s", "--drain", "5s", "--set", "records=200"];
        let load = ["--workload", workload, "--sessions", sessions];
        let mut child = lab.spawn(&[&["run", &url][..], &work, &load].concat());
        let node = &cluster.nodes()[victim];
        await_load(&lab, &mut child, node.port());
        node.kill().expect("it is ours");
        let ended = Ended::of(child.wait_with_output().expect("it ends"));
        let record = ended.record();
        assert_exact(&record);
        // A busy host makes the generator late, which the verdict says; what is shown here is that the load goes on.
        assert!(matches!(ended.code, Some(0 | 3 | 4)), "{engine}: {}", ended.stderr);
        let errors = errors_of(&record);
        assert!(errors["unreachable"].as_u64() > Some(0), "{engine}: {errors:?}");
        assert!(record["generator"]["reconnects"].as_u64() >= Some(8), "{engine}: {}", record["generator"]);
        let recovery = &record["recovery"];
        assert!(recovery["outages"].as_u64() >= Some(1) && recovery["is_gone"] == false, "{engine}: {recovery}");
        if cleans {
            // Its successor knows what is ours.
            let cleaned = lab.run(&["clean", &url]);
            assert_eq!(cleaned.code, Some(0), "{engine}: {cleaned:?}");
        }
    }
}
