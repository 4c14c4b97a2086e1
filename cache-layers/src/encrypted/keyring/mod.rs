//! The keyset that a process encrypts with, kept up to date.
//!
//! In here: [`Keyring`] and what it promises. When it refreshes is in `schedule.rs`, how in `refresh.rs`. Not in
//! here: what a keyset is (`crate::keyset`), and where it is stored (`cache_core::keyset`).

mod config;
mod refresh;
mod schedule;
mod source;
mod status;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, Guard};
use cache_core::keyset::{KeyEncryption, KeysetStore};
use cache_core::{CacheError, clock};
use tokio::sync::{Notify, watch};

pub use config::{KeyringConfig, KeyringConfigBuilder};
pub use status::{KeyringStats, KeyringStatus};

use self::schedule::Schedule;
use self::source::Source;
use self::status::Counters;
use crate::keyset::Keyset;

/// A keyset that is loaded and proved at start, and refreshed from then on.
///
/// # Behaviour
///
/// - [`load`](Self::load) reads the keyset, decrypts it, and seals and opens a text with it. If any of this fails
///   there is no keyring, and the error says what to check.
/// - The keyring's own task reads it again when [`refresh_every`](KeyringConfigBuilder::refresh_every) is over, or a
///   little earlier at random. It also reads it at once when a value names a key that the keyset does not have, but
///   not within [`least_gap`](KeyringConfigBuilder::least_gap) of the last refresh. No caller's future does it.
/// - A caller whose value names an unknown key waits for that refresh, for at most
///   [`unknown_key_wait`](KeyringConfigBuilder::unknown_key_wait). So a rotation whose steps come too early costs one
///   short wait, not a miss for every reader.
/// - If a refresh fails, the old keyset stays in use. There is one warning when refreshes begin to fail, and one line
///   when they succeed again. The retry comes after `least_gap`, then after twice that, and so on up to the interval
///   (exponential back-off).
/// - If the runtime of the task is gone, the next call starts it in that call's runtime.
/// - [`close`](Self::close), and dropping the keyring, stop a refresh in progress at once. The keyset can still be
///   used, but is not refreshed any more.
///
/// Key material is wiped when the last user of a keyset has finished with it, and is never shown.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
/// use cache_layers::keyset::FileKeysetStore;
/// use cache_layers::{Keyring, KeyringConfig};
///
/// # async fn example() -> Result<(), cache_core::CacheError> {
/// let store = Arc::new(FileKeysetStore::new("keyset.json"));
/// let keyring = Keyring::load(store, None, KeyringConfig::default()).await?;
/// println!("{}", keyring.status());
/// # Ok(())
/// # }
/// ```
pub struct Keyring {
    source: Arc<Source>,
    config: KeyringConfig,
    keyset: ArcSwap<Keyset>,
    schedule: Mutex<Schedule>,
    /// Wakes the task. Shared with it, so that the task can wait without keeping the keyring alive.
    wake: Arc<Notify>,
    /// How many refreshes have ended.
    ended: watch::Sender<u64>,
    closed: watch::Sender<bool>,
    /// Whether the task runs.
    kept: AtomicBool,
    /// How many layers use it.
    users: AtomicUsize,
    counters: Counters,
}

impl Keyring {
    /// Loads the keyset from `store`, opens it with `key` if it is encrypted, proves it, and keeps it up to date.
    ///
    /// # Errors
    ///
    /// [`CacheError::Config`] if there is no keyset, or if it cannot be used; [`CacheError::Corrupt`] if it is not one, or
    /// `key` did not encrypt it; [`CacheError::Unauthorized`], [`CacheError::Denied`] and [`CacheError::Unavailable`] if the
    /// store or the key's service refuses or does not answer within
    /// [`fetch_limit`](KeyringConfigBuilder::fetch_limit). The text names the location, the key, and what to check.
    pub async fn load(
        store: Arc<dyn KeysetStore>,
        key: Option<Arc<dyn KeyEncryption>>,
        config: KeyringConfig,
    ) -> Result<Arc<Self>, CacheError> {
        let source = Source::new(store, key, config.fetch_limit);
        let keyset = source.fetch().await?;
        let keyring = Arc::new(Self {
            source: Arc::new(source),
            keyset: ArcSwap::from_pointee(keyset),
            schedule: Mutex::new(Schedule::new(&config, clock::now())),
            config,
            wake: Arc::new(Notify::new()),
            ended: watch::Sender::new(0),
            closed: watch::Sender::new(false),
            kept: AtomicBool::new(false),
            users: AtomicUsize::new(0),
            counters: Counters::default(),
        });
        keyring.start();
        Ok(keyring)
    }

