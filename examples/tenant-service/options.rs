//! What the service itself needs to be told. How to reach the cache is told by `CACHE_*`, which
//! `cache-stack` reads.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

/// A small multi-tenant HTTP service that caches API keys and settings.
///
/// Uses the embedded cache unless CACHE_ADDRS names servers.
#[derive(Clone, Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Options {
    /// The port on loopback; 0 picks a free one
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,

    /// The address and port to listen on, for example 0.0.0.0:8080; wins over the port alone
    #[arg(long, env = "LISTEN", value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,

    /// How long the service still answers after it was asked to stop, while `/health/ready` says 503: as long as whatever
    /// sends it requests needs to notice
    #[arg(
        long,
        env = "SHUTDOWN_DELAY",
        value_name = "DURATION",
        default_value = "0s",
        value_parser = humantime::parse_duration
    )]
    shutdown_delay: Duration,

    /// Who may administer the cache: actors, the hashes of their tokens and their grants, as docs/admin-security.md
    /// says; without it nobody may
    #[arg(long, env = "ADMIN_TOKENS", value_name = "FILE")]
    admin_tokens: Option<PathBuf>,

    /// Where the administration listens, on loopback; port 0 picks a free one
    #[arg(
        long,
        env = "ADMIN_LISTEN",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:8377",
        requires = "admin_tokens"
    )]
    admin_listen: SocketAddr,
}

impl Options {
    /// Where to listen.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen
            .unwrap_or_else(|| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), self.port))
    }

    /// How long to go on after being asked to stop.
    pub(crate) const fn shutdown_delay(&self) -> Duration {
        self.shutdown_delay
    }

    /// Who may administer the cache, and where; `None` where it is off.
    pub(crate) fn admin(&self) -> Option<(&Path, SocketAddr)> {
        Some((self.admin_tokens.as_deref()?, self.admin_listen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_address_wins_over_a_port_on_loopback() {
        let address = |arguments: &[&str]| Options::parse_from(arguments).address().to_string();
        assert_eq!(address(&["tenant-service", "--port", "81"]), "127.0.0.1:81");
        assert_eq!(
            address(&["tenant-service", "--port", "81", "--listen", "[::1]:82"]),
            "[::1]:82"
        );
    }
    #[test]
    fn the_administration_is_off_unless_somebody_may_use_it() {
        let read = |arguments: &[&str]| Options::try_parse_from(["tenant-service"].iter().chain(arguments));
        assert_eq!(read(&[]).unwrap().admin(), None);
        assert!(read(&["--admin-listen", "127.0.0.1:1"]).is_err());
        let on = read(&["--admin-tokens", "actors.toml"]).unwrap();
        let expected = "127.0.0.1:8377".parse().unwrap();
        assert_eq!(on.admin(), Some((Path::new("actors.toml"), expected)));
    }
}
