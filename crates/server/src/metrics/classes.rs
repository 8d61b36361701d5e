//! Durations, counted by class.

use super::page::{Exemplar, Page};

/// Durations in classes, with the newest exemplar of each.
#[derive(Debug)]
pub(crate) struct Classes {
    /// Upper bounds in seconds, in order; a last class has none.
    bounds: &'static [f64],
    counted: Vec<Class>,
    sum_seconds: f64,
}

#[derive(Debug, Clone, Default)]
struct Class {
    count: u64,
    exemplar: Option<Exemplar>,
}

impl Classes {
    /// Nothing counted yet.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counted: vec![Class::default(); bounds.len() + 1], sum_seconds: 0.0 }
    }

    /// Counts so many that took as long.
    pub(crate) fn add(&mut self, seconds: f64, count: u64) {
        self.class(seconds).count += count;
        self.sum_seconds += seconds * count as f64;
    }

    /// Remembers the trace of one that was counted.
    pub(crate) fn note(&mut self, trace: &str, seconds: f64) {
        let at_seconds = jiff::Timestamp::now().as_millisecond() as f64 / 1e3;
        self.class(seconds).exemplar = Some(Exemplar { trace: trace.to_owned(), value: seconds, at_seconds });
    }

    /// Writes the series of a histogram, each with these labels.
    pub(crate) fn write(&self, page: &mut Page, name: &str, labels: &str) {
        let joint = if labels.is_empty() { "" } else { "," };
        let bucket = format!("{name}_bucket");
        let mut count = 0;
        for (place, class) in self.counted.iter().enumerate() {
            count += class.count;
            let bound = self.bounds.get(place).map_or_else(|| "+Inf".to_owned(), |bound| bound_text(*bound));
            page.exemplified(&bucket, &format!("{labels}{joint}le=\"{bound}\""), count as f64, class.exemplar.as_ref());
        }
        page.series(&format!("{name}_sum"), labels, self.sum_seconds);
        page.series(&format!("{name}_count"), labels, count as f64);
    }

    fn class(&mut self, seconds: f64) -> &mut Class {
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        &mut self.counted[place]
    }
}

/// A bound as `OpenMetrics` has numbers in labels: with a point.
fn bound_text(bound: f64) -> String {
    let text = bound.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

#[cfg(test)]
mod tests {
    use super::super::page::Form;
    use super::*;

    #[test]
    fn a_class_has_all_that_took_no_longer() {
        let mut classes = Classes::new(&[0.000_025, 1.0]);
        classes.add(0.0, 2);
        classes.add(1.0, 1);
        classes.add(7.0, 3);
        classes.note("t", 0.5);
        let mut page = Page::new(Form::Text);
        classes.write(&mut page, "x", "");
        classes.write(&mut page, "x", "a=\"b\"");
        assert_eq!(
            page.end(),
            "x_bucket{le=\"0.000025\"} 2\nx_bucket{le=\"1.0\"} 3\nx_bucket{le=\"+Inf\"} 6\nx_sum 22\nx_count 6\n\
             x_bucket{a=\"b\",le=\"0.000025\"} 2\nx_bucket{a=\"b\",le=\"1.0\"} 3\nx_bucket{a=\"b\",le=\"+Inf\"} 6\n\
             x_sum{a=\"b\"} 22\nx_count{a=\"b\"} 6\n"
        );
        let mut page = Page::new(Form::OpenMetrics);
        classes.write(&mut page, "x", "");
        let page = page.end();
        let exemplified: Vec<_> = page.lines().filter(|line| line.contains(" # ")).collect();
        assert!(
            matches!(exemplified[..], [line] if line.starts_with("x_bucket{le=\"1.0\"} 3 # {trace_id=\"t\"} 0.5 "))
        );
    }
}
