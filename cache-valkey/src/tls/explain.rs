//! Explains a failed TLS handshake and says what to check.
//!
//! Not in here: the handshake.

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, OtherError};

/// What the explanation depends on besides the error.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    /// The name that the server's certificate must carry.
    pub(super) name: &'a str,
    /// Whether that name comes from `CACHE_TLS_SERVER_NAME`.
    pub(super) is_own_name: bool,
    /// Whether the configuration replaces the system's authorities.
    pub(super) own_roots: bool,
    /// Whether a client certificate is shown.
    pub(super) shows_certificate: bool,
}

/// Explains `error`, for the handshake with the server at `host`.
pub(super) fn explain(error: &Error, host: &str, context: Context<'_>) -> String {
    match error {
        Error::InvalidCertificate(certificate) => explain_certificate(certificate, host, context),
        Error::AlertReceived(alert) => explain_alert(*alert, host, context),
        Error::PeerIncompatible(_) => format!("{host} does not support TLS 1.2 or newer"),
        Error::InvalidMessage(_) => {
            format!("{host} does not speak TLS on this port; set CACHE_TLS_ENABLED=false or use its TLS port")
        }
        Error::NoCertificatesPresented => {
            format!("{host} shows no certificate; give the server one (tls-cert-file, tls-key-file)")
        }
        other => format!("{host}: {other}"),
    }
}

fn explain_certificate(error: &CertificateError, host: &str, context: Context<'_>) -> String {
    let words = match error {
        CertificateError::UnknownIssuer => {
            return if context.own_roots {
                format!(
                    "the certificate of {host} is signed by none of the authorities in CACHE_CA_CERT_BASE64; check that it \
                     holds the authority of the servers, and that they send intermediate certificates"
                )
            } else {
                format!(
                    "the certificate of {host} is signed by no authority that this system trusts; set \
                     CACHE_CA_CERT_BASE64"
                )
            };
        }
        CertificateError::NotValidForName => return not_for(&[], context),
        CertificateError::NotValidForNameContext { presented, .. } => return not_for(presented, context),
        CertificateError::BadSignature => {
            "names an authority that is trusted and was not signed by its key: the authority may have been created again under \
             the same name; check that CACHE_CA_CERT_BASE64 holds the newest one"
        }
        CertificateError::Expired => "has expired; renew it",
        CertificateError::ExpiredContext { time, not_after } => {
            let days = days_between(*not_after, *time);
            return format!(
                "the certificate of {host} has expired {days} ago; renew it, or check the clock here"
            );
        }
        CertificateError::NotValidYet => "is not valid yet; check the clocks",
        CertificateError::NotValidYetContext { time, not_before } => {
            let days = days_between(*time, *not_before);
            return format!(
                "the certificate of {host} is not valid yet, it will be in {days}; check the clocks"
            );
        }
        CertificateError::Revoked => "is revoked; give the server another one",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not for servers; give the server one with the extended key usage serverAuth"
        }
        CertificateError::UnhandledCriticalExtension => {
            "has a critical extension that is not understood; give the server one without it"
        }
        CertificateError::BadEncoding => "is damaged: it is not readable DER; create it again",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "is signed by an algorithm that is not accepted, such as SHA-1; sign it by SHA-256 or newer"
        }
        CertificateError::Other(other) => explain_other(other).unwrap_or(""),
        _ => "",
    };
    if words.is_empty() {
        return format!("the certificate of {host} cannot be accepted: {error}");
    }
    format!("the certificate of {host} {words}")
}

/// Explains the error kinds that the library identifies by name only.
fn explain_other(error: &OtherError) -> Option<&'static str> {
    let name = error.to_string();
    let words = [
        (
            "CaUsedAsEndEntity",
            "is that of an authority (CA:TRUE), which must not identify a server; have it sign a certificate with CA:FALSE \
             for the server, and put the authority into CACHE_CA_CERT_BASE64",
        ),
        (
            "EndEntityUsedAsCa",
            "is signed by a certificate that is not one of an authority (CA:FALSE); make the signer an authority (CA:TRUE)",
        ),
        (
            "UnsupportedCertVersion",
            "is of X.509 version 1; make one of version 3, with a subject alternative name (openssl x509 -req needs \
             -extfile for that)",
        ),
        (
            "PathLenConstraintViolated",
            "is signed over more intermediate authorities than its authority allows (pathlen)",
        ),
        (
            "NameConstraintViolation",
            "carries a name that its authority may not sign for (name constraints)",
        ),
        (
            "MaximumPathDepthExceeded",
            "is signed over too many intermediate authorities",
        ),
        (
            "MalformedDnsIdentifier",
            "carries a name that is not a host name; create it again",
        ),
        (
            "ExtensionValueInvalid",
            "has an extension with a wrong value; create it again",
        ),
        (
            "MalformedExtensions",
            "has extensions that cannot be read; create it again",
        ),
        (
            "EmptyEkuExtension",
            "has an empty extended key usage; give the server one with serverAuth",
        ),
        (
            "InvalidSerialNumber",
            "has a wrong serial number; create it again",
        ),
    ];
    let found = words.iter().find(|(known, _)| name.contains(known));
    found.map(|(_, words)| *words)
}

