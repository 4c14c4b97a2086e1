//! Names for what a recipe stores next to a caller's key: in the slot of that key, and under every pattern that
//! covers the key and ends in `*`.
//!
//! Not in here: what is stored there.
//!
//! # Layout
//!
//! The companion key of `KEY` is `KEY:#WORD`. That is enough for a key with a hash tag. For any other key three
//! letters or digits follow, `KEY:#WORD:#abc`. They are chosen so that the name has the checksum of the key, and with
//! it the key's slot. A key prefix changes both checksums. The layer that adds the prefix chooses other letters
//! ([`push_under`]), and restores the old ones on the way back ([`without`]).

use std::sync::LazyLock;

use cache_core::slot::{SLOTS, has_tag, slot_of};
use cache_core::{CacheError, MAX_KEY_LEN, check_key};

/// How much longer a name is than its key and its word: `:#` twice, and the letters.
const ROOM: usize = 2 + 2 + FILL;
/// How many letters end a name.
const FILL: usize = 3;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Letters by the slot of a key that consists of them. Of several the first in alphabetical order.
static FILLS: LazyLock<Vec<[u8; FILL]>> = LazyLock::new(fills);

/// Checks that `key` is a key, and leaves room for a companion key with a word of up to `word` bytes.
pub(crate) fn check_room(key: &str, word: usize) -> Result<(), CacheError> {
    check_key(key)?;
    let most = MAX_KEY_LEN - ROOM - word;
    if key.len() > most {
        return Err(CacheError::InvalidInput {
            argument: "key",
            reason: format!("{} bytes long; here a key has at most {most}", key.len()).into(),
        });
    }
    Ok(())
}

/// Returns the companion key of `key` for `word`. A word has no braces and no `#`.
pub(crate) fn beside(key: &str, word: &str) -> String {
    let mut name = String::with_capacity(key.len() + word.len() + ROOM);
    name.push_str(key);
    name.push_str(":#");
    name.push_str(word);
    if !has_tag(key.as_bytes()) {
        name.push_str(":#");
        fill(&mut name, 0, slot_of(key.as_bytes()));
    }
    name
}

/// Appends `prefix`, which holds no braces, and `name`, which may be a companion key.
///
/// If the name was in the slot of its key, the two are in one slot under the prefix too. Different names stay
/// different, whether or not they were built in here.
/// different, whether or not they were made in here.
pub(crate) fn push_under(joined: &mut String, prefix: &str, name: &str) {
    let start = joined.len();
    joined.push_str(prefix);
    joined.push_str(name);
    if let Some(key) = key_of(name) {
        let apart = slot_of(name.as_bytes()) ^ slot_of(key.as_bytes());
        let above = &joined.as_bytes()[start..start + prefix.len() + key.len()];
        let slot = slot_of(above) ^ apart;
        joined.truncate(joined.len() - FILL);
        fill(joined, start, slot);
    }
}

/// Returns the name from which [`push_under`] built `joined`, if that begins with `prefix`.
pub(crate) fn without(prefix: &str, joined: &str) -> Option<String> {
    let mut name = joined.strip_prefix(prefix)?.to_owned();
    if let Some(key) = key_of(&name) {
        let above = &joined.as_bytes()[..prefix.len() + key.len()];
        let apart = slot_of(joined.as_bytes()) ^ slot_of(above);
        let slot = slot_of(key.as_bytes()) ^ apart;
        name.truncate(name.len() - FILL);
        fill(&mut name, 0, slot);
    }
    Some(name)
}

/// Returns the key of the companion key `name`, if `name` ends in letters of [`FILLS`].
fn key_of(name: &str) -> Option<&str> {
    // Nearly all names fail at the first of these checks.
    let (stem, letters) = name.split_at_checked(name.len().checked_sub(FILL)?)?;
    let stem = stem.strip_suffix(":#")?;
    let key = &stem[..stem.rfind(":#").filter(|at| *at > 0)?];
    let slot = usize::from(slot_of(letters.as_bytes()));
    (!has_tag(name.as_bytes()) && FILLS.get(slot)?.as_slice() == letters.as_bytes()).then_some(key)
}

/// Appends the letters that put `name` from `start` on, which has no hash tag, into `slot`.
fn fill(name: &mut String, start: usize, slot: u16) {
    name.push_str("\0\0\0");
    // The checksum is linear: what the letters add to it does not depend on the text before them.
    let needed = slot_of(&name.as_bytes()[start..]) ^ slot;
    name.truncate(name.len() - FILL);
    if let Some(letters) = FILLS.get(usize::from(needed)) {
        name.extend(letters.iter().copied().map(char::from));
    }
}

