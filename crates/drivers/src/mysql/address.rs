//! Where a server is and how it is entered, from a target's URL.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use store::{Error, Limits, Result, Secret, Target, TlsMode};

use super::{Member, options};
use crate::tls;

/// Where a server is and how it is entered.
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) limits: Limits,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) database: String,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    pub(super) connect_timeout: Duration,
    /// What every connection is told once.
    pub(super) setup: Vec<String>,
}

impl Address {
    /// Of that target.
    ///
    /// # Errors
    /// `Config` for a URL that cannot work.
    pub(super) fn of(member: &Member, target: &Target) -> Result<Self> {
        if target.path().is_empty() {
            let (scheme, port) = (member.name, member.default_port);
            return Err(Error::config("the target names no database").with_hint(format!(
                "write {scheme}://user:password@host:{port}/database, with a database that exists"
            )));
        }
        let user = target.user().unwrap_or_default();
        if [user, target.path()].iter().any(|name| name.contains('\0')) {
            return Err(Error::config("the target's URL holds a zero byte"));
        }
        let tls = match tls::client_config(target, TlsMode::Off)? {
            Some(config) => Some((config, tls::server_name(target)?)),
            None => None,
        };
        Ok(Self {
            host: target.host().to_owned(),
            port: target.port().unwrap_or(member.default_port),
            limits: target.limits().clone(),
            user: user.to_owned(),
            password: target.password().cloned(),
            database: target.path().to_owned(),
            tls,
            connect_timeout: target.connect_timeout()?,
            setup: options::setup(member, target)?,
        })
    }

    /// For messages.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}
