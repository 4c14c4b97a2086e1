//! Resolves addresses and remembers which server announced them.
//!
//! Servers announce each other's addresses. If an announced address cannot be resolved, the configured
//! addresses are not at fault, so the error names the server that announced it. Not in here: connections.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cache_core::config::{Address, AddressMap};
use cache_core::{CacheError, Unavailability};

use super::Dialer;
use super::failure::{reworded, unreachable};

/// The most announced addresses that are remembered: a cluster has at most 1,000 nodes.
const REMEMBERED: usize = 4096;

/// Which server announced which address.
#[derive(Debug, Default)]
pub(crate) struct Announced {
    by_address: Mutex<HashMap<Address, Address>>,
}

impl Announced {
    /// Records that the server at `by` announces `addresses`.
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

/// The configured, mapped and announced addresses.
#[derive(Debug)]
pub(super) struct AddressOrigins {
    pub(super) map: AddressMap,
    pub(super) configured: Vec<Address>,
    pub(super) announced: Arc<Announced>,
}

impl AddressOrigins {
    /// What to check if the name of `address` cannot be resolved. `reachable` is the mapped address.
    pub(super) fn resolve_advice(&self, address: &Address, reachable: &Address) -> String {
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

    /// A note on the origin of an address that is not configured, for connection errors.
    pub(super) fn origin_note(&self, address: &Address, reachable: &Address) -> String {
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

/// An address as it is named, and the mapped host to connect to.
#[derive(Clone, Copy)]
pub(super) struct Endpoint<'a> {
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
            let detail = self.origins.resolve_advice(address, reachable);
            unreachable(address, Unavailability::Resolve, &detail, Some(error))
        })
    }

    /// Adds the origin of `address` to `error`, if it is not a configured address.
    pub(super) fn with_origin(
        &self,
        address: &Address,
        reachable: &Address,
        error: CacheError,
    ) -> CacheError {
        let origin = self.origins.origin_note(address, reachable);
        reworded(error, |reason, detail| match reason {
            Unavailability::NotReady => detail.to_owned(),
            _ => format!("{detail}{origin}"),
        })
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

    fn origins(map: &str) -> AddressOrigins {
        AddressOrigins {
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
    fn error_names_the_server_that_announced_an_address() {
        let origins = origins("");
        let (seed, inner) = (Address::new("seed", 1), Address::new("inner", 2));
        assert_eq!(
            origins.resolve_advice(&seed, &seed),
            "check CACHE_ADDRS and the name service"
        );
        assert!(
            origins
                .resolve_advice(&inner, &inner)
                .starts_with("which a server announces")
        );
        origins.announced.note(&seed, [&seed, &inner]);
        assert!(
            origins
                .resolve_advice(&inner, &inner)
                .starts_with("which seed:1 announces")
        );
        assert_eq!(origins.origin_note(&inner, &inner), " (announced by seed:1)");
        assert_eq!(origins.origin_note(&seed, &seed), "");
    }

    #[test]
    fn error_names_the_address_map() {
        let origins = origins("inner=outer");
        let (inner, outer) = (Address::new("inner", 2), Address::new("outer", 2));
        assert_eq!(origins.map.reachable(&inner), outer);
        assert!(
            origins
                .resolve_advice(&inner, &outer)
                .contains("CACHE_ADDRESS_MAP says is reachable at outer:2")
        );
    }

    #[test]
    fn remembered_addresses_are_bounded() {
        let announced = Announced::default();
        for port in 1..=u16::MAX {
            announced.note(&Address::new("seed", 1), [&Address::new("a", port)]);
        }
        assert!(announced.by_address().len() <= REMEMBERED);
    }
}
