//! What the README prints is what the commands give: its `curl` and `cachectl` lines are carried out one
//! after the other, on the embedded client and on a cluster.

use std::time::Duration;

use anyhow::Result;
use tests::{Cluster, ClusterOptions, until};

use crate::cachectl;
use crate::http::Request;
use crate::service::{ADMIN, Service};
use crate::shell::{request, words};
use crate::steps::steps;

const README: &str = include_str!("../../../README.md");

/// How the README runs `cachectl`.
const CACHECTL: &str = "cargo run -q -p cache-admin -- ";

/// Carries out the steps of a heading against `service`; how many there were.
async fn follow(heading: &str, service: &Service, variables: &[(&str, &str)]) -> Result<usize> {
    let mut followed = 0;
    for step in steps(README, heading) {
        if step.line.starts_with("curl ") {
            let request: Request = request(step.line, "localhost:8080")?;
            assert_eq!(service.ask(request).await.body, step.printed, "{}", step.line);
        } else if let Some(arguments) = step.line.strip_prefix(CACHECTL) {
            stored(&step.printed, variables).await?;
            let printed = cachectl::run(&words(arguments), variables).await?;
            assert_eq!(
                without_chance(&printed),
                without_chance(&step.printed),
                "{printed}"
            );
        } else {
            continue;
        }
        followed += 1;
    }
    Ok(followed)
}

/// Waits until the service has stored what the README's table says is removed: answers do not wait for that.
async fn stored(table: &str, variables: &[(&str, &str)]) -> Result<()> {
    let total = table.lines().find_map(|line| line.strip_prefix("total"));
    let Some(matched) = total.and_then(|row| row.split_whitespace().nth(1)) else {
        return Ok(());
    };
    let matched: usize = matched.parse()?;
    let list = ["keys", "tenant-service:v1:*"].map(str::to_owned);
    until(Duration::from_secs(30), "the entries to be stored", || async {
        let listed = cachectl::run(&list, variables).await?.lines().count();
        Ok((listed == matched).then_some(()))
    })
    .await
}

/// The lines without ports, times, names of jobs and the counters of windows that come and go, and in an order of their own:
/// the rows stand in the order of ports.
fn without_chance(printed: &str) -> Vec<String> {
    let is_unit = |word: &str| matches!(word, "s" | "ms" | "µs");
    let mut lines: Vec<String> = Vec::new();
    for line in printed.lines() {
        let mut kept: Vec<&str> = Vec::new();
        let line = line.split("; job ").next().unwrap_or(line);
        for word in line.split_whitespace() {
            if is_unit(word) {
                kept.pop();
            } else if !word.starts_with("127.0.0.1:") {
                kept.push(word);
            }
        }
        if let [
            ..,
            _before,
            matched,
            removed,
            _after,
            result @ ("ok" | "complete"),
        ] = kept[..]
        {
            kept = vec![matched, removed, result];
        }
        lines.push(kept.join(" "));
    }
    lines.sort();
    lines
}

#[tokio::test]
async fn the_curl_lines_of_the_readme_give_what_it_prints() -> Result<()> {
    let service = Service::start(&[]).await?;
    let greeting = service.greeting.replace(&service.address, "127.0.0.1:8080");
    assert!(README.lines().any(|line| line == greeting), "{greeting}");
    assert!(follow("See it work", &service, &[]).await? >= 6);
    Ok(())
}

// A cluster of its own, because the README's answers are those of a cache that is empty.
#[tokio::test]
async fn the_lines_for_a_cluster_give_what_it_prints() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses().join(",");
    let variables = [("CACHE_ADDRS", addresses.as_str()), ("CACHE_MODE", "cluster")];
    let service = Service::start(&variables).await?;
    assert!(service.greeting.contains("cluster"), "{}", service.greeting);
    let followed = follow("The same service on a cluster", &service, &variables).await?;
    assert!(followed >= 4);

    // And what is shown on the embedded client holds on a cluster, too.
    for node in cluster.nodes() {
        node.call(&["FLUSHALL"]).await?;
    }
    let service = Service::start(&variables).await?;
    follow("See it work", &service, &variables).await?;
    Ok(())
}

#[tokio::test]
async fn the_lines_for_the_administration_give_what_it_prints() -> Result<()> {
    let service = Service::start(&ADMIN).await?;
    let admin = service.admin.clone().unwrap_or_default();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tenant-service/demo");
    let heading = "Its administration";
    let [start, export, ..] = &steps(README, heading)[..] else {
        panic!("the README says nothing of it");
    };
    assert_eq!(
        start.line,
        "ADMIN_TOKENS=examples/tenant-service/demo/actors.toml cargo run"
    );
    assert_eq!(
        start.printed,
        "its cache is administered at http://127.0.0.1:8377\n"
    );
    assert_eq!(
        export.line,
        "export CACHECTL_SERVER=http://127.0.0.1:8377 CACHECTL_TOKEN_FILE=examples/tenant-service/demo/token"
    );
    let (server, token) = (format!("http://{admin}"), format!("{folder}/token"));
    let variables = [
        ("CACHECTL_SERVER", server.as_str()),
        ("CACHECTL_TOKEN_FILE", token.as_str()),
    ];
    assert!(follow(heading, &service, &variables).await? >= 2);
    Ok(())
}

#[test]
fn the_readme_is_short_enough_to_be_read() {
    assert!(README.lines().count() <= 150);
}
