//! Keys that have something in common, and what they are reckoned to take together.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// More groups than this are one: what names them may be anything.
const MOST: usize = 1_000;
const OTHERS: &str = "(others)";

/// Keys that have something in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema), schema(as = KeyGroup))]
#[non_exhaustive]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// How many of them were looked at.
    pub sampled: u64,
    /// The memory that one of them takes on average, in bytes.
    pub average_bytes: u64,
    /// How many there are, as far as the sample tells.
    pub estimated_keys: u64,
    /// The memory that they take together, as far as the sample tells.
    pub estimated_bytes: u64,
}

/// Gathers groups.
#[derive(Debug, Default)]
pub(super) struct Groups(HashMap<String, Sum>);

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    sampled: u64,
    bytes: u64,
    keys: f64,
    weighted: f64,
}

impl Groups {
    /// One key of `bytes` in the group `name`, which stands for `weight` of them.
    pub(super) fn add(&mut self, name: &str, bytes: u64, weight: f64) {
        let name = if self.0.len() >= MOST && !self.0.contains_key(name) {
            OTHERS
        } else {
            name
        };
        let sum = match self.0.get_mut(name) {
            Some(sum) => sum,
            None => self.0.entry(name.to_owned()).or_default(),
        };
        sum.sampled += 1;
        sum.bytes = sum.bytes.saturating_add(bytes);
        sum.keys += weight;
        #[expect(clippy::cast_precision_loss, reason = "sizes of keys, far below 2^52")]
        let bytes = bytes as f64;
        sum.weighted += bytes * weight;
    }

    /// The groups, the one that takes the most first.
    pub(super) fn finish(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self
            .0
            .into_iter()
            .map(|(name, sum)| Group {
                name,
                sampled: sum.sampled,
                average_bytes: sum.bytes / sum.sampled.max(1),
                estimated_keys: rounded(sum.keys),
                estimated_bytes: rounded(sum.weighted),
            })
            .collect();
        groups.sort_by(|one, two| {
            let order = two.estimated_bytes.cmp(&one.estimated_bytes);
            order.then_with(|| one.name.cmp(&two.name))
        });
        groups
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate, never negative; what is too large becomes the largest"
)]
fn rounded(number: f64) -> u64 {
    number.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_end_do_not_take_memory_without_end() {
        let mut groups = Groups::default();
        for number in 0..5 * MOST {
            groups.add(&number.to_string(), 1, 1.0);
        }
        let groups = groups.finish();
        assert_eq!(groups.len(), MOST + 1);
        assert_eq!(groups[0].name, OTHERS);
        let all: u64 = groups.iter().map(|group| group.sampled).sum();
        assert_eq!(all, 5 * 1_000);
    }
}
