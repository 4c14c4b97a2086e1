//! Where settings come from: the environment, the file, files that hold one secret.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test ends where its preparations fail"
)]

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::config::{
    Address, Authentication, Backend, DynamoDbConfig, EncryptionConfig, IamService, KeysetLocation, Loaded,
    MemoryConfig, NearConfig, NearTracking, OnError, Origin, PlaintextEntries, ReadFrom, SecretConfig,
    SentinelTls, Startup, StoredForm, TlsConfig, Topology, ValkeyConfig,
};
use cache_core::{CacheConfig, ConfigError, Secret};

fn read(variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    CacheConfig::from_vars(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

fn load(variables: &[(&str, &str)]) -> Loaded {
    read(variables).expect("the configuration is right")
}

fn problem(variables: &[(&str, &str)]) -> String {
    let error = read(variables).expect_err("the configuration is wrong");
    assert_eq!(error.problems().len(), 1, "{error}");
    error.problems()[0].to_string()
}

fn valkey(loaded: &Loaded) -> &ValkeyConfig {
    match &loaded.config.backend {
        Backend::Valkey(valkey) => valkey,
        other => panic!("{other}"),
    }
}

fn origin(loaded: &Loaded, name: &str) -> Origin {
    loaded
        .settings
        .iter()
        .find(|setting| setting.name == name)
        .unwrap()
        .origin
        .clone()
}

fn write(path: &Path, text: &str) -> String {
    std::fs::write(path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn empty_environment_gives_the_embedded_client() {
    let loaded = load(&[("HOME", "/home/someone")]);
    assert_eq!(loaded.config, CacheConfig::default());
    assert_eq!(loaded.config, CacheConfig::builder().build().unwrap());
    assert!(
        loaded
            .settings
            .iter()
            .all(|setting| setting.origin == Origin::Default)
    );
}

#[test]
fn address_selects_valkey_with_defaults() {
    let loaded = load(&[("CACHE_ADDRS", " cache.example:6379 ")]);
    let expected = ValkeyConfig::new(Topology::single(Address::new("cache.example", 6379)));
    assert_eq!(valkey(&loaded), &expected);
    assert_eq!(loaded.warnings, []);
}

#[test]
fn every_server_setting_is_applied() {
    let block =
        |label: &str| STANDARD.encode(format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"));
    let loaded = load(&[
        ("CACHE_TYPE", "VALKEY"),
        ("CACHE_MODE", "sentinel"),
        ("CACHE_ADDRS", "a:26379, 10.0.0.1:26380,[2001:db8::1]:26381"),
        ("CACHE_USERNAME", "app"),
        ("CACHE_PASSWORD", " with spaces "),
        ("CACHE_TLS_ENABLED", "yes"),
        ("CACHE_CA_CERT_BASE64", &block("CERTIFICATE")),
        ("CACHE_CLIENT_CERT_BASE64", &block("CERTIFICATE")),
        ("CACHE_CLIENT_KEY_BASE64", &block("RSA PRIVATE KEY")),
        ("CACHE_POOL_SIZE", " 4 "),
        ("CACHE_MAX_RETRIES", "0"),
        ("CACHE_DIAL_TIMEOUT", "1s"),
        ("CACHE_READ_TIMEOUT", "200ms"),
        ("CACHE_WRITE_TIMEOUT", "1s 500ms"),
        ("CACHE_DB", "2"),
        ("CACHE_SENTINEL_MASTER", "main"),
        ("CACHE_SENTINEL_USERNAME", "watcher"),
        ("CACHE_SENTINEL_PASSWORD", "watch"),
        ("CACHE_SENTINEL_TLS_ENABLED", "false"),
        ("CACHE_TLS_SERVER_NAME", "cache.example"),
        ("CACHE_ADDRESS_MAP", "10.0.0.1=localhost"),
        ("CACHE_MAX_CONNECTION_AGE", "30m"),
        ("CACHE_CLIENT_NAME", "billing-7"),
        ("CACHE_READ_FROM", "prefer-replica"),
    ]);
    let valkey = valkey(&loaded);
    let sentinels = vec![
        Address::new("a", 26379),
        Address::new("10.0.0.1", 26380),
        Address::new("2001:db8::1", 26381),
    ];
    let password = Some(Secret::from("watch"));
    assert_eq!(
        valkey.topology,
        Topology::Sentinel {
            sentinels,
            master: "main".into(),
            username: Some("watcher".into()),
            password,
            db: 2
        }
    );
    let password = Secret::from(" with spaces ");
    assert_eq!(
        valkey.authentication,
        Authentication::Password {
            username: Some("app".into()),
            password
        }
    );
    assert_eq!(valkey.sentinel_tls, SentinelTls::Off);
    assert_eq!(valkey.address_map.to_string(), "10.0.0.1=localhost");
    let tls = valkey.tls.as_ref().unwrap();
    assert_eq!(tls.server_name.as_deref(), Some("cache.example"));
    assert!(
        tls.ca_pem
            .as_ref()
            .unwrap()
            .starts_with(b"-----BEGIN CERTIFICATE-----")
    );
    let identity = tls.identity.as_ref().unwrap();
    assert!(
        identity
            .certificate_pem
            .starts_with(b"-----BEGIN CERTIFICATE-----")
    );
    assert!(
        identity
            .key_pem
            .expose()
            .starts_with(b"-----BEGIN RSA PRIVATE KEY-----")
    );
    assert_eq!((valkey.pool_size, valkey.max_retries), (4, 0));
    assert_eq!(valkey.dial_timeout, Duration::from_secs(1));
    assert_eq!(valkey.read_timeout, Duration::from_millis(200));
    assert_eq!(valkey.write_timeout, Duration::from_millis(1500));
    assert_eq!(valkey.read_from, ReadFrom::PreferReplica);
    assert_eq!(valkey.max_connection_age, Some(Duration::from_secs(1800)));
    assert_eq!(valkey.client_name.as_deref(), Some("billing-7"));
    let warnings: Vec<_> = loaded
        .warnings
        .iter()
        .map(|warning| warning.variable.as_str())
        .collect();
    assert_eq!(warnings, ["CACHE_PASSWORD"], "of its spaces");
}

#[test]
fn every_general_setting_is_applied() {
    let config = load(&[
        ("CACHE_KEY_PREFIX", "shop:"),
        ("CACHE_STARTUP", "degrade"),
        ("CACHE_ON_ERROR", "bypass"),
        ("CACHE_OP_TIMEOUT", "2s"),
        ("CACHE_L1_MAX_BYTES", "16MiB"),
        ("CACHE_L1_MAX_ENTRIES", "5000"),
        ("CACHE_L1_TTL", "30s"),
        ("CACHE_L1_TRACKING", "broadcast"),
        ("CACHE_ENCRYPTION_ENABLED", "on"),
        ("CACHE_ENCRYPTION_KEYSET_URI", "aws-secretsmanager:///app/keyset"),
        ("CACHE_ENCRYPTION_FORM", "chinmina-bridge"),
        ("CACHE_ENCRYPTION_MODE", "read-plaintext"),
        ("CACHE_ENCRYPTION_REFRESH", "1m"),
        (
            "CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI",
            "aws-kms://arn:aws:kms:eu-west-1:1:key/k",
        ),
    ])
    .config;
    assert_eq!(config.key_prefix.as_deref(), Some("shop:"));
    assert_eq!(
        (config.startup, config.on_error),
        (Startup::Degrade, OnError::Bypass)
    );
    assert_eq!(config.op_timeout, Some(Duration::from_secs(2)));
    assert_eq!(
        config.near,
        Some(
            NearConfig::new(16 << 20, Duration::from_secs(30))
                .with_max_entries(5_000)
                .with_tracking(NearTracking::Broadcast)
        )
    );
    let keyset_uri = "aws-secretsmanager:///app/keyset".to_owned();
    let kms_key_uri = "aws-kms://arn:aws:kms:eu-west-1:1:key/k".to_owned();
    assert_eq!(
        config.encryption,
        Some(
            EncryptionConfig::new(KeysetLocation::Envelope {
                keyset_uri,
                kms_key_uri
            })
            .with_form(StoredForm::ChinminaBridge)
            .with_plaintext(PlaintextEntries::Read)
            .with_refresh(Duration::from_secs(60))
        )
    );
}

#[test]
fn other_backends_are_configured() {
    let loaded = load(&[
        ("CACHE_MEMORY_MAX_BYTES", "1024"),
        ("CACHE_MEMORY_MAX_ENTRIES", "7"),
    ]);
    assert_eq!(loaded.config.backend, Backend::Memory(MemoryConfig::new(1024, 7)));
    let loaded = load(&[("CACHE_TYPE", "dynamodb"), ("CACHE_DYNAMODB_TABLE", "tokens")]);
    assert_eq!(
        loaded.config.backend,
        Backend::DynamoDb(DynamoDbConfig::new("tokens"))
    );
    let loaded = load(&[
        ("CACHE_ENCRYPTION_ENABLED", "true"),
        ("CACHE_ENCRYPTION_KEYSET_FILE", "k.json"),
    ]);
    assert_eq!(
        loaded.config.encryption,
        Some(EncryptionConfig::new(KeysetLocation::File {
            path: "k.json".into()
        }))
    );
    let loaded = load(&[("CACHE_L1_MAX_BYTES", "1KiB")]);
    assert_eq!(
        loaded.config.near,
        Some(NearConfig::new(1024, Duration::from_secs(60)))
    );
}

#[test]
fn cluster_accepts_one_address() {
    let loaded = load(&[
        ("CACHE_MODE", "cluster"),
        ("CACHE_ADDRS", "cfg.example:6379"),
        ("CACHE_DB", "0"),
    ]);
    assert_eq!(
        valkey(&loaded).topology,
        Topology::cluster([Address::new("cfg.example", 6379)])
    );
    assert_eq!(loaded.warnings, []);
}

#[test]
fn secret_supplies_the_address_and_the_user() {
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cache-AbCdEf";
    let loaded = load(&[("CACHE_SECRET_ARN", arn), ("CACHE_MODE", "cluster")]);
    assert_eq!(valkey(&loaded).topology, Topology::cluster([]));
    assert_eq!(loaded.config.secret, Some(SecretConfig::new(arn)));
    let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let overrides = [
        ("CACHE_SECRET_ARN", arn),
        ("CACHE_USERNAME", "app"),
        ("CACHE_CA_CERT_BASE64", &STANDARD.encode(pem)),
    ];
    let secret = SecretConfig::new(arn).with_username("app");
    let tls = TlsConfig::new().with_ca_pem(pem);
    assert_eq!(load(&overrides).config.secret, Some(secret.with_tls(Some(tls))));
    let config = load(&[("CACHE_SECRET_ARN", arn), ("CACHE_TLS_ENABLED", "false")]).config;
    assert_eq!(
        config.secret.unwrap().tls,
        None,
        "the setting of its own name wins"
    );
}

#[test]
fn iam_needs_user_and_tls_without_password() {
    let loaded = load(&[
        ("CACHE_ADDRS", "cache:6379"),
        ("CACHE_TLS_ENABLED", "true"),
        ("CACHE_USERNAME", "app"),
        ("CACHE_IAM_ENABLED", "true"),
        ("CACHE_IAM_CACHE_NAME", "main"),
        ("CACHE_IAM_SERVERLESS", "true"),
        ("CACHE_IAM_SERVICE", "memorydb"),
    ]);
    let expected = Authentication::Iam {
        username: "app".into(),
        cache_name: "main".into(),
        serverless: true,
        service: IamService::MemoryDb,
    };
    assert_eq!(valkey(&loaded).authentication, expected);
    let eleven_hours = Duration::from_secs(11 * 3600);
    assert_eq!(valkey(&loaded).max_connection_age, Some(eleven_hours));
}

#[test]
fn environment_overrides_file_and_file_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
        mode = "cluster"
        addrs = ["a:1", "b:2"]
        pool_size = 3
        tls_enabled = true
        read_timeout = "1s"
        password = "filed"
    "#;
    let file = write(&folder.path().join("cache.toml"), text);
    let loaded = load(&[
        ("CACHE_CONFIG_FILE", &file),
        ("CACHE_POOL_SIZE", "5"),
        ("CACHE_READ_TIMEOUT", ""),
        ("REDIS_HOST", "old"),
    ]);
    let config = valkey(&loaded);
    assert_eq!(
        config.topology,
        Topology::cluster([Address::new("a", 1), Address::new("b", 2)])
    );
    assert_eq!((config.pool_size, config.max_retries), (5, 3));
    assert_eq!(config.read_timeout, Duration::from_secs(1));
    assert_eq!(
        config.authentication,
        Authentication::Password {
            username: None,
            password: "filed".into()
        }
    );
    assert!(config.tls.is_some());
    assert_eq!(
        origin(&loaded, "CACHE_POOL_SIZE"),
        Origin::Variable("CACHE_POOL_SIZE".into())
    );
    assert_eq!(origin(&loaded, "CACHE_ADDRS"), Origin::File("addrs".into()));
    assert_eq!(origin(&loaded, "CACHE_MAX_RETRIES"), Origin::Default);
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let expected = "REDIS_HOST: is an older name and has no effect, because addrs in the file of CACHE_CONFIG_FILE is set";
    assert_eq!(warnings, [expected]);
}

#[test]
fn unreadable_file_is_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let text = problem(&[("CACHE_CONFIG_FILE", missing.to_str().unwrap())]);
    assert_eq!(
        text,
        "CACHE_CONFIG_FILE: names a file that cannot be read: entity not found"
    );
    let broken = write(
        &folder.path().join("broken.toml"),
        "pool_size = 1\npassword = s3cr3t\n",
    );
    let text = problem(&[("CACHE_CONFIG_FILE", &broken)]);
    assert_eq!(
        text,
        "CACHE_CONFIG_FILE: names a file that is not valid TOML in line 2"
    );
    let nested = write(
        &folder.path().join("nested.toml"),
        "config_file = \"other.toml\"\n",
    );
    let text = problem(&[("CACHE_CONFIG_FILE", &nested)]);
    assert!(
        text.starts_with("config_file in the file of CACHE_CONFIG_FILE: is not known"),
        "{text}"
    );
}

#[test]
fn secret_may_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let secret = write(&folder.path().join("password"), "  hunter2\n");
    let config = write(
        &folder.path().join("cache.toml"),
        &format!("password_file = '{secret}'\n"),
    );
    let address = ("CACHE_ADDRS", "cache:6379");
    for source in [
        ("CACHE_PASSWORD_FILE", secret.as_str()),
        ("REDIS_PASSWORD_FILE", secret.as_str()),
        ("CACHE_CONFIG_FILE", config.as_str()),
    ] {
        let loaded = load(&[address, source]);
        let expected = Authentication::Password {
            username: None,
            password: Secret::from("hunter2"),
        };
        assert_eq!(valkey(&loaded).authentication, expected);
        let shown = loaded
            .settings
            .iter()
            .find(|setting| setting.name == "CACHE_PASSWORD")
            .unwrap();
        assert_eq!(shown.value, "***");
        assert!(!format!("{loaded:?} {}", loaded.config).contains("hunter2"));
    }
    let both = [
        address,
        ("CACHE_PASSWORD", "s3cr3t"),
        ("CACHE_PASSWORD_FILE", secret.as_str()),
    ];
    assert_eq!(
        problem(&both),
        "CACHE_PASSWORD: must not be set together with CACHE_PASSWORD_FILE"
    );
    let empty = write(&folder.path().join("empty"), "\n");
    let text = problem(&[address, ("CACHE_PASSWORD_FILE", empty.as_str())]);
    assert_eq!(text, "CACHE_PASSWORD_FILE: names an empty file");
}

#[test]
fn setting_without_effect_is_warned_about() {
    let warning = |variables: &[(&str, &str)]| {
        let warnings = load(variables).warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        warnings[0].to_string()
    };
    assert!(
        warning(&[("CACHE_TYPE", "memory"), ("CACHE_POOL_SIZE", "3")]).starts_with("CACHE_POOL_SIZE: has no")
    );
    assert!(
        warning(&[("CACHE_ADDRS", "a:1"), ("CACHE_MEMORY_MAX_BYTES", "3KiB")])
            .ends_with("no effect with CACHE_ADDRS")
    );
    assert!(warning(&[("CACHE_ADDRS", "a:1,b:2")]).starts_with("CACHE_ADDRS: only the address that leads"));
    assert!(warning(&[("CACHE_ADDRS", " ")]).starts_with("CACHE_ADDRS: is empty"));
}

#[test]
fn description_hides_secrets() {
    let loaded = load(&[
        ("CACHE_MODE", "cluster"),
        ("CACHE_ADDRS", "a:1,b:2"),
        ("CACHE_USERNAME", "app"),
        ("CACHE_PASSWORD", "s3cr3t"),
        ("CACHE_TLS_ENABLED", "true"),
        ("CACHE_OP_TIMEOUT", "750ms"),
    ]);
    let words = "\
backend: Valkey(cluster, 2 seeds, TLS)
servers: the cluster that a:1, b:2 knows
database: 0
user: app with a password
tls: 1.2 or newer, host names verified, the system's roots, no client certificate
connections: at most 10 per node
timeouts: dial 5s, read 3s, write 3s
retries: at most 3, on transient failures only
reads: from primaries
key prefix: none
at start: fail where the backend cannot be reached
on errors: calls fail
deadline of a call: 750ms
near tier: none
encryption: none";
    assert_eq!(loaded.config.to_string(), words);
}

#[test]
fn another_login_drops_the_password_file() {
    let config = ValkeyConfig::new(Topology::single(Address::new("cache", 6379)));
    let config = config.with_password_file(Some("operator".into()), "/run/secrets/operator");
    assert!(config.validate().is_ok(), "the password is in the file");
    let other = config.with_authentication(Authentication::Password {
        username: Some("app".into()),
        password: Secret::from("pw"),
    });
    assert_eq!(other.password_file, None);
}
