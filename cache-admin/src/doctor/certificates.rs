//! Whether the servers' certificates are accepted, and for how long yet.

use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use cache_core::CacheError;
use cache_core::config::{Address, TlsConfig, ValkeyConfig};
use cache_layers::{SystemClock, WallClock as _};
use cache_valkey::admin::server_certificates;
use futures::future::join_all;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::finding::{Check, Verdict};
use super::patient::Patient;
use super::reach;

pub(super) const CHECK: Check = Check {
    name: "tls",
    why: "a certificate that has expired, is for another name or of an unknown authority stops every connection at once",
};

/// How long one server may take.
const LIMIT: Duration = Duration::from_secs(4);
/// With so many days left somebody should act.
const SOON: i64 = 30;
const DAY: i64 = 86_400;

/// What one server showed.
struct Shown {
    address: String,
    certificates: Vec<Certificate>,
    refused: Option<CacheError>,
}

/// A certificate, as far as people want to know it.
#[derive(Debug)]
struct Certificate {
    subject: String,
    issuer: String,
    names: Vec<String>,
    /// When it ends, in seconds since 1970.
    ends: i64,
}

pub(super) async fn look(valkey: &ValkeyConfig, patient: Option<&Patient>) -> Verdict {
    let Some(tls) = &valkey.tls else {
        return Verdict::skipped("TLS is not asked for (CACHE_TLS_ENABLED)");
    };
    let mut addresses: Vec<Address> = valkey.topology.addresses().to_vec();
    for node in patient.iter().flat_map(|patient| &patient.view.nodes) {
        if !addresses.contains(&node.address) {
            addresses.push(node.address.clone());
        }
    }
    let shown = join_all(addresses.iter().map(|address| ask(tls, valkey, address))).await;
    let shown: Vec<Shown> = shown.into_iter().flatten().collect();
    if shown.is_empty() {
        return Verdict::skipped("no server answers a TLS handshake");
    }
    let now = i64::try_from(SystemClock.since_epoch().as_secs()).unwrap_or(i64::MAX);
    judge(&shown, now)
}

/// `None` where nobody answers: other checks tell.
async fn ask(tls: &TlsConfig, valkey: &ValkeyConfig, address: &Address) -> Option<Shown> {
    let reachable = valkey.address_map.reachable(address);
    let found = reach::resolve(&reachable, LIMIT).await.ok()?;
    let mut last = None;
    for target in found {
        match server_certificates(tls, &reachable.host, target, LIMIT / 2).await {
            Ok(shown) => {
                let reached = !shown.chain.is_empty();
                last = Some(Shown {
                    address: address.to_string(),
                    certificates: shown.chain.iter().filter_map(Certificate::read).collect(),
                    refused: shown.refused,
                });
                if reached {
                    break;
                }
            }
            Err(CacheError::Timeout { .. }) => {}
            Err(error) => {
                last = Some(Shown {
                    address: address.to_string(),
                    certificates: Vec::new(),
                    refused: Some(error),
                });
            }
        }
    }
    // A connection that was refused as such is not TLS's business.
    last.filter(|shown| {
        !shown.certificates.is_empty() || !shown.refused.as_ref().is_some_and(is_no_connection)
    })
}

fn is_no_connection(error: &CacheError) -> bool {
    use std::error::Error as _;
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let kind = cause.map(std::io::Error::kind);
    matches!(
        kind,
        Some(
            std::io::ErrorKind::ConnectionRefused
                | std::io::ErrorKind::HostUnreachable
                | std::io::ErrorKind::TimedOut
        )
    )
}

fn judge(shown: &[Shown], now: i64) -> Verdict {
    let refused: Vec<String> = shown.iter().filter_map(|shown| shown.why_refused(now)).collect();
    if !refused.is_empty() {
        return Verdict::fail(
            refused.join("; "),
            "give the server a certificate for the name in CACHE_ADDRS (or CACHE_TLS_SERVER_NAME) by an authority in \
             CACHE_CA_CERT_BASE64, and let it read it (CONFIG SET tls-cert-file)",
        );
    }
    let ending = shown
        .iter()
        .flat_map(|shown| {
            shown
                .certificates
                .iter()
                .map(move |certificate| (shown, certificate))
        })
        .min_by_key(|(_, certificate)| certificate.ends);
    let Some((first, certificate)) = ending else {
        return Verdict::skipped("no server showed a certificate");
    };
    let days = (certificate.ends - now) / DAY;
    let seen = format!(
        "{} accepted; the first to expire is {} of {}, by {}, in {days} days",
        match shown.len() {
            1 => "1 certificate".to_owned(),
            count => format!("the certificates of {count} servers"),
        },
        certificate.subject,
        first.address,
        certificate.issuer,
    );
    if days < SOON {
        return Verdict::warn(
            seen,
            "renew it, and let the servers read it anew (CONFIG SET tls-cert-file)",
        );
    }
    Verdict::ok(seen)
}

impl Shown {
    fn why_refused(&self, now: i64) -> Option<String> {
        let error = self.refused.as_ref()?;
        let mut words = format!("{}: {error}", self.address);
        if let Some(own) = self.certificates.first() {
            let names = if own.names.is_empty() {
                "no name".to_owned()
            } else {
                own.names.join(", ")
            };
            words.push_str(&format!(
                " (it is {} by {}, for {names}, and {})",
                own.subject,
                own.issuer,
                match (own.ends - now) / DAY {
                    days if own.ends < now => format!("ended {} days ago", -days),
                    days => format!("ends in {days} days"),
                }
            ));
        }
        Some(words)
    }
}

impl Certificate {
    fn read(der: &Bytes) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.map(|extension| &extension.value.general_names);
        Some(Self {
            subject: certificate.subject().to_string(),
            issuer: certificate.issuer().to_string(),
            names: names.into_iter().flatten().filter_map(name).collect(),
            ends: certificate.validity().not_after.timestamp(),
        })
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let sixteen = <[u8; 16]>::try_from(*bytes).map(IpAddr::from);
            four.or(sixteen).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Diagnosis, Health};
    use super::*;

    fn told(days: i64) -> (Health, String) {
        let shown = Shown {
            address: "cache.test:6379".into(),
            certificates: vec![Certificate {
                subject: "CN=server".into(),
                issuer: "CN=authority".into(),
                names: Vec::new(),
                ends: days * DAY,
            }],
            refused: None,
        };
        let diagnosis = Diagnosis::collect([(CHECK, judge(&[shown], 0))]);
        (diagnosis.findings[0].state, diagnosis.findings[0].seen.clone())
    }

    #[test]
    fn a_certificate_that_ends_soon_is_a_warning_with_the_days() {
        assert_eq!(told(31).0, Health::Ok);
        let (state, seen) = told(29);
        assert_eq!(state, Health::Warn);
        assert!(
            seen.contains("CN=server of cache.test:6379, by CN=authority, in 29 days"),
            "{seen}"
        );
    }
}
