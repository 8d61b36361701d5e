//! One line on stderr that says how a run goes, once a second, where somebody is watching.

use std::io::{self, Write};

use experiment::{Event, Record, SampleRecord};
use runner::Load;
use stats::Histogram;

use crate::knee;
use crate::terminal::{is_watched, microseconds, talk, thousands};

/// Tells a run's events.
pub(crate) struct Progress {
    shown: bool,
    quiet: bool,
    /// Names of the phases with the second at which each is expected to end.
    phases: Vec<(String, Option<f64>)>,
    /// Whether the cursor stands at the end of a line that the next one replaces.
    open_line: bool,
}

impl Progress {
    /// Tells nothing where `quiet`, and no progress where nobody watches.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { shown: is_watched() && !quiet, quiet, phases: Vec::new(), open_line: false }
    }

    /// Learns the phases of the load that is coming.
    pub(crate) fn expect(&mut self, load: &Load) {
        let mut end = Some(0.0);
        self.phases = load
            .phases
            .iter()
            .map(|phase| {
                end = end.zip(phase.duration()).map(|(end, duration)| end + duration.as_secs_f64());
                (phase.name.clone(), end)
            })
            .collect();
    }

    /// Tells an event.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::Starting(name) => self.replace(&format!("starting a throw-away {name} …")),
            Event::Connected(url) => self.keep(&format!("connected to {url}")),
            Event::Loading(rows, of) => {
                let share = if *of == 0 { 100 } else { rows * 100 / of };
                self.replace(&format!("loading: {} of {} rows ({share} %)", thousands(*rows), thousands(*of)));
            }
            Event::Reusing => self.keep("using the data that are loaded"),
            Event::Started(record) => self.started(record),
            Event::Searched(point, dimension) => self.keep(&knee::tried(point, *dimension)),
            Event::Found(search, load) => {
                self.expect(load);
                self.keep(&format!("knee: {}", knee::line(search)));
            }
            Event::Sampled(sample) => self.sampled(sample),
            Event::Verifying => self.replace("verifying …"),
            Event::Warning(text) => {
                self.close();
                if !self.quiet {
                    talk(&format!("warning: {text}"));
                }
            }
        }
    }

    /// Ends the line that is open.
    pub(crate) fn close(&mut self) {
        if std::mem::take(&mut self.open_line) {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
    }

    fn started(&mut self, record: &Record) {
        self.keep(&format!("{} · {} · seed {}", record.name, record.target.server, record.seed));
    }

    fn sampled(&mut self, sample: &SampleRecord) {
        if !self.shown {
            return;
        }
        let mut latency = Histogram::new();
        let (mut succeeded, mut failed) = (0, 0);
        for operation in &sample.operations {
            latency.merge(&operation.latency);
            succeeded += operation.succeeded;
            failed += operation.failed;
        }
        let now = (sample.second + 1) as f64;
        let phase = self.phases.iter().find(|(_, end)| end.is_none_or(|end| now <= end)).or(self.phases.last());
        let name = phase.map_or("", |(name, _)| name);
        let left = match self.phases.last() {
            Some((_, Some(end))) => format!("{:.0} s left", (end - now).max(0.0)),
            _ => format!("{now:.0} s"),
        };
        let backlog = sample.gauges.get("generator.backlog").copied().unwrap_or(0.0);
        self.replace(&format!(
            "{name}: {}/s · p99 {} · {} errors · {} waiting · {left}",
            thousands(succeeded),
            microseconds(latency.quantile(0.99) as f64 / 1e3),
            thousands(failed),
            thousands(backlog as u64),
        ));
    }

    fn replace(&mut self, text: &str) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{text}");
            self.open_line = true;
        }
    }

    fn keep(&mut self, text: &str) {
        self.close();
        if self.shown {
            talk(text);
        }
    }
}
