//! IAM tokens at a real server over TLS, whose user accepts exactly the token that a second implementation of the
//! signature, here in the test, makes for this second.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use cache_aws::{Aws, IamTokens, IamTokensBuilder};
use cache_core::config::{TlsConfig, Topology, ValkeyConfig};
use cache_core::{CacheClient as _, CacheError, Ttl};
use cache_valkey::ValkeyClient;
use sha2::{Digest as _, Sha256};
use tests::{Certificates, Server, ServerOptions, Tls, Version};

use crate::setup::{ACCESS_KEY, SECRET_KEY, everything, fixed};

const USER: &str = "app-orders";
const CACHE: &str = "orders";
/// 2026-01-02T03:04:05Z.
const TIME: u64 = 1_767_323_045;
const DATE: &str = "20260102";

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut block = [0_u8; 64];
    block[..key.len()].copy_from_slice(key);
    let inner = Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x36))
        .chain_update(text)
        .finalize();
    Sha256::new()
        .chain_update(block.map(|byte| byte ^ 0x5c))
        .chain_update(inner)
        .finalize()
        .to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The token that the service expects at the time `03:04:05` plus `seconds`, which stay below 55.
fn expected(region: &str, serverless: bool, seconds: u64) -> String {
    let time = format!("{DATE}T0304{:02}Z", 5 + seconds);
    let scope = format!("{DATE}/{region}/elasticache/aws4_request");
    let kind = if serverless {
        "&ResourceType=ServerlessCache"
    } else {
        ""
    };
    let credential = format!("{ACCESS_KEY}/{scope}").replace('/', "%2F");
    let signed = format!(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date={time}&X-Amz-Expires=900&X-Amz-SignedHeaders=host"
    );
    // The signature is over the parameters in the order of their names.
    let sorted = format!("Action=connect{kind}&User={USER}&{signed}");
    let request = format!(
        "GET\n/\n{sorted}\nhost:{CACHE}\n\nhost\n{}",
        hex(&Sha256::digest(b""))
    );
    let text = format!(
        "AWS4-HMAC-SHA256\n{time}\n{scope}\n{}",
        hex(&Sha256::digest(request))
    );
    let mut key = format!("AWS4{SECRET_KEY}").into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part);
    }
    let signature = hex(&hmac(&key, &text));
    format!("{CACHE}/?Action=connect&User={USER}{kind}&{signed}&X-Amz-Signature={signature}")
}

/// A server whose user accepts one token, and the certificates of its clients.
struct Cache {
    server: Server,
    certificates: Certificates,
    serverless: bool,
}

impl Cache {
    async fn start(serverless: bool) -> Result<Self> {
        let certificates = Certificates::generate()?;
        let options = ServerOptions::new(Version::Valkey8)
            .tls(Tls::new(&certificates))
            .user(&format!("{USER} on resetpass ~* &* +@all"))
            .user("default off");
        let cache = Self {
            server: Server::start(options).await?,
            certificates,
            serverless,
        };
        cache.accept(0).await?;
        Ok(cache)
    }

    /// From now on the user's token is the one of this second, and no other.
    async fn accept(&self, seconds: u64) -> Result<()> {
        let token = format!(">{}", expected("eu-west-2", self.serverless, seconds));
        let mut steering = self.server.connect().await?;
        steering
            .call(&["ACL", "SETUSER", USER, "resetpass", &token])
            .await?;
        Ok(())
    }

    async fn connect(&self, tokens: IamTokensBuilder, aws: &Aws) -> Result<ValkeyClient, CacheError> {
        let wrong = |_| CacheError::Closed;
        let addresses = vec![self.server.address().parse().map_err(wrong)?];
        let tls = TlsConfig::new().with_ca_pem(self.certificates.ca.as_str());
        let config = ValkeyConfig::new(Topology::Single { addresses, db: 0 }).with_tls(tls);
        ValkeyClient::builder(&config)
            .credentials(Arc::new(tokens.build(aws)?))
            .connect()
            .await
    }
}

fn tokens(user: &str, seconds: u64) -> IamTokensBuilder {
    IamTokens::builder(user, CACHE).clock(move || UNIX_EPOCH + Duration::from_secs(TIME + seconds))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_knows_the_signature_lets_us_in() -> Result<()> {
    for serverless in [false, true] {
        let cache = Cache::start(serverless).await?;
        let aws = fixed().load().await?;
        let client = cache
            .connect(tokens(USER, 0).serverless(serverless), &aws)
            .await?;
        client.set("key", "value".into(), Ttl::Forever).await?;
        assert_eq!(client.get("key").await?, "value");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_connection_logs_in_with_a_token_of_its_own() -> Result<()> {
    let cache = Cache::start(false).await?;
    let now = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&now);
    let tokens = IamTokens::builder(USER, CACHE)
        .clock(move || UNIX_EPOCH + Duration::from_secs(TIME + clock.load(Ordering::SeqCst)));
    let client = cache.connect(tokens, &fixed().load().await?).await?;
    client.set("key", "value".into(), Ttl::Forever).await?;
    for second in 1..=3 {
        now.store(second, Ordering::SeqCst);
        cache.accept(second).await?;
        cache.server.call(&["CLIENT", "KILL", "USER", USER]).await?;
        assert_eq!(client.get("key").await?, "value", "second {second}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_wrong_setting_is_refused_with_what_to_check_and_without_the_token() -> Result<()> {
    let cache = Cache::start(false).await?;
    let here = fixed().load().await?;
    let elsewhere = fixed().region("eu-west-1").load().await?;
    for (tokens, aws, part) in [
        (
            tokens("app-other", 0),
            &here,
            "user has the id and the name app-other",
        ),
        (
            tokens(USER, 0),
            &elsewhere,
            "that it is in eu-west-1 (AWS_REGION)",
        ),
        (
            tokens(USER, 0).serverless(true),
            &here,
            "set CACHE_IAM_SERVERLESS=false",
        ),
        (
            tokens(USER, 1_200),
            &here,
            "clock of this machine, which says 2026-01-02T03:24:05Z",
        ),
    ] {
        let error = cache.connect(tokens, aws).await.err().context("it was let in")?;
        let text = error.to_string();
        assert!(matches!(error, CacheError::Unauthorized { .. }), "{error:?}");
        assert!(text.contains(part), "{part} is missing in {text}");
        let shown = everything(&error);
        for secret in ["X-Amz", "Signature", SECRET_KEY, ACCESS_KEY] {
            assert!(!shown.contains(secret), "{secret} is in {shown}");
        }
    }
    Ok(())
}
