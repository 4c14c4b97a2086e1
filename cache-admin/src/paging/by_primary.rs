//! Paging over primaries that walk in an order of their own: which slots were listed is part of the position.
//!
//! One primary after the other is walked over for the slots that it serves and that were not listed before. They are done
//! once the walk has come to its end and the primary still serves them, and says that it gives them away to nobody; those
//! that it does give away are looked for with all others, as in [`by_slot`](super::by_slot). What it lost
//! meanwhile is listed with the new owner.

use cache_core::CacheError;

use super::pager::{Pager, Turn, Walk, unserved};
use super::position::{ByPrimary, Stage, Sweep};
use super::primaries::{Primaries, Primary};
use super::slot_map::{SlotMap, State};

impl ByPrimary {
    /// From where every slot before `slot` was listed.
    pub(super) fn from(slot: u16) -> Self {
        let mut slots = SlotMap::new();
        slots.turn_where(State::Open, State::Done, |listed| listed < slot);
        Self { slots, walk: None }
    }

    fn give_up(&mut self) {
        self.slots.turn(State::Walked, State::Open);
        self.slots.turn(State::Restless, State::Open);
        self.walk = None;
    }

    /// Takes back what is no longer so.
    fn reconcile(&mut self, primaries: &Primaries) {
        let Some((owner, stage)) = self.walk else {
            return self.give_up();
        };
        let Some(owner) = primaries.named(owner) else {
            return self.give_up();
        };
        let lost = |slot| !owner.slots.contains(slot);
        self.slots.turn_where(State::Walked, State::Open, lost);
        let restless = self.slots.all(State::Restless);
        let holds =
            |sweep: Sweep| sweep.primaries == primaries.digest(owner.hash) && !restless.iter().any(lost);
        if matches!(stage, Stage::Others(sweep) if !holds(sweep)) {
            self.give_up();
        }
    }
}

impl Pager<'_> {
    /// Lists from `at` on, which says at any moment where to go on.
    pub(super) async fn by_primary(
        &mut self,
        primaries: &mut Primaries,
        at: &mut ByPrimary,
    ) -> Result<Turn, CacheError> {
        at.reconcile(primaries);
        loop {
            let walked = match at.walk {
                None => {
                    let open = |slot: &u16| at.slots.get(*slot) == State::Open;
                    let Some(slot) = self.wanted.iter().find(open) else {
                        return Ok(Turn::End);
                    };
                    let Some(owner) = primaries.owner_of(slot) else {
                        self.pass_over(&[slot..=slot].into_iter().collect(), unserved(slot))?;
                        at.slots.set(slot, State::Done);
                        continue;
                    };
                    let own = |slot| owner.slots.contains(slot) && self.wanted.contains(slot);
                    at.slots.turn_where(State::Open, State::Walked, own);
                    at.walk = Some((owner.hash, Stage::Owner(None)));
                    continue;
                }
                Some((owner, stage)) => {
                    let Some(owner) = primaries.named(owner).cloned() else {
                        at.give_up();
                        continue;
                    };
                    match stage {
                        Stage::Owner(_) => self.walk_owner(&owner, primaries, at).await,
                        Stage::Others(sweep) => self.sweep(&owner, sweep, primaries, at).await,
                    }
                }
            };
            if let Err(error) = walked {
                let left = at.slots.all(State::Walked).joined(&at.slots.all(State::Restless));
                self.pass_over(&left, error)?;
                at.slots.turn(State::Walked, State::Done);
                at.slots.turn(State::Restless, State::Done);
                at.walk = None;
            }
            if !self.has_room() {
                return Ok(Turn::Full);
            }
        }
    }

    async fn walk_owner(
        &mut self,
        owner: &Primary,
        primaries: &mut Primaries,
        at: &mut ByPrimary,
    ) -> Result<(), CacheError> {
        let Some((_, Stage::Owner(mid))) = at.walk else {
            return Ok(());
        };
        let walked = at.slots.all(State::Walked);
        let keep = |slot| walked.contains(slot);
        match self.walk(&*owner.shard, 0, mid, None, &keep).await? {
            Walk::Left(mid) => at.walk = Some((owner.hash, Stage::Owner(mid))),
            Walk::Ended => {
                let digest = primaries.digest(owner.hash);
                let restless = self.restless(&*owner.shard, &walked).await?;
                self.refresh(primaries).await?;
                at.reconcile(primaries);
                at.slots
                    .turn_where(State::Walked, State::Restless, |slot| restless.contains(slot));
                at.slots.turn(State::Walked, State::Done);
                at.walk = (!at.slots.all(State::Restless).is_empty()).then(|| {
                    let sweep = Sweep {
                        primaries: digest,
                        next: 0,
                        mid: None,
                    };
                    (owner.hash, Stage::Others(sweep))
                });
                at.reconcile(primaries);
            }
        }
        Ok(())
    }

    /// Walks over the primaries that do not serve the slots which are on the move.
    async fn sweep(
        &mut self,
        owner: &Primary,
        mut sweep: Sweep,
        primaries: &mut Primaries,
        at: &mut ByPrimary,
    ) -> Result<(), CacheError> {
        let restless = at.slots.all(State::Restless);
        let keep = |slot| restless.contains(slot);
        if let Some(other) = primaries.next(sweep.next, owner.hash) {
            sweep.mid = match self.walk(&*other.shard, 0, sweep.mid, None, &keep).await? {
                Walk::Left(mid) => mid,
                Walk::Ended => {
                    sweep.next = other.hash.saturating_add(1);
                    None
                }
            };
            at.walk = Some((owner.hash, Stage::Others(sweep)));
            return Ok(());
        }
        self.refresh(primaries).await?;
        at.reconcile(primaries);
        at.slots.turn(State::Restless, State::Done);
        at.walk = None;
        Ok(())
    }
}
