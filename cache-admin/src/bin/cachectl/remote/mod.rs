//! The same commands against a remote service (`--server`): what is done to keys is done there.
//!
//! Not in here: HTTP itself ([`client`]), and what a job looks like ([`crate::job`]).

mod client;
mod events;
mod health;
mod invalidate;
mod keys;
mod one;
mod problem;
mod target;
mod watch;
mod whole;

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, Args};

pub(crate) use client::Client;
pub(crate) use events::Events;
pub(crate) use watch::Watch;

use crate::cli::Command;
use crate::commands::{self, Ended};
use crate::failure::Failure;
use crate::output::Output;
use crate::profile;

/// Which service, and how it is reached.
#[derive(Args, Clone, Debug)]
pub(crate) struct Server {
    /// Have a service do it (`cachectl serve`), such as `https://cache-admin.internal`; for keys, del,
    /// invalidate, jobs, inspect, overview, generation, top, bigkeys, doctor and health
    #[arg(
        long,
        global = true,
        env = "CACHECTL_SERVER",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) server: Option<String>,
    /// Work on the cache itself, although `CACHECTL_SERVER` names a service
    #[arg(long, global = true)]
    no_server: bool,
    /// The token for the service, on the first line of FILE
    #[arg(long, global = true, env = "CACHECTL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The authority of the service's certificate, in PEM [default: those of the system]
    #[arg(long, global = true, env = "CACHECTL_SERVER_CA", value_name = "FILE")]
    server_ca: Option<PathBuf>,
    /// The certificate to show to the service, and those between it and its authority, in PEM
    #[arg(long, global = true, env = "CACHECTL_CLIENT_CERT", value_name = "FILE")]
    client_cert: Option<PathBuf>,
    /// The private key of --client-cert, in PEM
    #[arg(long, global = true, env = "CACHECTL_CLIENT_KEY", value_name = "FILE")]
    client_key: Option<PathBuf>,
    /// Speak plain HTTP to a service that is not on this machine; whoever is in between reads the token
    #[arg(long, global = true)]
    plain_http: bool,
}

impl Server {
    /// With a profile in use: what is not on the command line comes from it, and not from the environment.
    pub(crate) fn take_from_profile(&mut self, matches: &ArgMatches) {
        let taken = |id: &str, name: &str| {
            let is_typed = matches.value_source(id) == Some(ValueSource::CommandLine);
            profile::setting(name).filter(|_| !is_typed)
        };
        if let Some(url) = taken("server", "CACHECTL_SERVER") {
            self.server = url.map(str::to_owned);
        }
        for (id, name, place) in [
            ("token_file", "CACHECTL_TOKEN_FILE", &mut self.token_file),
            ("server_ca", "CACHECTL_SERVER_CA", &mut self.server_ca),
            ("client_cert", "CACHECTL_CLIENT_CERT", &mut self.client_cert),
            ("client_key", "CACHECTL_CLIENT_KEY", &mut self.client_key),
        ] {
            if let Some(path) = taken(id, name) {
                *place = path.map(PathBuf::from);
            }
        }
    }

    /// The service, if one is to be asked.
    pub(crate) fn url(&self) -> Option<&str> {
        self.server.as_deref().filter(|_| !self.no_server)
    }
}

/// Has the service do `command`.
pub(crate) async fn run(server: &Server, url: &str, command: Command, output: &mut Output) -> Ended {
    let client = Client::new(target::Target::read(server, url)?);
    match command {
        Command::Health => health::run(&client, output).await,
        Command::Del { keys } => one::del(&client, &keys, output).await,
        Command::Overview => whole::overview(&client, output).await,
        Command::Keys(arguments) => keys::run(&client, &arguments, output).await,
        Command::Invalidate(arguments) => invalidate::run(&client, &arguments, output).await,
        Command::Jobs(arguments) => commands::jobs::run_remote(client, arguments, output).await,
        Command::Inspect(arguments) => one::inspect(&client, arguments, output).await,
        Command::Generation(generation) => one::generation(&client, generation, output).await,
        Command::Top(arguments) => whole::top(&client, &arguments, output).await,
        Command::Bigkeys(arguments) => whole::bigkeys(&client, &arguments, output).await,
        Command::Doctor(arguments) => whole::doctor(&client, &arguments, output).await,
        other => Err(Failure::Usage(format!(
            "{} does not work through a service, and nothing was done; with --no-server it works on the cache that the \
             CACHE_* variables name",
            name(&other)
        ))),
    }
}

/// The name of a command that no service does.
const fn name(command: &Command) -> &'static str {
    match command {
        Command::Ping => "ping",
        Command::Get { .. } => "get",
        Command::Set { .. } => "set",
        Command::Exists { .. } => "exists",
        Command::Incr { .. } => "incr",
        Command::Expire { .. } => "expire",
        Command::Ttl { .. } => "ttl",
        Command::Raw(_) => "raw",
        Command::Topology => "topology",
        Command::Users(_) => "users",
        _ => "this command",
    }
}
