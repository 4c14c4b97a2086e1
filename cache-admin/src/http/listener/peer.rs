//! Who is at the other end of a connection.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;

use crate::access::CertificateIdentity;

/// Who is at the other end of a connection; every request carries it in its extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The address of whoever connected.
    pub address: SocketAddr,
    /// The client that a trusted proxy names.
    pub forwarded: Option<IpAddr>,
    /// The client certificate, which was verified.
    pub certificate: Option<CertificateIdentity>,
}

impl Peer {
    /// The client's address, as far as is known.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.forwarded.unwrap_or_else(|| self.address.ip())
    }
}

/// The client that the nearest proxy names: the last address of the last header, as earlier ones may be anybody's.
pub(super) fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    let last = last.to_str().ok()?.rsplit(',').next()?.trim();
    last.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_whom_the_nearest_proxy_names() {
        let of = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append("x-forwarded-for", http::HeaderValue::from_static(value));
            }
            forwarded_for(&headers).map(|address| address.to_string())
        };
        assert_eq!(of(&["1.1.1.1, 2.2.2.2"]).as_deref(), Some("2.2.2.2"));
        assert_eq!(of(&["1.1.1.1", "::2"]).as_deref(), Some("::2"));
        assert_eq!(of(&["1.1.1.1, unknown"]), None);
        assert_eq!(of(&[]), None);
    }
}
