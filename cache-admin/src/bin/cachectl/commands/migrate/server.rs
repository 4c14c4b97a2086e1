//! What a running server says about the move: commands, refusals, eviction, keys. No value is read.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cache_core::config::{OnError, Startup, Topology};
use cache_core::{CacheClient as _, CacheConfig, CacheError, Ttl, Unavailability};
use cache_stack::Foundation;
use cache_valkey::ValkeyClient;
use cache_valkey::admin::{KeyAttributes, KeyType, Role, Usage};
use serde::Serialize;

use super::commands::{SEVERAL_KEYS, SPLIT, place};
use super::translate::Translation;
use crate::escape::plain;
use crate::failure::Failure;

/// What was seen.
#[derive(Debug, Default, Serialize)]
pub(super) struct Seen {
    pub(super) primaries: usize,
    pub(super) cluster: bool,
    /// Calls by command; `null` if the user may not ask.
    pub(super) commands: Option<BTreeMap<String, u64>>,
    /// Keys that were looked at.
    pub(super) sampled: usize,
    pub(super) types: BTreeMap<&'static str, usize>,
    pub(super) without_ttl: usize,
    pub(super) eviction: BTreeSet<String>,
    #[serde(skip)]
    errors: BTreeMap<String, u64>,
    #[serde(skip)]
    databases: BTreeMap<u32, u64>,
    #[serde(skip)]
    names: Vec<Bytes>,
}

/// Looks at the servers of `config`; what it means becomes notes.
pub(super) async fn look(
    config: &CacheConfig,
    sample: u32,
    translation: &mut Translation,
) -> Result<Seen, Failure> {
    let mut config = config.clone();
    config.startup = Startup::Fail;
    config.on_error = OnError::Fail;
    config.near = None;
    config.encryption = None;
    let stack = match Box::pin(cache_stack::assemble(&config)).await {
        Err(CacheError::Config(error)) if is_about_the_mode(&error) && as_cluster(&mut config) => {
            translation.give("CACHE_MODE", "cluster", &["the server"]);
            translation.notes.retain(|note| note.kind != "topology");
            Box::pin(cache_stack::assemble(&config)).await?
        }
        stack => stack?,
    };
    let Foundation::Valkey(client) = &stack.foundation else {
        return Err(Failure::Usage(
            "--connect: looks at servers of the Redis protocol only, and the new settings name none: set REDIS_HOST, REDIS_URL or \
             CACHE_ADDRS"
                .to_owned(),
        ));
    };
    let seen = gather(client, sample).await;
    let _ = stack.client.close().await;
    let seen = seen?;
    judge(&seen, translation);
    Ok(seen)
}

fn is_about_the_mode(error: &cache_core::ConfigError) -> bool {
    error
        .problems()
        .iter()
        .any(|problem| problem.variable == "CACHE_MODE")
}

/// Takes the servers for a cluster; whether that changes anything.
fn as_cluster(config: &mut CacheConfig) -> bool {
    let cache_core::config::Backend::Valkey(valkey) = &mut config.backend else {
        return false;
    };
    let Topology::Single { addresses, db } = &valkey.topology else {
        return false;
    };
    valkey.topology = Topology::Cluster {
        seeds: addresses.clone(),
        db: *db,
    };
    true
}

