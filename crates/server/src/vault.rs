//! Secrets of targets, sealed before they are kept: a queue that outlives the service must know how its targets are entered,
//! and nobody who reads the store may.
//!
//! The key is a file of this user's own beside the store, or comes from the environment where several services share one.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use store::{Error, Result};

/// The environment's say: 32 bytes in base64.
pub(crate) const KEY_VARIABLE: &str = "STORELAB_SECRET_KEY";

/// The key's file.
const FILE_NAME: &str = "service.key";

/// Bytes of a key of AES-256.
const KEY_BYTES: usize = 32;

/// Seals and opens.
pub(crate) struct Vault {
    key: LessSafeKey,
    random: SystemRandom,
}

impl Vault {
    /// With the key of the environment, or of the file in that folder, which is made where it is absent.
    ///
    /// # Errors
    /// `Config` where the key is none, or its file can neither be read nor made.
    pub(crate) fn open(folder: &Path, lookup: store::Lookup<'_>) -> Result<Self> {
        let random = SystemRandom::new();
        let key = match lookup(KEY_VARIABLE).filter(|text| !text.is_empty()) {
            Some(text) => decoded(text.trim().as_bytes()).ok_or_else(|| {
                Error::config(format!("{KEY_VARIABLE} is no key"))
                    .with_hint("give 32 random bytes in base64: head -c 32 /dev/urandom | base64")
            })?,
            None => of_file(&folder.join(FILE_NAME), &random)?,
        };
        let key = UnboundKey::new(&AES_256_GCM, &key).map_err(|_| Error::bug("a key of 32 bytes is refused"))?;
        Ok(Self { key: LessSafeKey::new(key), random })
    }

    /// Seals a text: a nonce, then what only this key opens.
    pub(crate) fn seal(&self, text: &str) -> Result<Vec<u8>> {
        let unrandom = |_| Error::bug("the host has no random numbers");
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(unrandom)?;
        let mut sealed = text.as_bytes().to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .map_err(|_| Error::bug("a text cannot be sealed"))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// `Config` where it was sealed with another key.
    pub(crate) fn open_sealed(&self, sealed: &[u8]) -> Result<String> {
        let foreign = || {
            Error::config("the target's password was sealed by a service with another key").with_hint(format!(
                "create the experiment again, or start all services of this store with the same {KEY_VARIABLE}"
            ))
        };
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(foreign)?;
        let mut sealed = sealed.to_vec();
        let opened = self
            .key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut sealed)
            .map_err(|_| foreign())?;
        String::from_utf8(opened.to_vec()).map_err(|_| foreign())
    }
}

/// The key of a file. Of two services that make it at once, one does, and both read what it made.
fn of_file(path: &Path, random: &SystemRandom) -> Result<[u8; KEY_BYTES]> {
    let failed = |source: io::Error| {
        Error::config(format!("the key for passwords of targets, {}, cannot be used", path.display()))
            .with_hint(format!("make its folder writable for this user, or give {KEY_VARIABLE}"))
            .with_source(source)
    };
    match read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found.map_err(failed),
    }
    let mut key = [0; KEY_BYTES];
    random.fill(&mut key).map_err(|_| Error::bug("the host has no random numbers"))?;
    match make(path, &key) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    read(path).map_err(failed)
}

/// Writes the key beside its place and links it there, so that nobody finds half of one.
fn make(path: &Path, key: &[u8; KEY_BYTES]) -> io::Result<()> {
    let beside = path.with_extension(format!("key.{}", std::process::id()));
    let written =
        File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside).and_then(|mut file| {
            file.write_all(STANDARD.encode(key).as_bytes())?;
            file.write_all(b"\n")?;
            file.sync_all()
        });
    let linked = written.and_then(|()| fs::hard_link(&beside, path));
    // It has its place by now, or is of no use.
    let _ = fs::remove_file(&beside);
    linked
}

fn read(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let mut text = Vec::new();
    File::open(path)?.take(1024).read_to_end(&mut text)?;
    decoded(text.trim_ascii()).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no key"))
}

fn decoded(text: &[u8]) -> Option<[u8; KEY_BYTES]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: store::Lookup<'_> = &|_| None;

    #[test]
    fn what_is_sealed_is_opened_by_the_same_key_alone_and_does_not_show() {
        let folder = tempfile::tempdir().expect("a folder");
        let vault = Vault::open(folder.path(), NOWHERE).expect("makes a key");
        let sealed = vault.seal("postgres://u:canary@127.0.0.1/db").expect("seals");
        assert!(!sealed.windows(6).any(|part| part == b"canary"));
        assert_ne!(
            sealed,
            vault.seal("postgres://u:canary@127.0.0.1/db").expect("seals"),
            "each has a nonce of its own"
        );
        let again = Vault::open(folder.path(), NOWHERE).expect("reads the key");
        assert_eq!(again.open_sealed(&sealed).expect("the same key"), "postgres://u:canary@127.0.0.1/db");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let other = Vault::open(elsewhere.path(), NOWHERE).expect("makes a key");
        for bad in [&sealed[..], &sealed[..5], &[]] {
            assert!(other.open_sealed(bad).is_err());
        }
        let mode = fs::metadata(folder.path().join(FILE_NAME)).expect("it is there").permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    }

    #[test]
    fn the_environments_key_needs_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = STANDARD.encode([7; KEY_BYTES]);
        let vault = Vault::open(folder.path(), &|_| Some(key.clone())).expect("a key");
        assert!(vault.open_sealed(&vault.seal("x").expect("seals")).is_ok());
        assert!(fs::read_dir(folder.path()).expect("readable").next().is_none());
        assert!(Vault::open(folder.path(), &|_| Some("short".to_owned())).is_err());
    }
}
