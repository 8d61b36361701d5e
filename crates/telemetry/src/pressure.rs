//! `/proc/pressure`: how long tasks stood still for want of a resource (Documentation/accounting/psi.rst).

use serde::{Deserialize, Serialize};

use crate::files::{growth, rate};

/// Stall time of one resource since the host started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// At least one task stood still.
    pub some_seconds: f64,
    /// All tasks that had work stood still; for the CPU kernels before 5.13 do not say.
    pub full_seconds: Option<f64>,
}

/// Stall time as a share of the time that passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PressureShare {
    /// Percent of the time in which at least one task stood still.
    pub some_percent: f64,
    /// Percent of the time in which all tasks that had work stood still.
    pub full_percent: Option<f64>,
}

impl Pressure {
    pub(crate) fn share(&self, before: &Self, seconds: f64) -> PressureShare {
        let percent = |before: f64, after: f64| 100.0 * rate(growth(before, after), seconds);
        PressureShare {
            some_percent: percent(before.some_seconds, self.some_seconds),
            full_percent: before.full_seconds.zip(self.full_seconds).map(|(before, after)| percent(before, after)),
        }
    }
}

/// One value for each resource whose pressure the kernel measures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ByResource<T> {
    /// Want of a processor.
    pub cpu: Option<T>,
    /// Want of a disk.
    pub io: Option<T>,
    /// Want of memory.
    pub memory: Option<T>,
}

impl ByResource<Pressure> {
    pub(crate) fn share(&self, before: &Self, seconds: f64) -> ByResource<PressureShare> {
        let share = |before: Option<Pressure>, after: Option<Pressure>| Some(after?.share(&before?, seconds));
        ByResource {
            cpu: share(before.cpu, self.cpu),
            io: share(before.io, self.io),
            memory: share(before.memory, self.memory),
        }
    }
}

/// Reads one file of `/proc/pressure`; totals there are in microseconds.
pub(crate) fn parse_pressure(text: &str) -> Option<Pressure> {
    let total = |kind: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let total = line.split_ascii_whitespace().find_map(|field| field.strip_prefix("total="))?;
        Some(total.parse::<u64>().ok()? as f64 / 1e6)
    };
    Some(Pressure { some_seconds: total("some ")?, full_seconds: total("full ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_become_seconds_and_shares() {
        let before = parse_pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=1000000\n").expect("well formed");
        assert_eq!(before, Pressure { some_seconds: 1.0, full_seconds: None });
        let after = parse_pressure("some avg10=1.00 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 total=9\n")
            .expect("well formed");
        assert_eq!(after.full_seconds, Some(9e-6));
        assert_eq!(after.share(&before, 2.0), PressureShare { some_percent: 25.0, full_percent: None });
        assert_eq!(parse_pressure("full total=5"), None);
        assert_eq!(parse_pressure("some total=-5"), None);
    }
}
