//! `cachectl completions SHELL`.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::Ended;
use crate::cli::Cli;
use crate::exit::Exit;
use crate::output::Output;

pub(super) fn run(shell: Shell, output: &mut Output) -> Ended {
    let mut script = Vec::new();
    generate(shell, &mut Cli::command(), "cachectl", &mut script);
    output.raw(&script)?;
    Ok(Exit::Ok)
}
