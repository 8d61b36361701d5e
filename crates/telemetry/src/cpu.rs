//! `/proc/stat` and `/proc/loadavg`: where the processors' time went, and what waited for them.

use serde::{Deserialize, Serialize};

use crate::files::{growth, rate};

/// Seconds of all processors together since the host started, by mode.
///
/// The modes do not overlap: the kernel counts the time of guests in `user` and `nice` as well, here it is taken out of
/// them, so that the sum of the modes is the time that passed on all cores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuSeconds {
    /// Programs, without those of lowered priority.
    pub user: f64,
    /// Programs of lowered priority.
    pub nice: f64,
    /// The kernel on behalf of programs.
    pub system: f64,
    /// Nothing to do.
    pub idle: f64,
    /// Nothing to do while a task waited for a disk. The kernel itself calls it an estimate (proc(5)).
    pub iowait: f64,
    /// Interrupts.
    pub irq: f64,
    /// Deferred interrupt work, the network stack for the most part.
    pub softirq: f64,
    /// Wanted, but taken by the hypervisor for another guest.
    pub steal: f64,
    /// Virtual machines that this host runs.
    pub guest: f64,
}

impl CpuSeconds {
    /// All modes.
    pub fn total(&self) -> f64 {
        self.busy() + self.idle + self.iowait + self.steal
    }

    /// Time in which this host's processors worked: neither idle nor stolen.
    pub fn busy(&self) -> f64 {
        self.user + self.nice + self.system + self.irq + self.softirq + self.guest
    }

    /// What passed between two readings. No mode is negative: `idle` and `iowait` are known to be set back.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        self.zip(before, |after, before| growth(before, after))
    }

    /// Each mode as percent of all modes together.
    #[must_use]
    pub fn percent(&self) -> Self {
        let total = self.total();
        self.zip(self, |seconds, _| 100.0 * rate(seconds, total))
    }

    fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            user: f(self.user, other.user),
            nice: f(self.nice, other.nice),
            system: f(self.system, other.system),
            idle: f(self.idle, other.idle),
            iowait: f(self.iowait, other.iowait),
            irq: f(self.irq, other.irq),
            softirq: f(self.softirq, other.softirq),
            steal: f(self.steal, other.steal),
            guest: f(self.guest, other.guest),
        }
    }
}

/// The processors and the scheduler.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scheduler {
    /// Seconds by mode since the host started.
    pub cpu: CpuSeconds,
    /// Processors in use.
    pub cores_online: u64,
    /// The run queue: tasks that run or wait for a processor, the reader of this number included.
    pub tasks_running: u64,
    /// Tasks that wait for a disk and cannot be interrupted.
    pub tasks_blocked: u64,
    /// Context switches since the host started.
    pub context_switches: u64,
    /// Interrupts since the host started.
    pub interrupts: u64,
}

/// The load averages: tasks that run, wait for a processor or for a disk, smoothed over 1, 5 and 15 minutes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Over one minute.
    pub over_1_minute: f64,
    /// Over five minutes.
    pub over_5_minutes: f64,
    /// Over fifteen minutes.
    pub over_15_minutes: f64,
}

/// Reads `/proc/stat`; its unit is the clock tick (`sysconf(_SC_CLK_TCK)`).
pub(crate) fn parse_stat(text: &str, ticks_per_second: f64) -> Option<Scheduler> {
    let mut scheduler = Scheduler::default();
    let mut cpu = None;
    for line in text.lines() {
        let (name, values) = line.split_once(char::is_whitespace)?;
        let first = || values.split_ascii_whitespace().next()?.parse::<u64>().ok();
        match name {
            "cpu" => cpu = Some(parse_cpu(values, ticks_per_second)?),
            "intr" => scheduler.interrupts = first()?,
            "ctxt" => scheduler.context_switches = first()?,
            "procs_running" => scheduler.tasks_running = first()?,
            "procs_blocked" => scheduler.tasks_blocked = first()?,
            _ if name.starts_with("cpu") => scheduler.cores_online += 1,
            _ => {}
        }
    }
    scheduler.cpu = cpu?;
    Some(scheduler)
}

