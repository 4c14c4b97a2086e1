//! Wrong configuration: every problem at once, by name, without a secret.

#![expect(clippy::expect_used, reason = "a test ends where its preparations fail")]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::config::{Loaded, VARIABLES};
use cache_core::{CacheConfig, ConfigError};
use proptest::prelude::{any, prop, prop_assert, proptest};

/// Part of every secret, and of every wrong value, in here.
const SEEN: &str = "s3cr3t";

fn load(variables: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    CacheConfig::from_vars(
        variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    )
}

fn refused(variables: &[(&str, &str)]) -> ConfigError {
    let error = load(variables).expect_err("the configuration is wrong");
    for text in [error.to_string(), format!("{error:?}"), format!("{error:#?}")] {
        assert!(!text.contains(SEEN), "{text}");
    }
    error
}

/// The names of the problems, in order.
fn names(variables: &[(&str, &str)]) -> Vec<String> {
    refused(variables)
        .problems()
        .iter()
        .map(|problem| problem.variable.clone())
        .collect()
}

/// The only problem, in words.
fn only(variables: &[(&str, &str)]) -> String {
    let error = refused(variables);
    assert_eq!(error.problems().len(), 1, "{variables:?}: {error}");
    error.problems()[0].to_string()
}

fn pem(label: &str) -> String {
    let body = STANDARD.encode(format!("{SEEN}{SEEN}"));
    STANDARD.encode(format!(
        "-----BEGIN {label}-----\n{body}\n-----END {label}-----\n"
    ))
}

#[test]
fn every_problem_is_printed_without_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache.toml");
    let text =
        "max_retries = \"s3cr3t\"\npool_sise = \"s3cr3t\"\nread_from = 1.5\n[tls]\npassword = \"s3cr3t\"\n";
    std::fs::write(&file, text).unwrap();
    let key_as_certificate = pem("PRIVATE KEY");
    let certificate_as_key = pem("CERTIFICATE");
    let raw_pem = format!("-----BEGIN CERTIFICATE-----\n{SEEN}\n-----END CERTIFICATE-----");
    let wrong = [
        ("CACHE_CONFIG_FILE", file.to_str().unwrap()),
        ("CACHE_TYPE", "valkey"),
        ("CACHE_MODE", SEEN),
        ("CACHE_ADDRS", "redis://user:s3cr3t@cache:6379,,::1:6379,cache:0"),
        ("CACHE_USERNAME", "s3cr3t user"),
        ("CACHE_PASSWORD", SEEN),
        ("CACHE_PASSWORD_FILE", "/nowhere/s3cr3t"),
        ("CACHE_TLS_ENABLED", SEEN),
        ("CACHE_CA_CERT_BASE64", raw_pem.as_str()),
        ("CACHE_CLIENT_CERT_BASE64", key_as_certificate.as_str()),
        ("CACHE_CLIENT_KEY_BASE64", certificate_as_key.as_str()),
        ("CACHE_POOL_SIZE", "0"),
        ("CACHE_DIAL_TIMEOUT", "0s"),
        ("CACHE_READ_TIMEOUT", "5"),
        ("CACHE_WRITE_TIMEOUT", SEEN),
        ("REDIS_DB", "-1"),
        ("CACHE_SENTINEL_PASSWORD_FILE", "/nowhere/s3cr3t"),
        ("CACHE_KEY_PREFIX", "{s3cr3t}"),
        ("CACHE_STARTUP", SEEN),
        ("CACHE_ON_ERROR", SEEN),
        ("CACHE_OP_TIMEOUT", "2h"),
        ("CACHE_MEMORY_MAX_BYTES", "64 parsecs"),
        ("CACHE_MEMORY_MAX_ENTRIES", "0"),
        ("CACHE_L1_MAX_ENTRIES", "0"),
        ("CACHE_L1_TTL", "0ms"),
        ("CACHE_L1_TRACKING", SEEN),
        ("CACHE_ENCRYPTION_ENABLED", "true"),
        ("CACHE_IAM_ENABLED", "true"),
        ("CACHE_IAM_CACHE_NAME", "s3cr3t.example.com"),
        ("CACHE_IAM_SERVERLESS", SEEN),
        ("CACHE_SECRET_ARN", SEEN),
        ("CACHE_DYNAMODB_TABLE", "s3cr3t table"),
        ("CACHE_ADRESSES", SEEN),
    ];
    assert_eq!(
        names(&wrong),
        [
            "CACHE_MODE",
            "CACHE_ADDRS",
            "CACHE_USERNAME",
            "CACHE_PASSWORD",
            "CACHE_TLS_ENABLED",
            "CACHE_CA_CERT_BASE64",
            "CACHE_CLIENT_CERT_BASE64",
            "CACHE_CLIENT_KEY_BASE64",
            "CACHE_POOL_SIZE",
            "max_retries in the file of CACHE_CONFIG_FILE",
            "CACHE_DIAL_TIMEOUT",
            "CACHE_READ_TIMEOUT",
            "CACHE_WRITE_TIMEOUT",
            "REDIS_DB",
            "CACHE_SENTINEL_PASSWORD_FILE",
            "read_from in the file of CACHE_CONFIG_FILE",
            "CACHE_KEY_PREFIX",
            "CACHE_STARTUP",
            "CACHE_ON_ERROR",
            "CACHE_OP_TIMEOUT",
            "CACHE_MEMORY_MAX_BYTES",
            "CACHE_MEMORY_MAX_ENTRIES",
            "CACHE_L1_MAX_ENTRIES",
            "CACHE_L1_TTL",
            "CACHE_L1_TRACKING",
            "CACHE_ENCRYPTION_ENABLED",
            "CACHE_IAM_CACHE_NAME",
            "CACHE_IAM_SERVERLESS",
            "CACHE_SECRET_ARN",
            "CACHE_DYNAMODB_TABLE",
            "tls in the file of CACHE_CONFIG_FILE",
            "pool_sise in the file of CACHE_CONFIG_FILE",
            "CACHE_ADRESSES",
        ]
    );
}

