//! The flags of exports and summaries.

use std::path::PathBuf;

use clap::Args;

/// What `storelab export` takes.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// A run: its id or the end of it, its name, or `last`.
    #[arg(required_unless_present = "formats")]
    pub(crate) run: Option<String>,

    /// In which format (`--formats` lists them); known from the file's extension where this is not given.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) format: Option<String>,

    /// Where to write it, `-` for stdout.
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub(crate) output: PathBuf,

    /// List the formats, with the extensions that they are known by.
    #[arg(long, conflicts_with_all = ["run", "format", "output"])]
    pub(crate) formats: bool,
}

/// Which summaries of a run are written at its end.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SummaryArguments {
    /// Where to write a summary of the run too, in the format of its extension (`.json`, `.md`, `.csv` … as `storelab export`
    /// has them). May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) summary_file: Vec<PathBuf>,
}
