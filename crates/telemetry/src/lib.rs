//! What is measured beside the client: the host, the server's processes, the generator itself.
//!
//! - [`HostSampler`] reads processors, memory, disks, network, pressure and the limits of our control group.
//! - [`ProcessSampler`] follows a process and all that it started; [`listener()`] finds a local server's process by its
//!   port.
//! - [`GeneratorSampler`] watches this program, so that a run whose generator was short of processor time is known, and
//!   [`Heartbeat`] whether it was stopped altogether.
//! - [`Provenance`] says on what host all this happened.
//! - [`Profiler`] samples the stacks of processes through `perf`, and draws a flame graph of them.
//!
//! Each sampler gives a sample when asked, by default of what lies below `/`; `sample.since(&before)` gives rates, and
//! [`HostSummary`], [`ProcessSummary`] and [`GeneratorSummary`] what a record keeps of a series. Units are bytes, seconds
//! and counts. **What a kernel does not tell is `None` and named in `missing`; it is never zero.** Nothing here fails
//! or panics on what a file says.

mod cgroup;
mod cpu;
mod disk;
mod files;
mod flamegraph;
mod generator;
mod heartbeat;
mod host;
mod listener;
mod memory;
mod network;
mod pressure;
mod process;
mod process_files;
mod provenance;
mod summary;
mod tasks;

#[cfg(test)]
mod properties;

pub use cgroup::Cgroup;
pub use cpu::{CpuSeconds, Load, Scheduler};
pub use disk::{Disk, DiskRates};
pub use flamegraph::{HotFunction, Profile, ProfileError, Profiler, Profiling, SAMPLES_PER_SECOND, hottest};
pub use generator::{
    GeneratorSample, GeneratorSampler, GeneratorUsage, ThreadSample, ThreadUsage, file_descriptors_limit,
    process_cpu_seconds, thread_cpu_seconds,
};
pub use heartbeat::{Heartbeat, Stops};
pub use host::{HostSample, HostSampler, HostUsage};
pub use listener::{listener, listener_in};
pub use memory::{Memory, Paging, PagingRates};
pub use network::{Network, NetworkRates, Tcp, Traffic, TrafficRates};
pub use pressure::{ByResource, Pressure, PressureShare};
pub use process::{ProcessSample, ProcessSampler, ProcessUsage};
pub use provenance::Provenance;
pub use summary::{GeneratorSummary, HostSummary, ProcessSummary};
