//! `cachectl`: the cache from the command line, for people and for scripts.
//!
//! Reads the same `CACHE_*` variables as a service. [`cli`] says what can be asked, each file of
//! [`commands`] does one of these, [`exit`] says what the exit codes mean, [`output`] is the only way to
//! the terminal. What is done to many keys is the library's work, not this program's.

mod audit;
mod board;
mod cli;
mod columns;
mod commands;
mod confirm;
mod escape;
mod exit;
mod failure;
mod human;
mod job;
mod output;
mod profile;
mod progress;
mod remote;
mod screen;
mod source;
mod stop;
mod summary;
mod table;
mod which;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use tracing_subscriber::EnvFilter;

use cli::Cli;
use exit::Exit;
use failure::Failure;
use output::Output;

#[tokio::main]
async fn main() -> ExitCode {
    // What clap refuses ends here, with exit code 2.
    let matches = Cli::command().get_matches();
    let mut cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let mut output = Output::of_process(&cli.global);
    log(&cli, &output);
    if let Err(failure) = cli.global.profile.put_to_use() {
        output.failure(&failure);
        return failure.exit().into();
    }
    cli.global.server.take_from_profile(&matches);
    cli.global.audit.clone().put_to_use(&matches);
    let server = &cli.global.server;
    let result = match server.url() {
        Some(url) if cli.command.is_about_the_cache() => {
            Box::pin(remote::run(server, url, cli.command, &mut output)).await
        }
        _ => Box::pin(commands::run(cli.command, &mut output)).await,
    };
    let exit = result.unwrap_or_else(|failure| {
        output.failure(&failure);
        failure.exit()
    });
    match output.flush() {
        Ok(()) => exit.into(),
        // Whoever reads has had enough, which changes nothing about what was done.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => exit.into(),
        Err(error) => {
            output.failure(&Failure::Output(error));
            Exit::Failed.into()
        }
    }
}

/// What the library has to say goes to standard error if it was asked for; what goes wrong in a service always.
fn log(cli: &Cli, output: &Output) {
    let level = match cli.global.verbose {
        0 if matches!(cli.command, cli::Command::Serve(_)) => "warn",
        0 => return,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(level))
        .with_ansi(output.has_error_colours())
        .with_writer(std::io::stderr)
        .init();
}
