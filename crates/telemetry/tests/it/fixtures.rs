//! Hosts as files: an old kernel without pressure stall information, and a server of several processes.

use std::path::Path;

use telemetry::{HostSampler, HostSummary, ProcessSampler};

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a temporary folder");
    for (path, text) in files {
        write(root.path(), path, text);
    }
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().expect("it lies below the root")).expect("the folder is ours");
    std::fs::write(path, text).expect("the folder is ours");
}

fn close(actual: Option<f64>, expected: f64) {
    let actual = actual.expect("it is known");
    assert!((actual - expected).abs() < 1e-6, "{actual} instead of {expected}");
}

/// A kernel 3.10: no pressure stall information, groups of version 1, no flushes, an old `/proc/diskstats`.
const OLD_KERNEL: &[(&str, &str)] = &[
    (
        "proc/stat",
        "cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 100 0 50 800 50 0 0 0 0 0\nintr 10\nctxt 20\nprocs_running 2\nprocs_blocked 1\n",
    ),
    ("proc/loadavg", "0.10 0.20 0.30 1/99 123\n"),
    ("proc/meminfo", "MemTotal: 1000 kB\nCached: 10 kB\nDirty: 4 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n"),
    ("proc/vmstat", "pgfault 1000\npgmajfault 10\n"),
    (
        "proc/diskstats",
        "   8 0 sda 100 0 200 50 10 0 20 30 0 60 80\n   8 1 sda1 100 0 200 50 10 0 20 30 0 60 80\n 253 0 dm-0 100 0 200 50 10 0 20 30 0 60 80\n",
    ),
    (
        "proc/net/dev",
        "heading\nheading\n    lo: 5 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n  eth0: 100 2 0 0 0 0 0 0 200 3 0 0 0 0 0 0\n",
    ),
    ("proc/net/snmp", "Tcp: OutSegs RetransSegs\nTcp: 100 1\n"),
    ("proc/self/cgroup", "2:memory:/\n1:cpuacct,cpu:/user.slice\n"),
    (
        "proc/self/mountinfo",
        "1 1 0:1 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpuacct,cpu\n2 1 0:2 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    ),
    ("sys/fs/cgroup/cpu,cpuacct/user.slice/cpu.cfs_quota_us", "50000\n"),
    ("sys/fs/cgroup/cpu,cpuacct/user.slice/cpu.cfs_period_us", "100000\n"),
    ("sys/fs/cgroup/cpu,cpuacct/user.slice/cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 1000000000\n"),
    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "524288\n"),
];

#[test]
fn an_old_kernel_names_what_it_lacks() {
    let root = tree(OLD_KERNEL);
    let mut sampler = HostSampler::with_root(root.path());
    let first = sampler.sample();
    assert_eq!(
        first.missing,
        [
            "pressure stall (cpu): /proc/pressure/cpu is not there",
            "pressure stall (io): /proc/pressure/io is not there",
            "pressure stall (memory): /proc/pressure/memory is not there",
            "available memory: the kernel does not say it in /proc/meminfo",
            "disk flushes: the kernel does not count them in /proc/diskstats",
        ]
    );
    for (path, text) in [
        (
            "proc/stat",
            "cpu  150 0 60 820 60 0 0 10 0 0\ncpu0 150 0 60 820 60 0 0 10 0 0\nintr 15\nctxt 50\nprocs_running 5\nprocs_blocked 0\n",
        ),
        ("proc/vmstat", "pgfault 1500\npgmajfault 110\n"),
        ("proc/diskstats", "   8 0 sda 100 0 200 50 20 0 4116 130 0 160 280\n"),
        (
            "proc/net/dev",
            "heading\nheading\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n  eth0: 150 2 0 0 0 0 0 0 900 3 0 1 0 0 0 0\n",
        ),
        ("proc/net/snmp", "Tcp: OutSegs RetransSegs\nTcp: 300 8\n"),
        ("sys/fs/cgroup/cpu,cpuacct/user.slice/cpu.stat", "nr_periods 4\nnr_throttled 3\nthrottled_time 3500000000\n"),
    ] {
        write(root.path(), path, text);
    }
    let last = sampler.sample();
    assert!(last.since(&first).elapsed_seconds > 0.0);
    let summary = HostSummary::of(&[first, last]);
    close(summary.cpu_percent_mean, 60.0);
    close(summary.cpu_percent_max, 60.0);
    close(summary.cpu_percent_by_mode.map(|modes| modes.iowait), 10.0);
    close(summary.cpu_percent_by_mode.map(|modes| modes.steal), 10.0);
    close(summary.disk_write_latency_seconds, 0.01);
    assert_eq!(
        (summary.disk_write_bytes, summary.disk_writes, summary.disk_reads),
        (Some(4096 * 512), Some(10), Some(0))
    );
    assert_eq!(summary.disk_read_latency_seconds, None);
    assert_eq!((summary.network_received_bytes, summary.network_sent_bytes), (Some(50), Some(700)));
    assert_eq!((summary.loopback_bytes, summary.network_lost_packets), (Some(4), Some(1)));
    assert_eq!((summary.tcp_retransmitted_segments, summary.tasks_running_max), (Some(7), Some(5)));
    assert_eq!((summary.minor_faults, summary.major_faults), (Some(400), Some(100)));
    assert_eq!((summary.memory_available_bytes_min, summary.pressure.io), (None, None));
    assert_eq!((summary.cpu_limit_cores, summary.memory_limit_bytes), (Some(0.5), Some(512 * 1024)));
    close(summary.throttled_seconds, 2.5);
}

