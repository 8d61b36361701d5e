//! How a server is entered: its greeting, encryption, and who we are.

use std::future::poll_fn;

use ::store::{Error, Result, Secret};
use mysql_common::constants::{CapabilityFlags, MariadbCapabilities};
use mysql_common::scramble::{scramble_native, scramble_sha256};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;

use super::address::Address;
use super::error::ServerError;
use super::packet::{self, END, ERROR, HEADER_BYTES, OK, OutOfStep, Packet, Reader, Spoken};
use crate::wire::{Endpoint, Wire};

/// The only version of the protocol since 1998.
const PROTOCOL_VERSION: u8 = 10;

/// No payload of entering is longer; a length beyond it comes from another kind of server.
const ENTRY_BYTES_MAX: usize = 16 << 10;

/// What a server may send in one payload; servers themselves have no larger limit.
const PAYLOAD_BYTES_ACCEPTED: u32 = 1 << 30;

/// `utf8mb4_general_ci`, which every version has.
const COLLATION: u8 = 45;

/// Ways of proving a password.
const NATIVE: &[u8] = b"mysql_native_password";
const SHA2: &[u8] = b"caching_sha2_password";

/// What `caching_sha2_password` says.
const MORE: u8 = 0x01;
const SHA2_ENTERED: u8 = 0x03;
const SHA2_PASSWORD_WANTED: u8 = 0x04;
/// Asks for the key that the password is encrypted with.
const SHA2_KEY_REQUEST: u8 = 0x02;

/// Lengths of RSA keys in bytes: below, the password does not fit; beyond, encrypting takes too long.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 128..=1024;
/// What the padding of a password takes (RFC 8017, section 7.1.1, with SHA-1).
const PADDING_BYTES: usize = 42;

/// A server's greeting.
#[derive(Debug, PartialEq, Eq)]
struct Greeting {
    capabilities: CapabilityFlags,
    of_mariadb: MariadbCapabilities,
    /// Random bytes that the proof of the password is made with.
    nonce: Vec<u8>,
    plugin: Vec<u8>,
}

impl Greeting {
    fn of(payload: &[u8]) -> Result<Self, OutOfStep> {
        let mut reader = Reader(payload);
        if reader.byte()? != PROTOCOL_VERSION {
            return Err(OutOfStep);
        }
        reader.text()?;
        // The connection's number.
        reader.number()?;
        let mut nonce = reader.bytes(8)?.to_vec();
        reader.byte()?;
        let lower = reader.short()?;
        // Collation and status.
        reader.bytes(3)?;
        let upper = reader.short()?;
        let nonce_length = usize::from(reader.byte()?);
        reader.bytes(6)?;
        let of_mariadb = MariadbCapabilities::from_bits_truncate(reader.number()?);
        let capabilities = CapabilityFlags::from_bits_truncate(u32::from(lower) | u32::from(upper) << 16);
        if capabilities.contains(CapabilityFlags::CLIENT_SECURE_CONNECTION) {
            let rest = reader.bytes(nonce_length.saturating_sub(8).max(13))?;
            nonce.extend_from_slice(rest.strip_suffix(b"\0").unwrap_or(rest));
        }
        let plugin = if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
            reader.0.split(|byte| *byte == 0).next().unwrap_or_default()
        } else {
            NATIVE
        };
        Ok(Self { capabilities, of_mariadb, nonce, plugin: plugin.to_vec() })
    }

    fn is_mariadb(&self) -> bool {
        !self.capabilities.contains(CapabilityFlags::CLIENT_LONG_PASSWORD)
    }

    /// What is spoken from here on: what both sides can.
    fn agreed(&self, encrypted: bool) -> (CapabilityFlags, MariadbCapabilities) {
        let mut wanted = CapabilityFlags::CLIENT_LONG_PASSWORD
            // An update to the value that is there already has found its row.
            | CapabilityFlags::CLIENT_FOUND_ROWS
            | CapabilityFlags::CLIENT_LONG_FLAG
            | CapabilityFlags::CLIENT_CONNECT_WITH_DB
            | CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_TRANSACTIONS
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_MULTI_RESULTS
            | CapabilityFlags::CLIENT_PS_MULTI_RESULTS
            | CapabilityFlags::CLIENT_PLUGIN_AUTH
            | CapabilityFlags::CLIENT_CONNECT_ATTRS
            | CapabilityFlags::CLIENT_DEPRECATE_EOF;
        wanted.set(CapabilityFlags::CLIENT_SSL, encrypted);
        let mut agreed = wanted & self.capabilities;
        let mut of_mariadb = MariadbCapabilities::empty();
        // Without them the place of these bits would be something else's.
        if self.is_mariadb() && agreed.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF) {
            of_mariadb = MariadbCapabilities::MARIADB_CLIENT_CACHE_METADATA & self.of_mariadb;
        }
        agreed.insert(CapabilityFlags::CLIENT_FOUND_ROWS & wanted);
        (agreed, of_mariadb)
    }
}