fn fills() -> Vec<[u8; FILL]> {
    let at = |place: usize| {
        ALPHABET.map(|letter| {
            let mut letters = [0; FILL];
            letters[place] = letter;
            slot_of(&letters)
        })
    };
    let slots = [at(0), at(1), at(2)];
    let mut fills = vec![[0; FILL]; usize::from(SLOTS)];
    for (a, first) in slots[0].iter().enumerate() {
        for (b, second) in slots[1].iter().enumerate() {
            for (c, third) in slots[2].iter().enumerate() {
                let fill = &mut fills[usize::from(first ^ second ^ third)];
                if *fill == [0; FILL] {
                    *fill = [ALPHABET[a], ALPHABET[b], ALPHABET[c]];
                }
            }
        }
    }
    fills
}

#[cfg(test)]
mod tests {
    use cache_core::Keyspace;
    use proptest::prelude::{Strategy, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn under(prefix: &str, name: &str) -> String {
        let mut joined = String::new();
        push_under(&mut joined, prefix, name);
        joined
    }

    /// Keys with and without tags, with unbalanced braces and with empty tags.
    fn keys() -> impl Strategy<Value = String> {
        "[ab0:#{}é]{1,12}"
    }

    fn prefixes() -> impl Strategy<Value = String> {
        "[ab0:#é]{1,6}"
    }

    proptest! {
        #[test]
        fn a_name_is_in_the_slot_of_its_key(key in keys(), word in "[a-z]{1,8}(:[0-9]{1,3}){0,2}") {
            let name = beside(&key, &word);
            let start = format!("{key}:#{word}");
            prop_assert!(name.starts_with(&start));
            prop_assert_eq!(slot_of(name.as_bytes()), slot_of(key.as_bytes()), "{}", name);
        }

        #[test]
        fn a_name_is_in_the_slot_of_its_key_under_a_prefix(key in keys(), prefix in prefixes(), outer in prefixes()) {
            let name = under(&prefix, &beside(&key, "lease"));
            let key = format!("{prefix}{key}");
            prop_assert!(name.starts_with(&key));
            prop_assert_eq!(slot_of(name.as_bytes()), slot_of(key.as_bytes()), "{}", name);
            let (name, key) = (under(&outer, &name), format!("{outer}{key}"));
            prop_assert_eq!(slot_of(name.as_bytes()), slot_of(key.as_bytes()), "{}", name);
        }

        #[test]
        fn a_prefix_is_taken_off_again(name in "[ab0:#{}é]{1,9}(:#[a-c]{1,3}){0,2}", prefix in prefixes()) {
            for name in [beside(&name, "lock"), name] {
                let joined = under(&prefix, &name);
                prop_assert!(joined.starts_with(&prefix) && joined.len() == prefix.len() + name.len());
                let back = without(&prefix, &joined);
                prop_assert_eq!(back.as_deref(), Some(name.as_str()), "{}", joined);
            }
        }

        #[test]
        fn keys_are_put_under_a_prefix_as_they_are(key in "[a-z0-9:{}]{1,20}", prefix in prefixes()) {
            prop_assert_eq!(under(&prefix, &key), format!("{prefix}{key}"));
        }
    }

    #[test]
    fn letters_are_there_for_every_slot_and_are_what_they_always_were() {
        for (slot, letters) in (0..SLOTS).zip(FILLS.iter()) {
            assert_eq!(slot_of(letters), slot);
        }
        assert_eq!(beside("user:7", "lease"), GOLDEN);
        assert_eq!(beside("{acme}:7", "lease"), "{acme}:7:#lease");
    }

    /// Other processes look for it there.
    const GOLDEN: &str = "user:7:#lease:#7OG";

    #[test]
    fn no_keyspace_makes_a_name_beside_a_key() {
        let keys = Keyspace::new("service").unwrap();
        for key in [keys.key(["user", "#lease"]), keys.key(["user:#lease", "#abc"])] {
            assert!(!key.contains(":#"), "{key}");
        }
    }

    #[test]
    fn a_key_leaves_room_for_what_is_beside_it() {
        assert!(check_room("", 7).is_err());
        let longest = "k".repeat(MAX_KEY_LEN - ROOM - 7);
        assert!(check_room(&longest, 7).is_ok());
        assert_eq!(beside(&longest, "7 bytes").len(), MAX_KEY_LEN);
        assert!(check_room(&(longest + "k"), 7).is_err());
    }
}
