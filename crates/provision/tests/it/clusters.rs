//! Several nodes that are one data store.

use std::time::Duration;

use provision::{Cluster, ErrorKind};

use crate::{ask_redis, home, installed, options, password, within};

/// What engines have in common that form clusters of masters and replicas.
const ENGINES: &[&str] = &["redis", "valkey"];

/// A node is given up after two seconds, and the vote takes one more; for a busy machine.
const TAKES_OVER_WITHIN: Duration = Duration::from_mins(1);

#[test]
fn nodes_form_one_store_and_go_together() {
    for engine in installed().into_iter().filter(|engine| ENGINES.contains(&engine.name())) {
        let (_folder, home) = home();
        for count in [3, 6] {
            let cluster = Cluster::start(engine, count, &options(&home)).expect("it forms");
            let url = cluster.url();
            assert_eq!(url.matches("127.0.0.1:").count(), count, "all nodes are listed");
            let secret = password(url.split('?').next().expect("there is a first part"));
            for node in cluster.nodes() {
                // A key of any slot is served, or said to be elsewhere; nobody says that the cluster is down.
                let answer = ask_redis(node.port(), &secret, "GET lab");
                assert!(answer == "$-1" || answer.starts_with("-MOVED"), "{answer}");
            }
            cluster.stop().expect("they go");
        }
        let error = Cluster::start(engine, 100, &options(&home)).expect_err("too many");
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_replica_takes_over_and_the_node_comes_back() {
    for engine in installed().into_iter().filter(|engine| ENGINES.contains(&engine.name())) {
        let (_folder, home) = home();
        let mut cluster = Cluster::start(engine, 6, &options(&home)).expect("it forms");
        let secret = password(cluster.url().split('?').next().expect("there is a first part"));
        let (first, replica) = (cluster.nodes()[0].port(), cluster.nodes()[3].port());
        // A key of slot 5,061, which is the first node's and its replica's.
        let change = |port: u16| ask_redis(port, &secret, "INCR bar");
        assert_eq!(change(first), ":1");
        assert!(change(replica).starts_with("-MOVED"));
        cluster.nodes()[0].kill().expect("the node is ours");
        within(TAKES_OVER_WITHIN, "the replica takes over", || change(replica).starts_with(':'));
        cluster.nodes_mut()[0].restart().expect("the node is ours");
        within(TAKES_OVER_WITHIN, "the node has joined as a replica", || change(first).starts_with("-MOVED"));
        cluster.stop().expect("they go");
    }
}
