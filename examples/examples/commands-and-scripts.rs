//! What the contract does not have: commands and Lua scripts over the same client and the same connections.
//!
//! ```console
//! $ cargo xtask servers single -- cargo run -p examples --example commands-and-scripts
//! ```

use anyhow::Context as _;
use cache_core::CacheConfig;
use cache_stack::Stack;
use cache_valkey::{Effect, Script};

/// Takes a seat while there is one. A script runs as one step.
static TAKE_SEAT: Script = Script::new(
    "if tonumber(redis.call('HGET', KEYS[1], 'seats') or '0') < 1 then return 0 end
     redis.call('HINCRBY', KEYS[1], 'seats', -1)
     return 1",
);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let stack = cache_stack::assemble(&CacheConfig::from_env()?).await?;
    take_seats(&stack).await?;
    stack.client.close().await?;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example tells what it does")]
async fn take_seats(stack: &Stack) -> anyhow::Result<u32> {
    let servers = stack.valkey().context("this needs servers: set CACHE_ADDRS")?;
    // Below the layers nobody puts the prefix before keys.
    let plan = format!("{}plan:acme", stack.key_prefix());

    // Doing this twice is doing it once, so the client may repeat it.
    let set = servers.command("HSET", Effect::Write).key(&plan);
    set.args(["name", "team"]).arg("seats").int(2).send().await?;

    // Doing this twice takes two seats, so it is never repeated while it is unknown whether it was done.
    let mut taken = 0;
    while servers
        .script(&TAKE_SEAT, Effect::WriteOnce)
        .key(&plan)
        .send()
        .await?
        .into_int()?
        == 1
    {
        taken += 1;
    }
    let left = servers.command("HGETALL", Effect::Read).key(&plan).send().await?;
    println!(
        "took {taken} seats of {:?}, {:?} are left",
        text(&left, "name"),
        text(&left, "seats")
    );

    servers.command("UNLINK", Effect::Write).key(&plan).send().await?;
    Ok(taken)
}

fn text<'a>(map: &'a cache_valkey::Reply, field: &str) -> Option<&'a str> {
    map.field(field)?.as_text()
}

#[cfg(test)]
mod tests {
    use ::tests::{Kind, shared};
    use cache_core::config::{Topology, ValkeyConfig};

    use super::*;

    #[tokio::test]
    async fn two_seats_are_taken() {
        let servers = shared(Kind::Single).await.unwrap();
        let address = servers.addresses[0].parse().unwrap();
        let config = CacheConfig::builder().valkey(ValkeyConfig::new(Topology::single(address)));
        let config = config.key_prefix("commands-and-scripts:").build().unwrap();
        let stack = cache_stack::assemble(&config).await.unwrap();
        assert_eq!(take_seats(&stack).await.unwrap(), 2);
    }
}
