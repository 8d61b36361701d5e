//! What is compared with what, and what is wanted of it.

use crate::case::{Case, Goal, Program};
use crate::peer::{PGBENCH, REDIS_BENCHMARK, RESP_BENCHMARK, SYSBENCH};
use crate::programs::{self, GET, READ_ONLY, YCSB, YCSB_UNIFORM};

/// Beside its sessions Storelab has a few files open, and so has the server.
const OPEN_FILES_BESIDE: u64 = 500;

/// What most cases need.
const OPEN_FILES: u64 = 50 + OPEN_FILES_BESIDE;

/// A program of ours, on the target itself.
const STORELAB: Program = Program {
    name: "storelab",
    peer: None,
    prepare: programs::nothing,
    run: |_| Vec::new(),
    read: programs::storelab_reading,
    is_watched: false,
    goals: &[],
};

/// A program of somebody else.
const PEER: Program = Program { name: "", ..STORELAB };

const NO_ENGINE: Case = Case { name: "", engine: None, target: "", open_files: OPEN_FILES, programs: &[] };
const POSTGRES: Case = Case { engine: Some("postgres"), ..NO_ENGINE };
const MARIADB: Case = Case { engine: Some("mariadb"), ..NO_ENGINE };
const REDIS: Case = Case { engine: Some("redis"), ..NO_ENGINE };

/// Where nothing more is wanted than that a peer costs no less.
const NO_MORE_CPU: &[Goal] = &[Goal::cpu(1.0)];

