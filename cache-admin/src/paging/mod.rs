//! Pages of keys over all primaries, with nothing kept between them: where the next page goes on is in the
//! caller's hands.
//!
//! Not in here: how a position is protected on its way through other hands (`seal`), and listing in one go
//! ([`Engine::list`](crate::Engine::list)).

mod by_primary;
mod by_slot;
mod bytes;
mod pager;
mod position;
mod primaries;
mod request;
mod slot_map;

use ::bytes::Bytes;
use cache_core::CacheError;

use self::pager::{Pager, Turn, Walk};
use self::position::{ByPrimary, BySlot, Place};
use self::primaries::Primaries;
use crate::keys::{Description, Shard};
use crate::{Engine, SlotSet};

pub use position::Position;
pub use request::PageRequest;

/// A page of keys.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Page {
    /// The keys, each once; often none, long before the end.
    pub keys: Vec<Listed>,
    /// Where the next page goes on; `None` at the end.
    pub next: Option<Position>,
    /// How many keys the servers looked at for it, about.
    pub looked_at: u64,
    /// Slots that were passed over on this page; see [`PageRequest::past_gaps`].
    pub gaps: SlotSet,
    /// Whether this or an earlier page passed over slots.
    pub is_partial: bool,
}

/// A key on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// Its name.
    pub key: Bytes,
    /// What is known of it, as far as it was asked for.
    pub description: Description,
}

impl Engine {
    /// A page of the keys of a selection.
    ///
    /// A key that is there from the first page to the last is on at least one of them, now and then on two,
    /// also while slots move, primaries are replaced, restarted and added. Nothing is promised of keys that
    /// come or go meanwhile, nor of keys of a slot that moves away and back again between two pages key by key.
    /// A user that may not ask for `INFO` does not learn of restarts, and one that may not ask for the `TYPE` of keys
    /// not of slots that are being given away; keys may be missed then.
    ///
    /// The primaries are walked over one after the other; a page costs them what [`PageRequest::with_work`] says
    /// at most, and one step more.
    ///
    /// # Errors
    ///
    /// Where a primary does not answer before there is anything to tell, or serves no slot that is due; the
    /// same request may be made again.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: nothing is kept.
    pub async fn page(&self, request: &PageRequest) -> Result<Page, CacheError> {
        let layout = self.keys().layout().await?;
        let earlier = request.position.clone();
        let was_partial = earlier.as_ref().is_some_and(|position| position.is_partial);
        let earlier = earlier.map(|position| position.place);
        let (start, listed) = match Primaries::of(layout) {
            Err(shard) => {
                let start = match earlier {
                    Some(start @ Place::Whole(_)) => start,
                    _ => Place::Whole(None),
                };
                let mut pager = Pager::new(self, request, false);
                let mut at = start.clone();
                let ended = pager.in_whole(&*shard, &mut at).await;
                (start, (pager, at, ended))
            }
            Ok(mut primaries) => {
                let start = match earlier {
                    Some(start @ (Place::BySlot(_) | Place::ByPrimary(_))) => start,
                    _ => Place::BySlot(BySlot::from(0)),
                };
                let mut pager = Pager::new(self, request, true);
                let mut at = start.clone();
                let ended = pager.in_cluster(&mut primaries, &mut at).await;
                (start, (pager, at, ended))
            }
        };
        let (pager, place, ended) = listed;
        let got_somewhere = pager.has_begun() && place != start;
        let mut page = pager.page;
        page.is_partial |= was_partial;
        let is_partial = page.is_partial;
        match ended {
            Ok(Turn::End) => {}
            // Nobody is told the same again and again.
            Err(error) if !got_somewhere => return Err(error),
            _ => page.next = Some(Position { place, is_partial }),
        }
        Ok(page)
    }
}

impl Pager<'_> {
    async fn in_whole(&mut self, shard: &dyn Shard, at: &mut Place) -> Result<Turn, CacheError> {
        let mid = match at {
            Place::Whole(mid) => *mid,
            _ => None,
        };
        match self.walk(shard, 0, mid, None, &|_| true).await? {
            Walk::Ended => Ok(Turn::End),
            Walk::Left(left) => {
                *at = Place::Whole(left);
                Ok(Turn::Full)
            }
        }
    }

    async fn in_cluster(&mut self, primaries: &mut Primaries, at: &mut Place) -> Result<Turn, CacheError> {
        loop {
            match at {
                Place::BySlot(by_slot) if primaries.walk_by_slot() => {
                    let turn = self.by_slot(primaries, by_slot).await?;
                    if turn != Turn::Disordered {
                        return Ok(turn);
                    }
                    // Who knows what the slots were worth before.
                    *at = Place::ByPrimary(ByPrimary::from(0));
                }
                Place::BySlot(by_slot) => *at = Place::ByPrimary(ByPrimary::from(by_slot.slot)),
                Place::ByPrimary(by_primary) => return self.by_primary(primaries, by_primary).await,
                Place::Whole(_) => *at = Place::BySlot(BySlot::from(0)),
            }
        }
    }
}
