//! Carries a plan out: writes its files, runs its commands.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use crate::engine::{Plan, PlanFile};
use crate::error::IoContext;
use crate::supervisor::{Setting, Supervised};
use crate::user::User;
use crate::{Error, ErrorKind, Result};

/// How long one command of a preparation may take; the slowest takes half a second where nothing else runs.
const PREPARE_TIMEOUT: Duration = Duration::from_mins(2);

/// Writes a plan's files so that only `user` can read them.
pub(crate) fn write_files(files: &[PlanFile], user: User) -> Result<()> {
    files.iter().try_for_each(|file| {
        let what = || format!("write {}", file.path.display());
        // Made anew, so that neither a link nor somebody's open file of an earlier start is written to.
        remove_file(file)?;
        let mut target =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.path).or_cannot(what)?;
        target.write_all(file.content.as_bytes()).or_cannot(what)?;
        user.own(&file.path)
    })
}

/// Removes what was only needed to come up.
pub(crate) fn remove_transient_files(files: &[PlanFile]) -> Result<()> {
    files.iter().filter(|file| file.is_transient).try_for_each(remove_file)
}

/// Runs a preparation to its end.
pub(crate) fn prepare(plan: &Plan, setting: &Setting<'_>) -> Result<()> {
    write_files(&plan.files, setting.user)?;
    for command in &plan.commands {
        let program = command.program.display();
        let mut supervised = Supervised::spawn(setting, command)?;
        match supervised.wait(PREPARE_TIMEOUT) {
            Some(status) if status.success() => {}
            Some(status) => {
                return Err(Error::new(ErrorKind::StartFailed, format!("{program} failed with {status}")));
            }
            None => {
                supervised.end();
                let seconds = PREPARE_TIMEOUT.as_secs();
                return Err(Error::new(ErrorKind::StartFailed, format!("{program} took longer than {seconds} s")));
            }
        }
    }
    remove_transient_files(&plan.files)
}

fn remove_file(file: &PlanFile) -> Result<()> {
    match fs::remove_file(&file.path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io(format!("remove {}", file.path.display()), error))
        }
        _ => Ok(()),
    }
}
