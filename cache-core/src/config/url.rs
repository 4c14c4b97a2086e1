//! Parses a connection URL of a hosting provider into settings.
//!
//! A URL holds a password, so an error quotes no part of it except the name of an option. Not in here: which
//! setting wins if it is written twice (`sources`).

use super::{Address, parse};

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// The parts of a URL, each in the form of its own setting.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) addresses: String,
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: Option<String>,
    /// The name of the primary, if the hosts are sentinels.
    pub(super) master: Option<String>,
}

/// Schemes: name, whether it uses TLS, whether the hosts are sentinels.
const SCHEMES: [(&str, bool, bool); 8] = [
    ("redis", false, false),
    ("rediss", true, false),
    ("valkey", false, false),
    ("valkeys", true, false),
    ("redis+sentinel", false, true),
    ("rediss+sentinel", true, true),
    ("valkey+sentinel", false, true),
    ("valkeys+sentinel", true, true),
];

/// Options of other clients, and what to do instead.
const OPTIONS: [(&str, &str); 7] = [
    (
        "ssl_cert_reqs",
        "certificates are always verified; trust your authority by CACHE_CA_CERT_BASE64",
    ),
    (
        "db",
        "the database comes after the hosts, as in redis://host:6379/1",
    ),
    (
        "password",
        "the password comes before the hosts, as in redis://:password@host",
    ),
    (
        "username",
        "the user name comes before the hosts, as in redis://user:password@host",
    ),
    (
        "timeout",
        "set CACHE_DIAL_TIMEOUT, CACHE_READ_TIMEOUT and CACHE_WRITE_TIMEOUT",
    ),
    ("socket_timeout", "set CACHE_READ_TIMEOUT and CACHE_WRITE_TIMEOUT"),
    (
        "protocol",
        "leave it out: the newest protocol that the server speaks is used",
    ),
];

