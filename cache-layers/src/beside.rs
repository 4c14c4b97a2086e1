//! Names for what a recipe keeps beside a key of its caller's: in one slot of a cluster, and under every
//! pattern that covers the key and ends in `*`.

use cache_core::slot::slot_of;
use cache_core::{CacheError, MAX_KEY_LEN, check_key};

/// What all names beside one key begin with: the key, and a hash tag of its slot where it has no brace of
/// its own. They end in `:#` and a word, which no key of a [`Keyspace`](cache_core::Keyspace) does.
///
/// A key with a brace and no hash tag, such as `a{b`, is given none: what is beside it may be in other slots.
/// A keyspace makes no such key.
///
/// `room` is what the longest name adds to the prefix.
pub(crate) fn prefix_beside(key: &str, room: usize) -> Result<String, CacheError> {
    check_key(key)?;
    let most = MAX_KEY_LEN - TAG_LEN - room;
    if key.len() > most {
        return Err(CacheError::InvalidInput {
            argument: "key",
            reason: format!("{} bytes long; here a key has at most {most}", key.len()).into(),
        });
    }
    if key.contains('{') {
        return Ok(key.to_owned());
    }
    Ok(format!("{key}:{{{}}}", slot_of(key.as_bytes())))
}

/// The longest tag, `:{16383}`.
const TAG_LEN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beside_a_key_is_in_one_slot() {
        for key in ["jobs:v1:nightly", "jobs:v1:{acme}:nightly", "k", "a}b"] {
            let prefix = prefix_beside(key, 7).unwrap();
            assert!(prefix.starts_with(key));
            let slot = |word: &str| slot_of(format!("{prefix}:#{word}").as_bytes());
            assert_eq!(slot("lock"), slot("fence"), "{key}");
        }
        assert_eq!(prefix_beside("foo", 7).unwrap(), "foo:{12182}");
        assert_eq!(prefix_beside("a:{foo}:b", 7).unwrap(), "a:{foo}:b");
    }

    #[test]
    fn a_key_leaves_room_for_what_is_beside_it() {
        assert!(prefix_beside("", 7).is_err());
        let longest = "k".repeat(MAX_KEY_LEN - TAG_LEN - 7);
        assert!(prefix_beside(&longest, 7).unwrap().len() + 7 <= MAX_KEY_LEN);
        assert!(prefix_beside(&(longest + "k"), 7).is_err());
    }
}
