//! What can be asked: commands, arguments, help.

use std::ffi::OsString;
use std::time::Duration;

use cache_core::Ttl;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

const AFTER_HELP: &str = "\
Exit codes:
    0  done; found; true
    1  a miss, no such key, nothing removed, not stored: false
    2  wrong usage: arguments that no backend takes
    3  partial: some primaries or slots could not be worked on
    4  the cache cannot be reached or does not answer in time
    5  refused: by the server (unauthorized, denied), or a broad pattern without a confirmation
    6  the configuration is wrong
    7  any other failure: the value does not fit the command, output cannot be written
  130  stopped by Ctrl-C

The cache is the one that the CACHE_* variables name, as for any service: `cachectl config check` says
which one that is. Results go to standard output, all else to standard error.";

const PATTERN_HELP: &str =
    "As the server matches: *, ?, [abc], [^abc], and \\ before a byte that means itself";

/// The cache from the command line.
#[derive(Debug, Parser)]
#[command(name = "cachectl", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Answer in JSON, one object per line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Set by the variable of this name, whatever its value: no colours
    #[arg(long, env = "NO_COLOR", hide = true, hide_env = true)]
    pub(crate) no_color: Option<OsString>,
    /// Say what happens behind the scenes, on standard error; more with -vv
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One round trip to every primary
    Ping,
    /// Write the value of a key to standard output, byte by byte
    Get { key: String },
    /// Store a value
    Set {
        key: String,
        /// The value, byte by byte; `-` reads it from standard input
        #[arg(allow_hyphen_values = true)]
        value: OsString,
        /// How long it lives, such as 90s, 5m or 1h 30m [default: forever]
        #[arg(long, value_parser = ttl, default_value = "forever", hide_default_value = true)]
        ttl: Ttl,
        /// Only where the key holds nothing; exit code 1 where it does
        #[arg(long)]
        nx: bool,
    },
    /// Remove keys
    Del {
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// How many of the keys exist; exit code 0 where all do
    Exists {
        #[arg(required = true, value_name = "KEY")]
        keys: Vec<String>,
    },
    /// Add to the integer at a key
    Incr {
        key: String,
        /// How much to add; may be negative
        #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
        by: i64,
        /// The life it gets where it has none, such as 1m
        #[arg(long, value_parser = ttl, default_value = "forever", hide_default_value = true)]
        ttl: Ttl,
    },
    /// Set the life of a key anew
    Expire {
        key: String,
        /// Such as 90s, 5m or 1h 30m, or `forever`
        #[arg(value_parser = ttl)]
        ttl: Ttl,
    },
    /// What is left of the life of a key
    Ttl { key: String },
    /// List the keys that match a pattern, over all primaries
    Keys(Keys),
    /// Remove the keys that match a pattern, on all primaries at once
    Invalidate(Invalidate),
    /// The configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(Config),
    /// The servers: roles, slots, versions
    Topology,
    /// Completions for a shell, on standard output
    Completions { shell: Shell },
}

#[derive(Args, Debug)]
pub(crate) struct Keys {
    #[arg(default_value = "*", help = PATTERN_HELP)]
    pub(crate) pattern: OsString,
    /// List at most so many
    #[arg(long, value_name = "N", value_parser = limit, default_value = "1000")]
    pub(crate) limit: usize,
    /// List them all; servers may then name a key twice
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Args, Debug)]
pub(crate) struct Invalidate {
    #[arg(help = PATTERN_HELP)]
    pub(crate) pattern: OsString,
    /// Count only, and show some of the keys
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many keys a dry run shows, drawn at random
    #[arg(long, value_name = "N", default_value_t = 10, requires = "dry_run")]
    pub(crate) sample: usize,
    /// Do not ask before a broad pattern
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Visit every slot once only; keys that change primaries meanwhile may survive
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) no_verify: bool,
    #[command(flatten)]
    pub(crate) run: Run,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// How long to wait for a primary that cannot be reached before the result is partial
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s")]
    pub(crate) wait: Duration,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Config {
    /// Say what the CACHE_* variables amount to, secrets hidden, or everything that is wrong with them
    Check {
        /// Connect, too
        #[arg(long)]
        connect: bool,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| "must be a time with its unit, such as 500ms, 90s or 1h 30m".to_owned())
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err("must be a whole number from 1".to_owned()),
    }
}

fn ttl(text: &str) -> Result<Ttl, String> {
    if text == "forever" {
        return Ok(Ttl::Forever);
    }
    let life = humantime::parse_duration(text)
        .map_err(|_| "must be a time with its unit, such as 500ms, 90s or 1h 30m, or forever".to_owned())?;
    if life.is_zero() {
        return Err(
            "must be more than nothing; an entry that never expires is forever, one to go is del".to_owned(),
        );
    }
    let ttl = Ttl::After(life);
    ttl.as_millis().map_err(|_| {
        "is more than the servers can hold; an entry that never expires is forever".to_owned()
    })?;
    Ok(ttl)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_life_is_a_time_with_its_unit_or_forever() {
        assert_eq!(ttl("5m"), Ok(Ttl::secs(300)));
        assert_eq!(ttl("1h 30m"), Ok(Ttl::secs(5_400)));
        assert_eq!(ttl("forever"), Ok(Ttl::Forever));
        for wrong in ["5", "0s", "-5s", "soon", "", "1001years"] {
            assert!(ttl(wrong).is_err(), "{wrong}");
        }
    }
}
