//! `cachectl man DIR`.

use std::path::Path;

use clap::CommandFactory as _;

use super::Ended;
use crate::cli::Cli;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

pub(super) fn run(folder: &Path, output: &mut Output) -> Ended {
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), folder));
    written.map_err(|error| Failure::Usage(format!("DIR {}: {error}", folder.display())))?;
    output.note(&format!("written to {}; man -l shows one", folder.display()));
    Ok(Exit::Ok)
}
