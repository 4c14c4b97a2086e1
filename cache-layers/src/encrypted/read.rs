//! Opens stored values, and decides what happens to those that do not open.
//!
//! Not in here: where they were read from, and what a caller does with them (`client.rs`, `conditional.rs`).

use bytes::Bytes;
use cache_core::integer;

use super::form::Shape;
use super::stats::{Count, Unreadable};
use super::{Encrypted, Name};
use crate::keyset::{Keyset, OpenError, OutputPrefix};

/// A value that was read.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) value: Bytes,
    /// Whether it is a counter in clear text.
    pub(super) is_counter: bool,
}

/// Why a stored value was not read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    reason: Unreadable,
    /// The key that the value names, if it names one that is unknown.
    key_id: Option<u32>,
}

impl Trouble {
    const fn new(reason: Unreadable) -> Self {
        Self { reason, key_id: None }
    }

    /// Whether no instance can read the value, with any keyset, form or mode.
    pub(super) const fn is_dead(self) -> bool {
        matches!(self.reason, Unreadable::Malformed | Unreadable::Refused)
    }

    /// Whether a conditional write may treat the entry as absent and replace it. An entry of an unknown key may be a
    /// valid entry, or the lock, of an instance with a newer keyset.
    pub(super) const fn is_replaceable(self) -> bool {
        !self.is_of_an_unknown_key()
    }

    const fn is_of_an_unknown_key(self) -> bool {
        matches!(self.reason, Unreadable::UnknownKey)
    }
}

impl Encrypted {
    /// Opens `stored` with the keyset in use.
    #[inline]
    pub(super) fn open(&self, key: &str, stored: &Bytes) -> Result<Opened, Trouble> {
        if self.config.counters && integer::parse(stored).is_some() {
            return Ok(Opened {
                value: stored.clone(),
                is_counter: true,
            });
        }
        let ciphertext = match self.config.form.unwrap(stored) {
            Shape::Ciphertext(ciphertext) => ciphertext,
            // In a form with a mark, values that are not encrypted have another name.
            Shape::Other => return Err(Trouble::new(Unreadable::NotSealed)),
            Shape::Malformed => return Err(Trouble::new(Unreadable::Malformed)),
        };
        let keyset = self.keyring.current();
        match keyset.open(&ciphertext, key.as_bytes()) {
            Ok(value) => {
                self.counts.add(Count::Opened);
                Ok(Opened {
                    value: value.into(),
                    is_counter: false,
                })
            }
            Err(error) => self.judge(&keyset, stored, &ciphertext, error),
        }
    }

    /// Classifies bytes that did not open.
    #[cold]
    fn judge(
        &self,
        keyset: &Keyset,
        stored: &Bytes,
        ciphertext: &[u8],
        error: OpenError,
    ) -> Result<Opened, Trouble> {
        let names_a_key = matches!(ciphertext, [0 | 1, ..]);
        match error {
            OpenError::UnknownKey { key_id } => Err(Trouble {
                key_id: Some(key_id),
                ..Trouble::new(Unreadable::UnknownKey)
            }),
            // It was tried with the very key that it names.
            OpenError::Refused if names_a_key => Err(Trouble::new(Unreadable::Refused)),
            // A ciphertext that names no key belongs to a RAW key, here to one that this keyset does not have.
            _ if self.config.form.is_marked() => Err(Trouble::new(Unreadable::UnknownKey)),
            OpenError::Refused if has_raw_keys(keyset) => Err(Trouble::new(Unreadable::UnknownKey)),
            OpenError::Refused | OpenError::TooShort if self.reads_plaintext() => {
                Ok(self.plaintext(stored.clone()))
            }
            OpenError::Refused | OpenError::TooShort => Err(Trouble::new(Unreadable::NotSealed)),
        }
    }

    /// A value that is not encrypted but is read anyway.
    pub(super) fn plaintext(&self, value: Bytes) -> Opened {
        self.counts.add(Count::Plaintext);
        Opened {
            value,
            is_counter: false,
        }
    }

    /// Handles a value that was not read. If its key is unknown, it is read again after a refresh of the keyset. If
    /// no instance can read it, it is removed. Returns `None` for a miss.
    pub(super) async fn settle(&self, name: &Name<'_>, stored: &Bytes, trouble: Trouble) -> Option<Opened> {
        let trouble = match self.try_again(name, stored, trouble).await {
            Ok(opened) => return Some(opened),
            Err(trouble) => trouble,
        };
        self.give_up(name, stored, trouble).await;
        None
    }

    /// Opens a value of an unknown key again, if a refresh of the keyset brought the key.
    async fn try_again(&self, name: &Name<'_>, stored: &Bytes, trouble: Trouble) -> Result<Opened, Trouble> {
        if !trouble.is_of_an_unknown_key() {
            return Err(trouble);
        }
        match trouble.key_id {
            Some(id) if self.keyring.learn(id).await => self.open(name.key, stored),
            Some(_) => Err(trouble),
            None => {
                // Only another try can show whether a refresh brings the key, so no caller waits for it.
                self.keyring.ask();
                Err(trouble)
            }
        }
    }

    /// Counts a value that is a miss, and removes it if no instance can read it: these very bytes, or nothing.
    pub(super) async fn give_up(&self, name: &Name<'_>, stored: &Bytes, trouble: Trouble) {
        self.count(trouble);
        if trouble.is_dead() {
            let removed = self.inner.compare_and_delete(&name.stored, stored).await;
            // An error is no reason to fail a read. The next read tries again.
            if removed.is_ok_and(|removed| removed) {
                self.counts.add(Count::Removed);
            }
        }
    }

    pub(super) fn count(&self, trouble: Trouble) {
        self.counts.add(Count::Unreadable(trouble.reason));
    }

    /// Waits once for all unknown keys that many values name.
    pub(super) async fn learn_all(&self, troubles: impl Iterator<Item = Trouble>) {
        let mut unknown: Vec<u32> = troubles.filter_map(|trouble| trouble.key_id).collect();
        unknown.sort_unstable();
        unknown.dedup();
        for id in unknown {
            // One refresh brings all keys that exist. If it did not bring this one, it brings none of the others
            // before the next refresh may begin.
            if !self.keyring.learn(id).await {
                return;
            }
        }
    }
}

fn has_raw_keys(keyset: &Keyset) -> bool {
    let mut keys = keyset.info().keys.iter();
    keys.any(|key| key.prefix == Some(OutputPrefix::Raw))
}
