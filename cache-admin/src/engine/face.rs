//! What other rooms of this crate see of the engine's insides: enough to page over keys, and to tell one
//! selection from another.

use std::sync::Arc;

use bytes::Bytes;
use cache_core::{Asked, Pattern};

use super::plan::Plan;
use super::probe::probes_of;
use super::{Engine, Selection};
use crate::SlotSet;
use crate::keys::{Description, KeyAttributes, KeyType, Keys};

impl Engine {
    pub(crate) fn keys(&self) -> &Arc<dyn Keys> {
        &self.keys
    }

    /// For each of `slots` a key of it that almost certainly does not exist, and that begins as those of
    /// `pattern` do.
    pub(crate) fn probes(pattern: &Pattern, slots: &SlotSet) -> Vec<(u16, Bytes)> {
        probes_of(pattern.literal_prefix(), slots)
    }
}

impl Selection {
    /// What the servers are asked for: a pattern that matches whatever one of the patterns does.
    pub(crate) fn whole(&self) -> Asked {
        Plan::new(self.clone()).whole().clone()
    }

    /// The slots of the patterns, where each has one.
    pub(crate) fn slots(&self) -> Option<SlotSet> {
        Plan::new(self.clone()).slots()
    }

    /// The one type that a scan can ask for by itself.
    pub(crate) fn only_type(&self) -> Option<KeyType> {
        self.filter().only_type()
    }

    /// What the filters have to know of each key.
    pub(crate) fn needs(&self) -> KeyAttributes {
        self.filter().traits().unwrap_or_default()
    }

    /// Whether a key like that passes the filters.
    pub(crate) fn passes(&self, key: &Description) -> bool {
        self.filter().passes(key)
    }

    #[cfg(feature = "http")]
    /// The selection as fields: two that are not the same, patterns in their order, differ in them.
    pub(crate) fn fingerprint(&self) -> Vec<Vec<u8>> {
        let filter = self.filter();
        let mut fields = vec![self.patterns().len().to_string().into_bytes()];
        fields.extend(self.patterns().iter().map(|pattern| pattern.as_bytes().to_vec()));
        let types: Vec<&str> = filter.types.iter().map(|kind| kind.name()).collect();
        fields.push(types.join(",").into_bytes());
        // Ranges of numbers: their debug form is as good as any, and says all of them.
        let rest = format!("{:?} {:?} {:?}", filter.life, filter.size, filter.idle);
        fields.push(rest.into_bytes());
        fields
    }
}

#[cfg(all(test, feature = "http"))]
mod tests {
    use std::time::Duration;

    use super::super::Life;
    use super::*;

    #[test]
    fn selections_that_differ_in_anything_have_other_fingerprints() {
        let of = |texts: &[&str]| {
            Selection::any_of(texts.iter().map(|text| Pattern::new(*text).unwrap())).unwrap()
        };
        let a = || of(&["a*"]);
        let secs = Duration::from_secs;
        let all = [
            a(),
            of(&["b*"]),
            of(&["a*", "b*"]),
            of(&["b*", "a*"]),
            a().with_types([KeyType::Hash]),
            a().with_types([KeyType::Hash, KeyType::Set]),
            a().with_life(Life::Forever),
            a().with_life(Life::Within(secs(1)..=secs(2))),
            a().with_life(Life::Within(secs(1)..=secs(3))),
            a().with_size(1..=2),
            a().with_size(1..=3),
            a().with_idle(secs(1)),
            a().with_idle(secs(2)),
        ];
        for (one, selection) in all.iter().enumerate() {
            for (two, other) in all.iter().enumerate() {
                assert_eq!(
                    selection.fingerprint() == other.fingerprint(),
                    one == two,
                    "{one} {two}"
                );
            }
        }
    }
}
