//! A fleet over one embedded cache, an upstream that does what it is told, and the time of day.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cache_core::clock::{self, Instant};
use cache_core::{CacheClient, MemoryCache};
use cache_layers::WallClock;
use cache_mock::{Faults, FaultyCache};

use crate::broker::{Broker, Handed, Parts, Refused};
use crate::profiles::{Order, Profiles};
use crate::times::Times;
use crate::token::{AccessToken, Minted};
use crate::upstream::{MintError, Minting, Upstream};

pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// A time of day that passes with virtual time.
#[derive(Clone, Copy, Debug)]
pub(super) struct TestClock(Instant);

impl WallClock for TestClock {
    fn since_epoch(&self) -> Duration {
        Duration::from_secs(1_700_000_000) + self.0.elapsed()
    }
}

/// An upstream that counts, and fails or dawdles as it is told.
#[derive(Clone, Debug)]
pub(super) struct Double {
    clock: TestClock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) failing: bool,
    pub(super) delay: Duration,
    pub(super) validity: Duration,
    /// When it was asked, counted from the start.
    pub(super) asked: Vec<Duration>,
}

impl Double {
    pub(super) fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
    }

    /// When it was asked.
    pub(super) fn asked(&self) -> Vec<Duration> {
        self.state().asked.clone()
    }

    pub(super) fn count(&self) -> usize {
        self.state().asked.len()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upstream for Double {
    fn mint<'a>(&'a self, order: &'a Order) -> Minting<'a> {
        let (number, delay, failing, validity) = {
            let at = self.clock.0.elapsed();
            let mut state = self.state();
            state.asked.push(at);
            (state.asked.len(), state.delay, state.failing, state.validity)
        };
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            if failing {
                return Err(MintError::Failed {
                    detail: "told to".into(),
                });
            }
            let expires = self.clock.since_epoch() + validity;
            Ok(Minted {
                token: AccessToken::new(format!("ghs_{}_{number}", order.app)),
                expires_ms: u64::try_from(expires.as_millis()).unwrap(),
            })
        })
    }
}

/// One cache, and the processes on it.
#[derive(Debug)]
pub(super) struct Rig {
    pub(super) memory: Arc<MemoryCache>,
    pub(super) upstream: Double,
    pub(super) clock: TestClock,
}

impl Rig {
    pub(super) fn new() -> Self {
        let clock = TestClock(clock::now());
        let state = State {
            failing: false,
            delay: Duration::from_millis(300),
            validity: 60 * MINUTE,
            asked: Vec::new(),
        };
        Self {
            memory: Arc::new(MemoryCache::default()),
            upstream: Double {
                clock,
                state: Arc::new(Mutex::new(state)),
            },
            clock,
        }
    }

    /// A process, and what can be done to its way to the cache.
    pub(super) fn process(&self) -> (Broker, Faults) {
        self.process_with(1_000)
    }

    pub(super) fn process_with(&self, most_mints: u64) -> (Broker, Faults) {
        self.process_of(Profiles::load(None).unwrap(), most_mints)
    }

    pub(super) fn process_of(&self, profiles: Profiles, most_mints: u64) -> (Broker, Faults) {
        let cache = FaultyCache::new(Arc::clone(&self.memory));
        let faults = cache.faults().clone();
        let cache: Arc<dyn CacheClient> = Arc::new(cache);
        let broker = Broker::new(Parts {
            profiles,
            cache,
            near: None,
            upstream: Box::new(self.upstream.clone()),
            most_mints,
            times: Times::compressed(1.0),
            clock: Arc::new(self.clock),
        });
        (broker.unwrap(), faults)
    }

    pub(super) fn fleet<const N: usize>(&self) -> [(Broker, Faults); N] {
        std::array::from_fn(|_| self.process())
    }

    /// What has passed since the start.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.0.elapsed()
    }

    /// Lets time pass until so long after the start.
    pub(super) async fn until(&self, at: Duration) {
        tokio::time::sleep(at.saturating_sub(self.elapsed())).await;
    }
}

/// Asks for the usual token. Every token that is handed out has the minimum of validity.
pub(super) async fn ask(broker: &Broker) -> Result<Handed, Refused> {
    let handed = broker.token("acme-ci", "default", None).await;
    if let Ok(handed) = &handed {
        assert!(handed.valid_for >= 2 * MINUTE, "{handed:?}");
    }
    handed
}

/// The token that is handed out.
pub(super) async fn token(broker: &Broker) -> String {
    ask(broker).await.unwrap().minted.token.expose().to_owned()
}
