//! sysbench's workload against sysbench itself: the same server counts the statements of both.

use std::collections::BTreeMap;
use std::process::Command;

use provision::Server;

use crate::support::{Lab, skipped, text};

/// What MariaDB counts of what clients ask for: each kind of statement, and how its rows were reached. Ways that
/// depend on how a table happens to lie in its pages, or on what else the server does, are left out; so is the number of
/// prepared statements, which differs: sysbench prepares its BEGIN and COMMIT too.
const COUNTED: [&str; 11] = [
    "Com_begin",
    "Com_commit",
    "Com_delete",
    "Com_insert",
    "Com_rollback",
    "Com_select",
    "Com_update",
    "Handler_delete",
    "Handler_read_key",
    "Handler_update",
    "Handler_write",
];

/// How many transactions are counted. Preparing statements and connecting is little against it.
const TRANSACTIONS: u32 = 400;

/// The options that make both use the same tables' sizes.
const TABLE_SIZE: u32 = 10_000;

fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// How a client reaches the server: port, user, password, database.
struct Access {
    port: String,
    user: String,
    password: String,
    database: String,
}

impl Access {
    fn of(server: &Server) -> Self {
        let url = server.url();
        let (credentials, place) =
            url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).expect("a URL of ours");
        let (user, password) = credentials.split_once(':').expect("a user and a password");
        let (_, database) = place.split_once('/').expect("a database");
        let database = database.split('?').next().unwrap_or(database);
        Self {
            port: server.port().to_string(),
            user: user.to_owned(),
            password: password.to_owned(),
            database: database.to_owned(),
        }
    }

    /// The server's counters.
    fn counters(&self) -> BTreeMap<String, i64> {
        let output = Command::new("mariadb")
            .args([
                "--no-defaults",
                "-h",
                "127.0.0.1",
                "-P",
                &self.port,
                "-u",
                &self.user,
                "-N",
                "-B",
                "-e",
                "SHOW GLOBAL STATUS",
            ])
            .env("MYSQL_PWD", &self.password)
            .output()
            .expect("the client starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let pair = |line: &str| {
            let (name, value) = line.split_once('\t')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        lines.lines().filter_map(pair).filter(|(name, _)| COUNTED.contains(&name.as_str())).collect()
    }

    fn sysbench(&self, script: &str, command: &str) {
        let output = Command::new("sysbench")
            .args([script, "--db-driver=mysql", "--mysql-host=127.0.0.1", "--rand-type=uniform", "--threads=1"])
            .args([format!("--mysql-port={}", self.port), format!("--mysql-user={}", self.user)])
            .args([format!("--mysql-password={}", self.password), format!("--mysql-db={}", self.database)])
            .args([format!("--table-size={TABLE_SIZE}"), format!("--events={TRANSACTIONS}"), "--time=0".to_owned()])
            .arg(command)
            .output()
            .expect("sysbench starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    /// What the server counts while something is done, a transaction, rounded: connecting is none of it.
    fn counted(&self, work: impl FnOnce()) -> BTreeMap<String, i64> {
        let before = self.counters();
        work();
        let transactions = f64::from(TRANSACTIONS);
        let each = |(name, after): (String, i64)| {
            let count = (after - before[&name]) as f64 / transactions;
            (name, count.round() as i64)
        };
        self.counters().into_iter().map(each).collect()
    }
}

#[test]
fn a_transaction_has_the_statements_of_sysbenchs_own() {
    for program in ["sysbench", "mariadb"] {
        if !is_installed(program) {
            assert!(std::env::var_os("STORELAB_REQUIRE_ENGINES").is_none(), "{program} is not installed");
            skipped(&format!("{program} is not installed"));
            return;
        }
    }
    let lab = Lab::new();
    let Some(server) = lab.server("mariadb") else { return };
    let access = Access::of(&server);
    let scripts = ["oltp_read_only", "oltp_point_select", "oltp_read_write", "oltp_write_only", "oltp_update_index"];
    access.sysbench("oltp_read_only", "prepare");
    // Not those that add or remove rows: before each run of them the data is loaded, and the server counts that as well.
    for script in scripts {
        let theirs = access.counted(|| access.sysbench(script, "run"));
        let workload = format!("sysbench:{script}");
        let (size, operations) = (format!("table_size={TABLE_SIZE}"), TRANSACTIONS.to_string());
        let work = ["--workload", &workload, "--set", &size, "--set", "distribution=uniform"];
        let store = text(&lab.path("results.db")).to_owned();
        let loaded = lab.run(&[&["load", server.url()][..], &work].concat());
        assert_eq!(loaded.code, Some(0), "{loaded:?}");
        let loop_of = ["--sessions", "1", "--workers", "1", "--warm-up", "0s", "--store", &store, "--keep-data"];
        let run = || {
            let arguments = [&["run", server.url(), "--operations", &operations][..], &work, &loop_of].concat();
            let ran = lab.run(&arguments);
            assert_eq!(ran.code, Some(0), "{ran:?}");
        };
        let ours = access.counted(run);
        assert_eq!(ours, theirs, "{script}");
        assert!(ours["Com_select"] + ours["Com_update"] + ours["Com_delete"] > 0, "{script}: {ours:?}");
    }
    assert_eq!(lab.run(&["clean", server.url()]).code, Some(0));
}
