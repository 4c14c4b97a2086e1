//! Compares tokens with those of botocore, and tests the handling of signing credentials.

use std::future::ready;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use aws_credential_types::Credentials as Keys;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{Result as Provided, SharedCredentialsProvider};
use cache_core::Secret;
use cache_core::clock;
use serde_json::Value;

use super::*;
use crate::Aws;

const ACCESS_KEY: &str = "AKIDEXAMPLE";
const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 2026-01-02T03:04:05Z, when the vectors were made.
const TIME: u64 = 1_767_323_045;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

async fn aws(region: &str, session_token: Option<&str>) -> Aws {
    Aws::builder()
        .region(region)
        .credentials(ACCESS_KEY, SECRET_KEY.into(), session_token.map(Secret::from))
        .load()
        .await
        .unwrap()
}

async fn token(tokens: &IamTokens) -> Result<String, CacheError> {
    let issued = tokens.credentials().await?.unwrap();
    Ok(issued.password.expose().clone())
}

/// The parameters of a token, sorted: their order does not matter to the server.
fn sorted(token: &str) -> (String, Vec<String>) {
    let (before, query) = token.split_once('?').unwrap();
    let mut parameters: Vec<_> = query.split('&').map(str::to_owned).collect();
    parameters.sort();
    (before.to_owned(), parameters)
}

#[tokio::test]
async fn tokens_equal_those_of_botocore() {
    let vectors: Value = serde_json::from_str(include_str!("../../tests/data/iam.json")).unwrap();
    let vectors = vectors["tokens"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let text = |name: &str| vector[name].as_str().unwrap();
        let aws = aws(text("region"), vector["session_token"].as_str()).await;
        let tokens = IamTokens::builder(text("user"), text("cache"))
            .serverless(vector["serverless"].as_bool().unwrap())
            .clock(|| at(TIME))
            .build(&aws)
            .unwrap();
        let issued = token(&tokens).await.unwrap();
        assert_eq!(sorted(&issued), sorted(text("auth_token")));
    }
}

#[tokio::test]
async fn token_for_memorydb_names_its_service() {
    let tokens = IamTokens::builder("app", "orders")
        .service(IamService::MemoryDb)
        .clock(|| at(TIME))
        .build(&aws("eu-west-2", None).await)
        .unwrap();
    let issued = token(&tokens).await.unwrap();
    assert!(
        issued.contains("%2Feu-west-2%2Fmemorydb%2Faws4_request"),
        "{issued}"
    );
}

#[tokio::test]
async fn user_names_are_percent_encoded() {
    let tokens = IamTokens::builder("app+b/ü&x=1", "orders")
        .clock(|| at(TIME))
        .build(&aws("eu-west-2", None).await)
        .unwrap();
    let issued = tokens.credentials().await.unwrap().unwrap();
    // The server is sent the name as it is; only the token has it encoded.
    assert_eq!(issued.username.as_deref(), Some("app+b/ü&x=1"));
    let token = issued.password.expose();
    assert!(
        token.starts_with("orders/?Action=connect&User=app%2Bb%2F%C3%BC%26x%3D1&X-Amz-"),
        "{token}"
    );
}

#[tokio::test]
async fn connections_get_new_tokens_and_end_before_12_hours() {
    let seconds = Arc::new(AtomicU64::new(TIME));
    let tokens = IamTokens::builder("app", "orders")
        .clock({
            let seconds = Arc::clone(&seconds);
            move || at(seconds.load(Ordering::Relaxed))
        })
        .build(&aws("eu-west-2", None).await)
        .unwrap();
    let first = token(&tokens).await.unwrap();
    seconds.fetch_add(1, Ordering::Relaxed);
    let second = tokens.credentials().await.unwrap().unwrap();
    assert_ne!(&first, second.password.expose());
    assert!(second.valid_for.unwrap() <= Duration::from_secs(11 * 3_600));
}

#[tokio::test]
async fn endpoint_instead_of_name_is_refused() {
    let aws = aws("eu-west-2", None).await;
    for cache in [
        "master.orders.abc123.euw2.cache.amazonaws.com",
        "https://orders",
        "orders:6379",
        "",
        "or ders",
    ] {
        let error = IamTokens::builder("app", cache).build(&aws).unwrap_err();
        assert!(error.to_string().contains("CACHE_IAM_CACHE_NAME"), "{error}");
    }
    let error = IamTokens::builder("", "orders")
        .service(IamService::MemoryDb)
        .serverless(true)
        .build(&aws)
        .unwrap_err()
        .to_string();
    assert!(error.contains("CACHE_USERNAME"), "{error}");
    assert!(error.contains("CACHE_IAM_SERVERLESS"), "{error}");
}

#[tokio::test]
async fn caches_name_is_signed_in_lower_case() {
    let tokens = IamTokens::builder("app", "Orders")
        .build(&aws("eu-west-2", None).await)
        .unwrap();
    assert!(token(&tokens).await.unwrap().starts_with("orders/?"));
}

