//! Where an address leads from here, and who named it.
//!
//! Servers announce addresses of each other. One that cannot be resolved is no fault of the configured addresses, so the
//! error says who announced it. Not in here: connections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache_core::config::{Address, AddressMap};
use cache_core::{CacheError, Unavailability};

use super::{Dialer, unreachable};

/// Announced addresses that are remembered at most: a cluster has at most 1,000 nodes.
const REMEMBERED: usize = 4096;

/// Who announced which address.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    by_address: Mutex<HashMap<Address, Address>>,
}

impl Announced {
    /// Notes that the server at `by` announces `addresses`.
    pub(crate) fn note<'a>(&self, by: &Address, addresses: impl IntoIterator<Item = &'a Address>) {
        let mut known = self.by_address();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        for address in addresses {
            if address != by && known.get(address) != Some(by) {
                known.insert(address.clone(), by.clone());
            }
        }
    }

    fn of(&self, address: &Address) -> Option<Address> {
        self.by_address().get(address).cloned()
    }

    fn by_address(&self) -> MutexGuard<'_, HashMap<Address, Address>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of addresses.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) map: AddressMap,
    pub(super) configured: Vec<Address>,
    pub(super) announced: Arc<Announced>,
}

impl Places {
    /// What to check if the name of `address` does not lead anywhere. `reachable` is where the map leads.
    pub(super) fn unresolved(&self, address: &Address, reachable: &Address) -> String {
        if address != reachable {
            return format!(
                "which CACHE_ADDRESS_MAP says is reachable at {reachable}; check the map and the name service"
            );
        }
        if self.configured.contains(address) {
            return "check CACHE_ADDRS and the name service".to_owned();
        }
        let by = self.announced.of(address);
        let by = by.map_or_else(|| "a server".to_owned(), |by| by.to_string());
        format!(
            "which {by} announces; let the servers announce what can be resolved here (cluster-announce-hostname, \
             cluster-preferred-endpoint-type, replica-announce-ip), or set CACHE_ADDRESS_MAP"
        )
    }

    /// What to add to the failure of a connection to an address that is not a configured one.
    pub(super) fn unreached(&self, address: &Address, reachable: &Address) -> String {
        if address != reachable {
            return format!(" (reachable at {reachable} by CACHE_ADDRESS_MAP)");
        }
        if self.configured.contains(address) {
            return String::new();
        }
        match self.announced.of(address) {
            Some(by) => format!(" (announced by {by})"),
            None => String::new(),
        }
    }
}

/// An address, as it is named, and the host that it leads to.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) address: &'a Address,
    pub(super) host: &'a str,
}

impl Dialer {
    pub(super) async fn look_up(
        &self,
        address: &Address,
        reachable: &Address,
    ) -> Result<Vec<SocketAddr>, CacheError> {
        let found = self.resolve.resolve(&reachable.host, reachable.port).await;
        found.map_err(|error| {
            let detail = self.places.unresolved(address, reachable);
            unreachable(address, Unavailability::Resolve, &detail, Some(error))
        })
    }

    /// `error` with where `address` comes from, if it is not a configured one.
    pub(super) fn told_of(&self, address: &Address, reachable: &Address, error: CacheError) -> CacheError {
        let origin = self.places.unreached(address, reachable);
        match error {
            CacheError::Unavailable {
                reason,
                detail,
                outcome,
                source,
            } if !origin.is_empty() && reason != Unavailability::NotReady => CacheError::Unavailable {
                reason,
                detail: format!("{detail}{origin}").into(),
                outcome,
                source,
            },
            other => other,
        }
    }

    pub(super) async fn reread_certificates(&self) -> bool {
        match &self.tls {
            Some(tls) => tls.reread().await,
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(map: &str) -> Places {
        Places {
            map: if map.is_empty() {
                AddressMap::default()
            } else {
                map.parse().unwrap()
            },
            configured: vec![Address::new("seed", 1)],
            announced: Arc::default(),
        }
    }

    #[test]
    fn the_one_who_announced_an_address_is_named() {
        let places = places("");
        let (seed, inner) = (Address::new("seed", 1), Address::new("inner", 2));
        assert_eq!(
            places.unresolved(&seed, &seed),
            "check CACHE_ADDRS and the name service"
        );
        assert!(
            places
                .unresolved(&inner, &inner)
                .starts_with("which a server announces")
        );
        places.announced.note(&seed, [&seed, &inner]);
        assert!(
            places
                .unresolved(&inner, &inner)
                .starts_with("which seed:1 announces")
        );
        assert_eq!(places.unreached(&inner, &inner), " (announced by seed:1)");
        assert_eq!(places.unreached(&seed, &seed), "");
    }

    #[test]
    fn the_map_is_blamed_for_where_it_leads() {
        let places = places("inner=outer");
        let (inner, outer) = (Address::new("inner", 2), Address::new("outer", 2));
        assert_eq!(places.map.reachable(&inner), outer);
        assert!(
            places
                .unresolved(&inner, &outer)
                .contains("CACHE_ADDRESS_MAP says is reachable at outer:2")
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let announced = Announced::default();
        for port in 1..=u16::MAX {
            announced.note(&Address::new("seed", 1), [&Address::new("a", port)]);
        }
        assert!(announced.by_address().len() <= REMEMBERED);
    }
}
