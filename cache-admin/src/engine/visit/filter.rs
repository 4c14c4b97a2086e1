//! Which of the keys that were listed pass the filters.

use bytes::Bytes;

use super::{Stop, Visit, watched};
use crate::keys::{Described, Description, KeyAttributes};

/// Keys that one pipeline asks about.
const CHUNK: usize = 250;

impl Visit {
    /// Those of `keys` that pass; those that are gone meanwhile do not.
    pub(super) async fn passing(&self, keys: Vec<Bytes>) -> Result<Vec<Bytes>, Stop> {
        let filter = self.errand.plan.selection().filter();
        let Some(traits) = filter.traits() else {
            return Ok(keys);
        };
        let mut passing = Vec::new();
        for keys in keys.chunks(CHUNK) {
            let described = self.describe(keys, traits).await?;
            passing.extend(
                keys.iter()
                    .zip(described)
                    .filter(|(_, key)| key.as_ref().is_some_and(|key| filter.passes(key)))
                    .map(|(key, _)| key.clone()),
            );
        }
        Ok(passing)
    }

    async fn describe(
        &self,
        keys: &[Bytes],
        traits: KeyAttributes,
    ) -> Result<Vec<Option<Description>>, Stop> {
        let describe = self.again_if_transient(|| self.shard.describe(keys, traits));
        let described = watched(&*self.shard, &self.governor, describe).await?;
        let elsewhere: Vec<Bytes> = keys
            .iter()
            .zip(&described)
            .filter(|(_, key)| **key == Described::Elsewhere)
            .map(|(key, _)| key.clone())
            .collect();
        let mut followed = Vec::new();
        if !elsewhere.is_empty() {
            let follow = || self.errand.keys.describe_anywhere(&elsewhere, traits);
            followed = self.again_if_transient(follow).await?;
        }
        let mut followed = followed.into_iter();
        Ok(described
            .into_iter()
            .map(|key| match key {
                Described::Here(description) => Some(description),
                Described::Gone => None,
                Described::Elsewhere => followed.next().flatten(),
            })
            .collect())
    }
}
