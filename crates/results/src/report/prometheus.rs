//! What a Prometheus knew of the run's seconds: a small chart a gauge, on the time axis of the run, and what was asked.

use std::fmt::Write as _;

use experiment::{PrometheusGauge, Record};
use stats::{Keep, Series, downsampled};

use super::axis::Axis;
use super::chart::{Chart, Line, Look, Size, Weight};
use super::charts::{bands, end_seconds, marks};
use super::format::{NONE, Unit, escape, push};
use super::table::{Cell, Table};

/// Points of a line in a small chart.
const POINTS_MAX: usize = 240;

/// What names of gauges end in, as Prometheus has them, the longer before those that they end in.
const UNITS: &[(&str, Unit)] = &[
    ("_bytes_per_second", Unit::BytesPerSecond),
    ("_per_second", Unit::PerSecond),
    ("_bytes", Unit::Bytes),
    ("_percent", Unit::Percent),
    ("_seconds", Unit::Seconds),
];

/// Nothing where no Prometheus was asked.
pub(super) fn section(out: &mut String, record: &Record, series: &Series) {
    let Some(known) = &record.prometheus else { return };
    push!(out, "<section><h2>Seen by Prometheus</h2><p class=\"dim\">What <code>{}</code> ", escape(&known.url));
    out.push_str("had of these seconds, asked once the run was over.");
    known.reason.iter().for_each(|reason| push!(out, " {}.", escape(reason)));
    out.push_str("</p><div class=\"grid2\">");
    for chart in known.gauges.iter().filter_map(|gauge| chart(record, series, gauge)) {
        chart.write(out);
    }
    out.push_str("</div>");
    let mut table = Table::new(["Gauge", "Mean", "Max", "Query", "Remark"]);
    for gauge in &known.gauges {
        let unit = unit_of(&gauge.name);
        let figure = |value: Option<f64>| Cell::Figure(value.map_or_else(|| NONE.to_owned(), |value| unit.text(value)));
        table.row(vec![
            Cell::Text(name_of(gauge).to_owned()),
            figure(gauge.mean),
            figure(gauge.max),
            Cell::Code(gauge.query.clone()),
            Cell::Text(gauge.reason.clone().unwrap_or_default()),
        ]);
    }
    if !table.is_empty() {
        table.write(out);
    }
    out.push_str("</section>\n");
}

/// None where it has no values, or negative ones, for which these charts have no place: the table tells them.
fn chart(record: &Record, series: &Series, gauge: &PrometheusGauge) -> Option<Chart> {
    let greatest = gauge.points.iter().map(|(_, value)| *value).reduce(f64::max)?;
    if gauge.points.iter().any(|(_, value)| *value < 0.0) {
        return None;
    }
    let points = gauge.points.iter().map(|(at, value)| (*at, Some(*value))).collect();
    let line = Line {
        name: name_of(gauge).to_owned(),
        look: Look { colour: 1, dashes: 0, weight: Weight::Normal },
        points: downsampled(points, POINTS_MAX, Keep::Extremes),
        is_labelled: false,
    };
    let (x, y) = (Axis::time(end_seconds(record, series), 5.0), Axis::linear(unit_of(&gauge.name), greatest, 3.0));
    let chart = Chart::new(name_of(gauge), String::new(), x, y, vec![line]);
    Some(Chart { size: Size::Small, bands: bands(record), marks: marks(record), ..chart })
}

/// As the plan calls it.
fn name_of(gauge: &PrometheusGauge) -> &str {
    gauge.name.strip_prefix("prometheus.").unwrap_or(&gauge.name)
}

fn unit_of(name: &str) -> Unit {
    UNITS.iter().find(|(ending, _)| name.ends_with(ending)).map_or(Unit::Count, |(_, unit)| *unit)
}

#[cfg(test)]
mod tests {
    use experiment::PrometheusRecord;
    use uuid::Uuid;

    use super::super::html;
    use super::*;
    use crate::fixture;

    #[test]
    fn gauges_are_drawn_and_what_could_not_be_had_is_said() {
        let gauge = |name: &str, points: Vec<(f64, f64)>, reason: Option<&str>| PrometheusGauge {
            name: format!("prometheus.{name}"),
            query: format!("sum({name}) < 5"),
            mean: points.first().map(|(_, value)| *value),
            max: points.last().map(|(_, value)| *value),
            points,
            reason: reason.map(str::to_owned),
        };
        let mut record = fixture::started("watched", Uuid::nil());
        assert!(!html(&record, &[], &[]).contains("Seen by Prometheus"));
        record.prometheus = Some(PrometheusRecord {
            url: "http://prometheus:9090".to_owned(),
            gauges: vec![
                gauge("redis_memory_used_bytes", vec![(0.0, 1_048_576.0), (1.0, 2_097_152.0)], None),
                gauge("mine_delta", vec![(0.0, -3.0), (1.0, 4.0)], None),
                gauge("nothing", Vec::new(), Some("no data for <these> seconds")),
            ],
            reason: Some("not all was answered".to_owned()),
        });
        let page = html(&record, &[], &[]);
        let section = page.split("Seen by Prometheus").nth(1).expect("it is there").split("</section>").next();
        let section = section.expect("it ends");
        assert_eq!(section.matches("<svg").count(), 1, "of the one that has values to draw: {section}");
        for part in [
            "http://prometheus:9090",
            "not all was answered",
            "2.00 MiB",
            "sum(mine_delta) &lt; 5",
            "no data for &lt;these&gt;",
        ] {
            assert!(section.contains(part), "{part}: {section}");
        }
    }
}
