//! A whole run in a few numbers: what the record keeps of a series of samples.
//!
//! Counters are taken from the first to the last sample, so that a sample that was late or lost changes nothing; maxima
//! are over the intervals between neighbouring samples.

use serde::{Deserialize, Serialize};

use crate::cpu::CpuSeconds;
use crate::files::{both, growth};
use crate::generator::{GeneratorSample, ThreadUsage};
use crate::host::{HostSample, HostUsage};
use crate::pressure::{ByResource, PressureShare};
use crate::process::ProcessSample;

/// The host during a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSummary {
    /// Samples that were taken.
    pub samples: u64,
    /// From the first to the last.
    pub elapsed_seconds: f64,
    /// Processors in use.
    pub cores_online: Option<u64>,
    /// Percent of the time of all processors in which they worked: neither idle nor stolen.
    pub cpu_percent_mean: Option<f64>,
    /// The same in the busiest interval.
    pub cpu_percent_max: Option<f64>,
    /// Percent of the time of all processors by mode.
    pub cpu_percent_by_mode: Option<CpuSeconds>,
    /// Most tasks that ran or waited for a processor at a sample.
    pub tasks_running_max: Option<u64>,
    /// Most tasks that waited for a disk at a sample.
    pub tasks_blocked_max: Option<u64>,
    /// Context switches.
    pub context_switches: Option<u64>,
    /// Interrupts.
    pub interrupts: Option<u64>,
    /// Memory of the host.
    pub memory_total_bytes: Option<u64>,
    /// Least memory that was left to programs.
    pub memory_available_bytes_min: Option<u64>,
    /// Most memory that waited to be written to a disk.
    pub memory_dirty_bytes_max: Option<u64>,
    /// Most swap in use.
    pub swap_used_bytes_max: Option<u64>,
    /// Page faults that were served from memory.
    pub minor_faults: Option<u64>,
    /// Page faults that waited for a disk.
    pub major_faults: Option<u64>,
    /// Bytes read from disks.
    pub disk_read_bytes: Option<u64>,
    /// Bytes written to disks.
    pub disk_write_bytes: Option<u64>,
    /// Reads from disks.
    pub disk_reads: Option<u64>,
    /// Writes to disks.
    pub disk_writes: Option<u64>,
    /// What the mean read took.
    pub disk_read_latency_seconds: Option<f64>,
    /// What the mean write took.
    pub disk_write_latency_seconds: Option<f64>,
    /// What the mean flush took.
    pub disk_flush_latency_seconds: Option<f64>,
    /// 100 is one device that always had a request.
    pub disk_busy_percent_mean: Option<f64>,
    /// The same in the busiest interval.
    pub disk_busy_percent_max: Option<f64>,
    /// Bytes received, the loopback apart.
    pub network_received_bytes: Option<u64>,
    /// Bytes sent, the loopback apart.
    pub network_sent_bytes: Option<u64>,
    /// Packets damaged or dropped, the loopback apart.
    pub network_lost_packets: Option<u64>,
    /// Bytes sent over the loopback.
    pub loopback_bytes: Option<u64>,
    /// TCP segments sent again.
    pub tcp_retransmitted_segments: Option<u64>,
    /// Shares of the time in which tasks stood still.
    pub pressure: ByResource<PressureShare>,
    /// The tightest limit of processor time of our control group at the end, in cores.
    pub cpu_limit_cores: Option<f64>,
    /// The tightest limit of memory of our control group at the end.
    pub memory_limit_bytes: Option<u64>,
    /// Time in which tasks of our control group were held back, summed over processors.
    pub throttled_seconds: Option<f64>,
    /// What is not known and why.
    pub missing: Vec<String>,
}

