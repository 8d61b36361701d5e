//! What is measured beside the client, once a second: the host, the server's processes, the generator itself.

use std::collections::BTreeMap;
use std::thread;

use telemetry::{
    GeneratorSample, GeneratorSampler, GeneratorSummary, Heartbeat, HostSample, HostSampler, HostSummary, HostUsage,
    ProcessSample, ProcessSampler, ProcessSummary, Stops,
};

use crate::conditions::{Conditions, Waits};
use crate::profiles::PORT_FORWARDERS;

/// A kilobyte or so a sample; a run of a day keeps every minute's worth of memory it needs and no more.
const SAMPLES_MAX: usize = 100_000;

/// A server without a sample for so many seconds is gone: they are taken once a second, and all at once at the end.
const LOST_AFTER: f64 = 1.5;

/// What the generator used during a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct GeneratorUse {
    pub(crate) cpu_seconds: f64,
    pub(crate) max_rss_bytes: u64,
    pub(crate) context_switches: u64,
}

/// What the server's processes used during a run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ServerUse {
    pub(crate) cpu_seconds: f64,
    pub(crate) max_rss_bytes: u64,
}

/// The samplers of a run and what they have seen.
pub(crate) struct Beside {
    host: Option<HostSampler>,
    server: Option<ProcessSampler>,
    generator: GeneratorSampler,
    heartbeat: Option<Heartbeat>,
    stops: Option<Stops>,
    host_samples: Vec<HostSample>,
    server_samples: Vec<ProcessSample>,
    generator_samples: Vec<GeneratorSample>,
}

impl Beside {
    pub(crate) fn new(server_process: Option<u32>, host: bool) -> Self {
        Self {
            host: host.then(HostSampler::new),
            server: server_process.map(ProcessSampler::new),
            generator: GeneratorSampler::new(),
            heartbeat: None,
            stops: None,
            host_samples: Vec::new(),
            server_samples: Vec::new(),
            generator_samples: Vec::new(),
        }
    }

    /// Takes the first samples, from which everything counts.
    pub(crate) fn start(&mut self) {
        self.sample();
        self.heartbeat = Heartbeat::start();
    }

    /// Takes the last samples.
    pub(crate) fn stop(&mut self) {
        self.stops = self.heartbeat.take().map(Heartbeat::end);
        self.sample();
    }

    /// Under which conditions the load ran.
    pub(crate) fn conditions(&self) -> Conditions {
        let ended = self.generator_samples.last().map_or(0.0, |sample| sample.monotonic_seconds);
        // A server that was lost on the way, and whoever took its place, are not known.
        let is_known = self.server_samples.last().is_some_and(|last| {
            ended - last.monotonic_seconds < LOST_AFTER && !PORT_FORWARDERS.contains(&last.name.as_str())
        });
        Conditions {
            host: (self.host_samples.len() > 1).then(|| HostSummary::of(&self.host_samples)),
            generator_cpu_seconds: self.generator().cpu_seconds,
            server_cpu_seconds: self.server().filter(|_| is_known).map(|server| server.cpu_seconds),
            waits: Waits::of(&self.generator_samples),
            stops: self.stops,
        }
    }

