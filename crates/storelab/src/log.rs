//! What libraries have to say, on stderr: lines for people, or one JSON object a line.
//!
//! A line says in which request, run and phase it was said. These are spans of the crates in [`SPANNING`], whose fields it
//! shows; they are made whatever the level is, as long as there is a log at all. Those of client libraries are not: some of
//! these make one for every request.

use store::Result;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::settings::Settings;
use crate::terminal::Log;

/// The crates whose spans are shown.
const SPANNING: [&str; 3] = ["experiment", "server", "storelab"];

/// Begins the log as `log.level` and `log.format` have it.
///
/// # Errors
/// `Config` for a level or a format that does not exist.
pub(crate) fn begin(settings: &Settings) -> Result<()> {
    let level = level(settings.text("log.level")?.as_deref().unwrap_or_default());
    let is_json = settings.text("log.format")?.as_deref() == Some("json");
    let lines = fmt::layer().with_writer(|| Log).with_target(false);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = if is_json {
        lines.json().flatten_event(true).with_current_span(false).with_target(true).boxed()
    } else {
        lines.boxed()
    };
    let wanted = filter_fn(move |metadata| {
        let of_crate = metadata.target().split("::").next().unwrap_or_default();
        *metadata.level() <= level || is_spanned(level) && metadata.is_span() && SPANNING.contains(&of_crate)
    });
    let most = if is_spanned(level) { level.max(LevelFilter::INFO) } else { level };
    tracing_subscriber::registry().with(lines.with_filter(wanted.with_max_level_hint(most))).init();
    Ok(())
}

/// Whether there is anything for spans to be shown with.
fn is_spanned(level: LevelFilter) -> bool {
    level != LevelFilter::OFF
}

/// The level by its name, one of `table::LEVELS`.
fn level(name: &str) -> LevelFilter {
    match name {
        "OFF" => LevelFilter::OFF,
        "ERROR" | "CRITICAL" => LevelFilter::ERROR,
        "INFO" => LevelFilter::INFO,
        "DEBUG" => LevelFilter::DEBUG,
        "TRACE" => LevelFilter::TRACE,
        _ => LevelFilter::WARN,
    }
}