async fn gather(client: &ValkeyClient, sample: u32) -> Result<Seen, CacheError> {
    let administration = client.administration();
    let view = administration.topology().await?;
    let mut seen = Seen {
        cluster: view.cluster,
        ..Seen::default()
    };
    for member in administration.members_of(&view) {
        if member.view().role != Role::Primary {
            continue;
        }
        seen.primaries += 1;
        if let Some(usage) = member.usage().await? {
            seen.take_usage(usage);
        }
        let names = ["maxmemory", "maxmemory-policy"];
        let settings = member.settings(&names).await?.unwrap_or_default();
        let of = |name: &str| settings.get(name).map(String::as_str);
        if let (Some(limit), Some(policy)) = (of("maxmemory"), of("maxmemory-policy")) {
            let policy = if limit == "0" { "no limit" } else { policy };
            seen.eviction.insert(policy.to_owned());
        }
    }
    let primaries = administration.primaries_of(&view);
    let each = usize::try_from(sample)
        .unwrap_or(usize::MAX)
        .div_ceil(primaries.len().max(1));
    for primary in primaries {
        // A key may be drawn more than once.
        let keys: BTreeSet<Bytes> = match primary.random_keys(each).await {
            Ok(keys) => keys.into_iter().collect(),
            Err(CacheError::Denied { .. }) => continue,
            Err(error) => return Err(error),
        };
        let keys: Vec<Bytes> = keys.into_iter().collect();
        let traits = KeyAttributes {
            kind: true,
            ttl: true,
            ..KeyAttributes::default()
        };
        for described in primary.describe(&keys, traits).await? {
            let Some(description) = described.here() else {
                continue;
            };
            seen.sampled += 1;
            *seen
                .types
                .entry(description.kind.map_or("other", KeyType::name))
                .or_default() += 1;
            seen.without_ttl += usize::from(description.ttl == Some(Ttl::Forever));
        }
        seen.names.extend(keys);
    }
    if primaries_are_missing(&seen) {
        return Err(CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: "no primary answers".into(),
            outcome: cache_core::Outcome::NotApplied,
            source: None,
        });
    }
    Ok(seen)
}

const fn primaries_are_missing(seen: &Seen) -> bool {
    seen.primaries == 0
}

impl Seen {
    fn take_usage(&mut self, usage: Usage) {
        let commands = self.commands.get_or_insert_default();
        for (name, calls) in usage.commands {
            let name = name.split('|').next().unwrap_or(&name).to_owned();
            *commands.entry(name).or_default() += calls;
        }
        for (code, count) in usage.errors {
            *self.errors.entry(code).or_default() += count;
        }
        for (number, keys) in usage.databases {
            *self.databases.entry(number).or_default() += keys;
        }
    }
}

/// What was seen, in notes.
fn judge(seen: &Seen, translation: &mut Translation) {
    judge_commands(seen, translation);
    judge_slots(seen, translation);
    judge_keys(seen, translation);
    judge_eviction(seen, translation);
    if seen.databases.len() > 1 {
        let numbers: Vec<String> = seen.databases.keys().map(ToString::to_string).collect();
        let message = format!(
            "the databases {} hold keys: a client selects one (CACHE_DB), and a cluster has one unless it is Valkey from 9.0 \
             with cluster-databases",
            numbers.join(", ")
        );
        translation.note("databases", "the server", message);
    }
}

fn judge_commands(seen: &Seen, translation: &mut Translation) {
    let Some(commands) = &seen.commands else {
        return translation.note(
            "not-seen",
            "INFO",
            "this user may not run INFO: look at the commands of the service yourself",
        );
    };
    for (command, calls) in commands.iter().filter(|(_, calls)| **calls > 0) {
        if let Some((kind, advice)) = place(command).advice() {
            let about = plain(&command.to_ascii_uppercase());
            translation.note(kind, &about, format!("called {calls} times: {advice}"));
        }
    }
}

fn judge_slots(seen: &Seen, translation: &mut Translation) {
    if let Some(count) = seen.errors.get("CROSSSLOT") {
        let message = format!(
            "the server refused {count} calls because their keys were in different slots: give keys that belong together one hash tag, as in app:{{tenant}}:name"
        );
        translation.note("cross-slot", "CROSSSLOT", message);
    }
    if seen.cluster {
        return;
    }
    let Some(commands) = &seen.commands else { return };
    for command in SEVERAL_KEYS {
        let calls = commands.get(*command).copied().unwrap_or(0);
        if calls == 0 || SPLIT.contains(command) {
            continue;
        }
        let message = format!(
            "called {calls} times on a single server; a cluster refuses it unless all of its keys are in one slot: give them one hash tag"
        );
        translation.note("cross-slot", &command.to_ascii_uppercase(), message);
    }
}