/// The ten columns of a `cpu` line; `guest` (2.6.24) and `guest_nice` (2.6.33) may be absent.
fn parse_cpu(values: &str, ticks_per_second: f64) -> Option<CpuSeconds> {
    let mut ticks = [0_u64; 10];
    let mut columns = 0;
    for (tick, value) in ticks.iter_mut().zip(values.split_ascii_whitespace()) {
        *tick = value.parse().ok()?;
        columns += 1;
    }
    if columns < 8 {
        return None;
    }
    let seconds = |ticks: u64| ticks as f64 / ticks_per_second;
    let [user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice] = ticks;
    Some(CpuSeconds {
        user: seconds(user.saturating_sub(guest)),
        nice: seconds(nice.saturating_sub(guest_nice)),
        system: seconds(system),
        idle: seconds(idle),
        iowait: seconds(iowait),
        irq: seconds(irq),
        softirq: seconds(softirq),
        steal: seconds(steal),
        guest: seconds(guest) + seconds(guest_nice),
    })
}

/// Reads `/proc/loadavg`.
pub(crate) fn parse_load(text: &str) -> Option<Load> {
    let mut values =
        text.split_ascii_whitespace().map_while(|value| value.parse::<f64>().ok().filter(|load| load.is_finite()));
    Some(Load { over_1_minute: values.next()?, over_5_minutes: values.next()?, over_15_minutes: values.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_time_is_counted_once() {
        let text = "cpu  100 20 30 400 5 6 7 8 40 10\ncpu0 50 10 15 200 2 3 3 4 20 5\ncpu1 50 10 15 200 3 3 4 4 20 5\n\
                    intr 99 1 2 3\nctxt 77\nbtime 1\nprocesses 9\nprocs_running 3\nprocs_blocked 1\nsoftirq 5 1\n";
        let scheduler = parse_stat(text, 100.0).expect("a well-formed file");
        assert_eq!(scheduler.cores_online, 2);
        assert_eq!((scheduler.context_switches, scheduler.interrupts), (77, 99));
        assert_eq!((scheduler.tasks_running, scheduler.tasks_blocked), (3, 1));
        let close = |actual: f64, expected: f64| assert!((actual - expected).abs() < 1e-9, "{actual} {expected}");
        close(scheduler.cpu.user, 0.6);
        close(scheduler.cpu.nice, 0.1);
        close(scheduler.cpu.guest, 0.5);
        close(scheduler.cpu.total(), 5.76);
        close(scheduler.cpu.busy(), 1.63);
        close(scheduler.cpu.percent().total(), 100.0);
    }

    #[test]
    fn a_mode_that_is_set_back_counts_as_nothing() {
        let before = CpuSeconds { idle: 10.0, user: 1.0, ..CpuSeconds::default() };
        let after = CpuSeconds { idle: 9.5, user: 2.0, ..CpuSeconds::default() };
        assert_eq!(after.since(&before), CpuSeconds { user: 1.0, ..CpuSeconds::default() });
        assert_eq!(CpuSeconds::default().percent(), CpuSeconds::default());
    }

    #[test]
    fn what_is_no_such_file_is_nothing() {
        for text in ["", "cpu", "cpu 1 2 3", "cpu a b c d e f g h", "ctxt 5\n"] {
            assert_eq!(parse_stat(text, 100.0), None, "{text:?}");
        }
        assert_eq!(parse_load("0.5 0.4"), None);
        assert_eq!(parse_load("NaN 1 1"), None);
        let load = parse_load("0.50 0.40 0.30 2/90 7548\n").expect("a well-formed file");
        assert_eq!(load, Load { over_1_minute: 0.5, over_5_minutes: 0.4, over_15_minutes: 0.3 });
    }
}
