//! Real servers for tests, benchmarks and for trying things out: started on free loopback ports, stopped
//! whatever happens to the process that started them.
//!
//! What is NOT in here: the product. Nothing in this library uses the client crates, so that a defect in
//! them cannot hide behind itself; servers are steered by the small client in [`resp`].
//!
//! # Which one to use
//!
//! | wanted | write |
//! |---|---|
//! | any server, shared with other tests | [`shared()`]`(Kind::Cluster).await?.addresses` (use keys of your own, never FLUSHALL) |
//! | a server of one's own, to hurt it | [`Server::start`], [`Cluster::start`], [`SentinelSet::start`] |
//! | a network that misbehaves | [`Proxy::start`] in front of a server |
//! | instances of a service behind one address | [`Balancer::start`] |
//! | a server that answers what no real one would | [`FakeServer::start`] |
//! | certificates, good and bad | [`Certificates::generate`] |
//! | an emulator of AWS | [`Emulator::start_or_skip`] |
//! | containers | [`Docker::find_or_skip`] |
//! | containers of a compose file | [`Compose`] |
//! | a program in Python | [`Python::find_or_skip`] |
//! | the program `cachectl` | [`cachectl()`] |
//! | a program at a terminal | [`Terminal::start`] |
//!
//! ```no_run
//! use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};
//!
//! # async fn example() -> anyhow::Result<()> {
//! let server = Server::start(ServerOptions::new(Version::Valkey8).password("quiet")).await?;
//! server.call(&["SET", "greeting", "hello"]).await?;
//! server.pause()?; // connections stay open, nothing answers
//! server.resume()?;
//!
//! let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
//! let victim = cluster.primary_of(866).await?;
//! cluster.kill(victim)?;
//! let heir = cluster.wait_for_new_primary(866, victim).await?;
//! assert_ne!(heir, victim);
//! # Ok(())
//! # }
//! ```
//!
//! # How nothing is left behind
//!
//! Each server runs under a few lines of `sh` that hold the read end of a pipe. Dropping the handle, a
//! panic, or `kill -9` of the test process closes the pipe; the script then kills its server (and no other
//! process) and removes the server's folder.
//!
//! # Where the programs come from
//!
//! The binary on `PATH`; else the machine's package manager, which downloads packages that are unpacked
//! under `.servers/` at the root of the repository without installing them (no system service starts); else
//! the official container image. Standard error says what is being done. See [`install`].

pub mod balancer;
pub mod certificates;
pub mod cluster;
pub mod docker;
pub mod emulator;
pub mod fake;
pub mod fleet;
pub mod install;
pub mod log;
pub mod probe;
pub mod program;
pub mod proxy;
pub mod python;
pub mod resp;
pub mod rotation;
pub mod sentinel;
pub mod server;
pub mod shared;
pub mod skip;
pub mod terminal;
pub mod twemproxy;
pub mod wait;

pub use balancer::Balancer;
pub use certificates::{Certificates, Identity, OddCertificates};
pub use cluster::{Cluster, ClusterOptions};
pub use docker::{Compose, Docker};
pub use emulator::{Emulator, EmulatorKind, aws_variables};
pub use fake::{Answer, FakeServer};
pub use install::Version;
pub use log::Log;
pub use probe::p99_while;
pub use program::cachectl;
pub use proxy::Proxy;
pub use python::Python;
pub use resp::{Connection, Reply};
pub use sentinel::{SentinelOptions, SentinelSet};
pub use server::{Server, ServerOptions, Tls};
pub use shared::{Kind, Shared, shared};
pub use terminal::Terminal;
pub use twemproxy::Twemproxy;
pub use wait::until;
