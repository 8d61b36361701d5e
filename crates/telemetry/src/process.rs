//! A process and everything it started: what a server costs while its workers come and go.
//!
//! **Processor time** of the tree is `root.own + root.reaped + Σ (own + reaped)` over live descendants. *Own* is
//! `utime`/`stime`; *reaped* is `cutime`/`cstime`: when a child ends, the kernel adds its own and its reaped time to its
//! parent's reaped time, so that each tick is in exactly one summand. Parents are read before their children: a child
//! that ends in between is missed by one sample instead of counted twice, and the reported sum stays where it was until
//! the next. Time that no parent in the tree inherits (the parent ignores SIGCHLD, or ended first) is kept too: a sum
//! that is lower twice in a row is continued from what was reported. Page faults and storage bytes obey the same law.
//!
//! **Cost**: 70 µs of processor time a process with one thread, measured on a busy virtual machine and nearly all of it
//! the kernel's: a server with a hundred worker processes takes 0.7 % of a core at one sample a second. A process with
//! many threads costs three files for each of them.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, CgroupSampler};
use crate::files::{Buffer, Missing, Source, absence, both, count_rate, growth, monotonic_seconds, rate};
use crate::process_files::{ProcessStat, parse_io, parse_process_stat, parse_proportional_bytes};
use crate::tasks::TaskLedger;

/// A tree larger than this is counted in part, and that is said.
const PROCESSES_MAX: usize = 4096;

/// Proportional memory makes the kernel walk the page tables under the server's own lock: at most each tenth sample …
const PROPORTIONAL_EVERY_SAMPLES: u64 = 10;

/// … and so rarely that it takes at most a five-hundredth of the time (many workers with large shared buffers).
const PROPORTIONAL_COST_INVERSE: f64 = 500.0;

/// A process tree at one moment. Counters run since its processes started and never go backwards.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessSample {
    /// When: the monotonic clock, the same for the samples of all samplers on this host.
    pub monotonic_seconds: f64,
    /// The process at the root of the tree.
    pub pid: u32,
    /// Its name, which the kernel cuts after 15 bytes.
    pub name: String,
    /// When it started, in seconds since the host did; with the pid this is its identity.
    pub started_seconds: f64,
    /// Processes in the tree, the root included.
    pub processes: u64,
    /// Threads of all processes.
    pub threads: u64,
    /// Processor time in programs, in steps of a clock tick (10 ms).
    pub cpu_user_seconds: f64,
    /// Processor time in the kernel, in steps of a clock tick (10 ms).
    pub cpu_system_seconds: f64,
    /// Time in which threads were runnable but waited for a processor (Linux: `CONFIG_SCHED_INFO`); a lower bound.
    pub run_queue_wait_seconds: Option<f64>,
    /// Memory in use, summed over processes: what they share is counted in each. Since 6.2 the kernel's number may be
    /// off by some pages a processor.
    pub rss_bytes: u64,
    /// Memory in use with each shared page counted once, as it was when last read: it is read rarely because the
    /// reading costs the server.
    pub pss_bytes: Option<u64>,
    /// Open files and sockets of all processes.
    pub file_descriptors: Option<u64>,
    /// Bytes fetched from storage.
    pub read_bytes: Option<u64>,
    /// Bytes sent to storage, now or later.
    pub write_bytes: Option<u64>,
    /// Page faults that were served from memory.
    pub minor_faults: u64,
    /// Page faults that waited for a disk.
    pub major_faults: u64,
    /// Context switches because a thread waited for something; a lower bound, like the next.
    pub voluntary_context_switches: Option<u64>,
    /// Context switches because another thread was given the processor.
    pub involuntary_context_switches: Option<u64>,
    /// The control group of the root process.
    pub cgroup: Option<Cgroup>,
    /// What is not known and why.
    pub missing: Vec<String>,
}