impl HostSummary {
    /// Sums up samples of one host in the order in which they were taken; without two of them only states are known.
    pub fn of(samples: &[HostSample]) -> Self {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Self::default() };
        let whole = if samples.len() > 1 { last.since(first) } else { HostUsage::default() };
        let intervals: Vec<HostUsage> = samples.windows(2).map(|pair| pair[1].since(&pair[0])).collect();
        let grown = |count: fn(&HostSample) -> Option<u64>| grown(count(first), count(last));
        let most = |state: fn(&HostSample) -> Option<u64>| samples.iter().filter_map(state).max();
        let peak = |value: fn(&HostUsage) -> Option<f64>| intervals.iter().filter_map(value).max_by(f64::total_cmp);
        let limits = last.cgroup.as_ref();
        Self {
            samples: samples.len() as u64,
            elapsed_seconds: whole.elapsed_seconds,
            cores_online: last.scheduler.map(|scheduler| scheduler.cores_online),
            cpu_percent_mean: whole.cpu_percent,
            cpu_percent_max: peak(|usage| usage.cpu_percent),
            cpu_percent_by_mode: whole.cpu_percent_by_mode,
            tasks_running_max: most(|sample| Some(sample.scheduler?.tasks_running)),
            tasks_blocked_max: most(|sample| Some(sample.scheduler?.tasks_blocked)),
            context_switches: grown(|sample| Some(sample.scheduler?.context_switches)),
            interrupts: grown(|sample| Some(sample.scheduler?.interrupts)),
            memory_total_bytes: last.memory.map(|memory| memory.total_bytes),
            memory_available_bytes_min: samples.iter().filter_map(|sample| sample.memory?.available_bytes).min(),
            memory_dirty_bytes_max: most(|sample| Some(sample.memory?.dirty_bytes)),
            swap_used_bytes_max: most(|sample| Some(sample.memory?.swap_used_bytes)),
            minor_faults: grown(|sample| Some(sample.paging?.minor_faults)),
            major_faults: grown(|sample| Some(sample.paging?.major_faults)),
            disk_read_bytes: grown(|sample| Some(sample.disk?.read_bytes)),
            disk_write_bytes: grown(|sample| Some(sample.disk?.write_bytes)),
            disk_reads: grown(|sample| Some(sample.disk?.reads)),
            disk_writes: grown(|sample| Some(sample.disk?.writes)),
            disk_read_latency_seconds: whole.disk.and_then(|disk| disk.read_latency_seconds),
            disk_write_latency_seconds: whole.disk.and_then(|disk| disk.write_latency_seconds),
            disk_flush_latency_seconds: whole.disk.and_then(|disk| disk.flush_latency_seconds),
            disk_busy_percent_mean: whole.disk.map(|disk| disk.busy_percent),
            disk_busy_percent_max: peak(|usage| Some(usage.disk?.busy_percent)),
            network_received_bytes: grown(|sample| Some(sample.network?.external.received_bytes)),
            network_sent_bytes: grown(|sample| Some(sample.network?.external.sent_bytes)),
            network_lost_packets: grown(|sample| {
                let external = sample.network?.external;
                Some(external.errors.saturating_add(external.drops))
            }),
            loopback_bytes: grown(|sample| Some(sample.network?.loopback.sent_bytes)),
            tcp_retransmitted_segments: grown(|sample| Some(sample.tcp?.retransmitted_segments)),
            pressure: whole.pressure,
            cpu_limit_cores: limits.and_then(|cgroup| cgroup.cpu_limit_cores),
            memory_limit_bytes: limits.and_then(|cgroup| cgroup.memory_limit_bytes),
            throttled_seconds: both(throttled(first), throttled(last), growth),
            missing: last.missing.clone(),
        }
    }
}

fn throttled(sample: &HostSample) -> Option<f64> {
    sample.cgroup.as_ref()?.throttled_seconds
}

fn grown(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    both(before, after, |before, after| after.saturating_sub(before))
}

/// A server's processes during a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessSummary {
    /// Samples that were taken.
    pub samples: u64,
    /// From the first to the last.
    pub elapsed_seconds: f64,
    /// The process at the root of the tree.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// The samples are of more than one process: it was started again, and the counters are sums over its lives.
    pub restarted: bool,
    /// Processor time, user and system.
    pub cpu_seconds: f64,
    /// Of it in programs.
    pub cpu_user_seconds: f64,
    /// Of it in the kernel.
    pub cpu_system_seconds: f64,
    /// Processor time; 100 is one core all the time.
    pub cpu_percent_mean: f64,
    /// The same in the busiest interval.
    pub cpu_percent_max: f64,
    /// Time in which threads were runnable but waited for a processor.
    pub run_queue_wait_seconds: Option<f64>,
    /// Most memory in use, summed over processes: what they share is counted in each.
    pub max_rss_bytes: u64,
    /// Most memory in use with each shared page counted once, of the few times it was read.
    pub max_pss_bytes: Option<u64>,
    /// Most processes at a sample.
    pub processes_max: u64,
    /// Most threads at a sample.
    pub threads_max: u64,
    /// Most open files and sockets at a sample.
    pub file_descriptors_max: Option<u64>,
    /// Bytes fetched from storage.
    pub read_bytes: Option<u64>,
    /// Bytes sent to storage.
    pub write_bytes: Option<u64>,
    /// Page faults that were served from memory.
    pub minor_faults: u64,
    /// Page faults that waited for a disk.
    pub major_faults: u64,
    /// Context switches of both kinds.
    pub context_switches: Option<u64>,
    /// The tightest limit of processor time of its control group at the end, in cores.
    pub cpu_limit_cores: Option<f64>,
    /// The tightest limit of memory of its control group at the end.
    pub memory_limit_bytes: Option<u64>,
    /// Time in which its control group held it back, summed over processors.
    pub throttled_seconds: Option<f64>,
    /// What is not known and why.
    pub missing: Vec<String>,
}

