//! Single keys, rates, the doctor, refusals: on every topology.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Kind, Server, ServerOptions, Version, shared};
use tokio::process::Command;

use super::{cachectl, cachectl_with};

#[tokio::test]
async fn values_go_through_byte_by_byte_on_every_topology() -> Result<()> {
    for (kind, mode) in [
        (Kind::Single, "single"),
        (Kind::Cluster, "cluster"),
        (Kind::Redis7, "single"),
    ] {
        let servers = shared(kind).await?;
        let key = format!("cachectl:{}", std::process::id());
        let value: &[u8] = b"\xfe\r\n$-1\r\n";
        let at = &servers.addresses;
        let run = async |arguments: &[&[u8]]| cachectl(mode, at, arguments).await;
        assert_eq!(
            run(&[b"set", key.as_bytes(), value, b"--ttl", b"1m"]).await?.code,
            0
        );
        assert_eq!(run(&[b"get", key.as_bytes()]).await?.out, value);
        assert_eq!(run(&[b"ttl", key.as_bytes()]).await?.code, 0);
        assert_eq!(run(&[b"set", key.as_bytes(), b"x", b"--nx"]).await?.code, 1);
        assert_eq!(run(&[b"exists", key.as_bytes()]).await?.code, 0);
        assert_eq!(run(&[b"incr", key.as_bytes()]).await?.code, 7, "it is no integer");
        let listed = run(&[b"keys", format!("{key}*").as_bytes()]).await?;
        assert_eq!(listed.out, format!("{key}\n").as_bytes(), "{kind:?}");
        assert_eq!(run(&[b"del", key.as_bytes()]).await?.code, 0);
        assert_eq!(run(&[b"get", key.as_bytes()]).await?.code, 1);
        assert_eq!(run(&[b"topology"]).await?.code, 0);
        assert_eq!(run(&[b"ping"]).await?.code, 0);
    }
    Ok(())
}

#[tokio::test]
async fn what_the_server_refuses_is_5() -> Result<()> {
    let options = ServerOptions::new(Version::Valkey8).user("reader on >quiet ~* +@read +@connection -scan");
    let server = Server::start(options).await?;
    let run = async |user: &str, password: &str, arguments: &[&str]| -> Result<i32> {
        let output = Command::new(tests::cachectl().await?)
            .args(arguments)
            .env_clear()
            .envs([
                ("CACHE_ADDRS", server.address()),
                ("CACHE_USERNAME", user.to_owned()),
            ])
            .env("CACHE_PASSWORD", password)
            .stdin(Stdio::null())
            .output()
            .await?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        ensure!(!text.contains(password), "the password was shown: {text}");
        output.status.code().context("ended by a signal")
    };
    assert_eq!(run("reader", "quiet", &["get", "k"]).await?, 1);
    assert_eq!(run("reader", "quiet", &["set", "k", "v"]).await?, 5);
    assert_eq!(run("reader", "quiet", &["invalidate", "k:*"]).await?, 5);
    assert_eq!(run("reader", "wrong-one", &["get", "k"]).await?, 5);
    Ok(())
}

#[tokio::test]
async fn top_is_a_table_once_and_a_line_of_json_for_each_look_elsewhere() -> Result<()> {
    let cluster = shared(Kind::Cluster).await?;
    let once = cachectl("cluster", &cluster.addresses, &[b"top", b"--once"]).await?;
    assert_eq!(once.code, 0, "{once:?}");
    let table = String::from_utf8(once.out)?;
    assert!(
        table.starts_with("3 primaries, ") && table.contains("HIT RATE"),
        "{table}"
    );
    // Nothing that moves a cursor reaches what is no terminal.
    assert!(!table.contains('\x1b'), "{table}");

    let lines = cachectl(
        "cluster",
        &cluster.addresses,
        &[b"top", b"--count", b"2", b"--interval", b"100ms"],
    )
    .await?;
    assert_eq!(lines.code, 0, "{lines:?}");
    let text = std::str::from_utf8(&lines.out)?;
    assert_eq!(text.lines().count(), 2);
    for line in text.lines() {
        let beat: Value = serde_json::from_str(line)?;
        assert_eq!(beat["primaries"].as_array().map(Vec::len), Some(3), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn the_doctor_s_exit_code_says_what_kind_of_thing_is_wrong() -> Result<()> {
    let sound = ServerOptions::new(Version::Valkey8)
        .line("maxmemory 100mb")
        .line("maxmemory-policy allkeys-lru");
    let server = Server::start(sound.password("secret")).await?;
    let addresses = [server.address()];
    let login = [("CACHE_PASSWORD", "secret")];
    let ran = async |login: &[(&str, &str)]| {
        cachectl_with("single", &addresses, login, &[b"doctor", b"--json"]).await
    };

    let well = ran(&login).await?;
    let report = well.json()?;
    let slow_only = report["findings"]
        .as_array()
        .context("findings")?
        .iter()
        .all(|finding| {
            finding["state"] != "fail" && (finding["state"] != "warn" || finding["check"] == "latency")
        });
    assert!(slow_only && (well.code == 0 || well.code == 8), "{well:?}");

    server.call(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    let warned = ran(&login).await?;
    assert_eq!(
        (warned.code, &warned.json()?["worst"]),
        (8, &Value::from("warn")),
        "{warned:?}"
    );
    let refused = ran(&[("CACHE_PASSWORD", "wrong")]).await?;
    assert_eq!(refused.code, 5, "{refused:?}");
    assert!(!refused.err.contains("wrong") && !String::from_utf8(refused.out)?.contains("wrong"));
    server.kill()?;
    assert_eq!(ran(&login).await?.code, 4);
    Ok(())
}
