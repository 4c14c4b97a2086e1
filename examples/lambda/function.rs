//! What the function does: it answers which plan a tenant has, from the cache where that knows it.

use std::time::Duration;

use anyhow::Context as _;
use cache_core::{CacheClient as _, CacheClientExt as _, Keyspace, Ttl};
use cache_stack::Stack;
use serde::{Deserialize, Serialize};

/// How slow the stand-in for a database is.
const DATABASE_LATENCY: Duration = Duration::from_millis(20);

/// How long a plan is kept.
const TTL: Ttl = Ttl::secs(3_600);

/// What outlives an invocation: the client, with its connections.
#[derive(Debug)]
pub(crate) struct Function {
    stack: Stack,
    plans: Keyspace,
}

#[derive(Debug, Deserialize)]
struct Event {
    tenant: String,
}

#[derive(Debug, Serialize)]
struct Answer {
    tenant: String,
    plan: String,
    /// `near`, `cache` or `database`.
    served_from: &'static str,
}

impl Function {
    /// Made once, before the first invocation.
    pub(crate) fn new(stack: Stack) -> anyhow::Result<Self> {
        let plans = Keyspace::new("plans")?;
        Ok(Self { stack, plans })
    }

    /// Answers one event. Everything is done when it returns: what a task did in the background after that would be
    /// frozen half-way.
    pub(crate) async fn handle(&self, event: &[u8]) -> anyhow::Result<Vec<u8>> {
        let Event { tenant } =
            serde_json::from_slice(event).context("the event is not {\"tenant\": NAME}")?;
        let key = self.plans.key([tenant.as_str()]);
        let near_hits = self.near_hits();
        let found = match self.stack.client.find_string(&key).await {
            Ok(found) => found,
            // The database answers as well, only slower.
            Err(error) => {
                tracing::warn!(%error, "the cache did not answer");
                None
            }
        };
        let (plan, served_from) = match found {
            Some(plan) if self.near_hits() > near_hits => (plan, "near"),
            Some(plan) => (plan, "cache"),
            None => (self.load(&key).await, "database"),
        };
        let answer = Answer {
            tenant,
            plan,
            served_from,
        };
        Ok(serde_json::to_vec(&answer)?)
    }

    async fn load(&self, key: &str) -> String {
        tokio::time::sleep(DATABASE_LATENCY).await;
        let plan = "free".to_owned();
        if let Err(error) = self.stack.client.set_string(key, &plan, TTL).await {
            tracing::warn!(%error, "the plan was not stored");
        }
        plan
    }

    /// Exact: a process has one invocation at a time.
    fn near_hits(&self) -> u64 {
        self.stack.near.as_ref().map_or(0, |near| near.stats().hits)
    }

    /// Ends the connections.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        Ok(self.stack.client.close().await?)
    }
}
