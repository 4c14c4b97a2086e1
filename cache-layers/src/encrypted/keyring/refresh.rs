//! The background task that refreshes the keyset: when a refresh is due, and on request.
//!
//! No caller's future refreshes. Not in here: when a refresh is due (`schedule.rs`).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use cache_core::{CacheError, clock};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::Keyring;
use crate::keyset::Keyset;

impl Keyring {
    /// Starts the task if it is not running, for example because its runtime is gone. Without a runtime the next call
    /// starts it.
    #[cold]
    pub(super) fn start(self: &Arc<Self>) {
        if *self.closed.borrow() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        if !self.kept.swap(true, Ordering::AcqRel) {
            // Created here and not in the task, so that it also takes effect if the task never begins.
            let end = End(Arc::downgrade(self));
            runtime.spawn(keep(end, self.closed.subscribe()));
        }
    }

    fn begin(&self) {
        self.schedule().begin(&self.config, clock::now());
    }

    fn ended(&self, fetched: Result<Keyset, CacheError>) {
        match fetched {
            Ok(keyset) => self.renewed(keyset),
            Err(error) => self.failed(&error),
        }
        self.ended.send_modify(|refreshes| *refreshes += 1);
    }

    fn renewed(&self, keyset: Keyset) {
        let is_changed = {
            let old = self.keyset.load();
            old.primary_key_id() != keyset.primary_key_id() || !old.key_ids().eq(keyset.key_ids())
        };
        let primary = keyset.primary_key_id();
        let outcome = if is_changed {
            let ids: Vec<u32> = keyset.key_ids().collect();
            tracing::info!(primary, keys = ?ids, "the keyset has changed");
            self.counters.changed.fetch_add(1, Ordering::Relaxed);
            format!("changed, the primary is {primary}")
        } else {
            self.counters.unchanged.fetch_add(1, Ordering::Relaxed);
            "unchanged".to_owned()
        };
        // Also if the ids are the same: a replaced keyset may use them again.
        self.keyset.store(Arc::new(keyset));
        let failures = {
            let mut schedule = self.schedule();
            let failures = schedule.failures;
            schedule.succeeded(&self.config, clock::now(), outcome);
            failures
        };
        if failures > 0 {
            tracing::info!(failures, primary, "the keyset can be refreshed again");
        }
    }

    fn failed(&self, error: &CacheError) {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        let (age, failures) = {
            let mut schedule = self.schedule();
            let now = clock::now();
            let failures = schedule.failures + 1;
            let times = if failures == 1 { "once" } else { "repeatedly" };
            schedule.failed(&self.config, now, format!("failed {times}: {error}"));
            (now - schedule.loaded, failures)
        };
        if failures == 1 {
            tracing::warn!(%error, ?age, "the keyset cannot be refreshed; the old one stays in use until it can");
        } else {
            tracing::debug!(%error, ?age, failures, "the keyset still cannot be refreshed");
        }
    }
}

/// Refreshes until the keyring is closed or dropped.
async fn keep(end: End, mut closed: watch::Receiver<bool>) {
    loop {
        let Some((due, wake, source)) = end.0.upgrade().map(|keyring| {
            let due = keyring.schedule().due();
            (due, Arc::clone(&keyring.wake), Arc::clone(&keyring.source))
        }) else {
            return;
        };
        if clock::now() < due {
            tokio::select! {
                biased;
                // An error means that the keyring was dropped.
                _ = closed.wait_for(|closed| *closed) => return,
                () = wake.notified() => {}
                () = tokio::time::sleep_until(due) => {}
            }
            continue;
        }
        let Some(()) = end.0.upgrade().map(|keyring| keyring.begin()) else {
            return;
        };
        // The keyring is not held here, so that dropping it also stops this.
        let fetched = tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => return,
            fetched = source.fetch() => fetched,
        };
        let Some(()) = end.0.upgrade().map(|keyring| keyring.ended(fetched)) else {
            return;
        };
    }
}

/// Lets the next call start another task if this one ends early. It runs foreign code (stores, key services), which
/// may panic, on a runtime that may be shut down.
struct End(Weak<Keyring>);

impl Drop for End {
    fn drop(&mut self) {
        if let Some(keyring) = self.0.upgrade() {
            keyring.schedule().in_flight = false;
            keyring.kept.store(false, Ordering::Release);
            keyring.ended.send_modify(|refreshes| *refreshes += 1);
        }
    }
}