/// What a process tree did between two samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessUsage {
    /// How long that was.
    pub elapsed_seconds: f64,
    /// Processor time; 100 is one core all the time.
    pub cpu_percent: f64,
    /// Of it in programs.
    pub cpu_user_percent: f64,
    /// Of it in the kernel.
    pub cpu_system_percent: f64,
    /// Time in which its threads waited for a processor, a second, summed over threads.
    pub run_queue_wait_seconds_per_second: Option<f64>,
    /// Bytes fetched from storage a second.
    pub read_bytes_per_second: Option<f64>,
    /// Bytes sent to storage a second.
    pub write_bytes_per_second: Option<f64>,
    /// Page faults that waited for a disk a second.
    pub major_faults_per_second: f64,
    /// Context switches of both kinds a second.
    pub context_switches_per_second: Option<f64>,
    /// Time in which its control group held it back, a second, summed over processors.
    pub throttled_seconds_per_second: Option<f64>,
}

impl ProcessSample {
    /// User and system time together.
    pub fn cpu_seconds(&self) -> f64 {
        self.cpu_user_seconds + self.cpu_system_seconds
    }

    /// Context switches of both kinds.
    pub fn context_switches(&self) -> Option<u64> {
        Some(self.voluntary_context_switches?.saturating_add(self.involuntary_context_switches?))
    }

    pub(crate) fn throttled_seconds(&self) -> Option<f64> {
        self.cgroup.as_ref()?.throttled_seconds
    }

    /// What happened from `before` to this sample of the same process; of another process it says nothing.
    pub fn since(&self, before: &Self) -> ProcessUsage {
        let seconds = growth(before.monotonic_seconds, self.monotonic_seconds);
        let percent = |before: f64, after: f64| 100.0 * rate(growth(before, after), seconds);
        let counts = |before, after| both(before, after, |before, after| count_rate(before, after, seconds));
        let times = |before, after| both(before, after, |before, after| rate(growth(before, after), seconds));
        ProcessUsage {
            elapsed_seconds: seconds,
            cpu_percent: percent(before.cpu_seconds(), self.cpu_seconds()),
            cpu_user_percent: percent(before.cpu_user_seconds, self.cpu_user_seconds),
            cpu_system_percent: percent(before.cpu_system_seconds, self.cpu_system_seconds),
            run_queue_wait_seconds_per_second: times(before.run_queue_wait_seconds, self.run_queue_wait_seconds),
            read_bytes_per_second: counts(before.read_bytes, self.read_bytes),
            write_bytes_per_second: counts(before.write_bytes, self.write_bytes),
            major_faults_per_second: count_rate(before.major_faults, self.major_faults, seconds),
            context_switches_per_second: counts(before.context_switches(), self.context_switches()),
            throttled_seconds_per_second: times(before.throttled_seconds(), self.throttled_seconds()),
        }
    }
}

/// A sum over a tree that is read while the tree changes; see the head of this file.
#[derive(Debug, Default)]
struct Monotone {
    reported: f64,
    raw_before: f64,
    lost: f64,
    dipped: bool,
}

impl Monotone {
    fn next(&mut self, raw: f64) -> f64 {
        if raw + self.lost >= self.reported {
            self.dipped = false;
        } else if self.dipped {
            self.lost = self.reported - self.raw_before;
            self.dipped = raw < self.raw_before;
        } else {
            self.dipped = true;
        }
        self.raw_before = raw;
        self.reported = self.reported.max(raw + self.lost);
        self.reported
    }
}

/// The sums that must not go backwards.
#[derive(Debug, Default)]
struct Sums {
    user_ticks: Monotone,
    system_ticks: Monotone,
    minor_faults: Monotone,
    major_faults: Monotone,
    read_bytes: Monotone,
    write_bytes: Monotone,
}

/// The proportional memory as it was last read, and when it may be read again.
#[derive(Debug, Default)]
struct Proportional {
    bytes: Option<u64>,
    samples_until_next: u64,
    not_before_seconds: f64,
}

/// Follows a process and all that it started.
#[derive(Debug)]
pub struct ProcessSampler {
    root: PathBuf,
    pid: u32,
    /// None: there was no such process from the beginning.
    start_ticks: Option<u64>,
    ticks_per_second: f64,
    page_bytes: u64,
    buffer: Buffer,
    missing: Missing,
    stat: Source,
    cgroup: CgroupSampler,
    /// Those seen in the tree, with their start: they stay in it when the process between them and the root ends.
    members: HashMap<u32, u64>,
    /// The kernel does not list the children of a task; all processes are asked for their parent.
    scans: bool,
    sums: Sums,
    tasks: TaskLedger,
    proportional: Proportional,
}

