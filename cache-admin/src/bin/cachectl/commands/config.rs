//! `cachectl config check`.

use cache_core::config::{Backend, Loaded, Origin, Startup};
use cache_core::{CacheClient as _, CacheConfig, CacheError, ConfigError, Outcome, Unavailability, clock};
use cache_stack::Foundation;
use cache_valkey::ValkeyClient;
use serde_json::{Map, Value, json};

use super::Ended;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;
use crate::table::{Side, Table};

/// Says what the environment amounts to, or everything that is wrong with it or refused.
pub(super) async fn check(connect: bool, require_server: bool, output: &mut Output) -> Ended {
    let loaded = crate::profile::loaded()?;
    cache_stack::check(&loaded.config)?;
    let is_embedded = matches!(loaded.config.backend, Backend::Memory(_));
    if is_embedded && require_server {
        return Err(ConfigError::one(
            "CACHE_TYPE",
            "no server is configured, the embedded cache would be used: set CACHE_ADDRS or CACHE_URL; with \
             CACHE_TYPE=valkey a service that has no address does not start",
        )
        .into());
    }
    let connected = if connect && !is_embedded {
        Some(try_it(&loaded.config, output).await)
    } else {
        None
    };
    if output.is_json() {
        output.json(&as_json(&loaded, connected.as_ref()))?;
    } else {
        show(&loaded, output)?;
    }
    match connected {
        None => {
            if is_embedded && !output.is_json() {
                output.line("")?;
                output.line(
                    "no server: the embedded cache, empty at each start and not shared; CACHE_TYPE=valkey makes a service \
                     without an address fail at start, --require-server makes this command fail",
                )?;
            }
            Ok(Exit::Ok)
        }
        Some(Ok(elapsed)) => {
            if !output.is_json() {
                let works = output.colours().green("connected");
                output.line("")?;
                output.line(&format!(
                    "{works}: {}, {}",
                    answered(&loaded.config.backend),
                    human::time(elapsed)
                ))?;
            }
            Ok(Exit::Ok)
        }
        Some(Err(failure)) => Err(failure),
    }
}

fn answered(backend: &Backend) -> &'static str {
    match backend {
        Backend::Valkey(_) => "every primary answered",
        _ => "the table answered",
    }
}

async fn try_it(config: &CacheConfig, output: &mut Output) -> Result<std::time::Duration, Failure> {
    let mut config = config.clone();
    config.startup = Startup::Fail;
    let started = clock::now();
    let stack = Box::pin(cache_stack::assemble(&config)).await?;
    let cache = stack.client;
    cache.ping().await?;
    let elapsed = clock::now() - started;
    // An operator may have no keys; a service that may not read has no cache.
    if let Err(error @ CacheError::Denied { .. }) = cache.get("permission-check").await {
        output.warning(&format!("this user is not one of a service: {error}"));
    }
    let served = match &stack.foundation {
        Foundation::Valkey(client) => every_slot_is_served(client).await,
        _ => Ok(()),
    };
    let _ = cache.close().await;
    served.map(|()| elapsed)
}

/// Fails if keys of some slots can be neither read nor written: every primary that serves may well answer.
async fn every_slot_is_served(client: &ValkeyClient) -> Result<(), Failure> {
    let view = client.administration().topology().await?;
    let unserved: usize = view.uncovered.iter().map(ExactSizeIterator::len).sum();
    if unserved == 0 {
        return Ok(());
    }
    let shared = view
        .shared_addresses
        .iter()
        .find(|shared| !shared.slots.is_empty());
    let reason = shared.map_or_else(String::new, |shared| {
        format!(
            ": {} primaries all go by the address {}",
            shared.nodes.len(),
            shared.address
        )
    });
    Err(CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: format!("{unserved} of 16384 slots are not served{reason}; cachectl doctor says what to do")
            .into(),
        outcome: Outcome::NotApplied,
        source: None,
    }
    .into())
}

fn show(loaded: &Loaded, output: &mut Output) -> Result<(), Failure> {
    for warning in &loaded.warnings {
        output.warning(&warning.to_string());
    }
    let mut settings = Table::new(&[
        ("SETTING", Side::Left),
        ("VALUE", Side::Left),
        ("FROM", Side::Left),
    ]);
    let written: Vec<_> = loaded
        .settings
        .iter()
        .filter(|setting| setting.origin != Origin::Default)
        .collect();
    for setting in &written {
        settings.row(vec![
            setting.name.to_owned(),
            setting.value.clone(),
            setting.origin.to_string(),
        ]);
    }
    let colours = output.colours();
    if written.is_empty() {
        output.line("nothing is set: all defaults")?;
    } else {
        for line in settings.lines(colours) {
            output.line(&line)?;
        }
    }
    output.line("")?;
    let topics = loaded.config.describe();
    let width = topics
        .iter()
        .map(|(topic, _)| topic.chars().count())
        .max()
        .unwrap_or(0);
    for (topic, words) in topics {
        output.line(&format!("{topic:<width$}  {words}"))?;
    }
    Ok(())
}

fn as_json(loaded: &Loaded, connected: Option<&Result<std::time::Duration, Failure>>) -> Value {
    let settings: Vec<Value> = loaded
        .settings
        .iter()
        .map(|setting| json!({ "name": setting.name, "value": setting.value, "from": setting.origin.to_string() }))
        .collect();
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let topics: Map<String, Value> = loaded
        .config
        .describe()
        .into_iter()
        .map(|(topic, words)| (topic.to_owned(), words.into()))
        .collect();
    json!({
        "settings": settings,
        "warnings": warnings,
        "would_use": topics,
        "server": !matches!(loaded.config.backend, Backend::Memory(_)),
        "connected": connected.map(Result::is_ok),
    })
}
