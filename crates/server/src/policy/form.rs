//! Usual forms of targets. What is unusual is refused before anybody resolves it.
//!
//! Resolvers take more than people write: `2130706433`, `0x7f.1` and `0177.0.0.1` are all 127.0.0.1 to them, and a URL's
//! parser may have turned them into it before anybody can look. So the text itself is looked at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Refusal;

/// Longer than any target that somebody means: names of hosts have 253 characters at most, and databases 63.
const TEXT_BYTES_MAX: usize = 2048;

/// The limits of RFC 1035, section 2.3.4, without the dot of the root.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// What a host's name may look like, for messages.
const HOST_REMEDY: &str =
    "write a name of letters, digits, hyphens and dots, four decimal numbers such as 10.0.0.5, or [2001:db8::5]";

/// What a URL says between `//` and its path.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authority<'a> {
    /// Without brackets.
    pub(super) host: &'a str,
    pub(super) port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Of what is behind a URL's scheme and colon.
    ///
    /// # Errors
    /// Where it is not `//user:password@host:port`, of which all but the host may be absent.
    pub(super) fn of(rest: &'a str) -> Result<Self, Refusal> {
        let behind = rest.strip_prefix("//").ok_or_else(|| {
            Refusal::new("the target names no host", "write scheme://host:port, with two slashes before the host")
        })?;
        let end = behind.find(['/', '?']).unwrap_or(behind.len());
        let (authority, tail) = behind.split_at(end);
        // A password that was not encoded ends the host early: what then looks like a host may be the password.
        if tail.contains('@') || authority.matches('@').count() > 1 {
            return Err(Refusal::new(
                "the target has an @ that does not stand between password and host",
                "write %40 for an @, %2F for a slash and %3F for a question mark in user names and passwords",
            ));
        }
        let place = match authority.split_once('@') {
            Some((user_info, place)) => {
                check_user_info(user_info)?;
                place
            }
            None => authority,
        };
        let (host, port) = host_and_port(place)?;
        Ok(Self { host, port })
    }
}

/// Only what can be printed and stands for itself.
pub(super) fn check_text(text: &str) -> Result<(), Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Refusal::new(
            format!("the target has {} bytes, and {TEXT_BYTES_MAX} are the most", text.len()),
            "write scheme://user:password@host:port/database",
        ));
    }
    if let Some(character) = text.chars().find(|character| !character.is_ascii_graphic() || "\\#".contains(*character))
    {
        return Err(Refusal::new(
            format!("the target has the character {}, which is not usual in a URL", character.escape_unicode()),
            "percent-encode what is not a letter, a digit or a plain sign",
        ));
    }
    match percent_encoded(text) {
        Some(bytes) if bytes.iter().all(|byte| !byte.is_ascii_control()) => Ok(()),
        _ => Err(Refusal::new(
            "the target has a percent sign that stands for a control character or for nothing",
            "write %25 for a percent sign, and leave control characters out",
        )),
    }
}

/// A host without brackets: an address in its one usual form, or a name.
pub(crate) fn check_host(host: &str) -> Result<(), Refusal> {
    let refused = |reason: &str| Err(Refusal::new(format!("the target's host {reason}"), HOST_REMEDY));
    if host.is_empty() {
        return refused("is not named");
    }
    if host.contains(':') {
        return match host.parse::<Ipv6Addr>() {
            Err(_) => refused("is no IPv6 address, without a zone"),
            Ok(address) if address.to_string() != host => {
                refused("is an IPv6 address that is not written as RFC 5952 has it")
            }
            Ok(address) if embeds_ipv4(address) => refused("is an IPv6 address that stands for an IPv4 address"),
            Ok(address) if !is_server(IpAddr::V6(address)) => refused("is an address that no server has"),
            Ok(_) => Ok(()),
        };
    }
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return match host.parse::<Ipv4Addr>() {
            Err(_) => refused("is a number and not an address of four decimal numbers without leading zeros"),
            Ok(address) if !is_server(IpAddr::V4(address)) => refused("is an address that no server has"),
            Ok(_) => Ok(()),
        };
    }
    if host.len() > NAME_BYTES_MAX || !host.split('.').all(is_label) {
        return refused("is no name of a host");
    }
    if host.split('.').any(is_punycode) {
        return refused("has letters of another alphabet, which look like others");
    }
    // What ends in a number is an address to resolvers, decimal, octal or hexadecimal (WHATWG URL, "ends in a number").
    if host.rsplit('.').next().is_some_and(is_number) {
        return refused("ends in a number and is no address of four decimal numbers");
    }
    Ok(())
}

