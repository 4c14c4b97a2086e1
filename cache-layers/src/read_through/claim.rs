//! What a load may count on, and what it does with it when it ends: keep the lease, store in place of
//! exactly what was seen, clean up.
//!
//! Not in here: how it came to it (`prepare.rs`).

use bytes::Bytes;

use super::budget::Budget;
use super::core::{Core, Payload};
use super::events::ReadThroughEvent;
use super::lease::Lease;
use super::loaded::Loaded;

/// What a load may count on.
pub(super) struct Claim {
    pub(super) lease: Option<Lease>,
    /// The lease is known to be ours.
    pub(super) held: bool,
    pub(super) base: Option<Base>,
}

/// The entry that the loaded value may replace.
pub(super) struct Base {
    pub(super) raw: Bytes,
    /// It was put there for this load, and goes with it.
    pub(super) ours: bool,
}

impl Claim {
    pub(super) const fn without_anything() -> Self {
        Self {
            lease: None,
            held: false,
            base: None,
        }
    }

    /// Renews the lease for as long as it is ours; never returns.
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

    /// Stores what was loaded in place of what was seen, if this is still the one to do so.
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
        if let Some(base) = &self.base
            && let Some((entry, life)) = core.entry(key, loaded, created_ms)
        {
            // A sign is a fence by itself: whoever took the lease meanwhile has replaced it before loading, or
            // will find the value. A cache that cannot say leaves the decision to the comparison.
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
        self.release(core, &mut core.budget()).await;
    }

    /// Ends a load that failed, or that nobody wanted any more.
    pub(super) async fn fail<V: Payload>(self, core: &Core<V>, key: &str, given_up: bool) {
        self.clean(core, key, &mut core.budget()).await;
        // Whether the sign could be taken away says nothing about the lease.
        let mut budget = core.budget();
        if given_up {
            return self.release(core, &mut budget).await;
        }
        if let Some(lease) = &self.lease {
            let hold = core.config.failure_hold;
            let left = lease.leave_failed(&*core.client, &mut budget, hold).await;
            // A lease that cannot be marked expires.
            let _expires = core.noted(left);
        }
    }

    /// Takes away the sign of this load, if it still stands.
    async fn clean<V: Payload>(&self, core: &Core<V>, key: &str, budget: &mut Budget) {
        if let Some(base) = self.base.as_ref().filter(|base| base.ours) {
            let gone = budget.spend(core.client.compare_and_delete(key, &base.raw)).await;
            // A sign that cannot be taken away expires.
            let _expires = core.noted(gone);
        }
    }

    /// Gives the lease back; also one of which it is not known whether it is ours.
    pub(super) async fn release<V: Payload>(&self, core: &Core<V>, budget: &mut Budget) {
        if let Some(lease) = &self.lease {
            // A lease that cannot be given back expires.
            let _expires = core.noted(lease.release(&*core.client, budget).await);
        }
    }
}
