//! What else the host did while something was measured: time that its hypervisor gave to others, and time that others here used.

use std::fs;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

/// Clock ticks a second in `/proc/stat`, on every Linux that we know (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The host's processors at a time, in ticks of all of them together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Processors {
    total: f64,
    busy: f64,
    steal: f64,
}

/// Shares of all processors over a time, in percent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shares {
    /// What the hypervisor gave to others.
    pub(crate) steal: f64,
    /// What others than those whom we measure used here.
    pub(crate) others: f64,
}

impl Processors {
    /// What they did until now.
    pub(crate) fn now() -> anyhow::Result<Self> {
        parse(&fs::read_to_string("/proc/stat").context("/proc/stat cannot be read")?)
    }

    /// What they did since then, of which `ours` is known.
    pub(crate) fn since(self, ours: Duration) -> anyhow::Result<Shares> {
        let now = Self::now()?;
        Ok(now.after(self, ours))
    }

    fn after(self, before: Self, ours: Duration) -> Shares {
        let percent = |ticks: f64| 100.0 * ticks / (self.total - before.total).max(1.0);
        let others = self.busy - before.busy - ours.as_secs_f64() * TICKS_PER_SECOND;
        Shares { steal: percent(self.steal - before.steal), others: percent(others.max(0.0)) }
    }
}

impl Shares {
    pub(crate) fn text(self) -> String {
        format!("steal {:.1} %, other programs {:.1} % of the host", self.steal, self.others)
    }

    pub(crate) fn json(self) -> Value {
        json!({ "steal_percent": self.steal, "others_percent": self.others })
    }
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
fn parse(text: &str) -> anyhow::Result<Processors> {
    let line =
        text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("/proc/stat has no first line")?;
    let ticks = line.split_whitespace().take(8).map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [user, nice, system, idle, iowait, irq, softirq, steal] = ticks[..] else {
        anyhow::bail!("/proc/stat has fewer columns than Linux has had since 2.6.11");
    };
    let busy = user + nice + system + irq + softirq;
    Ok(Processors { total: busy + idle + iowait + steal, busy, steal })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_in_between() {
        let before = parse("cpu  100 0 50 800 10 0 0 40 0 0\ncpu0 1 2 3\n").expect("a line");
        let after = parse("cpu  160 0 70 880 10 5 5 70 0 0\n").expect("a line");
        assert_eq!(before, Processors { total: 1000.0, busy: 150.0, steal: 40.0 });
        let shares = after.after(before, Duration::from_millis(700));
        assert_eq!(shares, Shares { steal: 15.0, others: 10.0 });
        assert!(parse("intr 5\n").is_err());
    }
}
