//! The page that is scraped, in the two forms that Prometheus reads: its own text, and `OpenMetrics`, which has exemplars.

use std::fmt::Write;

use axum::http::{HeaderMap, header};

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Prometheus' own text, version 0.0.4.
    Text,
    /// `OpenMetrics` 1.0.
    OpenMetrics,
}

/// What the values of a family mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by class.
    Histogram,
}

/// A family of series.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
}

/// One observation of a class, and the trace in which it was made.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exemplar {
    /// As 32 hexadecimal digits.
    pub(crate) trace: String,
    /// What was observed.
    pub(crate) value: f64,
    /// When, in seconds since the epoch.
    pub(crate) at_seconds: f64,
}

/// A page that is being written, family by family.
pub(crate) struct Page {
    form: Form,
    text: String,
}

impl Form {
    /// The media type.
    pub(crate) const fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The form that a scraper wants: `OpenMetrics` where it accepts that at least as gladly as plain text.
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let (mut open, mut plain) = (0.0_f64, 0.0_f64);
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        for part in accepted.flat_map(|value| value.split(',')) {
            let mut words = part.split(';').map(str::trim);
            let media_type = words.next().unwrap_or_default().to_ascii_lowercase();
            let weight = words.find_map(|word| word.strip_prefix("q=")).map_or(Ok(1.0), str::parse).unwrap_or(0.0);
            match media_type.as_str() {
                "application/openmetrics-text" => open = open.max(weight),
                "text/plain" => plain = plain.max(weight),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Text }
    }
}

impl Page {
    pub(crate) fn new(form: Form) -> Self {
        Self { form, text: String::new() }
    }

    /// Begins a family. All of its series follow.
    pub(crate) fn family(&mut self, family: &Family) {
        let Family { name, kind, help } = family;
        let (name, kind) = match kind {
            // What OpenMetrics calls the family is the name without the ending that all counters have.
            Kind::Counter if self.form == Form::OpenMetrics => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            Kind::Counter => (*name, "counter"),
            Kind::Gauge => (*name, "gauge"),
            Kind::Histogram => (*name, "histogram"),
        };
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    /// A series of the family, its labels as [`written`] writes them.
    pub(crate) fn series(&mut self, name: &str, labels: &str, value: f64) {
        self.exemplified(name, labels, value, None);
    }

    /// A series with an exemplar, which the plain text leaves out.
    pub(crate) fn exemplified(&mut self, name: &str, labels: &str, value: f64, exemplar: Option<&Exemplar>) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let observed = exemplar.filter(|_| self.form == Form::OpenMetrics).map(|exemplar| {
            let Exemplar { trace, value, at_seconds } = exemplar;
            format!(" # {{trace_id=\"{trace}\"}} {value} {at_seconds:.3}")
        });
        self.line(format_args!("{name}{labels} {value}{}", observed.unwrap_or_default()));
    }

    /// The page, whole.
    pub(crate) fn end(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.line(format_args!("# EOF"));
        }
        self.text
    }

    fn line(&mut self, text: std::fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("writing to text cannot fail");
        self.text.push('\n');
    }
}

/// Labels as they are written, their values escaped.
pub(crate) fn written(labels: &[(&str, &str)]) -> String {
    let escape = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let written: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
    written.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scraper_gets_the_form_that_it_wants() {
        for (accept, expected) in [
            (None, Form::Text),
            (Some("*/*"), Form::Text),
            (Some("text/plain"), Form::Text),
            (Some("application/openmetrics-text"), Form::OpenMetrics),
            // What Prometheus 2 and 3 send.
            (
                Some("application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
                Form::OpenMetrics,
            ),
            (Some("text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.5"), Form::Text),
            (Some("application/openmetrics-text;q=0"), Form::Text),
        ] {
            let value = accept.map(|accept| accept.parse().expect("a header"));
            let headers = HeaderMap::from_iter(value.map(|value| (header::ACCEPT, value)));
            assert_eq!(Form::wanted(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn open_metrics_differ_in_names_of_families_exemplars_and_their_end() {
        let requests = Family { name: "requests_total", kind: Kind::Counter, help: "Requests." };
        let exemplar = Exemplar { trace: "ab".repeat(16), value: 0.25, at_seconds: 1.5 };
        let page = |form| {
            let mut page = Page::new(form);
            page.family(&requests);
            page.exemplified("requests_total", &written(&[("of", "a\"b\\c\nd")]), 7.0, Some(&exemplar));
            page.end()
        };
        assert_eq!(
            page(Form::Text),
            "# HELP requests_total Requests.\n# TYPE requests_total counter\nrequests_total{of=\"a\\\"b\\\\c\\nd\"} 7\n"
        );
        assert_eq!(
            page(Form::OpenMetrics),
            "# HELP requests Requests.\n# TYPE requests counter\nrequests_total{of=\"a\\\"b\\\\c\\nd\"} 7 # \
             {trace_id=\"abababababababababababababababab\"} 0.25 1.500\n# EOF\n"
        );
    }
}