/// Explains a certificate for other names.
fn not_for(presented: &[String], context: Context<'_>) -> String {
    let name = context.name;
    let names: Vec<&str> = presented.iter().map(|name| plain(name)).collect();
    let names = if names.is_empty() {
        "no host name or address as a subject alternative name (a common name alone does not count)"
            .to_owned()
    } else {
        names.join(", ")
    };
    let advice = if context.is_own_name {
        "set CACHE_TLS_SERVER_NAME to a name that it carries"
    } else if presented.is_empty() {
        "give the server one that carries the host in CACHE_ADDRS"
    } else {
        "use a host name that it carries, or set CACHE_TLS_SERVER_NAME to one"
    };
    format!("the certificate of the server is not for {name}, it carries {names}; {advice}")
}

/// The name in `DnsName("cache.example")`.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.unwrap_or(name).trim_matches('"')
}

fn explain_alert(alert: AlertDescription, host: &str, context: Context<'_>) -> String {
    let refused = format!("{host} does not accept the client certificate in CACHE_CLIENT_CERT_BASE64");
    let asks = format!(
        "{host} asks for a client certificate; set CACHE_CLIENT_CERT_BASE64 and CACHE_CLIENT_KEY_BASE64"
    );
    let shown = context.shows_certificate;
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => asks,
        // TLS 1.2 servers send these alerts for a missing certificate.
        AlertDescription::HandshakeFailure | AlertDescription::BadCertificate if !shown => format!(
            "{host} refused the handshake; it may ask for a client certificate (CACHE_CLIENT_CERT_BASE64) or allow no cipher \
             that this client has"
        ),
        AlertDescription::UnknownCA if shown => {
            format!("{refused}: the server does not trust the authority that signed it (tls-ca-cert-file)")
        }
        // No client certificate was shown, so the server could not verify something else.
        AlertDescription::UnknownCA => format!("{host} refused the handshake: it does not know an authority"),
        AlertDescription::CertificateExpired => {
            format!("{refused}: it has expired, or the server's clock is wrong")
        }
        AlertDescription::CertificateRevoked => format!("{refused}: it is revoked"),
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => {
            format!("{refused}; it must be for clients (extended key usage clientAuth)")
        }
        AlertDescription::DecryptError => format!("{refused}: its signature does not verify"),
        AlertDescription::AccessDenied => format!("{refused}: it may not connect"),
        AlertDescription::UnrecognisedName => format!(
            "{host} has no certificate for the name {}; use a host name that it knows, or set CACHE_TLS_SERVER_NAME",
            context.name
        ),
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            format!("{host} does not support TLS 1.2 or newer with a secure cipher")
        }
        AlertDescription::InternalError => {
            format!("{host} failed during the handshake; see the server's log")
        }
        other => format!("{host} refused the handshake ({other:?})"),
    }
}

/// `3 days`.
fn days_between(earlier: UnixTime, later: UnixTime) -> String {
    match later.as_secs().saturating_sub(earlier.as_secs()) / 86_400 {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const CONTEXT: Context<'_> = Context {
        name: "cache",
        is_own_name: false,
        own_roots: true,
        shows_certificate: true,
    };

    #[test]
    fn certificate_errors_avoid_the_librarys_terms() {
        let kinds = [
            CertificateError::BadEncoding,
            CertificateError::Expired,
            CertificateError::NotValidYet,
            CertificateError::Revoked,
            CertificateError::UnhandledCriticalExtension,
            CertificateError::UnknownIssuer,
            CertificateError::BadSignature,
            CertificateError::NotValidForName,
            CertificateError::InvalidPurpose,
        ];
        for kind in kinds {
            let library = format!("{kind:?}");
            let words = explain(&Error::InvalidCertificate(kind), "cache", CONTEXT);
            assert!(!words.contains(&library), "{words}");
        }
        for kind in ["CaUsedAsEndEntity", "UnsupportedCertVersion", "EndEntityUsedAsCa"] {
            let other = OtherError(Arc::new(std::io::Error::other(kind)));
            let words = explain(
                &Error::InvalidCertificate(CertificateError::Other(other)),
                "cache",
                CONTEXT,
            );
            assert!(!words.contains(kind), "{words}");
        }
    }

    #[test]
    fn names_are_shown_without_the_librarys_wrapping() {
        assert_eq!(plain("DnsName(\"cache.example\")"), "cache.example");
        assert_eq!(plain("IpAddress(10.0.0.1)"), "10.0.0.1");
    }

    #[test]
    fn times_are_shown_in_days() {
        let at = |days: u64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(days * 86_400));
        let error = CertificateError::ExpiredContext {
            time: at(12),
            not_after: at(10),
        };
        let words = explain(&Error::InvalidCertificate(error), "cache", CONTEXT);
        assert!(words.contains("has expired 2 days ago"), "{words}");
    }
}
