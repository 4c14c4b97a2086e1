//! One command changes many keys: all of them are heard.

use std::collections::BTreeSet;

use anyhow::Result;
use cache_core::{CacheClient, Ttl};
use cache_valkey::{Tracking, ValkeyClient};
use tests::{Server, ServerOptions, Version, until};

use crate::listener::{Heard, LIMIT, read, single};

const KEYS: usize = 500;

fn keys() -> BTreeSet<String> {
    (0..KEYS).map(|number| format!("many:{number}")).collect()
}

async fn all_are_heard(tracking: Tracking) -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let config = single(&server.address())?;
    let client = ValkeyClient::builder(&config)
        .tracking(tracking)
        .connect()
        .await?;
    let heard = Heard::of(&client)?;
    let keys = keys();
    let mut write: Vec<&str> = vec!["MSET"];
    let mut remove: Vec<&str> = vec!["UNLINK"];
    for key in &keys {
        write.extend([key.as_str(), "2"]);
        remove.push(key);
    }
    let script = "for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, 60000) end";
    let count = KEYS.to_string();
    let mut expire = vec!["EVAL", script, &count];
    expire.extend(keys.iter().map(String::as_str));
    for command in [write, expire, remove] {
        for key in &keys {
            client.set(key, "1".into(), Ttl::Forever).await?;
        }
        // Own writes of keys that nobody has read since are not tracked, or done with by now.
        for key in &keys {
            read(&client, key).await?;
        }
        heard.clear();
        server.call(&command).await?;
        until(LIMIT, "all keys to be heard", || async {
            let so_far: BTreeSet<_> = heard.keys().into_iter().collect();
            anyhow::ensure!(so_far == keys, "{} of {KEYS}", so_far.len());
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_command_that_changes_many_keys_is_heard_of_each() -> Result<()> {
    all_are_heard(Tracking::OptIn).await
}

#[tokio::test]
async fn one_broadcast_that_carries_many_keys_is_heard_of_each() -> Result<()> {
    let prefixes = vec!["many:".to_owned()];
    all_are_heard(Tracking::Broadcast { prefixes }).await
}
