//! Command lines of the programs, and where each says what it did.

use anyhow::Context;
use serde_json::Value;

use crate::case::{Reading, Site};
use crate::peer::{PGBENCH, REDIS_BENCHMARK, RESP_BENCHMARK, SYSBENCH};

/// Rows that every program chooses from.
const ROWS: u32 = 100_000;

/// Given to every `storelab run` that is measured.
const STORELAB_EXTRA: &str = "";

/// One text field of 100 bytes, about what sysbench's `c` is.
pub(crate) const YCSB: &str = "--workload ycsb:c --set records=100000 --set field_count=1 --set field_length=100";
/// The same, its keys drawn as the bare loop draws them.
pub(crate) const YCSB_UNIFORM: &str =
    "--workload ycsb:c --set records=100000 --set field_count=1 --set field_length=100 --set distribution=uniform";
pub(crate) const GET: &str = "--workload operations --set operations=get --set mode=mix --set rows=100000";
pub(crate) const READ_ONLY: &str = "--workload sysbench:oltp_read_only --set tables=1 --set table_size=100000";

/// BEGIN, 14 SELECTs and COMMIT, by the defaults of sysbench's `oltp_read_only`.
pub(crate) const READ_ONLY_QUERIES: f64 = 16.0;

/// Nothing to prepare.
#[expect(clippy::unnecessary_wraps, reason = "as other preparations, which can fail")]
pub(crate) fn nothing(_site: &Site) -> anyhow::Result<Vec<Vec<String>>> {
    Ok(Vec::new())
}

/// Storelab, for the time of a round.
pub(crate) fn storelab(site: &Site, rest: &str) -> Vec<String> {
    let quiet = format!("--quiet {rest}");
    storelab_run(site, site.url.clone(), &quiet)
}

/// Storelab with all that it watches: samples and progress each second, the host's and the server's counters.
pub(crate) fn storelab_watching(site: &Site, rest: &str) -> Vec<String> {
    storelab_run(site, site.url.clone(), rest)
}

/// Storelab without what can be left out. That nothing is collected is said in a plan: the command line has no word for it.
pub(crate) fn storelab_blind(site: &Site, rest: &str) -> Vec<String> {
    storelab_run(site, blind_plan(site), &format!("--quiet {rest}"))
}

/// Writes the plan of [`storelab_blind`].
pub(crate) fn write_blind_plan(site: &Site) -> anyhow::Result<Vec<Vec<String>>> {
    let plan = serde_json::json!({ "target": site.url, "collect": [] });
    std::fs::write(blind_plan(site), plan.to_string()).context("the plan cannot be written")?;
    Ok(Vec::new())
}

fn blind_plan(site: &Site) -> String {
    site.file("blind.json")
}

fn storelab_run(site: &Site, subject: String, rest: &str) -> Vec<String> {
    let mut command = vec![site.storelab.clone(), "run".to_owned(), subject];
    // No peer judges itself either: what is compared is what all of them did on the same host.
    let taken = "--accept-invalid --json";
    command.extend(words(&format!("{rest} --for {}s --warm-up 1ms {taken} {STORELAB_EXTRA} --report", site.seconds)));
    command.push(site.file("report.html"));
    command
}

/// Loads the data of the workload that `parameters` name.
#[expect(clippy::unnecessary_wraps, reason = "as other preparations, which can fail")]
pub(crate) fn load(site: &Site, parameters: &str) -> anyhow::Result<Vec<Vec<String>>> {
    Ok(vec![[vec![site.storelab.clone(), "load".to_owned(), site.url.clone()], words(parameters)].concat()])
}

/// Storelab's record. What was done in the warm-up cost time too, and counts.
pub(crate) fn storelab_reading(output: &str, _site: &Site) -> Option<Reading> {
    let record: Value = serde_json::from_str(output).ok()?;
    let phases = record["phases"].as_array()?;
    let lateness = &record["generator"]["lateness_us"];
    Some(Reading {
        operations: phases.iter().map(|phase| phase["accounting"]["succeeded"].as_f64()).sum::<Option<f64>>()?,
        operations_per_second: record["throughput_per_second"].as_f64(),
        lateness_us: lateness["p50"].as_f64().zip(lateness["p99"].as_f64()),
        server: record["target"]["server"].as_str().map(str::to_owned),
    })
}

/// As [`storelab_reading`], a transaction being so many queries.
pub(crate) fn storelab_queries(output: &str, site: &Site) -> Option<Reading> {
    storelab_reading(output, site).map(|reading| per_query(reading, READ_ONLY_QUERIES))
}

pub(crate) fn pgbench(site: &Site, rest: &str) -> Vec<String> {
    let reach = format!("-h 127.0.0.1 -p {} -U {}", site.port, site.user);
    [vec![site.program(&PGBENCH)], words(&reach), words(rest), vec![site.database.clone()]].concat()
}

