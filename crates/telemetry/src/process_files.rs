//! The files of one process below `/proc/PID`, as values.

use crate::memory::kibibytes;

/// `/proc/PID/stat`; times in clock ticks, which is the kernel's resolution here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    pub(crate) name: String,
    /// It ended and waits for its parent to notice.
    pub(crate) ended: bool,
    pub(crate) parent: u32,
    pub(crate) minor_faults: u64,
    pub(crate) reaped_minor_faults: u64,
    pub(crate) major_faults: u64,
    pub(crate) reaped_major_faults: u64,
    pub(crate) user_ticks: u64,
    pub(crate) system_ticks: u64,
    pub(crate) reaped_user_ticks: u64,
    pub(crate) reaped_system_ticks: u64,
    pub(crate) threads: u64,
    /// When it started, in ticks since the host started: with the pid, the identity of a process.
    pub(crate) start_ticks: u64,
    pub(crate) resident_pages: u64,
}

/// Reads `/proc/PID/stat` (proc(5)). The name may hold blanks and parentheses, so what follows begins behind the last
/// parenthesis.
pub(crate) fn parse_process_stat(text: &str) -> Option<ProcessStat> {
    let (head, tail) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let mut values = tail.split_ascii_whitespace();
    let ended = matches!(values.next()?, "Z" | "X" | "x");
    let mut fields = [0_u64; 22];
    let mut count = 0;
    for (field, value) in fields.iter_mut().zip(values) {
        // Some fields are signed (`tpgid`, `nice`); none of ours is ever below zero.
        *field = value.parse::<u64>().or_else(|_| value.parse::<i64>().map(|_| 0)).ok()?;
        count += 1;
    }
    if count < 21 {
        return None;
    }
    let [parent, _, _, _, _, _, minor, reaped_minor, major, reaped_major, rest @ ..] = fields;
    let [user, system, reaped_user, reaped_system, _, _, threads, _, start, _, resident, _] = rest;
    Some(ProcessStat {
        name: name.to_owned(),
        ended,
        parent: u32::try_from(parent).ok()?,
        minor_faults: minor,
        reaped_minor_faults: reaped_minor,
        major_faults: major,
        reaped_major_faults: reaped_major,
        user_ticks: user,
        system_ticks: system,
        reaped_user_ticks: reaped_user,
        reaped_system_ticks: reaped_system,
        threads,
        start_ticks: start,
        resident_pages: resident,
    })
}

/// The lines of `/proc/PID/status` and `/proc/PID/task/TID/status` that are used here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TaskStatus {
    pub(crate) name: String,
    pub(crate) resident_bytes: Option<u64>,
    pub(crate) resident_bytes_max: Option<u64>,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
}

/// Reads a `status` file; without the context switches (a kernel without `CONFIG_TASK_XACCT`) it is of no use.
pub(crate) fn parse_status(text: &str) -> Option<TaskStatus> {
    let mut status = TaskStatus::default();
    let (mut voluntary, mut involuntary) = (None, None);
    for line in text.lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        match name {
            "Name" => value.trim().clone_into(&mut status.name),
            "VmRSS" => status.resident_bytes = kibibytes(value),
            "VmHWM" => status.resident_bytes_max = kibibytes(value),
            "voluntary_ctxt_switches" => voluntary = value.trim().parse().ok(),
            "nonvoluntary_ctxt_switches" => involuntary = value.trim().parse().ok(),
            _ => {}
        }
    }
    (status.voluntary_switches, status.involuntary_switches) = (voluntary?, involuntary?);
    Some(status)
}

/// Reads a `schedstat` file: seconds on a processor, and seconds runnable but waiting for one.
pub(crate) fn parse_schedstat(text: &str) -> Option<(f64, f64)> {
    let mut fields = text.split_ascii_whitespace().map_while(|field| field.parse::<u64>().ok());
    Some((fields.next()? as f64 / 1e9, fields.next()? as f64 / 1e9))
}

/// Reads `/proc/PID/io`: bytes that were really fetched from and sent to storage, not those the page cache served.
pub(crate) fn parse_io(text: &str) -> Option<(u64, u64)> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name))?.trim().parse::<u64>().ok();
    Some((value("read_bytes:")?, value("write_bytes:")?))
}

/// Reads `smaps_rollup`: the memory of the process with each shared page divided by those who share it, in bytes.
pub(crate) fn parse_proportional_bytes(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("Pss:")).and_then(kibibytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_call_itself_anything() {
        let tail = "S 77 1 1 0 -1 4194304 100 10 5 1 300 200 30 20 20 0 4 0 138050 3133440 379 18446744073709551615";
        for name in ["postgres", "a b) R 1 (c", "(", ""] {
            let stat = parse_process_stat(&format!("7540 ({name}) {tail}")).expect("a well-formed file");
            let expected = ProcessStat {
                name: name.to_owned(),
                ended: false,
                parent: 77,
                minor_faults: 100,
                reaped_minor_faults: 10,
                major_faults: 5,
                reaped_major_faults: 1,
                user_ticks: 300,
                system_ticks: 200,
                reaped_user_ticks: 30,
                reaped_system_ticks: 20,
                threads: 4,
                start_ticks: 138_050,
                resident_pages: 379,
            };
            assert_eq!(stat, expected);
        }
        for text in ["", "1 (a", "1 (a) S 1 2 3", "1 (a) S x"] {
            assert_eq!(parse_process_stat(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_small_files_are_understood() {
        let status = parse_status(
            "Name:\tworker 1\nVmHWM:\t  20 kB\nVmRSS:\t 10 kB\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n",
        );
        let expected = TaskStatus {
            name: "worker 1".to_owned(),
            resident_bytes: Some(10240),
            resident_bytes_max: Some(20480),
            voluntary_switches: 7,
            involuntary_switches: 3,
        };
        assert_eq!(status, Some(expected));
        assert_eq!(parse_status("Name:\tworker\n"), None);
        assert_eq!(parse_schedstat("1500000000 500000000 9\n"), Some((1.5, 0.5)));
        assert_eq!(parse_schedstat("1500000000"), None);
        let io =
            "rchar: 9\nwchar: 9\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 0\n";
        assert_eq!(parse_io(io), Some((4096, 8192)));
        assert_eq!(parse_proportional_bytes("1-2 ---p [rollup]\nRss: 9 kB\nPss: 3 kB\nPss_Dirty: 1 kB\n"), Some(3072));
    }
}
