//! No keyset, password, token or key of AWS in anything that is shown: logs at the finest level, errors, debug forms.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_aws::{Aws, IamTokens, KmsKeyEncryption, SecretsManagerKeysetStore, ServiceSecret};
use cache_core::credentials::CredentialsSource as _;
use cache_core::keyset::{Expected, KeyEncryption as _, KeysetStore as _};
use serde_json::json;
use tests::Log;
use tests::emulator::REGION;
use tracing_subscriber::filter::LevelFilter;

use crate::double::{Answer, Double};
use crate::setup::{SECRET_KEY, emulators, everything};

const SESSION_TOKEN: &str = "s3ss10n-t0ken";
const KEYSET: &str = "the-keyset-in-clear-2718";
const PASSWORD: &str = "swordfish-3141";

/// Uses everything at `url` once; what came of it, in all its forms, and a token that was issued.
async fn use_all(url: &str, key: &str) -> Result<(String, String)> {
    let builder = Aws::builder().region(REGION).endpoint(url).credentials(
        "AKIDEXAMPLE",
        SECRET_KEY.into(),
        Some(SESSION_TOKEN.into()),
    );
    let mut shown = format!("{builder:?}");
    let aws = builder.load().await?;
    let mut show = |text: String| shown.push_str(&text);
    let kms = KmsKeyEncryption::new(&aws, key)?;
    let store = SecretsManagerKeysetStore::new(&aws, "aws-secretsmanager://clear")?;
    let tokens = IamTokens::builder("app", "orders").build(&aws)?;
    show(format!("{aws:?} {kms:?} {store:?} {tokens:?}"));

    let keyset = KEYSET.as_bytes().to_vec().into();
    match kms.encrypt(&keyset, b"").await {
        Ok(sealed) => show(format!("{:?}", kms.decrypt(&sealed, b"").await?)),
        Err(error) => show(everything(&error)),
    }
    if let Err(error) = kms.decrypt(KEYSET.as_bytes(), b"").await {
        show(everything(&error));
    }
    if let Err(error) = store.write(&keyset, &BTreeMap::new(), Expected::Absent).await {
        show(everything(&error));
    }
    match store.read().await {
        Ok(read) => show(format!("{read:?}")),
        Err(error) => show(everything(&error)),
    }
    let secret = json!({"host": "cache", "username": "app", "password": PASSWORD}).to_string();
    let service = SecretsManagerKeysetStore::new(&aws, "aws-secretsmanager://service")?;
    let written = service
        .write(&secret.into_bytes().into(), &BTreeMap::new(), Expected::Absent)
        .await;
    if let Err(error) = written {
        show(everything(&error));
    }
    let arn = format!("arn:aws:secretsmanager:{REGION}:000000000000:secret:service");
    match ServiceSecret::load(&aws, &arn).await {
        Ok(secret) => {
            let credentials = secret.credentials().await?.context("no credentials")?;
            show(format!(
                "{secret:?} {credentials:?} {:?}",
                secret.refused(&credentials)
            ));
            show(format!("{:?}", secret.credentials().await?));
        }
        Err(error) => show(everything(&error)),
    }
    let issued = tokens.credentials().await?.context("no token")?;
    show(format!("{issued:?} {:?}", tokens.refused(&issued)));
    Ok((shown, issued.password.expose().clone()))
}

// One thread: the log is that of this thread.
#[tokio::test]
async fn nothing_of_aws_that_is_secret_is_ever_shown() -> Result<()> {
    let test = "nothing_of_aws_that_is_secret_is_ever_shown";
    let emulators = emulators(test).await?;
    let fails = Double::start(|_| Answer::error(500, "InternalFailure", "no")).await?;
    let refuses = Double::start(|_| Answer::error(400, "AccessDeniedException", "no")).await?;
    let garbles =
        Double::start(|_| Answer::Body(200, format!("{{\"SecretString\": {KEYSET} {PASSWORD}"))).await?;
    let mut keys = Vec::new();
    for emulator in &emulators {
        let made = emulator.call("TrentService.CreateKey", &json!({})).await?;
        let arn = made["KeyMetadata"]["Arn"].as_str().context("no ARN")?;
        keys.push((emulator.url(), arn.to_owned()));
    }
    for double in [&fails, &refuses, &garbles] {
        keys.push((double.url(), "aws-kms://alias/x".to_owned()));
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let listening = tracing::subscriber::set_default(subscriber);
    tracing::info!("the log is heard");
    let mut shown = String::new();
    let mut secrets: Vec<String> = [SECRET_KEY, SESSION_TOKEN, KEYSET, PASSWORD]
        .into_iter()
        .map(str::to_owned)
        .collect();
    for (url, key) in &keys {
        let (said, token) = use_all(url, key).await?;
        shown.push_str(&said);
        let signature = token.split("X-Amz-Signature=").nth(1).context("no signature")?;
        secrets.push(signature.split('&').next().unwrap_or_default().to_owned());
    }
    drop(listening);
    secrets.push(STANDARD.encode(KEYSET));
    let logged = log.text();
    assert!(logged.contains("the log is heard"));
    for secret in &secrets {
        for (what, text) in [("the log", &logged), ("what is shown", &shown)] {
            let line = text.lines().find(|line| line.contains(secret.as_str()));
            assert!(line.is_none(), "{secret} is in {what}: {line:?}");
        }
    }
    Ok(())
}