/// An entry of a list of nodes: exactly `host:port`.
pub(super) fn check_node(entry: &str) -> Result<(), Refusal> {
    match host_and_port(entry)? {
        (_, Some(_)) => Ok(()),
        (_, None) => {
            Err(Refusal::new("the target's `nodes` has one without a port", "write nodes=HOST:PORT,HOST:PORT"))
        }
    }
}

/// Whether an address can be one server's: not that of nobody, of everybody or of a group, and not a way to write another.
pub(super) fn is_server(address: IpAddr) -> bool {
    match address {
        // 0.0.0.0/8 is "this network", 240.0.0.0/4 is reserved (RFC 6890).
        IpAddr::V4(v4) => v4.octets()[0] != 0 && v4.octets()[0] < 240 && !v4.is_multicast(),
        IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && !embeds_ipv4(v6),
    }
}

/// Addresses of IPv6 behind which is one of IPv4: mapped and compatible (RFC 4291), NAT64 (RFC 6052, RFC 8215), Teredo (RFC
/// 4380), 6to4 (RFC 3056) and ISATAP (RFC 5214).
fn embeds_ipv4(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => false,
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0 | 1, ..]
        | [0x2001, 0, ..]
        | [0x2002, ..] => true,
        _ => matches!(parts[4..6], [0 | 0x200, 0x5efe]),
    }
}

fn host_and_port(place: &str) -> Result<(&str, Option<u16>), Refusal> {
    let malformed = || Refusal::new("the target's host and port are not HOST:PORT", HOST_REMEDY);
    let (host, behind) = match place.strip_prefix('[') {
        Some(bracketed) => {
            let (host, behind) = bracketed.split_once(']').ok_or_else(malformed)?;
            // Brackets are for addresses of IPv6, and those alone.
            (Some(host).filter(|host| host.contains(':')).ok_or_else(malformed)?, behind)
        }
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let port = match behind.strip_prefix(':') {
        None if behind.is_empty() => None,
        None => return Err(malformed()),
        Some(digits) => Some(port(digits)?),
    };
    check_host(host)?;
    Ok((host, port))
}

/// Digits as a number is printed: no sign, no leading zero.
fn port(digits: &str) -> Result<u16, Refusal> {
    let number = digits.parse::<u16>().ok().filter(|port| *port != 0 && port.to_string() == digits);
    number.ok_or_else(|| {
        Refusal::new("the target's port is no number from 1 to 65535", "write the server's port in digits")
    })
}

/// A user who is called like a host is there to be taken for it.
fn check_user_info(user_info: &str) -> Result<(), Refusal> {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:".contains(&byte);
    let user = user_info.split(':').next().unwrap_or_default();
    let is_host = user.parse::<IpAddr>().is_ok() || super::is_localhost(user);
    if user_info.bytes().all(is_usual) && !is_host {
        return Ok(());
    }
    Err(Refusal::new(
        "the target's user name looks like a host, or has signs that are not usual there",
        "percent-encode user name and password, and name the host behind the @",
    ))
}

/// The bytes that percent signs stand for; none where one stands for nothing.
fn percent_encoded(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split('%');
    pieces.next();
    pieces
        .map(|piece| {
            let digits = piece.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, 16).ok()
        })
        .collect()
}

fn is_label(label: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=LABEL_BYTES_MAX).contains(&label.len())
        && label.bytes().all(is_usual)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_punycode(label: &str) -> bool {
    label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"))
}

fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x").or_else(|| label.strip_prefix("0X"));
    hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || label.bytes().all(|byte| byte.is_ascii_digit())
}
