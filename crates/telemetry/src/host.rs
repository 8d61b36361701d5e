//! The host as a whole: one [`HostSample`] a second, and what happened between two of them.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroup, CgroupSampler};
use crate::cpu::{CpuSeconds, Load, Scheduler, parse_load, parse_stat};
use crate::disk::{Devices, Disk, DiskRates, parse_diskstats};
use crate::files::{Buffer, Missing, Source, both, count_rate, growth, monotonic_seconds, rate};
use crate::memory::{Memory, Paging, PagingRates, parse_meminfo, parse_vmstat};
use crate::network::{Interfaces, Network, NetworkRates, Tcp, parse_interfaces, parse_tcp};
use crate::pressure::{ByResource, Pressure, PressureShare, parse_pressure};

/// The host at one moment. Counters run since the host started; what its kernel does not tell is none here and named
/// in `missing`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostSample {
    /// When: the monotonic clock, the same for the samples of all samplers on this host.
    pub monotonic_seconds: f64,
    /// Processors and scheduler.
    pub scheduler: Option<Scheduler>,
    /// Load averages.
    pub load: Option<Load>,
    /// Memory.
    pub memory: Option<Memory>,
    /// Page faults.
    pub paging: Option<Paging>,
    /// Block devices.
    pub disk: Option<Disk>,
    /// Network interfaces.
    pub network: Option<Network>,
    /// TCP.
    pub tcp: Option<Tcp>,
    /// Pressure stall information.
    pub pressure: ByResource<Pressure>,
    /// The control group of this program.
    pub cgroup: Option<Cgroup>,
    /// What is not known and why, such as `pressure stall (io): /proc/pressure/io is not there`.
    pub missing: Vec<String>,
}

/// What happened on the host between two samples.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostUsage {
    /// How long that was.
    pub elapsed_seconds: f64,
    /// Percent of the time of all processors in which they worked: neither idle nor stolen.
    pub cpu_percent: Option<f64>,
    /// Percent of the time of all processors by mode.
    pub cpu_percent_by_mode: Option<CpuSeconds>,
    /// Tasks that ran or waited for a processor at the later sample.
    pub tasks_running: Option<u64>,
    /// Tasks that waited for a disk at the later sample.
    pub tasks_blocked: Option<u64>,
    /// Context switches a second.
    pub context_switches_per_second: Option<f64>,
    /// Interrupts a second.
    pub interrupts_per_second: Option<f64>,
    /// Memory at the later sample.
    pub memory: Option<Memory>,
    /// Page faults a second.
    pub paging: Option<PagingRates>,
    /// Block devices.
    pub disk: Option<DiskRates>,
    /// Network interfaces.
    pub network: Option<NetworkRates>,
    /// TCP segments sent again a second.
    pub tcp_retransmits_per_second: Option<f64>,
    /// Shares of the time in which tasks stood still.
    pub pressure: ByResource<PressureShare>,
    /// Time in which tasks of our control group were held back, a second, summed over processors.
    pub throttled_seconds_per_second: Option<f64>,
}

impl HostSample {
    /// What happened from `before` to this sample.
    pub fn since(&self, before: &Self) -> HostUsage {
        let seconds = growth(before.monotonic_seconds, self.monotonic_seconds);
        let scheduler = before.scheduler.zip(self.scheduler);
        let cpu = scheduler.map(|(before, after)| after.cpu.since(&before.cpu));
        let throttled = |sample: &Self| sample.cgroup.as_ref().and_then(|cgroup| cgroup.throttled_seconds);
        HostUsage {
            elapsed_seconds: seconds,
            cpu_percent: cpu.map(|cpu| 100.0 * rate(cpu.busy(), cpu.total())),
            cpu_percent_by_mode: cpu.map(|cpu| cpu.percent()),
            tasks_running: self.scheduler.map(|scheduler| scheduler.tasks_running),
            tasks_blocked: self.scheduler.map(|scheduler| scheduler.tasks_blocked),
            context_switches_per_second: scheduler
                .map(|(before, after)| count_rate(before.context_switches, after.context_switches, seconds)),
            interrupts_per_second: scheduler
                .map(|(before, after)| count_rate(before.interrupts, after.interrupts, seconds)),
            memory: self.memory,
            paging: both(before.paging, self.paging, |before, after| after.rates(&before, seconds)),
            disk: both(before.disk, self.disk, |before, after| after.rates(&before, seconds)),
            network: both(before.network, self.network, |before, after| after.rates(&before, seconds)),
            tcp_retransmits_per_second: both(before.tcp, self.tcp, |before, after| {
                count_rate(before.retransmitted_segments, after.retransmitted_segments, seconds)
            }),
            pressure: self.pressure.share(&before.pressure, seconds),
            throttled_seconds_per_second: both(throttled(before), throttled(self), |before, after| {
                rate(growth(before, after), seconds)
            }),
        }
    }
}

