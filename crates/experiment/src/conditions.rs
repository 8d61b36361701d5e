//! Under which conditions a load ran: what the host, the server and the generator's own threads were doing meanwhile.

use std::collections::BTreeMap;

use runner::WORKER_THREADS;
use telemetry::{GeneratorSample, HostSummary, Stops};

/// What was measured beside the load, as far as the verdict wants it. What is not known is none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    pub(crate) host: Option<HostSummary>,
    pub(crate) generator_cpu_seconds: f64,
    /// Of the server's processes, where all of them are known from the start to the end.
    pub(crate) server_cpu_seconds: Option<f64>,
    pub(crate) waits: Option<Waits>,
    pub(crate) stops: Option<Stops>,
}

/// Where the data store is, seen from the generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Inside of it: the store's work counts as the generator's.
    Embedded,
    /// On the same host.
    Beside,
    /// On another one.
    Remote,
}

/// What worker threads spent on processors, and on run queues waiting for one.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Waits {
    /// From the run's start until the workers were last seen.
    pub(crate) seconds: f64,
    /// Of all threads of the generator in that time.
    pub(crate) generator_cpu_seconds: f64,
    /// Each worker's.
    pub(crate) workers: Vec<WorkerTimes>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct WorkerTimes {
    pub(crate) cpu_seconds: f64,
    pub(crate) run_queue_seconds: f64,
}

impl Waits {
    /// From samples in the order in which they were taken, the first of them before there were workers. None where
    /// workers were never seen, since the load was over before, or where the kernel does not tell of run queues.
    pub(crate) fn of(samples: &[GeneratorSample]) -> Option<Self> {
        let first = samples.first()?;
        let is_worker = |name: &str| name.starts_with(WORKER_THREADS);
        let seen = samples.iter().rfind(|sample| sample.threads.iter().any(|thread| is_worker(&thread.name)))?;
        seen.run_queue_wait_seconds?;
        let mut workers: BTreeMap<u32, WorkerTimes> = BTreeMap::new();
        for thread in samples.iter().flat_map(|sample| &sample.threads).filter(|thread| is_worker(&thread.name)) {
            let times =
                WorkerTimes { cpu_seconds: thread.cpu_seconds, run_queue_seconds: thread.run_queue_wait_seconds };
            workers.insert(thread.tid, times);
        }
        Some(Self {
            seconds: (seen.monotonic_seconds - first.monotonic_seconds).max(0.0),
            generator_cpu_seconds: (seen.cpu_seconds - first.cpu_seconds).max(0.0),
            workers: workers.into_values().collect(),
        })
    }

    /// The share of the time that the worker worst off waited for a processor.
    pub(crate) fn share(&self) -> f64 {
        self.worst(|worker| worker.run_queue_seconds)
    }

    /// The same, without what the server and other threads of the generator may have had the processor for: while a worker
    /// waits, somebody runs, and these two belong to what is measured. It is a lower bound of what others took from it.
    pub(crate) fn share_taken_by_others(&self, server_cpu_seconds: f64) -> f64 {
        self.worst(|worker| {
            let ours = (self.generator_cpu_seconds - worker.cpu_seconds).max(0.0);
            worker.run_queue_seconds - server_cpu_seconds - ours
        })
    }

    fn worst(&self, seconds: impl Fn(&WorkerTimes) -> f64) -> f64 {
        let worst = self.workers.iter().map(seconds).fold(0.0, f64::max);
        if self.seconds > 0.0 { (worst / self.seconds).min(1.0) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use telemetry::ThreadSample;

    use super::*;

    fn sample(at: f64, cpu_seconds: f64, threads: &[(u32, &str, f64, f64)]) -> GeneratorSample {
        let thread = |(tid, name, cpu_seconds, run_queue_wait_seconds): &(u32, &str, f64, f64)| ThreadSample {
            tid: *tid,
            name: (*name).to_owned(),
            cpu_seconds: *cpu_seconds,
            run_queue_wait_seconds: *run_queue_wait_seconds,
        };
        GeneratorSample {
            monotonic_seconds: at,
            cpu_seconds,
            run_queue_wait_seconds: Some(0.0),
            threads: threads.iter().map(thread).collect(),
            ..GeneratorSample::default()
        }
    }

    #[test]
    fn workers_count_until_they_were_last_seen() {
        let samples = [
            sample(10.0, 1.0, &[(1, "storelab", 0.9, 5.0)]),
            sample(11.0, 1.5, &[(1, "storelab", 0.9, 5.0), (2, "worker-0", 0.2, 0.1), (3, "worker-1", 0.3, 0.2)]),
            sample(12.0, 2.0, &[(1, "storelab", 0.9, 5.0), (2, "worker-0", 0.4, 1.4), (3, "worker-1", 0.6, 0.3)]),
            sample(12.7, 2.1, &[(1, "storelab", 0.9, 5.0)]),
        ];
        let waits = Waits::of(&samples).expect("workers were seen");
        assert_eq!((waits.seconds, waits.generator_cpu_seconds, waits.workers.len()), (2.0, 1.0, 2));
        assert!((waits.share() - 0.7).abs() < 1e-9, "{waits:?}");
        // 1.4 s, of which another thread ran for 0.6 and the server for 0.3.
        assert!((waits.share_taken_by_others(0.3) - 0.25).abs() < 1e-9, "{waits:?}");
        assert!(waits.share_taken_by_others(5.0) <= 0.0, "all of it is explained");
        assert_eq!(Waits::of(&samples[..1]), None);
        assert_eq!(Waits::of(&[]), None);
    }
}
