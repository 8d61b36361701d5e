//! What is compared: the case, the programs, their command lines, and where each says how much it did.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A comparison.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The engine that is started for it, or none where `target` needs no server.
    pub(crate) engine: Option<&'static str>,
    pub(crate) settings: &'static [(&'static str, &'static str)],
    pub(crate) target: &'static str,
    /// Storelab first.
    pub(crate) programs: &'static [Program],
}

/// One program of a comparison.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    /// Command lines that load its data.
    pub(crate) prepare: fn(&Site) -> Vec<Vec<String>>,
    /// The command line that is measured.
    pub(crate) run: fn(&Site) -> Vec<String>,
    /// How many operations it did, from what it wrote.
    pub(crate) operations: fn(&str, &Site) -> Option<f64>,
}

/// Where a case runs.
pub(crate) struct Site {
    pub(crate) storelab: String,
    pub(crate) folder: PathBuf,
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) port: String,
    pub(crate) database: String,
    pub(crate) seconds: u32,
}

/// Rows that every program chooses from.
const ROWS: u32 = 100_000;
/// One text field of 100 bytes, about what sysbench's `c` is.
const YCSB: &str = "--workload ycsb:c --set records=100000 --set field_count=1 --set field_length=100";
const GET: &str = "--workload operations --set operations=get --set mode=mix --set rows=100000";

pub(crate) static CASES: &[Case] = &[
    Case {
        name: "harness: null driver, closed, one thread",
        engine: None,
        settings: &[],
        target: "null:",
        programs: &[
            Program {
                name: "storelab",
                prepare: |_| Vec::new(),
                run: |site| ours(site, "--workload ycsb:c --sessions 1 --workers 1"),
                operations: our_operations,
            },
            Program {
                name: "sysbench, empty event",
                // A file is the only way to give sysbench an event of one's own.
                prepare: |site| {
                    let write = format!("echo 'function event() end' > '{}'", empty_event(site));
                    vec![vec!["sh".to_owned(), "-c".to_owned(), write]]
                },
                run: |site| words(&format!("sysbench {} --threads=1 --time={} run", empty_event(site), site.seconds)),
                operations: |output, _| number_after(output, "total number of events:"),
            },
        ],
    },
    Case {
        name: "PostgreSQL point select, prepared, 16 sessions, one thread",
        engine: Some("postgres"),
        settings: &[],
        target: "",
        programs: &[
            Program {
                name: "storelab",
                prepare: load_ycsb,
                run: |site| ours(site, &format!("{YCSB} --sessions 16 --workers 1")),
                operations: our_operations,
            },
            Program {
                name: "pgbench -S -M prepared -c 16 -j 1",
                prepare: |site| vec![pgbench(site, "-i -q -s 1")],
                run: |site| pgbench(site, &format!("-n -S -M prepared -c 16 -j 1 -T {}", site.seconds)),
                operations: |output, _| number_after(output, "number of transactions actually processed: "),
            },
            Program {
                name: "sysbench oltp_point_select --threads=16",
                prepare: |site| vec![sysbench_postgres(site, "prepare")],
                run: |site| sysbench_postgres(site, "run"),
                operations: |output, _| number_after(output, "transactions:"),
            },
        ],
    },
    Case {
        name: "MariaDB point select, prepared, 16 sessions",
        engine: Some("mariadb"),
        settings: &[],
        target: "",
        programs: &[
            Program {
                name: "storelab",
                prepare: load_ycsb,
                run: |site| ours(site, &format!("{YCSB} --sessions 16 --workers 1")),
                operations: our_operations,
            },
            Program {
                name: "sysbench oltp_point_select --threads=16",
                prepare: |site| vec![sysbench_mariadb(site, "prepare")],
                run: |site| sysbench_mariadb(site, "run"),
                operations: |output, _| number_after(output, "transactions:"),
            },
        ],
    },
    Case {
        name: "Redis GET, 50 sessions, depth 1",
        engine: Some("redis"),
        settings: &[],
        target: "",
        programs: &[
            Program {
                name: "storelab",
                prepare: load_get,
                run: |site| ours(site, &format!("{GET} --sessions 50 --workers 1")),
                operations: our_operations,
            },
            Program {
                name: "redis-benchmark -c 50 -P 1",
                prepare: redis_benchmark_load,
                run: |site| redis_benchmark(site, 1),
                operations: |_, site| Some(f64::from(redis_requests(site, 1))),
            },
        ],
    },
    Case {
        name: "Redis GET, 50 sessions, depth 16",
        engine: Some("redis"),
        settings: &[],
        target: "",
        programs: &[
            Program {
                name: "storelab",
                prepare: load_get,
                run: |site| ours(site, &format!("{GET} --sessions 50 --depth 16 --workers 1")),
                operations: our_operations,
            },
            Program {
                name: "redis-benchmark -c 50 -P 16",
                prepare: redis_benchmark_load,
                run: |site| redis_benchmark(site, 16),
                operations: |_, site| Some(f64::from(redis_requests(site, 16))),
            },
        ],
    },
];

