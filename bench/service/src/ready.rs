//! How quickly a service is ready, and what it has in memory while nobody asks anything.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::outcome::{Figure, Unit};
use crate::process::{Memory, Service};

/// From the start of the program to its first answer that it is ready.
const READY_MS_MAX: f64 = 200.0;

/// Resident.
const IDLE_MIB_MAX: f64 = 40.0;

/// How long nobody asks anything before memory is looked at.
pub(crate) const IDLE: Duration = Duration::from_secs(10);

/// Starts as often, each time until it is ready.
pub(crate) fn starts(program: &Path, home: &Path, store: &str, rounds: usize) -> anyhow::Result<Figure> {
    let mut milliseconds = Vec::new();
    for _ in 0..rounds {
        let service = Service::start(program, home)?;
        milliseconds.push(service.until_ready()?.as_secs_f64() * 1e3);
        service.stop()?;
    }
    Ok(Figure::new(format!("ready, {store}"), Unit::Milliseconds, milliseconds).at_most(READY_MS_MAX))
}

/// Memory of services that have just been started and then been idle.
pub(crate) fn idle(program: &Path, home: &Path, store: &str, rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let mut seen = Vec::new();
    for _ in 0..rounds {
        let service = Service::start(program, home)?;
        service.until_ready()?;
        thread::sleep(IDLE);
        seen.push(service.memory()?);
        service.stop()?;
    }
    Ok(memory(&format!("idle, {store}"), &seen))
}

/// Memory that was seen, resident first and then what of it is whose.
pub(crate) fn memory(name: &str, seen: &[Memory]) -> Vec<Figure> {
    let figure = |what: &str, part: fn(&Memory) -> f64| {
        Figure::new(format!("{name}: {what}"), Unit::Mebibytes, seen.iter().map(part).collect())
    };
    vec![
        figure("resident", |memory| memory.resident).at_most(IDLE_MIB_MAX),
        figure("of that allocated", |memory| memory.anonymous),
        figure("of that pages of files, the program's own", |memory| memory.of_files),
        figure("proportional (PSS)", |memory| memory.proportional),
    ]
}
