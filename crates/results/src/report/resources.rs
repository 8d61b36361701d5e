//! What was measured beside the client, as small charts of the same time axis.

use experiment::Record;

use super::axis::Axis;
use super::chart::{Chart, Line, Look, Size, Weight};
use super::charts::{bands, end_seconds, marks};
use super::format::Unit;
use stats::{Keep, Series, downsampled};

/// Points of a line in a small chart.
const POINTS_MAX: usize = 240;

/// A small chart: its title, its note, its unit, and its gauges with what to call them.
type Panel = (&'static str, &'static str, Unit, &'static [(&'static str, &'static str)]);

const PANELS: &[Panel] = &[
    (
        "Processor time",
        "100 % is one processor",
        Unit::Percent,
        &[
            ("host.cpu_percent", "host"),
            ("server.cpu_percent", "server"),
            ("generator.cpu_percent", "generator"),
            ("host.cpu_iowait_percent", "I/O wait"),
            ("host.cpu_steal_percent", "steal"),
        ],
    ),
    ("Resident memory", "", Unit::Bytes, &[("server.rss_bytes", "server"), ("generator.rss_bytes", "generator")]),
    ("Memory available", "on the host", Unit::Bytes, &[("host.memory_available_bytes", "available")]),
    (
        "Disk",
        "of the host",
        Unit::BytesPerSecond,
        &[("host.disk_write_bytes_per_second", "write"), ("host.disk_read_bytes_per_second", "read")],
    ),
    (
        "Network",
        "of the host",
        Unit::BytesPerSecond,
        &[("host.network_send_bytes_per_second", "send"), ("host.network_receive_bytes_per_second", "receive")],
    ),
    (
        "Pressure",
        "share of time that something waited for it",
        Unit::Percent,
        &[
            ("host.pressure_cpu_percent", "processor"),
            ("host.pressure_io_percent", "I/O"),
            ("host.pressure_memory_percent", "memory"),
        ],
    ),
    (
        "Operations waiting",
        "due but not sent, and sent but not answered",
        Unit::Count,
        &[("generator.backlog", "backlog"), ("generator.in_flight", "in flight")],
    ),
    ("Send lateness", "the greatest of each second", Unit::Microseconds, &[("generator.lateness_us_max", "lateness")]),
    ("Connections", "sessions that are connected", Unit::Count, &[("generator.connected", "connected")]),
];

/// A small chart for each group of gauges of which at least one was measured.
pub(super) fn charts(record: &Record, series: &Series) -> Vec<Chart> {
    PANELS.iter().filter_map(|panel| chart(record, series, panel)).collect()
}

fn chart(record: &Record, series: &Series, (title, note, unit, gauges): &Panel) -> Option<Chart> {
    let mut lines = Vec::new();
    for (place, (gauge, name)) in gauges.iter().enumerate() {
        let Some(points) = series.gauge(gauge) else { continue };
        // Beside others a line that is always zero says nothing.
        let is_flat = points.iter().all(|(_, value)| value.is_none_or(|value| value.abs() < f64::EPSILON));
        if is_flat && !lines.is_empty() {
            continue;
        }
        let look = Look { colour: place as u8 + 1, dashes: place as u8, weight: Weight::Normal };
        let points = downsampled(points, POINTS_MAX, Keep::Extremes);
        lines.push(Line { name: (*name).to_owned(), look, points, is_labelled: true });
    }
    if lines.is_empty() {
        return None;
    }
    let values = lines.iter().flat_map(|line| line.points.iter().filter_map(|(_, value)| *value));
    let greatest = values.fold(0.0, f64::max);
    let (x, y) = (Axis::time(end_seconds(record, series), 5.0), Axis::linear(*unit, greatest, 3.0));
    let chart = Chart::new(title, (*note).to_owned(), x, y, lines);
    Some(Chart { size: Size::Small, bands: bands(record), marks: marks(record), ..chart })
}
