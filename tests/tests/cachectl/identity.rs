//! Servers that are not what the configuration says, as an operator meets them.

use anyhow::Result;
use tests::{Cluster, ClusterOptions, Kind, ServerOptions, Version, shared};

use super::cachectl;

#[tokio::test]
async fn a_check_with_a_connection_names_the_right_mode() -> Result<()> {
    let sentinel = shared(Kind::Sentinel).await?.addresses.clone();
    let cluster = shared(Kind::Cluster).await?.addresses.clone();
    for (mode, addresses, right) in [
        ("single", &sentinel[..1], "CACHE_MODE=sentinel"),
        ("cluster", &sentinel[..1], "CACHE_MODE=sentinel"),
        ("single", &cluster[..1], "CACHE_MODE=cluster"),
    ] {
        for command in [&["config", "check", "--connect"][..], &["ping"], &["topology"]] {
            let words: Vec<&[u8]> = command.iter().map(|word| word.as_bytes()).collect();
            let ran = cachectl(mode, addresses, &words).await?;
            assert_ne!(ran.code, 0, "{command:?}");
            assert!(ran.err.contains(right), "{command:?}: {}", ran.err);
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_check_with_a_connection_fails_if_primaries_share_an_address() -> Result<()> {
    let node = ServerOptions::new(Version::Valkey8).line("cluster-preferred-endpoint-type hostname");
    let mut options = ClusterOptions::new(3, 0).node(node);
    for index in 0..2 {
        options = options
            .line_for(index, "cluster-announce-hostname cache.test")
            .line_for(index, "cluster-announce-port 7000");
    }
    options = options.line_for(2, "cluster-announce-hostname 127.0.0.1");
    let cluster = Cluster::start(options).await?;
    let seed = &cluster.addresses()[2..];
    let ran = tests::until(super::LIMIT, "the node to know the others' names", || async {
        let ran = cachectl("cluster", seed, &[b"config", b"check", b"--connect"]).await?;
        Ok(ran.err.contains("cache.test").then_some(ran))
    })
    .await?;
    assert_ne!(ran.code, 0);
    assert!(
        ran.err
            .contains("2 primaries all go by the address cache.test:7000"),
        "{}",
        ran.err
    );
    let ran = cachectl("cluster", seed, &[b"doctor"]).await?;
    let said = String::from_utf8(ran.out)?;
    assert!(
        said.contains("all go by the address") && said.contains("cluster-announce-hostname"),
        "{said}"
    );
    Ok(())
}
