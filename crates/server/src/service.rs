//! The service as a whole: started on a thread of its own, and stopped from any.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use jiff::Timestamp;
use results::{Location, Results};
use store::{Error, Result};
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

use crate::access::origin::Authority;
use crate::access::tokens::Tokens;
use crate::allowed::Allowed;
use crate::app::{App, Parts};
use crate::executor::{Executor, Means, PolicyNow};
use crate::live::Hub;
use crate::metrics::{Metrics, Runs};
use crate::routes::Readiness;
use crate::settings::Settings;
use crate::storage::{Storage, Threads};
use crate::tls::Certificates;
use crate::traces::Callers;
use crate::vault::Vault;
use crate::{access, audit, caching, envelope, http, idempotency, routes};

/// Answers below so many bytes fit a packet, and are not worth compressing.
const COMPRESSED_BYTES_MIN: u16 = 1_024;

/// Connections that may wait to be accepted: what Linux has as its own limit (`net.core.somaxconn`) since 5.4.
const WAITING_MAX: u32 = 4_096;

/// How long runs may take to keep what they measured once the service is to stop; their load ends at once.
const RUNS_END_MAX: Duration = Duration::from_secs(8);

/// How long what nobody waits for any more may take to end, a name that is being resolved or a question to the store.
const LEFT_BEHIND_MAX: Duration = Duration::from_secs(1);

/// How old what is known of targets may be where nobody asks anew.
const POLICY_AGE_MAX: Duration = Duration::from_secs(5);