#[test]
fn an_empty_host_knows_nothing_and_says_so() {
    let root = tempfile::tempdir().expect("a temporary folder");
    let sample = HostSampler::with_root(root.path()).sample();
    assert_eq!((sample.scheduler, sample.memory, sample.disk), (None, None, None));
    assert_eq!((sample.network, sample.tcp, sample.cgroup), (None, None, None));
    assert_eq!(sample.missing.len(), 11, "{:?}", sample.missing);
}

/// `/proc/PID/stat` with one thread and 100 pages.
fn stat(pid: u32, parent: u32, own_ticks: u64, reaped_ticks: u64, start: u64) -> String {
    format!("{pid} (server) S {parent} 1 1 0 -1 0 4 0 2 0 {own_ticks} 0 {reaped_ticks} 0 20 0 1 0 {start} 0 100 0\n")
}

#[test]
fn workers_that_end_stay_counted_and_a_reused_pid_is_another_process() {
    let root = tree(&[]);
    let put = |pid, parent, own, reaped, start| {
        write(root.path(), &format!("proc/{pid}/stat"), &stat(pid, parent, own, reaped, start));
    };
    let drop = |pid: u32| std::fs::remove_dir_all(root.path().join(format!("proc/{pid}"))).expect("it was made here");
    let ticks = |sample: &telemetry::ProcessSample| {
        (sample.cpu_seconds() * rustix::param::clock_ticks_per_second() as f64).round() as u64
    };
    put(10, 1, 100, 50, 1000);
    put(11, 10, 30, 0, 1001);
    put(12, 11, 7, 0, 1002);
    put(99, 1, 9999, 0, 1);
    let mut sampler = ProcessSampler::with_root(root.path(), 10);
    let first = sampler.sample().expect("it is there");
    assert_eq!((first.processes, first.threads, ticks(&first)), (3, 3, 187));
    assert_eq!((first.minor_faults, first.major_faults), (12, 6));
    assert_eq!(first.rss_bytes, 300 * rustix::param::page_size() as u64);
    assert_eq!((first.read_bytes, first.pss_bytes, first.voluntary_context_switches), (None, None, None));
    assert!(first.missing.iter().any(|missing| missing.starts_with("storage bytes")), "{:?}", first.missing);

    // The worker between them ends and is reaped with 35 ticks; its own child is now a child of init.
    drop(11);
    put(10, 1, 110, 85, 1000);
    put(12, 1, 9, 0, 1002);
    let second = sampler.sample().expect("it is there");
    assert_eq!((second.processes, ticks(&second)), (2, 204));

    // The orphan ends and its pid is given to a stranger: its nine ticks are not lost for good.
    put(12, 1, 500, 0, 2000);
    let third = sampler.sample().expect("it is there");
    assert_eq!((third.processes, ticks(&third)), (1, 204));
    put(10, 1, 115, 85, 1000);
    assert_eq!(ticks(&sampler.sample().expect("it is there")), 209);

    put(10, 1, 1, 0, 3000);
    assert_eq!(sampler.sample(), None, "another process has the pid");
    drop(10);
    assert_eq!(sampler.sample(), None);
}
