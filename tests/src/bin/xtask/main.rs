//! What a person runs around the code: `cargo xtask test` and `cargo xtask servers`.
//!
//! No checks of the code live here: those are tests, or lines of `.ci/run`.

mod servers;
mod test;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Result;

const USAGE: &str = "\
usage:
  cargo xtask test [ARGUMENTS OF NEXTEST]
      starts all servers once, runs all tests against them, stops the servers;
      with arguments, runs the tests that they choose: cargo xtask test -p cache-valkey failover
  cargo xtask servers [KIND] [-- COMMAND]
      starts servers to play with (single, tls, sentinel, cluster, cluster-tls, valkey9, valkey9-cluster,
      redis6, redis7; default: cluster), prints the variables that lead a service there, and waits for Ctrl-C;
      with a command, sets the variables for it, runs it, and stops the servers when it ends
";

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        ["help" | "--help" | "-h"] | ["test" | "servers", "help" | "--help" | "-h"] => help(),
        ["test", chosen @ ..] => test::run(chosen).await,
        ["servers"] => servers::run("cluster", &[]).await,
        ["servers", "--", command @ ..] => servers::run("cluster", command).await,
        ["servers", kind] => servers::run(kind, &[]).await,
        ["servers", kind, "--", command @ ..] => servers::run(kind, command).await,
        _ => {
            #[expect(
                clippy::print_stderr,
                reason = "the usage text is for the person at the terminal"
            )]
            {
                eprint!("{USAGE}");
            }
            Ok(ExitCode::from(2))
        }
    }
}

/// Prints the usage, as it was asked for.
fn help() -> Result<ExitCode> {
    std::io::stdout().write_all(USAGE.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