fn judge_keys(seen: &Seen, translation: &mut Translation) {
    for (kind, count) in seen.types.iter().filter(|(kind, _)| **kind != "string") {
        let message = format!(
            "{count} of {} keys drawn at random are of this type: `get` refuses them, and `stack.valkey()` reads them as before",
            seen.sampled
        );
        translation.note("types", kind, message);
    }
    if seen.without_ttl > 0 {
        let message = format!(
            "{} of {} keys drawn at random never expire: give `set` a TTL, unless the key is to stay",
            seen.without_ttl, seen.sampled
        );
        translation.note("ttl", "keys", message);
    }
    let odd = seen
        .names
        .iter()
        .filter(|name| std::str::from_utf8(name).is_err())
        .count();
    if odd > 0 {
        let message = format!(
            "{odd} of {} key names are no UTF-8 text, which the client's methods take: they are reached by `command(..)` and by `cachectl invalidate` only",
            seen.names.len()
        );
        translation.note("names", "keys", message);
    }
    let beside = |name: &&Bytes| name.windows(2).any(|pair| pair == b":#");
    if let Some(name) = seen.names.iter().find(beside) {
        let message =
            "holds :#, which is how leases, locks and counters beside a key are named: choose another name";
        translation.note("names", &plain(&String::from_utf8_lossy(name)), message);
    }
    for (first, second) in colliding(&seen.names) {
        let message =
            format!("and {second} become the same name if separators are replaced on the way to a Keyspace");
        translation.note("names", &first, message);
    }
    let Some(prefix) = translation.plain("CACHE_KEY_PREFIX").map(str::to_owned) else {
        return;
    };
    let below = seen
        .names
        .iter()
        .filter(|name| name.starts_with(prefix.as_bytes()))
        .count();
    let twice = format!("{prefix}{prefix}");
    if seen.names.iter().any(|name| name.starts_with(twice.as_bytes())) {
        let message = "keys begin with it twice: the old service adds it itself, too";
        translation.note("names", "CACHE_KEY_PREFIX", message);
    } else if below > 0 {
        let message = format!(
            "{below} of {} keys begin with it already: the new service shares them, and must not write the prefix itself",
            seen.names.len()
        );
        translation.note("names", "CACHE_KEY_PREFIX", message);
    }
}

/// Names that differ in separators and letter case only, at most three pairs.
fn colliding(names: &[Bytes]) -> Vec<(String, String)> {
    let mut by_form: BTreeMap<String, String> = BTreeMap::new();
    let mut found = Vec::new();
    for name in names {
        let text = plain(&String::from_utf8_lossy(name));
        let form: String = text
            .chars()
            .map(|letter| {
                if matches!(letter, '/' | '.' | '|' | '_' | '-') {
                    ':'
                } else {
                    letter.to_ascii_lowercase()
                }
            })
            .collect();
        if let Some(first) = by_form.insert(form, text.clone())
            && first != text
        {
            found.push((first, text));
        }
    }
    found.truncate(3);
    found
}

fn judge_eviction(seen: &Seen, translation: &mut Translation) {
    if seen.eviction.is_empty() {
        let message = "the policy cannot be read by this user: look at maxmemory-policy in the server's configuration or its parameter group";
        translation.note("eviction", "maxmemory-policy", message);
    }
    for policy in &seen.eviction {
        let message = match policy.as_str() {
            "no limit" => "there is no limit of memory (maxmemory 0): set one, and allkeys-lfu",
            "noeviction" => {
                "a full server refuses every write (OOM): a cache wants allkeys-lfu or allkeys-lru"
            }
            policy if policy.starts_with("volatile-") && seen.without_ttl > 0 => {
                "only keys with a TTL are evicted, and there are keys without one: a full server may refuse writes (OOM)"
            }
            policy if policy.starts_with("volatile-") => {
                "only keys with a TTL are evicted: give every key one"
            }
            _ => continue,
        };
        translation.note("eviction", policy, message);
    }
}