#[test]
fn wrong_address_is_named_by_position() {
    let problem = only(&[("CACHE_ADDRS", "a:1, ,b,[::1]:70000")]);
    let parts = [
        "CACHE_ADDRS: ",
        "entry 2: it is empty",
        "entry 3: the port is missing",
        "entry 4: the port must",
    ];
    for part in parts {
        assert!(problem.contains(part), "{problem}");
    }
    assert!(
        problem.ends_with("must be host:port, several separated by commas, IPv6 in brackets"),
        "{problem}"
    );
    assert!(!problem.contains("entry 1"), "{problem}");
}

#[test]
fn wrong_value_problem_is_specific() {
    let address = ("CACHE_ADDRS", "cache:6379");
    let mistakes: &[(&[(&str, &str)], &str)] = &[
        (
            &[("CACHE_ADDRS", "\"127.0.0.1:6379\"")],
            "literal quotes around it: remove them; must be host:port",
        ),
        (
            &[("CACHE_ADDRS", "'a:1,b:2'")],
            "literal quotes around it: remove them",
        ),
        (
            &[("CACHE_ADDRS", "redis://cache:6379")],
            "entry 1: it is a URL; a URL belongs into CACHE_URL",
        ),
        (
            &[("CACHE_ADDRS", "a:1,b:2,")],
            "entry 3: it is empty: is there a comma too many?",
        ),
        (&[("CACHE_ADDRS", "a:1 b:2")], "addresses are separated by commas"),
        (&[("CACHE_ADDRS", "a:1;b:2")], "addresses are separated by commas"),
        (
            &[("CACHE_ADDRS", "cache")],
            "entry 1: the port is missing (6379 is the usual one)",
        ),
        (
            &[("CACHE_ADDRS", "cache:redis")],
            "entry 1: the port is not a number",
        ),
        (
            &[address, ("CACHE_POOL_SIZE", "\"5\"")],
            "literal quotes around it: remove them; must be a whole number",
        ),
        (
            &[("CACHE_TYPE", "'valkey'")],
            "literal quotes around it: remove them; must be memory",
        ),
    ];
    for (variables, expected) in mistakes {
        let problem = only(variables);
        assert!(problem.contains(expected), "{problem}");
    }
    for (value, expected) in [
        (
            "\"s3cr3t\"",
            "CACHE_PASSWORD: the value has literal quotes around it, which are taken as part of it",
        ),
        (
            "s3cr3t ",
            "CACHE_PASSWORD: the value begins or ends with white space, which is taken as part of it",
        ),
    ] {
        let loaded = load(&[address, ("CACHE_PASSWORD", value)]).unwrap();
        let warning = loaded.warnings[0].to_string();
        assert!(
            warning.starts_with(expected) && !warning.contains(SEEN),
            "{warning}"
        );
    }
}

