//! Service secrets: read by every spelling, and read again when a server refuses what they held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use cache_aws::ServiceSecret;
use cache_core::config::{Address, Topology, ValkeyConfig};
use cache_core::credentials::{Credentials, CredentialsSource as _};
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use serde_json::{Value, json};
use tests::{Emulator, Server, ServerOptions, Version};

use crate::double::{Answer, Double};
use crate::setup::{at, emulators, everything, fixed};

const USER: &str = "service";
const ARN: &str = "arn:aws:secretsmanager:eu-west-2:111122223333:secret:cache-AbCdEf";

/// A server and the secret that says how to log in there.
struct Service<'a> {
    emulator: &'a Emulator,
    server: Server,
    arn: String,
}

impl<'a> Service<'a> {
    async fn start(emulator: &'a Emulator) -> Result<Self> {
        let server = Server::start(
            ServerOptions::new(Version::Valkey8)
                .user(&format!("{USER} on >first ~* &* +@all"))
                .user("default off"),
        )
        .await?;
        let secret = json!({"Name": "cache", "SecretString": value(&server, "first")});
        let made = emulator.call("secretsmanager.CreateSecret", &secret).await?;
        let arn = made["ARN"].as_str().context("no ARN")?.to_owned();
        Ok(Self {
            emulator,
            server,
            arn,
        })
    }

    async fn client(&self) -> Result<ValkeyClient> {
        let secret = ServiceSecret::load(&at(self.emulator.url()).await?, &self.arn).await?;
        let host = secret.host().context("no host")?;
        let addresses = vec![Address::new(host, secret.port().context("no port")?)];
        let config = ValkeyConfig::new(Topology::Single { addresses, db: 0 });
        let client = ValkeyClient::builder(&config)
            .credentials(Arc::new(secret))
            .connect()
            .await?;
        Ok(client)
    }

    /// Gives the secret a new version.
    async fn store(&self, password: &str, stage: &str) -> Result<()> {
        let version = json!({"SecretId": self.arn, "VersionStages": [stage],
            "SecretString": value(&self.server, password)});
        self.emulator
            .call("secretsmanager.PutSecretValue", &version)
            .await?;
        Ok(())
    }

    /// Lets the server take only this password, and ends the connections of those who used another.
    async fn change(&self, password: &str) -> Result<()> {
        let mut steering = self.server.connect().await?;
        let new = format!(">{password}");
        steering
            .call(&["ACL", "SETUSER", USER, "resetpass", &new])
            .await?;
        steering.call(&["CLIENT", "KILL", "USER", USER]).await?;
        Ok(())
    }
}

