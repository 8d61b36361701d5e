//! Passwords that nobody has to remember.

use std::fmt::{self, Write};
use std::fs::File;
use std::io::Read;

use crate::Result;
use crate::error::IoContext;

/// 256 bits: more than anybody on the same machine can try.
const PASSWORD_BYTES: usize = 32;

/// A server's password: hexadecimal digits, so that it needs no quoting in SQL, URLs and configuration files.
/// Shown as `***`, always.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// A new one from the operating system's random numbers.
    ///
    /// # Errors
    /// `Io` where there are none.
    pub(crate) fn random() -> Result<Self> {
        let mut bytes = [0; PASSWORD_BYTES];
        File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut bytes))
            .or_cannot(|| "read random numbers")?;
        Ok(Self(bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
            text
        })))
    }

    /// One that was kept.
    pub(crate) fn kept(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the server's own files and its URL only.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The same text without the password in it.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "***")
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_differ_and_are_never_shown() {
        let (first, second) = (Password::random().expect("random"), Password::random().expect("random"));
        assert_ne!(first, second);
        assert_eq!(first.expose().len(), 2 * PASSWORD_BYTES);
        assert_eq!(format!("{first:?}"), "***");
        assert_eq!(first.redact(&format!("near '{}'", first.expose())), "near '***'");
    }
}
