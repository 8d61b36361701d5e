//! Threads come and go; their counters must not. The kernel keeps context switches and run-queue waits for live
//! threads only, so what a thread had when it was last seen is kept here.

use std::collections::HashMap;
use std::path::Path;

use crate::files::{Buffer, absence};
use crate::process_files::{parse_schedstat, parse_status};

/// Two files are read for each thread; a process with more threads than this is counted in part, and that is said.
pub(crate) const TASKS_MAX: usize = 2048;

/// Counters of one thread or the sum over many.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct TaskCounters {
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    pub(crate) cpu_seconds: f64,
    pub(crate) waited_seconds: f64,
}

impl TaskCounters {
    fn add(&mut self, other: &Self) {
        self.voluntary_switches = self.voluntary_switches.saturating_add(other.voluntary_switches);
        self.involuntary_switches = self.involuntary_switches.saturating_add(other.involuntary_switches);
        self.cpu_seconds += other.cpu_seconds;
        self.waited_seconds += other.waited_seconds;
    }
}

/// A live thread.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Task {
    pub(crate) name: String,
    pub(crate) counters: TaskCounters,
    seen_in_round: u64,
}

/// total = what ended threads had when they were last seen + what live threads have. What a thread did after it was
/// seen last, and threads that lived between two samples, are not known: the total is a lower bound.
#[derive(Debug, Default)]
pub(crate) struct TaskLedger {
    live: HashMap<u32, Task>,
    ended: TaskCounters,
    round: u64,
    read_in_round: usize,
    /// Why a thread could not be read, were it by lack of rights or of a kernel option.
    pub(crate) without: Option<String>,
    /// Whether the kernel told the time on the run queue.
    pub(crate) has_waits: bool,
}

impl TaskLedger {
    /// A new sample begins.
    pub(crate) fn begin(&mut self) {
        self.round += 1;
        self.read_in_round = 0;
        self.without = None;
    }

    /// Reads all threads of the process whose `/proc` folder is given.
    pub(crate) fn read_process(&mut self, buffer: &mut Buffer, folder: &Path, pid: u32, threads: u64) {
        if threads <= 1 {
            // The process's own files are those of its first thread; this saves listing the folder of threads.
            self.read_task(buffer, folder, pid);
            return;
        }
        let tasks = folder.join("task");
        match std::fs::read_dir(&tasks) {
            Ok(entries) => {
                for entry in entries.flatten() {
                    if let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                        self.read_task(buffer, &entry.path(), tid);
                    }
                }
            }
            Err(error) => self.without = Some(absence("/proc/PID/task", &error)),
        }
    }

    fn read_task(&mut self, buffer: &mut Buffer, folder: &Path, tid: u32) {
        if self.read_in_round >= TASKS_MAX {
            self.without = Some(format!("only {TASKS_MAX} threads are read"));
            // What is not read now was not ended by that.
            if let Some(task) = self.live.get_mut(&tid) {
                task.seen_in_round = self.round;
            }
            return;
        }
        self.read_in_round += 1;
        let status = match buffer.read(&folder.join("status")) {
            Ok(text) => parse_status(&text),
            // It ended since it was listed.
            Err(error) if ended(&error) => return,
            Err(error) => {
                self.without = Some(absence("/proc/PID/task/TID/status", &error));
                return;
            }
        };
        let Some(status) = status else {
            self.without = Some("the kernel does not count them in /proc/PID/task/TID/status".to_owned());
            return;
        };
        let times = buffer.read(&folder.join("schedstat")).ok().and_then(|text| parse_schedstat(&text));
        self.has_waits |= times.is_some();
        let (cpu_seconds, waited_seconds) = times.unwrap_or_default();
        let counters = TaskCounters {
            voluntary_switches: status.voluntary_switches,
            involuntary_switches: status.involuntary_switches,
            cpu_seconds,
            waited_seconds,
        };
        self.observe(tid, status.name, counters);
    }

    fn observe(&mut self, tid: u32, name: String, counters: TaskCounters) {
        let task = Task { name, counters, seen_in_round: self.round };
        if let Some(before) = self.live.insert(tid, task)
            && before.counters.voluntary_switches > counters.voluntary_switches
        {
            // The id was given to another thread.
            self.ended.add(&before.counters);
        }
    }

    /// The sample ends: threads that were not seen have ended.
    pub(crate) fn finish(&mut self) -> TaskCounters {
        let (round, ended) = (self.round, &mut self.ended);
        self.live.retain(|_, task| {
            let lives = task.seen_in_round == round;
            if !lives {
                ended.add(&task.counters);
            }
            lives
        });
        let mut total = self.ended;
        self.live.values().for_each(|task| total.add(&task.counters));
        total
    }

    /// The threads that were seen last.
    pub(crate) fn live(&self) -> impl Iterator<Item = (u32, &Task)> {
        self.live.iter().map(|(tid, task)| (*tid, task))
    }
}

/// A thread or process that is gone: its folder is missing, or the kernel says ESRCH for a file that was open.
pub(crate) fn ended(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(switches: u64) -> TaskCounters {
        TaskCounters { voluntary_switches: switches, ..TaskCounters::default() }
    }

    #[test]
    fn what_ended_threads_did_stays_counted() {
        let mut ledger = TaskLedger::default();
        // Each round: the threads that are seen with their switches, and the total expected.
        for (seen, expected) in [
            (vec![(1, 10), (2, 5)], 15),
            (vec![(1, 12)], 17),
            (vec![(1, 12), (2, 3)], 20),
            // The id 2 is now another thread's.
            (vec![(1, 12), (2, 1)], 21),
            (vec![], 21),
        ] {
            ledger.begin();
            for (tid, switches) in seen {
                ledger.observe(tid, String::new(), counters(switches));
            }
            assert_eq!(ledger.finish().voluntary_switches, expected);
        }
    }
}
