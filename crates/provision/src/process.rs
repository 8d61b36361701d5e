//! Processes as /proc shows them, signalled only when they are surely the ones that are meant.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::shared_memory::SharedMemory;

/// How often a condition that has no event is looked at again.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// How many times a tree is read again while it keeps growing under the hand that stops it.
const STOP_PASSES_MAX: usize = 100;

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    id: u32,
    /// When it started, in clock ticks since the machine's start (field 22 of /proc/PID/stat, proc(5)).
    start_time_ticks: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn find(id: u32) -> Option<Self> {
        Stat::read(id).map(|stat| Self { id, start_time_ticks: stat.start_time_ticks })
    }

    /// The process that asks.
    pub fn current() -> Option<Self> {
        Self::find(std::process::id())
    }

    /// Its number.
    pub fn id(self) -> u32 {
        self.id
    }

    /// Its state letter (proc(5): R, S, D, T for stopped, Z for ended but not yet collected), `None` once it is gone.
    pub fn state(self) -> Option<char> {
        Stat::read(self.id).filter(|stat| stat.start_time_ticks == self.start_time_ticks).map(|stat| stat.state)
    }

    /// Whether it still runs or could run again; one that has ended and only waits to be collected does not.
    pub fn is_alive(self) -> bool {
        self.state().is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// Its command line, for whoever wants to see what runs; empty once it is gone.
    pub fn command_line(self) -> Vec<String> {
        let bytes = if self.is_alive() { fs::read(format!("/proc/{}/cmdline", self.id)).ok() } else { None };
        let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// Itself first, then its children, their children and so on. Empty once it is gone.
    pub fn tree(self) -> Vec<Self> {
        if self.is_alive() { process_tree(self.id).into_iter().filter_map(Self::find).collect() } else { Vec::new() }
    }

    /// Sends a signal, unless the process is gone.
    pub(crate) fn signal(self, signal: Signal) {
        if !self.is_alive() {
            return;
        }
        let id = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        if let Some(Err(error)) = id.map(|id| kill_process(id, signal)) {
            // Gone in between is what was wanted; anything else shows when the wait for the effect ends.
            tracing::debug!(process_id = self.id, ?signal, %error, "signal not delivered");
        }
    }

    /// Stops the process and all that descends from it with SIGSTOP, and waits until they have stopped.
    /// Returns them, or `None` where they did not all stop in time.
    pub(crate) fn freeze(self, timeout: Duration) -> Option<Vec<Self>> {
        let deadline = Instant::now() + timeout;
        // A stopped parent makes no children, so a pass that finds nothing new has found everything.
        for _ in 0..STOP_PASSES_MAX {
            let tree = self.tree();
            let running: Vec<_> =
                tree.iter().filter(|process| !matches!(process.state(), Some('T' | 'Z' | 'X') | None)).collect();
            if running.is_empty() {
                return Some(tree);
            }
            // All at once, not one after another: with hundreds of processes the first would stand long before the last.
            for process in &running {
                process.signal(Signal::STOP);
            }
            let stopped = || running.iter().all(|process| !matches!(process.state(), Some('R' | 'S' | 'D')));
            if !wait_until(deadline, stopped) {
                return None;
            }
        }
        None
    }

    /// Lets the process and all that descends from it go on.
    pub(crate) fn thaw(self) {
        for process in self.tree() {
            process.signal(Signal::CONT);
        }
    }

    /// Kills the process and all that descends from it. Whether they are gone when it returns.
    pub(crate) fn kill_tree(self, timeout: Duration) -> bool {
        // The root is stopped first so that it makes no further child meanwhile; whether it stops in time is no matter.
        self.signal(Signal::STOP);
        let tree = self.tree();
        let shared_memory: Vec<_> = tree.iter().flat_map(|process| SharedMemory::of(*process)).collect();
        for process in &tree {
            process.signal(Signal::KILL);
        }
        let is_gone = wait_until(Instant::now() + timeout, || tree.iter().all(|process| !process.is_alive()));
        if is_gone {
            shared_memory.iter().for_each(SharedMemory::remove);
        }
        is_gone
    }
}

/// A process' number, then those of its children, their children and so on, as /proc shows them.
pub fn process_tree(id: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(stat) = Stat::read(child) {
            children.entry(stat.parent_id).or_default().push(child);
        }
    }
    let mut tree = vec![id];
    let mut next = 0;
    while let Some(parent) = tree.get(next) {
        tree.extend(children.remove(parent).unwrap_or_default());
        next += 1;
    }
    tree
}

/// Waits until a condition holds; `false` where it does not by the deadline.
pub(crate) fn wait_until(deadline: Instant, mut condition: impl FnMut() -> bool) -> bool {
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// What is needed of /proc/PID/stat.
struct Stat {
    state: char,
    parent_id: u32,
    start_time_ticks: u64,
}

impl Stat {
    fn read(id: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }

    /// The command's name in brackets may itself hold blanks and brackets: the last one closes it.
    fn parse(line: &str) -> Option<Self> {
        /// Places after the name: state is field 3, parent 4 and start time 22 of proc(5).
        const START_TIME: usize = 22 - 3;
        let fields: Vec<&str> = line.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent_id: fields.get(1)?.parse().ok()?,
            start_time_ticks: fields.get(START_TIME)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_confuse() {
        let line = "42 (a) S 1 (b) R 7 42 42 0 -1 4194304 1 0 0 0 1 1 0 0 20 0 1 0 987654 1 1 1";
        let stat = Stat::parse(line).expect("a line as the kernel writes it");
        assert_eq!((stat.state, stat.parent_id, stat.start_time_ticks), ('R', 7, 987_654));
        assert!(Stat::parse("42 (cut").is_none());
    }

    #[test]
    fn a_process_with_another_start_time_is_another_process() {
        let current = Process::current().expect("/proc is there");
        assert!(current.is_alive());
        let earlier = Process { start_time_ticks: current.start_time_ticks.wrapping_sub(1), ..current };
        assert!(!earlier.is_alive() && earlier.tree().is_empty() && earlier.command_line().is_empty());
    }

    #[test]
    fn a_child_is_in_the_tree_until_it_ends() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().expect("cat is everywhere");
        let process = Process::find(child.id()).expect("it waits for input");
        assert!(process_tree(std::process::id()).contains(&child.id()));
        drop(child.stdin.take());
        child.wait().expect("collected");
        assert!(!process.is_alive());
    }
}
