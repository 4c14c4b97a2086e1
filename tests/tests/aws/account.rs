//! The set-up that all services share: the SDK's own variables, sources of credentials that fail, and what errors mean.

#![expect(
    clippy::print_stdout,
    reason = "a child process answers on its standard output"
)]

use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_aws::{Aws, AwsService, IamTokens, KmsKeyEncryption};
use cache_core::credentials::CredentialsSource as _;
use cache_core::keyset::KeyEncryption as _;
use cache_core::{CacheError, Unavailability, clock};

use crate::child;
use crate::double::{Answer, Double};
use crate::setup::{SECRET_KEY, everything, fixed};

const KEY: &str = "aws-kms://alias/keysets";

fn encrypted() -> Answer {
    Answer::Body(
        200,
        "{\"CiphertextBlob\": \"c2VhbGVk\", \"KeyId\": \"x\"}".to_owned(),
    )
}

async fn encrypt(aws: &Aws) -> Result<Vec<u8>, CacheError> {
    let plaintext = b"plaintext".to_vec().into();
    KmsKeyEncryption::new(aws, KEY)?.encrypt(&plaintext, b"").await
}

/// In a child: tries to encrypt and to sign a token, and prints what came of it and after how long.
async fn try_all() {
    let started = clock::now();
    let outcome = match Aws::from_env().await {
        Err(error) => Err(error),
        Ok(aws) => match encrypt(&aws).await {
            Err(error) => Err(error),
            Ok(_) => match IamTokens::builder("app", "orders").build(&aws) {
                Err(error) => Err(error),
                Ok(tokens) => tokens.credentials().await.map(|_| aws.region().to_owned()),
            },
        },
    };
    let said = match outcome {
        Ok(region) => format!("works in {region}"),
        Err(error) => format!("{} {error}", error.kind()),
    };
    println!("said: {said}");
    println!("said: {}", started.elapsed().as_millis());
}

async fn in_child(test: &str, variables: &[(&str, &str)]) -> Result<(String, Duration)> {
    let mut said = child::run(&format!("account::{test}"), variables)
        .await?
        .into_iter();
    let outcome = said.next().context("nothing was said")?;
    let took = said.next().context("no time was said")?.parse()?;
    Ok((outcome, Duration::from_millis(took)))
}

#[tokio::test]
async fn the_sdks_own_variables_are_used() -> Result<()> {
    let test = "the_sdks_own_variables_are_used";
    if child::is_child(&format!("account::{test}")) {
        try_all().await;
        return Ok(());
    }
    let kms = Double::start(|_| encrypted()).await?;
    let others = Double::start(|_| Answer::Hangup).await?;
    let (outcome, _) = in_child(
        test,
        &[
            ("AWS_REGION", "eu-north-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
            ("AWS_ENDPOINT_URL", others.url()),
            ("AWS_ENDPOINT_URL_KMS", kms.url()),
        ],
    )
    .await?;
    assert_eq!(outcome, "works in eu-north-1");
    assert_eq!((kms.asked(), others.asked()), (1, 0));
    Ok(())
}

#[tokio::test]
async fn a_region_that_is_set_nowhere_is_asked_for_by_name() -> Result<()> {
    let test = "a_region_that_is_set_nowhere_is_asked_for_by_name";
    if child::is_child(&format!("account::{test}")) {
        try_all().await;
        return Ok(());
    }
    let (outcome, _) = in_child(test, &[]).await?;
    assert!(outcome.contains("set AWS_REGION"), "{outcome}");
    // The metadata service of the instance is there and does not answer.
    let metadata = Double::start(|_| Answer::Never).await?;
    let variables = [
        ("AWS_EC2_METADATA_DISABLED", "false"),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata.url()),
    ];
    let (outcome, took) = in_child(test, &variables).await?;
    assert!(outcome.contains("set AWS_REGION"), "{outcome}");
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(metadata.asked() > 0);
    Ok(())
}

#[tokio::test]
async fn missing_credentials_say_what_to_set() -> Result<()> {
    let test = "missing_credentials_say_what_to_set";
    if child::is_child(&format!("account::{test}")) {
        try_all().await;
        return Ok(());
    }
    let kms = Double::start(|_| encrypted()).await?;
    let variables = [("AWS_REGION", "eu-west-2"), ("AWS_ENDPOINT_URL", kms.url())];
    let (outcome, _) = in_child(test, &variables).await?;
    assert!(
        outcome.starts_with("unauthorized") && outcome.contains("AWS_ACCESS_KEY_ID"),
        "{outcome}"
    );
    assert_eq!(kms.asked(), 0);
    Ok(())
}

#[tokio::test]
async fn a_container_endpoint_that_hangs_is_given_up_and_named() -> Result<()> {
    let test = "a_container_endpoint_that_hangs_is_given_up_and_named";
    if child::is_child(&format!("account::{test}")) {
        try_all().await;
        return Ok(());
    }
    let kms = Double::start(|_| encrypted()).await?;
    let container = Double::start(|_| Answer::Never).await?;
    let variables = [
        ("AWS_REGION", "eu-west-2"),
        ("AWS_ENDPOINT_URL", kms.url()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.url()),
    ];
    let (outcome, took) = in_child(test, &variables).await?;
    assert!(
        outcome.starts_with("unavailable") && outcome.contains("no AWS credentials within 2s"),
        "{outcome}"
    );
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert!(container.asked() > 0);
    assert_eq!(kms.asked(), 0);
    Ok(())
}

