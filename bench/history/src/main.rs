//! Change points of 10,000 values beside Apache Otava's (`PyPI`), in turn on the same series from the same file.
//!
//! What is compared is the time of the computation, taken inside each program after a first of some values that is not
//! counted; the time of the whole processes, interpreter's start and reading included, stands beside it. Both must find
//! the same places.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use std::io::Write as _;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use stats::change_points::Hunter;

/// What is compared with, as pip wants it.
const OTAVA: &str = "apache-otava==0.8.0";

/// Values of a series.
const VALUES: usize = 10_000;

/// How often a process works each series out, of which the fastest counts, as in `peer.py`: the others were
/// interrupted.
const REPEATS: u32 = 3;

/// How many times faster we mean to be.
const GOAL: f64 = 20.0;

/// The place of the table on its page.
const PLACE: &str = "history";

/// Storelab's change points beside Apache Otava's.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each is run.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// The page whose table is replaced.
    #[arg(long)]
    docs: Option<PathBuf>,
    /// The other program's script.
    #[arg(long, default_value = "bench/history/peer.py")]
    script: PathBuf,
    /// Find the change points of a file's series, as the script does: what this program calls itself for.
    #[arg(long, hide = true, value_name = "FILE")]
    ours: Option<PathBuf>,
}

/// A series in the file that both read.
#[derive(Debug, Serialize, Deserialize)]
struct Series {
    name: String,
    values: Vec<f64>,
}

/// What a program found.
#[derive(Debug, Serialize, Deserialize)]
struct Answers {
    version: String,
    answers: Vec<Answer>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    name: String,
    seconds: f64,
    places: Vec<usize>,
}

/// What came of a series: seconds of each round.
struct Outcome {
    name: String,
    change_points: usize,
    otava: Vec<f64>,
    storelab: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match &arguments.ours {
        Some(file) => say(&serde_json::to_string(&answers(file)?)?),
        None => compare(&arguments)?,
    }
    Ok(())
}

fn compare(arguments: &Arguments) -> Result<()> {
    let python = python()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("series.json");
    let all = series();
    std::fs::write(&file, serde_json::to_vec(&all)?)?;
    let ourselves = std::env::current_exe()?;
    let mut otava = || finish(Command::new(&python).arg(&arguments.script).arg("time").arg(&file));
    let mut storelab = || finish(Command::new(&ourselves).arg("--ours").arg(&file));
    let mut outcomes: Vec<_> = all
        .into_iter()
        .map(|series| Outcome { name: series.name, change_points: 0, otava: Vec::new(), storelab: Vec::new() })
        .collect();
    let mut whole = [Vec::new(), Vec::new()];
    let mut version = String::new();
    for round in 1..=arguments.rounds {
        // Who comes first takes turns too.
        let (theirs, ours) = if round % 2 == 1 {
            let theirs = timed(&mut otava)?;
            (theirs, timed(&mut storelab)?)
        } else {
            let ours = timed(&mut storelab)?;
            (timed(&mut otava)?, ours)
        };
        for (seconds, run) in whole.iter_mut().zip([&theirs, &ours]) {
            seconds.push(run.0);
        }
        for (outcome, (their, our)) in outcomes.iter_mut().zip(theirs.1.answers.iter().zip(&ours.1.answers)) {
            ensure!(their.name == our.name && our.name == outcome.name, "the series are not the same");
            if their.places != our.places {
                bail!("{}: Otava found {:?}, Storelab {:?}", our.name, their.places, our.places);
            }
            outcome.change_points = our.places.len();
            outcome.otava.push(their.seconds);
            outcome.storelab.push(our.seconds);
            let (their, our) = (their.seconds * 1e3, our.seconds * 1e3);
            say(&format!("round {round}, {}: otava {their:.1} ms, storelab {our:.2} ms", outcome.name));
        }
        version = theirs.1.version;
    }
    let [theirs, ours] = whole.map(|seconds| median(&seconds));
    let table = table(&outcomes, &version, theirs, ours);
    say(&table);
    match &arguments.docs {
        Some(path) => figures::replace(path, PLACE, &table),
        None => Ok(()),
    }
}

/// A program's answers, and how long the whole of it took.
fn timed(run: &mut impl FnMut() -> Result<Vec<u8>>) -> Result<(f64, Answers)> {
    let start = Instant::now();
    let output = run()?;
    Ok((start.elapsed().as_secs_f64(), serde_json::from_slice(&output).context("the answers of a program")?))
}

