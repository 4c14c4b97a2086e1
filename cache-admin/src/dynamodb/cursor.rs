//! Where a walk over a table has come to, as a number.
//!
//! DynamoDB goes on after a key, which no number holds. So a walk goes over parts of the table, some at a time: a
//! group. Which group is next is in the cursor itself, and means the same to every process. Where the walk is inside a
//! group is kept in the process, and the cursor has its number. A process that does not know the number begins the
//! group again: what was listed of it is listed twice, and nothing is missed.

/// How many parts are walked over at a time.
pub(super) const GROUP: u32 = 8;

/// At most so many parts, as a power of two: DynamoDB takes 1,000,000.
const MOST: u32 = 19;

/// Keys that a part has, about.
const KEYS_OF_PART: u64 = 1_000;

/// Where a walk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// How many parts the table is walked over in, as a power of two; the same for the whole walk.
    power: u32,
    /// The group that is being walked over.
    group: u32,
    /// Whether the group was begun again, since the process did not know where the walk was inside of it.
    pub(super) again: bool,
    /// The number under which the process knows where the walk is inside the group; 0 is its start.
    pub(super) inside: u32,
}

impl Cursor {
    /// The start of a walk over a table with about so many keys.
    pub(super) fn start(keys: u64) -> Self {
        let parts = (keys / KEYS_OF_PART).max(1).next_power_of_two();
        Self {
            power: parts.ilog2().clamp(GROUP.ilog2(), MOST),
            group: 0,
            again: false,
            inside: 0,
        }
    }

    pub(super) const fn parts(self) -> u32 {
        1 << self.power
    }

    /// The parts of the group.
    pub(super) const fn group(self) -> std::ops::Range<u32> {
        self.group * GROUP..(self.group + 1) * GROUP
    }

    /// The start of the next group; `None` at the end of the walk.
    pub(super) fn next(self) -> Option<Self> {
        let group = self.group + 1;
        (group < self.parts() / GROUP).then_some(Self {
            group,
            again: false,
            inside: 0,
            ..self
        })
    }

    /// The same group, from where the process knows under `inside`.
    pub(super) const fn inside(self, inside: u32, again: bool) -> Self {
        Self {
            again,
            inside,
            ..self
        }
    }

    /// As a number, which is never 0: five bits for the parts, one for `again`, 20 for the group, 32 for the number.
    pub(super) fn to_number(self) -> u64 {
        u64::from(self.power) << 58
            | u64::from(self.again) << 57
            | u64::from(self.group) << 32
            | u64::from(self.inside)
    }

    /// From a number; `None` if it is none that a walk came to.
    pub(super) fn of_number(number: u64) -> Option<Self> {
        let bits = |shift: u32, bits: u32| u32::try_from(number >> shift & ((1 << bits) - 1)).ok();
        let cursor = Self {
            power: bits(58, 6)?,
            again: bits(57, 1)? == 1,
            group: bits(32, 25)?,
            inside: bits(0, 32)?,
        };
        let is_one = (GROUP.ilog2()..=MOST).contains(&cursor.power) && cursor.group < cursor.parts() / GROUP;
        is_one.then_some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_walk_meets_every_part_once() {
        for keys in [0, 1, 999, 40_000, 1_000_000] {
            let mut cursor = Some(Cursor::start(keys));
            let mut parts = Vec::new();
            while let Some(at) = cursor {
                parts.extend(at.group());
                cursor = at.next();
            }
            let all = Cursor::start(keys).parts();
            assert_eq!(parts, (0..all).collect::<Vec<_>>());
        }
        assert_eq!(Cursor::start(0).parts(), 8);
        assert_eq!(Cursor::start(40_000).parts(), 64);
        assert_eq!(Cursor::start(u64::MAX).parts(), 524_288);
    }

    proptest! {
        #[test]
        fn a_cursor_comes_back_from_its_number(keys: u64, again: bool, inside: u32, skip in 0_u32..1_000) {
            let mut cursor = Cursor::start(keys);
            for _ in 0..skip {
                cursor = cursor.next().unwrap_or(cursor);
            }
            let cursor = cursor.inside(inside, again);
            prop_assert_ne!(cursor.to_number(), 0);
            prop_assert_eq!(Cursor::of_number(cursor.to_number()), Some(cursor));
        }

        #[test]
        fn any_number_is_a_cursor_or_none(number: u64) {
            if let Some(cursor) = Cursor::of_number(number) {
                prop_assert_eq!(cursor.to_number(), number);
                prop_assert!(cursor.group().end <= cursor.parts());
            }
        }
    }
}
