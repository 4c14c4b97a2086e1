//! A key to ask for, to learn whether its slot is being given away.

use bytes::Bytes;
use cache_core::Pattern;

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

#[cfg(test)]
mod tests {
    use cache_core::slot::slot_of;

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
}
