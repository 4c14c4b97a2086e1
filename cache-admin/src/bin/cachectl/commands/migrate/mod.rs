//! `cachectl migrate check`: the new settings of a service that has another client, and what to look at before it moves.
//!
//! `environment` reads the old variables, `names` says what they mean, `translate` makes the new settings, `server` asks
//! a running server, `show` prints. Not in here: a word of any secret.

mod accept;
mod commands;
mod environment;
mod names;
mod server;
mod show;
mod translate;
mod url;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Ended;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Migrate {
    /// Print the CACHE_* settings that take the place of REDIS_*, VALKEY_* and the like, and what to look at; secrets
    /// are not shown
    Check(Check),
}

#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Read the old variables from FILE (NAME=value lines, or properties of Spring) [default: those of this process]
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Connect with the new settings, and look at the server's commands, keys and settings, too
    #[arg(long)]
    connect: bool,
    /// How many keys are drawn at random and looked at, without their values
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "connect",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    sample: u32,
}

pub(super) async fn run(command: &Migrate, output: &mut Output) -> Ended {
    let Migrate::Check(arguments) = command;
    let variables = environment::read(arguments.env_file.as_deref())?;
    let mut translation = translate::translate(&variables);
    let accepted = accept::accept(&mut translation);
    let seen = match (&accepted, arguments.connect) {
        (Ok(config), true) => Some(Box::pin(server::look(config, arguments.sample, &mut translation)).await),
        _ => None,
    };
    show::show(&translation, &accepted, seen.as_ref(), output)?;
    match (accepted, seen) {
        (Err(error), _) => Err(Failure::from(error)),
        (Ok(_), Some(Err(failure))) => Err(failure),
        _ => Ok(Exit::Ok),
    }
}
