//! Where a listing has come to.

use std::fmt;

use cache_core::CacheError;
use cache_core::slot::SLOTS;

use super::bytes::{Reader, Writer};
use super::slot_map::SlotMap;

/// Where a listing has come to. Means something for the same selection of the same cache only.
///
/// It names no key. Where servers walk slot by slot it takes some ten to seventy bytes, whatever the cluster; elsewhere a few
/// more, and [`MAX_LEN`](Self::MAX_LEN) where the slots are shared out one by one.
#[derive(Clone, PartialEq, Eq)]
pub struct Position {
    pub(super) place: Place,
    /// Whether slots were passed over.
    pub(super) is_partial: bool,
}

/// Where, by the way in which the servers walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// One primary with every key.
    Whole(Option<Mid>),
    /// Primaries that walk slot by slot.
    BySlot(BySlot),
    /// Primaries that walk in an order of their own.
    ByPrimary(ByPrimary),
}

/// Every slot before this one was listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BySlot {
    pub(super) slot: u16,
    pub(super) stage: Stage,
}

/// How far a listing is with one slot, or with the slots of one primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// With their owner.
    Owner(Option<Mid>),
    /// They were listed with their owner, who gives them away: now with the others.
    Others(Sweep),
}

/// Primaries in the order of their names' hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sweep {
    /// Who there was when it began; it begins again where that is no longer so.
    pub(super) primaries: u64,
    /// The next one is the first whose hash is not below this.
    pub(super) next: u64,
    pub(super) mid: Option<Mid>,
}

/// What was listed of each slot, and the primary that is being walked over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ByPrimary {
    pub(super) slots: SlotMap,
    /// The hash of its name, and how far it is.
    pub(super) walk: Option<(u64, Stage)>,
}

/// In the middle of a walk over one primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mid {
    /// Which run of which server the cursor is of: it means nothing to another one.
    pub(super) server: u64,
    pub(super) cursor: u64,
    /// What an earlier page has taken of the step that begins at the cursor; `None` is nothing.
    pub(super) rest: Option<Rest>,
}

/// A step of which a page had room for some keys only. Keys are taken in the order of their hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    /// Keys with hashes up to this one were taken.
    pub(super) after: u64,
    /// How many keys the step was to look at.
    pub(super) count: u32,
    /// Where the step ended, as a hash. The same step ends there again unless its keys changed.
    pub(super) end: u64,
    /// The keys of the step, as a hash.
    pub(super) keys: u64,
}

impl Position {
    /// The longest form as bytes.
    pub const MAX_LEN: usize = 4_192;

    /// As bytes, [`MAX_LEN`](Self::MAX_LEN) at most.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.byte(u8::from(self.is_partial));
        match &self.place {
            Place::Whole(mid) => {
                writer.byte(0);
                write_mid(*mid, &mut writer);
            }
            Place::BySlot(BySlot { slot, stage }) => {
                writer.byte(1);
                writer.number(u64::from(*slot));
                write_stage(stage, &mut writer);
            }
            Place::ByPrimary(ByPrimary { slots, walk }) => {
                writer.byte(2 + u8::from(walk.is_some()));
                slots.write(&mut writer);
                if let Some((owner, stage)) = walk {
                    writer.hash(*owner);
                    write_stage(stage, &mut writer);
                }
            }
        }
        writer.finish()
    }

    /// From bytes.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] where these are of no position.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CacheError> {
        read(&mut Reader::new(bytes)).ok_or_else(|| CacheError::InvalidInput {
            argument: "position",
            reason: "is none that a page ended with".into(),
        })
    }
}

/// Without the slots, which are many.
impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Position");
        match &self.place {
            Place::Whole(mid) => debug.field("whole", mid),
            Place::BySlot(by_slot) => debug.field("by_slot", by_slot),
            Place::ByPrimary(by_primary) => debug.field("by_primary", &by_primary.walk),
        };
        debug.field("is_partial", &self.is_partial).finish()
    }
}

fn write_mid(mid: Option<Mid>, writer: &mut Writer) {
    let Some(mid) = mid else {
        return writer.byte(0);
    };
    writer.byte(1 + u8::from(mid.rest.is_some()));
    writer.hash(mid.server);
    writer.number(mid.cursor);
    if let Some(rest) = mid.rest {
        writer.hash(rest.after);
        writer.number(rest.count.into());
        writer.hash(rest.end);
        writer.hash(rest.keys);
    }
}

