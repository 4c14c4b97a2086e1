//! A circuit for each part of a backend whose parts can fail one by one, such as the nodes of a cluster.
//!
//! Not in here: what a part is. The guard's configuration says so.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::breaker::Breaker;

/// Returns the part of the backend that holds a key. Equal numbers are one part.
#[derive(Clone)]
pub(super) struct PartOf(pub(super) Arc<dyn Fn(&str) -> u64 + Send + Sync>);

/// The largest number of circuits. More parts than that share them.
const MOST: usize = 256;

/// The circuits of parts. The first call of a part creates its circuit.
pub(super) struct Parts {
    of: PartOf,
    breakers: Box<[OnceLock<Box<Breaker>>]>,
}

impl Parts {
    pub(super) fn new(of: PartOf) -> Self {
        Self {
            of,
            breakers: std::iter::repeat_with(OnceLock::new).take(MOST).collect(),
        }
    }

    /// Returns the circuit of the part that holds `key`.
    pub(super) fn breaker(&self, key: &str, make: impl FnOnce() -> Breaker) -> Option<&Breaker> {
        let breaker = self.breakers.get(self.circuit(key))?;
        Some(breaker.get_or_init(|| Box::new(make())))
    }

    /// Returns the positions of `keys` by circuit, in the order in which the circuits appear. `None` if one circuit
    /// has all keys.
    pub(super) fn split(&self, keys: &[&str]) -> Option<Vec<Vec<usize>>> {
        let mut circuits = keys.iter().map(|key| self.circuit(key));
        let first = circuits.next()?;
        let alike = circuits.take_while(|circuit| *circuit == first).count() + 1;
        if alike == keys.len() {
            return None;
        }
        let mut groups = vec![(0..alike).collect()];
        let mut group_of = vec![None; MOST];
        group_of[first] = Some(0);
        for (position, key) in keys.iter().enumerate().skip(alike) {
            let group = group_of[self.circuit(key)].get_or_insert_with(|| {
                groups.push(Vec::new());
                groups.len() - 1
            });
            groups[*group].push(position);
        }
        Some(groups)
    }

    /// Returns the number of the circuit of `key`: below `MOST`.
    fn circuit(&self, key: &str) -> usize {
        // Numbers may be addresses, whose low bits are equal.
        let [mixed, ..] = (self.of.0)(key).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes();
        usize::from(mixed)
    }

    /// The circuits created so far.
    pub(super) fn breakers(&self) -> impl Iterator<Item = &Breaker> {
        self.breakers
            .iter()
            .filter_map(OnceLock::get)
            .map(|breaker| &**breaker)
    }
}

impl fmt::Debug for PartOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartOf")
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts")
            .field("circuits", &self.breakers().count())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts by the first byte of a key.
    fn by_first_byte() -> Parts {
        Parts::new(PartOf(Arc::new(|key: &str| {
            key.bytes().next().map_or(0, u64::from)
        })))
    }

    #[test]
    fn keys_of_one_part_are_not_split() {
        let parts = by_first_byte();
        assert_eq!(parts.split(&[]), None);
        assert_eq!(parts.split(&["a1"]), None);
        assert_eq!(parts.split(&["a1", "a2", "a1"]), None);
    }

    #[test]
    fn positions_keep_their_order_within_a_part() {
        let groups = by_first_byte().split(&["a1", "a2", "b1", "a1", "c1", "b2"]);
        assert_eq!(groups, Some(vec![vec![0, 1, 3], vec![2, 5], vec![4]]));
    }

    #[test]
    fn parts_beyond_the_bound_share_circuits() {
        let parts = Parts::new(PartOf(Arc::new(|key: &str| key.parse().unwrap_or(0))));
        let keys: Vec<String> = (0..10_000).map(|part: u32| part.to_string()).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let groups = parts.split(&keys).unwrap();
        assert!(groups.len() <= MOST, "{}", groups.len());
        let mut positions = groups.concat();
        positions.sort_unstable();
        assert!(positions.iter().copied().eq(0..keys.len()), "each key once");
    }

    #[test]
    fn neighbouring_addresses_have_circuits_of_their_own() {
        let parts = Parts::new(PartOf(Arc::new(|key: &str| key.parse().unwrap_or(0))));
        let addresses: Vec<String> = (0..30_u64)
            .map(|node| (0x7f00_1000_u64 + node * 64).to_string())
            .collect();
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let groups = parts.split(&addresses).unwrap();
        assert!(groups.len() > 20, "{}", groups.len());
    }
}
