//! A search in words: its knee in a line, its curve in a table.

use experiment::{Dimension, ScalabilityRecord, SearchPoint, SearchRecord, Stage};

use crate::terminal::{microseconds, table, table_text, thousands};

/// `12,345/s (12,100–12,600) under p99 < 10ms, confirmed at 12,200/s`.
pub(crate) fn line(search: &SearchRecord) -> String {
    let Some(found) = search.found else {
        return format!("none under {}", search.condition);
    };
    let interval = match search.interval {
        Some([low, high]) => format!("{}–{}", number(search.dimension, low), number(search.dimension, high)),
        None => "no upper end was found".to_owned(),
    };
    let knee = amount(search.dimension, search.knee.unwrap_or(found));
    let found = amount(search.dimension, found);
    let confirmed = match search.confirmed {
        true if found == knee => String::new(),
        true => format!(", confirmed at {found}"),
        false => ", not confirmed".to_owned(),
    };
    format!("{knee} ({interval}) under {}{confirmed}", search.condition)
}

/// Every load that was tried, in its order, and what was noted.
pub(crate) fn curve(search: &SearchRecord) -> String {
    let mut rows = table(["TRIED", "LOAD", "SECONDS", "THROUGHPUT", "P50", "P99", "CONDITION"]);
    for point in &search.points {
        let kept = if !point.valid {
            "doubtful: the generator"
        } else if point.kept {
            "held"
        } else {
            "failed"
        };
        rows.add_row(vec![
            stage(point.stage).to_owned(),
            amount(search.dimension, point.load),
            format!("{:.1}", point.seconds),
            format!("{}/s", thousands(point.throughput_per_second.round() as u64)),
            microseconds(point.latency_us_p50),
            microseconds(point.latency_us_p99),
            kept.to_owned(),
        ]);
    }
    let mut lines = vec![table_text(&rows)];
    lines.extend(search.scalability.as_ref().map(scalability));
    lines.extend(search.notes.iter().map(|note| format!("search: {note}")));
    lines.join("\n")
}

/// A try in a line.
pub(crate) fn tried(point: &SearchPoint, dimension: Dimension) -> String {
    format!(
        "{}: {} for {:.1} s · p99 {} · {}",
        stage(point.stage),
        amount(dimension, point.load),
        point.seconds,
        microseconds(point.latency_us_p99),
        if point.kept { "kept" } else { "not kept" }
    )
}

/// How throughput grows with sessions.
fn scalability(law: &ScalabilityRecord) -> String {
    let peak = match law.peak_sessions {
        Some(peak) => format!("most throughput at {peak:.0} sessions"),
        None => "throughput grows with every session".to_owned(),
    };
    format!(
        "scalability: {}/s alone, contention {:.2} %, coherency {:.4} % (R² {:.3}): {peak}",
        thousands(law.lambda.round() as u64),
        law.sigma * 100.0,
        law.kappa * 100.0,
        law.r_squared
    )
}

fn amount(dimension: Dimension, load: f64) -> String {
    format!("{}{}", number(dimension, load), dimension.unit())
}

/// A load; of slow rates with a digit behind the point.
fn number(dimension: Dimension, load: f64) -> String {
    if dimension == Dimension::Rate && load < 100.0 {
        return format!("{load:.1}");
    }
    thousands(load.round() as u64)
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Coarse => "coarse",
        Stage::Bisection => "bisection",
        Stage::Confirmation => "confirmation",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_knee_is_said_in_a_line() {
        let search = SearchRecord {
            dimension: Dimension::Rate,
            condition: "p99 < 10ms".to_owned(),
            points: Vec::new(),
            found: Some(12_200.0),
            knee: Some(12_345.0),
            interval: Some([12_100.0, 12_600.0]),
            confirmed: true,
            share: None,
            notes: Vec::new(),
            scalability: None,
        };
        let slow = SearchRecord {
            found: Some(4.25),
            knee: Some(4.31),
            interval: Some([4.2, 4.4]),
            confirmed: false,
            ..search.clone()
        };
        let (dimension, found) = (Dimension::Sessions, Some(64.0));
        let open = SearchRecord { dimension, found, knee: None, interval: None, ..search.clone() };
        let none = SearchRecord { found: None, knee: None, interval: None, confirmed: false, ..search.clone() };
        for (search, expect) in [
            (search, "12,345/s (12,100–12,600) under p99 < 10ms, confirmed at 12,200/s"),
            (slow, "4.3/s (4.2–4.4) under p99 < 10ms, not confirmed"),
            (open, "64 sessions (no upper end was found) under p99 < 10ms"),
            (none, "none under p99 < 10ms"),
        ] {
            assert_eq!(line(&search), expect);
        }
    }
}
