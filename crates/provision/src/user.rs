//! The user that servers run as.
//!
//! `PostgreSQL` refuses to run as root and nothing else should: a throw-away server gets no more rights than it needs.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::IoContext;
use crate::{Error, ErrorKind, Result};

/// The user without rights, by name and, where the password file does not list it, by number (the kernel's overflow user).
const UNPRIVILEGED_NAME: &str = "nobody";
const UNPRIVILEGED_ID: u32 = 65534;

/// Whom a server runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Whoever runs Storelab.
    Same,
    /// Somebody without rights, because Storelab is run by root.
    Unprivileged { user_id: u32, group_id: u32 },
}

impl User {
    /// Whom servers run as when this process starts them.
    pub(crate) fn for_servers() -> Self {
        if is_root() { unprivileged(&fs::read_to_string("/etc/passwd").unwrap_or_default()) } else { Self::Same }
    }

    /// Makes a command run as this user. The standard library drops the supplementary groups with it.
    pub(crate) fn apply(self, command: &mut Command) {
        if let Self::Unprivileged { user_id, group_id } = self {
            command.uid(user_id).gid(group_id);
        }
    }

    /// Its numbers as `USER:GROUP`.
    pub(crate) fn ids(self) -> String {
        match self {
            Self::Same => {
                let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
                format!("{}:{}", user.as_raw(), group.as_raw())
            }
            Self::Unprivileged { user_id, group_id } => format!("{user_id}:{group_id}"),
        }
    }

    /// Makes this user the owner of a file or folder.
    pub(crate) fn own(self, path: &Path) -> Result<()> {
        match self {
            Self::Same => Ok(()),
            Self::Unprivileged { user_id, group_id } => chown(path, Some(user_id), Some(group_id))
                .or_cannot(|| format!("give {} to the user {UNPRIVILEGED_NAME}", path.display())),
        }
    }

    /// Refuses a folder that this user could not reach.
    pub(crate) fn check_reach(self, folder: &Path) -> Result<()> {
        /// Others may pass through.
        const PASSABLE_BY_OTHERS: u32 = 0o001;
        let Self::Unprivileged { user_id, .. } = self else { return Ok(()) };
        for parent in folder.ancestors().skip(1) {
            let metadata = fs::metadata(parent).or_cannot(|| format!("look at {}", parent.display()))?;
            if metadata.uid() != user_id && metadata.mode() & PASSABLE_BY_OTHERS == 0 {
                return Err(Error::new(
                    ErrorKind::Config,
                    format!("the user {UNPRIVILEGED_NAME} cannot pass through {}", parent.display()),
                )
                .with_hint(
                    "servers do not run as root: choose a folder that others may reach, or run as another user",
                ));
            }
        }
        Ok(())
    }
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// `nobody` as the password file has it.
fn unprivileged(password_file: &str) -> User {
    let ids = password_file.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(UNPRIVILEGED_NAME) {
            return None;
        }
        Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
    });
    let (user_id, group_id) = ids.unwrap_or((UNPRIVILEGED_ID, UNPRIVILEGED_ID));
    User::Unprivileged { user_id, group_id }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_read_from_the_password_file_or_is_the_overflow_user() {
        for (file, user_id, group_id) in [
            ("root:x:0:0::/root:/bin/sh\nnobody:x:99:98::/:/bin/false\n", 99, 98),
            ("root:x:0:0::/root:/bin/sh\n", UNPRIVILEGED_ID, UNPRIVILEGED_ID),
            ("nobody:x:broken", UNPRIVILEGED_ID, UNPRIVILEGED_ID),
        ] {
            assert_eq!(unprivileged(file), User::Unprivileged { user_id, group_id }, "{file}");
        }
    }
}
