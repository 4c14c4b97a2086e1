//! The fields of a service secret and their accepted forms. Errors name the field, never its value.
//!
//! Not in here: where the secret is read.

use cache_core::Secret;
use cache_core::config::Address;
use serde_json::{Map, Value};

use super::choice::Version;

/// The non-secret fields of a service secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) tls: Option<bool>,
    pub(super) keyspace: Option<String>,
}

/// Reads a secret's bytes.
pub(super) fn parse(bytes: &Secret<Vec<u8>>) -> Result<Version, String> {
    let value: Value = serde_json::from_slice(bytes.expose()).map_err(|error| {
        format!(
            "it is not JSON (line {}, column {}); it must be a JSON object with host, port, username, password, keyspace and tls",
            error.line(),
            error.column()
        )
    })?;
    let Value::Object(object) = value else {
        return Err("it must be a JSON object, such as {\"host\": \"…\", \"password\": \"…\"}".to_owned());
    };
    let mut object = Object::new(object);
    if let Some(engine) = object.text(&["engine"])?
        && !["valkey", "redis"].contains(&engine.to_ascii_lowercase().as_str())
    {
        return Err(
            "engine: it must be valkey or redis; this is the secret of another kind of server".to_owned(),
        );
    }
    let (host, port_of_host) = match object.text(&["host", "hostname", "endpoint", "address"])? {
        Some(text) => host(&text)?,
        None => (None, None),
    };
    let port = object.port()?;
    if let (Some(one), Some(other)) = (port, port_of_host)
        && one != other
    {
        return Err("port: it differs from the port in host".to_owned());
    }
    let keyspace = object.text(&["keyspace"])?;
    if let Some(keyspace) = &keyspace
        && keyspace
            .chars()
            .any(|char| char.is_whitespace() || char.is_control())
    {
        return Err("keyspace: it must have no spaces or control characters".to_owned());
    }
    Ok(Version {
        fields: Fields {
            host,
            port: port.or(port_of_host),
            tls: object.switch(&["tls", "tlsenabled", "ssl", "transitencryptionenabled"])?,
            keyspace,
        },
        username: object.text(&["username", "user"])?,
        password: object.text(&["password", "authtoken"])?.map(Secret::new),
    })
}

/// The fields by their plain names.
struct Object(Vec<(String, Value)>);

impl Object {
    fn new(object: Map<String, Value>) -> Self {
        let is_set = |value: &Value| !value.is_null() && value.as_str() != Some("");
        let fields = object.into_iter().filter(|(_, value)| is_set(value));
        Self(fields.map(|(name, value)| (plain(&name), value)).collect())
    }

    /// Removes the field with one of these names. Fails if there are several with different values.
    fn take(&mut self, names: &[&str]) -> Result<Option<Value>, String> {
        let mut found: Option<Value> = None;
        while let Some(at) = self.0.iter().position(|(name, _)| names.contains(&name.as_str())) {
            let (_, value) = self.0.swap_remove(at);
            if found.as_ref().is_some_and(|found| *found != value) {
                return Err(format!(
                    "{}: it is given more than once, with different values ({})",
                    names[0],
                    names.join(", ")
                ));
            }
            found = Some(value);
        }
        Ok(found)
    }

    fn text(&mut self, names: &[&str]) -> Result<Option<String>, String> {
        match self.take(names)? {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{}: it must be a string", names[0])),
        }
    }

    fn port(&mut self) -> Result<Option<u16>, String> {
        let port = match self.take(&["port"])? {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        match port {
            None | Some(0) => Err("port: it must be a number from 1 to 65535".to_owned()),
            port => Ok(port),
        }
    }

    fn switch(&mut self, names: &[&str]) -> Result<Option<bool>, String> {
        let on = match self.take(names)? {
            None => return Ok(None),
            Some(Value::Bool(on)) => Some(on),
            Some(Value::String(text)) => match text.trim().to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            },
            Some(_) => None,
        };
        on.map(Some)
            .ok_or_else(|| format!("{}: it must be true or false", names[0]))
    }
}