fn value(server: &Server, password: &str) -> String {
    let (host, port) = (server.host().to_string(), server.port().to_string());
    json!({"endpoint": host, "port": port, "username": USER, "authToken": password, "tls": "false"})
        .to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rotated_password_is_read_again_and_no_call_fails() -> Result<()> {
    for emulator in emulators("a_rotated_password_is_read_again_and_no_call_fails").await? {
        let service = Service::start(&emulator).await?;
        let client = service.client().await?;
        client.set("key", "value".into(), Ttl::Forever).await?;
        for round in 1..=3 {
            let password = format!("password-{round}");
            service.store(&password, "AWSCURRENT").await?;
            service.change(&password).await?;
            for _ in 0..50 {
                assert_eq!(client.get("key").await?, "value", "round {round}");
            }
        }
        client.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_the_middle_of_a_rotation_the_server_decides_which_version_is_right() -> Result<()> {
    let test = "in_the_middle_of_a_rotation_the_server_decides_which_version_is_right";
    for emulator in emulators(test).await? {
        let service = Service::start(&emulator).await?;
        // The server has the new password before the secret's current version does.
        let client = service.client().await?;
        client.set("key", "value".into(), Ttl::Forever).await?;
        service.store("second", "AWSPENDING").await?;
        service.change("second").await?;
        assert_eq!(client.get("key").await?, "value");
        // A service that starts then.
        assert_eq!(service.client().await?.get("key").await?, "value");
        service.store("second", "AWSCURRENT").await?;
        // The secret has the next password before the server does.
        service.store("third", "AWSCURRENT").await?;
        let late = service.client().await?;
        assert_eq!(late.get("key").await?, "value");
        service.change("third").await?;
        assert_eq!(late.get("key").await?, "value");
        assert_eq!(client.get("key").await?, "value");
    }
    Ok(())
}

/// What Secrets Manager answers about a secret with this text.
fn holding(text: &str) -> Answer {
    let body = json!({"ARN": ARN, "Name": "cache", "VersionId": "v", "SecretString": text});
    Answer::Body(200, body.to_string())
}

fn with_password(password: &str) -> Answer {
    holding(
        &json!({"host": "cache", "username": USER, "password": password, "keyspace": "billing"}).to_string(),
    )
}

async fn load(double: &Double) -> Result<ServiceSecret, CacheError> {
    let aws = fixed()
        .region("us-east-1")
        .endpoint(double.url())
        .call_timeout(Duration::from_secs(20));
    ServiceSecret::load(&aws.load().await?, ARN).await
}

async fn issued(secret: &ServiceSecret) -> Result<Credentials> {
    secret.credentials().await?.context("no credentials")
}

#[tokio::test]
async fn the_secret_is_read_in_its_own_region_and_says_where_the_cache_is() -> Result<()> {
    let double = Double::start(|request| {
        if request.contains("/eu-west-2/secretsmanager/aws4_request") {
            with_password("s3cr3t")
        } else {
            Answer::error(400, "ResourceNotFoundException", "another region")
        }
    })
    .await?;
    let secret = load(&double).await?;
    assert_eq!((secret.host(), secret.port()), (Some("cache"), None));
    assert_eq!(secret.key_prefix().as_deref(), Some("billing:"));
    assert_eq!(secret.tls(), None);
    assert!(secret.has_password());
    let credentials = issued(&secret).await?;
    assert_eq!(credentials.username.as_deref(), Some(USER));
    assert_eq!(credentials.valid_for, None);
    let other = secret.with_username("other");
    assert_eq!(issued(&other).await?.username.as_deref(), Some("other"));
    assert_eq!(double.asked(), 1);
    assert!(!format!("{other:?}").contains("s3cr3t"));
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_with_a_secret_is_named_and_never_shown() -> Result<()> {
    for (answer, part) in [
        (holding("h1dden"), "not JSON"),
        (holding("{\"port\": \"h1dden\"}"), "port: it must be"),
        (holding("{\"username\": \"h1dden\"}"), "user name and no password"),
        (
            Answer::error(400, "ResourceNotFoundException", "no"),
            "no secret arn:aws:secretsmanager",
        ),
        (
            Answer::error(400, "DecryptionFailure", "no"),
            "kms:Decrypt on the KMS key of the secret",
        ),
        (
            Answer::error(400, "AccessDeniedException", "no"),
            "allow secretsmanager:GetSecretValue",
        ),
    ] {
        let double = Double::start(move |_| answer.clone()).await?;
        let error = match load(&double).await {
            Err(error) => error,
            Ok(secret) => secret.credentials().await.err().context("it worked")?,
        };
        assert!(error.to_string().contains(part), "{part}: {error}");
        assert!(!everything(&error).contains("h1dden"), "{error:?}");
    }
    let aws = fixed().load().await?;
    for arn in ["cache", "arn:aws:kms:eu-west-2:1:key/x", ""] {
        let error = ServiceSecret::load(&aws, arn).await.err().context("it worked")?;
        assert!(error.to_string().contains("CACHE_SECRET_ARN"), "{error}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_that_refuses_everybody_is_no_load_on_secrets_manager() -> Result<()> {
    let double = Double::start(|_| with_password("wrong")).await?;
    let secret = load(&double).await?;
    let mut asked_again = 0;
    for _ in 0..500 {
        let credentials = issued(&secret).await?;
        let refusal = secret.refused(&credentials);
        asked_again += usize::from(refusal.ask_again);
        let check = refusal.check.context("nothing to check")?;
        assert!(check.contains(ARN) && check.contains(USER), "{check}");
        assert!(!check.contains("wrong"), "{check}");
    }
    // At the start, and once more with what a rotation may have left.
    assert!(double.asked() <= 1 + 3 * asked_again, "{}", double.asked());
    assert!(asked_again < 10, "{asked_again}");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_again_leaves_what_no_server_refused() -> Result<()> {
    let is_down = Arc::new(AtomicBool::new(false));
    let double = Double::start({
        let is_down = Arc::clone(&is_down);
        move |request: &str| {
            if is_down.load(Ordering::SeqCst) {
                Answer::error(500, "InternalServiceError", "no")
            } else if request.contains("AWSPREVIOUS") {
                with_password("old")
            } else {
                with_password("new")
            }
        }
    })
    .await?;
    let secret = load(&double).await?;
    let first = issued(&secret).await?;
    assert!(secret.refused(&first).ask_again);
    let second = issued(&secret).await?;
    assert_eq!(second.password.expose(), "old");
    is_down.store(true, Ordering::SeqCst);
    // All are refused and the secret cannot be read: an error that a moment may mend.
    let error = tests::until(
        Duration::from_secs(60),
        "the secret to be asked for again",
        || async {
            match secret.credentials().await {
                Ok(issued) => {
                    let issued = issued.context("no credentials")?;
                    secret.refused(&issued);
                    Ok(None)
                }
                Err(error) => Ok(Some(error)),
            }
        },
    )
    .await?;
    assert!(error.is_transient(), "{error}");
    is_down.store(false, Ordering::SeqCst);
    tests::until(Duration::from_secs(60), "the secret to be read again", || async {
        let Ok(Some(credentials)) = secret.credentials().await else {
            return Ok(None);
        };
        Ok((credentials.password.expose() == "new").then_some(()))
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn the_documented_example_is_accepted() -> Result<()> {
    let docs = include_str!("../../../docs/aws.md");
    let example = docs
        .split("```json")
        .filter_map(|part| part.split("```").next())
        .filter_map(|block| serde_json::from_str::<Value>(block).ok())
        .find(|value| value.get("password").is_some())
        .context("no example of a secret")?;
    let text = example.to_string();
    let double = Double::start(move |_| holding(&text)).await?;
    let secret = load(&double).await?;
    assert!(secret.host().is_some() && secret.port().is_some() && secret.tls() == Some(true));
    assert!(secret.key_prefix().is_some() && secret.has_password());
    Ok(())
}