/// Parses `text`.
pub(super) fn read(text: &str) -> Result<Parts, String> {
    let text = text.trim();
    if parse::is_quoted(text) {
        return Err(parse::QUOTES.to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let hint = "it has no scheme: put redis:// before the host, or rediss:// for TLS";
        return Err(hint.to_owned());
    };
    let known = SCHEMES
        .iter()
        .find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
    let Some((_, tls, sentinels)) = known else {
        return Err(if scheme.to_ascii_lowercase().contains("unix") {
            "Unix sockets are not supported".to_owned()
        } else {
            "its scheme is not one of redis, rediss, valkey and valkeys".to_owned()
        });
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    if tail.contains('@') {
        return Err(
            "a reserved character of the user name or the password must be percent-encoded: / is %2F, ? is %3F, # is %23, \
             @ is %40"
                .to_owned(),
        );
    }
    // A host has no @, so the last one is the separator, even if the password contains one.
    let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (username, password) = login.split_once(':').unwrap_or((login, ""));
    let path = path(tail)?;
    let mut parts = Parts {
        addresses: addresses(
            hosts,
            if *sentinels {
                DEFAULT_SENTINEL_PORT
            } else {
                DEFAULT_PORT
            },
        )?,
        tls: *tls,
        username: decode(username)?,
        password: decode(password)?,
        db: None,
        master: None,
    };
    if parts.username.is_some() && parts.password.is_none() && login.contains(':') {
        return Err("it has a user name with an empty password".to_owned());
    }
    let db = if *sentinels {
        let (master, db) = path.split_once('/').unwrap_or((path, ""));
        parts.master = decode(master)?;
        if parts.master.is_none() {
            return Err(
                "the name of the primary is missing, as in redis+sentinel://host:26379/name".to_owned(),
            );
        }
        db
    } else {
        path
    };
    parts.db = database(db)?;
    Ok(parts)
}

/// The part after the hosts, without the slash around it; rejects options and a fragment.
fn path(tail: &str) -> Result<&str, String> {
    if tail.contains('#') {
        return Err(
            "it has a fragment (#), which says nothing here; a # in a password is written %23".to_owned(),
        );
    }
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    if let Some(option) = query.split('&').find(|option| !option.is_empty()) {
        let name = option.split_once('=').map_or("", |(name, _)| name);
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || name.len() > 40 || !name.bytes().all(is_plain) {
            return Err("it has an option (?), and none is supported".to_owned());
        }
        let hint = OPTIONS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let hint = hint.map_or("no option is; use the setting of its own name", |(_, hint)| hint);
        return Err(format!("its option {name} is not supported: {hint}"));
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    Ok(path.strip_suffix('/').unwrap_or(path))
}

fn addresses(hosts: &str, default_port: u16) -> Result<String, String> {
    let mut addresses = Vec::new();
    for host in hosts.split(',') {
        let has_port = match host.rsplit_once(']') {
            Some((_, port)) => !port.is_empty(),
            None => host.contains(':'),
        };
        let address = match (host, has_port) {
            ("", _) => return Err("the host is missing".to_owned()),
            (host, true) => host.parse::<Address>(),
            (host, false) => format!("{host}:{default_port}").parse(),
        };
        addresses.push(address.map_err(|error| error.to_string())?.to_string());
    }
    Ok(addresses.join(","))
}

fn database(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match parse::number::<u32>(text) {
        Some(number) => Ok(Some(number.to_string())),
        None => Err("what comes after the hosts must be the number of a database".to_owned()),
    }
}

/// Percent-decodes `text`; `None` if it is empty.
fn decode(text: &str) -> Result<Option<String>, String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let value = digit()
            .zip(digit())
            .and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(value.ok_or("a % of the user name or the password must be written %25")?);
    }
    let decoded = String::from_utf8(decoded)
        .map_err(|_| "the user name or the password is not UTF-8 text".to_owned())?;
    Ok(Some(decoded).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(addresses: &str, tls: bool) -> Parts {
        Parts {
            addresses: addresses.into(),
            tls,
            ..Parts::default()
        }
    }

    #[test]
    fn urls_of_hosting_providers_are_read() {
        let with = |parts: Parts, user: Option<&str>, password: &str, db: Option<&str>| Parts {
            username: user.map(Into::into),
            password: Some(password.into()),
            db: db.map(Into::into),
            ..parts
        };
        for (url, expected) in [
            ("redis://cache", parts("cache:6379", false)),
            ("VALKEYS://cache:7000/", parts("cache:7000", true)),
            ("redis://[2001:db8::7]/", parts("[2001:db8::7]:6379", false)),
            ("valkey://a:1,b,[::1]:3", parts("a:1,b:6379,[::1]:3", false)),
            (
                "rediss://:p%40ss%25@cache:6380/3",
                with(parts("cache:6380", true), None, "p@ss%", Some("3")),
            ),
            (
                "rediss://default:p@ss:word@cache",
                with(parts("cache:6379", true), Some("default"), "p@ss:word", None),
            ),
        ] {
            assert_eq!(read(url), Ok(expected), "{url}");
        }
        let sentinels = read("redis+sentinel://:pw@one,two:26380/main/2").unwrap();
        assert_eq!(sentinels.addresses, "one:26379,two:26380");
        assert_eq!(sentinels.master.as_deref(), Some("main"));
        assert_eq!(sentinels.db.as_deref(), Some("2"));
    }

    #[test]
    fn wrong_url_says_what_is_wrong_and_quotes_nothing() {
        for (url, part) in [
            ("cache:6379", "no scheme"),
            ("http://s3cr3t", "not one of redis, rediss"),
            ("redis+unix:///s3cr3t", "Unix sockets"),
            ("\"redis://:s3cr3t@cache\"", "literal quotes"),
            ("redis://:s3cr3t@", "host is missing"),
            ("redis://:s3cr3t@cache:x", "port is not a number"),
            ("redis://:s3cr3t@cache,", "host is missing"),
            ("redis://:s3c/r3t@cache", "percent-encoded"),
            ("redis://:s3c?r3t@cache", "percent-encoded"),
            ("redis://:s3c#r3t@cache", "percent-encoded"),
            ("redis://:s3cr3t%@cache", "written %25"),
            ("redis://:s3cr3t%ff@cache", "not UTF-8"),
            ("redis://s3cr3t:@cache", "empty password"),
            ("redis://cache/s3cr3t", "number of a database"),
            ("redis://cache/0#s3cr3t", "fragment"),
            ("redis://cache?s3cr3t", "none is supported"),
            (
                "redis://cache/0?ssl_cert_reqs=s3cr3t",
                "option ssl_cert_reqs is not supported: certificates are",
            ),
            ("redis://cache?retry=s3cr3t", "option retry is not supported"),
            ("redis+sentinel://cache", "name of the primary"),
        ] {
            let error = read(url).unwrap_err();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("s3c") && !error.contains("r3t"), "{url}: {error}");
        }
    }

    proptest! {
        #[test]
        fn login_round_trips(user in "\\PC{1,12}", password in "\\PC{1,12}") {
            let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let url = format!("redis://{}:{}@cache", encode(&user), encode(&password));
            let read = read(&url).unwrap();
            prop_assert_eq!((read.username, read.password), (Some(user), Some(password)));
        }

        #[test]
        fn any_text_is_parsed_without_panic(text in "(rediss?://)?.{0,40}") {
            let _ = read(&text);
        }
    }
}
