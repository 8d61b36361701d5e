//! `storelab serve`: the service, until a signal ends it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Context;
use results::Location;
use server::{Caps, Environment, Service, TlsFiles};
use store::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ServeArguments;
use crate::environment;
use crate::exit::Exit;
use crate::settings::Settings;
use crate::terminal::{data, talk};
use crate::traces;

/// Where the service listens where nobody says.
const LISTEN_DEFAULT: &str = "127.0.0.1:8000";

pub(crate) fn run(arguments: &ServeArguments, settings: &Settings) -> anyhow::Result<Exit> {
    if arguments.openapi {
        data(server::openapi().trim_end());
        return Ok(Exit::Ok);
    }
    // Signals are listened for before anything is started, so that none is missed.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    let location = Location::parse(settings.text("store")?.as_deref())?;
    let address = match settings.address("server.listen")? {
        Some(address) => address,
        None => LISTEN_DEFAULT.parse().expect("it is an address"),
    };
    let listener = TcpListener::bind(address).map_err(|error| taken(address, error))?;
    let traces = traces::begin(settings)?;
    let service = Service::start(of_service(settings)?, &location, listener)?;
    talk(&format!("serving {} (documentation: {}/docs)", service.url(), service.url()));
    runtime.block_on(async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    });
    talk("stopping: load ends now, results are kept");
    let stopped = service.stop();
    traces::end(traces);
    stopped.context("the service did not end as it should")?;
    Ok(Exit::Ok)
}

/// What the service is told of all that can be set.
fn of_service(settings: &Settings) -> anyhow::Result<server::Settings> {
    let certificates = settings.text("server.tls_cert")?.map(PathBuf::from);
    let key = settings.text("server.tls_key")?.map(PathBuf::from);
    let tls = match (certificates, key) {
        (Some(certificates), Some(key)) => Some(TlsFiles { certificates, key }),
        (None, None) => None,
        _ => {
            let error = Error::config("a certificate and its key are needed together");
            return Err(error.with_hint("give both --tls-cert and --tls-key").into());
        }
    };
    Ok(server::Settings {
        names: settings.names("server.names")?,
        tls,
        is_insecure_listen_allowed: settings.switch("server.insecure_listen")?,
        is_loopback_allowed: settings.switch("server.loopback")?,
        caps: caps(settings)?,
        environment: Environment::new(environment::variable),
    })
}

fn caps(settings: &Settings) -> anyhow::Result<Caps> {
    let default = Caps::default();
    let number = |name: &str, default: u32| -> anyhow::Result<u32> {
        let given = settings.count(name)?.map(u32::try_from).transpose();
        Ok(given.map_err(|_| Error::config(format!("{name} is too large")))?.unwrap_or(default))
    };
    Ok(Caps {
        sessions_max: number("server.sessions_max", default.sessions_max)?,
        rate_max: settings.count("server.rate_max")?.map_or(default.rate_max, |rate| rate as f64),
        seconds_max: settings.count("server.seconds_max")?.map_or(default.seconds_max, |seconds| seconds as f64),
        rows_max: settings.count("server.rows_max")?.unwrap_or(default.rows_max),
        runs_max: number("server.runs_max", default.runs_max)?,
        queue_max: number("server.queue_max", default.queue_max)?,
    })
}

/// Why an address cannot be listened on.
fn taken(address: SocketAddr, error: std::io::Error) -> Error {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program listens there: end it, or give another port with --listen ADDRESS:PORT"
        }
        std::io::ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: give another with --listen ADDRESS:PORT"
        }
        _ => "give an address of this machine with --listen ADDRESS:PORT",
    };
    Error::config(format!("{address} cannot be listened on")).with_hint(hint).with_source(error)
}
