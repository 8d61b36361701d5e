//! Where a `DynamoDB` is and how it is entered.
//!
//! All of it is in the URL: the library's own chain of environment variables, files and metadata services is not asked.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{self, BehaviorVersion, Credentials, Region, StalledStreamProtectionConfig};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use store::{Error, Lookup, Result, Target, TlsMode};

use super::DEFAULT_PORT;
use crate::http::Endpoint;

/// Where AWS listens.
const AWS_PORT: u16 = 443;

/// What requests are signed for where neither the URL nor its host says.
const REGION_DEFAULT: &str = "us-east-1";

/// The key and secret for a `DynamoDB` on this machine, which takes any.
const LOCAL_KEY: &str = "storelab";

/// A partition takes 1000 writes a second and a new table has four of them: with twice as many shards none is idle by
/// accident. Each is a request of a scan, so that more make scans slow.
const SHARDS_DEFAULT: u16 = 8;
const SHARDS_MAX: u16 = 256;

/// AWS makes a table with an index in seconds, now and then in a minute.
const TABLE_TIMEOUT_SECONDS_DEFAULT: f64 = 300.0;

/// What a target says.
pub(super) struct Address {
    pub(super) endpoint: Arc<Endpoint>,
    /// The same as the library wants it, with the scheme.
    pub(super) url: String,
    pub(super) region: String,
    pub(super) settings: Settings,
    /// What every client begins with.
    config: config::Builder,
}

/// What a target says about the work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    /// Whether reads see all earlier writes.
    pub(super) consistent: bool,
    /// Partitions of a table of records.
    pub(super) shards: u16,
    /// How long making or dropping tables may take.
    pub(super) table_timeout: Duration,
}

impl Address {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(super) fn of(target: &Target) -> Result<Self> {
        if !target.path().is_empty() {
            return Err(Error::config(format!(
                "the target names a database `{}`, and DynamoDB has none",
                target.path()
            ))
            .with_hint("leave the path out; what keeps tables apart is the region and the account"));
        }
        let tls_default = if target.is_loopback() { TlsMode::Off } else { TlsMode::Verify };
        let is_clear = target.tls(tls_default)? == TlsMode::Off;
        let endpoint = Endpoint::unentered(target, if is_clear { DEFAULT_PORT } else { AWS_PORT }, tls_default)?;
        let scheme = if is_clear { "http" } else { "https" };
        let authority = endpoint.node().to_string();
        // As the signature has it: without the port where it is the scheme's own.
        let authority = if is_clear { authority.as_str() } else { authority.trim_end_matches(":443") };
        let url = format!("{scheme}://{authority}");
        let region = region(target)?;
        // Nothing but our own time-outs: connecting is bounded by the target's, and a request by whoever waits for it.
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(region.clone()))
            .endpoint_url(&url)
            .credentials_provider(credentials(target)?)
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        Ok(Self { endpoint: Arc::new(endpoint), url, region, settings: Settings::of(target)?, config })
    }

    /// A client's configuration, without its connection.
    pub(super) fn config(&self) -> config::Builder {
        self.config.clone()
    }
}

impl Settings {
    fn of(target: &Target) -> Result<Self> {
        let consistent = match target.option("consistency") {
            None | Some("strong") => true,
            Some("eventual") => false,
            Some(other) => {
                return Err(Error::config(format!("the target's `consistency={other}` is unknown"))
                    .with_hint("use consistency=strong or consistency=eventual"));
            }
        };
        let shards = target.option_parsed::<u16>("shards")?.unwrap_or(SHARDS_DEFAULT);
        if !(1..=SHARDS_MAX).contains(&shards) {
            return Err(Error::config(format!("the target's `shards={shards}` is not between 1 and {SHARDS_MAX}"))
                .with_hint("use one for every 1000 writes a second that are wanted; each makes a scan longer"));
        }
        let seconds = target.option_parsed::<f64>("table_timeout")?.unwrap_or(TABLE_TIMEOUT_SECONDS_DEFAULT);
        let table_timeout = Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero());
        let table_timeout = table_timeout
            .ok_or_else(|| Error::config(format!("the target's `table_timeout={seconds}` is no time in seconds")))?;
        Ok(Self { consistent, shards, table_timeout })
    }
}

/// What requests are signed with.
fn credentials(target: &Target) -> Result<Credentials> {
    let token = target.option("session_token").map(str::to_owned);
    match (target.user(), target.password()) {
        (Some(key), Some(secret)) => Ok(Credentials::new(key, secret.expose(), token, None, "storelab")),
        (None, None) if target.is_loopback() => Ok(Credentials::new(LOCAL_KEY, LOCAL_KEY, token, None, "storelab")),
        _ => Err(Error::config("the target has not both an access key and its secret")
            .with_hint("write dynamodb://ACCESS_KEY:SECRET@host, the secret percent-encoded")),
    }
}

/// The region that the target names, or that its host is of: `dynamodb.eu-west-1.amazonaws.com`.
fn region(target: &Target) -> Result<String> {
    let of_host = || {
        let (service, rest) = target.host().split_once('.')?;
        let (region, domain) = rest.split_once('.')?;
        let is_aws = service.starts_with("dynamodb") && domain.starts_with("amazonaws.com");
        is_aws.then(|| region.to_owned())
    };
    let region = target.option("region").map(str::to_owned).or_else(of_host).unwrap_or_else(|| REGION_DEFAULT.into());
    let is_plain = !region.is_empty() && region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_plain {
        return Ok(region);
    }
    Err(Error::config(format!("the target's `region={region}` is no region")).with_hint("write it as in eu-west-1"))
}

/// The URL that the environment describes: `DYNAMODB_HOST`, `DYNAMODB_PORT`, `DYNAMODB_ACCESS_KEY`,
/// `DYNAMODB_SECRET_KEY` and `DYNAMODB_REGION`. Those that name somebody's AWS account are not looked at.
pub(super) fn url_from_environment(lookup: Lookup<'_>) -> String {
    let encoded = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
    let host = lookup("DYNAMODB_HOST").unwrap_or_else(|| "127.0.0.1".to_owned());
    let is_local = matches!(host.as_str(), "127.0.0.1" | "localhost" | "::1");
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let port = lookup("DYNAMODB_PORT").or_else(|| is_local.then(|| DEFAULT_PORT.to_string()));
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let account = match (lookup("DYNAMODB_ACCESS_KEY"), lookup("DYNAMODB_SECRET_KEY")) {
        (None, None) => String::new(),
        (key, secret) => {
            format!("{}:{}@", encoded(&key.unwrap_or_default()), encoded(&secret.unwrap_or_default()))
        }
    };
    let region = lookup("DYNAMODB_REGION").map(|region| format!("/?region={}", encoded(&region))).unwrap_or_default();
    format!("dynamodb://{account}{host}{port}{region}")
}
