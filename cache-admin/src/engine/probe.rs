//! Keys to ask for, to learn whether their slots are being given away.

use std::sync::OnceLock;

use bytes::Bytes;
use cache_core::Pattern;
use cache_core::slot::{SLOTS, slot_of};

use crate::SlotSet;

/// A key in the slot that `pattern` pins which almost certainly does not exist; for a pattern of one key,
/// which has no other key of its slot at hand, that key itself: it is about to be removed.
pub(super) fn probe_of(pattern: &Pattern) -> Bytes {
    let text = pattern.literal_prefix();
    let tag = text.iter().position(|byte| *byte == b'{').and_then(|open| {
        let length = text[open + 1..].iter().position(|byte| *byte == b'}')?;
        (length > 0).then_some(open + 1 + length)
    });
    match tag {
        Some(close) => {
            let mut probe = text[..=close].to_vec();
            probe.extend_from_slice(format!(":probe:{:032x}", rand::random::<u128>()).as_bytes());
            Bytes::from(probe)
        }
        None => Bytes::copy_from_slice(text),
    }
}

/// For each of `slots` a key of it which almost certainly does not exist. They begin with `start`, as those
/// that are removed do: a user may be allowed no others.
pub(super) fn probes_of(start: &[u8], slots: &SlotSet) -> Vec<(u16, Bytes)> {
    let start = start.split(|byte| *byte == b'{').next().unwrap_or_default();
    let nonce = rand::random::<u128>();
    (0..)
        .zip(tags())
        .filter(|(slot, _)| slots.contains(*slot))
        .map(|(slot, tag)| {
            let end = format!("{{{tag:x}}}:probe:{nonce:032x}");
            (slot, [start, end.as_bytes()].concat().into())
        })
        .collect()
}

/// By slot, a number that is a hash tag of it. Finding them takes some 170,000 checksums: once is enough.
fn tags() -> &'static [u32] {
    static TAGS: OnceLock<Vec<u32>> = OnceLock::new();
    TAGS.get_or_init(|| {
        let mut tags = vec![None; usize::from(SLOTS)];
        let mut left = tags.len();
        for tag in 0_u32.. {
            let slot = slot_of(format!("{tag:x}").as_bytes());
            if let Some(place @ None) = tags.get_mut(usize::from(slot)) {
                *place = Some(tag);
                left -= 1;
            }
            if left == 0 {
                break;
            }
        }
        tags.into_iter().flatten().collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_in_the_slot_of_the_pattern_and_is_no_key_of_anybody() {
        for text in ["app:{acme}:*", "{acme}?", "app:{acme}", "a{b{c}*", "plain"] {
            let pattern = Pattern::new(text).unwrap();
            let probe = probe_of(&pattern);
            assert_eq!(Some(slot_of(&probe)), pattern.slot(), "{text}");
            assert_eq!(probe == text, !text.contains('{'), "{text}");
        }
    }

    /// An empty tag is none, so there is no other key of this slot at hand.
    #[test]
    fn an_empty_tag_does_not_make_a_probe() {
        assert_eq!(probe_of(&Pattern::new("a{}b").unwrap()), "a{}b");
    }

    #[test]
    fn there_is_a_probe_for_every_slot() {
        for text in ["*", "app:*", "app:{a*"] {
            let pattern = Pattern::new(text).unwrap();
            let probes = probes_of(pattern.literal_prefix(), &SlotSet::all());
            assert_eq!(probes.len(), 16_384);
            for (slot, probe) in probes {
                assert_eq!(slot_of(&probe), slot);
                assert!(text == "*" || probe.starts_with(b"app:"), "{probe:?}");
            }
        }
    }
}
