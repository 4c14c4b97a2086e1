//! What a flight does before its load: reads of the cache, the lease, and the wait for another holder.
//!
//! Not in here: the load itself (`journey.rs`), and what comes after it (`claim.rs`).

use std::time::Duration;

use cache_core::{Outcome as Certainty, Ttl, clock};

use super::budget::Budget;
use super::claim::{Base, Claim};
use super::clock::millis;
use super::config::Abandoned;
use super::core::{Core, Payload};
use super::envelope::{Content, Envelope};
use super::error::ReadError;
use super::events::ReadThroughEvent;
use super::flights::{Flight, Outcome};
use super::found::{Found, Known};
use super::lease::{Holder, Lease, Taken, hold_key};
use super::source::Source;

/// The first pause of a waiter if changes of what it read are not reported. Later pauses are longer.
const FIRST_POLL: Duration = Duration::from_millis(5);
const LAST_POLL: Duration = Duration::from_millis(250);
/// The first pause of a waiter if changes of what it read are reported. It looks in case a report is lost.
const FIRST_CHECK: Duration = Duration::from_millis(250);
const LAST_CHECK: Duration = Duration::from_secs(1);
/// How often the entry may change before a load. After that the load goes on without it.
const TRIES: usize = 4;

/// A flight before its load.
pub(super) struct Preparation<'a, V: Payload> {
    pub(super) core: &'a Core<V>,
    pub(super) flight: &'a Flight<V>,
}

/// The result of preparing a load.
enum Placed<V> {
    Fresh(Known<V>),
    On(Option<Base>),
}

