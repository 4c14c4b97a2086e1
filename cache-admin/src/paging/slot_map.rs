//! How far a listing is with each slot, in few bytes.

use cache_core::slot::SLOTS;

use super::bytes::{Reader, Writer};
use crate::SlotSet;

/// How far a listing is with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It was not listed, or in vain.
    Open,
    /// It is part of the walk that is under way.
    Walked,
    /// It was listed with its owner, who gives it away: some of its keys may be with others.
    Restless,
    /// It was listed.
    Done,
}

impl State {
    const ALL: [Self; 4] = [Self::Open, Self::Walked, Self::Restless, Self::Done];

    const fn bits(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Walked => 1,
            Self::Restless => 2,
            Self::Done => 3,
        }
    }

    fn of(bits: u8) -> Self {
        Self::ALL[usize::from(bits & 3)]
    }
}

/// How far a listing is with each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotMap(Box<[State]>);

/// Two bits for each slot.
const PACKED: usize = SLOTS as usize / 4;

impl SlotMap {
    pub(super) fn new() -> Self {
        Self(vec![State::Open; usize::from(SLOTS)].into())
    }

    pub(super) fn get(&self, slot: u16) -> State {
        self.0.get(usize::from(slot)).copied().unwrap_or(State::Done)
    }

    pub(super) fn set(&mut self, slot: u16, state: State) {
        if let Some(place) = self.0.get_mut(usize::from(slot)) {
            *place = state;
        }
    }

    /// Gives all slots of one state another one.
    pub(super) fn turn(&mut self, from: State, to: State) {
        self.turn_where(from, to, |_| true);
    }

    /// Gives those slots of one state another one for which that is so.
    pub(super) fn turn_where(&mut self, from: State, to: State, which: impl Fn(u16) -> bool) {
        for (slot, place) in (0..).zip(&mut self.0) {
            if *place == from && which(slot) {
                *place = to;
            }
        }
    }

    pub(super) fn all(&self, state: State) -> SlotSet {
        let mut slots = SlotSet::new();
        for slot in (0..)
            .zip(&self.0)
            .filter(|(_, place)| **place == state)
            .map(|(slot, _)| slot)
        {
            slots.insert(slot);
        }
        slots
    }

    /// As runs of slots of one state, or two bits for each, whichever is shorter.
    pub(super) fn write(&self, writer: &mut Writer) {
        let mut runs = Writer::default();
        for run in self.0.chunk_by(|one, two| one == two) {
            let length = u64::try_from(run.len()).unwrap_or(u64::MAX);
            runs.number(length << 2 | u64::from(run[0].bits()));
        }
        let runs = runs.finish();
        if runs.len() < PACKED {
            writer.byte(0);
            writer.bytes(&runs);
            return;
        }
        writer.byte(1);
        for four in self.0.chunks(4) {
            writer.byte(four.iter().fold(0, |byte, state| byte << 2 | state.bits()));
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let mut states = Vec::with_capacity(usize::from(SLOTS));
        match reader.byte()? {
            0 => {
                while states.len() < usize::from(SLOTS) {
                    let run = reader.number()?;
                    let length = usize::try_from(run >> 2).ok().filter(|length| *length > 0)?;
                    let [bits, ..] = run.to_le_bytes();
                    if length > usize::from(SLOTS) - states.len() {
                        return None;
                    }
                    states.extend(std::iter::repeat_n(State::of(bits), length));
                }
            }
            1 => {
                for _ in 0..PACKED {
                    let byte = reader.byte()?;
                    states.extend([6, 4, 2, 0].map(|shift| State::of(byte >> shift)));
                }
            }
            _ => return None,
        }
        Some(Self(states.into()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn there_and_back(map: &SlotMap) -> usize {
        let mut writer = Writer::default();
        map.write(&mut writer);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes);
        assert_eq!(SlotMap::read(&mut reader).as_ref(), Some(map));
        assert!(reader.is_at_end());
        bytes.len()
    }

    #[test]
    fn what_is_quiet_takes_few_bytes_and_what_is_torn_a_bounded_number() {
        let mut map = SlotMap::new();
        assert!(there_and_back(&map) <= 4);
        map.turn_where(State::Open, State::Done, |slot| slot < 5_461);
        map.turn_where(State::Open, State::Walked, |slot| slot < 10_922);
        assert!(there_and_back(&map) <= 10);
        map.turn_where(State::Done, State::Restless, |slot| slot % 2 == 0);
        map.turn_where(State::Walked, State::Open, |slot| slot % 2 == 0);
        map.turn_where(State::Open, State::Done, |slot| slot % 3 == 0);
        assert_eq!(there_and_back(&map), PACKED + 1);
    }

    proptest! {
        #[test]
        fn a_map_comes_back_as_it_was(picked in proptest::collection::vec((0..SLOTS, 0_u8..4), 0..300)) {
            let mut map = SlotMap::new();
            for (slot, bits) in picked {
                map.set(slot, State::of(bits));
            }
            prop_assert!(there_and_back(&map) <= PACKED + 1);
        }
    }
}
