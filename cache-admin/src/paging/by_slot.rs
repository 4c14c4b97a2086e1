//! Paging over primaries that walk slot by slot: every slot before the position was listed, whoever serves it
//! now.
//!
//! A slot is done once its owner was walked over to the end of it, and says after that that it neither gives it away nor
//! has done so: keys that had left before would be with another owner. Where it does give it away, the other primaries
//! are asked for the slot as well, after the owner: a key hops once, so what was not with the one any more is
//! with one of the others from then on. If the owner is another one after that, the slot is listed anew.

use cache_core::CacheError;
use cache_core::slot::SLOTS;

use super::pager::{Pager, Turn, Walk, unserved};
use super::position::{BySlot, Mid, Stage, Sweep};
use super::primaries::{Primaries, Primary, server};
use crate::SlotSet;
use crate::keys::ScanPage;

impl BySlot {
    pub(super) const fn from(slot: u16) -> Self {
        Self {
            slot,
            stage: Stage::Owner(None),
        }
    }

    fn past(&mut self, slot: u16) {
        *self = Self::from(slot + 1);
    }
}

impl Pager<'_> {
    /// Lists from `at` on, which says at any moment where to go on.
    pub(super) async fn by_slot(
        &mut self,
        primaries: &mut Primaries,
        at: &mut BySlot,
    ) -> Result<Turn, CacheError> {
        loop {
            let Some(slot) = self.next_wanted(at.slot) else {
                return Ok(Turn::End);
            };
            if slot != at.slot {
                *at = BySlot::from(slot);
            }
            let Some(owner) = primaries.owner_of(slot).cloned() else {
                self.pass_over(&[slot..=slot].into_iter().collect(), unserved(slot))?;
                at.past(slot);
                continue;
            };
            let end = self.end_of_run(&owner, slot);
            let listed = match at.stage {
                Stage::Owner(mid) => self.list_run(&owner, end, mid, primaries, at).await,
                Stage::Others(sweep) => self.sweep_slot(&owner, sweep, primaries, at).await,
            };
            match listed {
                Ok(Some(Turn::Disordered)) => return Ok(Turn::Disordered),
                Ok(_) => {}
                Err(error) => {
                    // Of a sweep one slot is left, of a run what was not listed.
                    let last = match at.stage {
                        Stage::Owner(_) => end.max(at.slot),
                        Stage::Others(_) => at.slot,
                    };
                    self.pass_over(&[at.slot..=last].into_iter().collect(), error)?;
                    at.past(last);
                }
            }
            if !self.has_room() {
                return Ok(if at.slot < SLOTS { Turn::Full } else { Turn::End });
            }
        }
    }

    /// The last slot up to which the owner serves all that is wanted.
    fn end_of_run(&self, owner: &Primary, slot: u16) -> u16 {
        let end = (slot..SLOTS).take_while(|slot| owner.slots.contains(*slot) && self.wanted.contains(*slot));
        end.last().unwrap_or(slot)
    }

    /// Walks over the owner, from the position to the slot `end`.
    async fn list_run(
        &mut self,
        owner: &Primary,
        end: u16,
        mid: Option<Mid>,
        primaries: &mut Primaries,
        at: &mut BySlot,
    ) -> Result<Option<Turn>, CacheError> {
        let shard = &*owner.shard;
        let first = at.slot;
        let server = server(shard).await?;
        let mid = mid.filter(|mid| mid.server == server);
        let Some(mut cursor) = mid.map(|mid| mid.cursor).or_else(|| shard.start_of(first)) else {
            return Ok(Some(Turn::Disordered));
        };
        let mut rest = mid.and_then(|mid| mid.rest);
        let mut is_one_step = mid.is_none();
        // What is settled by a walk counts once it is known that it was one server throughout.
        let mut now = *at;
        loop {
            let step = self.step(shard, cursor, rest).await?;
            let next = step.page.cursor;
            let from = shard.slot_at(cursor).unwrap_or(0);
            let reached = match next {
                0 => SLOTS,
                next => shard.slot_at(next).unwrap_or(SLOTS),
            };
            if !is_in_order(from, reached, &step.page) {
                return Ok(Some(Turn::Disordered));
            }
            let keep = |slot| (first..=end).contains(&slot);
            rest = self.take(shard, step, rest, Some(end), &keep).await?;
            if rest.is_some() {
                *at = match self.is_still(shard, server).await? {
                    true => BySlot {
                        slot: now.slot,
                        stage: Stage::Owner(Some(Mid { server, cursor, rest })),
                    },
                    false => BySlot::from(first),
                };
                return Ok(None);
            }
            let done = reached.min(end + 1);
            let listed: SlotSet = (now.slot..done).map(|slot| slot..=slot).collect();
            let restless = self.restless(shard, &listed).await?.iter().next();
            now = match restless {
                Some(slot) => BySlot::from(slot),
                None if done > end => BySlot::from(end + 1),
                None => BySlot {
                    slot: done,
                    stage: Stage::Owner(Some(Mid {
                        server,
                        cursor: next,
                        rest: None,
                    })),
                },
            };
            let goes_on = restless.is_none() && done <= end;
            if goes_on && self.has_room() {
                cursor = next;
                is_one_step = false;
                continue;
            }
            if (goes_on || !is_one_step) && !self.is_still(shard, server).await? {
                *at = BySlot::from(first);
                return Ok(None);
            }
            *at = now;
            if let Some(slot) = restless {
                self.look_again(owner, slot, primaries, at).await?;
            }
            return Ok(None);
        }
    }

    /// A slot turned out to be on the move, after it was listed with its owner.
    async fn look_again(
        &self,
        owner: &Primary,
        slot: u16,
        primaries: &mut Primaries,
        at: &mut BySlot,
    ) -> Result<(), CacheError> {
        let digest = primaries.digest(owner.hash);
        self.refresh(primaries).await?;
        if is_owner(owner.hash, slot, primaries) && primaries.digest(owner.hash) == digest {
            at.stage = Stage::Others(Sweep {
                primaries: digest,
                next: 0,
                mid: None,
            });
        }
        Ok(())
    }

    /// Walks over the primaries that do not serve a slot which is on the move.
    async fn sweep_slot(
        &mut self,
        owner: &Primary,
        mut sweep: Sweep,
        primaries: &mut Primaries,
        at: &mut BySlot,
    ) -> Result<Option<Turn>, CacheError> {
        let slot = at.slot;
        if sweep.primaries != primaries.digest(owner.hash) {
            *at = BySlot::from(slot);
            return Ok(None);
        }
        while let Some(other) = primaries.next(sweep.next, owner.hash) {
            let Some(start) = other.shard.start_of(slot) else {
                return Ok(Some(Turn::Disordered));
            };
            let shard = &*other.shard;
            let keep = |of: u16| of == slot;
            let walk = self.walk(shard, start, sweep.mid, Some(slot), &keep).await?;
            sweep.mid = match walk {
                Walk::Ended => {
                    sweep.next = other.hash.saturating_add(1);
                    None
                }
                Walk::Left(mid) => mid,
            };
            at.stage = Stage::Others(sweep);
            if !self.has_room() {
                return Ok(None);
            }
        }
        self.refresh(primaries).await?;
        let holds = is_owner(owner.hash, slot, primaries) && primaries.digest(owner.hash) == sweep.primaries;
        *at = BySlot::from(if holds { slot + 1 } else { slot });
        Ok(None)
    }

    /// Asks anew who serves what.
    pub(super) async fn refresh(&self, primaries: &mut Primaries) -> Result<(), CacheError> {
        // A cluster does not turn into a single server; if it did, the next page would find out.
        if let Ok(now) = Primaries::of(self.keys.layout().await?) {
            *primaries = now;
        }
        Ok(())
    }
}

fn is_owner(hash: u64, slot: u16, primaries: &Primaries) -> bool {
    primaries.owner_of(slot).is_some_and(|owner| owner.hash == hash)
}

/// Whether keys and cursor are where a walk that goes slot by slot would meet them.
fn is_in_order(from: u16, reached: u16, found: &ScanPage) -> bool {
    let met = |key: &bytes::Bytes| (from..=reached).contains(&cache_core::slot::slot_of(key));
    from <= reached && found.keys.iter().all(met)
}
