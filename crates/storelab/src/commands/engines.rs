//! `storelab engines`: throw-away servers on this machine.

use provision::{Cluster, ENGINES, Effort, Engine, EngineStatus, Home, Options};

use crate::cli::{EnginesCommand, UpArguments};
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
        EnginesCommand::Install { name, builds } => install(&home, &name, builds),
        EnginesCommand::Up(arguments) => up(arguments),
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
                "from": status.engine.origin().text(),
                "takes_long": status.engine.origin().effort() == Effort::Long,
                "nodes_max": status.engine.nodes().end(),
            })).collect::<Vec<_>>(),
            "running": running.iter().map(|instance| serde_json::json!({
                "name": instance.name(),
                "engine": instance.engine(),
                "cluster": instance.cluster(),
                "address": instance.address(),
                "version": instance.version(),
                // Nought while the server is being prepared.
                "port": Some(instance.port()).filter(|port| *port > 0),
                "process_id": Some(instance.process_id()).filter(|id| *id > 0),
                "stays": instance.is_detached(),
            })).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Ok);
    }
    let mut rows = table(["ENGINE", "INSTALLED", "LICENCE", "NODES", "FROM", "HOW TO GET IT"]);
    for EngineStatus { engine, installation } in engines {
        let (installed, how) = match &installation {
            Ok(installation) => (installation.version().to_owned(), String::new()),
            Err(error) => ("no".to_owned(), error.hint().unwrap_or_default().to_owned()),
        };
        let nodes = match engine.nodes().into_inner() {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}–{last}"),
        };
        let from = match engine.origin().effort() {
            Effort::Minutes => engine.origin().text(),
            Effort::Long => format!("{} (built, takes long)", engine.origin().text()),
        };
        rows.add_row([engine.name().to_owned(), installed, engine.licence().to_owned(), nodes, from, how]);
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

/// All of them: one that cannot be installed does not keep the others from it.
fn install(home: &Home, name: &str, builds: bool) -> anyhow::Result<Exit> {
    if name != ALL {
        return install_one(provision::engine(name)?, home).map(|()| Exit::Ok);
    }
    let wanted = ENGINES.iter().filter(|engine| builds || engine.origin().effort() == Effort::Minutes);
    let mut failed = Vec::new();
    for engine in wanted {
        if let Err(error) = install_one(*engine, home) {
            talk(&format!("{}: {error:#}", engine.name()));
            failed.push(engine.name());
        }
    }
    if failed.is_empty() {
        return Ok(Exit::Ok);
    }
    Err(anyhow::anyhow!("not installed: {}", failed.join(", ")))
}

fn install_one(engine: &'static dyn Engine, home: &Home) -> anyhow::Result<()> {
    let installation = provision::install(engine, home, talk)?;
    data(&format!("{} {} ({})", engine.name(), installation.version(), engine.licence()));
    Ok(())
}

fn up(arguments: UpArguments) -> anyhow::Result<Exit> {
    let engine = provision::engine(&arguments.name)?;
    let options = Options {
        name: Some(engine.name().to_owned()),
        port: arguments.port,
        data: arguments.data,
        settings: arguments.set.into_iter().collect(),
        home: None,
    };
    let cluster = Cluster::start(engine, arguments.nodes, &options)?;
    let url = cluster.url();
    let instances = cluster.detach()?;
    let version = instances.first().map_or("", provision::Instance::version);
    let nodes = if instances.len() > 1 { format!(" with {} nodes", instances.len()) } else { String::new() };
    talk(&format!("{} {version}{nodes} runs until `storelab engines down {}`", engine.title(), engine.name()));
    data(&url);
    Ok(Exit::Ok)
}

fn down(home: &Home, name: &str) -> anyhow::Result<Exit> {
    let instances = if name == ALL {
        home.instances()?.into_iter().filter(provision::Instance::is_detached).collect()
    } else {
        // A name is that of one server or of all nodes of a data store; those that joined go first.
        let all = home.instances()?;
        let nodes: Vec<_> = all.into_iter().filter(|instance| instance.cluster() == Some(name)).rev().collect();
        if nodes.is_empty() { vec![home.instance(name)?] } else { nodes }
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