#[test]
fn certificate_mistakes_are_named() {
    let servers = [("CACHE_ADDRS", "cache:6379"), ("CACHE_TLS_ENABLED", "true")];
    let folder = tempfile::tempdir().unwrap();
    let der = folder.path().join("ca.der");
    std::fs::write(&der, [0x30, 0x82, 0x03, 0xff]).unwrap();
    let in_file = der.to_str().unwrap();
    let base64_of_der = STANDARD.encode([0x30, 0x82, 3, 1]);
    let key = pem("PRIVATE KEY");
    let encrypted = pem("ENCRYPTED PRIVATE KEY");
    let certificate = pem("CERTIFICATE");
    for (variables, expected) in [
        (
            &[("CACHE_CA_CERT_BASE64", key.as_str())][..],
            "CACHE_CA_CERT_BASE64: it holds a private key",
        ),
        (
            &[("CACHE_CA_CERT_BASE64", &base64_of_der)],
            "CACHE_CA_CERT_BASE64: it is DER or PKCS #12",
        ),
        (
            &[("CACHE_CA_CERT_BASE64_FILE", in_file)],
            "CACHE_CA_CERT_BASE64_FILE: names a file that is not text: it is DER",
        ),
        (
            &[("CACHE_CA_CERT_BASE64", "/etc/ca.pem")],
            "CACHE_CA_CERT_BASE64: it is neither PEM nor base64",
        ),
        (
            &[
                ("CACHE_CLIENT_CERT_BASE64", &certificate),
                ("CACHE_CLIENT_KEY_BASE64", &encrypted),
            ],
            "CACHE_CLIENT_KEY_BASE64: the key is encrypted",
        ),
    ] {
        let problem = only(&[&servers, variables].concat());
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn problem_names_the_accepted_form() {
    for (name, value, form) in [
        ("CACHE_TYPE", "disk", "memory, valkey or dynamodb"),
        ("CACHE_STARTUP", "maybe", "fail or degrade"),
        ("CACHE_ON_ERROR", "ignore", "fail or bypass"),
        (
            "CACHE_OP_TIMEOUT",
            "0s",
            "a duration with its unit, from 1ms to 1h, such as 500ms or 3s",
        ),
        (
            "CACHE_OP_TIMEOUT",
            "250",
            "a duration with its unit, from 1ms to 1h, such as 500ms or 3s",
        ),
        (
            "CACHE_MEMORY_MAX_BYTES",
            "1.5GiB",
            "a number of bytes, 1KiB or more, plain or with KiB, MiB or GiB",
        ),
        (
            "CACHE_MEMORY_MAX_BYTES",
            "64",
            "a number of bytes, 1KiB or more, plain or with KiB, MiB or GiB",
        ),
        (
            "CACHE_L1_MAX_BYTES",
            "1023",
            "a number of bytes, 1KiB or more, plain or with KiB, MiB or GiB",
        ),
    ] {
        assert_eq!(only(&[(name, value)]), format!("{name}: must be {form}"));
    }
}

#[test]
fn unknown_name_suggests_the_nearest_known_name() {
    for (unknown, nearest) in [
        ("CACHE_ADDRESS", "CACHE_ADDRS"),
        ("CACHE_POOLSIZE", "CACHE_POOL_SIZE"),
        ("CACHE_TLS", "CACHE_TLS_ENABLED"),
        ("CACHE_SENTINAL_MASTER", "CACHE_SENTINEL_MASTER"),
        ("CACHE_IAM_CACHENAME", "CACHE_IAM_CACHE_NAME"),
        ("CACHE_USERNAME_FILE", "CACHE_USERNAME"),
    ] {
        let problem = only(&[(unknown, SEEN)]);
        assert_eq!(
            problem,
            format!("{unknown}: is not known; the nearest known name is {nearest}")
        );
    }
}

#[test]
fn kubernetes_service_variables_are_ignored() {
    let links = [
        ("CACHE_SERVICE_HOST", "10.0.0.1"),
        ("CACHE_SERVICE_PORT", "6379"),
        ("CACHE_SERVICE_PORT_TLS", "6380"),
        ("CACHE_PORT", "tcp://10.0.0.1:6379"),
        ("CACHE_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
        ("CACHE_PORT_6379_TCP_ADDR", "10.0.0.1"),
        ("CACHE_MAIN_SERVICE_HOST", "10.0.0.2"),
        ("CACHE_MAIN_PORT", "tcp://10.0.0.2:6379"),
        ("REDIS_PORT", "tcp://10.0.0.1:6379"),
    ];
    let loaded = load(&links).unwrap();
    assert_eq!(loaded.config, CacheConfig::default());
    assert_eq!(loaded.warnings, []);
    let loaded = load(&[&links[..], &[("REDIS_HOST", "redis")]].concat()).unwrap();
    assert_eq!(loaded.config.backend.to_string(), "Valkey(single, redis:6379)");
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
}

#[test]
fn conflicting_settings_are_refused() {
    let valkey = ("CACHE_ADDRS", "cache:6379");
    let cluster = ("CACHE_MODE", "cluster");
    let sentinel = ("CACHE_MODE", "sentinel");
    let tls = ("CACHE_TLS_ENABLED", "true");
    let user = ("CACHE_USERNAME", "app");
    let password = ("CACHE_PASSWORD", SEEN);
    let iam = ("CACHE_IAM_ENABLED", "true");
    let name = ("CACHE_IAM_CACHE_NAME", "main");
    let certificate = pem("CERTIFICATE");
    let key = pem("PRIVATE KEY");
    let ca = ("CACHE_CA_CERT_BASE64", certificate.as_str());
    let certificate = ("CACHE_CLIENT_CERT_BASE64", certificate.as_str());
    let key = ("CACHE_CLIENT_KEY_BASE64", key.as_str());
    let arn = (
        "CACHE_SECRET_ARN",
        "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cache",
    );
    let table = ("CACHE_DYNAMODB_TABLE", "tokens");
    let encryption = ("CACHE_ENCRYPTION_ENABLED", "true");
    let keyset = ("CACHE_ENCRYPTION_KEYSET_URI", "aws-secretsmanager://keyset");
    let kms = ("CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI", SEEN);
    let keyset_file = ("CACHE_ENCRYPTION_KEYSET_FILE", "keyset.json");
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("CACHE_TYPE", "valkey")],
            "CACHE_ADDRS: with CACHE_TYPE=valkey it must be host:port",
        ),
        (
            &[("CACHE_TYPE", "memory"), valkey],
            "CACHE_ADDRS: contradicts CACHE_TYPE=memory",
        ),
        (
            &[("CACHE_TYPE", "memory"), arn],
            "CACHE_SECRET_ARN: contradicts CACHE_TYPE=memory",
        ),
        (
            &[("CACHE_TYPE", "dynamodb")],
            "CACHE_DYNAMODB_TABLE: must be a table name",
        ),
        (&[table], "CACHE_DYNAMODB_TABLE: needs CACHE_TYPE=dynamodb"),
        (
            &[("INSTALLATION_TOKEN_TABLE_NAME", "tokens")],
            "INSTALLATION_TOKEN_TABLE_NAME: needs CACHE_TYPE=dynamodb, or CACHE_TYPE=memory if",
        ),
        (&[valkey, table], "CACHE_DYNAMODB_TABLE: contradicts CACHE_ADDRS"),
        (
            &[arn, table],
            "CACHE_DYNAMODB_TABLE: contradicts CACHE_SECRET_ARN",
        ),
        (
            &[("REDIS_HOST", "cache"), table],
            "CACHE_DYNAMODB_TABLE: contradicts REDIS_HOST",
        ),
        (
            &[("CACHE_TYPE", "valkey"), valkey, table],
            "CACHE_DYNAMODB_TABLE: contradicts CACHE_TYPE=valkey",
        ),
        (&[cluster], "CACHE_MODE: needs CACHE_ADDRS"),
        (&[password], "CACHE_PASSWORD: needs CACHE_ADDRS"),
        (
            &[valkey, sentinel],
            "CACHE_SENTINEL_MASTER: with CACHE_MODE=sentinel it must be the name",
        ),
        (
            &[valkey, ("CACHE_SENTINEL_MASTER", "main")],
            "CACHE_SENTINEL_MASTER: needs CACHE_MODE=sentinel",
        ),
        (
            &[valkey, ("CACHE_SENTINEL_PASSWORD", SEEN)],
            "CACHE_SENTINEL_PASSWORD: needs CACHE_MODE=sentinel",
        ),
        (
            &[valkey, ("CACHE_SENTINEL_TLS_ENABLED", "true")],
            "CACHE_SENTINEL_TLS_ENABLED: needs CACHE_MODE=sentinel",
        ),
        (
            &[
                valkey,
                sentinel,
                ("CACHE_SENTINEL_MASTER", "m"),
                ("CACHE_SENTINEL_USERNAME", "app"),
            ],
            "CACHE_SENTINEL_USERNAME: needs CACHE_SENTINEL_PASSWORD",
        ),
        (
            &[valkey, ("CACHE_TLS_SERVER_NAME", "cache.example")],
            "CACHE_TLS_SERVER_NAME: needs CACHE_TLS_ENABLED=true",
        ),
        (
            &[valkey, tls, ("CACHE_TLS_SERVER_NAME", "cache.example:6379")],
            "CACHE_TLS_SERVER_NAME: must be a host name or an IP address",
        ),
        (
            &[valkey, ("CACHE_ADDRESS_MAP", "a:1=b:1,c=d:2")],
            "CACHE_ADDRESS_MAP: entry 2: either both sides have a port or none has; must be announced=reachable",
        ),
        (
            &[valkey, user],
            "CACHE_USERNAME: needs CACHE_PASSWORD or CACHE_IAM_ENABLED=true",
        ),
        (
            &[valkey, iam, name, user],
            "CACHE_IAM_ENABLED: needs CACHE_TLS_ENABLED=true",
        ),
        (
            &[valkey, iam, name, tls],
            "CACHE_USERNAME: with CACHE_IAM_ENABLED=true it must be a user name",
        ),
        (
            &[valkey, iam, tls, user],
            "CACHE_IAM_CACHE_NAME: with CACHE_IAM_ENABLED=true it must be the cache's name",
        ),
        (
            &[valkey, iam, name, tls, user, password],
            "CACHE_PASSWORD: must not be set with CACHE_IAM_ENABLED=true",
        ),
        (
            &[valkey, name],
            "CACHE_IAM_CACHE_NAME: needs CACHE_IAM_ENABLED=true",
        ),
        (
            &[valkey, ("CACHE_IAM_SERVERLESS", "true")],
            "CACHE_IAM_SERVERLESS: needs CACHE_IAM_ENABLED=true",
        ),
        (
            &[valkey, ca],
            "CACHE_CA_CERT_BASE64: needs CACHE_TLS_ENABLED=true",
        ),
        (
            &[valkey, tls, certificate],
            "CACHE_CLIENT_CERT_BASE64: needs CACHE_CLIENT_KEY_BASE64",
        ),
        (
            &[valkey, tls, key],
            "CACHE_CLIENT_KEY_BASE64: needs CACHE_CLIENT_CERT_BASE64",
        ),
        (
            &[("CACHE_L1_TTL", "1m")],
            "CACHE_L1_TTL: needs CACHE_L1_MAX_BYTES",
        ),
        (
            &[("CACHE_L1_TRACKING", "off")],
            "CACHE_L1_TRACKING: needs CACHE_L1_MAX_BYTES",
        ),
        (
            &[("CACHE_L1_MAX_BYTES", "1MiB"), ("CACHE_L1_TRACKING", "broadcast")],
            "CACHE_L1_TRACKING: broadcast needs CACHE_KEY_PREFIX",
        ),
        (
            &[encryption],
            "CACHE_ENCRYPTION_ENABLED: needs CACHE_ENCRYPTION_KEYSET_URI and",
        ),
        (
            &[keyset],
            "CACHE_ENCRYPTION_KEYSET_URI: needs CACHE_ENCRYPTION_ENABLED=true",
        ),
        (
            &[encryption, keyset],
            "CACHE_ENCRYPTION_KEYSET_URI: needs CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI",
        ),
        (
            &[encryption, kms],
            "CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI: needs CACHE_ENCRYPTION_KEYSET_URI",
        ),
        (
            &[encryption, keyset, keyset_file],
            "CACHE_ENCRYPTION_KEYSET_FILE: must not be set together",
        ),
        (
            &[encryption, keyset, kms],
            "CACHE_ENCRYPTION_KMS_ENVELOPE_KEY_URI: must be a URI",
        ),
    ];
    for (variables, expected) in cases {
        let problem = only(variables);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

#[test]
fn disabled_switch_allows_dependent_settings() {
    let certificate = pem("CERTIFICATE");
    let off = [
        ("CACHE_ADDRS", "cache:6379"),
        ("CACHE_TLS_ENABLED", "false"),
        ("CACHE_CA_CERT_BASE64", certificate.as_str()),
        ("CACHE_IAM_ENABLED", "no"),
        ("CACHE_IAM_CACHE_NAME", "main"),
        ("CACHE_ENCRYPTION_ENABLED", "0"),
        ("CACHE_ENCRYPTION_KEYSET_FILE", "keyset.json"),
    ];
    let loaded = load(&off).unwrap();
    assert_eq!(loaded.config.backend.to_string(), "Valkey(single, cache:6379)");
    assert_eq!(loaded.config.encryption, None);
}

#[test]
fn unreadable_setting_causes_one_problem() {
    let valkey = ("CACHE_ADDRS", "cache:6379");
    let user = ("CACHE_USERNAME", "app");
    let iam = [("CACHE_IAM_ENABLED", "true"), ("CACHE_IAM_CACHE_NAME", "main")];
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[
                valkey,
                ("CACHE_MODE", SEEN),
                ("CACHE_DB", "2"),
                ("CACHE_SENTINEL_MASTER", "m"),
            ],
            "CACHE_MODE: ",
        ),
        (
            &[valkey, ("CACHE_TLS_ENABLED", SEEN), user, iam[0], iam[1]],
            "CACHE_TLS_ENABLED: ",
        ),
        (
            &[valkey, ("CACHE_IAM_ENABLED", SEEN), user, iam[1]],
            "CACHE_IAM_ENABLED: ",
        ),
        (
            &[("CACHE_ADDRS", SEEN), user, ("CACHE_PASSWORD", SEEN)],
            "CACHE_ADDRS: ",
        ),
        (
            &[valkey, user, ("CACHE_PASSWORD_FILE", "/nowhere/s3cr3t")],
            "CACHE_PASSWORD_FILE: ",
        ),
        (
            &[("CACHE_TYPE", SEEN), valkey, ("CACHE_DYNAMODB_TABLE", "tokens")],
            "CACHE_TYPE: ",
        ),
    ];
    for (variables, expected) in cases {
        let problem = only(variables);
        assert!(problem.starts_with(expected), "{problem}");
    }
}

proptest! {
    #[test]
    fn no_setting_value_is_ever_shown(
        values in prop::collection::vec((any::<prop::sample::Index>(), ".{0,12}s3cr3t.{0,12}"), 1..12)
    ) {
        let names: Vec<String> = VARIABLES
            .iter()
            .flat_map(|variable| [&[variable.name][..], variable.aliases].concat())
            .flat_map(|name| [name.to_owned(), format!("{name}_FILE")])
            .collect();
        let variables = values.into_iter().map(|(index, value)| (index.get(&names).clone(), value));
        if let Err(error) = CacheConfig::from_vars(variables) {
            prop_assert!(!error.to_string().contains(SEEN), "{}", error);
        }
    }
}
