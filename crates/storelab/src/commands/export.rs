//! `storelab export`: a run in a format that other programs read; and the summaries that `storelab run` writes.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal};
use std::path::Path;

use anyhow::Context;
use results::Results;
use results::export::{self, FORMATS, Format};
use store::Error;
use uuid::Uuid;

use crate::cli::{ExportArguments, SummaryArguments};
use crate::exit::Exit;
use crate::terminal::{data, table, table_text};

/// The name of a file that means stdout.
const STDOUT: &str = "-";

/// A summary that a run is to write: where, and in which format.
pub(crate) type Summary<'a> = (&'a Path, &'static Format);

pub(crate) fn run(arguments: &ExportArguments, store: Option<&str>) -> anyhow::Result<Exit> {
    let Some(asked) = &arguments.run else {
        data(&formats());
        return Ok(Exit::Ok);
    };
    let to_stdout = arguments.output.as_os_str() == STDOUT;
    let format = match &arguments.format {
        Some(name) => named(name)?,
        None if to_stdout => {
            return Err(Error::config("nothing says which format is wanted")
                .with_hint("give --format NAME, or --output FILE with an extension that says it")
                .into());
        }
        None => of_file(&arguments.output)?,
    };
    let mut results = super::open(store)?;
    let run = results.find(asked)?;
    if !to_stdout {
        write_file(&mut results, run, &arguments.output, format)?;
        data(&arguments.output.display().to_string());
        return Ok(Exit::Ok);
    }
    if !format.is_text && io::stdout().is_terminal() {
        return Err(Error::config(format!("a terminal cannot show {}", format.name))
            .with_hint("give --output FILE, or pipe it into another program")
            .into());
    }
    match results.export(run, format, &mut BufWriter::new(io::stdout())) {
        // A reader that has gone (`| head`) is not an error.
        Err(results::Error::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
        written => Ok(written.map(|()| Exit::Ok)?),
    }
}

fn named(name: &str) -> anyhow::Result<&'static Format> {
    export::named(name).map_err(|near| {
        let error = Error::config(format!("there is no format `{name}`"));
        let hint =
            near.map_or("`storelab export --formats` lists them".to_owned(), |near| format!("did you mean `{near}`?"));
        error.with_hint(hint).into()
    })
}

/// The formats in a table.
fn formats() -> String {
    let mut rows = table(["FORMAT", "EXTENSION", "WHAT IS IN IT"]);
    for format in FORMATS {
        rows.add_row([format.name, &format!(".{}", format.extension), format.summary]);
    }
    table_text(&rows)
}

/// The summaries that are asked for. Their formats are known before anything runs.
pub(crate) fn summaries(arguments: &SummaryArguments) -> anyhow::Result<Vec<Summary<'_>>> {
    arguments.summary_file.iter().map(|path| Ok((path.as_path(), of_file(path)?))).collect()
}

/// Writes the summaries of a run that has ended.
pub(crate) fn write_summaries(results: &mut Results, run: Uuid, summaries: &[Summary<'_>]) -> anyhow::Result<()> {
    for (path, format) in summaries {
        write_file(results, run, path, format)?;
    }
    Ok(())
}

fn of_file(path: &Path) -> anyhow::Result<&'static Format> {
    export::of_file(path).ok_or_else(|| {
        let extensions: Vec<_> = FORMATS.iter().map(|format| format!(".{}", format.extension)).collect();
        Error::config(format!("no format is known by the extension of {}", path.display()))
            .with_hint(format!("formats are known by {}", extensions.join(" ")))
            .into()
    })
}

/// Writes a run into a file, whose folder is made where it is absent.
fn write_file(results: &mut Results, run: Uuid, path: &Path, format: &Format) -> anyhow::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
    }
    let cannot = || format!("{} cannot be written", path.display());
    let mut out = BufWriter::new(File::create(path).with_context(cannot)?);
    results.export(run, format, &mut out).with_context(cannot)?;
    Ok(())
}
