//! What can be asked: metrics of operations and phases, gauges of the seconds, and statistics of both.

use std::fmt;

use store::ErrorKind;

use super::Quantity;
use crate::record::Metric as Recorded;

/// A percentile, exact to a millionth of a per cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Percentile(u32);

/// Millionths of a per cent in a per cent.
const MILLIONTHS: u32 = 1_000_000;
/// Digits behind the point: `p99.999999` of a run of a hundred million operations is a single one.
const DECIMALS_MAX: usize = 6;

impl Percentile {
    /// `p99`, `p99.9` or `p99_9`; nothing where it is none above 0 and below 100.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let digits = name.strip_prefix('p')?;
        let (whole, decimals) = digits.split_once(['.', '_']).unwrap_or((digits, "0"));
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || whole.len() > 2 || decimals.len() > DECIMALS_MAX {
            return None;
        }
        let millionths: u32 = format!("{decimals:0<DECIMALS_MAX$}").parse().ok()?;
        let value = whole.parse::<u32>().ok()? * MILLIONTHS + millionths;
        (value > 0).then_some(Self(value))
    }

    /// The one spelling of a function's name: `service.p99_9` is `service.p99.9`.
    pub(crate) fn canonical(name: &str) -> String {
        let (series, statistic) = match Series::split(name) {
            Some((series, statistic)) => (format!("{}.", series.name()), statistic),
            None => (String::new(), name),
        };
        match Self::named(statistic) {
            Some(percentile) => format!("{series}{percentile}"),
            None => name.to_owned(),
        }
    }

    /// As a share of one.
    pub(crate) fn quantile(self) -> f64 {
        f64::from(self.0) / f64::from(100 * MILLIONTHS)
    }
}

impl fmt::Display for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", f64::from(self.0) / f64::from(MILLIONTHS))
    }
}

/// One number of many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Statistic {
    Min,
    Mean,
    Max,
    Last,
    Percentile(Percentile),
}

impl Statistic {
    /// Those that have a name; any percentile beside them.
    pub(crate) const NAMED: [(&'static str, Self); 4] =
        [("min", Self::Min), ("mean", Self::Mean), ("max", Self::Max), ("last", Self::Last)];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let named = Self::NAMED.into_iter().find(|(known, _)| *known == name).map(|(_, statistic)| statistic);
        named.or_else(|| Percentile::named(name).map(Self::Percentile))
    }

    /// Whether a latency histogram has it.
    pub(crate) const fn is_of_latencies(self) -> bool {
        matches!(self, Self::Mean | Self::Max | Self::Percentile(_))
    }
}

/// What latencies are asked of by a prefix: `service.p99(read)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Series {
    Service,
    Queueing,
    Lateness,
}

impl Series {
    pub(crate) const ALL: [Self; 3] = [Self::Service, Self::Queueing, Self::Lateness];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Queueing => "queueing",
            Self::Lateness => "lateness",
        }
    }

    /// The series and the statistic of a function's name, where it has such a prefix.
    pub(crate) fn split(name: &str) -> Option<(Self, &str)> {
        let (prefix, statistic) = name.split_once('.')?;
        Self::ALL.into_iter().find(|series| series.name() == prefix).map(|series| (series, statistic))
    }
}

/// Counts that are kept of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Ended,
    Succeeded,
    Failed,
}

/// A number that phases have.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Metric {
    /// In microseconds.
    Latency { of: Recorded, statistic: Statistic, operation: Option<String> },
    /// Of what ended, in per cent.
    Errors { operation: Option<String>, kind: Option<ErrorKind> },
    /// Operations.
    Count { count: Count, operation: Option<String>, kind: Option<ErrorKind> },
    /// Succeeded, a second.
    Rate { operation: Option<String> },
    /// Operations that were not started.
    Shed,
    /// Operations that had not ended.
    Unfinished,
    /// Ended, of what was due, in per cent.
    Offered,
    /// Send lateness in microseconds.
    Lateness(LatenessStatistic),
}

/// What is kept of send lateness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LatenessStatistic {
    P50,
    P99,
    Max,
}

impl Metric {
    pub(crate) const fn quantity(&self) -> Quantity {
        match self {
            Self::Latency { .. } | Self::Lateness(_) => Quantity::Time,
            Self::Errors { .. } | Self::Offered => Quantity::Share,
            Self::Rate { .. } => Quantity::Rate,
            Self::Count { .. } | Self::Shed | Self::Unfinished => Quantity::Count,
        }
    }

    /// Whether it is known while the run goes on.
    pub(crate) const fn is_known_before_the_end(&self) -> bool {
        !matches!(self, Self::Shed | Self::Unfinished | Self::Offered | Self::Lateness(_))
    }

    /// Whether it is kept of each second: of those, counts and latencies are.
    pub(crate) const fn is_kept_by_second(&self) -> bool {
        match self {
            Self::Latency { of, .. } => matches!(of, Recorded::Latency),
            Self::Errors { kind, .. } | Self::Count { kind, .. } => kind.is_none(),
            Self::Rate { .. } => true,
            Self::Shed | Self::Unfinished | Self::Offered | Self::Lateness(_) => false,
        }
    }
}

