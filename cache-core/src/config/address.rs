//! Where a server is: a host and a port, and their written form.
//!
//! Not in here: resolving names.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::parse;

/// A host and a port.
///
/// Written as `host:port`, an IPv6 address in brackets; [`Display`](fmt::Display) and
/// [`FromStr`] are each other's inverse.
///
/// ```
/// use cache_core::config::Address;
///
/// let address: Address = "[2001:db8::7]:6379".parse()?;
/// assert_eq!(address, Address::new("2001:db8::7", 6379));
/// assert_eq!(address.to_string(), "[2001:db8::7]:6379");
/// # Ok::<(), cache_core::config::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A host name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Address {
    /// The address `host`:`port`; `host` is without brackets.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Checks host and port.
    pub(super) fn check(&self) -> Result<(), AddressError> {
        if self.port == 0 {
            return Err(AddressError("the port must be from 1 to 65535"));
        }
        if self.host.contains(':') {
            return match self.host.parse::<Ipv6Addr>() {
                Ok(_) => Ok(()),
                Err(_) => Err(AddressError("what is in the brackets is no IPv6 address")),
            };
        }
        check_name(&self.host)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        check_written(text)?;
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest
                    .split_once(']')
                    .ok_or(AddressError("a closing bracket is missing"))?;
                if host.parse::<Ipv6Addr>().is_err() {
                    return Err(AddressError("what is in the brackets is no IPv6 address"));
                }
                (host, port.strip_prefix(':').ok_or(NO_PORT)?)
            }
            None => {
                let (host, port) = text.rsplit_once(':').ok_or(NO_PORT)?;
                if host.contains(':') {
                    return Err(IN_BRACKETS);
                }
                (host, port)
            }
        };
        if port.is_empty() {
            return Err(NO_PORT);
        }
        if !port.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(AddressError("the port is not a number"));
        }
        // A number that is too large gets the same error as 0.
        let port = port.parse().unwrap_or(0);
        let address = Self::new(host, port);
        address.check()?;
        Ok(address)
    }
}

/// Why a text is not an [`Address`]. Never shows the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(&'static str);

impl AddressError {
    pub(super) const fn words(self) -> &'static str {
        self.0
    }
}

const NO_PORT: AddressError = AddressError("the port is missing (6379 is the usual one)");
const IN_BRACKETS: AddressError = AddressError("an IPv6 address must be in brackets");

/// Checks `text` before it is split.
fn check_written(text: &str) -> Result<(), AddressError> {
    let quote = ['"', '\'', '`'];
    Err(AddressError(if text.is_empty() {
        "it is empty: is there a comma too many?"
    } else if text.starts_with(quote) || text.ends_with(quote) {
        parse::QUOTES
    } else if text.contains("://") || text.contains('@') {
        "it is a URL; a URL belongs into CACHE_URL, here it is host:port, and user and password by their own names"
    } else if text.contains(';') || text.contains(char::is_whitespace) {
        "it has a space or a semicolon in it; addresses are separated by commas"
    } else {
        return Ok(());
    }))
}

/// Returns `text` as a host, if it is one without a port.
pub(super) fn host_of(text: &str) -> Result<Option<String>, AddressError> {
    if text.is_empty() {
        return Err(AddressError("the host is missing"));
    }
    check_written(text)?;
    if let Some(host) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let address = Address::new(host, 1);
        address.check()?;
        return Ok(Some(address.host));
    }
    if text.contains(':') {
        return Ok(None);
    }
    check_name(text).map(|()| Some(text.to_owned()))
}

fn check_name(host: &str) -> Result<(), AddressError> {
    if host.is_empty() {
        return Err(AddressError("the host is missing"));
    }
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    // A name may end with a dot: it is then looked up unchanged.
    if host.len() > 253 || !host.strip_suffix('.').unwrap_or(host).split('.').all(label) {
        return Err(AddressError("the host is neither a host name nor an IP address"));
    }
    let numeric = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(AddressError("the host is no IPv4 address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn host_and_port_round_trip(host in "[a-z][a-z0-9-]{0,20}(\\.[a-z][a-z0-9]{0,10}){0,3}", port in 1_u16..) {
            let address = Address::new(host, port);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn ip_address_round_trips(v4: u32, v6: u128, port in 1_u16..) {
            for host in [Ipv4Addr::from(v4).to_string(), Ipv6Addr::from(v6).to_string()] {
                let address = Address::new(host, port);
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in ".{0,40}") {
            if let Ok(address) = text.parse::<Address>() {
                prop_assert!(address.check().is_ok());
            }
        }
    }

    #[test]
    fn wrong_address_says_what_is_wrong() {
        for (text, part) in [
            ("", "empty"),
            ("cache", "port is missing"),
            ("cache:", "port is missing"),
            ("cache:0", "port must be"),
            ("cache:65536", "port must be"),
            ("cache:+1", "port is not a number"),
            ("\"cache:6379\"", "literal quotes"),
            ("cache:6379'", "literal quotes"),
            ("a:6379 b:6379", "separated by commas"),
            ("a:6379;b:6379", "separated by commas"),
            (":6379", "host is missing"),
            ("::1:6379", "in brackets"),
            ("[::1]", "port is missing"),
            ("[::1:6379", "closing bracket"),
            ("[cache]:6379", "no IPv6"),
            ("10.0.0:6379", "no IPv4"),
            ("ca(che:6379", "neither a host name"),
            ("a..b:6379", "neither a host name"),
            ("redis://user:s3cr3t@cache:6379", "belongs into CACHE_URL"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("s3cr3t"));
        }
    }
}
