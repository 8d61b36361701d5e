//! `storelab serve`: the service, until a signal ends it.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

use anyhow::Context;
use results::Location;
use server::{Caps, Environment, Service, StoreCaps, TlsFiles};
use store::Error;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::ServeArguments;
use crate::environment;
use crate::exit::Exit;
use crate::settings::{STORES, Settings};
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
        seconds_max: seconds_max(settings, default.seconds_max)?,
        rows_max: settings.count("server.rows_max")?.unwrap_or(default.rows_max),
        runs_max: number("server.runs_max", default.runs_max)?,
        queue_max: number("server.queue_max", default.queue_max)?,
        rows_default: settings.count("experiments.default_rows")?.unwrap_or(default.rows_default),
        sessions_default: number("experiments.default_concurrent_queries", default.sessions_default)?,
        stores: STORES
            .iter()
            .map(|store| Ok(((*store).to_owned(), store_caps(settings, store)?)))
            .collect::<anyhow::Result<_>>()?,
    })
}

/// The seconds of an experiment: those that any may take, or fewer where it says so.
fn seconds_max(settings: &Settings, default: f64) -> anyhow::Result<f64> {
    let any = settings.count("server.seconds_max")?.map_or(default, |seconds| seconds as f64);
    let own = settings.count("experiments.timeout_seconds")?.map(|seconds| seconds as f64);
    Ok(own.map_or(any, |own| own.min(any)))
}

/// What is said of a store's pool, in whichever of the usual ways: the least of what they say is the most.
fn store_caps(settings: &Settings, store: &str) -> anyhow::Result<StoreCaps> {
    let count = |option: &str| -> anyhow::Result<Option<u32>> {
        let count = settings.count(&format!("databases.{store}.{option}"))?;
        Ok(count.map(|count| u32::try_from(count).unwrap_or(u32::MAX)))
    };
    let (pool, overflow) = (count("pool_size")?, count("max_overflow")?);
    let grown = pool.map(|pool| pool.saturating_add(overflow.unwrap_or(0)));
    let sessions_max = [grown, count("max_pool_size")?, count("max_connections")?].into_iter().flatten().min();
    Ok(StoreCaps { sessions_default: pool, sessions_max })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_said_in_the_usual_ways() {
        for (flow, default, most) in [
            ("{}", None, None),
            ("{ pool_size: 10, max_overflow: 20 }", Some(10), Some(30)),
            ("{ pool_size: 10 }", Some(10), Some(10)),
            ("{ max_pool_size: 50 }", None, Some(50)),
            ("{ max_connections: 50, max_pool_size: 40, pool_size: 30, max_overflow: 30 }", Some(30), Some(40)),
            ("{ max_overflow: 5 }", None, None),
        ] {
            let settings = Settings::of_file(&format!("databases: {{ redis: {flow} }}"));
            let expected = StoreCaps { sessions_default: default, sessions_max: most };
            assert_eq!(store_caps(&settings, "redis").expect("numbers"), expected, "{flow}");
        }
    }

    #[test]
    fn what_nobody_sets_is_as_the_service_has_it_by_itself() {
        let caps = caps(&Settings::defaults()).expect("defaults are values");
        assert_eq!(Caps { stores: Caps::default().stores, ..caps }, Caps::default());
    }

    #[test]
    fn experiments_end_after_the_time_that_is_theirs() {
        let settings = Settings::of_file("experiments: { timeout_seconds: 300 }\nserver: { seconds_max: 600 }");
        assert!((caps(&settings).expect("numbers").seconds_max - 300.0).abs() < f64::EPSILON);
    }
}