/// `authToken`, `auth_token` and `AUTH-TOKEN` are one name.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|char| !matches!(char, '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// A host, with or without a port.
fn host(text: &str) -> Result<(Option<String>, Option<u16>), String> {
    let wrong = || {
        "host: it must be a host name or an IP address, with or without :port; no URL, no user, no password"
            .to_owned()
    };
    let text = text.trim();
    if text.contains("://") || text.contains(['@', '/', ' ']) {
        return Err(wrong());
    }
    // An IPv6 address has more than one colon, and brackets only with a port.
    let has_port = text.starts_with('[') || text.matches(':').count() == 1;
    let written = match (has_port, text.contains(':')) {
        (true, _) => text.to_owned(),
        (false, true) => format!("[{text}]:6379"),
        (false, false) => format!("{text}:6379"),
    };
    let address: Address = written.parse().map_err(|_| wrong())?;
    Ok((Some(address.host), has_port.then_some(address.port)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: &Value) -> Result<Version, String> {
        parse(&Secret::new(value.to_string().into_bytes()))
    }

    #[test]
    fn every_accepted_spelling_is_read() {
        let whole = json!({
            "host": "cache.example.com", "port": 6380, "username": "app", "password": "s3cr3t",
            "keyspace": "billing", "tls": true
        });
        let others = [
            json!({"endpoint": "cache.example.com:6380", "user": "app", "authToken": "s3cr3t",
                   "keyspace": "billing", "ssl": "true", "engine": "valkey", "dbClusterIdentifier": "x"}),
            json!({"HostName": "cache.example.com", "port": "6380", "userName": "app", "auth_token": "s3cr3t",
                   "keyspace": "billing", "transitEncryptionEnabled": "TRUE", "engine": "redis"}),
            json!({"address": "cache.example.com", "host": "cache.example.com", "port": 6380, "USERNAME": "app",
                   "password": "s3cr3t", "keyspace": "billing", "tls-enabled": true, "token": null, "user": ""}),
        ];
        let expected = read(&whole).unwrap();
        for other in others {
            let version = read(&other).unwrap();
            assert_eq!(version.fields, expected.fields, "{other}");
            assert_eq!(version.username, expected.username, "{other}");
            assert_eq!(version.password, expected.password, "{other}");
        }
        assert_eq!(
            expected.fields,
            Fields {
                host: Some("cache.example.com".into()),
                port: Some(6380),
                tls: Some(true),
                keyspace: Some("billing".into())
            }
        );
    }

    #[test]
    fn hosts_are_read_with_and_without_a_port() {
        for (text, expected) in [
            ("cache", ("cache", None)),
            ("10.0.0.1:7000", ("10.0.0.1", Some(7000))),
            ("2001:db8::7", ("2001:db8::7", None)),
            ("[2001:db8::7]:6390", ("2001:db8::7", Some(6390))),
        ] {
            let (host, port) = host(text).unwrap();
            assert_eq!((host.as_deref(), port), (Some(expected.0), expected.1), "{text}");
        }
    }

    #[test]
    fn wrong_field_is_named_and_value_hidden() {
        for (secret, field) in [
            (json!({"host": "rediss://u:h1dden@cache"}), "host:"),
            (json!({"host": 17}), "host:"),
            (json!({"port": "h1dden"}), "port:"),
            (json!({"port": 0}), "port:"),
            (json!({"port": 70_000}), "port:"),
            (json!({"port": [6379]}), "port:"),
            (json!({"host": "cache:1", "port": 2}), "port:"),
            (json!({"tls": "h1dden"}), "tls:"),
            (json!({"tls": 1}), "tls:"),
            (json!({"password": ["h1dden"]}), "password:"),
            (json!({"password": "h1dden", "authToken": "other"}), "password:"),
            (json!({"keyspace": "h1dden x"}), "keyspace:"),
            (json!({"engine": "h1dden"}), "engine:"),
            (json!("h1dden"), "JSON object"),
        ] {
            let message = read(&secret).map(drop).unwrap_err();
            assert!(message.contains(field), "{secret}: {message}");
            assert!(!message.contains("h1dden"), "{secret}: {message}");
        }
        let message = parse(&Secret::new(b"{\"password\": h1dden}".to_vec())).map(drop);
        let message = message.unwrap_err();
        assert!(message.contains("not JSON (line 1, column 14)"), "{message}");
        assert!(!message.contains("h1dden"), "{message}");
    }
}