/// Ours.
fn answers(file: &Path) -> Result<Answers> {
    let all: Vec<Series> = serde_json::from_slice(&std::fs::read(file)?)?;
    let method = Hunter::default();
    // As the other program: the first is not counted.
    let first = all.first().context("no series")?;
    std::hint::black_box(method.change_points(&first.values[..200]));
    let timed = all.into_iter().map(|series| {
        let mut seconds = f64::INFINITY;
        let mut found = Vec::new();
        for _ in 0..REPEATS {
            let start = Instant::now();
            found = method.change_points(&series.values);
            seconds = seconds.min(start.elapsed().as_secs_f64());
        }
        Answer { name: series.name, seconds, places: found.iter().map(|point| point.index).collect() }
    });
    Ok(Answers { version: env!("CARGO_PKG_VERSION").to_owned(), answers: timed.collect() })
}

/// What both are given, the same every time.
fn series() -> Vec<Series> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(42);
    let mut uniform = move || (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    let mut normal = {
        let mut uniform = uniform.clone();
        move || (0..12).map(|_| uniform()).sum::<f64>() - 6.0
    };
    let levels: Vec<f64> = {
        let mut level = 100.0;
        let mut left = 0_u32;
        let next = |_| {
            if left == 0 {
                left = 100 + (uniform() * 500.0) as u32;
                level *= 0.9 + 0.2 * uniform();
            }
            left -= 1;
            level
        };
        (0..VALUES).map(next).collect()
    };
    let mut named = |name: &str, of: &dyn Fn(usize, f64) -> f64| Series {
        name: name.to_owned(),
        values: (0..VALUES).map(|place| of(place, normal())).collect(),
    };
    vec![
        named("levels that change by up to 10 % every 100 to 600 values, 2 % noise", &|place, noise| {
            levels[place] * (1.0 + 0.02 * noise)
        }),
        named("one level, 2 % noise", &|_, noise| 100.0 + 2.0 * noise),
        named("a drift of 100 % over all, 2 % noise", &|place, noise| {
            100.0 * (1.0 + place as f64 / VALUES as f64) + 2.0 * noise
        }),
    ]
}

/// The interpreter of an environment below Storelab's cache that has Otava.
fn python() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = folder("STORELAB_CACHE")
        .or_else(|| folder("XDG_CACHE_HOME").map(|cache| cache.join("storelab")))
        .or_else(|| folder("HOME").map(|home| home.join(".cache/storelab")))
        .context("there is no folder for a cache: set STORELAB_CACHE")?;
    let environment = cache.join("history");
    let python = environment.join("bin/python");
    if !environment.join("bin/pip").is_file() {
        finish(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))
            .context("on Debian: apt-get install python3-venv")?;
    }
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", OTAVA];
    finish(Command::new(&python).args(pip)).with_context(|| format!("{OTAVA} comes from PyPI"))?;
    Ok(python)
}

fn finish(command: &mut Command) -> Result<Vec<u8>> {
    let name = Path::new(command.get_program()).display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("{name} does not start"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(output.stdout)
}

/// The middle of them; of none, no number.
fn median(values: &[f64]) -> f64 {
    figures::median(values).unwrap_or(f64::NAN)
}

fn table(outcomes: &[Outcome], version: &str, theirs: f64, ours: f64) -> String {
    let mut lines = vec![
        format!("| {VALUES} values | change points | Otava {version}, ms | Storelab, ms | times faster | goal |"),
        "|---|---:|---:|---:|---:|---|".to_owned(),
    ];
    for Outcome { name, change_points, otava, storelab } in outcomes {
        let ratios: Vec<_> = otava.iter().zip(storelab).map(|(otava, storelab)| otava / storelab).collect();
        let (otava, storelab, ratio) = (median(otava) * 1e3, median(storelab) * 1e3, median(&ratios));
        let met = if ratio >= GOAL { "met" } else { "**missed**" };
        lines.push(format!(
            "| {name} | {change_points}, the same | {otava:.1} | {storelab:.2} | {ratio:.0} | ≥ {GOAL}: {met} |"
        ));
    }
    lines.push(format!(
        "| the whole process, all of them | | {:.0} | {:.0} | {:.0} | |",
        theirs * 1e3,
        ours * 1e3,
        theirs / ours
    ));
    lines.join("\n")
}

fn say(line: &str) {
    // Whoever does not listen any more does not need it.
    let _ = writeln!(std::io::stdout(), "{line}");
}
