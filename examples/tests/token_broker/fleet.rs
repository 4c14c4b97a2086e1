//! Brokers that share a cache and an upstream, and a load on them, in compressed time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Deserialize;
use tests::until;

use crate::backing::Backing;
use crate::http::Request;
use crate::process::{self, Process};

/// By how much time is compressed: an hour is 12 seconds. With it go the spans below.
const FACTOR: &str = "300";
/// From the mint of a token to its refresh, in milliseconds.
pub(crate) const TO_REFRESH: u64 = 10_000;
/// How long before its expiry a token leaves the cache.
pub(crate) const MARGIN: u64 = 440;
/// The least validity that is handed out.
pub(crate) const LEAST: u64 = 400;
/// How long nobody tries again after a failed mint.
pub(crate) const HOLD: u64 = 2_000;

/// App and profile.
pub(crate) type Name = (String, String);

/// How long a test waits for something that must happen.
const LIMIT: Duration = Duration::from_secs(60);

const APPS: usize = 5;
const PROFILES: usize = 4;
/// How many tokens are asked for.
pub(crate) const TOKENS: usize = APPS * PROFILES;

/// A fleet at work.
#[derive(Debug)]
pub(crate) struct Fleet {
    upstream: Process,
    pub(crate) brokers: Vec<Process>,
    variables: Vec<(String, String)>,
}

/// What the upstream did.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Ledger {
    pub(crate) minted: u64,
    pub(crate) limited: u64,
    pub(crate) failed: u64,
    pub(crate) requests: Vec<Entry>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    app: String,
    profile: String,
    pub(crate) at_ms: u64,
    pub(crate) outcome: String,
    pub(crate) token: Option<String>,
}

/// What the load saw.
#[derive(Debug, Deserialize)]
pub(crate) struct Report {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) tokens_given: u64,
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) failed: BTreeMap<String, u64>,
    pub(crate) least_valid_ms: Option<u64>,
    pub(crate) took_ms: [f64; 3],
    uses: Vec<Use>,
    pub(crate) refused_at: BTreeMap<String, [u64; 2]>,
}

/// When a token was handed out.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Use {
    app: String,
    profile: String,
    pub(crate) token: String,
    pub(crate) expires_ms: u64,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
}

/// What a broker says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) cache: String,
    remembered: usize,
    pub(crate) mints: u64,
    pub(crate) served: Served,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Served {
    pub(crate) near: u64,
    pub(crate) cache: u64,
    pub(crate) mint: u64,
    pub(crate) memory: u64,
}

impl Fleet {
    /// An upstream and so many brokers on `backing`, with tokens that no other fleet asks for.
    pub(crate) async fn start(brokers: usize, backing: &Backing) -> Result<Self> {
        let mut variables = backing.variables.clone();
        variables.extend([
            ("COMPRESS".to_owned(), FACTOR.to_owned()),
            ("PROFILES".to_owned(), profiles()?.display().to_string()),
        ]);
        let upstream = Process::start(&["upstream"], &variables).await?;
        variables.push(("UPSTREAM_URL".to_owned(), format!("http://{}", upstream.address)));
        let mut fleet = Self {
            upstream,
            brokers: Vec::new(),
            variables,
        };
        for _ in 0..brokers {
            let broker = Process::start(&[], &fleet.variables).await?;
            ensure!(broker.greeting.contains(backing.described), "{}", broker.greeting);
            fleet.brokers.push(broker);
        }
        Ok(fleet)
    }

    /// Puts `rate` requests a second on all brokers together for so many seconds.
    pub(crate) async fn load(&self, rate: u32, seconds: u32) -> Result<Report> {
        let (rate, seconds) = (rate.to_string(), seconds.to_string());
        let mut arguments = vec!["load", "--json", "--rate", &rate, "--seconds", &seconds];
        for broker in &self.brokers {
            arguments.extend(["--broker", &broker.address]);
        }
        let printed = process::run(&arguments, &self.variables).await?;
        Ok(serde_json::from_str(&printed)?)
    }

