//! Requests that a browser was tricked into.
//!
//! A page of a foreign site can make a browser send requests to this machine. Where the browser alone, and no
//! token, lets a request in (no authentication, a client certificate, a session of the service around the router), such
//! requests are refused: by their
//! `Origin`, and by a `Host` that is not this machine (DNS rebinding).

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

use crate::http::problem::{Kind, Problem};

/// Refuses a host that is not a name of this machine.
pub(super) fn check_host(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let authority = authority(uri, headers);
    if authority
        .as_ref()
        .is_some_and(|authority| is_loopback(authority.host()))
    {
        return Ok(());
    }
    Err(Problem::new(
        Kind::ForeignHost,
        "without authentication only a Host of this machine is served: localhost, 127.0.0.1 or [::1]",
    ))
}

/// Refuses what a page of another origin asks for.
pub(super) fn check_origin(uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
    let same = |origin: &str| {
        let Some((scheme, rest)) = origin.split_once("://") else {
            return false;
        };
        let own = authority(uri, headers);
        ["http", "https"].contains(&scheme) && own.is_some_and(|own| rest.eq_ignore_ascii_case(own.as_str()))
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let foreign = origins.any(|origin| !origin.to_str().is_ok_and(same));
    let site = headers.get("sec-fetch-site").map(header::HeaderValue::as_bytes);
    if foreign || matches!(site, Some(b"cross-site" | b"same-site")) {
        return Err(Problem::new(
            Kind::ForeignOrigin,
            "pages of other origins are not served without a bearer token",
        ));
    }
    Ok(())
}

/// Whom the request is meant for.
fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Authority> {
    if let Some(authority) = uri.authority() {
        return Some(authority.clone());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::try_from(host.as_bytes()).ok(),
        _ => None,
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_end_matches('.');
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn only_names_of_this_machine_are_its_host() {
        let uri = Uri::from_static("/cache");
        for own in [
            "localhost",
            "LOCALHOST:8377",
            "127.0.0.1:8377",
            "127.9.9.9",
            "[::1]:8377",
            "[::ffff:127.0.0.1]",
        ] {
            assert!(check_host(&uri, &headers(&[("host", own)])).is_ok(), "{own}");
        }
        let foreign = [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1:8377",
            "0.0.0.0",
            "user@localhost:1:2",
            "",
        ];
        for foreign in foreign {
            assert!(
                check_host(&uri, &headers(&[("host", foreign)])).is_err(),
                "{foreign}"
            );
        }
        assert!(check_host(&uri, &headers(&[])).is_err());
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert!(check_host(&uri, &headers(&two)).is_err());
        let absolute = Uri::from_static("http://evil.example/cache");
        assert!(check_host(&absolute, &headers(&[("host", "localhost")])).is_err());
    }

    #[test]
    fn only_pages_of_the_same_origin_may_ask() {
        let uri = Uri::from_static("/cache");
        let check = |pairs: &[(&'static str, &'static str)]| check_origin(&uri, &headers(pairs)).is_ok();
        let host = ("host", "localhost:8377");
        assert!(check(&[host]));
        assert!(check(&[host, ("origin", "http://localhost:8377")]));
        assert!(check(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(check(&[host, ("sec-fetch-site", "none")]));
        for origin in [
            "null",
            "http://localhost",
            "http://evil.example",
            "http://localhost:8377.evil.example",
            "localhost:8377",
        ] {
            assert!(!check(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(!check(&[
            host,
            ("origin", "http://localhost:8377"),
            ("origin", "http://evil.example")
        ]));
        assert!(!check(&[host, ("sec-fetch-site", "cross-site")]));
    }
}
