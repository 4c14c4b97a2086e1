//! Whether the configured names have addresses, and whether anybody listens there.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cache_core::config::{Address, ValkeyConfig};
use futures::future::join_all;
use tokio::net::TcpStream;

use super::finding::{Check, Verdict};
use super::patient::Patient;

pub(super) const NAMES: Check = Check {
    name: "names",
    why: "a client starts from the addresses in CACHE_ADDRS and asks the name service for each connection",
};

pub(super) const TCP: Check = Check {
    name: "tcp",
    why: "every address of a name may be tried: one that hangs makes connecting slow, if none answers there is no cache",
};

/// What was found of both.
#[derive(Debug)]
pub(super) struct Reach {
    pub(super) names: Verdict,
    pub(super) tcp: Verdict,
}

/// One configured address.
struct Target<'a> {
    address: &'a Address,
    /// Where it leads, or why nowhere.
    found: Result<Vec<SocketAddr>, String>,
    /// What listens there, in the same order: `None`, or what is wrong.
    heard: Vec<Option<String>>,
}

/// Looks up and connects to what is configured; half of `deadline` each.
pub(super) async fn look(valkey: &ValkeyConfig, deadline: Duration) -> Reach {
    let limit = deadline / 2;
    let addresses = valkey.topology.addresses().iter();
    let addresses: Vec<Address> = addresses
        .map(|address| valkey.address_map.reachable(address))
        .collect();
    let targets = join_all(addresses.iter().map(|address| Target::of(address, limit))).await;
    Reach {
        names: names(&targets),
        tcp: tcp(&targets),
    }
}

/// `names`, and whether the names that the servers announce have addresses here.
pub(super) async fn announced(
    names: Verdict,
    valkey: &ValkeyConfig,
    patient: &Patient,
    limit: Duration,
) -> Verdict {
    let configured = valkey.topology.addresses();
    let nodes = patient.view.nodes.iter().map(|node| &node.address);
    let announced = nodes.filter(|address| !configured.contains(address));
    let looked = join_all(announced.map(|address| async move {
        let reachable = valkey.address_map.reachable(address);
        let why = resolve(&reachable, limit).await.err()?;
        Some(format!("{} {why}", reachable.host))
    }));
    let mut lost: Vec<String> = looked.await.into_iter().flatten().collect();
    lost.sort_unstable();
    lost.dedup();
    if lost.is_empty() {
        return names;
    }
    Verdict::fail(
        format!(
            "the servers announce names that lead nowhere from here: {}",
            lost.join("; ")
        ),
        "let the servers announce what can be looked up here (cluster-announce-hostname, \
         cluster-preferred-endpoint-type), or say by CACHE_ADDRESS_MAP where they are reachable",
    )
}

/// The addresses of `address`.
pub(super) async fn resolve(address: &Address, limit: Duration) -> Result<Vec<SocketAddr>, String> {
    let lookup = tokio::net::lookup_host((address.host.as_str(), address.port));
    match tokio::time::timeout(limit, lookup).await {
        Ok(Ok(found)) => {
            let mut found: Vec<SocketAddr> = found.collect();
            found.dedup();
            if found.is_empty() {
                return Err("has no address".to_owned());
            }
            Ok(found)
        }
        Ok(Err(error)) => Err(format!("cannot be looked up ({error})")),
        Err(_) => Err(format!(
            "was not found by the name service within {}",
            humantime::format_duration(limit)
        )),
    }
}

impl<'a> Target<'a> {
    async fn of(address: &'a Address, limit: Duration) -> Self {
        let found = resolve(address, limit).await;
        let reached = found.as_deref().unwrap_or_default().iter();
        let heard = join_all(reached.map(|target| connect(*target, limit))).await;
        Self {
            address,
            found,
            heard,
        }
    }
}

async fn connect(target: SocketAddr, limit: Duration) -> Option<String> {
    match tokio::time::timeout(limit, TcpStream::connect(target)).await {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(format!("{target} {}", error.kind())),
        Err(_) => Some(format!(
            "{target} does not answer within {}",
            humantime::format_duration(limit)
        )),
    }
}

fn names(targets: &[Target<'_>]) -> Verdict {
    let failed: Vec<String> = targets
        .iter()
        .filter_map(|target| {
            Some(format!(
                "{} {}",
                target.address.host,
                target.found.as_ref().err()?
            ))
        })
        .collect();
    let mut found: Vec<String> = targets.iter().filter_map(described).collect();
    // Servers on several ports of one host are one name.
    found.dedup();
    if failed.is_empty() {
        return Verdict::ok(found.join("; "));
    }
    let advice = "check the spelling in CACHE_ADDRS, and that this machine's name service knows the name";
    if found.is_empty() {
        Verdict::fail(failed.join("; "), advice)
    } else {
        Verdict::warn([failed, found].concat().join("; "), advice)
    }
}

/// `cache.example: 10.0.0.1, 10.0.0.2`.
fn described(target: &Target<'_>) -> Option<String> {
    let found = target.found.as_ref().ok()?;
    let host = &target.address.host;
    if host.parse::<IpAddr>().is_ok() {
        return Some(format!("{host} is an address"));
    }
    let addresses: Vec<String> = found.iter().map(|found| found.ip().to_string()).collect();
    Some(format!("{host}: {}", addresses.join(", ")))
}

fn tcp(targets: &[Target<'_>]) -> Verdict {
    let tried: usize = targets.iter().map(|target| target.heard.len()).sum();
    let silent: Vec<String> = targets
        .iter()
        .flat_map(|target| &target.heard)
        .flatten()
        .cloned()
        .collect();
    if tried == 0 {
        return Verdict::skipped("there is no address to connect to");
    }
    if silent.is_empty() {
        return Verdict::ok(match tried {
            1 => "1 address accepts connections".to_owned(),
            tried => format!("{tried} addresses accept connections"),
        });
    }
    let advice = "check that the server runs there, its port, and the firewalls between here and there";
    if silent.len() == tried {
        Verdict::fail(silent.join("; "), advice)
    } else {
        Verdict::warn(silent.join("; "), advice)
    }
}