pub(crate) fn pgbench_reading(output: &str, _site: &Site) -> Option<Reading> {
    Some(Reading {
        operations: number_after(output, "number of transactions actually processed:")?,
        operations_per_second: number_after(output, "\ntps ="),
        ..Reading::default()
    })
}

/// sysbench with one of its own scripts; `--db-driver` is `pgsql` or `mysql`.
pub(crate) fn sysbench(site: &Site, driver: &str, script: &str, verb: &str) -> Vec<String> {
    let Site { user, password, port, seconds, database, .. } = site;
    let mut command = vec![site.program(&SYSBENCH)];
    command.extend(words(&format!(
        "{script} --db-driver={driver} --{driver}-host=127.0.0.1 --{driver}-port={port} --{driver}-user={user} \
         --{driver}-password={password} --{driver}-db={database} --tables=1 --table-size={ROWS} --threads=16 \
         --time={seconds} {verb}"
    )));
    command
}

pub(crate) fn sysbench_reading(output: &str, _site: &Site) -> Option<Reading> {
    let transactions = number_after(output, "transactions:")?;
    let seconds = number_after(output, "total time:")?;
    Some(Reading {
        operations: transactions,
        operations_per_second: Some(transactions / seconds),
        ..Reading::default()
    })
}

/// As [`sysbench_reading`], a transaction being so many queries.
pub(crate) fn sysbench_queries(output: &str, site: &Site) -> Option<Reading> {
    sysbench_reading(output, site).map(|reading| per_query(reading, READ_ONLY_QUERIES))
}

/// A script whose event does nothing: a file is the only way to give sysbench an event of one's own.
pub(crate) fn write_empty_event(site: &Site) -> anyhow::Result<Vec<Vec<String>>> {
    std::fs::write(site.file("empty.lua"), "function event() end\n").context("the script cannot be written")?;
    Ok(Vec::new())
}

pub(crate) fn sysbench_empty_event(site: &Site) -> Vec<String> {
    let mut command = vec![site.program(&SYSBENCH), site.file("empty.lua")];
    command.extend(words(&format!("--threads=1 --time={} run", site.seconds)));
    command
}

pub(crate) fn sysbench_events(output: &str, _site: &Site) -> Option<Reading> {
    let events = number_after(output, "total number of events:")?;
    let seconds = number_after(output, "total time:")?;
    Some(Reading { operations: events, operations_per_second: Some(events / seconds), ..Reading::default() })
}

pub(crate) fn redis_benchmark(site: &Site, depth: u32) -> Vec<String> {
    redis_benchmark_of(site, "get", depth, redis_requests(site, depth))
}

/// `redis-benchmark` sets keys at random: ten times as many requests as keys leave one key in 22,000 out.
#[expect(clippy::unnecessary_wraps, reason = "as other preparations, which can fail")]
pub(crate) fn redis_benchmark_load(site: &Site) -> anyhow::Result<Vec<Vec<String>>> {
    Ok(vec![redis_benchmark_of(site, "set", 16, 10 * ROWS)])
}

/// `redis-benchmark` runs a number of requests rather than a time: about as many as fit.
fn redis_requests(site: &Site, depth: u32) -> u32 {
    site.seconds * if depth == 1 { 60_000 } else { 500_000 }
}

fn redis_benchmark_of(site: &Site, command: &str, depth: u32, requests: u32) -> Vec<String> {
    let Site { port, password, .. } = site;
    let rest =
        format!("-h 127.0.0.1 -p {port} -a {password} -t {command} -c 50 -P {depth} -n {requests} -r {ROWS} -d 100 -q");
    [vec![site.program(&REDIS_BENCHMARK)], words(&rest)].concat()
}

/// What it wrote last is `GET: 81234.56 requests per second, p50=0.303 msec`.
pub(crate) fn redis_benchmark_reading(output: &str, site: &Site, depth: u32) -> Option<Reading> {
    let (rest, _) = output.rsplit_once(" requests per second")?;
    Some(Reading {
        operations: f64::from(redis_requests(site, depth)),
        operations_per_second: rest.rsplit(' ').next()?.parse().ok(),
        ..Reading::default()
    })
}

/// `resp-benchmark` starts one thread for each processor that it is given; one, as Storelab's one worker.
pub(crate) fn resp_benchmark(site: &Site, depth: u32) -> Vec<String> {
    let rest = format!("-P {depth} -s {}", site.seconds);
    resp_benchmark_of(site, &rest, &format!("GET {{key uniform {ROWS}}}"))
}

#[expect(clippy::unnecessary_wraps, reason = "as other preparations, which can fail")]
pub(crate) fn resp_benchmark_load(site: &Site) -> anyhow::Result<Vec<Vec<String>>> {
    let rest = format!("-P 16 -n {ROWS} --load");
    Ok(vec![resp_benchmark_of(site, &rest, &format!("SET {{key sequence {ROWS}}} {{value 100}}"))])
}