impl ProcessSummary {
    /// Sums up samples of one server in the order in which they were taken. After a restart the server is another
    /// process: what each of its lives did is added, what it did between two lives is not known.
    pub fn of(samples: &[ProcessSample]) -> Self {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Self::default() };
        let same = |one: &ProcessSample, other: &ProcessSample| {
            one.pid == other.pid && (one.started_seconds - other.started_seconds).abs() < f64::EPSILON
        };
        let lives: Vec<(&ProcessSample, &ProcessSample)> =
            samples.chunk_by(same).filter_map(|life| Some((life.first()?, life.last()?))).collect();
        let counts = |count: fn(&ProcessSample) -> Option<u64>| {
            lives.iter().map(|(first, last)| grown(count(first), count(last))).sum::<Option<u64>>()
        };
        let times = |time: fn(&ProcessSample) -> Option<f64>| {
            lives.iter().map(|(first, last)| both(time(first), time(last), growth)).sum::<Option<f64>>()
        };
        let most = |state: fn(&ProcessSample) -> Option<u64>| samples.iter().filter_map(state).max();
        let busiest = samples.windows(2).filter(|pair| same(&pair[0], &pair[1]));
        let busiest = busiest.map(|pair| pair[1].since(&pair[0]).cpu_percent).max_by(f64::total_cmp);
        let elapsed_seconds = growth(first.monotonic_seconds, last.monotonic_seconds);
        let lived_seconds = times(|sample| Some(sample.monotonic_seconds)).unwrap_or(0.0);
        let cpu_seconds = times(|sample| Some(sample.cpu_seconds())).unwrap_or(0.0);
        let limits = last.cgroup.as_ref();
        Self {
            samples: samples.len() as u64,
            elapsed_seconds,
            pid: last.pid,
            name: last.name.clone(),
            restarted: lives.len() > 1,
            cpu_seconds,
            cpu_user_seconds: times(|sample| Some(sample.cpu_user_seconds)).unwrap_or(0.0),
            cpu_system_seconds: times(|sample| Some(sample.cpu_system_seconds)).unwrap_or(0.0),
            cpu_percent_mean: 100.0 * crate::files::rate(cpu_seconds, lived_seconds),
            cpu_percent_max: busiest.unwrap_or(0.0),
            run_queue_wait_seconds: times(|sample| sample.run_queue_wait_seconds),
            max_rss_bytes: most(|sample| Some(sample.rss_bytes)).unwrap_or(0),
            max_pss_bytes: most(|sample| sample.pss_bytes),
            processes_max: most(|sample| Some(sample.processes)).unwrap_or(0),
            threads_max: most(|sample| Some(sample.threads)).unwrap_or(0),
            file_descriptors_max: most(|sample| sample.file_descriptors),
            read_bytes: counts(|sample| sample.read_bytes),
            write_bytes: counts(|sample| sample.write_bytes),
            minor_faults: counts(|sample| Some(sample.minor_faults)).unwrap_or(0),
            major_faults: counts(|sample| Some(sample.major_faults)).unwrap_or(0),
            context_switches: counts(ProcessSample::context_switches),
            cpu_limit_cores: limits.and_then(|cgroup| cgroup.cpu_limit_cores),
            memory_limit_bytes: limits.and_then(|cgroup| cgroup.memory_limit_bytes),
            throttled_seconds: times(ProcessSample::throttled_seconds),
            missing: last.missing.clone(),
        }
    }
}

/// This program during a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorSummary {
    /// Samples that were taken.
    pub samples: u64,
    /// From the first to the last.
    pub elapsed_seconds: f64,
    /// Processor time.
    pub cpu_seconds: f64,
    /// Processor time; 100 is one core all the time.
    pub cpu_percent_mean: f64,
    /// The same in the busiest interval.
    pub cpu_percent_max: f64,
    /// The thread that was busiest in an interval, and how busy it was then.
    pub busiest_thread: Option<ThreadUsage>,
    /// Time in which threads were runnable but waited for a processor.
    pub run_queue_wait_seconds: Option<f64>,
    /// The most memory that was ever in use.
    pub max_rss_bytes: Option<u64>,
    /// Context switches of both kinds.
    pub context_switches: Option<u64>,
    /// Most threads at a sample.
    pub threads_max: u64,
    /// Most open files and sockets at a sample.
    pub file_descriptors_max: Option<u64>,
    /// How many there may be; none: no limit.
    pub file_descriptors_limit: Option<u64>,
    /// What is not known and why.
    pub missing: Vec<String>,
}

