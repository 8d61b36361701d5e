//! The flags of exports and summaries, whose formats come from the slice of them.

use std::path::PathBuf;

use clap::Args;
use results::export::FORMATS;

/// What `storelab export` takes.
#[derive(Debug, Args)]
#[command(after_help = formats_help())]
pub(crate) struct ExportArguments {
    /// A run: its id or the end of it, its name, or `last`.
    pub(crate) run: String,

    /// In which format; known from the file's extension where this is not given.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) format: Option<String>,

    /// Where to write it, `-` for stdout.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,
}

/// Which summaries of a run are written at its end.
#[derive(Debug, Args)]
pub(crate) struct SummaryArguments {
    /// Where to write a summary of the run too, in the format of its extension (`.json`, `.md`, `.csv` … as `storelab export`
    /// has them). May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) summary_file: Vec<PathBuf>,
}

/// A line a format.
fn formats_help() -> String {
    let lines =
        FORMATS.iter().map(|format| format!("\n  {:<16}.{:<14}{}", format.name, format.extension, format.summary));
    format!("Formats, with the extensions that they are known by:{}", lines.collect::<String>())
}
