//! The right to load, and what a load does with it at its end: keep the lease, store in place of exactly what was
//! seen, clean up.
//!
//! Not in here: how a load gets it (`prepare.rs`).

use bytes::Bytes;
use cache_core::Ttl;

use super::budget::Budget;
use super::core::{Core, Payload};
use super::events::ReadThroughEvent;
use super::lease::{Lease, hold_key};
use super::loaded::Loaded;

/// The right to load.
pub(super) struct Claim {
    pub(super) lease: Option<Lease>,
    /// The lease is known to be ours.
    pub(super) held: bool,
    pub(super) base: Option<Base>,
    /// A recent load of this key could not be stored, so processes do not queue for the lease.
    passing: bool,
}

/// What a failed load holds back in the fleet for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Nothing,
    Refreshes,
    Loads,
}

/// The entry that the loaded value may replace.
pub(super) struct Base {
    pub(super) raw: Bytes,
    /// It is the placeholder of this load, and is removed with it.
    pub(super) ours: bool,
}

impl Claim {
    pub(super) const fn of(lease: Option<Lease>, held: bool, base: Option<Base>) -> Self {
        Self {
            lease,
            held,
            base,
            passing: false,
        }
    }

    pub(super) const fn without_anything() -> Self {
        Self::of(None, false, None)
    }

    /// The right to load a value that is most likely not stored, in parallel with other processes.
    pub(super) const fn passing(lease: Lease) -> Self {
        Self {
            lease: Some(lease),
            held: false,
            base: None,
            passing: true,
        }
    }

    /// Renews the lease for as long as it is ours. Never returns.
    pub(super) async fn keep<V: Payload>(&self, core: &Core<V>) {
        if let Some(lease) = self.lease.as_ref().filter(|_| self.held) {
            let pause = core.config.lease().unwrap_or_default() / 3;
            loop {
                tokio::time::sleep(pause).await;
                let mut budget = Budget::new(core.config.cache_deadline.min(pause));
                if let Ok(false) = core.noted(lease.renew(&*core.client, &mut budget).await) {
                    break;
                }
            }
        }
        std::future::pending::<()>().await;
    }

    /// Stores the loaded value in place of the entry that was seen, if this load may still do so.
    pub(super) async fn store<V: Payload>(
        self,
        core: &Core<V>,
        key: &str,
        loaded: &Loaded<V>,
        created_ms: u64,
    ) {
        let keys = [key];
        let _written = core.writing(&keys);
        let mut budget = core.budget();
        let mut stored = false;
        let entry = core.entry(key, loaded, created_ms);
        let storable = entry.is_some();
        if let (Some(base), Some((entry, life))) = (&self.base, entry) {
            // A placeholder is a fence by itself: a process that took the lease has replaced it before loading, or
            // will find the value. If the cache cannot say who has the lease, the comparison decides.
            let owner = match self.lease.as_ref().filter(|_| self.held && !base.ours) {
                Some(lease) => {
                    let mut lent = budget.lend();
                    let confirmed = core.noted(lease.confirm(&*core.client, &mut lent).await);
                    budget.repaid(&lent);
                    confirmed.unwrap_or(true)
                }
                None => true,
            };
            let set = async {
                if !owner {
                    return Ok(false);
                }
                let set = core.client.compare_and_set(key, &base.raw, entry, life);
                core.noted(budget.spend(set).await)
            };
            match set.await {
                Ok(true) => stored = true,
                Ok(false) => core.note(&ReadThroughEvent::Superseded),
                Err(_) => {}
            }
        }
        if !stored {
            self.clean(core, key, &mut budget).await;
        }
        self.leave(core, storable, &mut core.budget()).await;
    }

    /// Releases the lease, or replaces it by a sign that processes need not queue for it.
    async fn leave<V: Payload>(&self, core: &Core<V>, storable: bool, budget: &mut Budget) {
        let (Some(lease), life) = (&self.lease, core.config.hit_for_miss) else {
            return;
        };
        let client = &*core.client;
        let left = match (storable, self.passing) {
            (true, true) => lease.end_passing(client, budget).await,
            (false, true) => lease.keep_passing(client, budget, life).await,
            (false, false) if self.held => lease.leave_passing(client, budget, life).await,
            _ => return self.release(core, budget).await,
        };
        // What cannot be stored or deleted here expires.
        let _expires = core.noted(left);
    }

    /// Ends a load that failed or was abandoned.
    pub(super) async fn fail<V: Payload>(self, core: &Core<V>, key: &str, hold: Hold) {
        self.clean(core, key, &mut core.budget()).await;
        // Whether the placeholder could be deleted means nothing for the lease.
        let mut budget = core.budget();
        let Some(lease) = &self.lease else { return };
        let time = core.config.failure_hold;
        if hold == Hold::Loads && !self.passing {
            let left = lease.leave_failed(&*core.client, &mut budget, time).await;
            // A lease that cannot be marked expires.
            let _expires = core.noted(left);
            return;
        }
        if hold == Hold::Refreshes && !time.is_zero() {
            let hold = hold_key(key);
            let held = core.client.set(&hold, "1 refresh".into(), Ttl::After(time));
            // Without it other processes try too.
            let _unheld = core.noted(budget.spend(held).await);
        }
        self.release(core, &mut budget).await;
    }

    /// Deletes the placeholder of this load, if it is still stored.
    async fn clean<V: Payload>(&self, core: &Core<V>, key: &str, budget: &mut Budget) {
        if let Some(base) = self.base.as_ref().filter(|base| base.ours) {
            let gone = budget.spend(core.client.compare_and_delete(key, &base.raw)).await;
            // A placeholder that cannot be deleted expires.
            let _expires = core.noted(gone);
        }
    }

    /// Releases the lease, also if it is not known whether it is ours.
    pub(super) async fn release<V: Payload>(&self, core: &Core<V>, budget: &mut Budget) {
        if let Some(lease) = &self.lease {
            // A lease that cannot be released expires.
            let _expires = core.noted(lease.release(&*core.client, budget).await);
        }
    }
}
