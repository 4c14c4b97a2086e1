//! Free ports, chosen at run time.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{IpAddr, TcpListener};

use anyhow::{Result, bail};

/// Below the range from which kernels take the ports of outgoing connections, so that no connection sits on
/// a port between the choice and the server's start.
const FIRST: u16 = 10_000;
const COUNT: u16 = 22_000;

/// A port on `host` that nothing listens on. Another process may take it before the caller does: whoever
/// starts a server tries again then.
pub(crate) fn free_port(host: IpAddr) -> Result<u16> {
    for _ in 0..1_000 {
        // Each `RandomState` has keys of its own, so an empty hash is a random number.
        let random = RandomState::new().build_hasher().finish();
        let port = FIRST + u16::try_from(random % u64::from(COUNT))?;
        if TcpListener::bind((host, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on {host}")
}
