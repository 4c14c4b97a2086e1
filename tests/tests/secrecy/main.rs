//! The whole stack as a service on AWS sets it up: address and login from a service secret, the keyset from Secrets
//! Manager under a KMS key, values encrypted on a real server. It works, it says what is wrong when it does not, and no
//! secret and no plaintext appears in anything that it prints, at the most detailed log level.
//!
//! Each part of this has its own tests elsewhere; in here they run together, in processes of their own.

use std::process::Stdio;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::emulator::REGION;
use tests::{Emulator, EmulatorKind, Server, ServerOptions, Version};
use tokio::process::Command;

const PASSWORD: &str = "pw-8c1f2a7d9e30b6";
const NEXT_PASSWORD: &str = "pw-next-5b2c8e1f";
const PLAINTEXT: &str = "ghs_plaintext-of-a-token-41f7";
const AWS_SECRET: &str = "aws-secret-key-93ab77";

/// A server, an emulator that holds the service's secret and keyset, and everything printed so far.
struct Account {
    server: Server,
    emulator: Emulator,
    variables: Vec<(&'static str, String)>,
    printed: String,
}

/// What a command left behind.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Account {
    async fn open(test: &str) -> Result<Option<Self>> {
        let root = env!("CARGO_TARGET_TMPDIR");
        let Some(emulator) = Emulator::start_or_skip(EmulatorKind::Moto, test, root).await? else {
            return Ok(None);
        };
        let user = format!("billing on >{PASSWORD} ~billing:* +@all");
        let options = ServerOptions::new(Version::Valkey8).user(&user);
        let server = Server::start(options).await?;
        let key = emulator.call("TrentService.CreateKey", &json!({})).await?;
        let key = format!("aws-kms://{}", text(&key["KeyMetadata"]["Arn"]));
        let secret = json!({
            "host": server.host().to_string(),
            "port": server.port().to_string(),
            "username": "billing",
            "password": PASSWORD,
            "keyspace": "billing",
            "tls": false,
        });
        let secret = json!({ "Name": "billing/cache", "SecretString": secret.to_string() });
        let created = emulator.call("secretsmanager.CreateSecret", &secret).await?;
        let variables = vec![
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", AWS_SECRET.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_ENDPOINT_URL", emulator.url().to_owned()),
            ("CACHE_SECRET_ARN", text(&created["ARN"])),
            ("CACHE_ENCRYPTION_ENABLED", "true".to_owned()),
            (
                "CACHE_ENCRYPTION_KEYSET_URI",
                "aws-secretsmanager:///billing/keyset".to_owned(),
            ),
            ("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI", key),
        ];
        Ok(Some(Self {
            server,
            emulator,
            variables,
            printed: String::new(),
        }))
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.retain(|(known, _)| *known != name);
        self.variables.push((name, value.to_owned()));
    }

    /// Runs `cachectl` as the service's operator would, and remembers what it printed.
    async fn run(&mut self, arguments: &[&str]) -> Result<Ran> {
        let output = Command::new(tests::cachectl().await?)
            .arg("-vvv")
            .args(arguments)
            .env_clear()
            .env("HOME", "/nonexistent")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .await?;
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout)?,
            err: String::from_utf8(output.stderr)?,
        };
        self.printed.push_str(&ran.err);
        // The answer of `get` is the plaintext; that is what it is for.
        if arguments.first() != Some(&"get") {
            self.printed.push_str(&ran.out);
        }
        Ok(ran)
    }

    async fn succeed(&mut self, arguments: &[&str]) -> Result<String> {
        let ran = self.run(arguments).await?;
        ensure!(ran.code == 0, "{arguments:?}: {ran:?}");
        Ok(ran.out)
    }

    /// The stored keyset, and the keys in it: what must never be printed.
    async fn key_material(&self) -> Result<Vec<String>> {
        let asked = json!({ "SecretId": "/billing/keyset" });
        let stored = self
            .emulator
            .call("secretsmanager.GetSecretValue", &asked)
            .await?;
        let keyset: Value = serde_json::from_str(&text(&stored["SecretString"]))?;
        let ciphertext = text(&keyset["encryptedKeyset"]);
        ensure!(ciphertext.len() > 100, "no encrypted keyset in {keyset}");
        let kms = json!({ "CiphertextBlob": ciphertext });
        let opened = self.emulator.call("TrentService.Decrypt", &kms).await?;
        Ok(vec![ciphertext, text(&opened["Plaintext"])])
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stack_on_aws_works_and_shows_no_secret() -> Result<()> {
    let Some(mut account) = Account::open("stack_on_aws_works_and_shows_no_secret").await? else {
        return Ok(());
    };

    // No keyset yet: no client, and the error says where one was looked for.
    let ran = account.run(&["get", "token"]).await?;
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("billing/keyset"), "{}", ran.err);

    account.succeed(&["keyset", "create"]).await?;
    let said = account.succeed(&["config", "check", "--connect"]).await?;
    assert!(said.contains("billing/keyset"), "{said}");
    account
        .succeed(&["set", "token", PLAINTEXT, "--ttl", "5m"])
        .await?;
    assert_eq!(account.succeed(&["get", "token"]).await?.trim_end(), PLAINTEXT);
    account.succeed(&["incr", "hits"]).await?;
    assert_eq!(account.succeed(&["get", "hits"]).await?.trim_end(), "1");

    // On the server: the keyspace as the prefix, and nothing to read.
    let mut server = account.server.connect().await?;
    server.call(&["AUTH", "billing", PASSWORD]).await?;
    let stored = server.call(&["GET", "billing:token"]).await?.text();
    assert!(!stored.is_empty() && !stored.contains("token-of"), "{stored}");

    // A rotation of the keyset: what the old key sealed is still read.
    account.succeed(&["keyset", "add"]).await?;
    let early = account.run(&["keyset", "rotate"]).await?;
    let info = account.succeed(&["keyset", "info", "--json"]).await?;
    assert!(info.contains("primary"), "{info} {early:?}");
    assert_eq!(account.succeed(&["get", "token"]).await?.trim_end(), PLAINTEXT);

    // The password is rotated: first on the server, then in the secret.
    let change = format!(">{NEXT_PASSWORD}");
    server
        .call(&["ACL", "SETUSER", "billing", "resetpass", &change])
        .await?;
    let ran = account.run(&["get", "token"]).await?;
    assert_ne!(ran.code, 0);
    assert!(ran.err.contains("CACHE_SECRET_ARN"), "{}", ran.err);
    let secret = json!({
        "host": account.server.host().to_string(),
        "port": account.server.port(),
        "username": "billing",
        "password": NEXT_PASSWORD,
        "keyspace": "billing",
    });
    let put = json!({ "SecretId": "billing/cache", "SecretString": secret.to_string() });
    account
        .emulator
        .call("secretsmanager.PutSecretValue", &put)
        .await?;
    assert_eq!(account.succeed(&["get", "token"]).await?.trim_end(), PLAINTEXT);

    // What is set by its own name wins over the secret.
    account.set("CACHE_KEY_PREFIX", "billing:other:");
    let ran = account.run(&["get", "token"]).await?;
    assert_eq!(ran.code, 1, "another prefix is another key: {ran:?}");

    // Another KMS key does not decrypt the keyset.
    let other = account
        .emulator
        .call("TrentService.CreateKey", &json!({}))
        .await?;
    let other = format!("aws-kms://{}", text(&other["KeyMetadata"]["Arn"]));
    account.set("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI", &other);
    let ran = account.run(&["get", "token"]).await?;
    assert_ne!(ran.code, 0);

    let mut secrets = account.key_material().await?;
    secrets.extend([PASSWORD, NEXT_PASSWORD, PLAINTEXT, AWS_SECRET].map(str::to_owned));
    for secret in secrets {
        let at = account.printed.find(&secret);
        let around = at.map(|at| &account.printed[at.saturating_sub(300)..at]);
        assert_eq!(
            around,
            None,
            "a secret of {} bytes was printed after this",
            secret.len()
        );
    }
    // The log was on, so not to find a secret means something.
    assert!(
        account.printed.contains("TRACE") || account.printed.contains("DEBUG"),
        "no detailed log"
    );
    Ok(())
}