/// Connects, encrypts where that is asked for, and enters.
///
/// # Errors
/// `Unreachable` where nobody answers, `Rejected` where the server refuses or is none of this kind.
pub(super) async fn enter(address: &Address) -> Result<(Wire, Spoken)> {
    let Address { host, port, limits, tls, .. } = address;
    let wire = Wire::connect(Endpoint { host, port: *port, limits, tls: None }).await?;
    let mut entry = Entry { wire, address, sequence: 0 };
    let payload = entry.next().await?;
    let greeting = Greeting::of(&payload).map_err(|_| entry.not_this_kind())?;
    let required = CapabilityFlags::CLIENT_PROTOCOL_41 | CapabilityFlags::CLIENT_SECURE_CONNECTION;
    if !greeting.capabilities.contains(required) {
        return Err(entry.not_this_kind());
    }
    let (capabilities, of_mariadb) = greeting.agreed(tls.is_some());
    let head = head(capabilities, of_mariadb);
    if let Some((config, name)) = tls {
        if !greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL) {
            return Err(Error::rejected(format!("no encrypted connection with {}", address.place()))
                .with_hint("the server has no certificate: set ssl_cert and ssl_key in its configuration"));
        }
        // What came in behind the greeting was not encrypted, though it would be taken for it.
        if !entry.wire.buffered().is_empty() {
            return Err(entry.not_this_kind());
        }
        entry.send(|out| out.extend_from_slice(&head));
        poll_fn(|context| entry.wire.poll_flush(context)).await.map_err(|source| entry.closed(source))?;
        entry.wire = entry.wire.encrypt(config.clone(), name.clone(), host, *port).await?;
    }
    entry.introduce(&head, capabilities, &greeting)?;
    entry.prove(greeting).await?;
    let spoken = Spoken {
        without_eof: capabilities.contains(CapabilityFlags::CLIENT_DEPRECATE_EOF),
        known_columns: of_mariadb.contains(MariadbCapabilities::MARIADB_CLIENT_CACHE_METADATA),
    };
    Ok((entry.wire, spoken))
}

/// What the request for encryption and the introduction both begin with.
fn head(capabilities: CapabilityFlags, of_mariadb: MariadbCapabilities) -> Vec<u8> {
    let mut head = capabilities.bits().to_le_bytes().to_vec();
    head.extend_from_slice(&PAYLOAD_BYTES_ACCEPTED.to_le_bytes());
    head.push(COLLATION);
    head.extend_from_slice(&[0; 19]);
    head.extend_from_slice(&of_mariadb.bits().to_le_bytes());
    head
}

/// A connection that is about to be let in.
struct Entry<'a> {
    wire: Wire,
    address: &'a Address,
    /// The number of the next packet, whoever sends it.
    sequence: u8,
}

