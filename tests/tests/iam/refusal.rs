//! What a client says of itself is wrong: the error says what to check.

use std::sync::Arc;

use anyhow::Result;
use cache_core::CacheError;
use cache_valkey::ValkeyClient;

use crate::stage::{Cache, Says};

/// An hour, in seconds.
const HOUR: i64 = 3_600;

/// Each thing that can be wrong, by name, and what the error has to mention.
pub(crate) fn mistakes(serverless: bool) -> Vec<(&'static str, Says, &'static [&'static str])> {
    let right = || Says {
        serverless,
        ..Says::default()
    };
    let setting: &[&str] = if serverless {
        &["CACHE_IAM_SERVERLESS=true"]
    } else {
        &["CACHE_IAM_SERVERLESS=false"]
    };
    vec![
        (
            "user",
            Says {
                user: "app-orders",
                ..right()
            },
            &["app-orders", "CACHE_USERNAME"],
        ),
        (
            "cache",
            Says {
                cache: "orders-cache",
                ..right()
            },
            &["orders-cache", "CACHE_IAM_CACHE_NAME"],
        ),
        (
            "region",
            Says {
                region: "us-east-1",
                ..right()
            },
            &["us-east-1", "AWS_REGION"],
        ),
        (
            "kind of cache",
            Says {
                serverless: !serverless,
                ..right()
            },
            setting,
        ),
        (
            "clock that is late",
            Says {
                ahead: -HOUR,
                ..right()
            },
            &["the clock of this machine"],
        ),
        (
            "clock that is ahead",
            Says {
                ahead: HOUR,
                ..right()
            },
            &["the clock of this machine"],
        ),
        (
            "signing key",
            Says {
                secret_key: "another",
                ..right()
            },
            &["elasticache:Connect"],
        ),
    ]
}

/// The error of a client that says so of itself.
pub(crate) async fn refused(cache: &Cache, says: &Says) -> Result<CacheError> {
    let connected = ValkeyClient::builder(&cache.config)
        .credentials(Arc::new(says.tokens().await?))
        .connect()
        .await;
    match connected {
        Ok(_) => anyhow::bail!("{says:?} was accepted"),
        Err(error) => Ok(error),
    }
}

async fn each_mistake_is_explained(cache: &Cache, serverless: bool) -> Result<()> {
    for (mistake, says, wanted) in mistakes(serverless) {
        let error = refused(cache, &says).await?;
        assert!(
            matches!(error, CacheError::Unauthorized { .. }),
            "{mistake}: {error:?}"
        );
        let text = error.to_string();
        for wanted in wanted {
            assert!(text.contains(wanted), "{mistake}: {text}");
        }
        assert!(
            text.contains(&cache.gates[0].address().to_string()),
            "{mistake}: {text}"
        );
        assert!(!text.contains("CACHE_PASSWORD"), "{mistake}: {text}");
    }
    assert!(cache.logins().iter().all(|login| login.verdict.is_err()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_single_server_the_error_says_what_to_check() -> Result<()> {
    each_mistake_is_explained(&Cache::single().await?, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_the_error_says_what_to_check() -> Result<()> {
    each_mistake_is_explained(&Cache::cluster().await?, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_serverless_cache_the_error_says_what_to_check() -> Result<()> {
    each_mistake_is_explained(&Cache::serverless().await?, true).await
}
