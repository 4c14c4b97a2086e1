//! What to measure, and for how long: the command line.

use std::fmt;
use std::time::Duration;

use benches::Options;
use clap::{Parser, ValueEnum};

const TASKS: [usize; 5] = [1, 16, 64, 256, 1024];

/// Measures GET and SET beside other clients. Without arguments it measures everything.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo bench -p benches --bench data_path --")]
pub(crate) struct Arguments {
    /// Takes a quick look: fewer and shorter rounds, no numbers to quote.
    #[arg(long)]
    quick: bool,
    /// Sets the number of rounds.
    #[arg(long)]
    rounds: Option<usize>,
    /// Sets how long one contender is under load in one round.
    #[arg(long, value_name = "MILLISECONDS")]
    slice: Option<u64>,
    /// Measures these servers only.
    #[arg(long, value_delimiter = ',')]
    server: Vec<Servers>,
    /// Measures these operations only.
    #[arg(long, value_delimiter = ',')]
    operation: Vec<Operation>,
    /// Measures with so many tasks at once only.
    #[arg(long, value_delimiter = ',')]
    tasks: Vec<usize>,
    /// Measures these contenders only.
    #[arg(long, value_delimiter = ',')]
    contender: Vec<Name>,
    /// Cargo says this.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The servers that contenders talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Servers {
    /// One server.
    Single,
    /// A cluster of three primaries.
    Cluster,
}

/// The call that tasks repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// Reads a key that exists.
    Get,
    /// Writes a key, without a TTL.
    Set,
}

/// A contender, in the order of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Name {
    /// The `redis` crate: one multiplexed connection, or its `ClusterConnection`.
    Redis,
    /// `fred`: one client.
    Fred,
    /// `rustis`: one client.
    Rustis,
    /// `deadpool-redis`: ten connections, a checkout per call; on a single server only.
    Deadpool,
    /// This project as services use it: `Arc<dyn CacheClient>` with guard and metrics.
    #[value(name = "cache-stack")]
    Stack,
    /// This project's `ValkeyClient` with nothing around it.
    #[value(name = "ValkeyClient")]
    Bare,
}

impl Arguments {
    /// How long to measure.
    pub(crate) fn options(&self) -> Options {
        let Options { rounds, slice } = if self.quick { Options::QUICK } else { Options::FULL };
        Options {
            rounds: self.rounds.unwrap_or(rounds).max(1),
            slice: self.slice.map_or(slice, Duration::from_millis),
        }
    }

    /// How many tasks call at once, point by point.
    pub(crate) fn tasks(&self) -> Vec<usize> {
        if self.tasks.is_empty() {
            TASKS.to_vec()
        } else {
            self.tasks.clone()
        }
    }

    /// The operations to measure.
    pub(crate) fn operations(&self) -> impl Iterator<Item = Operation> {
        [Operation::Get, Operation::Set]
            .into_iter()
            .filter(|operation| takes(&self.operation, operation))
    }

    /// Whether to measure these servers.
    pub(crate) fn takes_servers(&self, servers: Servers) -> bool {
        takes(&self.server, &servers)
    }

    /// Whether to measure this contender.
    pub(crate) fn takes_contender(&self, name: Name) -> bool {
        takes(&self.contender, &name)
    }

    /// Whether all operations, tasks and contenders are to be measured.
    pub(crate) const fn is_complete(&self) -> bool {
        self.operation.is_empty() && self.tasks.is_empty() && self.contender.is_empty()
    }
}

/// No choice takes everything.
fn takes<T: PartialEq>(chosen: &[T], candidate: &T) -> bool {
    chosen.is_empty() || chosen.contains(candidate)
}

impl fmt::Display for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Single => "single",
            Self::Cluster => "cluster",
        })
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Set => "SET",
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Redis => "redis",
            Self::Fred => "fred",
            Self::Rustis => "rustis",
            Self::Deadpool => "deadpool",
            Self::Stack => "cache-stack",
            Self::Bare => "ValkeyClient",
        })
    }
}