impl ProcessSampler {
    /// The process that has this pid now, and no other that may have it later.
    pub fn new(pid: u32) -> Self {
        Self::with_root(Path::new("/"), pid)
    }

    /// A process of the host whose `/proc` lies below `root`.
    pub fn with_root(root: &Path, pid: u32) -> Self {
        let mut sampler = Self {
            root: root.to_owned(),
            pid,
            start_ticks: None,
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            page_bytes: rustix::param::page_size() as u64,
            buffer: Buffer::default(),
            missing: Missing::default(),
            stat: Source::new(root, &format!("proc/{pid}/stat")),
            cgroup: CgroupSampler::new(root, &pid.to_string()),
            members: HashMap::new(),
            scans: false,
            sums: Sums::default(),
            tasks: TaskLedger::default(),
            proportional: Proportional::default(),
        };
        sampler.start_ticks = sampler.read_root().map(|stat| stat.start_ticks);
        sampler
    }

    /// The pid of the process at the root.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The tree now; none once the process at its root has ended.
    pub fn sample(&mut self) -> Option<ProcessSample> {
        let now = monotonic_seconds();
        let root = self.read_root().filter(|stat| Some(stat.start_ticks) == self.start_ticks && !stat.ended)?;
        let (name, started_seconds) = (root.name.clone(), root.start_ticks as f64 / self.ticks_per_second);
        let tree = self.walk(root);
        let tasks = self.read_tasks(&tree);
        let io = self.read_io(&tree);
        let proportional = self.read_proportional(&tree, now);
        let file_descriptors = self.count_file_descriptors(&tree);
        let cgroup = self.cgroup.sample(&mut self.buffer, &mut self.missing);
        let sum =
            |count: fn(&ProcessStat) -> u64| tree.iter().map(|(_, stat)| count(stat)).fold(0, u64::saturating_add);
        let sums = &mut self.sums;
        let user_ticks =
            sums.user_ticks.next(sum(|stat| stat.user_ticks.saturating_add(stat.reaped_user_ticks)) as f64);
        let system_ticks =
            sums.system_ticks.next(sum(|stat| stat.system_ticks.saturating_add(stat.reaped_system_ticks)) as f64);
        let sample = ProcessSample {
            monotonic_seconds: now,
            pid: self.pid,
            name,
            started_seconds,
            processes: tree.len() as u64,
            threads: sum(|stat| stat.threads),
            cpu_user_seconds: user_ticks / self.ticks_per_second,
            cpu_system_seconds: system_ticks / self.ticks_per_second,
            run_queue_wait_seconds: tasks.and_then(|(_, _, waited)| waited),
            rss_bytes: sum(|stat| stat.resident_pages).saturating_mul(self.page_bytes),
            pss_bytes: proportional,
            file_descriptors,
            read_bytes: io.map(|(read, _)| read),
            write_bytes: io.map(|(_, write)| write),
            minor_faults: sums
                .minor_faults
                .next(sum(|stat| stat.minor_faults.saturating_add(stat.reaped_minor_faults)) as f64)
                as u64,
            major_faults: sums
                .major_faults
                .next(sum(|stat| stat.major_faults.saturating_add(stat.reaped_major_faults)) as f64)
                as u64,
            voluntary_context_switches: tasks.map(|(voluntary, _, _)| voluntary),
            involuntary_context_switches: tasks.map(|(_, involuntary, _)| involuntary),
            cgroup,
            missing: self.missing.to_vec(),
        };
        self.members = tree.into_iter().map(|(pid, stat)| (pid, stat.start_ticks)).collect();
        Some(sample)
    }

    fn folder(&self, pid: u32) -> PathBuf {
        self.root.join(format!("proc/{pid}"))
    }

    fn read_root(&mut self) -> Option<ProcessStat> {
        self.stat.parse_optional(&mut self.buffer, parse_process_stat)
    }

    fn read_stat(&mut self, pid: u32) -> Option<ProcessStat> {
        let path = self.folder(pid).join("stat");
        parse_process_stat(&self.buffer.read(&path).ok()?)
    }