/// A function that is no statistic.
#[derive(Debug)]
pub struct Function {
    /// As it is written.
    pub name: &'static str,
    /// One line.
    pub summary: &'static str,
    /// Whether it can be asked of one operation.
    pub of_operations: bool,
    /// Whether errors of one kind can be asked for.
    pub of_kinds: bool,
    /// What it is of an operation and a kind of error.
    pub(crate) metric: fn(Option<String>, Option<ErrorKind>) -> Metric,
}

impl Function {
    /// What its limits measure.
    pub fn quantity(&self) -> Quantity {
        (self.metric)(None, None).quantity()
    }
}

/// Every function that is no statistic, alphabetic.
pub static FUNCTIONS: &[Function] = &[
    Function {
        name: "count",
        summary: "operations that ended, well or not",
        of_operations: true,
        of_kinds: false,
        metric: |operation, kind| Metric::Count { count: Count::Ended, operation, kind },
    },
    Function {
        name: "errors",
        summary: "share of those that ended which failed",
        of_operations: true,
        of_kinds: true,
        metric: |operation, kind| Metric::Errors { operation, kind },
    },
    Function {
        name: "failed",
        summary: "operations that failed",
        of_operations: true,
        of_kinds: true,
        metric: |operation, kind| Metric::Count { count: Count::Failed, operation, kind },
    },
    Function {
        name: "offered",
        summary: "share of the planned operations that was carried out; of open phases",
        of_operations: false,
        of_kinds: false,
        metric: |_, _| Metric::Offered,
    },
    Function {
        name: "rate",
        summary: "operations that succeeded, a second",
        of_operations: true,
        of_kinds: false,
        metric: |operation, _| Metric::Rate { operation },
    },
    Function {
        name: "shed",
        summary: "operations that were not started because too many others waited",
        of_operations: false,
        of_kinds: false,
        metric: |_, _| Metric::Shed,
    },
    Function {
        name: "succeeded",
        summary: "operations that succeeded",
        of_operations: true,
        of_kinds: false,
        metric: |operation, kind| Metric::Count { count: Count::Succeeded, operation, kind },
    },
    Function {
        name: "unfinished",
        summary: "operations that had not ended when the run did",
        of_operations: false,
        of_kinds: false,
        metric: |_, _| Metric::Unfinished,
    },
];

/// A value that every second of a run has beside its operations.
#[derive(Debug, PartialEq, Eq)]
pub struct Gauge {
    /// Its name in samples and reports.
    pub name: &'static str,
    /// Its name without the unit.
    pub short: &'static str,
    /// What it is a number of.
    pub quantity: Quantity,
    /// Who takes it.
    pub source: GaugeSource,
}

/// Who takes a gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GaugeSource {
    /// Every run.
    Generator,
    /// Runs that collect `server`, where its process is on this host.
    Server,
    /// Runs that collect `host`.
    Host,
}

const fn gauge(name: &'static str, short: &'static str, quantity: Quantity, source: GaugeSource) -> Gauge {
    Gauge { name, short, quantity, source }
}

/// Every gauge; a test holds the list against what the samplers give.
pub static GAUGES: &[Gauge] = {
    use GaugeSource::{Generator, Host, Server};
    use Quantity::{ByteRate, Bytes, Count, Share, Time};
    &[
        gauge("generator.backlog", "generator.backlog", Count, Generator),
        gauge("generator.connected", "generator.connected", Count, Generator),
        gauge("generator.cpu_percent", "generator.cpu", Share, Generator),
        gauge("generator.in_flight", "generator.in_flight", Count, Generator),
        gauge("generator.lateness_us_max", "generator.lateness", Time, Generator),
        gauge("generator.rss_bytes", "generator.rss", Bytes, Generator),
        gauge("server.cpu_percent", "server.cpu", Share, Server),
        gauge("server.rss_bytes", "server.rss", Bytes, Server),
        gauge("host.cpu_iowait_percent", "host.cpu_iowait", Share, Host),
        gauge("host.cpu_percent", "host.cpu", Share, Host),
        gauge("host.cpu_steal_percent", "host.cpu_steal", Share, Host),
        gauge("host.disk_read_bytes_per_second", "host.disk_read", ByteRate, Host),
        gauge("host.disk_write_bytes_per_second", "host.disk_write", ByteRate, Host),
        gauge("host.memory_available_bytes", "host.memory_available", Bytes, Host),
        gauge("host.network_receive_bytes_per_second", "host.network_receive", ByteRate, Host),
        gauge("host.network_send_bytes_per_second", "host.network_send", ByteRate, Host),
        gauge("host.pressure_cpu_percent", "host.pressure_cpu", Share, Host),
        gauge("host.pressure_io_percent", "host.pressure_io", Share, Host),
        gauge("host.pressure_memory_percent", "host.pressure_memory", Share, Host),
    ]
};

impl Gauge {
    /// The gauge of that name, whole or short.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        GAUGES.iter().find(|gauge| gauge.name == name || gauge.short == name)
    }
}