    pub(crate) async fn ledger(&self) -> Result<Ledger> {
        self.upstream.json("/ledger").await
    }

    /// Lets the upstream fail, or work again.
    pub(crate) async fn set_failing(&self, failing: bool) -> Result<()> {
        let switch = Request::get("/switches").method("PUT");
        let switched = self
            .upstream
            .ask(switch.json(&format!(r#"{{"failing":{failing}}}"#)));
        ensure!(switched.await.status == 200);
        Ok(())
    }

    pub(crate) async fn statuses(&self) -> Result<Vec<Status>> {
        let mut statuses = Vec::new();
        for broker in &self.brokers {
            statuses.push(broker.json("/status").await?);
        }
        Ok(statuses)
    }

    /// Waits until the upstream's ledger is as wanted.
    pub(crate) async fn until(&self, what: &str, is_it: impl Fn(&Ledger) -> bool) -> Result<Ledger> {
        until(LIMIT, what, || async {
            let ledger = self.ledger().await?;
            Ok(is_it(&ledger).then_some(ledger))
        })
        .await
    }

    /// Waits until every broker has handed out every token.
    pub(crate) async fn until_all_know_all(&self) -> Result<()> {
        until(LIMIT, "all tokens in all brokers", || async {
            let statuses = self.statuses().await?;
            let all = statuses.iter().all(|status| status.remembered == TOKENS);
            Ok(all.then_some(()))
        })
        .await
    }
}

impl Ledger {
    /// Whether every token was minted.
    pub(crate) fn has_all(&self) -> bool {
        let minted = |entries: &Vec<Entry>| entries.iter().any(|entry| entry.outcome == "minted");
        self.by_name().values().filter(|entries| minted(entries)).count() == TOKENS
    }

    /// The requests of each token, in order.
    pub(crate) fn by_name(&self) -> BTreeMap<Name, Vec<Entry>> {
        let mut by_name: BTreeMap<Name, Vec<Entry>> = BTreeMap::new();
        for entry in &self.requests {
            let name = (entry.app.clone(), entry.profile.clone());
            by_name.entry(name).or_default().push(entry.clone());
        }
        for entries in by_name.values_mut() {
            entries.sort_by_key(|entry| entry.at_ms);
        }
        by_name
    }
}

impl Report {
    /// How long the slowest answer took.
    pub(crate) fn longest_ms(&self) -> u64 {
        let longest = Duration::from_secs_f64(self.took_ms[2] / 1_000.0);
        u64::try_from(longest.as_millis()).unwrap_or(u64::MAX) + 1
    }

    /// The tokens that were handed out under each name, in the order of their first use.
    pub(crate) fn by_name(&self) -> BTreeMap<Name, Vec<Use>> {
        let mut by_name: BTreeMap<Name, Vec<Use>> = BTreeMap::new();
        for used in &self.uses {
            let name = (used.app.clone(), used.profile.clone());
            by_name.entry(name).or_default().push(used.clone());
        }
        for uses in by_name.values_mut() {
            uses.sort_by_key(|used| used.first_ms);
        }
        by_name
    }

    /// The fingerprints of the tokens of `name`.
    pub(crate) fn tokens(&self, name: &Name) -> BTreeSet<String> {
        let of_name = |used: &&Use| (&used.app, &used.profile) == (&name.0, &name.1);
        self.uses
            .iter()
            .filter(of_name)
            .map(|used| used.token.clone())
            .collect()
    }
}

/// A file of profiles whose digest, and so whose keys, no other fleet has.
fn profiles() -> Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let own = format!("{}-{number}", std::process::id());
    let mut apps = serde_json::Map::new();
    for app in 0..APPS {
        let mut profiles = serde_json::Map::new();
        for profile in 0..PROFILES {
            let content = serde_json::json!({ "repositories": ["web"], "permissions": [own] });
            profiles.insert(format!("profile-{profile}"), content);
        }
        apps.insert(format!("app-{app}"), serde_json::json!({ "profiles": profiles }));
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("profiles-{own}.json"));
    std::fs::write(&path, serde_json::json!({ "apps": apps }).to_string())?;
    Ok(path)
}