    /// The tree, parents before their children.
    fn walk(&mut self, root: ProcessStat) -> Vec<(u32, ProcessStat)> {
        let by_parent = if self.scans { self.scan() } else { HashMap::new() };
        let mut seen = HashSet::from([self.pid]);
        let mut tree = vec![(self.pid, root)];
        let mut next = 0;
        let mut strays_were_added = false;
        loop {
            let found = match tree.get(next) {
                Some((pid, _)) if self.scans => by_parent.get(pid).cloned().unwrap_or_default(),
                Some((pid, stat)) => match self.children(*pid, stat.threads) {
                    Ok(children) => children,
                    Err(_) if next == 0 && self.read_root().is_some() => {
                        self.scans = true;
                        let (_, root) = tree.swap_remove(0);
                        return self.walk(root);
                    }
                    Err(_) => Vec::new(),
                },
                None if strays_were_added => return tree,
                None => {
                    strays_were_added = true;
                    self.members.keys().copied().collect()
                }
            };
            if next < tree.len() {
                next += 1;
            }
            for pid in found {
                if tree.len() >= PROCESSES_MAX {
                    self.missing.note("process tree", format!("only {PROCESSES_MAX} processes are counted"));
                    break;
                }
                if !seen.insert(pid) {
                    continue;
                }
                let Some(stat) = self.read_stat(pid) else { continue };
                // A stray must be the process that was seen; a child is taken as it is.
                if !strays_were_added || self.members.get(&pid).is_none_or(|start| *start == stat.start_ticks) {
                    tree.push((pid, stat));
                }
            }
        }
    }

    /// The children of all threads of a process (`CONFIG_PROC_CHILDREN`).
    fn children(&mut self, pid: u32, threads: u64) -> io::Result<Vec<u32>> {
        let tasks = self.folder(pid).join("task");
        let mut children = Vec::new();
        let mut read = |task: PathBuf| -> io::Result<()> {
            let text = self.buffer.read(&task.join("children"))?;
            children.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            Ok(())
        };
        if threads <= 1 {
            read(tasks.join(pid.to_string()))?;
            return Ok(children);
        }
        let mut any = Err(io::Error::from(io::ErrorKind::NotFound));
        for entry in std::fs::read_dir(&tasks)?.flatten() {
            if read(entry.path()).is_ok() {
                any = Ok(());
            }
        }
        any.map(|()| children)
    }

    /// All processes of the host by their parent.
    fn scan(&mut self) -> HashMap<u32, Vec<u32>> {
        let mut by_parent: HashMap<u32, Vec<u32>> = HashMap::new();
        for pid in process_ids(&self.root) {
            if let Some(stat) = self.read_stat(pid) {
                by_parent.entry(stat.parent).or_default().push(pid);
            }
        }
        by_parent
    }

    /// Voluntary and involuntary context switches and the time on the run queue.
    fn read_tasks(&mut self, tree: &[(u32, ProcessStat)]) -> Option<(u64, u64, Option<f64>)> {
        self.tasks.begin();
        for (pid, stat) in tree {
            let folder = self.root.join(format!("proc/{pid}"));
            self.tasks.read_process(&mut self.buffer, &folder, *pid, stat.threads);
        }
        let total = self.tasks.finish();
        if let Some(why) = &self.tasks.without {
            self.missing.note("context switches", why);
        }
        if !self.tasks.has_waits {
            self.missing.note("run-queue wait", "the kernel does not say it in /proc/PID/task/TID/schedstat");
        }
        let waited = self.tasks.has_waits.then_some(total.waited_seconds);
        // Nothing at all was read: unknown, not zero.
        self.tasks.live().next()?;
        Some((total.voluntary_switches, total.involuntary_switches, waited))
    }