impl Entry<'_> {
    fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.sequence = packet::packet(self.wire.out(), self.sequence, write);
    }

    /// Sends what was appended and waits for the next payload, which is no error.
    async fn next(&mut self) -> Result<Vec<u8>> {
        loop {
            let buffered = self.wire.buffered();
            if let Some(&[a, b, c, sequence]) = buffered.first_chunk::<HEADER_BYTES>()
                && (u32::from_le_bytes([a, b, c, 0]) as usize > ENTRY_BYTES_MAX || sequence != self.sequence)
            {
                // A server that shuts down says so out of order.
                return match Packet::first(buffered) {
                    Some(packet) if packet.payload.first() == Some(&ERROR) => {
                        Err(ServerError::of(packet.payload).into_error())
                    }
                    _ => Err(self.not_this_kind()),
                };
            }
            if let Some(packet) = Packet::first(buffered) {
                let (payload, length) = (packet.payload.to_vec(), packet.length());
                self.sequence = packet.sequence.wrapping_add(1);
                self.wire.consume(length);
                return match payload.first() {
                    None => Err(self.not_this_kind()),
                    Some(&ERROR) => Err(ServerError::of(&payload).into_error()),
                    Some(_) => Ok(payload),
                };
            }
            let filled = poll_fn(|context| {
                // What the server said last is worth more than that it could not be written to.
                let _ = self.wire.poll_flush(context);
                self.wire.poll_fill(context)
            });
            filled.await.map_err(|source| self.closed(source))?;
        }
    }

    /// Appends who we are.
    fn introduce(&mut self, head: &[u8], capabilities: CapabilityFlags, greeting: &Greeting) -> Result<()> {
        let Address { user, database, .. } = self.address;
        // A plugin that we do not know is left to the server, which then asks for the user's own.
        let known = [NATIVE, SHA2].into_iter().find(|known| *known == greeting.plugin);
        let proof = known.map(|plugin| self.proof(plugin, &greeting.nonce)).transpose()?.unwrap_or_default();
        self.send(|out| {
            out.extend_from_slice(head);
            zero_terminated(out, user.as_bytes());
            packet::sized(out, &proof);
            if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_WITH_DB) {
                zero_terminated(out, database.as_bytes());
            }
            if capabilities.contains(CapabilityFlags::CLIENT_PLUGIN_AUTH) {
                zero_terminated(out, known.unwrap_or(NATIVE));
            }
            if capabilities.contains(CapabilityFlags::CLIENT_CONNECT_ATTRS) {
                let mut attributes = Vec::new();
                packet::sized(&mut attributes, b"program_name");
                packet::sized(&mut attributes, b"storelab");
                packet::sized(out, &attributes);
            }
        });
        Ok(())
    }

    /// Answers what the server asks until it lets us in.
    async fn prove(&mut self, greeting: Greeting) -> Result<()> {
        let Greeting { mut nonce, .. } = greeting;
        loop {
            let payload = self.next().await?;
            match payload.as_slice() {
                [OK, ..] => return Ok(()),
                [END, switch @ ..] => {
                    let mut reader = Reader(switch);
                    // Without a name it is the one of before 2004, which proves next to nothing.
                    let plugin = reader.text().unwrap_or(b"mysql_old_password");
                    nonce = reader.0.strip_suffix(b"\0").unwrap_or(reader.0).to_vec();
                    let proof = self.proof(plugin, &nonce)?;
                    self.send(|out| out.extend_from_slice(&proof));
                }
                [MORE, SHA2_ENTERED] => {}
                [MORE, SHA2_PASSWORD_WANTED] => self.give_password(&nonce).await?,
                _ => return Err(self.not_this_kind()),
            }
        }
    }

    /// The proof that we know the password; empty where there is none.
    fn proof(&self, plugin: &[u8], nonce: &[u8]) -> Result<Vec<u8>> {
        let password = self.password();
        let proof = match plugin {
            NATIVE => scramble_native(nonce, password).map(|proof| proof.to_vec()),
            SHA2 => scramble_sha256(nonce, password).map(|proof| proof.to_vec()),
            _ => {
                let (place, name) = (self.address.place(), String::from_utf8_lossy(plugin));
                return Err(Error::rejected(format!("no login at {place}: the user's plugin is `{name}`"))
                    .with_hint("give the user a password of caching_sha2_password or mysql_native_password"));
            }
        };
        Ok(proof.unwrap_or_default())
    }

    fn password(&self) -> &[u8] {
        self.address.password.as_ref().map_or(&[], |password| Secret::expose(password).as_bytes())
    }

    /// The password itself: where the connection is encrypted as it is, otherwise with the server's key.
    async fn give_password(&mut self, nonce: &[u8]) -> Result<()> {
        let mut password = self.password().to_vec();
        password.push(0);
        if self.address.tls.is_none() {
            self.send(|out| out.push(SHA2_KEY_REQUEST));
            let payload = self.next().await?;
            let key = payload.strip_prefix(&[MORE]).ok_or_else(|| self.not_this_kind())?;
            for (byte, random) in password.iter_mut().zip(nonce.iter().cycle()) {
                *byte ^= random;
            }
            password = encrypted(&password, key).ok_or_else(|| {
                Error::rejected(format!("no login at {}: the server's RSA key is not usable", self.address.place()))
                    .with_hint("encrypt the connection: tls=verify")
            })?;
        }
        self.send(|out| out.extend_from_slice(&password));
        Ok(())
    }

    fn closed(&self, source: std::io::Error) -> Error {
        Error::unreachable(format!("{} closed the connection before it let us in", self.address.place()))
            .with_hint("check that the port is a server's of MySQL's family, and look into its log")
            .with_source(source)
    }

    fn not_this_kind(&self) -> Error {
        Error::rejected(format!("{} does not speak the MySQL protocol", self.address.place()))
            .with_hint("check that the port is a server's of MySQL's family")
    }
}

