//! Shared memory that a killed server cannot give back: it would stay until the machine restarts.
//!
//! `PostgreSQL` holds a System V segment as a lock and POSIX segments in /dev/shm. Both are seen in the maps of its processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Process;

/// Where POSIX shared memory is (`shm_overview(7)`).
const POSIX_FOLDER: &str = "/dev/shm";

/// One piece of shared memory.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SharedMemory {
    /// A file in /dev/shm.
    Posix(PathBuf),
    /// A System V segment, by its identifier.
    SystemV(u32),
}

impl SharedMemory {
    /// What a process shares.
    pub(crate) fn of(process: Process) -> BTreeSet<Self> {
        parse(&fs::read_to_string(format!("/proc/{}/maps", process.id())).unwrap_or_default())
    }

    /// Removes it, where its owner has not. Best effort: some bytes stay where that fails.
    pub(crate) fn remove(&self) {
        match self {
            Self::Posix(path) => {
                if let Err(error) = fs::remove_file(path) {
                    tracing::debug!(path = %path.display(), %error, "shared memory not removed");
                }
            }
            Self::SystemV(id) => {
                let mut command = Command::new("ipcrm");
                command.args(["-m", &id.to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                tracing::debug!(id, result = ?command.status(), "shared memory removed");
            }
        }
    }
}

/// Reads /proc/PID/maps (`proc(5)`): address, rights, offset, device, inode, path. A System V segment's inode is its identifier.
fn parse(maps: &str) -> BTreeSet<SharedMemory> {
    let parse_line = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let path = Path::new(fields.get(5)?);
        // One that is deleted goes with the last process that has it.
        let is_deleted = fields.last() == Some(&"(deleted)");
        if path.to_str()?.starts_with("/SYSV") {
            return fields.get(4)?.parse().ok().map(SharedMemory::SystemV);
        }
        let is_posix = path.parent() == Some(Path::new(POSIX_FOLDER)) && !is_deleted;
        is_posix.then(|| SharedMemory::Posix(path.to_owned()))
    };
    maps.lines().filter_map(parse_line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_are_found_in_maps() {
        let maps = "\
            55d0c8a00000-55d0c8b00000 r--p 00000000 fe:00 1234   /usr/lib/postgresql/15/bin/postgres\n\
            7f0000000000-7f0000001000 rw-s 00000000 00:01 65547  /SYSV009891b3 (deleted)\n\
            7f0000100000-7f0000107000 rw-s 00000000 00:1a 77     /dev/shm/PostgreSQL.1036207286\n\
            7f0000200000-7f0000207000 rw-s 00000000 00:1a 78     /dev/shm/PostgreSQL.2 (deleted)\n\
            7f0000300000-7f0000400000 rw-s 00000000 00:01 79     /dev/zero (deleted)\n\
            7f0000500000-7f0000600000 rw-p 00000000 00:00 0\n";
        let expect = [SharedMemory::Posix("/dev/shm/PostgreSQL.1036207286".into()), SharedMemory::SystemV(65547)];
        assert_eq!(parse(maps), BTreeSet::from(expect));
    }
}