fn write_stage(stage: &Stage, writer: &mut Writer) {
    match stage {
        Stage::Owner(mid) => {
            writer.byte(0);
            write_mid(*mid, writer);
        }
        Stage::Others(sweep) => {
            writer.byte(1);
            writer.hash(sweep.primaries);
            writer.hash(sweep.next);
            write_mid(sweep.mid, writer);
        }
    }
}

fn read(reader: &mut Reader<'_>) -> Option<Position> {
    let is_partial = switch(reader)?;
    let place = match reader.byte()? {
        0 => Place::Whole(read_mid(reader)?),
        1 => Place::BySlot(BySlot {
            slot: u16::try_from(reader.number()?)
                .ok()
                .filter(|slot| *slot < SLOTS)?,
            stage: read_stage(reader)?,
        }),
        2 => Place::ByPrimary(ByPrimary {
            slots: SlotMap::read(reader)?,
            walk: None,
        }),
        3 => Place::ByPrimary(ByPrimary {
            slots: SlotMap::read(reader)?,
            walk: Some((reader.hash()?, read_stage(reader)?)),
        }),
        _ => return None,
    };
    reader.is_at_end().then_some(Position { place, is_partial })
}

fn switch(reader: &mut Reader<'_>) -> Option<bool> {
    match reader.byte()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn read_mid(reader: &mut Reader<'_>) -> Option<Option<Mid>> {
    let has_rest = match reader.byte()? {
        0 => return Some(None),
        1 => false,
        2 => true,
        _ => return None,
    };
    let (server, cursor) = (reader.hash()?, reader.number()?);
    let rest = if has_rest { Some(read_rest(reader)?) } else { None };
    Some(Some(Mid { server, cursor, rest }))
}

fn read_rest(reader: &mut Reader<'_>) -> Option<Rest> {
    Some(Rest {
        after: reader.hash()?,
        count: u32::try_from(reader.number()?).ok()?,
        end: reader.hash()?,
        keys: reader.hash()?,
    })
}

fn read_stage(reader: &mut Reader<'_>) -> Option<Stage> {
    if !switch(reader)? {
        return Some(Stage::Owner(read_mid(reader)?));
    }
    Some(Stage::Others(Sweep {
        primaries: reader.hash()?,
        next: reader.hash()?,
        mid: read_mid(reader)?,
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::slot_map::State;
    use super::*;

    fn mid() -> impl Strategy<Value = Option<Mid>> {
        let rest =
            (any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>()).prop_map(|(after, count, end, keys)| {
                Rest {
                    after,
                    count,
                    end,
                    keys,
                }
            });
        let mid = (any::<u64>(), any::<u64>(), proptest::option::of(rest));
        proptest::option::of(mid.prop_map(|(server, cursor, rest)| Mid { server, cursor, rest }))
    }

    fn stage() -> impl Strategy<Value = Stage> {
        let sweep = |(primaries, next, mid)| Stage::Others(Sweep { primaries, next, mid });
        prop_oneof![
            mid().prop_map(Stage::Owner),
            (any::<u64>(), any::<u64>(), mid()).prop_map(sweep)
        ]
    }

    fn place() -> impl Strategy<Value = Place> {
        let slots = proptest::collection::vec((0..SLOTS, 1_u16..5), 0..40).prop_map(|picked| {
            let mut slots = SlotMap::new();
            for (first, every) in picked {
                slots.turn_where(State::Open, State::Done, |slot| {
                    slot >= first && slot % every == 0
                });
            }
            slots
        });
        let walk = proptest::option::of((any::<u64>(), stage()));
        prop_oneof![
            mid().prop_map(Place::Whole),
            (0..SLOTS, stage()).prop_map(|(slot, stage)| Place::BySlot(BySlot { slot, stage })),
            (slots, walk).prop_map(|(slots, walk)| Place::ByPrimary(ByPrimary { slots, walk })),
        ]
    }

    proptest! {
        #[test]
        fn a_position_comes_back_as_it_was_and_is_never_too_long(place in place(), is_partial: bool) {
            let position = Position { place, is_partial };
            let bytes = position.to_bytes();
            prop_assert!(bytes.len() <= Position::MAX_LEN);
            prop_assert!(!matches!(position.place, Place::BySlot(_)) || bytes.len() <= 72);
            prop_assert_eq!(Position::from_bytes(&bytes).unwrap(), position);
            prop_assert!(Position::from_bytes(&bytes[..bytes.len() - 1]).is_err());
            prop_assert!(Position::from_bytes(&[&bytes[..], b"\0"].concat()).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(0_u8..5, 0..40)) {
            let _ = Position::from_bytes(&bytes);
        }
    }
}
