//! Lists, where the contract knows bytes only: as another program puts them there.

#![expect(clippy::expect_used, reason = "a list that cannot be made ends the test")]

use std::sync::Arc;

use async_trait::async_trait;
use cache_core::conformance::ForeignValues;
use cache_valkey::{Effect, ValkeyClient};

/// Puts a list under a key.
pub(crate) struct Lists {
    client: Arc<ValkeyClient>,
    prefix: &'static str,
}

impl Lists {
    /// Under the keys of `client`.
    pub(crate) fn of(client: Arc<ValkeyClient>) -> Self {
        Self::under(client, "")
    }

    /// Under the keys of a stack on `client` that puts `prefix` before them.
    pub(crate) fn under(client: Arc<ValkeyClient>, prefix: &'static str) -> Self {
        Self { client, prefix }
    }
}

#[async_trait]
impl ForeignValues for Lists {
    async fn put(&self, key: &str) {
        let key = format!("{}{key}", self.prefix);
        let push = self.client.command("RPUSH", Effect::WriteOnce).key(&key);
        push.arg("item").send().await.expect("a list is made");
        let expire = self.client.command("EXPIRE", Effect::Write).key(&key);
        expire.int(600).send().await.expect("it gets a TTL");
    }
}
