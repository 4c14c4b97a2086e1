//! What a load may count on, and what it does with it when it ends: keep the lease, store in place of
//! exactly what was seen, clean up.
//!
//! Not in here: how it came to it (`prepare.rs`).

use bytes::Bytes;
use cache_core::Ttl;

use super::budget::Budget;
use super::core::{Core, Payload};
use super::events::ReadThroughEvent;
use super::lease::{Lease, hold_key};
use super::loaded::Loaded;

/// What a load may count on.
pub(super) struct Claim {
    pub(super) lease: Option<Lease>,
    /// The lease is known to be ours.
    pub(super) held: bool,
    pub(super) base: Option<Base>,
    /// A load of this key was not to be stored a moment ago: nobody queues for the lease.
    passing: bool,
}

/// What a failed load keeps the fleet from trying for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Nothing,
    Refreshes,
    Loads,
}

/// The entry that the loaded value may replace.
pub(super) struct Base {
    pub(super) raw: Bytes,
    /// It was put there for this load, and goes with it.
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

    /// The right to load what is most likely not stored, beside others who do.
    pub(super) const fn passing(lease: Lease) -> Self {
        Self {
            lease: Some(lease),
            held: false,
            base: None,
            passing: true,
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
        let entry = core.entry(key, loaded, created_ms);
        let storable = entry.is_some();
        if let (Some(base), Some((entry, life))) = (&self.base, entry) {
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
        self.leave(core, storable, &mut core.budget()).await;
    }

    /// Gives the lease back, or leaves behind in its place that nobody need queue for it.
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
        // What cannot be left behind, or taken away, expires.
        let _expires = core.noted(left);
    }

    /// Ends a load that failed, or that nobody wanted any more.
    pub(super) async fn fail<V: Payload>(self, core: &Core<V>, key: &str, hold: Hold) {
        self.clean(core, key, &mut core.budget()).await;
        // Whether the sign could be taken away says nothing about the lease.
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
            // Without it other processes try, too.
            let _unheld = core.noted(budget.spend(held).await);
        }
        self.release(core, &mut budget).await;
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
