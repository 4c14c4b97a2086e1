//! Connection URLs and connection strings of other clients, taken apart.
//!
//! They hold passwords: no error quotes any part of them. Not in here: the URLs that a service may keep as they are.

use percent_encoding::percent_decode_str;

/// What a URL or a connection string says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    /// As they stand there, separated by commas.
    pub(super) addresses: String,
    pub(super) tls: bool,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: Option<String>,
    /// The name of the primary; then the addresses are those of sentinels.
    pub(super) master: Option<String>,
    pub(super) is_cluster: bool,
    /// Options, each as a variable without its prefix (`DIAL_TIMEOUT`), in the order in which they stand there.
    pub(super) options: Vec<(String, String)>,
    /// Whether `CACHE_URL` takes it as it is.
    pub(super) is_ours: bool,
}

/// Takes `text` apart.
pub(super) fn read(text: &str) -> Result<Parts, &'static str> {
    let text = text.trim();
    let Some((scheme, rest)) = text.split_once("://") else {
        return connection_string(text);
    };
    let scheme = scheme.to_ascii_lowercase();
    if scheme.contains("unix") || scheme.contains("socket") {
        return Err("Unix sockets are not supported: let the server listen on a port");
    }
    let product = scheme
        .split_once(['+', '-'])
        .map_or(scheme.as_str(), |(product, _)| product);
    let tls = match product {
        "redis" | "valkey" | "tcp" => false,
        "rediss" | "valkeys" | "tls" | "ssl" => true,
        _ => return Err("its scheme is none of a Redis client"),
    };
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (login, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (username, password) = login_of(login, scheme.contains('-'))?;
    let mut parts = Parts {
        addresses: hosts.to_owned(),
        tls,
        username,
        password,
        is_cluster: scheme.ends_with("cluster"),
        is_ours: query.is_empty()
            && fragment.is_empty()
            && !scheme.contains('-')
            && ["redis", "rediss", "valkey", "valkeys"].contains(&product),
        ..Parts::default()
    };
    let mut path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    if scheme.ends_with("sentinel") {
        // redis+sentinel://host/master/0, and redis-sentinel://host/0#master of Lettuce.
        parts.master = if fragment.is_empty() && !path.is_empty() {
            Some(path.remove(0).to_owned())
        } else {
            Some(fragment.to_owned()).filter(|name| !name.is_empty())
        };
    } else if fragment == "insecure" {
        parts.options.push(("TLS_INSECURE".to_owned(), "true".to_owned()));
    }
    parts.db = path.first().map(|db| (*db).to_owned());
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let value = decode(value)?;
        match name.to_ascii_lowercase().as_str() {
            "addr" => parts.addresses = format!("{},{value}", parts.addresses),
            "password" => parts.password = Some(value),
            "username" => parts.username = Some(value),
            "db" => parts.db = Some(value),
            name if is_word(name) => parts.options.push((name.to_ascii_uppercase(), value)),
            _ => return Err("it has an option whose name cannot be read"),
        }
    }
    Ok(parts)
}

/// `host:6380,password=...,ssl=True`, as .NET services and Azure write it.
fn connection_string(text: &str) -> Result<Parts, &'static str> {
    let mut parts = Parts::default();
    let mut addresses = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let Some((name, value)) = part.split_once('=') else {
            addresses.push(part);
            continue;
        };
        let value = value.to_owned();
        match name.to_ascii_lowercase().as_str() {
            "password" => parts.password = Some(value),
            "user" => parts.username = Some(value),
            "ssl" => parts.tls = value.eq_ignore_ascii_case("true"),
            "defaultdatabase" => parts.db = Some(value),
            "servicename" => parts.master = Some(value),
            "name" => parts.options.push(("CLIENT_NAME".to_owned(), value)),
            "connecttimeout" => parts
                .options
                .push(("CONNECT_TIMEOUT".to_owned(), format!("{value}ms"))),
            name if is_word(name) => parts.options.push((name.to_ascii_uppercase(), value)),
            _ => return Err("it has an option whose name cannot be read"),
        }
    }
    if addresses.is_empty() {
        return Err("it has no scheme and no host");
    }
    parts.addresses = addresses.join(",");
    Ok(parts)
}

/// User name and password; a login without a colon is the user name, with Lettuce's schemes the password.
fn login_of(login: &str, is_lettuce: bool) -> Result<(Option<String>, Option<String>), &'static str> {
    let (username, password) = match login.split_once(':') {
        Some((username, password)) => (username, password),
        None if is_lettuce => ("", login),
        None => (login, ""),
    };
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok((some(decode(username)?), some(decode(password)?)))
}

fn decode(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded
        .map_err(|_| "its user name, password or an option is no UTF-8 text")?
        .into_owned())
}

fn is_word(name: &str) -> bool {
    name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn urls_of_other_clients_are_taken_apart() {
        let some = |text: &str| Some(text.to_owned());
        let lettuce = read("redis-sentinel://p%40ss@one:26379,two/3#main").unwrap();
        assert_eq!((lettuce.master, lettuce.db), (some("main"), some("3")));
        assert_eq!((lettuce.username, lettuce.password), (None, some("p@ss")));
        let go = read("rediss://app:pw@a:6379/1?addr=b:6379&dial_timeout=3&client_name=x").unwrap();
        assert_eq!(go.addresses, "a:6379,b:6379");
        assert!(go.tls && !go.is_ours);
        assert_eq!(go.options[0], ("DIAL_TIMEOUT".to_owned(), "3".to_owned()));
        let azure = read("cache.example:6380,password=pw=,ssl=True,abortConnect=False").unwrap();
        assert_eq!(
            (azure.addresses.as_str(), azure.tls, azure.password),
            ("cache.example:6380", true, some("pw="))
        );
        assert!(read("redis://:pw@cache/2").unwrap().is_ours);
        assert!(read("redis+unix:///s3cr3t").unwrap_err().contains("Unix"));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "(rediss?(-sentinel)?://)?.{0,40}") {
            let _ = read(&text);
        }
    }
}
