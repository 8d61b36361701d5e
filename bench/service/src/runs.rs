//! What a run costs under the service beside one from the command line: the same plan in turn, and the processor time of whichever
//! process carried it out, for each operation.
//!
//! Of the command line the whole process counts, its start and its end included; of the service all that it uses from the request
//! to run until the run is over, beats, messages and figures included. The record's own figure, of the phases alone, stands
//! beside it: there the start of a process cannot make up for what the service adds.

use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};

use crate::host::Processors;
use crate::http::Connection;
use crate::outcome::{Figure, Outcome, Unit};
use crate::process::{Service, ended_children_processor_time, storelab};

/// What the service may add.
const RATIO_MAX: f64 = 1.02;

/// How often the service is asked whether the run is over, once it should be: its answers are part of what it uses.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Records that are read: they are drawn, and looked at in what comes back.
const RECORDS: u64 = 1_000;

/// How long a run may take beyond its load.
const END_MAX: Duration = Duration::from_secs(30);

/// An open load of reads on the driver that does nothing: all that is used is ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) per_second: u32,
    pub(crate) seconds: u32,
}

/// Processor time for an operation, in microseconds.
#[derive(Debug, Clone, Copy)]
struct Cost {
    whole: f64,
    phases: f64,
}

impl Plan {
    /// As a plan's file and the service's config have it.
    fn load(self) -> Value {
        json!({
            "rate": format!("{}/s", self.per_second),
            "for": format!("{}s", self.seconds),
            "warm_up": "1s",
            "sessions": 8,
            "workers": 1,
        })
    }

    /// The config of an experiment.
    pub(crate) fn config(self) -> Value {
        json!({
            "target": "null:", "workload": "ycsb:c", "settings": { "records": RECORDS }, "collect": ["host"],
            "seed": 1, "load": self.load(),
        })
    }

    /// The same for the command line, which is told of the records beside it.
    fn file(self) -> Value {
        json!({ "target": "null:", "workload": "ycsb:c", "collect": ["host"], "seed": 1, "load": self.load() })
    }
}

/// Measures rounds of A B B A, so that what drifts is in both.
pub(crate) fn measure(program: &Path, folder: &Path, plan: Plan, rounds: usize) -> anyhow::Result<Outcome> {
    let (ours, theirs) = (folder.join("service"), folder.join("command-line"));
    std::fs::create_dir_all(&ours)?;
    std::fs::create_dir_all(&theirs)?;
    let file = theirs.join("plan.json");
    std::fs::write(&file, plan.file().to_string())?;
    let service = Service::start(program, &ours)?;
    let mut connection = Connection::open(service.address)?;
    let experiment = create(&mut connection, "cost of a run", &plan.config())?;
    let (mut served, mut typed, mut host) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let before = (Processors::now()?, service.processor_time()?, ended_children_processor_time()?);
        if round % 2 == 0 {
            typed.push(by_command_line(program, &theirs, &file)?);
            served.push(by_service(&service, &experiment, plan)?);
        } else {
            served.push(by_service(&service, &experiment, plan)?);
            typed.push(by_command_line(program, &theirs, &file)?);
        }
        let used = service.processor_time()?.saturating_sub(before.1)
            + ended_children_processor_time()?.saturating_sub(before.2);
        host.push(before.0.since(used)?);
    }
    service.stop()?;
    let name = format!("a run of {} operations a second", plan.per_second);
    let figure = |what: &str, costs: &[Cost], part: fn(&Cost) -> f64| {
        Figure::new(format!("{name}: {what}"), Unit::Microseconds, costs.iter().map(part).collect())
    };
    let ratio = |what: &str, part: fn(&Cost) -> f64| {
        let ratios = served.iter().zip(&typed).map(|(served, typed)| part(served) / part(typed));
        Figure::new(format!("{name}: service over command line, {what}"), Unit::Ratio, ratios.collect())
            .at_most(RATIO_MAX)
    };
    let figures = vec![
        ratio("all that the process uses", |cost| cost.whole),
        ratio("while the load goes on", |cost| cost.phases),
        figure("an operation, command line, all", &typed, |cost| cost.whole),
        figure("an operation, service, all", &served, |cost| cost.whole),
        figure("an operation, command line, the load", &typed, |cost| cost.phases),
        figure("an operation, service, the load", &served, |cost| cost.phases),
    ];
    Ok(Outcome { figures, host })
}

fn by_command_line(program: &Path, home: &Path, plan: &Path) -> anyhow::Result<Cost> {
    let before = ended_children_processor_time()?;
    let output = storelab(program, home)
        .arg("run")
        .arg(plan)
        .args(["--set", &format!("records={RECORDS}"), "--json", "--quiet", "--accept-invalid"])
        .stdin(Stdio::null())
        .output()
        .context("the program does not start")?;
    let used = ended_children_processor_time()?.saturating_sub(before);
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    cost(&serde_json::from_slice(&output.stdout).context("the record")?, used)
}

fn by_service(service: &Service, experiment: &str, plan: Plan) -> anyhow::Result<Cost> {
    let mut connection = Connection::open(service.address)?;
    let before = service.processor_time()?;
    let run = start(&mut connection, experiment)?;
    drop(connection);
    thread::sleep(Duration::from_secs(u64::from(plan.seconds)));
    let mut connection = Connection::open(service.address)?;
    await_end(&mut connection, experiment, END_MAX, LOOK_INTERVAL)?;
    let used = service.processor_time()?.saturating_sub(before);
    cost(&connection.get(&format!("/api/v1/runs/{run}"))?, used)
}

/// What a record says that its process used, beside what the kernel says.
fn cost(record: &Value, used: Duration) -> anyhow::Result<Cost> {
    let number =
        |pointer: &str| record.pointer(pointer).and_then(Value::as_f64).with_context(|| format!("no {pointer}"));
    let operations = number("/accounting/succeeded")?;
    ensure!(operations > 0.0, "the run did nothing");
    Ok(Cost { whole: used.as_secs_f64() * 1e6 / operations, phases: number("/generator/cpu_us_per_operation")? })
}

/// Makes an experiment on the driver that does nothing.
pub(crate) fn create(connection: &mut Connection, name: &str, config: &Value) -> anyhow::Result<String> {
    let body = json!({ "name": name, "database_type": "null", "config": config });
    text(&connection.post("/api/v1/experiments", Some(&body))?, "id")
}

/// Runs an experiment; gives the run's id.
pub(crate) fn start(connection: &mut Connection, experiment: &str) -> anyhow::Result<String> {
    text(&connection.post(&format!("/api/v1/experiments/{experiment}/run"), None)?, "run_id")
}

/// Waits until an experiment's run is over, which must have gone well.
pub(crate) fn await_end(
    connection: &mut Connection,
    experiment: &str,
    at_most: Duration,
    interval: Duration,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let found = connection.get(&format!("/api/v1/experiments/{experiment}"))?;
        match found["status"].as_str() {
            Some("completed") => return Ok(()),
            Some("queued" | "running") => {}
            _ => bail!("the run did not go well: {found}"),
        }
        ensure!(begun.elapsed() < at_most, "the run does not end");
        thread::sleep(interval);
    }
}

fn text(answer: &Value, field: &str) -> anyhow::Result<String> {
    Ok(answer[field].as_str().with_context(|| format!("no `{field}` in {answer}"))?.to_owned())
}
