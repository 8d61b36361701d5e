//! How a server is entered.

use std::path::PathBuf;
use std::time::Duration;

use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};
use rustls::crypto::ring;
use store::{Error, Result, Target, TlsMode};

use super::DEFAULT_PORT;
use super::error::connect_error;
use crate::tls;

/// The library keeps it for its pool, which is not used; stated here, it is not asked of the server.
const WAIT_TIMEOUT_SECONDS: usize = 28_800;

const ISOLATION_LEVELS: [(&str, &str); 4] = [
    ("read-uncommitted", "READ UNCOMMITTED"),
    ("read-committed", "READ COMMITTED"),
    ("repeatable-read", "REPEATABLE READ"),
    ("serializable", "SERIALIZABLE"),
];

/// Where a server is and how it is entered. Not to be shown: the library's options hold the password.
pub(super) struct Address {
    options: Opts,
    place: String,
    connect_timeout: Duration,
}

impl Address {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(super) fn of(target: &Target) -> Result<Self> {
        if target.path().is_empty() {
            return Err(Error::config("the target names no database")
                .with_hint("write mysql://user:password@host:3306/database, with a database that exists"));
        }
        let port = target.port().unwrap_or(DEFAULT_PORT);
        let options = OptsBuilder::default()
            .ip_or_hostname(target.host())
            .tcp_port(port)
            .user(target.user())
            .pass(target.password().map(store::Secret::expose))
            .db_name(Some(target.path()))
            .prefer_socket(false)
            .tcp_nodelay(true)
            // Statements are kept by their number; a cache by their text would close them behind our back.
            .stmt_cache_size(0)
            .wait_timeout(Some(WAIT_TIMEOUT_SECONDS))
            // An update to the value that is there already has found its row.
            .client_found_rows(true)
            .connect_attribute("program_name", "storelab")
            .ssl_opts(encryption(target)?)
            .setup(setup(target)?);
        Ok(Self {
            options: options.into(),
            place: format!("{}:{port}", target.host()),
            connect_timeout: target.connect_timeout()?,
        })
    }

    /// The same, where the largest packet that the server takes is known and need not be asked for again.
    pub(super) fn with_packet_bytes_max(self, bytes: usize) -> Self {
        let options = OptsBuilder::from_opts(self.options).max_allowed_packet(Some(bytes)).into();
        Self { options, ..self }
    }

    /// Connects, and does what comes first on the connection, within the time that connecting may take.
    ///
    /// # Errors
    /// `Unreachable` where nobody answers in time, `Rejected` where the server refuses or is none of this kind.
    pub(super) async fn open_with<T>(&self, first: impl AsyncFnOnce(&mut Conn) -> Result<T>) -> Result<(Conn, T)> {
        let opened = async {
            let entered = Conn::new(self.options.clone()).await;
            let mut connection = entered.map_err(|source| connect_error(&self.place, source))?;
            let value = first(&mut connection).await?;
            Ok((connection, value))
        };
        tokio::time::timeout(self.connect_timeout, opened).await.unwrap_or_else(|_| {
            let seconds = self.connect_timeout.as_secs_f64();
            Err(Error::unreachable(format!("no answer from {} within {seconds} s", self.place)).with_hint(
                "check that the port is a MySQL or MariaDB server's, or give it more time with connect_timeout=SECONDS",
            ))
        })
    }

    /// Connects.
    ///
    /// # Errors
    /// As [`open_with`](Self::open_with).
    pub(super) async fn open(&self) -> Result<Conn> {
        self.open_with(async |_| Ok(())).await.map(|(connection, ())| connection)
    }
}

fn encryption(target: &Target) -> Result<Option<SslOpts>> {
    // Refuses what cannot work in the words that all drivers have.
    if tls::client_config(target, TlsMode::Off)?.is_some() {
        tls::server_name(target)?;
    }
    let options = match target.tls(TlsMode::Off)? {
        TlsMode::Off => return Ok(None),
        TlsMode::Insecure => SslOpts::default().with_danger_accept_invalid_certs(true),
        TlsMode::Verify => match target.option(tls::TLS_CA_OPTION.name) {
            None => SslOpts::default(),
            Some(file) => {
                SslOpts::default().with_root_certs(vec![PathBuf::from(file).into()]).with_disable_built_in_roots(true)
            }
        },
    };
    // The library takes the process's provider; where one is chosen already, that one stays.
    let _ = ring::default_provider().install_default();
    Ok(Some(options))
}

/// What every connection is told once. A server whose sessions do not commit by themselves would measure something else.
fn setup(target: &Target) -> Result<Vec<String>> {
    let mut statements = Vec::new();
    if let Some(given) = target.option("isolation") {
        let known = ISOLATION_LEVELS.iter().find(|(name, _)| name.eq_ignore_ascii_case(given));
        let (_, level) = known.ok_or_else(|| {
            Error::config(format!("the target's `isolation={given}` is unknown"))
                .with_hint(format!("use one of {}", ISOLATION_LEVELS.map(|(name, _)| name).join(", ")))
        })?;
        statements.push(format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}"));
    }
    let seconds: Option<u32> = target.option_parsed("lock_wait_timeout")?;
    let wait = match seconds {
        None => String::new(),
        Some(0) => {
            return Err(Error::config("the target's `lock_wait_timeout=0` is not usable")
                .with_hint("give a whole number of seconds, at least 1"));
        }
        Some(seconds) => {
            format!(", SESSION innodb_lock_wait_timeout = {seconds}, SESSION lock_wait_timeout = {seconds}")
        }
    };
    statements.push(format!("SET SESSION autocommit = 1{wait}"));
    Ok(statements)
}
