//! Programs in turn, and what each used.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::case::{Case, Program, Reading, Site};
use crate::outcome::{Measured, Outcome, Run};
use crate::peer::Found;
use crate::usage;

/// How all cases are measured.
pub(crate) struct Plan<'a> {
    pub(crate) storelab: &'a Path,
    pub(crate) rounds: u32,
    pub(crate) seconds: u32,
    pub(crate) peers: &'a BTreeMap<&'static str, Result<Found, String>>,
}

/// Runs a case's programs in turn. A peer that is absent or fails is left out with the reason.
pub(crate) fn case(case: &'static Case, plan: &Plan<'_>) -> anyhow::Result<Outcome> {
    let open_files = usage::raise_open_files(case.open_files)?;
    ensure!(open_files >= case.open_files, "{} open files are needed, {open_files} allowed", case.open_files);
    let folder = tempfile::tempdir()?;
    let server = case.engine.map(|name| start(name, folder.path())).transpose()?;
    let target = case.target.replace("{folder}", &folder.path().display().to_string());
    let url = server.as_ref().map_or(target.as_str(), provision::Server::url);
    let site = Site::new(plan.storelab, folder.path(), url, plan.seconds, plan.peers)?;
    let mut measured = Vec::new();
    for program in case.programs {
        measured.push(prepare(program, &site));
        // Without ours there is nothing to compare.
        if let Some(failure) = &measured[0].failure {
            bail!("{}: {failure}", case.programs[0].name);
        }
    }
    let mut server_version = None;
    for round in 0..plan.rounds {
        for (program, measured) in case.programs.iter().zip(&mut measured) {
            if measured.failure.is_some() {
                continue;
            }
            match run(program, &site) {
                Ok((reading, run)) => {
                    server_version = server_version.or(reading.server);
                    measured.runs.push(run);
                }
                Err(error) => measured.failure = Some(format!("round {}: {error:#}", round + 1)),
            }
        }
        if let Some(failure) = &measured[0].failure {
            bail!("{}: {failure}", case.programs[0].name);
        }
    }
    if let Some(server) = server {
        server.stop()?;
    }
    Ok(Outcome { case, server: server_version, measured })
}

fn start(engine: &str, folder: &Path) -> anyhow::Result<provision::Server> {
    let home = provision::Home::at(folder.join("servers"));
    let options = provision::Options { home: Some(home), ..provision::Options::default() };
    Ok(provision::Server::start(provision::engine(engine)?, &options)?)
}

/// Loads a program's data.
fn prepare(program: &'static Program, site: &Site) -> Measured {
    let mut measured = Measured { program, runs: Vec::new(), failure: None };
    let absent = program.peer.and_then(|peer| site.peers.get(peer.name)?.as_ref().err());
    measured.failure = absent.cloned().or_else(|| {
        let load = || -> anyhow::Result<()> {
            for arguments in (program.prepare)(site)? {
                finish(site, &arguments)?;
            }
            Ok(())
        };
        load().err().map(|error| format!("{error:#}"))
    });
    measured
}

/// One run of one program.
fn run(program: &Program, site: &Site) -> anyhow::Result<(Reading, Run)> {
    let usage_file = site.folder.join("usage.json");
    let mut command = vec![site.ourselves.clone(), "measured".to_owned()];
    command.extend(["--file".to_owned(), usage_file.display().to_string()]);
    if program.is_watched {
        command.push("--terminal".to_owned());
    }
    command.push("--".to_owned());
    command.extend((program.run)(site));
    let output = finish(site, &command)?;
    let usage = usage::read(&usage_file)?;
    std::fs::remove_file(&usage_file)?;
    let reading =
        (program.read)(&output, site).with_context(|| format!("it does not say what it did: {}", output.trim()))?;
    ensure!(reading.operations > 0.0, "it did nothing: {}", output.trim());
    let run = Run {
        cpu_us_per_operation: usage.cpu_us as f64 / reading.operations,
        operations_per_second: reading.operations_per_second.context("it does not say how fast it was")?,
        lateness_us: reading.lateness_us,
        memory_mib_max: usage.memory_kib_max as f64 / 1024.0,
    };
    Ok((reading, run))
}

/// Runs a program to its end and gives what it wrote to stdout.
fn finish(site: &Site, arguments: &[String]) -> anyhow::Result<String> {
    let [program, arguments @ ..] = arguments else { bail!("no program is named") };
    let output = Command::new(program)
        .args(arguments)
        .env("STORELAB_HOME", &site.folder)
        .env("STORELAB_STORE", site.folder.join("results.db"))
        .env("PGPASSWORD", &site.password)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started: is it installed?"))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let reason = said.lines().find(|line| line.starts_with("error")).or(said.lines().last());
        bail!("{} with {}", reason.unwrap_or(stdout.trim()), output.status);
    }
    Ok(stdout)
}
