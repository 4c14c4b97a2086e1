//! The users that SECURITY.md proposes can do what they are for, and nothing else.

use anyhow::{Context as _, Result, bail};
use cache_admin::{Engine, Options, Outcome, ValkeyKeys};
use cache_core::config::{Authentication, Topology, ValkeyConfig};
use cache_core::{CacheClient, CacheError, Pattern, TrackingStatus, Ttl};
use cache_valkey::ValkeyClient;
use tests::{Cluster, ClusterOptions};

const SECURITY: &str = include_str!("../../SECURITY.md");
const PASSWORD: &str = "tried-out";

/// The words of the page's command for `user`.
fn command_for(user: &str) -> Result<Vec<String>> {
    let start = format!("ACL SETUSER {user} ");
    let begin = SECURITY.find(&start).context("the page names no such user")?;
    let end = SECURITY[begin..].find("```").context("the block has no end")?;
    let words = SECURITY[begin..begin + end].split_whitespace();
    Ok(words.map(|word| word.replace("PASSWORD", PASSWORD)).collect())
}

/// A client that is `user`, on each node of `cluster`.
async fn client_as(user: &str, cluster: &Cluster) -> Result<ValkeyClient> {
    let command = command_for(user)?;
    for node in cluster.nodes() {
        node.call(&command).await?;
    }
    let seeds = cluster
        .addresses()
        .iter()
        .map(|address| address.parse())
        .collect::<Result<Vec<_>, _>>()?;
    let config = ValkeyConfig::new(Topology::cluster(seeds)).with_authentication(Authentication::Password {
        username: Some(user.to_owned()),
        password: PASSWORD.into(),
    });
    Ok(ValkeyClient::connect(&config).await?)
}

#[tokio::test]
async fn the_service_s_user_can_do_all_of_the_contract_within_its_keyspace() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let cache = client_as("billing", &cluster).await?;
    let life = Ttl::secs(60);
    for number in 0..16 {
        let key = format!("billing:v1:{number}");
        let (key, count) = (key.as_str(), format!("billing:v1:{{{number}}}:count"));
        cache.set(key, "a".into(), life).await?;
        assert_eq!(cache.get(key).await?, "a");
        cache.get_entry(key).await?;
        assert!(!cache.set_if_absent(key, "b".into(), life).await?);
        assert!(cache.compare_and_set(key, b"a", "b".into(), life).await?);
        assert!(cache.expire(key, Ttl::Forever).await?);
        assert!(cache.expire(key, life).await?);
        assert_eq!(cache.incr(&count).await?, 1);
        assert_eq!(cache.incr_by(&count, 2, life).await?, 3);
        assert_eq!(cache.incr_by(&count, 2, Ttl::Forever).await?, 5);
        cache.ttl(&count).await?;
        cache
            .set_many(&[(key, "c".into()), (count.as_str(), "1".into())], life)
            .await?;
        assert_eq!(cache.exists(&[key, &count]).await?, 2);
        assert_eq!(
            cache
                .get_many(&[key, &count])
                .await?
                .into_iter()
                .flatten()
                .count(),
            2
        );
        for result in cache
            .set_each(&[(key, "d".into(), life), (&count, "2".into(), Ttl::Forever)])
            .await
        {
            result?;
        }
        for result in cache.get_each(&[key, &count]).await {
            result?;
        }
        assert_eq!(cache.get_and_expire(key, Ttl::Forever).await?, "d");
        assert_eq!(cache.get_and_expire(key, life).await?, "d");
        assert_eq!(cache.get_and_delete(key).await?, "d");
        cache.set(key, "c".into(), life).await?;
        assert!(cache.compare_and_delete(key, b"c").await?);
        assert_eq!(cache.del(&[key, &count]).await?, 1);
    }
    cache.ping().await?;
    let source = cache.invalidations().context("no invalidations")?;
    assert_eq!(source.status(), TrackingStatus::On);

    let elsewhere = cache.get("payroll:v1:1").await.unwrap_err();
    assert!(matches!(elsewhere, CacheError::Denied { .. }), "{elsewhere}");
    let report = Engine::new(ValkeyKeys::new(&cache))
        .invalidate(&Pattern::new("billing:*")?, &Options::default())
        .await;
    assert!(!matches!(report.outcome, Outcome::Complete), "a service may scan");
    Ok(())
}

#[tokio::test]
async fn the_operator_s_user_removes_by_pattern_and_reads_nothing() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let service = client_as("billing", &cluster).await?;
    for number in 0..100 {
        service
            .set(&format!("billing:v1:{number}"), "a".into(), Ttl::Forever)
            .await?;
    }
    let operator = client_as("operator", &cluster).await?;
    let engine = Engine::new(ValkeyKeys::new(&operator));
    assert_eq!(engine.key_count().await?, 100);
    let report = engine
        .invalidate(&Pattern::new("billing:*")?, &Options::default())
        .await;
    if !matches!(report.outcome, Outcome::Complete) {
        bail!("{report:?}");
    }
    assert_eq!(report.total().removed, 100);
    let reading = operator.get("billing:v1:1").await.unwrap_err();
    assert!(matches!(reading, CacheError::Denied { .. }), "{reading}");
    Ok(())
}
