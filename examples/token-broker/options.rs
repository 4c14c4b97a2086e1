//! What the broker itself needs to know. How to reach the cache is configured by `CACHE_*`, which `cache-stack` reads.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::times::Times;

/// Hands out upstream access tokens: minted once for the whole fleet, cached, refreshed ahead of their expiry.
///
/// Uses the embedded cache unless CACHE_ADDRS names servers. Listens on loopback only: it asks its callers for no
/// proof of who they are.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 100, args_conflicts_with_subcommands = false)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    #[command(flatten)]
    pub(crate) serving: Serving,

    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// What to do instead of serving tokens.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve as the upstream: a stand-in for GitHub that several brokers can share
    Upstream(StandIn),
    /// Serve, ask oneself for a compressed hour, and print what came of it
    Demo(Demo),
    /// Ask brokers that run already, and print what came of it
    Load(Load),
}

/// How to serve tokens.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serving {
    /// The port on loopback; 0 picks a free one
    #[arg(long, global = true, env = "PORT", default_value_t = 8090)]
    pub(crate) port: u16,

    /// Where tokens are minted, as http://HOST:PORT; without it a stand-in runs in this process
    #[arg(long, global = true, env = "UPSTREAM_URL", value_name = "URL")]
    pub(crate) upstream: Option<String>,

    /// The apps and profiles, as JSON in the form of examples/token-broker/demo/profiles.json, which is used without it
    #[arg(long, global = true, env = "PROFILES", value_name = "FILE")]
    pub(crate) profiles: Option<PathBuf>,

    /// How many tokens this process may mint in an hour, even if the cache fails
    #[arg(long, global = true, env = "MAX_MINTS", default_value_t = 1_000, value_name = "NUMBER",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_mints: u64,

    /// How often a line says what was done, in seconds; 0 is never
    #[arg(
        long,
        global = true,
        env = "REPORT_EVERY",
        default_value_t = 60,
        value_name = "SECONDS"
    )]
    report_every: u64,
}

/// How fast time passes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Pace {
    /// Divides every span of a token's time by this, to try an hour in less: 300 makes it 12 seconds
    #[arg(long, global = true, env = "COMPRESS", value_name = "FACTOR", value_parser = factor)]
    compress: Option<f64>,
}

/// The stand-in for the upstream.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct StandIn {
    /// How many requests an hour it takes before it answers 429
    #[arg(long, default_value_t = 5_000)]
    pub(crate) limit: usize,

    /// How long an answer takes, in milliseconds
    #[arg(long, default_value_t = 50, value_name = "MS")]
    pub(crate) delay: u64,
}

/// A demonstration.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Demo {
    /// How many requests a second
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,
}

/// A load on brokers.
#[derive(Clone, Debug, Args)]
pub(crate) struct Load {
    /// A broker, as HOST:PORT; may be given several times
    #[arg(long = "broker", required = true, value_name = "HOST:PORT")]
    pub(crate) brokers: Vec<String>,

    /// How many requests a second, of all brokers together
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// How long, in seconds
    #[arg(long, default_value_t = 12)]
    pub(crate) seconds: u64,

    /// Print JSON with every token's fingerprint, first and last use
    #[arg(long)]
    pub(crate) json: bool,
}

impl Serving {
    pub(crate) const fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port)
    }

    pub(crate) fn report_every(&self) -> Option<Duration> {
        (self.report_every > 0).then(|| Duration::from_secs(self.report_every))
    }
}

impl Pace {
    /// The spans of a token, `usual` times as fast where nothing is said.
    pub(crate) fn times(self, usual: f64) -> Times {
        Times::compressed(self.compress.unwrap_or(usual))
    }
}

fn factor(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(factor) if (1.0..=Times::MAX_FACTOR).contains(&factor) => Ok(factor),
        _ => Err(format!("takes a number from 1 to {}", Times::MAX_FACTOR)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from(["token-broker"].iter().chain(arguments))
    }

    #[test]
    fn options_of_serving_are_taken_before_and_after_a_command() {
        for arguments in [["--compress", "60", "demo"], ["demo", "--compress", "60"]] {
            let options = read(&arguments).unwrap();
            assert!(matches!(options.command, Some(Command::Demo(_))));
            assert_eq!(options.pace.times(1.0).hour(), Duration::from_secs(60));
        }
    }

    #[test]
    fn factor_out_of_range_is_refused_with_the_range() {
        for wrong in ["0.5", "301", "fast"] {
            let error = read(&["--compress", wrong]).unwrap_err().to_string();
            assert!(error.contains("from 1 to 300"), "{error}");
        }
    }
}
