//! What a keyring reports about itself.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use humantime::format_duration;

/// The state of a keyring. No key material.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyringStatus {
    /// Where the keyset is.
    pub location: String,
    /// The key that the keyset is encrypted under, if it is.
    pub encrypted_under: Option<String>,
    /// The id of the key that seals.
    pub primary_key_id: u32,
    /// The ids of the keys that open, the primary's first.
    pub key_ids: Vec<u32>,
    /// The time since the keyset was last read from its store.
    pub age: Duration,
    /// How the last refresh ended, in words.
    pub outcome: String,
    /// How many refreshes in a row have failed.
    pub failures: u32,
    /// The time until the next refresh; `None` if the keyring is closed.
    pub next_refresh: Option<Duration>,
}

/// One line, for status pages.
impl fmt::Display for KeyringStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |time: Duration| format_duration(Duration::from_secs(time.as_secs()));
        write!(
            f,
            "keyset at {}: primary {}, {} key(s), read {} ago, last refresh: {}",
            self.location,
            self.primary_key_id,
            self.key_ids.len(),
            seconds(self.age),
            self.outcome
        )?;
        match self.next_refresh {
            Some(time) => write!(f, ", next in {}", seconds(time)),
            None => f.write_str(", closed"),
        }
    }
}

/// Counters of refreshes since the keyring was loaded. The load itself is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyringStats {
    /// Refreshes that brought another keyset.
    pub changed: u64,
    /// Refreshes that brought the same keyset.
    pub unchanged: u64,
    /// Refreshes that failed. The old keyset stayed in use.
    pub failed: u64,
}

/// The counters behind [`KeyringStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) changed: AtomicU64,
    pub(super) unchanged: AtomicU64,
    pub(super) failed: AtomicU64,
}

impl Counters {
    pub(super) fn stats(&self) -> KeyringStats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        KeyringStats {
            changed: get(&self.changed),
            unchanged: get(&self.unchanged),
            failed: get(&self.failed),
        }
    }
}
