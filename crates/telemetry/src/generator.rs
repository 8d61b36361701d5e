//! This program itself: a load generator that lacks processor time measures itself instead of the store.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::files::{Buffer, Missing, Source, both, count_rate, growth, monotonic_seconds, rate, seconds_of};
use crate::process::file_descriptors;
use crate::process_files::{parse_process_stat, parse_status};
use crate::tasks::TaskLedger;

/// Processor time of the calling thread in seconds, to the nanosecond.
pub fn thread_cpu_seconds() -> f64 {
    seconds_of(clock_gettime(ClockId::ThreadCPUTime))
}

/// Processor time of this program in seconds, all threads that it has or had, to the nanosecond.
pub fn process_cpu_seconds() -> f64 {
    seconds_of(clock_gettime(ClockId::ProcessCPUTime))
}

/// How many files and sockets this program may have open (`RLIMIT_NOFILE`); none: as many as it likes.
pub fn file_descriptors_limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// A thread of this program.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadSample {
    /// Its id.
    pub tid: u32,
    /// Its name, which the kernel cuts after 15 bytes.
    pub name: String,
    /// Its processor time.
    pub cpu_seconds: f64,
    /// Time in which it was runnable but waited for a processor.
    pub run_queue_wait_seconds: f64,
}

/// This program at one moment. Counters run since it started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorSample {
    /// When: the monotonic clock, the same for the samples of all samplers on this host.
    pub monotonic_seconds: f64,
    /// Processor time, to the nanosecond.
    pub cpu_seconds: f64,
    /// Of it in programs, in steps of a clock tick (10 ms).
    pub cpu_user_seconds: Option<f64>,
    /// Of it in the kernel, in steps of a clock tick (10 ms).
    pub cpu_system_seconds: Option<f64>,
    /// Time in which threads were runnable but waited for a processor; a lower bound.
    pub run_queue_wait_seconds: Option<f64>,
    /// Memory in use.
    pub rss_bytes: Option<u64>,
    /// The most memory that was ever in use.
    pub max_rss_bytes: Option<u64>,
    /// Context switches because a thread waited for something; a lower bound, like the next.
    pub voluntary_context_switches: Option<u64>,
    /// Context switches because another thread was given the processor.
    pub involuntary_context_switches: Option<u64>,
    /// Live threads, by id.
    pub threads: Vec<ThreadSample>,
    /// Open files and sockets.
    pub file_descriptors: Option<u64>,
    /// How many there may be; none: no limit.
    pub file_descriptors_limit: Option<u64>,
    /// What is not known and why.
    pub missing: Vec<String>,
}

/// What a thread did between two samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadUsage {
    /// Its name.
    pub name: String,
    /// Processor time; 100 is one core all the time.
    pub cpu_percent: f64,
}

/// What this program did between two samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorUsage {
    /// How long that was.
    pub elapsed_seconds: f64,
    /// Processor time; 100 is one core all the time.
    pub cpu_percent: f64,
    /// The thread that used most of it: a worker near 100 is saturated whatever the host has left.
    pub busiest_thread: Option<ThreadUsage>,
    /// Time in which threads waited for a processor, a second, summed over threads.
    pub run_queue_wait_seconds_per_second: Option<f64>,
    /// Context switches of both kinds a second.
    pub context_switches_per_second: Option<f64>,
}

impl GeneratorSample {
    /// Context switches of both kinds.
    pub fn context_switches(&self) -> Option<u64> {
        Some(self.voluntary_context_switches?.saturating_add(self.involuntary_context_switches?))
    }