impl<V: Payload> Preparation<'_, V> {
    /// Returns the right to load, or `None` if the flight was decided without a load.
    pub(super) async fn claim(&self, source: &mut Source<V>, budget: &mut Budget) -> Option<Claim> {
        let core = self.core;
        let Some(lease) = self.lease(rand::random()) else {
            return self.claim_without(None, false, budget).await;
        };
        let begun = clock::now();
        let mut waited = false;
        let (mut poll, mut check) = (FIRST_POLL, FIRST_CHECK);
        loop {
            // Before the reads, so that no change after them is missed.
            let mut watch = core.wakes.watch([&self.flight.key, lease.key()]);

            let Ok(found) = core.read_entry(&self.flight.key, budget).await else {
                core.note(&ReadThroughEvent::WithoutLease);
                return Some(Claim::without_anything());
            };
            if let Some(fresh) = found.fresh(&core.config) {
                self.flight.decide(Outcome::Hit(fresh.clone()));
            } else {
                if let Some(stale) = found.stale(&core.config) {
                    self.flight.offer(stale.clone());
                }
                match self.take(&lease, budget).await {
                    Taken::Held => {
                        self.note_wait(waited, begun);
                        return self.claim_without(Some(lease), true, budget).await;
                    }
                    Taken::Unknown(error) => {
                        core.note(&ReadThroughEvent::CacheFailed { error });
                        core.note(&ReadThroughEvent::WithoutLease);
                        return self.claim_without(Some(lease), false, budget).await;
                    }
                    Taken::Lost => {}
                }
                let mut lent = budget.lend();
                let holder = core.noted(lease.holder(&*core.client, &mut lent).await);
                budget.repaid(&lent);
                let (left, tracked) = match holder {
                    Err(_) => {
                        core.note(&ReadThroughEvent::WithoutLease);
                        return self.claim_without(None, false, budget).await;
                    }
                    Ok(Holder::Nobody) => (Duration::ZERO, false),
                    Ok(Holder::Loading { left, tracked }) => (left, tracked),
                    Ok(Holder::Passing) => {
                        self.note_wait(waited, begun);
                        return Some(Claim::passing(lease));
                    }
                    Ok(Holder::Failed(remaining)) => {
                        core.note(&ReadThroughEvent::HeldBack);
                        core.load_holds.hold(&self.flight.key, remaining);
                        let held_back = ReadError::HeldBack { remaining };
                        self.flight.decide(Outcome::Answer(Err(held_back)));
                        self.note_wait(waited, begun);
                        return None;
                    }
                };
                if clock::now() - begun < core.config.hard_timeout {
                    source.step_aside();
                    waited = true;
                    // What this waiter itself read must be tracked. That other keys are tracked means nothing here.
                    let again = if tracked && found.is_tracked() && core.wakes.are_on() {
                        next(&mut check, LAST_CHECK)
                    } else {
                        next(&mut poll, LAST_POLL)
                    };
                    let cancel = core.config.abandoned == Abandoned::Cancel;
                    let [value, owner] = watch.changes();
                    tokio::select! {
                        biased;
                        () = self.flight.abandoned(), if cancel => {
                            self.note_wait(waited, begun);
                            return None;
                        }
                        () = value.next() => {}
                        () = owner.next() => {}
                        () = tokio::time::sleep(again.min(left)) => {}
                    }
                    // Waiting for another process does not count as time of the cache. What follows is a new look at
                    // it.
                    *budget = core.budget();
                    continue;
                }
                let after = core.config.hard_timeout;
                self.flight
                    .decide(Outcome::Answer(Err(ReadError::Timeout { after })));
            }
            self.note_wait(waited, begun);
            return None;
        }
    }

    /// Returns the right to refresh the value that was seen, or `None` if another process does, or the value has
    /// changed.
    pub(super) async fn claim_refresh(&self, seen: &Known<V>) -> Option<Claim> {
        let (core, key) = (self.core, &*self.flight.key);
        let mut budget = core.budget();
        let lease = self.lease(rand::random());
        if lease.is_some() && self.is_held_back(&mut budget).await {
            core.refresh_holds.hold(key, core.config.retry_after);
            self.flight.decide(Outcome::Again);
            return None;
        }
        let held = match &lease {
            None => false,
            Some(lease) => match self.take(lease, &mut budget).await {
                // Its last holder may have failed since we looked. It sets the hold on refreshes before it releases
                // the lease.
                Taken::Held if self.is_held_back(&mut budget).await => {
                    core.refresh_holds.hold(key, core.config.retry_after);
                    self.flight.decide(Outcome::Again);
                    // A lease that cannot be released expires.
                    let _expires = core.noted(lease.release(&*core.client, &mut budget).await);
                    return None;
                }
                Taken::Held => true,
                Taken::Lost => {
                    core.refresh_holds
                        .hold(key, core.config.lease().unwrap_or_default());
                    self.flight.decide(Outcome::Again);
                    return None;
                }
                Taken::Unknown(error) => {
                    core.note(&ReadThroughEvent::CacheFailed { error });
                    core.note(&ReadThroughEvent::WithoutLease);
                    false
                }
            },
        };
        let claim = |base| Claim::of(lease, held, base);
        match core.read_entry(key, &mut budget).await {
            Ok(found @ Found::Value(..)) if found.is_entry_of(seen) => {
                if let Some(base) = self.place_on(&found, &mut budget).await {
                    return Some(claim(base));
                }
            }
            _ => {}
        }
        // The entry was set, deleted or refreshed in between, or the cache cannot say.
        self.flight.decide(Outcome::Again);
        claim(None).release(core, &mut budget).await;
        None
    }

    /// Whether a refresh failed recently, in any process.
    async fn is_held_back(&self, budget: &mut Budget) -> bool {
        if self.core.config.failure_hold.is_zero() {
            return false;
        }
        let hold = hold_key(&self.flight.key);
        let mut lent = budget.lend();
        let held = self
            .core
            .noted(lent.spend(self.core.client.exists(&[&hold])).await);
        budget.repaid(&lent);
        matches!(held, Ok(1))
    }

    /// Tries to acquire the lease. If that fails, it has used at most half of the budget.
    async fn take(&self, lease: &Lease, budget: &mut Budget) -> Taken {
        let mut lent = budget.lend();
        let taken = lease.take(&*self.core.client, &mut lent).await;
        budget.repaid(&lent);
        taken
    }

    fn lease(&self, owner: [u8; 16]) -> Option<Lease> {
        let life = self.core.config.lease()?;
        Some(Lease::new(&self.flight.key, owner, life))
    }

    fn note_wait(&self, waited: bool, begun: clock::Instant) {
        if waited {
            let took = clock::now() - begun;
            self.core.note(&ReadThroughEvent::LeaseWait { took });
        }
    }

    /// Looks again, with or without the lease, and prepares the entry that the value will replace.
    async fn claim_without(&self, lease: Option<Lease>, held: bool, budget: &mut Budget) -> Option<Claim> {
        match self.place(budget).await {
            Placed::On(base) => Some(Claim::of(lease, held, base)),
            Placed::Fresh(value) => {
                self.flight.decide(Outcome::Hit(value));
                Claim::of(lease, held, None).release(self.core, budget).await;
                None
            }
        }
    }

    async fn place(&self, budget: &mut Budget) -> Placed<V> {
        for _ in 0..TRIES {
            let Ok(found) = self.core.read_entry(&self.flight.key, budget).await else {
                return Placed::On(None);
            };
            if let Some(fresh) = found.fresh(&self.core.config) {
                return Placed::Fresh(fresh.clone());
            }
            if let Some(base) = self.place_on(&found, budget).await {
                return Placed::On(base);
            }
        }
        Placed::On(None)
    }

    /// Makes sure that the entry that was found, or a placeholder of this load, outlasts the load. Returns `None` if
    /// the entry has changed.
    ///
    /// This always takes a write, which also proves that the entry is still there. A near cache below may have
    /// answered the read with a copy of an entry that another process has replaced since.
    async fn place_on(&self, found: &Found<V>, budget: &mut Budget) -> Option<Option<Base>> {
        let (core, key) = (self.core, &*self.flight.key);
        let span = core.config.load_span();
        let sign = || {
            let now = core.config.clock.since_epoch();
            let envelope = Envelope {
                content: Content::UnderWay(rand::random()),
                created_ms: millis(now),
                expires_ms: millis(now.saturating_add(span)),
            };
            envelope.encode(key).unwrap_or_default()
        };
        let life = Ttl::After(span);
        let (raw, ours, placed) = match found {
            Found::Nothing => {
                let sign = sign();
                let set = core.client.set_if_absent(key, sign.clone(), life);
                (sign, true, budget.spend(set).await)
            }
            Found::UnderWay(other) => {
                let sign = sign();
                let set = core.client.compare_and_set(key, &other.raw, sign.clone(), life);
                (sign, true, budget.spend(set).await)
            }
            Found::Foreign(stored) | Found::Value(stored, _) => {
                let raw = stored.raw.clone();
                let enough = stored.remaining.min(life) == life;
                let life = if enough { stored.remaining } else { life };
                let set = core.client.compare_and_set(key, &raw, raw.clone(), life);
                let set = budget.spend(set).await;
                (raw, false, set)
            }
        };
        match core.noted(placed) {
            Ok(true) => Some(Some(Base { raw, ours })),
            Ok(false) => None,
            Err(error) if error.outcome() == Certainty::Unknown => Some(Some(Base { raw, ours })),
            Err(_) => Some(None),
        }
    }
}

/// Returns the pause to make now. The next one is longer, up to `last`.
fn next(pause: &mut Duration, last: Duration) -> Duration {
    let now = *pause;
    *pause = now.mul_f64(1.5).min(last);
    now
}
