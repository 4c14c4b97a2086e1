//! The broker, free of HTTP: one token per app and profile for the whole fleet, minted once, refreshed ahead of its
//! expiry, never handed out too late.
//!
//! The cache of the fleet is a read-through over the cache that `CACHE_*` configures; what it loads from is `source.rs`.
//! What callers are told is in `routes/`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, CacheError};
use cache_layers::read_through::{Coordination, ReadError, RefreshAhead};
use cache_layers::{ReadThrough, ReadThroughConfig, Tiered, WallClock};

use crate::bridge::Shared;
use crate::keys::Keys;
use crate::minter::Minter;
use crate::profiles::{NoSuchToken, Order, Profiles};
use crate::source::{Source, held, mint_error};
use crate::tally::{Tally, Totals};
use crate::times::Times;
use crate::token::Minted;
use crate::trouble::Trouble;
use crate::upstream::{MintError, Upstream};

/// What the cache may cost a request. More than a service gives its cache as a rule: a mint takes longer, and the
/// upstream counts it.
const BUDGET: Duration = Duration::from_secs(1);

/// How many keys are known by their last token before the notes start over.
const MOST_NOTES: usize = 4_096;

/// What a broker is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) profiles: Profiles,
    pub(crate) cache: Arc<dyn CacheClient>,
    /// The near cache within `cache`, if there is one: for its counts alone.
    pub(crate) near: Option<Arc<Tiered>>,
    pub(crate) upstream: Box<dyn Upstream>,
    /// How many tokens this process may mint in an hour.
    pub(crate) most_mints: u64,
    pub(crate) times: Times,
    pub(crate) clock: Arc<dyn WallClock>,
}

/// Hands out tokens.
#[derive(Debug)]
pub(crate) struct Broker {
    profiles: Profiles,
    keys: Keys,
    cache: Arc<dyn CacheClient>,
    near: Option<Arc<Tiered>>,
    fleet: ReadThrough,
    source: Source,
    trouble: Arc<Trouble>,
    /// Which token of each key is remembered: when its load began.
    remembered: Mutex<HashMap<String, SystemTime>>,
    tally: Arc<Tally>,
    times: Times,
    clock: Arc<dyn WallClock>,
    begun: Instant,
}

/// A token for a caller.
#[derive(Debug)]
pub(crate) struct Handed {
    pub(crate) order: Order,
    pub(crate) minted: Minted,
    /// At least the minimum.
    pub(crate) valid_for: Duration,
    pub(crate) origin: Origin,
}

/// Where a token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Cache,
    Mint,
    /// From this process's memory, while the cache fails.
    Memory,
}

/// Why a caller gets none.
#[derive(Clone, Debug)]
pub(crate) enum Refused {
    NoSuch(NoSuchToken),
    Input(CacheError),
    /// There is no valid token, and none can be minted.
    NoToken {
        why: MintError,
        cache_fails: bool,
    },
}

impl Broker {
    pub(crate) fn new(parts: Parts) -> Result<Self, CacheError> {
        let Parts {
            profiles,
            cache,
            near,
            upstream,
            most_mints,
            times,
            clock,
        } = parts;
        let trouble = Arc::new(Trouble::default());
        let tally = Arc::new(Tally::default());
        let minter = Minter::new(
            upstream,
            most_mints,
            times,
            Arc::clone(&clock),
            Arc::clone(&tally),
        );
        let shared = Shared::new(Arc::clone(&cache), times, Arc::clone(&clock));
        let source = Source::new(minter, shared, Arc::clone(&trouble), times, Arc::clone(&clock))?;
        let config = ReadThroughConfig::builder()
            // The token's own expiry decides: what was minted together may be refreshed together.
            .jitter(0.0)
            .refresh_ahead(RefreshAhead::Before(times.refresh_ahead() - times.margin()))
            .coordination(Coordination::Fleet { lease: times.lease() })
            .failure_hold(times.failure_hold())
            .retry_after(times.failure_hold())
            .hard_timeout(times.mint_timeout() + BUDGET * 2)
            .cache_deadline(BUDGET)
            .clock(Arc::clone(&clock))
            .listener(Arc::clone(&trouble) as _);
        Ok(Self {
            keys: Keys::new(&profiles)?,
            profiles,
            fleet: ReadThrough::new(Arc::clone(&cache), config.build()?),
            cache,
            near,
            source,
            trouble,
            remembered: Mutex::default(),
            tally,
            times,
            clock,
            begun: clock::now(),
        })
    }

