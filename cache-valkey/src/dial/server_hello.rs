//! Reads what a server says about itself in `HELLO`: product, version, role, kind, and its id in a cluster.
//!
//! Not in here: which commands depend on it.

use crate::identity::{NodeId, ServerKind};
use crate::reply::Reply;

/// What a server says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerHello {
    pub(crate) server: String,
    pub(crate) version: String,
    /// Whether it is a replica.
    pub(crate) replica: bool,
    /// What kind of server it is; `None` if it does not say.
    pub(crate) kind: Option<ServerKind>,
    /// Its id in its cluster; `None` outside of a cluster, or if it does not say.
    pub(crate) id: Option<NodeId>,
}

impl ServerHello {
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
            kind: ServerKind::of_mode(&text("mode")),
            id: None,
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
    fn hello_reply_yields_server_version_and_role() {
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
            pair("mode", "cluster"),
        ]);
        let server_hello = ServerHello::read(&hello);
        assert!(server_hello.replica);
        assert_eq!(server_hello.kind, Some(ServerKind::Cluster));
        assert_eq!(
            (server_hello.server.as_str(), server_hello.version.as_str()),
            ("valkey", "8.1.4")
        );
    }
}
