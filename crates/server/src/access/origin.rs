//! From where a request may come. A page of somebody else's may make a browser on this machine ask us, under a name of its own
//! that it points at our address (DNS rebinding), or across origins. Both are told by headers that a page cannot forge.

use std::net::{IpAddr, SocketAddr};

use axum::http::request::Parts;
use axum::http::uri::Authority as UriAuthority;
use axum::http::{HeaderMap, HeaderName, header};

use super::is_safe;
use crate::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Under which names, and at which address, the service answers.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    address: SocketAddr,
    scheme: &'static str,
    names: Vec<String>,
}

impl Authority {
    /// The names are those beside loopback's, in any letters' case.
    pub(crate) fn new(address: SocketAddr, is_encrypted: bool, names: &[String]) -> Self {
        let names = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { address, scheme: if is_encrypted { "https" } else { "http" }, names }
    }

    /// Whether only this machine can ask.
    pub(crate) fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }

    /// Whether `host[:port]` means this service: loopback's names with our port, a name that the operator gave with ours or none
    /// (a proxy may have its own), and beyond loopback the address that is bound.
    fn is_ours(&self, text: &str) -> bool {
        let Ok(authority) = text.parse::<UriAuthority>() else { return false };
        if text.contains('@') {
            return false;
        }
        let host = authority.host().to_ascii_lowercase();
        let usual_port = if self.is_encrypted() { 443 } else { 80 };
        let is_our_port = authority.port_u16().unwrap_or(usual_port) == self.address.port();
        if self.names.contains(&host) {
            return is_our_port || authority.port().is_none();
        }
        is_our_port && (matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]") || self.is_bound(&host))
    }

    /// Whether the host is the address that we listen on. An address cannot be pointed elsewhere as a name can; who listens on all of
    /// them is asked under any.
    fn is_bound(&self, host: &str) -> bool {
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        address.is_ok_and(|address| {
            address == self.address.ip()
                || (self.address.ip().is_unspecified() && address.is_ipv4() == self.address.is_ipv4())
        })
    }

    /// Whether an `Origin` is a page of this service. A proxy may have added encryption.
    fn is_own_origin(&self, origin: &str) -> bool {
        match origin.split_once("://") {
            Some((scheme, rest)) if scheme == self.scheme || scheme == "https" => self.is_ours(rest),
            _ => false,
        }
    }
}

/// Refuses what comes from a page of somebody else's.
pub(crate) fn check(authority: &Authority, request: &Parts) -> Result<(), Problem> {
    let headers = &request.headers;
    let host = host(request)?;
    if !authority.is_ours(host) {
        return Err(Problem::forbidden(format!("this service does not answer as `{host}`"))
            .with_field("Host")
            .with_remedy("ask it as localhost, or let the operator add the name to `server.names`"));
    }
    if let Some(origin) = one(headers, &header::ORIGIN)?
        && !authority.is_own_origin(origin)
    {
        return Err(Problem::forbidden(format!("pages of `{origin}` may not ask this service"))
            .with_field("Origin")
            .with_remedy("ask from a page of this service, or from a program"));
    }
    let site = one(headers, &SEC_FETCH_SITE)?.unwrap_or_default();
    if matches!(site, "cross-site" | "same-site") && !is_safe(&request.method) {
        return Err(Problem::forbidden("a page of another site sent this")
            .with_field("Sec-Fetch-Site")
            .with_remedy("ask from a page of this service, or from a program"));
    }
    Ok(())
}

/// The host that the request is for: of an absolute target, or else of the header, which HTTP/1.1 requires.
fn host(request: &Parts) -> Result<&str, Problem> {
    let given = one(&request.headers, &header::HOST)?;
    if let Some(authority) = request.uri.authority() {
        return Ok(authority.as_str());
    }
    given.ok_or_else(|| Problem::malformed("the header is missing").with_field("Host"))
}

/// A header that may be given once.
fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut given = headers.get_all(name).iter();
    let first = given.next();
    let text = first.map(|value| value.to_str());
    match (text, given.next()) {
        (None, _) => Ok(None),
        (Some(Ok(text)), None) => Ok(Some(text)),
        _ => Err(Problem::malformed("the header is given twice, or is not text").with_field(name.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn authority(address: &str) -> Authority {
        Authority::new(address.parse().expect("an address"), false, &["Lab.Example".to_owned()])
    }

    #[test]
    fn only_our_own_names_are_answered_to() {
        let ours = authority("127.0.0.1:8000");
        for (host, expect) in [
            ("localhost:8000", true),
            ("LOCALHOST:8000", true),
            ("127.0.0.1:8000", true),
            ("[::1]:8000", true),
            ("lab.example", true),
            ("lab.example:8000", true),
            ("lab.example:9", false),
            ("localhost", false),
            ("localhost:8001", false),
            ("localhost.evil.example:8000", false),
            ("evil.example:8000", false),
            ("127.0.0.2:8000", false),
            ("localhost:8000@evil.example", false),
            ("user@localhost:8000", false),
            ("", false),
            ("0x7f.1:8000", false),
        ] {
            assert_eq!(ours.is_ours(host), expect, "{host}");
        }
        assert!(authority("0.0.0.0:8000").is_ours("127.0.0.7:8000"));
        assert!(!authority("0.0.0.0:8000").is_ours("evil.example:8000"));
    }

    #[test]
    fn pages_of_others_are_refused() {
        let ours = authority("127.0.0.1:8000");
        for (method, name, value, expect) in [
            ("GET", "accept", "*/*", true),
            ("POST", "origin", "http://localhost:8000", true),
            ("POST", "origin", "https://lab.example", true),
            ("POST", "origin", "null", false),
            ("GET", "origin", "http://evil.example", false),
            ("GET", "origin", "http://localhost:8001", false),
            ("POST", "sec-fetch-site", "cross-site", false),
            ("GET", "sec-fetch-site", "cross-site", true),
            ("POST", "sec-fetch-site", "same-origin", true),
        ] {
            let request =
                Request::builder().method(method).uri("/").header("host", "localhost:8000").header(name, value);
            let (request, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(check(&ours, &request).is_ok(), expect, "{method} {name}: {value}");
        }
        let (without, ()) = Request::builder().uri("/").body(()).expect("a request").into_parts();
        assert!(check(&ours, &without).is_err());
    }
}