    /// A token for `app` and `profile`, valid for the minimum at least.
    pub(crate) async fn token(
        &self,
        app: &str,
        profile: &str,
        repository: Option<&str>,
    ) -> Result<Handed, Refused> {
        let order = self
            .profiles
            .order(app, profile, repository)
            .map_err(Refused::NoSuch)?;
        self.tally.request();
        let handed = self.hand_out(order).await;
        if handed.is_err() {
            self.tally.refusal();
        }
        handed
    }

    async fn hand_out(&self, order: Order) -> Result<Handed, Refused> {
        let key = self.keys.token(&order);
        let own = Arc::new(AtomicBool::new(false));
        let load = {
            let (source, key, order, own) =
                (self.source.clone(), key.clone(), order.clone(), Arc::clone(&own));
            move || async move {
                let loaded = source.load(key, order).await;
                own.store(true, Ordering::Relaxed);
                loaded
            }
        };
        let answer = match self.fleet.get_or_load(&key, load).await {
            Ok(answer) => answer,
            Err(ReadError::Input(error)) => return Err(Refused::Input(error)),
            Err(error) => return Err(self.no_token(mint_error(&error))),
        };
        let held = held(&answer).map_err(|why| self.no_token(why))?;
        let valid_for = held.minted.valid_for(self.clock.since_epoch());
        if valid_for < self.times.min_validity() {
            return Err(self.no_token(MintError::TooShort { valid_for }));
        }
        let origin = if held.remembered {
            self.tally.answer_from_memory();
            Origin::Memory
        } else {
            if self.is_new(&key, answer.created) {
                self.source.remember(&key, &held.minted).await;
            }
            if own.load(Ordering::Relaxed) {
                Origin::Mint
            } else {
                Origin::Cache
            }
        };
        Ok(Handed {
            order,
            minted: held.minted,
            valid_for,
            origin,
        })
    }

    /// Whether this process has not seen the token that was loaded at `created`.
    fn is_new(&self, key: &str, created: SystemTime) -> bool {
        let mut remembered = self.notes();
        if remembered.get(key) == Some(&created) {
            return false;
        }
        if remembered.len() >= MOST_NOTES {
            remembered.clear();
        }
        remembered.insert(key.to_owned(), created);
        true
    }

    /// How many tokens are remembered.
    pub(crate) fn remembered(&self) -> usize {
        self.notes().len()
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<String, SystemTime>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_token(&self, why: MintError) -> Refused {
        let cache_fails = self.trouble.is_recent();
        tracing::warn!(cache_fails, "no token: {why}");
        Refused::NoToken { why, cache_fails }
    }

    /// What happened since the start.
    pub(crate) fn totals(&self) -> Totals {
        let near = self.near.as_ref().map_or(0, |near| near.stats().hits);
        let hits = self.fleet.stats().hits;
        self.tally
            .totals(hits, near, self.times, clock::now() - self.begun)
    }

    /// Whether the cache answers.
    pub(crate) async fn ping(&self) -> Result<(), CacheError> {
        match tokio::time::timeout(BUDGET, self.cache.ping()).await {
            Ok(answered) => answered,
            Err(_) => Err(CacheError::Timeout {
                stage: cache_core::Stage::Call,
                after: BUDGET,
            }),
        }
    }

    /// Returns when no mint is under way and all that was minted has been stored.
    pub(crate) async fn settled(&self) {
        self.fleet.settled().await;
        self.source.settled().await;
    }
}
