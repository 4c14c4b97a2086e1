//! The service ends connections twelve hours after their last login, here after seconds: connections that are
//! replaced before, or log in again, cost no call.

#![expect(clippy::print_stdout, reason = "what was measured is printed")]

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use cache_aws::IamTokens;
use cache_core::credentials::{Credentials, CredentialsSource, Refusal};
use cache_core::{CacheClient, CacheError, Unavailability, clock};
use cache_valkey::ValkeyClient;

use crate::load::{Load, Loss, Report};
use crate::stage::{Cache, Says};

/// The service's limit, and the maximum age: twelve and eleven hours in a day of twenty seconds.
const TWELVE_HOURS: Duration = Duration::from_secs(5);
const ELEVEN_HOURS: Duration = Duration::from_secs(4);
const DAY: Duration = Duration::from_secs(20);

async fn a_day(cache: &Cache, source: impl CredentialsSource, age: Option<Duration>) -> Result<Report> {
    cache.end_after(TWELVE_HOURS);
    let mut config = cache.config.clone();
    config.max_connection_age = age;
    let client = ValkeyClient::builder(&config)
        .credentials(Arc::new(source))
        .connect()
        .await?;
    let client: Arc<dyn CacheClient> = Arc::new(client);
    let keys: Vec<_> = (0..8).map(|number| format!("iam:{number}")).collect();
    let load = Load::start(&client, &keys, Loss::Nothing)?;
    let started = clock::now();
    while started.elapsed() < DAY {
        load.until_succeeded(20).await?;
    }
    let mut report = load.stop().await?;
    report.settle(&*client).await;
    println!(
        "{} logins, {} ended: {}",
        cache.logins().len(),
        cache.ended(),
        report.summary()
    );
    Ok(report)
}

async fn tokens(serverless: bool) -> Result<IamTokens> {
    let says = Says {
        serverless,
        ..Says::default()
    };
    says.tokens().await
}

async fn no_call_fails(cache: &Cache, serverless: bool) -> Result<()> {
    let report = a_day(cache, tokens(serverless).await?, Some(ELEVEN_HOURS)).await?;
    assert_eq!(report.failures().count(), 0, "{:?}", report.failures().next());
    report.check(Duration::from_secs(3));
    assert_eq!(cache.ended(), 0, "the service had to end connections");
    for gate in &cache.gates {
        let logins = gate.logins().len();
        // One at the start, and one after 3.6 to 4 seconds each, noticed within another half.
        assert!((5..=7).contains(&logins), "{logins} logins at one node");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_single_server_connections_are_replaced_before_the_service_ends_them() -> Result<()> {
    no_call_fails(&Cache::single().await?, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_connections_are_replaced_before_the_service_ends_them() -> Result<()> {
    no_call_fails(&Cache::cluster().await?, false).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_serverless_cache_connections_are_replaced_before_the_service_ends_them() -> Result<()> {
    no_call_fails(&Cache::serverless().await?, true).await
}

/// What the others would not show if nothing were ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_maximum_age_the_service_ends_connections_under_their_calls() -> Result<()> {
    let cache = Cache::single().await?;
    let report = a_day(&cache, tokens(false).await?, None).await?;
    assert!(cache.ended() >= 3, "{} connections ended", cache.ended());
    for failure in report.failures() {
        let lost = matches!(
            &failure.error,
            CacheError::Unavailable {
                reason: Unavailability::Lost,
                ..
            }
        );
        assert!(lost, "{:?}", failure.error);
    }
    Ok(())
}

/// Tokens on which a connection may stay for less long.
#[derive(Debug)]
struct Shorter(IamTokens);

#[async_trait]
impl CredentialsSource for Shorter {
    async fn credentials(&self) -> Result<Option<Credentials>, CacheError> {
        let mut credentials = self.0.credentials().await?;
        if let Some(credentials) = &mut credentials {
            credentials.valid_for = Some(ELEVEN_HOURS);
        }
        Ok(credentials)
    }

    fn refused(&self, credentials: &Credentials) -> Refusal {
        self.0.refused(credentials)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_logs_in_again_with_a_fresh_token_stays() -> Result<()> {
    let cache = Cache::single().await?;
    let report = a_day(&cache, Shorter(tokens(false).await?), None).await?;
    assert_eq!(report.failures().count(), 0, "{:?}", report.failures().next());
    assert_eq!(cache.ended(), 0);
    let logins = cache.logins();
    assert!(logins.len() >= 5, "{} logins", logins.len());
    assert!(
        logins
            .iter()
            .all(|login| login.connection == 0 && login.verdict.is_ok()),
        "{logins:?}"
    );
    Ok(())
}