pub(crate) static CASES: &[Case] = &[
    Case {
        name: "harness: null driver, closed, one thread",
        target: "null:",
        programs: &[
            Program { run: |site| programs::storelab(site, "--workload ycsb:c --sessions 1 --workers 1"), ..STORELAB },
            Program {
                name: "sysbench, empty event",
                peer: Some(&SYSBENCH),
                prepare: programs::write_empty_event,
                run: programs::sysbench_empty_event,
                read: programs::sysbench_events,
                goals: NO_MORE_CPU,
                ..PEER
            },
        ],
        ..NO_ENGINE
    },
    Case {
        name: "PostgreSQL point select, prepared, 16 sessions",
        programs: &[
            Program {
                prepare: |site| programs::load(site, YCSB),
                run: |site| programs::storelab(site, &format!("{YCSB} --sessions 16 --workers 1")),
                ..STORELAB
            },
            Program {
                name: "pgbench -S -M prepared -c 16 -j 1",
                peer: Some(&PGBENCH),
                prepare: |site| Ok(vec![programs::pgbench(site, "-i -q -s 1")]),
                run: |site| programs::pgbench(site, &format!("-n -S -M prepared -c 16 -j 1 -T {}", site.seconds)),
                read: programs::pgbench_reading,
                goals: &[Goal::cpu(0.9)],
                ..PEER
            },
            Program {
                name: "sysbench oltp_point_select --threads=16",
                peer: Some(&SYSBENCH),
                prepare: |site| Ok(vec![programs::sysbench(site, "pgsql", "oltp_point_select", "prepare")]),
                run: |site| programs::sysbench(site, "pgsql", "oltp_point_select", "run"),
                read: programs::sysbench_reading,
                goals: &[Goal::cpu(0.6)],
                ..PEER
            },
        ],
        ..POSTGRES
    },
    Case {
        name: "PostgreSQL point select, open, 5,000/s, 16 sessions",
        programs: &[
            Program {
                prepare: |site| programs::load(site, YCSB),
                run: |site| programs::storelab(site, &format!("{YCSB} --rate 5000/s --sessions 16 --workers 1")),
                goals: OPEN_LATENESS,
                ..STORELAB
            },
            Program {
                name: "pgbench -S -M prepared -c 16 -j 1 -R 5000",
                peer: Some(&PGBENCH),
                prepare: |site| Ok(vec![programs::pgbench(site, "-i -q -s 1")]),
                run: |site| {
                    programs::pgbench(site, &format!("-n -S -M prepared -c 16 -j 1 -R 5000 -T {}", site.seconds))
                },
                read: programs::pgbench_reading,
                goals: &[Goal::cpu(0.5)],
                ..PEER
            },
            Program {
                name: "sysbench oltp_point_select --threads=16 --rate=5000",
                peer: Some(&SYSBENCH),
                prepare: |site| Ok(vec![programs::sysbench(site, "pgsql", "oltp_point_select", "prepare")]),
                run: |site| programs::sysbench(site, "pgsql", "oltp_point_select --rate=5000", "run"),
                read: programs::sysbench_reading,
                goals: &[Goal::cpu(0.3)],
                ..PEER
            },
        ],
        ..POSTGRES
    },
    Case {
        name: "PostgreSQL oltp_read_only, 14 selects a transaction, 16 sessions; per query",
        programs: &[
            Program {
                prepare: |site| programs::load(site, READ_ONLY),
                run: |site| programs::storelab(site, &format!("{READ_ONLY} --sessions 16 --workers 1")),
                read: programs::storelab_queries,
                ..STORELAB
            },
            Program {
                name: "sysbench oltp_read_only --threads=16",
                peer: Some(&SYSBENCH),
                prepare: |site| Ok(vec![programs::sysbench(site, "pgsql", "oltp_read_only", "prepare")]),
                run: |site| programs::sysbench(site, "pgsql", "oltp_read_only", "run"),
                read: programs::sysbench_queries,
                goals: &[Goal::cpu(0.6)],
                ..PEER
            },
        ],
        ..POSTGRES
    },
    Case {
        name: "MariaDB point select, prepared, 16 sessions",
        programs: &[
            Program {
                prepare: |site| programs::load(site, YCSB),
                run: |site| programs::storelab(site, &format!("{YCSB} --sessions 16 --workers 1")),
                ..STORELAB
            },
            Program {
                name: "sysbench oltp_point_select --threads=16",
                peer: Some(&SYSBENCH),
                prepare: |site| Ok(vec![programs::sysbench(site, "mysql", "oltp_point_select", "prepare")]),
                run: |site| programs::sysbench(site, "mysql", "oltp_point_select", "run"),
                read: programs::sysbench_reading,
                goals: &[Goal::cpu(0.75)],
                ..PEER
            },
        ],
        ..MARIADB
    },
    Case {
        name: "MariaDB point select, open, 5,000/s, 16 sessions",
        programs: &[
            Program {
                prepare: |site| programs::load(site, YCSB),
                run: |site| programs::storelab(site, &format!("{YCSB} --rate 5000/s --sessions 16 --workers 1")),
                goals: OPEN_LATENESS,
                ..STORELAB
            },
            Program {
                name: "sysbench oltp_point_select --threads=16 --rate=5000",
                peer: Some(&SYSBENCH),
                prepare: |site| Ok(vec![programs::sysbench(site, "mysql", "oltp_point_select", "prepare")]),
                run: |site| programs::sysbench(site, "mysql", "oltp_point_select --rate=5000", "run"),
                read: programs::sysbench_reading,
                goals: &[Goal::cpu(0.35)],
                ..PEER
            },
        ],
        ..MARIADB
    },
    Case {
        name: "Redis GET, 50 sessions, depth 1, one thread each",
        programs: &[
            Program {
                prepare: |site| programs::load(site, GET),
                run: |site| programs::storelab(site, &format!("{GET} --sessions 50 --workers 1")),
                ..STORELAB
            },
            Program {
                name: "redis-benchmark -c 50 -P 1",
                run: |site| programs::redis_benchmark(site, 1),
                read: |output, site| programs::redis_benchmark_reading(output, site, 1),
                ..REDIS_BENCHMARK_GET
            },
            Program {
                name: "resp-benchmark -c 50 -P 1 --cores 0",
                run: |site| programs::resp_benchmark(site, 1),
                ..RESP_BENCHMARK_GET
            },
        ],
        ..REDIS
    },
    Case {
        name: "Redis GET, 50 sessions, depth 16, one thread each",
        programs: &[
            Program {
                prepare: |site| programs::load(site, GET),
                run: |site| programs::storelab(site, &format!("{GET} --sessions 50 --depth 16 --workers 1")),
                ..STORELAB
            },
            Program {
                name: "redis-benchmark -c 50 -P 16",
                run: |site| programs::redis_benchmark(site, 16),
                read: |output, site| programs::redis_benchmark_reading(output, site, 16),
                ..REDIS_BENCHMARK_GET
            },
            Program {
                name: "resp-benchmark -c 50 -P 16 --cores 0",
                run: |site| programs::resp_benchmark(site, 16),
                ..RESP_BENCHMARK_GET
            },
        ],
        ..REDIS
    },
    Case {
        name: "SQLite point read, one session",
        target: "sqlite:{folder}/peers.db",
        programs: &[
            Program {
                prepare: |site| programs::load(site, YCSB_UNIFORM),
                run: |site| programs::storelab(site, &format!("{YCSB_UNIFORM} --sessions 1 --workers 1")),
                ..STORELAB
            },
            Program {
                name: "bare rusqlite loop, one prepared statement, same file",
                run: programs::sqlite_loop,
                read: programs::sqlite_loop_reading,
                goals: &[Goal::cpu(1.15)],
                ..PEER
            },
        ],
        ..NO_ENGINE
    },
    Case {
        name: "memory: Redis GET, 1,000 sessions",
        open_files: 1_000 + OPEN_FILES_BESIDE,
        programs: &[Program {
            prepare: |site| programs::load(site, GET),
            run: |site| programs::storelab(site, &format!("{GET} --sessions 1000")),
            goals: &[Goal::memory_mib(32.0)],
            ..STORELAB
        }],
        ..REDIS
    },
    Case {
        name: "memory: Redis GET, 10,000 sessions",
        open_files: 10_000 + OPEN_FILES_BESIDE,
        programs: &[Program {
            prepare: |site| programs::load(site, GET),
            run: |site| programs::storelab(site, &format!("{GET} --sessions 10000")),
            goals: &[Goal::memory_mib(160.0)],
            ..STORELAB
        }],
        ..REDIS
    },
    Case {
        name: "what is watched: null driver, one thread",
        target: "null:",
        programs: &[
            Program {
                name: "storelab, host watched, progress shown",
                run: |site| programs::storelab_watching(site, "--workload ycsb:c --sessions 1 --workers 1"),
                is_watched: true,
                ..STORELAB
            },
            Program {
                name: "storelab, collect: [], --quiet",
                prepare: programs::write_blind_plan,
                run: |site| programs::storelab_blind(site, "--workload ycsb:c --sessions 1 --workers 1"),
                goals: WATCHING,
                ..STORELAB
            },
        ],
        ..NO_ENGINE
    },
    Case {
        name: "the live view: null driver, one thread",
        target: "null:",
        programs: &[
            Program {
                name: "storelab --live",
                run: |site| programs::storelab_watching(site, "--workload ycsb:c --sessions 1 --workers 1 --live"),
                is_watched: true,
                ..STORELAB
            },
            Program {
                name: "storelab, progress shown",
                run: |site| programs::storelab_watching(site, "--workload ycsb:c --sessions 1 --workers 1"),
                is_watched: true,
                goals: LIVE,
                ..STORELAB
            },
        ],
        ..NO_ENGINE
    },
    Case {
        name: "what is watched: Redis GET, 50 sessions, one thread",
        programs: &[
            Program {
                name: "storelab, host and server watched, progress shown",
                prepare: |site| programs::load(site, GET),
                run: |site| programs::storelab_watching(site, &format!("{GET} --sessions 50 --workers 1")),
                is_watched: true,
                ..STORELAB
            },
            Program {
                name: "storelab, collect: [], --quiet",
                prepare: programs::write_blind_plan,
                run: |site| programs::storelab_blind(site, &format!("{GET} --sessions 50 --workers 1")),
                goals: WATCHING,
                ..STORELAB
            },
        ],
        ..REDIS
    },
];

/// A tenth of a millisecond is what a timer and a wake-up cost on a host that has other things to do too.
const OPEN_LATENESS: &[Goal] = &[Goal::lateness_us(100.0)];

/// What is watched each second is for nothing in what is measured.
const WATCHING: &[Goal] = &[Goal::cpu(1.02)];

/// The worker uses a core, of which the view may add 3 %.
const LIVE: &[Goal] = &[Goal::cpu(1.03)];

const REDIS_BENCHMARK_GET: Program =
    Program { peer: Some(&REDIS_BENCHMARK), prepare: programs::redis_benchmark_load, goals: NO_MORE_CPU, ..PEER };

const RESP_BENCHMARK_GET: Program = Program {
    peer: Some(&RESP_BENCHMARK),
    prepare: programs::resp_benchmark_load,
    read: programs::resp_benchmark_reading,
    goals: &[Goal::throughput(0.95)],
    ..PEER
};
