//! Where a token comes from that the cache does not have: a mint, or what this process remembers while the cache fails.
//!
//! Not in here: the cache of the fleet and its lease (`broker.rs`), and the bounds on mints (`minter.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cache_core::{Bytes, CacheError, MemoryCache};
use cache_layers::read_through::{Answer, Coordination, ReadError, RefreshAhead};
use cache_layers::{Loaded, ReadThrough, ReadThroughConfig, WallClock};
use serde::{Deserialize, Serialize};

use crate::bridge::Shared;
use crate::minter::Minter;
use crate::profiles::Order;
use crate::times::Times;
use crate::token::Minted;
use crate::trouble::Trouble;
use crate::upstream::MintError;

/// A token as the read-throughs hand it around.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Held {
    #[serde(flatten)]
    pub(crate) minted: Minted,
    /// It is what the process remembers, and was not stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) remembered: bool,
}

/// The source of one process.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    minter: Arc<Minter>,
    shared: Shared,
    /// The last token of each key, in this process alone. Its values live until the refresh point; "stale" ones are
    /// beyond it, still valid, and given where the upstream fails.
    memory: ReadThrough,
    trouble: Arc<Trouble>,
    times: Times,
}

impl Source {
    pub(crate) fn new(
        minter: Minter,
        shared: Shared,
        trouble: Arc<Trouble>,
        times: Times,
        clock: Arc<dyn WallClock>,
    ) -> Result<Self, CacheError> {
        let config = ReadThroughConfig::builder()
            .jitter(0.0)
            .refresh_ahead(RefreshAhead::Never)
            .stale_limit(times.refresh_ahead() - times.margin())
            .retry_after(times.failure_hold())
            .hard_timeout(times.mint_timeout())
            .soft_timeout(times.mint_timeout() / 4)
            // The "fleet" is this process: what is wanted is the hold after a failure.
            .coordination(Coordination::Fleet { lease: times.lease() })
            .failure_hold(times.failure_hold())
            .clock(clock);
        Ok(Self {
            minter: Arc::new(minter),
            shared,
            memory: ReadThrough::new(Arc::new(MemoryCache::default()), config.build()?),
            trouble,
            times,
        })
    }

    /// What the fleet's cache loads: a new token. While the cache fails, what this process remembers comes first, so
    /// that an outage of the cache costs the upstream as little as possible.
    pub(crate) async fn load(self, key: String, order: Order) -> Result<Loaded, MintError> {
        if !self.trouble.is_recent() {
            if let Some(minted) = self.shared.find(&order).await {
                return self.loaded(minted, self.times.margin());
            }
            let minted = self.minter.mint(&order).await?;
            self.shared.store(&order, &minted).await;
            return self.loaded(minted, self.times.margin());
        }
        let is_new = Arc::new(AtomicBool::new(false));
        let load = {
            let (source, is_new) = (self.clone(), Arc::clone(&is_new));
            move || async move {
                let minted = source.minter.mint(&order).await?;
                is_new.store(true, Ordering::Relaxed);
                source.loaded(minted, source.times.refresh_ahead())
            }
        };
        let answer = self.memory.get_or_load(&key, load).await;
        let held = held(&answer.map_err(|error| mint_error(&error))?)?;
        if is_new.load(Ordering::Relaxed) {
            return self.loaded(held.minted, self.times.margin());
        }
        let remembered = Held {
            remembered: true,
            ..held
        };
        Ok(Loaded::new(bytes(&remembered)?).not_stored())
    }

    /// Keeps what the fleet's cache answered, for the time when it does not.
    pub(crate) async fn remember(&self, key: &str, minted: &Minted) {
        let loaded = self.loaded(minted.clone(), self.times.refresh_ahead());
        let Ok(loaded) = loaded else { return };
        if let Err(error) = self.memory.put(key, loaded).await {
            tracing::debug!("not remembered: {error}");
        }
    }

    /// Returns when no mint is under way.
    pub(crate) async fn settled(&self) {
        self.memory.settled().await;
    }

    /// Good until so long before the token's own expiry.
    fn loaded(&self, minted: Minted, margin: Duration) -> Result<Loaded, MintError> {
        let until = Duration::from_millis(minted.expires_ms).saturating_sub(margin);
        let held = Held {
            minted,
            remembered: false,
        };
        let until = UNIX_EPOCH.checked_add(until).unwrap_or(SystemTime::UNIX_EPOCH);
        Ok(Loaded::new(bytes(&held)?).until(until))
    }
}

/// Reads a token as it was handed around or stored.
pub(crate) fn held(answer: &Answer) -> Result<Held, MintError> {
    let value = answer.value.as_deref().unwrap_or_default();
    // The error's text could quote some of the token: it is not passed on.
    serde_json::from_slice(value).map_err(|_| MintError::Failed {
        detail: "the cache holds something that is no token".into(),
    })
}

fn bytes(held: &Held) -> Result<Bytes, MintError> {
    let json = serde_json::to_vec(held).map_err(|_| MintError::Failed {
        detail: "the token has no JSON form".into(),
    })?;
    Ok(json.into())
}

/// Why there is no token, as the upstream's user says it.
pub(crate) fn mint_error(error: &ReadError) -> MintError {
    if let Some(error) = error.load_error::<MintError>() {
        return error.clone();
    }
    match error {
        ReadError::HeldBack { remaining } => MintError::HeldBack {
            retry_after: *remaining,
        },
        ReadError::Timeout { after } => MintError::Failed {
            detail: format!("no answer within {after:?}"),
        },
        error => MintError::Failed {
            detail: error.to_string(),
        },
    }
}
