//! `cargo xtask calibrate PROGRAM`: shows how often comparisons are wrong: identical pairs that are called different, and
//! pairs of which one is 5 % slower that are not called so. It knows the program by its command line alone.
//!
//! Each round makes runs in changing order: one of a target as it is, another of the same, or one of the target made 5 %
//! slower: its delay is longer by 5 % of the mean latency that was measured before. The target is the `null` store with
//! service times that are spread as those of servers are, drawn anew for each run, or a throw-away PostgreSQL behind a proxy
//! on loopback that holds answers back. Rounds that were made are kept where `--home` says, and not made again.

mod proxy;
mod tally;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::lab::{Lab, Server};
use proxy::Proxy;
use tally::Round;

/// How much slower the slower target is.
const SLOWER: f64 = 0.05;

/// Mean service time of the virtual store, in microseconds: a server's that looks something up, on a network.
const NULL_LATENCY_US: f64 = 2_000.0;

/// By how much the proxy holds back answers of PostgreSQL: far more than its own unsteadiness.
const PROXY_DELAY: Duration = Duration::from_millis(2);

/// What every run is asked.
const LOAD: &[&str] = &["--workload", "ycsb:c", "--set", "records=1000", "--sessions", "4"];

/// Pairs by which the noise is measured beforehand.
const CALIBRATION_PAIRS: u32 = 20;

/// Rounds at the most: a day of them.
const PAIRS_MAX: u32 = 5_000;

/// What the command takes.
#[derive(Debug, PartialEq)]
struct Options {
    /// Pairs of identical runs, and how long each run is.
    pairs: u32,
    seconds: u32,
    /// Pairs of which one is slower, and how long each run is.
    slower: u32,
    slower_seconds: u32,
    /// Rounds of both against PostgreSQL.
    postgres: u32,
    out: PathBuf,
    home: Option<PathBuf>,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            pairs: 200,
            seconds: 10,
            slower: 100,
            slower_seconds: 10,
            postgres: 10,
            out: PathBuf::from("docs/statistics/calibration.json"),
            home: None,
        };
        for pair in arguments.chunks(2) {
            let [flag, value] = pair else { bail!("`{}` has no value", pair[0]) };
            let number = || value.parse::<u32>().ok().filter(|number| *number <= PAIRS_MAX);
            let number = || number().with_context(|| format!("{flag} wants a number up to {PAIRS_MAX}, not `{value}`"));
            match flag.as_str() {
                "--pairs" => options.pairs = number()?,
                "--seconds" => options.seconds = number()?.max(4),
                "--slower" => options.slower = number()?,
                "--slower-seconds" => options.slower_seconds = number()?.max(4),
                "--postgres" => options.postgres = number()?,
                "--out" => options.out = PathBuf::from(value),
                "--home" => options.home = Some(PathBuf::from(value)),
                _ => bail!(
                    "there is no `{flag}`: there are --pairs, --seconds, --slower, --slower-seconds, --postgres, --out and --home"
                ),
            }
        }
        Ok(options)
    }
}

/// Makes the rounds, prints the tables and writes them down.
pub(crate) fn run(root: &Path, program: PathBuf, arguments: &[String]) -> Result<ExitCode> {
    let options = Options::parse(arguments)?;
    let temporary = tempfile::tempdir().context("a folder for the results")?;
    let home = std::path::absolute(options.home.as_deref().unwrap_or(temporary.path())).context("the folder's path")?;
    fs::create_dir_all(&home).context("the folder for the results")?;
    let lab = Lab { program, home, temporary: std::env::temp_dir() };
    let [pairs, slower] = [
        Series { name: "null", rounds: options.pairs, seconds: options.seconds, against: &["second"] },
        Series { name: "null-slower", rounds: options.slower, seconds: options.slower_seconds, against: &["slower"] },
    ];
    let mut subjects = Vec::new();
    for series in [pairs, slower].into_iter().filter(|series| series.rounds > 0) {
        subjects.push(lab.null(series)?);
    }
    if options.postgres > 0 {
        let series = Series { name: "postgres", rounds: options.postgres, against: &["second", "slower"], ..slower };
        subjects.push(lab.postgres(series)?);
    }
    let document = json!({
        "schema": "storelab.error-rates/1",
        "slower": SLOWER,
        "sessions": 4,
        "calibration_pairs": CALIBRATION_PAIRS,
        "subjects": subjects,
    });
    let out = root.join(&options.out);
    fs::create_dir_all(out.parent().context("a folder")?).context("the folder of the result")?;
    fs::write(&out, serde_json::to_string_pretty(&document)? + "\n").context("the result")?;
    tell(&format!("written to {}", out.display()));
    Ok(ExitCode::SUCCESS)
}

/// Rounds of one kind.
#[derive(Clone, Copy)]
struct Series {
    name: &'static str,
    rounds: u32,
    /// How long each run is.
    seconds: u32,
    /// What a run of the target is held against: a `second` one of the same, one of the `slower`.
    against: &'static [&'static str],
}