    /// What happened from `before` to this sample.
    pub fn since(&self, before: &Self) -> GeneratorUsage {
        let seconds = growth(before.monotonic_seconds, self.monotonic_seconds);
        let percent = |before: f64, after: f64| 100.0 * rate(growth(before, after), seconds);
        let threads = self.threads.iter().map(|thread| {
            // Both lists are in the order of ids; a thread that is new began at zero.
            let known = before.threads.binary_search_by_key(&thread.tid, |thread| thread.tid);
            let earlier = known.map_or(0.0, |index| before.threads[index].cpu_seconds);
            (thread, percent(earlier, thread.cpu_seconds))
        });
        let busiest = threads.max_by(|(_, one), (_, other)| one.total_cmp(other));
        GeneratorUsage {
            elapsed_seconds: seconds,
            cpu_percent: percent(before.cpu_seconds, self.cpu_seconds),
            busiest_thread: busiest.map(|(thread, cpu_percent)| ThreadUsage { name: thread.name.clone(), cpu_percent }),
            run_queue_wait_seconds_per_second: both(
                before.run_queue_wait_seconds,
                self.run_queue_wait_seconds,
                |before, after| rate(growth(before, after), seconds),
            ),
            context_switches_per_second: both(before.context_switches(), self.context_switches(), |before, after| {
                count_rate(before, after, seconds)
            }),
        }
    }
}

/// Follows this program.
#[derive(Debug)]
pub struct GeneratorSampler {
    folder: PathBuf,
    ticks_per_second: f64,
    buffer: Buffer,
    missing: Missing,
    stat: Source,
    status: Source,
    tasks: TaskLedger,
}

impl Default for GeneratorSampler {
    fn default() -> Self {
        Self::new()
    }
}

impl GeneratorSampler {
    /// This program on this host.
    pub fn new() -> Self {
        Self::with_root(Path::new("/"))
    }

    /// This program as a `/proc` below `root` describes it; its processor time is always the real one.
    pub fn with_root(root: &Path) -> Self {
        Self {
            folder: root.join("proc/self"),
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            buffer: Buffer::default(),
            missing: Missing::default(),
            stat: Source::new(root, "proc/self/stat"),
            status: Source::new(root, "proc/self/status"),
            tasks: TaskLedger::default(),
        }
    }

    /// This program now.
    pub fn sample(&mut self) -> GeneratorSample {
        let (buffer, missing) = (&mut self.buffer, &mut self.missing);
        let stat = self.stat.parse(buffer, missing, "own process", parse_process_stat);
        let status = self.status.parse(buffer, missing, "own memory", parse_status);
        self.tasks.begin();
        // Listing the threads even when there is one keeps their ids those of `task`.
        self.tasks.read_process(buffer, &self.folder, std::process::id(), 2);
        let total = self.tasks.finish();
        if let Some(why) = &self.tasks.without {
            missing.note("own threads", why);
        }
        let tasks = self.tasks.live().next().map(|_| total);
        let mut threads: Vec<ThreadSample> = self
            .tasks
            .live()
            .map(|(tid, task)| ThreadSample {
                tid,
                name: task.name.clone(),
                cpu_seconds: task.counters.cpu_seconds,
                run_queue_wait_seconds: task.counters.waited_seconds,
            })
            .collect();
        threads.sort_unstable_by_key(|thread| thread.tid);
        let seconds = |ticks: u64| ticks as f64 / self.ticks_per_second;
        GeneratorSample {
            monotonic_seconds: monotonic_seconds(),
            cpu_seconds: process_cpu_seconds(),
            cpu_user_seconds: stat.as_ref().map(|stat| seconds(stat.user_ticks)),
            cpu_system_seconds: stat.as_ref().map(|stat| seconds(stat.system_ticks)),
            run_queue_wait_seconds: tasks.filter(|_| self.tasks.has_waits).map(|total| total.waited_seconds),
            rss_bytes: status.as_ref().and_then(|status| status.resident_bytes),
            max_rss_bytes: status.as_ref().and_then(|status| status.resident_bytes_max),
            voluntary_context_switches: tasks.map(|total| total.voluntary_switches),
            involuntary_context_switches: tasks.map(|total| total.involuntary_switches),
            threads,
            file_descriptors: file_descriptors(&self.folder).ok(),
            file_descriptors_limit: file_descriptors_limit(),
            missing: self.missing.to_vec(),
        }
    }
}