fn ours(site: &Site, rest: &str) -> Vec<String> {
    let mut command = vec![site.storelab.clone(), "run".to_owned(), site.url.clone()];
    command.extend(words(&format!("{rest} --for {}s --warm-up 1ms --json --quiet --report", site.seconds)));
    command.push(site.folder.join("report.html").display().to_string());
    command
}

fn load_ycsb(site: &Site) -> Vec<Vec<String>> {
    vec![[vec![site.storelab.clone(), "load".to_owned(), site.url.clone()], words(YCSB)].concat()]
}

fn load_get(site: &Site) -> Vec<Vec<String>> {
    vec![[vec![site.storelab.clone(), "load".to_owned(), site.url.clone()], words(GET)].concat()]
}

fn our_operations(output: &str, _site: &Site) -> Option<f64> {
    let record: Value = serde_json::from_str(output).ok()?;
    record["phases"].as_array()?.iter().map(|phase| phase["accounting"]["succeeded"].as_f64()).sum()
}

fn pgbench(site: &Site, rest: &str) -> Vec<String> {
    let reach = format!("-h 127.0.0.1 -p {} -U {}", site.port, site.user);
    [vec![postgres_program("pgbench")], words(&reach), words(rest), vec![site.database.clone()]].concat()
}

/// Debian keeps PostgreSQL's own programs in a folder for each version; most of them are linked on PATH.
fn postgres_program(name: &str) -> String {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin").join(name)).collect())
        .unwrap_or_default();
    versions.retain(|path| path.is_file());
    versions.sort();
    versions.pop().map_or_else(|| name.to_owned(), |path| path.display().to_string())
}

fn sysbench_postgres(site: &Site, verb: &str) -> Vec<String> {
    sysbench(site, "pgsql", &format!("--pgsql-db={}", site.database), verb)
}

fn sysbench_mariadb(site: &Site, verb: &str) -> Vec<String> {
    sysbench(site, "mysql", &format!("--mysql-db={}", site.database), verb)
}

fn sysbench(site: &Site, driver: &str, database: &str, verb: &str) -> Vec<String> {
    let Site { user, password, port, seconds, .. } = site;
    words(&format!(
        "sysbench oltp_point_select --db-driver={driver} --{driver}-host=127.0.0.1 --{driver}-port={port} \
         --{driver}-user={user} --{driver}-password={password} {database} --tables=1 --table-size={ROWS} \
         --threads=16 --time={seconds} {verb}"
    ))
}

/// `redis-benchmark` runs a number of requests rather than a time: about as many as fit.
fn redis_requests(site: &Site, depth: u32) -> u32 {
    site.seconds * if depth == 1 { 60_000 } else { 500_000 }
}

fn redis_benchmark(site: &Site, depth: u32) -> Vec<String> {
    let requests = redis_requests(site, depth);
    let Site { port, password, .. } = site;
    words(&format!(
        "redis-benchmark -h 127.0.0.1 -p {port} -a {password} -t get -c 50 -P {depth} -n {requests} -r {ROWS} -d 100 -q"
    ))
}

/// `redis-benchmark` sets keys at random: ten times as many requests as keys leave one key in 22,000 out.
fn redis_benchmark_load(site: &Site) -> Vec<Vec<String>> {
    let Site { port, password, .. } = site;
    let requests = 10 * ROWS;
    vec![words(&format!(
        "redis-benchmark -h 127.0.0.1 -p {port} -a {password} -t set -c 50 -P 16 -n {requests} -r {ROWS} -d 100 -q"
    ))]
}

fn empty_event(site: &Site) -> String {
    site.folder.join("empty.lua").display().to_string()
}

fn number_after(output: &str, label: &str) -> Option<f64> {
    let (_, rest) = output.split_once(label)?;
    rest.split_whitespace().next()?.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Site {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}