impl Lab {
    /// All rounds of a target and its slower twin, as a table and as JSON.
    fn subject(&self, series: Series, targets: [&str; 2]) -> Result<Value> {
        let Series { name, rounds, seconds, .. } = series;
        let kept = self.home.join(format!("rounds-{name}.jsonl"));
        let mut made: Vec<Round> = match fs::read_to_string(&kept) {
            Ok(text) => text.lines().map(Round::parse).collect::<Result<_>>()?,
            Err(_) => Vec::new(),
        };
        // Noise is kept by the kind of store, as comparisons ask for it.
        let store = targets[0].split(':').next().unwrap_or_default();
        let measured = self.home.join(format!("noise-{store}"));
        if !measured.exists() {
            tell(&format!("{name}: the noise, by {CALIBRATION_PAIRS} pairs"));
            let [pairs, duration] = [CALIBRATION_PAIRS.to_string(), format!("{seconds}s")];
            let arguments =
                [&["calibrate", targets[0], "--pairs", &pairs, "--for", &duration, "--quiet"], LOAD].concat();
            self.output(&arguments, &[0, 4])?;
            fs::write(&measured, "").context("a mark in the folder")?;
        }
        for number in made.len() as u32..rounds {
            let round = self.round(series, targets, number)?;
            let mut file = OpenOptions::new().create(true).append(true).open(&kept).context("the rounds")?;
            writeln!(file, "{}", round.to_json()).context("the rounds")?;
            tell(&format!("{name} {} of {rounds}: {}", number + 1, round.in_short()));
            made.push(round);
        }
        let table = tally::table(&made[..made.len().min(rounds as usize)]);
        tell(&format!("\n{name}\n{}", tally::text(&table)));
        Ok(json!({ "name": name, "rounds": rounds, "seconds": seconds, "metrics": table }))
    }

    /// A run, and those that it is held against, in an order that changes from round to round.
    fn round(&self, series: Series, targets: [&str; 2], number: u32) -> Result<Round> {
        let mut order: Vec<&str> = ["first"].iter().chain(series.against).copied().collect();
        let count = order.len();
        order.rotate_left(number as usize % count);
        let mut runs = std::collections::BTreeMap::new();
        for (place, role) in order.into_iter().enumerate() {
            let target = if role == "slower" { targets[1] } else { targets[0] };
            let [seed, duration] = [number.to_string(), format!("{}s", series.seconds)];
            // Two runs with the same service times would be more alike than two of a real server ever are.
            let draw = number as usize * count + place + 1;
            let target = if target.starts_with("null:") { format!("{target}&seed={draw}") } else { target.to_owned() };
            let arguments =
                [&["run", &target, "--json", "--quiet", "--seed", &seed, "--for", &duration], LOAD].concat();
            // 4: an invalid run is compared all the same; what comes of such runs is what is asked here.
            let record: Value = serde_json::from_str(&self.output(&arguments, &[0, 4])?).context("the record")?;
            runs.insert(role, record["id"].as_str().context("the run's id")?.to_owned());
        }
        let compared = |side: &str, more: &[&str]| -> Result<Value> {
            let arguments = [&["compare", &runs["first"], &runs[side], "--json", "--accept-invalid"], more].concat();
            serde_json::from_str(&self.output(&arguments, &[0])?).context("the comparison")
        };
        let by_default: &[&str] = &["--noise", "1%"];
        let mut comparisons = Vec::new();
        for side in series.against {
            let [by_default_name, calibrated_name] = match *side {
                "slower" => ["slower", "slower_calibrated"],
                _ => ["same", "same_calibrated"],
            };
            comparisons.push((by_default_name, compared(side, by_default)?));
            comparisons.push((calibrated_name, compared(side, &[])?));
        }
        Round::of(&comparisons)
    }

    /// The mean latency of a target, in microseconds.
    fn mean_us(&self, target: &str) -> Result<f64> {
        let probe = [&["run", target, "--json", "--quiet", "--for", "4s"], LOAD].concat();
        let record: Value = serde_json::from_str(&self.output(&probe, &[0, 4])?).context("the record")?;
        record["total"]["service_time_us"]["mean"].as_f64().context("the mean")
    }

    /// The rounds against a virtual store.
    fn null(&self, series: Series) -> Result<Value> {
        let target = |mean_us: f64| format!("null:?latency={mean_us:.1}us&distribution=lognormal");
        let same = target(NULL_LATENCY_US);
        let slower = target(NULL_LATENCY_US + self.mean_us(&same)? * SLOWER);
        self.subject(series, [&same, &slower])
    }

    /// The same against a throw-away PostgreSQL.
    fn postgres(&self, series: Series) -> Result<Value> {
        let server = Server::start(self, "postgres", &[])?;
        let load = ["load", &server.url, "--workload", "ycsb:c", "--set", "records=1000"];
        self.output(&load, &[0])?;
        let same = Proxy::start(server.port()?, PROXY_DELAY)?;
        let through_same = server.through(same.port())?;
        let mean_us = self.mean_us(&through_same)?;
        let slower = Proxy::start(server.port()?, PROXY_DELAY + Duration::from_secs_f64(mean_us * SLOWER / 1e6))?;
        self.subject(series, [&through_same, &server.through(slower.port())?])
    }
}

#[expect(clippy::print_stderr, reason = "it takes an hour, and says where it is")]
fn tell(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused() {
        let parse = |text: &str| Options::parse(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let read = parse("--pairs 7 --seconds 1 --postgres 0 --out x.json").expect("fine");
        assert_eq!((read.pairs, read.seconds, read.postgres, read.out), (7, 4, 0, PathBuf::from("x.json")));
        for wrong in ["--pairs", "--pairs many", "--pears 3", "--pairs 100000"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