    /// Returns where the keyset comes from, what is in use, and how the last refresh ended.
    #[must_use]
    pub fn status(&self) -> KeyringStatus {
        let keyset = self.keyset.load();
        let is_closed = *self.closed.borrow();
        let now = clock::now();
        let schedule = self.schedule();
        KeyringStatus {
            location: self.source.location(),
            encrypted_under: self.source.encrypted_under(),
            primary_key_id: keyset.primary_key_id(),
            key_ids: keyset.key_ids().collect(),
            age: now - schedule.loaded,
            outcome: schedule.outcome.clone(),
            failures: schedule.failures,
            next_refresh: (!is_closed).then(|| schedule.due() - now),
        }
    }

    /// Returns the counters of refreshes.
    #[must_use]
    pub fn stats(&self) -> KeyringStats {
        self.counters.stats()
    }

    /// Asks for a refresh now, and waits for its end. If one is in progress, this waits for that one.
    ///
    /// # Errors
    ///
    /// [`CacheError::Closed`] if the keyring is closed.
    ///
    /// # Cancel safety
    ///
    /// The refresh goes on if the future is dropped.
    pub async fn refresh(self: &Arc<Self>) -> Result<KeyringStatus, CacheError> {
        let mut ended = self.ended.subscribe();
        self.schedule().ask_now(clock::now());
        self.wake.notify_one();
        self.run();
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(CacheError::Closed),
            _ = ended.changed() => Ok(self.status()),
        }
    }

    /// Stops refreshing, including a refresh in progress. The current keyset stays in use.
    pub fn close(&self) {
        self.closed.send_replace(true);
    }

    /// The keyset in use.
    #[inline]
    pub(super) fn current(self: &Arc<Self>) -> Guard<Arc<Keyset>> {
        self.run();
        self.keyset.load()
    }

    /// A value names the key `id`, which the keyset in use did not have. Asks for a refresh and waits for it briefly.
    /// Returns whether the keyset in use has the key now.
    pub(super) async fn learn(self: &Arc<Self>, id: u32) -> bool {
        let knows = || self.keyset.load().key_ids().any(|known| known == id);
        if knows() {
            return true;
        }
        if *self.closed.borrow() {
            return false;
        }
        // Before the request, so that an end right after it is seen.
        let mut ended = self.ended.subscribe();
        let begins = self.ask();
        if !begins || self.config.unknown_key_wait.is_zero() {
            return false;
        }
        // If it came too late, or the keyring is closed, the value is a miss.
        let _ = tokio::time::timeout(self.config.unknown_key_wait, ended.changed()).await;
        knows()
    }

    /// Asks for a refresh as soon as one may begin. Returns whether one is in progress, or begins now.
    pub(super) fn ask(self: &Arc<Self>) -> bool {
        let begins = self.schedule().ask(clock::now());
        self.wake.notify_one();
        self.run();
        begins
    }

    /// Records that one more layer uses the keyring.
    pub(super) fn attach(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
    }

    /// Records that a layer no longer uses it. Returns whether that was the last one.
    pub(super) fn detach(&self) -> bool {
        self.users.fetch_sub(1, Ordering::AcqRel) == 1
    }

    #[inline]
    fn run(self: &Arc<Self>) {
        if !self.kept.load(Ordering::Acquire) {
            self.start();
        }
    }

    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows ids and the status, no key material.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}