    /// Bytes read from and written to storage; a parent inherits those of a child it reaps.
    fn read_io(&mut self, tree: &[(u32, ProcessStat)]) -> Option<(u64, u64)> {
        let (mut read, mut written) = (0_u64, 0_u64);
        for (pid, _) in tree {
            let path = self.folder(*pid).join("io");
            let result = self.buffer.read(&path).map(|text| parse_io(&text));
            match result {
                Ok(Some((process_read, process_written))) => {
                    read = read.saturating_add(process_read);
                    written = written.saturating_add(process_written);
                }
                Ok(None) if *pid == self.pid => {
                    self.missing.note("storage bytes of the process", "/proc/PID/io is not understood");
                    return None;
                }
                Err(error) if *pid == self.pid => {
                    self.missing.note("storage bytes of the process", absence("/proc/PID/io", &error));
                    return None;
                }
                // A child that ended just now; its parent has its bytes.
                Ok(None) | Err(_) => {}
            }
        }
        let sums = &mut self.sums;
        Some((sums.read_bytes.next(read as f64) as u64, sums.write_bytes.next(written as f64) as u64))
    }

    fn read_proportional(&mut self, tree: &[(u32, ProcessStat)], now: f64) -> Option<u64> {
        if self.proportional.samples_until_next > 0 || now < self.proportional.not_before_seconds {
            self.proportional.samples_until_next = self.proportional.samples_until_next.saturating_sub(1);
            return self.proportional.bytes;
        }
        let begun = monotonic_seconds();
        let mut total = 0_u64;
        let mut any = false;
        for (pid, _) in tree {
            let path = self.folder(*pid).join("smaps_rollup");
            match self.buffer.read(&path) {
                Ok(text) => {
                    let bytes = parse_proportional_bytes(&text);
                    any |= bytes.is_some();
                    total = total.saturating_add(bytes.unwrap_or(0));
                }
                Err(error) if *pid == self.pid => {
                    self.missing.note("proportional memory", absence("/proc/PID/smaps_rollup", &error));
                    break;
                }
                // A child that ended just now.
                Err(_) => {}
            }
        }
        let cost_seconds = monotonic_seconds() - begun;
        self.proportional = Proportional {
            bytes: any.then_some(total),
            samples_until_next: PROPORTIONAL_EVERY_SAMPLES - 1,
            not_before_seconds: now + cost_seconds * PROPORTIONAL_COST_INVERSE,
        };
        self.proportional.bytes
    }

    fn count_file_descriptors(&mut self, tree: &[(u32, ProcessStat)]) -> Option<u64> {
        let mut total = 0;
        for (pid, _) in tree {
            match file_descriptors(&self.folder(*pid)) {
                Ok(count) => total += count,
                Err(error) if *pid == self.pid => {
                    self.missing.note("open files of the process", absence("/proc/PID/fd", &error));
                    return None;
                }
                Err(_) => {}
            }
        }
        Some(total)
    }
}

/// Open files of the process whose `/proc` folder is given. Since Linux 6.2 the size of `fd` is their number; before,
/// the folder must be listed.
pub(crate) fn file_descriptors(folder: &Path) -> io::Result<u64> {
    let descriptors = folder.join("fd");
    // A folder of another file system, as in a fixture, has a size that means something else.
    let metadata = std::fs::metadata(&descriptors)?;
    let is_proc = rustix::fs::statfs(&descriptors)?.f_type == rustix::fs::PROC_SUPER_MAGIC;
    if is_proc && metadata.len() > 0 {
        return Ok(metadata.len());
    }
    Ok(std::fs::read_dir(&descriptors)?.count() as u64)
}

/// The pids in `/proc` below `root`.
pub(crate) fn process_ids(root: &Path) -> impl Iterator<Item = u32> + use<> {
    let entries = std::fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_never_goes_backwards_and_loses_nothing_for_good() {
        for (raw, reported) in [
            // A child is missed once while its parent reaps it.
            (vec![10.0, 8.0, 12.0], vec![10.0, 10.0, 12.0]),
            // A child whose time nobody inherits.
            (vec![100.0, 60.0, 62.0, 65.0], vec![100.0, 100.0, 102.0, 105.0]),
            // Two of them, one after the other.
            (vec![100.0, 60.0, 50.0, 51.0, 53.0], vec![100.0, 100.0, 100.0, 101.0, 103.0]),
            (vec![0.0, 0.0, 5.0], vec![0.0, 0.0, 5.0]),
        ] {
            let mut sum = Monotone::default();
            let actual: Vec<f64> = raw.iter().map(|raw| sum.next(*raw)).collect();
            assert_eq!(actual, reported, "{raw:?}");
        }
    }
}
