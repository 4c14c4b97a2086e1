//! What a server says of itself in the handshake: who it is, which version, which role.
//!
//! Not in here: what follows from it; that is asked where a command depends on it.

use crate::reply::Reply;

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) server: String,
    pub(crate) version: String,
    /// Whether it is a replica.
    pub(crate) replica: bool,
    /// Whether it is a node of a cluster.
    pub(crate) cluster: bool,
}

impl Greeting {
    pub(crate) fn read(reply: &Reply) -> Self {
        let text = |name| {
            reply
                .field(name)
                .and_then(Reply::as_text)
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            server: text("server"),
            version: text("version"),
            replica: text("role") == "replica",
            cluster: text("mode") == "cluster",
        }
    }

    /// Whether the server is Valkey of at least this version.
    pub(crate) fn is_valkey_from(&self, major: u32, minor: u32) -> bool {
        self.server == "valkey" && self.is_from(major, minor)
    }

    /// Whether the server is Redis of at least this version, or says that it is.
    pub(crate) fn is_redis_from(&self, major: u32, minor: u32) -> bool {
        self.server == "redis" && self.is_from(major, minor)
    }

    fn is_from(&self, major: u32, minor: u32) -> bool {
        let mut numbers = self
            .version
            .split('.')
            .map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        version >= (major, minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_tells_server_version_and_role() {
        let pair = |name: &str, value: &str| {
            (
                Reply::Bulk(name.to_owned().into()),
                Reply::Bulk(value.to_owned().into()),
            )
        };
        let hello = Reply::Map(vec![
            pair("server", "valkey"),
            pair("version", "8.1.4"),
            pair("role", "replica"),
        ]);
        let greeting = Greeting::read(&hello);
        assert!(greeting.replica);
        assert_eq!(
            (greeting.server.as_str(), greeting.version.as_str()),
            ("valkey", "8.1.4")
        );
    }
}