#[tokio::test]
async fn refusal_says_what_to_check_without_the_token() {
    let tokens = IamTokens::builder("app-orders", "orders")
        .serverless(true)
        .clock(|| at(TIME))
        .build(&aws("eu-west-2", Some("s3ss10n")).await)
        .unwrap();
    let issued = tokens.credentials().await.unwrap().unwrap();
    let refusal = tokens.refused(&issued);
    assert!(refusal.ask_again);
    let check = refusal.check.unwrap();
    for value in [
        "app-orders",
        "that orders is a serverless cache's name",
        "eu-west-2",
        "CACHE_IAM_SERVERLESS=false",
        "elasticache:Connect",
        "2026-01-02T03:04:05Z",
    ] {
        assert!(check.contains(value), "{value} is missing in {check}");
    }
    for text in [check.to_string(), format!("{tokens:?} {issued:?}")] {
        for secret in ["s3ss10n", SECRET_KEY, "X-Amz", issued.password.expose()] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_ask_for_new_credentials_at_a_limited_rate() {
    let fetches = Arc::new(AtomicUsize::new(0));
    let tokens = with_provider({
        let fetches = Arc::clone(&fetches);
        move || {
            fetches.fetch_add(1, Ordering::Relaxed);
            Ok(keys(None))
        }
    });
    let end = clock::now() + Duration::from_secs(600);
    let mut asked_again = 0;
    while clock::now() < end {
        let issued = tokens.credentials().await.unwrap().unwrap();
        asked_again += usize::from(tokens.refused(&issued).ask_again);
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    let fetches = fetches.load(Ordering::Relaxed);
    assert!((5..=20).contains(&asked_again), "{asked_again}");
    assert_eq!(fetches, asked_again + 1);
}

fn keys(expiry: Option<SystemTime>) -> Keys {
    Keys::new(ACCESS_KEY, SECRET_KEY, None, expiry, "test")
}

fn with_provider(provide: impl Fn() -> Provided + Send + Sync + 'static) -> IamTokens {
    with_identity(
        SharedCredentialsProvider::new(provide_credentials_fn(move || ready(provide()))),
        Arc::new(|| at(TIME)),
    )
}

fn with_identity(provider: SharedCredentialsProvider, now: Clock) -> IamTokens {
    let subject = Subject {
        user: "app".into(),
        cache: "orders".into(),
        region: "eu-west-2".into(),
        service: IamService::ElastiCache,
        serverless: false,
    };
    IamTokens::new(subject, Identity::new(provider, Duration::from_secs(2)), now)
}

#[tokio::test]
async fn expired_credentials_sign_nothing() {
    let tokens = with_provider(|| Ok(keys(Some(at(TIME - 1)))));
    let error = token(&tokens).await.unwrap_err();
    assert!(matches!(error, CacheError::Unauthorized { .. }), "{error}");
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn old_credentials_are_used_until_they_expire() {
    let seconds = Arc::new(AtomicU64::new(TIME));
    let fetches = Arc::new(AtomicUsize::new(0));
    let provider = provide_credentials_fn({
        let fetches = Arc::clone(&fetches);
        move || {
            let first = fetches.fetch_add(1, Ordering::Relaxed) == 0;
            ready(if first {
                Ok(keys(Some(at(TIME + 600))))
            } else {
                Err(CredentialsError::provider_error("STS is down"))
            })
        }
    });
    let tokens = with_identity(SharedCredentialsProvider::new(provider), {
        let seconds = Arc::clone(&seconds);
        Arc::new(move || at(seconds.load(Ordering::Relaxed)))
    });
    assert!(token(&tokens).await.is_ok());
    seconds.store(TIME + 500, Ordering::Relaxed);
    assert!(token(&tokens).await.is_ok());
    assert_eq!(fetches.load(Ordering::Relaxed), 1);
    // Less than a minute is left: new ones are asked for, without effect.
    seconds.store(TIME + 599, Ordering::Relaxed);
    assert!(token(&tokens).await.is_ok());
    assert_eq!(fetches.load(Ordering::Relaxed), 2);
    seconds.store(TIME + 600, Ordering::Relaxed);
    let error = token(&tokens).await.unwrap_err();
    assert!(
        error.to_string().contains("source of AWS credentials failed"),
        "{error}"
    );
    assert!(error.is_transient());
}

#[tokio::test(start_paused = true)]
async fn hanging_credentials_source_times_out_by_name() {
    let provider = provide_credentials_fn(std::future::pending::<Provided>);
    let tokens = with_identity(SharedCredentialsProvider::new(provider), Arc::new(|| at(TIME)));
    let started = clock::now();
    let error = token(&tokens).await.unwrap_err();
    assert_eq!(started.elapsed().as_secs(), 2);
    assert!(
        error.to_string().contains("no AWS credentials within 2s"),
        "{error}"
    );
}
