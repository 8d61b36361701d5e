//! `storelab completions` and `storelab man`, from the declared commands.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::Exit;
use crate::terminal::data;

pub(crate) fn completions(shell: Shell) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "storelab", &mut script);
    data(String::from_utf8(script).context("completion scripts are text")?.trim_end());
    Ok(Exit::Ok)
}

pub(crate) fn man(folder: Option<&Path>) -> anyhow::Result<Exit> {
    let command = Cli::command();
    if let Some(folder) = folder {
        fs::create_dir_all(folder).with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        clap_mangen::generate_to(command, folder)
            .with_context(|| format!("the pages cannot be written to {}", folder.display()))?;
    } else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page as &mut dyn io::Write)?;
        data(String::from_utf8(page).context("manual pages are text")?.trim_end());
    }
    Ok(Exit::Ok)
}
