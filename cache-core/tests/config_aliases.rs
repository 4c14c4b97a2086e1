//! Older names of settings: each works, each is warned about once, none outdoes a newer one.

#![expect(clippy::expect_used, reason = "a test ends where its preparations fail")]

use cache_core::CacheConfig;
use cache_core::config::{Address, Backend, Loaded, Origin, Topology, VARIABLES};

fn load(variables: &[(&str, &str)]) -> Loaded {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    CacheConfig::from_vars(variables).expect("the configuration is right")
}

fn problem(variables: &[(&str, &str)]) -> String {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    CacheConfig::from_vars(variables)
        .expect_err("the configuration is wrong")
        .to_string()
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn older_name_works_with_one_warning() {
    let address = ("CACHE_ADDRS", "cache:6379");
    let tls = ("CACHE_TLS_ENABLED", "true");
    let password = ("CACHE_PASSWORD", "pw");
    let user = ("CACHE_USERNAME", "app");
    let iam = ("CACHE_IAM_ENABLED", "true");
    let name = ("CACHE_IAM_CACHE_NAME", "main");
    let dynamodb = ("CACHE_TYPE", "dynamodb");
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cache";
    type Pairs<'a> = &'a [(&'a str, &'a str)];
    let cases: &[(&str, &str, &str, Pairs<'_>)] = &[
        ("REDIS_HOST", "cache:6379", "CACHE_ADDRS", &[]),
        ("VALKEY_ADDRESS", "cache:6379", "CACHE_ADDRS", &[]),
        ("REDIS_ADDR", "cache:6379", "CACHE_ADDRS", &[]),
        ("VALKEY_URL", "valkey://cache", "CACHE_URL", &[]),
        ("REDIS_TLS_URL", "rediss://:pw@cache/2", "CACHE_URL", &[]),
        ("REDIS_URL", "redis://app:pw@cache", "CACHE_URL", &[]),
        ("REDIS_USERNAME", "app", "CACHE_USERNAME", &[address, password]),
        ("VALKEY_USERNAME", "app", "CACHE_USERNAME", &[address, password]),
        ("REDIS_PASSWORD", "pw", "CACHE_PASSWORD", &[address]),
        ("VALKEY_PASSWORD", "pw", "CACHE_PASSWORD", &[address]),
        ("REDIS_DB", "4", "CACHE_DB", &[address]),
        ("REDIS_TLS", "true", "CACHE_TLS_ENABLED", &[address]),
        ("VALKEY_TLS", "true", "CACHE_TLS_ENABLED", &[address]),
        (
            "VALKEY_IAM_ENABLED",
            "true",
            "CACHE_IAM_ENABLED",
            &[address, tls, user, name],
        ),
        (
            "VALKEY_IAM_CACHE_NAME",
            "main",
            "CACHE_IAM_CACHE_NAME",
            &[address, tls, user, iam],
        ),
        (
            "VALKEY_IAM_SERVERLESS",
            "true",
            "CACHE_IAM_SERVERLESS",
            &[address, tls, user, iam, name],
        ),
        ("REDIS_SECRET_ARN", arn, "CACHE_SECRET_ARN", &[]),
        (
            "INSTALLATION_TOKEN_TABLE_NAME",
            "tokens",
            "CACHE_DYNAMODB_TABLE",
            &[dynamodb],
        ),
    ];
    for (old, value, new, rest) in cases {
        let with_old = load(&[rest, &[(*old, *value)][..]].concat());
        let with_new = load(&[rest, &[(*new, *value)][..]].concat());
        assert_eq!(with_old.config, with_new.config, "{old}");
        assert_ne!(with_old.config, CacheConfig::default(), "{old}");
        assert_eq!(
            warnings(&with_old),
            [format!("{old}: is an older name, set {new} instead")]
        );
        let setting = with_old
            .settings
            .iter()
            .find(|setting| setting.name == *new)
            .unwrap();
        assert_eq!(setting.origin, Origin::Variable((*old).to_owned()));

        let both = load(&[rest, &[(*new, *value), (*old, "other")][..]].concat());
        assert_eq!(both.config, with_new.config, "{old}");
        let outdone = format!("{old}: is an older name and has no effect, because {new} is set");
        assert_eq!(warnings(&both), [outdone]);
    }
    for alias in VARIABLES.iter().flat_map(|variable| variable.aliases) {
        let tested = cases.iter().any(|(old, ..)| old == alias);
        assert!(tested || *alias == "REDIS_PORT", "{alias} has no case");
    }
}

#[test]
fn older_host_and_port_make_one_address() {
    for (host, port, address) in [
        ("cache", Some("7000"), Address::new("cache", 7000)),
        ("cache", None, Address::new("cache", 6379)),
        ("cache:7001", None, Address::new("cache", 7001)),
        ("2001:db8::1", Some("7002"), Address::new("2001:db8::1", 7002)),
        ("[2001:db8::1]", None, Address::new("2001:db8::1", 6379)),
        ("redis", Some("tcp://10.0.0.1:6379"), Address::new("redis", 6379)),
        (
            "redis:7003",
            Some("tcp://10.0.0.1:6379"),
            Address::new("redis", 7003),
        ),
    ] {
        let mut variables = vec![("REDIS_HOST", host)];
        variables.extend(port.map(|port| ("REDIS_PORT", port)));
        let loaded = load(&variables);
        let Backend::Valkey(valkey) = &loaded.config.backend else {
            panic!("{}", loaded.config.backend)
        };
        assert_eq!(valkey.topology, Topology::single(address));
        assert_eq!(
            warnings(&loaded),
            ["REDIS_HOST: is an older name, set CACHE_ADDRS instead"]
        );
    }
    let text = problem(&[("REDIS_HOST", "cache"), ("REDIS_PORT", "70000")]);
    assert!(
        text.starts_with("wrong configuration: REDIS_PORT: must be a port"),
        "{text}"
    );
    let text = problem(&[("REDIS_HOST", "redis://:s3cr3t@cache")]);
    assert!(
        text.starts_with("wrong configuration: REDIS_HOST: must be a host name"),
        "{text}"
    );
    assert!(!text.contains("s3cr3t"), "{text}");
}

#[test]
fn redis_leftovers_never_reach_a_valkey_server() {
    let address = ("VALKEY_ADDRESS", "valkey:6379");
    let arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:cache";
    let left = [
        ("REDIS_HOST", "redis"),
        ("REDIS_USERNAME", "old"),
        ("REDIS_PASSWORD", "old"),
        ("REDIS_TLS", "true"),
        ("REDIS_DB", "4"),
        ("REDIS_SECRET_ARN", arn),
    ];
    let alone = load(&[address]);
    let both = load(&[&[address][..], &left].concat());
    assert_eq!(both.config, alone.config);
    let told = left.map(|(name, _)| {
        format!("{name}: is an older name and has no effect, because VALKEY_ADDRESS is set")
    });
    assert_eq!(warnings(&both)[1..], told);
    let file = load(&[address, ("REDIS_PASSWORD_FILE", "/nowhere")]);
    assert_eq!(file.config, alone.config);

    let own = load(&[address, ("VALKEY_PASSWORD", "pw"), ("REDIS_PASSWORD", "old")]);
    assert_eq!(own.config, load(&[address, ("CACHE_PASSWORD", "pw")]).config);
    let mixed = load(&[("CACHE_ADDRS", "valkey:6379"), ("REDIS_PASSWORD", "pw")]);
    assert_ne!(mixed.config, alone.config);
}

#[test]
fn older_names_of_another_backend_only_warn() {
    let memory = ("CACHE_TYPE", "memory");
    let table = ("INSTALLATION_TOKEN_TABLE_NAME", "old");
    let loaded = load(&[memory, ("REDIS_HOST", "old"), ("REDIS_PASSWORD", "old"), table]);
    assert_eq!(loaded.config, CacheConfig::default());
    let expected = ["REDIS_HOST", "REDIS_PASSWORD", "INSTALLATION_TOKEN_TABLE_NAME"]
        .map(|name| format!("{name}: has no effect with CACHE_TYPE=memory"));
    assert_eq!(warnings(&loaded), expected);
    let loaded = load(&[("CACHE_ADDRS", "cache:6379"), table]);
    assert_eq!(
        warnings(&loaded),
        ["INSTALLATION_TOKEN_TABLE_NAME: has no effect with CACHE_ADDRS"]
    );
}
