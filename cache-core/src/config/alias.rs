//! Older names of settings, from services that already had a cache.

use std::collections::BTreeMap;

use super::reference::{self, Variable};
use super::{Address, parse};

/// The two variables that form one address.
const HOST: &str = "REDIS_HOST";
const PORT: &str = "REDIS_PORT";
const DEFAULT_PORT: u16 = 6379;

/// Whether `name` is an older name, or the `_FILE` of one.
pub(super) fn is_alias(name: &str) -> bool {
    reference::VARIABLES.iter().any(|variable| {
        variable.aliases.iter().any(|alias| {
            *alias == name
                || (variable.from_file && name.strip_suffix("_FILE").is_some_and(|plain| plain == *alias))
        })
    })
}

/// The result of reading host and port.
pub(super) enum Pair {
    /// There is no host. A port alone means nothing.
    None,
    /// An address in the form of `CACHE_ADDRS`.
    Address(String),
    /// The variable that is wrong, and why.
    Wrong(&'static str, &'static str),
}

/// Removes host and port from `names` and reads them.
pub(super) fn take_pair(names: &mut BTreeMap<String, String>) -> Pair {
    // Kubernetes sets this variable to a URL for every service called `redis`; it is not meant for us.
    let port = names.remove(PORT).filter(|port| !port.contains("://"));
    let Some(host) = names.remove(HOST) else {
        return Pair::None;
    };
    let host = host.trim();
    if port.is_none() && host.parse::<Address>().is_ok() {
        return Pair::Address(host.to_owned());
    }
    let port = match port.as_deref().map(|port| parse::number::<u16>(port.trim())) {
        None => DEFAULT_PORT,
        Some(Some(port)) if port > 0 => port,
        Some(_) => {
            return Pair::Wrong(
                PORT,
                "must be a port from 1 to 65535 (or set CACHE_ADDRS in place of both)",
            );
        }
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let address = Address::new(host, port);
    match address.check() {
        Ok(()) => Pair::Address(address.to_string()),
        Err(_) => Pair::Wrong(
            HOST,
            "must be a host name or an IP address (or set CACHE_ADDRS in its place)",
        ),
    }
}

/// Whether `name` is one of the pair.
pub(super) fn is_of_pair(name: &str) -> bool {
    name == HOST || name == PORT
}

/// Whether `name` belongs to the previous server, while `address` names the new one. A leftover password,
/// database or switch of one server must not go to the other.
pub(super) fn is_of_previous_server(name: &str, address: &str) -> bool {
    name.starts_with("REDIS_") && address.starts_with("VALKEY_")
}

/// The name under which the pair is reported.
pub(super) const PAIR: &str = HOST;

/// The warning for an older name that is in use.
pub(super) fn in_use(variable: &Variable) -> String {
    format!("is an older name, set {} instead", variable.name)
}

/// The warning for an older name that a newer one overrides.
pub(super) fn overridden(newer: &str) -> String {
    format!("is an older name and has no effect, because {newer} is set")
}
