//! The certificate and key that the service shows, read from files in PEM, and read again when these change: whoever renews a
//! certificate need not know that the service is there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use store::{Error, Result};
use tokio_rustls::TlsAcceptor;

use crate::problem::chain;
use crate::settings::TlsFiles;

/// How often the files are looked at, and only where somebody connects: it is two questions to the file system.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What connections are encrypted with, as the files have it. A connection keeps what it began with.
pub(crate) struct Certificates {
    files: TlsFiles,
    current: Mutex<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    /// Of the files as they were tried last, also where nothing could be made of them.
    tried: Stamps,
    looked_at: Instant,
}

/// By which the contents of both files are known to be others; none of a file that is not there.
type Stamps = [Option<Stamp>; 2];

/// Identity, size and time of change: a file that is replaced has another number, one that is written over another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    changed_at: (i64, i64),
}

/// What came of a look at the files.
#[derive(Debug)]
enum Looked {
    /// They are as they were.
    Same,
    /// New connections are encrypted with what they hold now.
    Renewed,
    /// They hold nothing that could be used; what was there before goes on.
    Kept(Error),
}

impl Certificates {
    /// Reads the files for the first time.
    ///
    /// # Errors
    /// `Config` where a file cannot be read, has nothing of its kind, or the two do not belong together.
    pub(crate) fn read(files: TlsFiles) -> Result<Self> {
        // The stamps first: what changes while it is read is read again.
        let tried = stamps(&files);
        let current = Current { config: config(&files)?, tried, looked_at: Instant::now() };
        Ok(Self { files, current: Mutex::new(current) })
    }

    /// What a connection that begins now is encrypted with.
    pub(crate) async fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        if self.is_due() {
            // On a thread of its own: nobody else waits for a file system that is slow or away.
            let this = Arc::clone(self);
            if let Err(error) = tokio::task::spawn_blocking(move || this.tell(&this.look())).await {
                tracing::error!("the certificate could not be looked at: {error}");
            }
        }
        TlsAcceptor::from(Arc::clone(&self.current().config))
    }

    /// Whether it is this connection that looks at the files; the others go on with what there is.
    fn is_due(&self) -> bool {
        let mut current = self.current();
        let is_due = current.looked_at.elapsed() >= LOOK_INTERVAL;
        if is_due {
            current.looked_at = Instant::now();
        }
        is_due
    }

    /// Reads the files again where they have changed.
    fn look(&self) -> Looked {
        let found = stamps(&self.files);
        if found == self.current().tried {
            return Looked::Same;
        }
        let read = config(&self.files);
        let mut current = self.current();
        current.tried = found;
        match read {
            Ok(config) => {
                current.config = config;
                Looked::Renewed
            }
            Err(error) => Looked::Kept(error),
        }
    }

    fn tell(&self, looked: &Looked) {
        let file = self.files.certificates.display();
        match looked {
            Looked::Same => {}
            Looked::Renewed => tracing::info!("the certificate in {file} is new, and used from now on"),
            Looked::Kept(error) => {
                tracing::error!(
                    "the certificate in {file} is new and cannot be used, so the old one goes on: {}",
                    chain(error)
                );
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    [&files.certificates, &files.key].map(|path| stamp(path).ok())
}

/// Of the file that a path leads to, through links: Kubernetes replaces a link to a folder.
fn stamp(path: &Path) -> io::Result<Stamp> {
    let found = fs::metadata(path)?;
    Ok(Stamp {
        device: found.dev(),
        inode: found.ino(),
        bytes: found.len(),
        changed_at: (found.ctime(), found.ctime_nsec()),
    })
}

/// What the files hold.
fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>> {
    let unreadable = |path: &Path, what: &str, error: pem::Error| {
        Error::config(format!("{} cannot be read as {what}: {error}", path.display()))
            .with_hint("give files in PEM, the certificate first and then those that lead to its root")
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificates)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|error| unreadable(&files.certificates, "certificates", error))?;
    if certificates.is_empty() {
        return Err(Error::config(format!("{} holds no certificate", files.certificates.display())));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| unreadable(&files.key, "a key", error))?;
    let unusable = |error: rustls::Error| {
        Error::config("the certificate and the key cannot be used")
            .with_source(error)
            .with_hint("give a pair that belongs together")
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A certificate with its key, as text.
    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn files_are_read_again_once_for_each_change_and_never_make_it_worse() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let files = TlsFiles { certificates: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
        let write = |(certificate, key): &(String, String)| {
            fs::write(&files.certificates, certificate).expect("written");
            fs::write(&files.key, key).expect("written");
        };
        let (first, second) = (made(), made());
        write(&first);
        let certificates = Certificates::read(files.clone()).expect("a pair");
        let is_same = |before: &Arc<ServerConfig>| Arc::ptr_eq(before, &certificates.current().config);
        let before = Arc::clone(&certificates.current().config);
        assert!(matches!(certificates.look(), Looked::Same) && is_same(&before));
        for (what, broken) in [
            ("nothing", (String::new(), first.1.clone())),
            ("half a certificate", (second.0[..second.0.len() / 2].to_owned(), second.1.clone())),
            ("a certificate of another key", (second.0.clone(), first.1.clone())),
            ("no key", (second.0.clone(), "x".to_owned())),
        ] {
            write(&broken);
            let looked = certificates.look();
            assert!(
                matches!(&looked, Looked::Kept(error) if error.kind() == store::ErrorKind::Config),
                "{what}: {looked:?}"
            );
            assert!(is_same(&before), "{what}");
            assert!(matches!(certificates.look(), Looked::Same), "{what} is told once");
        }
        fs::remove_file(&files.key).expect("removed");
        assert!(matches!(certificates.look(), Looked::Kept(_)) && is_same(&before));
        write(&second);
        assert!(matches!(certificates.look(), Looked::Renewed) && !is_same(&before));
    }
}