#[tokio::test]
async fn credentials_of_a_container_are_used() -> Result<()> {
    let test = "credentials_of_a_container_are_used";
    if child::is_child(&format!("account::{test}")) {
        try_all().await;
        return Ok(());
    }
    let kms = Double::start(|request| {
        if request.contains("AKIDCONTAINER") && request.contains("c0nta1ner") {
            encrypted()
        } else {
            Answer::error(400, "UnrecognizedClientException", "who")
        }
    })
    .await?;
    let container = Double::start(|_| {
        let keys = "{\"AccessKeyId\": \"AKIDCONTAINER\", \"SecretAccessKey\": \"x\", \"Token\": \"c0nta1ner\", \"Expiration\": \"2999-01-01T00:00:00Z\"}";
        Answer::Body(200, keys.to_owned())
    })
    .await?;
    let variables = [
        ("AWS_REGION", "eu-west-2"),
        ("AWS_ENDPOINT_URL", kms.url()),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", container.url()),
    ];
    let (outcome, _) = in_child(test, &variables).await?;
    assert_eq!(outcome, "works in eu-west-2");
    Ok(())
}

/// Time for three tries and what the SDK waits between them.
const PATIENT: Duration = Duration::from_secs(20);

/// The error that a request ends with if the service answers like this.
async fn error_of(answer: Answer, limit: Duration) -> Result<CacheError> {
    let double = Double::start(move |_| answer.clone()).await?;
    let aws = fixed()
        .service_endpoint(AwsService::Kms, double.url())
        .call_timeout(limit)
        .load()
        .await?;
    let error = encrypt(&aws).await.err().context("it worked")?;
    let shown = everything(&error);
    assert!(!shown.contains(SECRET_KEY), "{shown}");
    Ok(error)
}

#[tokio::test]
async fn throttling_and_outages_are_transient() -> Result<()> {
    for answer in [
        Answer::error(400, "ThrottlingException", "Rate exceeded"),
        Answer::error(429, "Whatever", "slow down"),
        Answer::error(500, "KMSInternalException", "oops"),
        Answer::error(400, "com.amazonaws.kms#DependencyTimeoutException", "slow"),
        Answer::Body(503, "<html>no JSON</html>".to_owned()),
        Answer::Hangup,
    ] {
        let error = error_of(answer.clone(), PATIENT).await?;
        assert!(error.is_transient(), "{answer:?}: {error:?}");
        assert!(
            matches!(error, CacheError::Unavailable { .. }),
            "{answer:?}: {error:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up_at_the_deadline() -> Result<()> {
    let started = clock::now();
    let error = error_of(Answer::Never, Duration::from_secs(2)).await?;
    assert!(matches!(error, CacheError::Timeout { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(4));
    Ok(())
}

#[tokio::test]
async fn a_refused_connection_and_an_unknown_host_are_told_apart() -> Result<()> {
    let reason = async |url: &str| -> Result<Unavailability> {
        let aws = fixed().endpoint(url).load().await?;
        match encrypt(&aws).await {
            Err(CacheError::Unavailable { reason, detail, .. }) => {
                assert!(detail.contains("eu-west-2"), "{detail}");
                Ok(reason)
            }
            other => anyhow::bail!("{other:?}"),
        }
    };
    assert_eq!(reason("http://127.0.0.1:1").await?, Unavailability::Connect);
    assert_eq!(reason("http://kms.invalid").await?, Unavailability::Resolve);
    Ok(())
}

#[tokio::test]
async fn a_refused_permission_is_named() -> Result<()> {
    let words = "User: arn:aws:sts::111122223333:assumed-role/app is not authorized";
    let error = error_of(Answer::error(400, "AccessDeniedException", words), PATIENT).await?;
    let text = error.to_string();
    assert!(matches!(error, CacheError::Denied { .. }), "{error:?}");
    for part in ["allow kms:Encrypt on alias/keysets", "assumed-role/app"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    Ok(())
}

#[tokio::test]
async fn refused_credentials_say_what_to_check_and_quote_nothing() -> Result<()> {
    for (code, part) in [
        ("ExpiredTokenException", "have expired"),
        ("UnrecognizedClientException", "access key"),
        ("InvalidSignatureException", "secret access key"),
        ("SignatureDoesNotMatch", "clock"),
        ("RequestExpired", "clock"),
    ] {
        let quoted = "The Canonical String was x-amz-security-token:s3ss10n";
        let error = error_of(Answer::error(400, code, quoted), PATIENT).await?;
        assert!(matches!(error, CacheError::Unauthorized { .. }), "{error:?}");
        assert!(error.to_string().contains(part), "{error}");
        assert!(!everything(&error).contains("s3ss10n"), "{error:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_endpoint_that_is_something_else_is_named() -> Result<()> {
    let error = error_of(Answer::Body(200, "<html>hello</html>".to_owned()), PATIENT).await?;
    assert!(error.to_string().contains("check the endpoint"), "{error}");
    Ok(())
}
