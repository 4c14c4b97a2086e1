//! What can be asked: commands, arguments, help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use cache_admin::{Options, Pace};
use cache_core::Ttl;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::audit::AuditFile;
use crate::columns::Column;
use crate::commands::bigkeys::Bigkeys;
use crate::commands::doctor::Examine;
use crate::commands::generation::Generation;
use crate::commands::inspect::Inspect;
use crate::commands::jobs::Jobs;
use crate::commands::raw::Raw;
use crate::commands::serve::Serve;
use crate::commands::token::Tokens;
use crate::commands::top::Top;
use crate::profile::Profile;
use crate::remote::Server;
use crate::which::Filters;

const AFTER_HELP: &str = "\
Exit codes:
    0  done; found; true
    1  a miss, no such key, nothing removed, not stored: false
    2  wrong usage: arguments that no backend takes
    3  partial: some of the work is left
    4  the cache cannot be reached or does not answer in time
    5  refused: by the server (unauthorized, denied), or a broad pattern without a confirmation
    6  the configuration is wrong
    7  any other failure: the value does not fit the command, output cannot be written
    8  `doctor` found nothing but warnings
  130  stopped before its end, by Ctrl-C or SIGTERM or as a job; the report says what was done

The cache is the one that the CACHE_* variables name, as for any service: `cachectl config check` says
which one that is. Results go to standard output, all else to standard error.";

pub(crate) const PATTERN_HELP: &str =
    "As the server matches: *, ?, [abc], [^abc], and \\ before a byte that means itself";

/// The cache from the command line.
#[derive(Debug, Parser)]
#[command(name = "cachectl", version, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    #[command(flatten)]
    pub(crate) server: Server,
    #[command(flatten)]
    pub(crate) profile: Profile,
    #[command(flatten)]
    pub(crate) audit: AuditFile,
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
    /// List the keys that match a pattern, or any of several, over all primaries
    Keys(Keys),
    /// Remove the keys that match a pattern, or any of several, on all primaries at once
    Invalidate(Invalidate),
    /// Look at one key closely: type, life, size, and where it lives
    Inspect(Inspect),
    /// The generation of a namespace, by which all of its keys are put out of reach at once
    #[command(subcommand, arg_required_else_help = true)]
    Generation(Generation),
    /// How each primary does, live; q ends it
    Top(Top),
    /// What takes the most memory: all keys are looked at, or some drawn at random
    Bigkeys(Bigkeys),
    /// Look for what is wrong with the cache, and explain it
    Doctor(Examine),
    /// The table of a cache on DynamoDB
    #[command(subcommand, arg_required_else_help = true)]
    Dynamodb(crate::commands::dynamodb::Dynamodb),
    /// Removals and counts as jobs: what runs, what ran, and steering them
    Jobs(Jobs),
    /// Serve the administration over HTTP
    Serve(Box<Serve>),
    /// Ask a service whether it is ready (`--server URL`), for health checks of containers
    Health,
    /// The configuration
    #[command(subcommand, arg_required_else_help = true)]
    Config(Config),
    /// The whole cache at one look: nodes, keys, memory, and what is wrong
    Overview,
    /// The servers: roles, slots, versions
    Topology,
    /// A command of the servers that only reads, such as `INFO memory`, sent to every primary
    Raw(Raw),
    /// Bearer tokens of the administration service
    #[command(subcommand, arg_required_else_help = true)]
    Token(Tokens),
    /// Users of the servers, as a file declares them
    #[command(subcommand, arg_required_else_help = true)]
    Users(crate::commands::users::Users),
    /// Keysets of encryption: made, changed, rotated
    #[command(subcommand, arg_required_else_help = true)]
    Keyset(crate::commands::keyset::Keyset),
    /// Manual pages, one for each command, into the folder DIR
    Man {
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
    /// Moving a service over from another client
    #[command(subcommand, arg_required_else_help = true)]
    Migrate(crate::commands::migrate::Migrate),
    /// Completions for a shell, on standard output
    Completions { shell: Shell },
}