fn zero_terminated(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
    out.push(0);
}

/// Encrypts a password with a public key in PEM. None where that is no key, or not one for a text of this length: the
/// library would panic over it.
fn encrypted(password: &[u8], pem: &[u8]) -> Option<Vec<u8>> {
    let start = pem.windows(10).position(|bytes| bytes == b"-----BEGIN")?;
    let pem = &pem[start..];
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
    let modulus_bytes = modulus_bytes(&der).filter(|length| KEY_BYTES.contains(length))?;
    if password.len() + PADDING_BYTES > modulus_bytes {
        return None;
    }
    // The library finds the key by this form, and takes all that is not space between for its text.
    let body = pem.strip_prefix(b"-----BEGIN PUBLIC KEY-----")?;
    let length = body.iter().position(|byte| *byte == b'-')?;
    let (body, end) = body.split_at(length);
    let is_text = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(byte);
    if !body.iter().all(is_text) || !end.starts_with(b"-----END PUBLIC KEY-----") {
        return None;
    }
    Some(mysql_common::crypto::encrypt(password, pem))
}

/// The length of an RSA key's modulus (RFC 3279, section 2.3.1).
fn modulus_bytes(key: &[u8]) -> Option<usize> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    const INTEGER: u8 = 0x02;
    let (info, _) = element(key, SEQUENCE)?;
    let (_, rest) = element(info, SEQUENCE)?;
    let (bits, _) = element(rest, BIT_STRING)?;
    let (key, _) = element(bits.strip_prefix(b"\0")?, SEQUENCE)?;
    let (modulus, rest) = element(key, INTEGER)?;
    let (exponent, _) = element(rest, INTEGER)?;
    let modulus = modulus.strip_prefix(b"\0").unwrap_or(modulus);
    // An even modulus or a large exponent is no key's.
    let is_key = modulus.first().is_some_and(|byte| byte & 0x80 != 0)
        && modulus.last().is_some_and(|byte| byte & 1 != 0)
        && (1..=8).contains(&exponent.len());
    is_key.then_some(modulus.len())
}

/// One element of DER: its contents, and what is behind it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (length, rest) = match *rest.first()? {
        short @ 0..=0x7f => (usize::from(short), &rest[1..]),
        0x81 => (usize::from(*rest.get(1)?), &rest[2..]),
        0x82 => (usize::from(u16::from_be_bytes([*rest.get(1)?, *rest.get(2)?])), &rest[3..]),
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
#[path = "login_tests.rs"]
mod tests;
