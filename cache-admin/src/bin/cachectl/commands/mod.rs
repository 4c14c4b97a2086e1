//! What the commands do, one file each; those of one key that only call and print stand together in
//! [`key`].

mod completions;
mod config;
mod invalidate;
mod key;
mod keys;
mod ping;
mod topology;

use std::ffi::OsString;

use cache_admin::{Engine, MemoryKeys, ValkeyKeys};
use cache_core::config::{Loaded, Startup};
use cache_core::{CacheError, Pattern};
use cache_stack::{Foundation, Stack};

use crate::cli::{Command, Config};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;

/// How a command ends.
pub(crate) type Ended = Result<Exit, Failure>;

/// Does `command`.
pub(crate) async fn run(command: Command, output: &mut Output) -> Ended {
    match command {
        Command::Completions { shell } => completions::run(shell, output),
        Command::Config(Config::Check { connect }) => config::check(connect, output).await,
        command => {
            let stack = connect(output).await?;
            let ended = run_on(command, &stack, output).await;
            // The command's own end is what counts.
            let _ = stack.client.close().await;
            ended
        }
    }
}

async fn run_on(command: Command, stack: &Stack, output: &mut Output) -> Ended {
    let cache = &*stack.client;
    match command {
        Command::Ping => ping::run(cache, output).await,
        Command::Get { key } => key::get(cache, &key, output).await,
        Command::Set { key, value, ttl, nx } => key::set(cache, &key, value, ttl, nx, output).await,
        Command::Del { keys } => key::del(cache, &keys, output).await,
        Command::Exists { keys } => key::exists(cache, &keys, output).await,
        Command::Incr { key, by, ttl } => key::incr(cache, &key, by, ttl, output).await,
        Command::Expire { key, ttl } => key::expire(cache, &key, ttl, output).await,
        Command::Ttl { key } => key::ttl(cache, &key, output).await,
        Command::Keys(keys) => keys::run(&engine(stack)?, &keys, output).await,
        Command::Invalidate(invalidate) => invalidate::run(&engine(stack)?, &invalidate, output).await,
        Command::Topology => topology::run(&stack.foundation, output).await,
        Command::Completions { .. } | Command::Config(_) => Ok(Exit::Ok),
    }
}

/// The cache that the environment names.
async fn connect(output: &mut Output) -> Result<Stack, Failure> {
    let Loaded {
        mut config, warnings, ..
    } = Loaded::from_env()?;
    for warning in warnings {
        output.warning(&warning.to_string());
    }
    // Whoever waits at a terminal wants to know at once.
    config.startup = Startup::Fail;
    let stack = Box::pin(cache_stack::assemble(&config)).await?;
    if matches!(stack.foundation, Foundation::Memory(_)) {
        output.note("no server is configured (CACHE_ADDRS): this cache is empty and ends with the command");
    }
    Ok(stack)
}

fn engine(stack: &Stack) -> Result<Engine, Failure> {
    match &stack.foundation {
        Foundation::Memory(cache) => Ok(Engine::new(MemoryKeys::new(cache.clone()))),
        Foundation::Valkey(client) => Ok(Engine::new(ValkeyKeys::new(client))),
        _ => Err(CacheError::Unsupported {
            detail: "this backend's keys cannot be listed".into(),
        }
        .into()),
    }
}

/// A pattern as it was typed, byte by byte.
fn pattern(text: &OsString) -> Result<Pattern, Failure> {
    Ok(Pattern::new(text.clone().into_encoded_bytes())?)
}
