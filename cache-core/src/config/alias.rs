//! Older names of settings, from services that had a cache before.

use std::collections::BTreeMap;

use super::reference::{self, Variable};
use super::{Address, form};

/// The two that make one address together.
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

/// What a pair of host and port comes to.
pub(super) enum Pair {
    /// There is no host. A port alone says nothing.
    None,
    /// An address as it is written in `CACHE_ADDRS`.
    Address(String),
    /// What is wrong, and with which of the two.
    Wrong(&'static str, &'static str),
}

/// Takes host and port out of `names`.
pub(super) fn take_pair(names: &mut BTreeMap<String, String>) -> Pair {
    // Kubernetes sets a URL in this place for every service that is called `redis`; nobody means it.
    let port = names.remove(PORT).filter(|port| !port.contains("://"));
    let Some(host) = names.remove(HOST) else {
        return Pair::None;
    };
    let host = host.trim();
    if port.is_none() && host.parse::<Address>().is_ok() {
        return Pair::Address(host.to_owned());
    }
    let port = match port.as_deref().map(|port| form::number::<u16>(port.trim())) {
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

/// Whether `name` is half of the pair.
pub(super) fn is_of_pair(name: &str) -> bool {
    name == HOST || name == PORT
}

/// Whether `name` belongs to the server before the one whose address `address` gives: a password, a
/// database or a switch that is left over from the one must not go to the other.
pub(super) fn is_of_server_before(name: &str, address: &str) -> bool {
    name.starts_with("REDIS_") && address.starts_with("VALKEY_")
}

/// The name under which the pair is reported.
pub(super) const PAIR: &str = HOST;

/// The warning for an older name that is in use.
pub(super) fn in_use(variable: &Variable) -> String {
    format!("is an older name, set {} instead", variable.name)
}

/// The warning for an older name beside a newer one.
pub(super) fn outdone(newer: &str) -> String {
    format!("is an older name and has no effect, because {newer} is set")
}
