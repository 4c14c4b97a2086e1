//! A connection URL as configuration: what it sets, what wins beside it, and that it is never shown.

#![expect(clippy::expect_used, reason = "a test ends where its preparations fail")]

use cache_core::CacheConfig;
use cache_core::config::{Loaded, Origin};

fn vars(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

fn load(variables: &[(&str, &str)]) -> Loaded {
    CacheConfig::from_vars(vars(variables)).expect("the configuration is right")
}

fn problem(variables: &[(&str, &str)]) -> String {
    let error = CacheConfig::from_vars(vars(variables)).expect_err("the configuration is wrong");
    let text = error.to_string();
    assert!(
        !text.contains("s3cr3t") && !format!("{error:?}").contains("s3cr3t"),
        "{text}"
    );
    text.trim_start_matches("wrong configuration: ").to_owned()
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn url_equals_its_separate_settings() {
    let url = load(&[("CACHE_URL", "rediss://app:s3cr3t%21@cache.example:7000/2")]);
    let parts = load(&[
        ("CACHE_ADDRS", "cache.example:7000"),
        ("CACHE_TLS_ENABLED", "true"),
        ("CACHE_USERNAME", "app"),
        ("CACHE_PASSWORD", "s3cr3t!"),
        ("CACHE_DB", "2"),
    ]);
    assert_eq!(url.config, parts.config);
    let cluster = load(&[("CACHE_URL", "valkey://a,b:7001"), ("CACHE_MODE", "cluster")]);
    let parts = load(&[("CACHE_ADDRS", "a:6379,b:7001"), ("CACHE_MODE", "cluster")]);
    assert_eq!(cluster.config, parts.config);
    let sentinels = load(&[("CACHE_URL", "redis+sentinel://:s3cr3t@a,b/main/1")]);
    let parts = load(&[
        ("CACHE_ADDRS", "a:26379,b:26379"),
        ("CACHE_MODE", "sentinel"),
        ("CACHE_SENTINEL_MASTER", "main"),
        ("CACHE_PASSWORD", "s3cr3t"),
        ("CACHE_DB", "1"),
    ]);
    assert_eq!(sentinels.config, parts.config);
}

#[test]
fn url_is_hidden_as_a_secret() {
    let loaded = load(&[("CACHE_URL", "redis://app:s3cr3t@cache")]);
    let shown = format!("{loaded:?} {} {:?}", loaded.config, loaded.config);
    assert!(!shown.contains("s3cr3t"), "{shown}");
    for name in ["CACHE_URL", "CACHE_PASSWORD"] {
        let setting = loaded
            .settings
            .iter()
            .find(|setting| setting.name == name)
            .unwrap();
        assert_eq!(setting.value, "***");
        assert_eq!(setting.origin, Origin::Variable("CACHE_URL".into()));
    }
}

#[test]
fn older_url_is_used_or_warned_about() {
    for name in ["REDIS_URL", "VALKEY_URL", "REDIS_TLS_URL"] {
        let loaded = load(&[(name, "rediss://:s3cr3t@cache")]);
        assert_eq!(
            loaded.config.backend.to_string(),
            "Valkey(single, cache:6379, TLS)"
        );
        assert_eq!(
            warnings(&loaded),
            [format!("{name}: is an older name, set CACHE_URL instead")]
        );
        let memory = load(&[(name, "redis://:s3cr3t@cache"), ("CACHE_TYPE", "memory")]);
        assert_eq!(memory.config, CacheConfig::default());
        assert_eq!(
            warnings(&memory),
            [format!("{name}: has no effect with CACHE_TYPE=memory")]
        );
    }
    let both = load(&[("REDIS_URL", "redis://plain"), ("REDIS_TLS_URL", "rediss://safe")]);
    assert_eq!(both.config.backend.to_string(), "Valkey(single, safe:6379, TLS)");
}

#[test]
fn settings_of_one_server_never_reach_another() {
    let url = ("REDIS_URL", "redis://app:s3cr3t@old/3");
    for address in [
        ("CACHE_ADDRS", "new:6379"),
        ("CACHE_URL", "redis://new"),
        ("VALKEY_ADDRESS", "new:6379"),
        ("REDIS_HOST", "new"),
    ] {
        let loaded = load(&[address, url]);
        assert_eq!(loaded.config, load(&[address]).config, "{}", address.0);
        let outdone = format!(
            "REDIS_URL: is an older name and has no effect, because {} is set",
            address.0
        );
        assert!(warnings(&loaded).contains(&outdone), "{:?}", warnings(&loaded));
    }
    // The address of the environment overrides the URL of the file, and then all of it.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cache.toml");
    std::fs::write(&file, "url = \"redis://:s3cr3t@old\"\n").unwrap();
    let file = ("CACHE_CONFIG_FILE", file.to_str().unwrap());
    let loaded = load(&[file, ("CACHE_ADDRS", "new:6379")]);
    assert_eq!(loaded.config, load(&[("CACHE_ADDRS", "new:6379")]).config);
    assert_eq!(
        warnings(&loaded),
        ["url in the file of CACHE_CONFIG_FILE: has no effect, because CACHE_ADDRS is set"]
    );
    let loaded = load(&[file]);
    assert_eq!(
        loaded.config,
        load(&[("CACHE_URL", "redis://:s3cr3t@old")]).config
    );
}

#[test]
fn contradictions_are_problems() {
    let url = ("CACHE_URL", "redis://app:s3cr3t@cache/3");
    for (other, expected) in [
        (
            ("CACHE_ADDRS", "other:6379"),
            "CACHE_ADDRS: must not be set together with CACHE_URL, which has addresses",
        ),
        (
            ("CACHE_PASSWORD", "s3cr3t2"),
            "CACHE_PASSWORD: must not be set together with CACHE_URL, which has a password",
        ),
        (
            ("CACHE_TLS_ENABLED", "true"),
            "CACHE_TLS_ENABLED: contradicts CACHE_URL, whose scheme asks for no TLS: change one of the two",
        ),
        (
            ("CACHE_DB", "4"),
            "CACHE_DB: must not be set together with CACHE_URL, which has a database",
        ),
        (
            ("CACHE_TYPE", "memory"),
            "CACHE_URL: contradicts CACHE_TYPE=memory",
        ),
        (
            ("CACHE_CA_CERT_BASE64", "s3cr3t"),
            "CACHE_CA_CERT_BASE64: it is neither PEM nor base64",
        ),
    ] {
        let said = problem(&[url, other]);
        assert!(said.starts_with(expected), "{said}");
        assert_eq!(
            said.matches("CACHE_URL: ").count(),
            usize::from(expected.starts_with("CACHE_URL")),
            "{said}"
        );
    }
    let said = problem(&[("REDIS_URL", "redis://:s3cr3t@cache"), ("REDIS_TLS", "true")]);
    assert_eq!(
        said,
        "REDIS_TLS: contradicts REDIS_URL, whose scheme asks for no TLS: use rediss://"
    );
    let said = problem(&[("CACHE_URL", "redis://s3cr3t@cache")]);
    assert!(
        said.starts_with("CACHE_URL: has a user name without a password: write redis://:password@host"),
        "{said}"
    );
}

#[test]
fn wrong_url_is_one_problem_under_its_name() {
    for name in ["CACHE_URL", "REDIS_URL"] {
        let said = problem(&[(name, "redis://:s3c/r3t@cache"), ("CACHE_MODE", "cluster")]);
        assert!(
            said.starts_with(&format!("{name}: a reserved character")),
            "{said}"
        );
        assert_eq!(said.matches(": ").count(), 2, "{said}");
    }
    let said = problem(&[("CACHE_URL", "redis://cache?ssl_cert_reqs=s3cr3t")]);
    assert!(
        said.starts_with("CACHE_URL: its option ssl_cert_reqs is not supported"),
        "{said}"
    );
}

#[test]
fn settings_missing_in_the_url_are_set_by_name() {
    let loaded = load(&[
        ("CACHE_URL", "rediss://cache"),
        ("CACHE_PASSWORD", "pw"),
        ("CACHE_DB", "1"),
    ]);
    let parts = load(&[
        ("CACHE_ADDRS", "cache:6379"),
        ("CACHE_TLS_ENABLED", "true"),
        ("CACHE_PASSWORD", "pw"),
        ("CACHE_DB", "1"),
    ]);
    assert_eq!(loaded.config, parts.config);
    let older = load(&[("REDIS_URL", "redis://cache"), ("REDIS_PASSWORD", "pw")]);
    let again = load(&[("CACHE_URL", "rediss://cache"), ("CACHE_TLS_ENABLED", "yes")]);
    assert_eq!(again.config, load(&[("CACHE_URL", "rediss://cache")]).config);
    assert_eq!(
        older.config,
        load(&[("CACHE_ADDRS", "cache:6379"), ("CACHE_PASSWORD", "pw")]).config
    );
}

#[test]
fn url_in_a_file_is_read_again_with_its_password() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("url");
    std::fs::write(&path, "redis://:s3cr3t@cache\n").unwrap();
    let loaded = load(&[("CACHE_URL_FILE", path.to_str().unwrap())]);
    let cache_core::config::Backend::Valkey(valkey) = &loaded.config.backend else {
        panic!("no server")
    };
    let file = valkey.password_file.as_ref().unwrap();
    assert_eq!(file.variable(), "CACHE_URL_FILE");
}