/// A service that runs.
pub struct Service {
    address: SocketAddr,
    is_encrypted: bool,
    executor: Executor,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Service {
    /// Starts to serve on a listener. What is kept is at `location`, made where it is absent.
    ///
    /// # Errors
    /// `Config` where the listener's address may not be served like that: one that is not loopback needs a token and TLS, or the
    /// operator's word that it goes without TLS. Whatever opening the store brings.
    pub fn start(settings: Settings, location: &Location, listener: TcpListener) -> Result<Self> {
        let address = listener.local_addr().map_err(|error| of_listener("cannot be asked for its address", error))?;
        let tls = settings.tls.clone().map(Certificates::read).transpose()?.map(Arc::new);
        let mut results = Results::open(location)?;
        check_exposure(&settings, address, &mut results)?;
        let allowed = Arc::new(Allowed::new(settings.is_loopback_allowed, results.targets()?));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("storelab-service")
            .build()
            .map_err(|error| Error::bug("the service's runtime cannot be made").with_source(error))?;
        let listener = {
            let _entered = runtime.enter();
            listening(listener).map_err(|error| of_listener("cannot be used", error))?
        };
        let (storage, threads) = Storage::start(location, results)?;
        let vault = Arc::new(Vault::open(&location.folder()?, &|name| settings.environment.get(name))?);
        let live = Arc::new(Hub::default());
        let runs = Arc::new(Runs::default());
        let executor = Executor::start(Means {
            location: location.clone(),
            caps: settings.caps.clone(),
            environment: settings.environment.clone(),
            vault: Arc::clone(&vault),
            live: Arc::clone(&live),
            runs: Arc::clone(&runs),
            policy: policy_of(&allowed),
            callers: Callers::default(),
        })
        .map_err(|error| Error::bug("no thread can be had for runs").with_source(error))?;
        let is_encrypted = tls.is_some();
        let app = App::new(Parts {
            authority: Authority::new(address, is_encrypted, &settings.names),
            settings,
            storage,
            tokens: Tokens::default(),
            allowed,
            executor: executor.clone(),
            live,
            vault,
            metrics: Metrics::new(runs),
            readiness: Readiness::default(),
            started_at: Timestamp::now(),
        });
        let (stop, stopped) = watch::channel(false);
        let thread = std::thread::Builder::new()
            .name("storelab-service".to_owned())
            .spawn(move || run(runtime, listener, app, threads, tls, stopped))
            .map_err(|error| Error::bug("the service's thread cannot be started").with_source(error))?;
        Ok(Self { address, is_encrypted, executor, stop, thread })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL under which it is asked on this machine.
    pub fn url(&self) -> String {
        let scheme = if self.is_encrypted { "https" } else { "http" };
        let address = self.address;
        if address.ip().is_unspecified() {
            return format!("{scheme}://localhost:{}", address.port());
        }
        format!("{scheme}://{address}")
    }

    /// Stops: load ends at once, requests that are being answered within seconds. Returns when all of it is over.
    ///
    /// # Errors
    /// `Bug` where the service had failed by itself.
    pub fn stop(self) -> Result<()> {
        // Whoever is not there to hear it has ended.
        let _ = self.stop.send(true);
        self.executor.end(Instant::now() + RUNS_END_MAX);
        self.thread.join().map_err(|_| Error::bug("the service's thread has panicked"))
    }
}

/// The listener, with room for many connections that wait to be accepted. The standard library asks for 128, past which clients
/// try again after a second.
fn listening(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    // Both are sockets; tokio takes one that is not a listener yet, and listening again only changes how many may wait.
    let socket = TcpSocket::from_std_stream(TcpStream::from(OwnedFd::from(listener)));
    socket.listen(WAITING_MAX)
}

/// The routes, inside everything that all of them have in common.
pub(crate) fn router(app: &App) -> Router {
    let (router, _) = routes::all().split_for_parts();
    let compressed = SizeAbove::new(COMPRESSED_BYTES_MIN).and(NotForContentType::new("text/event-stream"));
    // The last layer is the outermost.
    router
        .layer(from_fn(caching::tag))
        .layer(from_fn_with_state(app.clone(), idempotency::once))
        .layer(from_fn(http::receive))
        .layer(from_fn_with_state(app.clone(), access::check))
        .layer(from_fn_with_state(app.clone(), audit::log))
        .layer(from_fn_with_state(app.clone(), envelope::wrap))
        .layer(CompressionLayer::new().compress_when(compressed))
        .with_state(app.clone())
}

/// The service's thread, from its start to its end.
fn run(
    runtime: Runtime,
    listener: tokio::net::TcpListener,
    app: App,
    threads: Threads,
    tls: Option<Arc<Certificates>>,
    stop: watch::Receiver<bool>,
) {
    let router = router(&app);
    runtime.spawn(keep_policy(app.clone()));
    runtime.block_on(http::serve(listener, router, app.clone(), tls, stop));
    // Whatever still runs in it is dropped with it, and with that the last way to ask the store.
    runtime.shutdown_timeout(LEFT_BEHIND_MAX);
    drop(app);
    threads.join(Instant::now() + LEFT_BEHIND_MAX);
}

/// Hears of targets that another service on the same store has allowed or forbidden.
async fn keep_policy(app: App) {
    loop {
        tokio::time::sleep(POLICY_AGE_MAX).await;
        if let Err(problem) = app.policy().await {
            tracing::warn!("where load may go could not be read: {}", problem.reason());
        }
    }
}

/// What runs ask before they connect.
fn policy_of(allowed: &Arc<Allowed>) -> PolicyNow {
    let allowed = Arc::clone(allowed);
    Arc::new(move || allowed.current())
}

/// Refuses to serve others than this machine without a token, or without encryption where nobody said that this is meant.
fn check_exposure(settings: &Settings, address: SocketAddr, results: &mut Results) -> Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    if settings.tls.is_none() && !settings.is_insecure_listen_allowed {
        return Err(Error::config(format!("{address} is not loopback, and connections to it would not be encrypted"))
            .with_hint("give --tls-cert and --tls-key, or --insecure-listen where a proxy encrypts"));
    }
    if results.tokens()?.is_empty() {
        return Err(Error::config(format!(
            "{address} is not loopback, and there is no token by which anybody is known"
        ))
        .with_hint("make one first: storelab token create --role admin --name NAME"));
    }
    Ok(())
}

fn of_listener(what: &str, error: io::Error) -> Error {
    Error::bug(format!("the listener {what}")).with_source(error)
}