    /// Takes a second's samples and tells what happened since the last.
    pub(crate) fn gauges(&mut self) -> BTreeMap<&'static str, f64> {
        self.sample();
        let mut gauges = BTreeMap::new();
        if let [.., before, after] = &self.generator_samples[..] {
            gauges.insert("generator.cpu_percent", after.since(before).cpu_percent);
            gauges.extend(after.rss_bytes.map(|bytes| ("generator.rss_bytes", bytes as f64)));
        }
        if let [.., before, after] = &self.server_samples[..] {
            gauges.insert("server.cpu_percent", after.since(before).cpu_percent);
            gauges.insert("server.rss_bytes", after.pss_bytes.unwrap_or(after.rss_bytes) as f64);
        }
        if let [.., before, after] = &self.host_samples[..] {
            host_gauges(&after.since(before), &mut gauges);
        }
        gauges
    }

    /// What the host did, whole.
    pub(crate) fn host_summary(&self) -> serde_json::Value {
        if self.host_samples.is_empty() {
            return serde_json::Value::Null;
        }
        as_json(&HostSummary::of(&self.host_samples))
    }

    /// On what host this runs.
    #[expect(clippy::unused_self, reason = "it is what is measured beside the client too, though it does not change")]
    pub(crate) fn provenance(&self) -> serde_json::Value {
        as_json(&telemetry::Provenance::read())
    }

    pub(crate) fn generator(&self) -> GeneratorUse {
        let summary = GeneratorSummary::of(&self.generator_samples);
        GeneratorUse {
            cpu_seconds: summary.cpu_seconds,
            max_rss_bytes: summary.max_rss_bytes.unwrap_or(0),
            context_switches: summary.context_switches.unwrap_or(0),
        }
    }

    pub(crate) fn server(&self) -> Option<ServerUse> {
        if self.server_samples.is_empty() {
            return None;
        }
        let summary = ProcessSummary::of(&self.server_samples);
        Some(ServerUse {
            cpu_seconds: summary.cpu_seconds,
            max_rss_bytes: summary.max_pss_bytes.unwrap_or(summary.max_rss_bytes),
        })
    }

    /// Processors that this process may use.
    #[expect(clippy::unused_self, reason = "asked of what is measured beside the client")]
    pub(crate) fn processors(&self) -> u32 {
        thread::available_parallelism().map_or(1, |count| count.get() as u32)
    }

    fn sample(&mut self) {
        push(&mut self.generator_samples, Some(self.generator.sample()));
        push(&mut self.host_samples, self.host.as_mut().map(HostSampler::sample));
        push(&mut self.server_samples, self.server.as_mut().and_then(ProcessSampler::sample));
    }
}

/// Keeps a sample; past the limit the middle of the run loses every second one, so that the ends stay.
fn push<T>(samples: &mut Vec<T>, sample: Option<T>) {
    if samples.len() >= SAMPLES_MAX {
        let mut position = 0;
        samples.retain(|_| {
            position += 1;
            position == 1 || position % 2 == 0
        });
    }
    samples.extend(sample);
}

fn host_gauges(usage: &HostUsage, gauges: &mut BTreeMap<&'static str, f64>) {
    let modes = usage.cpu_percent_by_mode;
    let disk = usage.disk.as_ref();
    let network = usage.network.as_ref();
    let pressure = |share: &Option<telemetry::PressureShare>| share.as_ref().map(|share| share.some_percent);
    gauges.extend(
        [
            ("host.cpu_percent", usage.cpu_percent),
            ("host.cpu_iowait_percent", modes.map(|modes| modes.iowait)),
            ("host.cpu_steal_percent", modes.map(|modes| modes.steal)),
            (
                "host.memory_available_bytes",
                usage.memory.and_then(|memory| memory.available_bytes).map(|bytes| bytes as f64),
            ),
            ("host.disk_read_bytes_per_second", disk.map(|disk| disk.read_bytes_per_second)),
            ("host.disk_write_bytes_per_second", disk.map(|disk| disk.write_bytes_per_second)),
            (
                "host.network_receive_bytes_per_second",
                network.map(|network| network.external.received_bytes_per_second),
            ),
            ("host.network_send_bytes_per_second", network.map(|network| network.external.sent_bytes_per_second)),
            ("host.pressure_cpu_percent", pressure(&usage.pressure.cpu)),
            ("host.pressure_io_percent", pressure(&usage.pressure.io)),
            ("host.pressure_memory_percent", pressure(&usage.pressure.memory)),
        ]
        .into_iter()
        .filter_map(|(name, value)| value.map(|value| (name, value))),
    );
}

fn as_json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).expect("plain structs of numbers and text are JSON")
}