#[derive(Args, Debug)]
pub(crate) struct Keys {
    #[arg(default_value = "*", value_name = "PATTERN", help = PATTERN_HELP)]
    pub(crate) patterns: Vec<OsString>,
    /// List at most so many
    #[arg(long, value_name = "N", value_parser = limit, default_value = "1000")]
    pub(crate) limit: usize,
    /// List them all; servers may then name a key twice
    #[arg(long, conflicts_with = "limit")]
    pub(crate) all: bool,
    /// Show these of each key, too, with commas between
    #[arg(long, value_enum, value_name = "COLUMN", value_delimiter = ',')]
    pub(crate) columns: Vec<Column>,
    #[command(flatten)]
    pub(crate) run: Run,
    #[command(flatten)]
    pub(crate) filters: Filters,
}

#[derive(Args, Debug)]
pub(crate) struct Invalidate {
    #[arg(required = true, value_name = "PATTERN", help = PATTERN_HELP)]
    pub(crate) patterns: Vec<OsString>,
    /// Count only, and show some of the keys
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many keys a dry run shows, drawn at random
    #[arg(long, value_name = "N", default_value_t = 10, requires = "dry_run")]
    pub(crate) sample: usize,
    /// Do not count but estimate, from N keys drawn at random over all primaries
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), num_args = 0..=1,
          default_missing_value = "10000", require_equals = true, requires = "dry_run", conflicts_with = "sample")]
    pub(crate) estimate: Option<u64>,
    /// Do not ask, and do not count first, however many keys match
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Count first; remove nothing if more than N keys match, and never more than N. Confirms a broad pattern, too
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..),
          conflicts_with_all = ["dry_run", "yes", "confirm"])]
    pub(crate) expect: Option<u64>,
    /// With --server: what it gave to confirm this broad pattern
    #[arg(long, value_name = "TOKEN", conflicts_with = "yes")]
    pub(crate) confirm: Option<String>,
    /// Remove at most so many keys; exit code 3 where more match
    #[arg(long, value_name = "N", conflicts_with = "dry_run")]
    pub(crate) max_keys: Option<u64>,
    /// Keep in FILE how far it is, and go on from there where FILE exists; gone when all is done
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub(crate) resume: Option<PathBuf>,
    /// With --resume: go on although FILE is of another cache, or that cannot be proved
    #[arg(long, requires = "resume")]
    pub(crate) accept_cache: bool,
    /// Visit every slot once only; keys that change primaries meanwhile may survive
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) no_verify: bool,
    #[command(flatten)]
    pub(crate) run: Run,
    #[command(flatten)]
    pub(crate) filters: Filters,
}

#[derive(Args, Debug)]
pub(crate) struct Run {
    /// Look at no more than so many keys in a second, on all primaries together
    #[arg(long, value_name = "KEYS", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
    /// Go as fast as the servers do, although other clients will notice
    #[arg(long)]
    pub(crate) full_speed: bool,
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
        /// Fail if no server is configured, and the embedded cache would be used
        #[arg(long)]
        require_server: bool,
    },
}

impl Command {
    /// Whether it is about the cache, and not about this program.
    pub(crate) const fn is_about_the_cache(&self) -> bool {
        !matches!(
            self,
            Self::Completions { .. }
                | Self::Config(_)
                | Self::Dynamodb(_)
                | Self::Keyset(_)
                | Self::Man { .. }
                | Self::Migrate(_)
                | Self::Serve(_)
                | Self::Token(_)
        )
    }
}

impl Invalidate {
    /// How many keys may be removed at most.
    pub(crate) fn most_keys(&self) -> Option<u64> {
        self.max_keys.into_iter().chain(self.expect).min()
    }
}

impl Run {
    /// As the engine takes it.
    pub(crate) fn options(&self) -> Options {
        let pace = if self.full_speed { Pace::Full } else { Pace::Gentle };
        let options = Options::default().with_patience(self.wait).with_pace(pace);
        match self.rate {
            Some(rate) => options.with_rate(rate),
            None => options,
        }
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .map_err(|_| with_unit(text, "must be a time with its unit, such as 500ms, 90s or 1h 30m"))
}

/// What a time has to be; of a bare number also what was meant, perhaps.
fn with_unit(text: &str, form: &str) -> String {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number {
        format!("{form}; {text} seconds are {text}s")
    } else {
        form.to_owned()
    }
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
    let life = humantime::parse_duration(text).map_err(|_| {
        with_unit(
            text,
            "must be a time with its unit, such as 500ms, 90s or 1h 30m, or forever",
        )
    })?;
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
