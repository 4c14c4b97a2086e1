//! `cachectl users`: users of the servers, as a file declares them.
//!
//! Each subcommand has a file; how plans are shown is in [`show`].

mod apply;
#[cfg(feature = "aws")]
mod elasticache;
#[cfg(not(feature = "aws"))]
#[path = "elasticache/missing.rs"]
mod elasticache;
mod export;
mod rotate;
mod show;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cache_admin::users::{Credentials, Declaration, Node, Plan, Scope, nodes_of};
use cache_core::{CacheError, ConfigError};
use cache_stack::Foundation;
use clap::{Args, Subcommand, ValueEnum};

use super::Ended;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Subcommand)]
pub(crate) enum Users {
    /// What would have to change, on which node; exit code 1 where something would
    Plan {
        #[arg(help = FILE)]
        file: PathBuf,
        #[command(flatten)]
        place: Place,
    },
    /// Change it, on every node, replicas included; exit code 3 where not all was done
    Apply {
        #[arg(help = FILE)]
        file: PathBuf,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        patience: Patience,
    },
    /// Try by dry runs what each user may and may not; exit code 1 where one differs
    Verify {
        #[arg(help = FILE)]
        file: PathBuf,
        /// Log in as each user, too, and try it for real
        #[arg(long = "try")]
        try_out: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Change the password of one user in two steps, so that nobody is locked out
    Rotate {
        /// The user, with or without the prefix
        name: String,
        #[arg(help = FILE)]
        file: PathBuf,
        /// `add` makes both passwords good, `finish` takes away the one that is not declared any more
        #[arg(long, value_enum)]
        phase: Phase,
        /// With `finish`: how long ago the new password was added, such as 2h; older connections are in the way
        #[arg(long, value_name = "TIME", value_parser = crate::cli::duration)]
        added: Option<Duration>,
        /// Do not ask, whoever is connected
        #[arg(short, long)]
        yes: bool,
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        patience: Patience,
    },
    /// Write the users for another tool, on standard output; no server is asked
    Export {
        #[arg(help = FILE)]
        file: PathBuf,
        /// For which
        #[arg(long, value_enum)]
        format: Format,
    },
}

/// Where the users are.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "ElastiCache")]
pub(crate) struct Place {
    /// The users of ElastiCache, through the API of AWS: region and credentials are found as by the AWS CLI
    #[arg(long)]
    elasticache: bool,
    /// The id of the user group [default: elasticache.user_group of the declaration]
    #[arg(long, value_name = "ID", requires = "elasticache")]
    user_group: Option<String>,
}

/// How long ElastiCache may take.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "ElastiCache")]
pub(crate) struct Patience {
    /// With --elasticache: how long to wait for one step to take effect
    #[arg(long, value_name = "TIME", value_parser = crate::cli::duration, default_value = "15m")]
    wait: Duration,
}

const FILE: &str = "The declaration, as docs/users.md describes it";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Phase {
    Add,
    Finish,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The file of a server's setting `aclfile`
    Acl,
    /// Terraform for ElastiCache; passwords are variables
    Terraform,
    /// The input of ElastiCache's API, as JSON; without passwords
    Elasticache,
}

impl Users {
    /// Whether servers have to be asked.
    pub(super) const fn needs_servers(&self) -> bool {
        match self {
            Self::Export { .. } => false,
            Self::Plan { place, .. }
            | Self::Apply { place, .. }
            | Self::Verify { place, .. }
            | Self::Rotate { place, .. } => !place.elasticache,
        }
    }
}

/// Does what needs no server.
pub(super) async fn run_alone(users: Users, output: &mut Output) -> Ended {
    match users {
        Users::Export { file, format } => export::run(&read(&file)?, format, output),
        users => Box::pin(elasticache::run(users, output)).await,
    }
}

/// Does what is done on servers.
pub(super) async fn run(users: Users, foundation: &Foundation, output: &mut Output) -> Ended {
    let Foundation::Valkey(client) = foundation else {
        return Err(CacheError::Unsupported {
            detail: "this backend has no users; set CACHE_ADDRS to the servers".into(),
        }
        .into());
    };
    let (Users::Plan { file, .. }
    | Users::Apply { file, .. }
    | Users::Verify { file, .. }
    | Users::Rotate { file, .. }
    | Users::Export { file, .. }) = &users;
    let declaration = read(file)?;
    let credentials = credentials(&declaration)?;
    let nodes = nodes_of(client, declaration.target()).await?;
    let work = Work {
        declaration,
        credentials,
        nodes,
    };
    match users {
        Users::Plan { .. } => {
            let plan = work.plan(Scope::All).await;
            show::plan(&plan, output)?;
            Ok(exit_of(&plan))
        }
        Users::Apply { yes, .. } => apply::run(&work.plan(Scope::All).await, yes, output).await,
        Users::Verify { try_out, .. } => verify::run(&work, try_out, output).await,
        Users::Rotate {
            name,
            phase,
            added,
            yes,
            ..
        } => rotate::run(&work, &name, phase, added, yes, output).await,
        Users::Export { .. } => Ok(Exit::Ok),
    }
}

/// What all subcommands work with.
struct Work {
    declaration: Declaration,
    credentials: Credentials,
    nodes: Vec<Arc<dyn Node>>,
}

impl Work {
    async fn plan(&self, scope: Scope<'_>) -> Plan {
        Plan::make(&self.declaration, &self.credentials, &self.nodes, scope).await
    }
}

fn is_partial(plan: &Plan) -> bool {
    plan.nodes.iter().any(|node| node.error.is_some())
}

fn exit_of(plan: &Plan) -> Exit {
    if is_partial(plan) {
        Exit::Partial
    } else {
        Exit::of(plan.is_empty() && plan.blocked.is_empty())
    }
}

fn read(file: &PathBuf) -> Result<Declaration, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        let problem = format!("cannot be read: {}", error.kind());
        Failure::from(ConfigError::one(file.display().to_string(), problem))
    })?;
    Ok(Declaration::parse(&text)?)
}

fn credentials(declaration: &Declaration) -> Result<Credentials, Failure> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the declaration names variables of its own, which are no settings"
    )]
    let read = Credentials::read(declaration, |name| std::env::var(name).ok());
    Ok(read?)
}
