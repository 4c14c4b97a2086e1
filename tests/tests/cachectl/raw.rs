//! `cachectl raw` on real servers: which nodes are asked, what is refused, and that no secret is shown.

use anyhow::{Context as _, Result, ensure};
use tests::{Cluster, ClusterOptions, Server, ServerOptions, Version};

use super::{Ran, cachectl, cachectl_with, fill};

fn text(ran: &Ran) -> Result<&str> {
    Ok(std::str::from_utf8(&ran.out)?)
}

#[tokio::test]
async fn raw_asks_every_primary_of_a_cluster_and_a_key_goes_to_its_own() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 1)).await?;
    let addresses = cluster.addresses();
    fill(&addresses, (0..300).map(|number| format!("k:{number}"))).await?;
    let raw = async |arguments: &[&[u8]]| {
        let arguments = [&[&b"raw"[..]], arguments].concat();
        cachectl("cluster", &addresses[..1], &arguments).await
    };

    let sizes = raw(&[b"DBSIZE", b"--json"]).await?;
    ensure!(sizes.code == 0, "{sizes:?}");
    let sizes = sizes.json()?;
    let nodes = sizes["nodes"].as_array().context("no nodes")?;
    ensure!(
        nodes.len() == 3 && nodes.iter().all(|node| node["role"] == "primary"),
        "{sizes}"
    );
    ensure!(
        nodes
            .iter()
            .filter_map(|node| node["reply"].as_u64())
            .sum::<u64>()
            == 300,
        "{sizes}"
    );

    for command in [
        &b"INFO memory"[..],
        b"CLUSTER INFO",
        b"CLUSTER NODES",
        b"CLUSTER SLOTS",
        b"CLUSTER SHARDS",
        b"CLIENT LIST",
        b"SLOWLOG GET 5",
        b"LATENCY LATEST",
        b"LATENCY DOCTOR",
        b"MEMORY STATS",
        b"MEMORY DOCTOR",
        b"ACL WHOAMI",
        b"COMMAND COUNT",
        b"CONFIG GET maxmemory*",
        b"ROLE",
        b"TIME",
    ] {
        let ran = raw(&[command]).await?;
        ensure!(
            ran.code == 0 && ran.err.is_empty(),
            "{}: {ran:?}",
            String::from_utf8_lossy(command)
        );
        for address in nodes.iter().filter_map(|node| node["address"].as_str()) {
            ensure!(text(&ran)?.contains(address), "{address}: {ran:?}");
        }
    }
    // Keys of all three primaries, each asked of its own.
    for number in 0..20 {
        let key = format!("k:{number}");
        let ran = raw(&[b"type", key.as_bytes()]).await?;
        ensure!(ran.code == 0 && text(&ran)? == "string\n", "{ran:?}");
    }
    let usage = raw(&[b"memory", b"usage", b"k:1", b"samples", b"0", b"--json"])
        .await?
        .json()?;
    ensure!(usage["nodes"][0]["reply"].as_u64() > Some(10), "{usage}");
    ensure!(text(&raw(&[b"ttl", b"k:1"]).await?)? == "-1\n");

    // One node, which may be a replica.
    let topology = cachectl("cluster", &addresses[..1], &[b"topology", b"--json"])
        .await?
        .json()?;
    let nodes = topology["nodes"].as_array().context("no nodes")?;
    let replica = nodes
        .iter()
        .find(|node| node["role"] == "replica")
        .context("no replica")?;
    let replica = replica["address"].as_str().context("no address")?;
    let role = raw(&[b"ROLE", b"--node", replica.as_bytes()]).await?;
    ensure!(
        role.code == 0 && text(&role)?.starts_with("- slave\n"),
        "{role:?}"
    );
    let nowhere = raw(&[b"ROLE", b"--node", b"127.0.0.1:1"]).await?;
    ensure!(nowhere.code == 2 && nowhere.err.contains(replica), "{nowhere:?}");
    Ok(())
}

#[tokio::test]
async fn raw_refuses_what_writes_and_masks_what_is_secret() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8).password("hunter2")).await?;
    let at = [server.address()];
    server.call(&["SET", "app:k", "a-value"]).await?;
    server.call(&["CONFIG", "SET", "masterauth", "hunter2"]).await?;
    server.call(&["CONFIG", "SET", "requirepass", "hunter2"]).await?;
    server
        .call(&["CONFIG", "SET", "slowlog-log-slower-than", "0"])
        .await?;
    server.call(&["SET", "app:secret-key", "a-value"]).await?;
    server
        .call(&["CONFIG", "SET", "slowlog-log-slower-than", "-1"])
        .await?;
    let variables = [("CACHE_PASSWORD", "hunter2"), ("CACHE_KEY_PREFIX", "app:")];
    let raw = async |arguments: &[&[u8]]| {
        let arguments = [&[&b"raw"[..]], arguments].concat();
        cachectl_with("single", &at, &variables, &arguments).await
    };
    for (command, shown) in [
        (&b"CONFIG GET *"[..], "requirepass: ***"),
        (b"CONFIG GET requirepass", "requirepass: ***"),
        (b"CONFIG GET m*auth", "masterauth: ***"),
        (b"CONFIG GET maxclients", "maxclients: "),
        (b"SLOWLOG GET", "SET (2 arguments)"),
    ] {
        let ran = raw(&[command]).await?;
        ensure!(ran.code == 0 && text(&ran)?.contains(shown), "{ran:?}");
        for secret in ["hunter2", "a-value", "secret-key"] {
            ensure!(!text(&ran)?.contains(secret), "{ran:?}");
        }
    }
    // Keys are those of callers, below the prefix.
    ensure!(text(&raw(&[b"exists", b"k"]).await?)? == "1\n");
    ensure!(text(&raw(&[b"object", b"encoding", b"k"]).await?)? == "embstr\n");

    for command in [
        &b"SET k other"[..],
        b"GET k",
        b"CONFIG SET requirepass x",
        b"FLUSHALL",
        b"ACL LIST",
        b"SLOWLOG RESET",
        b"DEBUG SLEEP 0",
    ] {
        let refused = raw(&[command]).await?;
        ensure!(refused.code == 2 && refused.out.is_empty(), "{refused:?}");
        ensure!(
            refused.err.contains("nothing was sent") && refused.err.contains("CONFIG GET, DBSIZE"),
            "{refused:?}"
        );
    }
    ensure!(server.call(&["GET", "app:k"]).await?.text() == "a-value");

    let cut = raw(&[b"INFO", b"--bytes", b"200"]).await?;
    ensure!(
        cut.code == 0 && cut.out.len() <= 200 && cut.err.contains("--bytes"),
        "{cut:?}"
    );
    server.pause()?;
    let began = cache_core::clock::now();
    let late = raw(&[b"DBSIZE", b"--deadline", b"300ms"]).await?;
    server.resume()?;
    ensure!(
        late.code == 4 && cache_core::clock::now() - began < super::LIMIT,
        "{late:?}"
    );
    Ok(())
}
