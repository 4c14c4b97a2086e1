//! What the commands do, one file each; those of one key that only call and print stand together in
//! [`key`].

pub(crate) mod bigkeys;
mod completions;
mod config;
pub(crate) mod doctor;
pub(crate) mod dynamodb;
mod estimate;
pub(crate) mod generation;
pub(crate) mod inspect;
mod invalidate;
pub(crate) mod jobs;
pub(crate) mod key;
mod keys;
pub(crate) mod keyset;
mod man;
pub(crate) mod migrate;
pub(crate) mod overview;
mod ping;
pub(crate) mod raw;
pub(crate) mod serve;
pub(crate) mod token;
pub(crate) mod top;
mod topology;
pub(crate) mod users;

use std::ffi::OsString;

use cache_admin::Engine;
use cache_core::Pattern;
use cache_core::config::{Backend, Loaded, OnError, Startup};
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
        Command::Man { folder } => man::run(&folder, output),
        Command::Config(Config::Check {
            connect,
            require_server,
        }) => config::check(connect, require_server, output).await,
        Command::Token(tokens) => token::run(tokens, output),
        Command::Keyset(keyset) => Box::pin(keyset::run(keyset, output)).await,
        Command::Migrate(arguments) => Box::pin(migrate::run(&arguments, output)).await,
        Command::Doctor(arguments) => Box::pin(doctor::run(arguments, output)).await,
        Command::Jobs(arguments) => Box::pin(jobs::run_local(arguments, output)).await,
        Command::Users(users) if !users.needs_servers() => users::run_alone(users, output).await,
        Command::Dynamodb(table) => Box::pin(dynamodb::run(table, output)).await,
        Command::Serve(arguments) => Box::pin(serve::run(&arguments, output)).await,
        Command::Health => Err(Failure::Usage(
            "health asks a service: give --server URL; to ask the cache itself: cachectl ping".to_owned(),
        )),
        Command::Topology => {
            let failure = match connect(output).await {
                Ok(stack) => return run_and_close(Command::Topology, &stack, output).await,
                Err(failure) => failure,
            };
            // What the seeds say of the cluster helps to see why the nodes that they name cannot be reached.
            match connect_with(Some(Startup::Degrade), output).await {
                Ok(stack) if failure.is_unavailable() => {
                    topology::show_unreachable(&stack, output).await?;
                    let _ = stack.client.close().await;
                }
                _ => {}
            }
            Err(failure)
        }
        command => {
            let stack = connect(output).await?;
            run_and_close(command, &stack, output).await
        }
    }
}

async fn run_and_close(command: Command, stack: &Stack, output: &mut Output) -> Ended {
    let ended = run_on(command, stack, output).await;
    // The command's own end is what counts.
    let _ = stack.client.close().await;
    ended
}

async fn run_on(command: Command, stack: &Stack, output: &mut Output) -> Ended {
    let cache = &*stack.client;
    match command {
        Command::Ping => ping::run(cache, output).await,
        Command::Get { key } => key::get(cache, &key, output).await,
        Command::Set { key, value, ttl, nx } => key::set(cache, &key, value, ttl, nx, output).await,
        Command::Del { keys } => key::del(stack, &keys, output).await,
        Command::Exists { keys } => key::exists(cache, &keys, output).await,
        Command::Incr { key, by, ttl } => key::incr(cache, &key, by, ttl, output).await,
        Command::Expire { key, ttl } => key::expire(cache, &key, ttl, output).await,
        Command::Ttl { key } => key::ttl(cache, &key, output).await,
        Command::Keys(keys) => keys::run(&engine(stack)?, stack.key_prefix(), &keys, output).await,
        Command::Invalidate(invalidate) => {
            note_database(stack, output);
            invalidate::run(&engine(stack)?, stack.key_prefix(), &invalidate, output).await
        }
        Command::Overview => overview::run(stack, output).await,
        Command::Topology => topology::run(&stack.foundation, output).await,
        Command::Inspect(arguments) => inspect::run(stack, arguments, output).await,
        Command::Generation(generation) => generation::run(stack, generation, output).await,
        Command::Top(arguments) => top::run(stack, &arguments, output).await,
        Command::Bigkeys(arguments) => bigkeys::run(stack, &arguments, output).await,
        Command::Raw(arguments) => raw::run(stack, &arguments, output).await,
        Command::Users(users) => users::run(users, &stack.foundation, output).await,
        Command::Completions { .. }
        | Command::Config(_)
        | Command::Doctor(_)
        | Command::Dynamodb(_)
        | Command::Health
        | Command::Jobs(_)
        | Command::Keyset(_)
        | Command::Man { .. }
        | Command::Migrate(_)
        | Command::Serve(_)
        | Command::Token(_) => Ok(Exit::Ok),
    }
}

/// Says which database is worked on, if it is not the first one.
fn note_database(stack: &Stack, output: &mut Output) {
    if let Backend::Valkey(valkey) = &stack.config().backend
        && valkey.topology.db() != 0
    {
        let db = valkey.topology.db();
        output.note(&format!(
            "in database {db} only (CACHE_DB); other databases stay as they are"
        ));
    }
}

/// The cache that the environment names; it has to answer.
async fn connect(output: &mut Output) -> Result<Stack, Failure> {
    // Whoever waits at a terminal wants to know at once.
    connect_with(Some(Startup::Fail), output).await
}

/// The cache that the environment names; without `startup`, started as `CACHE_STARTUP` says.
async fn connect_with(startup: Option<Startup>, output: &mut Output) -> Result<Stack, Failure> {
    let Loaded {
        mut config, warnings, ..
    } = crate::profile::loaded()?;
    // Who connects a second time has heard them.
    if startup != Some(Startup::Degrade) {
        for warning in warnings {
            output.warning(&warning.to_string());
        }
    }
    if let Some(startup) = startup {
        config.startup = startup;
    }
    // And what is the case: no error is passed over, and nothing is answered from a copy.
    config.on_error = OnError::Fail;
    config.near = None;
    let stack = Box::pin(cache_stack::assemble(&config)).await?;
    if matches!(stack.foundation, Foundation::Memory(_)) {
        output.note(
            "no server is configured (CACHE_ADDRS, CACHE_URL): this cache is empty and ends with the command",
        );
    }
    Ok(stack)
}

fn engine(stack: &Stack) -> Result<Engine, Failure> {
    Ok(Engine::of(&stack.foundation)?)
}

/// Which cache it is, for the audit file; `None` if there is no file, or the servers do not say.
async fn cache_for_audit(engine: &Engine) -> Option<String> {
    crate::audit::path()?;
    let identity = engine.identity().await.ok()?;
    identity.is_known().then(|| identity.to_string())
}

/// A pattern as it was typed, byte by byte.
fn pattern(text: &OsString) -> Result<Pattern, Failure> {
    Ok(Pattern::new(text.clone().into_encoded_bytes())?)
}

/// A key as callers of the client know it: without what `CACHE_KEY_PREFIX` puts before it.
fn shown<'a>(key: &'a [u8], prefix: &str) -> &'a [u8] {
    key.strip_prefix(prefix.as_bytes()).unwrap_or(key)
}
