//! How a run goes, for whoever is watching: one line on stderr that changes once a second, or the whole terminal.

use std::io::{self, Write};

use experiment::{Event, SampleRecord};
use runner::Load;
use stats::Histogram;

use crate::knee;
use crate::live::Live;
use crate::terminal::{is_watched, microseconds, plain, talk, thousands};

/// Tells a run's events.
pub(crate) enum Progress {
    /// In lines.
    Lines(Lines),
    /// On the whole terminal.
    Live(Live),
}

impl Progress {
    /// In lines; nothing where `quiet`, and no progress where nobody watches.
    pub(crate) fn new(quiet: bool) -> Self {
        Self::Lines(Lines { shown: is_watched() && !quiet, quiet, phases: Vec::new(), open_line: false })
    }

    /// On the whole terminal; in lines where there is none, which is said unless `quiet`.
    pub(crate) fn live(quiet: bool) -> Self {
        if quiet {
            return Self::new(quiet);
        }
        match Live::start() {
            Ok(live) => Self::Live(live),
            Err(obstacle) => {
                talk(&format!("no live view: {obstacle}"));
                Self::new(quiet)
            }
        }
    }

    /// Learns the phases of the load that is coming.
    pub(crate) fn expect(&mut self, load: &Load) {
        match self {
            Self::Lines(lines) => lines.expect(load),
            Self::Live(live) => live.expect(load),
        }
    }

    /// Tells an event.
    pub(crate) fn tell(&mut self, event: &Event<'_>) {
        match self {
            Self::Lines(lines) => lines.tell(event),
            Self::Live(live) => {
                live.tell(event);
                // It is on the terminal once the view is gone.
                if let Some(line) = lasting(event) {
                    talk(&line);
                }
            }
        }
    }

    /// Leaves the terminal to what comes.
    pub(crate) fn close(&mut self) {
        match self {
            Self::Lines(lines) => lines.close(),
            Self::Live(live) => live.close(),
        }
    }
}

/// Progress in lines, the last of which changes.
pub(crate) struct Lines {
    shown: bool,
    quiet: bool,
    /// Names of the phases with the second at which each is expected to end.
    phases: Vec<(String, Option<f64>)>,
    /// Whether the cursor stands at the end of a line that the next one replaces.
    open_line: bool,
}

impl Lines {
    fn expect(&mut self, load: &Load) {
        self.phases = load.phases.iter().map(|phase| phase.name.clone()).zip(load.ends_seconds()).collect();
    }

    fn tell(&mut self, event: &Event<'_>) {
        match event {
            Event::Starting(name) => self.replace(&format!("starting a throw-away {name} …")),
            Event::Loading(rows, of) => self.replace(&format!("loading: {}", loaded(*rows, *of))),
            Event::Found(_, load) => {
                self.expect(load);
                self.keep(event, self.shown);
            }
            Event::Waiting(ready, of) => self.replace(&waiting(*ready, *of)),
            Event::Sampled(sample) => self.sampled(sample),
            Event::Verifying => self.replace("verifying …"),
            Event::Warning(_) => self.keep(event, !self.quiet),
            Event::Connected(_) | Event::Reusing | Event::Started(_) | Event::Searched(..) => {
                self.keep(event, self.shown);
            }
        }
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open_line) {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
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
            let _ = write!(io::stderr().lock(), "\r\x1b[2K{}", plain(text));
            self.open_line = true;
        }
    }

    fn keep(&mut self, event: &Event<'_>, told: bool) {
        self.close();
        if let Some(line) = lasting(event).filter(|_| told) {
            talk(&line);
        }
    }
}

/// What an event leaves on the terminal.
fn lasting(event: &Event<'_>) -> Option<String> {
    let line = match event {
        Event::Connected(url) => format!("connected to {url}"),
        Event::Reusing => "using the data that are loaded".to_owned(),
        Event::Started(record) => format!("{} · {} · seed {}", record.name, record.target.server, record.seed),
        Event::Searched(point, dimension) => knee::tried(point, *dimension),
        Event::Found(search, _) => format!("knee: {}", knee::line(search)),
        Event::Warning(text) => format!("warning: {text}"),
        Event::Starting(_) | Event::Loading(..) | Event::Waiting(..) | Event::Sampled(_) | Event::Verifying => {
            return None;
        }
    };
    Some(plain(&line).into_owned())
}

/// How many agents are there.
pub(crate) fn waiting(ready: u32, of: u32) -> String {
    format!("waiting for agents: {ready} of {of} ready")
}

/// How far loading is.
pub(crate) fn loaded(rows: u64, of: u64) -> String {
    let share = (rows * 100).checked_div(of).unwrap_or(100);
    format!("{} of {} rows ({share} %)", thousands(rows), thousands(of))
}
