//! `storelab engines`: throw-away servers on this machine.

use std::path::PathBuf;

use provision::{ENGINES, EngineStatus, Home, Options, Server};

use crate::cli::EnginesCommand;
use crate::exit::Exit;
use crate::terminal::{data, json, table, table_text, talk};

/// What stands for every engine or server.
const ALL: &str = "all";

pub(crate) fn run(command: EnginesCommand) -> anyhow::Result<Exit> {
    let home = Home::locate()?;
    for swept in home.sweep()? {
        talk(&format!("removed `{swept}`, which a process that died had left"));
    }
    match command {
        EnginesCommand::List(arguments) => list(&home, arguments.json),
        EnginesCommand::Install { name } => install(&home, &name),
        EnginesCommand::Up { name, port, data, set } => up(&name, port, data, set),
        EnginesCommand::Down { name } => down(&home, &name),
    }
}

fn list(home: &Home, as_json: bool) -> anyhow::Result<Exit> {
    let engines = provision::list(home);
    let running = home.instances()?;
    if as_json {
        json(&serde_json::json!({
            "engines": engines.iter().map(|status| serde_json::json!({
                "name": status.engine.name(),
                "title": status.engine.title(),
                "licence": status.engine.licence(),
                "installed": status.installation.is_ok(),
                "version": status.installation.as_ref().ok().map(|installation| installation.version().to_owned()),
                "packages": status.engine.debian_packages(),
            })).collect::<Vec<_>>(),
            "running": running.iter().map(|instance| serde_json::json!({
                "name": instance.name(),
                "engine": instance.engine(),
                "version": instance.version(),
                // Nought while the server is being prepared.
                "port": Some(instance.port()).filter(|port| *port > 0),
                "process_id": Some(instance.process_id()).filter(|id| *id > 0),
                "stays": instance.is_detached(),
            })).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Ok);
    }
    let mut rows = table(["ENGINE", "INSTALLED", "LICENCE", "HOW TO GET IT"]);
    for EngineStatus { engine, installation } in engines {
        let (installed, how) = match &installation {
            Ok(installation) => (installation.version().to_owned(), String::new()),
            Err(error) => ("no".to_owned(), error.hint().unwrap_or_default().to_owned()),
        };
        rows.add_row([engine.name().to_owned(), installed, engine.licence().to_owned(), how]);
    }
    data(&table_text(&rows));
    if !running.is_empty() {
        let mut rows = table(["RUNNING", "ENGINE", "PORT", "PROCESS", "STAYS"]);
        for instance in running {
            rows.add_row([
                instance.name().to_owned(),
                instance.engine().to_owned(),
                instance.port().to_string(),
                instance.process_id().to_string(),
                if instance.is_detached() { "until taken down" } else { "with its run" }.to_owned(),
            ]);
        }
        data(&format!("\n{}", table_text(&rows)));
    }
    Ok(Exit::Ok)
}

fn install(home: &Home, name: &str) -> anyhow::Result<Exit> {
    let engines = if name == ALL { ENGINES.to_vec() } else { vec![provision::engine(name)?] };
    for engine in engines {
        let installation = provision::install(engine, home, talk)?;
        data(&format!("{} {} ({})", engine.name(), installation.version(), engine.licence()));
    }
    Ok(Exit::Ok)
}

fn up(name: &str, port: Option<u16>, folder: Option<PathBuf>, set: Vec<(String, String)>) -> anyhow::Result<Exit> {
    let engine = provision::engine(name)?;
    let options = Options {
        name: Some(engine.name().to_owned()),
        port,
        data: folder,
        settings: set.into_iter().collect(),
        home: None,
    };
    let instance = Server::start(engine, &options)?.detach()?;
    talk(&format!("{} {} runs until `storelab engines down {}`", engine.title(), instance.version(), instance.name()));
    data(instance.url());
    Ok(Exit::Ok)
}

fn down(home: &Home, name: &str) -> anyhow::Result<Exit> {
    let instances = if name == ALL {
        home.instances()?.into_iter().filter(provision::Instance::is_detached).collect()
    } else {
        vec![home.instance(name)?]
    };
    for instance in instances {
        if !instance.is_detached() {
            return Err(store::Error::rejected(format!("`{}` belongs to a run that goes on", instance.name()))
                .with_hint("stop the run with Ctrl-C")
                .into());
        }
        instance.stop()?;
        data(&format!("stopped {}", instance.name()));
    }
    Ok(Exit::Ok)
}
