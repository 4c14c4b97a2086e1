//! Maps announced addresses to addresses that are reachable from here.
//!
//! Servers announce addresses to each other and to clients (`CLUSTER SLOTS`, sentinels). From another
//! network, other addresses may be needed. Not in here: which server announces what.

use std::fmt;
use std::str::FromStr;

use super::Address;
use super::address::{AddressError, host_of};

/// Maps announced addresses to addresses that are reachable from here.
///
/// Written as `announced=reachable`, several separated by commas: `host:port=host:port` for one server, `host=host`
/// for all ports of a host. An entry with a port wins over one without.
///
/// ```
/// use cache_core::config::{Address, AddressMap};
///
/// let map: AddressMap = "10.0.0.1:6379=localhost:7001,10.0.0.2=node-2.example".parse()?;
/// assert_eq!(map.reachable(&Address::new("10.0.0.1", 6379)), Address::new("localhost", 7001));
/// assert_eq!(map.reachable(&Address::new("10.0.0.2", 6380)), Address::new("node-2.example", 6380));
/// assert_eq!(map.reachable(&Address::new("10.0.0.3", 6379)), Address::new("10.0.0.3", 6379));
/// # Ok::<(), cache_core::config::AddressMapError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressMap {
    entries: Vec<(Place, Place)>,
}

/// A host, with a port or with any.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<u16>,
}

impl AddressMap {
    /// The reachable address of `announced`: the address itself if the map does not contain it.
    #[must_use]
    pub fn reachable(&self, announced: &Address) -> Address {
        let entry = |port: Option<u16>| {
            self.entries
                .iter()
                .find(|(known, _)| known.port == port && known.host.eq_ignore_ascii_case(&announced.host))
        };
        match entry(Some(announced.port)).or_else(|| entry(None)) {
            Some((_, reachable)) => {
                Address::new(reachable.host.clone(), reachable.port.unwrap_or(announced.port))
            }
            None => announced.clone(),
        }
    }

    /// Whether the map is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }
}

impl FromStr for AddressMap {
    type Err = AddressMapError;

    fn from_str(text: &str) -> Result<Self, AddressMapError> {
        let mut entries: Vec<(Place, Place)> = Vec::new();
        for (index, entry) in text.split(',').enumerate() {
            let wrong = |why| AddressMapError {
                entry: index + 1,
                why,
            };
            let entry = entry.trim();
            if entry.is_empty() {
                return Err(wrong("it is empty: is there a comma too many?"));
            }
            let (announced, reachable) = entry.split_once('=').ok_or(wrong("the = is missing"))?;
            let place = |text: &str| Place::read(text.trim()).map_err(|error| wrong(error.words()));
            let (announced, reachable) = (place(announced)?, place(reachable)?);
            if announced.port.is_some() != reachable.port.is_some() {
                return Err(wrong("either both sides have a port or none has"));
            }
            if entries.iter().any(|(known, _)| *known == announced) {
                return Err(wrong("an earlier entry has the same announced address"));
            }
            entries.push((announced, reachable));
        }
        Ok(Self { entries })
    }
}

impl fmt::Display for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (announced, reachable)) in self.entries.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{announced}={reachable}")?;
        }
        Ok(())
    }
}

impl Place {
    fn read(text: &str) -> Result<Self, AddressError> {
        if let Some(host) = host_of(text)? {
            return Ok(Self { host, port: None });
        }
        let Address { host, port } = text.parse()?;
        Ok(Self {
            host,
            port: Some(port),
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => Address::new(&*self.host, port).fmt(f),
            None if self.host.contains(':') => write!(f, "[{}]", self.host),
            None => f.write_str(&self.host),
        }
    }
}

/// Why a text is not an [`AddressMap`]; never shows the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry}: {why}")]
pub struct AddressMapError {
    entry: usize,
    why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_with_a_port_wins_over_one_without() {
        let map: AddressMap = "a=b, a:1=c:2, [::1]=localhost".parse().unwrap();
        let at = |host, port| map.reachable(&Address::new(host, port)).to_string();
        assert_eq!(at("A", 1), "c:2");
        assert_eq!(at("a", 2), "b:2");
        assert_eq!(at("::1", 5), "localhost:5");
        assert_eq!(at("x", 1), "x:1");
        assert_eq!(map.to_string(), "a=b,a:1=c:2,[::1]=localhost");
        assert_eq!(map.to_string().parse(), Ok(map));
    }

    #[test]
    fn wrong_entry_is_named_by_position() {
        for (text, part) in [
            ("a=b,", "entry 2: it is empty"),
            ("a", "entry 1: the = is missing"),
            ("a=b,c:1=d", "entry 2: either both"),
            ("a=", "entry 1: the host is missing"),
            ("a:1=b:x", "entry 1: the port is not a number"),
            ("a=b,a=c", "entry 2: an earlier entry"),
            ("a=redis://b", "entry 1: it is a URL"),
        ] {
            let error = text.parse::<AddressMap>().unwrap_err().to_string();
            assert!(error.starts_with(part), "{text}: {error}");
        }
    }
}