fn resp_benchmark_of(site: &Site, rest: &str, request: &str) -> Vec<String> {
    let Site { port, password, .. } = site;
    let rest = format!("-h 127.0.0.1 -p {port} -a {password} -c 50 --cores 0 {rest}");
    [vec![site.program(&RESP_BENCHMARK)], words(&rest), vec![request.to_owned()]].concat()
}

/// What it wrote last is `qps: 70739, conn: 50, cnt: 140984, avg: 0.70ms, p99: 2.7ms`.
pub(crate) fn resp_benchmark_reading(output: &str, _site: &Site) -> Option<Reading> {
    let last = output.lines().rfind(|line| line.contains("qps: ") && line.contains("cnt: "))?;
    Some(Reading {
        operations: number_after(last, "cnt:")?,
        operations_per_second: number_after(last, "qps:"),
        ..Reading::default()
    })
}

/// The bare loop of this program.
pub(crate) fn sqlite_loop(site: &Site) -> Vec<String> {
    let file = site.url.trim_start_matches("sqlite:").to_owned();
    vec![site.ourselves.clone(), "sqlite-loop".to_owned(), file, site.seconds.to_string()]
}

pub(crate) fn sqlite_loop_reading(output: &str, _site: &Site) -> Option<Reading> {
    let reads = number_after(output, "")?;
    let seconds = number_after(output, " in")?;
    Some(Reading { operations: reads, operations_per_second: Some(reads / seconds), ..Reading::default() })
}

fn per_query(reading: Reading, queries: f64) -> Reading {
    Reading {
        operations: reading.operations * queries,
        operations_per_second: reading.operations_per_second.map(|rate| rate * queries),
        ..reading
    }
}

/// The first number behind a label.
fn number_after(output: &str, label: &str) -> Option<f64> {
    let (_, rest) = output.split_once(label)?;
    rest.split_whitespace().next()?.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    #[test]
    fn what_programs_write_is_read() {
        let peers = BTreeMap::new();
        let url = "redis://lab:secret@127.0.0.1:7000/15";
        let site = Site::new(Path::new("storelab"), Path::new("here"), url, 2, &peers).expect("a URL");
        assert_eq!((site.user.as_str(), site.port.as_str(), site.database.as_str()), ("lab", "7000", "15"));
        let check = |name: &str, reading: Option<Reading>, operations: f64, rate: f64| {
            let reading = reading.unwrap_or_else(|| panic!("{name} is not read"));
            assert_eq!((reading.operations, reading.operations_per_second), (operations, Some(rate)), "{name}");
        };
        let text = "transaction type: <builtin: select only>\nnumber of transactions actually processed: 91402\n\
            latency average = 0.350 ms\ntps = 45701.123 (without initial connection time)\n";
        check("pgbench", pgbench_reading(text, &site), 91_402.0, 45_701.123);
        let text = "SQL statistics:\n    transactions:                        1000   (499.9 per sec.)\n\n\
            General statistics:\n    total time:                          2.0000s\n    total number of events:  1200\n";
        check("sysbench", sysbench_reading(text, &site), 1_000.0, 500.0);
        check("sysbench, queries", sysbench_queries(text, &site), 16_000.0, 8_000.0);
        check("sysbench, events", sysbench_events(text, &site), 1_200.0, 600.0);
        let text = "GET: rps=0.0 (overall: -nan) avg_msec=-nan\rGET: 81234.5 requests per second, p50=0.303 msec\n\n";
        check("redis-benchmark", redis_benchmark_reading(text, &site, 1), 120_000.0, 81_234.5);
        let text = "\x1b[F\x1b[2Kqps: 60452(overall 70739), conn: 50, cnt: 131940, avg: 0.70ms, p99: 2.9ms\n\
            \x1b[F\x1b[2Kqps: 70739, conn: 50, cnt: 140984, avg: 0.70ms, p99: 2.7ms\n\n";
        check("resp-benchmark", resp_benchmark_reading(text, &site), 140_984.0, 70_739.0);
        check("bare loop", sqlite_loop_reading("1024 reads in 2.0 s\n", &site), 1_024.0, 512.0);
        let text = r#"{"target":{"server":"Redis 7"},"throughput_per_second":20.5,
            "phases":[{"accounting":{"succeeded":1}},{"accounting":{"succeeded":41}}],
            "generator":{"lateness_us":{"p50":1.5,"p99":2.5}}}"#;
        check("storelab", storelab_reading(text, &site), 42.0, 20.5);
        assert_eq!(storelab_reading(text, &site).and_then(|reading| reading.lateness_us), Some((1.5, 2.5)));
    }
}
