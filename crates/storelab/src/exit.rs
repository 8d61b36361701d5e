//! Exit codes, as the user guide documents them.

use std::process::ExitCode;

use store::ErrorKind;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All went well.
    Ok = 0,
    /// Something failed that is none of the others.
    Failed = 1,
    /// The command or plan cannot work as it was written.
    Usage = 2,
    /// The target does not answer, refuses us, or was gone at the end.
    Unreachable = 3,
    /// The run's numbers are not worth what they seem: the generator did not do what was planned.
    Invalid = 4,
    /// The data are not what had been written.
    Unverified = 5,
    /// A threshold does not hold.
    Threshold = 99,
    /// Ctrl-C or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// The exit code of an error: who must act.
pub(crate) fn code_of(error: &anyhow::Error) -> Exit {
    if let Some(error) = error.downcast_ref::<store::Error>() {
        return match error.kind() {
            ErrorKind::Config | ErrorKind::Unsupported => Exit::Usage,
            ErrorKind::Unreachable | ErrorKind::Timeout => Exit::Unreachable,
            ErrorKind::WrongResult => Exit::Unverified,
            ErrorKind::Rejected | ErrorKind::Conflict | ErrorKind::Bug => Exit::Failed,
        };
    }
    if let Some(error) = error.downcast_ref::<provision::Error>() {
        return match error.kind() {
            provision::ErrorKind::Unknown | provision::ErrorKind::Config => Exit::Usage,
            _ => Exit::Failed,
        };
    }
    match error.downcast_ref::<results::Error>() {
        Some(results::Error::NotFound { .. } | results::Error::Ambiguous { .. }) => Exit::Usage,
        _ => Exit::Failed,
    }
}