impl GeneratorSummary {
    /// Sums up samples in the order in which they were taken.
    pub fn of(samples: &[GeneratorSample]) -> Self {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return Self::default() };
        let intervals: Vec<_> = samples.windows(2).map(|pair| pair[1].since(&pair[0])).collect();
        let whole = last.since(first);
        let busiest = intervals.iter().filter_map(|usage| usage.busiest_thread.as_ref());
        Self {
            samples: samples.len() as u64,
            elapsed_seconds: whole.elapsed_seconds,
            cpu_seconds: growth(first.cpu_seconds, last.cpu_seconds),
            cpu_percent_mean: whole.cpu_percent,
            cpu_percent_max: intervals.iter().map(|usage| usage.cpu_percent).max_by(f64::total_cmp).unwrap_or(0.0),
            busiest_thread: busiest.max_by(|one, other| one.cpu_percent.total_cmp(&other.cpu_percent)).cloned(),
            run_queue_wait_seconds: both(first.run_queue_wait_seconds, last.run_queue_wait_seconds, growth),
            max_rss_bytes: samples.iter().filter_map(|sample| sample.max_rss_bytes.max(sample.rss_bytes)).max(),
            context_switches: grown(first.context_switches(), last.context_switches()),
            threads_max: samples.iter().map(|sample| sample.threads.len() as u64).max().unwrap_or(0),
            file_descriptors_max: samples.iter().filter_map(|sample| sample.file_descriptors).max(),
            file_descriptors_limit: last.file_descriptors_limit,
            missing: last.missing.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(pid: u32, at: f64, cpu: f64, switches: u64) -> ProcessSample {
        ProcessSample {
            monotonic_seconds: at,
            pid,
            started_seconds: f64::from(pid),
            cpu_user_seconds: cpu,
            rss_bytes: 10 * switches,
            voluntary_context_switches: Some(switches),
            involuntary_context_switches: Some(0),
            ..ProcessSample::default()
        }
    }

    #[test]
    fn a_server_that_was_started_again_has_two_lives() {
        let samples = [
            life(1, 10.0, 5.0, 100),
            life(1, 11.0, 5.5, 110),
            life(1, 12.0, 7.0, 130),
            life(2, 20.0, 0.1, 7),
            life(2, 21.0, 0.6, 9),
        ];
        let summary = ProcessSummary::of(&samples);
        assert!(summary.restarted);
        assert_eq!((summary.samples, summary.pid, summary.elapsed_seconds), (5, 2, 11.0));
        assert!((summary.cpu_seconds - 2.5).abs() < 1e-9, "{}", summary.cpu_seconds);
        assert!((summary.cpu_percent_max - 150.0).abs() < 1e-9, "{}", summary.cpu_percent_max);
        assert_eq!((summary.context_switches, summary.max_rss_bytes), (Some(32), 1300));
        assert_eq!((summary.read_bytes, summary.throttled_seconds), (None, None));
    }

    #[test]
    fn no_sample_and_one_sample_are_no_rates() {
        assert_eq!(HostSummary::of(&[]), HostSummary::default());
        assert_eq!(ProcessSummary::of(&[]), ProcessSummary::default());
        let one = ProcessSummary::of(&[life(1, 10.0, 5.0, 100)]);
        assert_eq!((one.cpu_seconds, one.cpu_percent_mean, one.samples), (0.0, 0.0, 1));
        let host = HostSummary::of(&[HostSample::default()]);
        assert_eq!((host.samples, host.cpu_percent_mean), (1, None));
        assert!(GeneratorSummary::of(&[GeneratorSample::default()]).cpu_percent_mean <= 0.0);
    }

    #[test]
    fn the_busiest_thread_is_that_of_the_busiest_interval() {
        let thread = |tid, name: &str, cpu_seconds| crate::generator::ThreadSample {
            tid,
            name: name.to_owned(),
            cpu_seconds,
            run_queue_wait_seconds: 0.0,
        };
        let sample = |at: f64, one, two| GeneratorSample {
            monotonic_seconds: at,
            cpu_seconds: one + two,
            threads: vec![thread(1, "main", one), thread(2, "worker", two)],
            ..GeneratorSample::default()
        };
        let summary = GeneratorSummary::of(&[sample(0.0, 3.0, 0.0), sample(1.0, 3.5, 0.75), sample(2.0, 4.0, 1.0)]);
        assert_eq!(summary.busiest_thread, Some(ThreadUsage { name: "worker".to_owned(), cpu_percent: 75.0 }));
        assert_eq!((summary.cpu_percent_mean, summary.cpu_percent_max), (100.0, 125.0));
    }
}