/// Reads the host's counters; its files stay open from sample to sample.
#[derive(Debug)]
pub struct HostSampler {
    ticks_per_second: f64,
    buffer: Buffer,
    missing: Missing,
    stat: Source,
    loadavg: Source,
    meminfo: Source,
    vmstat: Source,
    diskstats: Source,
    devices: Devices,
    interfaces_table: Source,
    interfaces: Interfaces,
    snmp: Source,
    pressure: ByResource<Source>,
    cgroup: CgroupSampler,
}

impl Default for HostSampler {
    fn default() -> Self {
        Self::new()
    }
}

impl HostSampler {
    /// This host.
    pub fn new() -> Self {
        Self::with_root(Path::new("/"))
    }

    /// The host whose `/proc` and `/sys` lie below `root`.
    pub fn with_root(root: &Path) -> Self {
        let source = |relative: &str| Source::new(root, relative);
        Self {
            ticks_per_second: rustix::param::clock_ticks_per_second() as f64,
            buffer: Buffer::default(),
            missing: Missing::default(),
            stat: source("proc/stat"),
            loadavg: source("proc/loadavg"),
            meminfo: source("proc/meminfo"),
            vmstat: source("proc/vmstat"),
            diskstats: source("proc/diskstats"),
            devices: Devices::new(root),
            interfaces_table: source("proc/net/dev"),
            interfaces: Interfaces::new(root),
            snmp: source("proc/net/snmp"),
            pressure: ByResource {
                cpu: Some(source("proc/pressure/cpu")),
                io: Some(source("proc/pressure/io")),
                memory: Some(source("proc/pressure/memory")),
            },
            cgroup: CgroupSampler::new(root, "self"),
        }
    }

    /// The host now.
    pub fn sample(&mut self) -> HostSample {
        let ticks_per_second = self.ticks_per_second;
        let (buffer, missing) = (&mut self.buffer, &mut self.missing);
        let (devices, interfaces) = (&mut self.devices, &mut self.interfaces);
        let mut pressure = |source: &mut Option<Source>, missing: &mut Missing, what: &str| {
            source.as_mut().and_then(|source| source.parse(&mut *buffer, missing, what, parse_pressure))
        };
        let pressure = ByResource {
            cpu: pressure(&mut self.pressure.cpu, missing, "pressure stall (cpu)"),
            io: pressure(&mut self.pressure.io, missing, "pressure stall (io)"),
            memory: pressure(&mut self.pressure.memory, missing, "pressure stall (memory)"),
        };
        let mut sample = HostSample {
            monotonic_seconds: monotonic_seconds(),
            scheduler: self.stat.parse(buffer, missing, "processors", |text| parse_stat(text, ticks_per_second)),
            load: self.loadavg.parse(buffer, missing, "load", parse_load),
            memory: self.meminfo.parse(buffer, missing, "memory", parse_meminfo),
            paging: self.vmstat.parse(buffer, missing, "page faults", parse_vmstat),
            disk: self.diskstats.parse(buffer, missing, "disks", |text| parse_diskstats(text, devices)),
            network: self.interfaces_table.parse(buffer, missing, "network", |text| parse_interfaces(text, interfaces)),
            tcp: self.snmp.parse(buffer, missing, "tcp", parse_tcp),
            pressure,
            cgroup: self.cgroup.sample(buffer, missing),
            missing: Vec::new(),
        };
        if sample.memory.is_some_and(|memory| memory.available_bytes.is_none()) {
            missing.note("available memory", "the kernel does not say it in /proc/meminfo");
        }
        if sample.disk.is_some_and(|disk| disk.devices > 0 && disk.flushes.is_none()) {
            missing.note("disk flushes", "the kernel does not count them in /proc/diskstats");
        }
        if sample.pressure.cpu.is_some_and(|cpu| cpu.full_seconds.is_none()) {
            missing.note("full pressure stall (cpu)", "the kernel does not say it in /proc/pressure/cpu");
        }
        sample.missing = missing.to_vec();
        sample
    }
}
