//! Tests the promises of a keyspace with parts that try to collide.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::MAX_KEY_LEN;
use crate::slot::slot_of;

/// Text of characters with a meaning in a key.
fn text() -> impl Strategy<Value = String> {
    let character = proptest::sample::select(
        &[
            'a', ':', '%', '3', 'A', '{', '}', '@', '+', '~', '#', '*', 'v', '1', 'é',
        ][..],
    );
    proptest::collection::vec(character, 0..5).prop_map(|characters| characters.into_iter().collect())
}

fn parts() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(text(), 0..4)
}

/// The properties that distinguish keyspaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Identity {
    service: String,
    version: u32,
    digest: Option<ConfigDigest>,
    generation: Option<u64>,
    tenant: Option<(String, bool)>,
    tenant_generation: Option<u64>,
}

impl Identity {
    fn keyspace(&self) -> Keyspace {
        let mut builder = Keyspace::builder(&*self.service).wire_version(self.version);
        if let Some(digest) = self.digest {
            builder = builder.digest(digest);
        }
        let mut keys = builder.build().unwrap();
        if let Some(generation) = self.generation {
            keys = keys.generation(generation);
        }
        if let Some((tenant, spread)) = &self.tenant {
            keys = if *spread {
                keys.tenant_spread(tenant)
            } else {
                keys.tenant(tenant)
            }
            .unwrap();
            if let Some(generation) = self.tenant_generation {
                keys = keys.generation(generation);
            }
        }
        keys
    }
}

fn identity() -> impl Strategy<Value = Identity> {
    let name = text().prop_filter("not empty", |name| !name.is_empty());
    let digest = proptest::option::of((0..2_u8).prop_map(|n| ConfigDigest::of([[n]]).unwrap()));
    let generation = || proptest::option::of(0..2_u64);
    let tenant = proptest::option::of((
        text().prop_filter("not empty", |name| !name.is_empty()),
        any::<bool>(),
    ));
    (name, 1..3_u32, digest, generation(), tenant, generation()).prop_map(
        |(service, version, digest, generation, tenant, tenant_generation)| Identity {
            service,
            version,
            digest,
            generation,
            tenant_generation: tenant_generation.filter(|_| tenant.is_some()),
            tenant,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn different_keyspaces_never_share_a_key(all in proptest::collection::vec((identity(), parts()), 2..60)) {
        let mut seen = HashMap::new();
        for named in all {
            let key = named.0.keyspace().key(&named.1);
            if let Some(other) = seen.insert(key.clone(), named.clone()) {
                prop_assert_eq!(other, named, "both are {}", key);
            }
        }
    }

    #[test]
    fn different_lists_never_give_the_same_key(all in proptest::collection::vec(parts(), 2..200)) {
        let keys = Keyspace::new("s").unwrap();
        let mut seen = HashMap::new();
        for list in all {
            let key = keys.key(&list);
            if let Some(other) = seen.insert(key.clone(), list.clone()) {
                prop_assert_eq!(other, list, "both are {}", key);
            }
        }
    }

    #[test]
    fn pattern_matches_only_its_own_tenant(one in identity(), two in identity(), parts in parts()) {
        let (own, other) = (one.keyspace(), two.keyspace());
        let key = own.key(&parts);
        prop_assert!(own.pattern_all().matches(key.as_bytes()));
        prop_assert!(own.pattern_service().matches(key.as_bytes()));
        let one_wildcard_at_the_end = own.prefix() + "*";
        prop_assert_eq!(own.pattern_all().to_string(), one_wildcard_at_the_end);
        if one.tenant.is_some() && two.tenant.is_some() && one.tenant != two.tenant {
            prop_assert!(!other.pattern_all().matches(key.as_bytes()));
        }
        let digests_differ = one.digest.is_some() && two.digest.is_some() && one.digest != two.digest;
        if one.service != two.service || one.version != two.version || digests_differ {
            prop_assert!(!other.pattern_all().matches(key.as_bytes()));
        }
        prop_assert_eq!(other.pattern_all().matches(key.as_bytes()), own.prefix().starts_with(&other.prefix()));
        if one.service != two.service {
            prop_assert!(!other.pattern_service().matches(key.as_bytes()));
        }
        if let Some((tenant, spread)) = &two.tenant {
            let all = if *spread { other.pattern_tenant_spread(tenant) } else { other.pattern_tenant(tenant) }.unwrap();
            prop_assert_eq!(all.matches(key.as_bytes()), one.service == two.service && one.tenant == two.tenant);
        }
    }

    #[test]
    fn tenant_keys_share_the_pinned_slot(one in identity(), lists in proptest::collection::vec(parts(), 1..5)) {
        let keys = one.keyspace();
        if let Some((_, false)) = one.tenant {
            let slot = keys.pattern_all().slot();
            prop_assert!(slot.is_some());
            for list in lists {
                prop_assert_eq!(Some(slot_of(keys.key(&list).as_bytes())), slot);
            }
        } else {
            prop_assert_eq!(keys.pattern_all().slot(), None);
        }
    }

    #[test]
    fn long_keys_are_hashed_within_the_limit_and_differ(lens in proptest::collection::vec(0..700_usize, 1..5), tenant in 1..300_usize) {
        let keys = Keyspace::builder("s".repeat(128))
            .wire_version(u32::MAX)
            .digest(ConfigDigest::of(["x"]).unwrap())
            .max_key_len(Keyspace::MIN_MAX_KEY_LEN)
            .build()
            .unwrap()
            .generation(u64::MAX)
            .tenant(&"t".repeat(tenant))
            .unwrap()
            .generation(u64::MAX);
        let parts: Vec<_> = lens.iter().map(|&len| "p".repeat(len)).collect();
        let mut longer = parts.clone();
        longer.push(String::new());
        let (key, other) = (keys.key(&parts), keys.key(&longer));
        prop_assert!(key.len() <= Keyspace::MIN_MAX_KEY_LEN, "{}", key.len());
        prop_assert_ne!(&key, &other);
        prop_assert!(keys.pattern_all().matches(key.as_bytes()));
        if let Ok(under) = keys.pattern_under(&parts[..1]) {
            prop_assert_eq!(under.matches(key.as_bytes()), parts.len() > 1);
        }
    }
}

/// Compares every keyspace and list of parts, made of words that look like segments, with all others.
#[test]
fn all_small_keyspaces_have_distinct_keys() {
    let words = ["a", "@a", "+1", "{a}", "~", "#", "", "%"];
    let mut lists = vec![vec![]];
    for at in 0.. {
        if lists[at].len() == 3 {
            break;
        }
        lists.extend(words.map(|word| [&lists[at][..], &[word]].concat()));
    }
    let mut seen = HashMap::new();
    for tenant in [
        None,
        Some(("a", false)),
        Some(("a", true)),
        Some(("+1", true)),
        Some(("@a", false)),
    ] {
        for (generation, tenant_generation) in
            [(None, None), (Some(1), None), (None, Some(1)), (Some(1), Some(1))]
        {
            if tenant.is_none() && tenant_generation.is_some() {
                continue;
            }
            let identity = Identity {
                service: "s".into(),
                version: 1,
                digest: None,
                generation,
                tenant: tenant.map(|(name, spread)| (name.to_owned(), spread)),
                tenant_generation,
            };
            let keys = identity.keyspace();
            for list in &lists {
                let key = keys.key(list);
                if let Some(other) = seen.insert(key.clone(), (identity.clone(), list.clone())) {
                    panic!("{key} is both {other:?} and {:?}", (identity, list));
                }
            }
        }
    }
}

#[test]
fn common_keys_are_readable() {
    let billing = Keyspace::new("billing").unwrap();
    assert_eq!(billing.key(["plans"]), "billing:v1:plans");
    assert_eq!(billing.key([] as [&str; 0]), "billing:v1:");
    assert_eq!(
        billing.tenant("acme").unwrap().key(["settings", "eu"]),
        "billing:v1:{acme}:settings:eu"
    );
    assert_eq!(
        billing.tenant_spread("acme").unwrap().key(["x"]),
        "billing:v1:@acme:x"
    );
    let deep = billing.generation(7).tenant("acme").unwrap().generation(2);
    assert_eq!(deep.key(["x"]), "billing:v1:+7:{acme}:+2:x");
    assert_eq!(
        deep.generation(3).key(["x"]),
        "billing:v1:+7:{acme}:+3:x",
        "a generation replaces the former"
    );
    assert_eq!(format!("{deep:?}"), "Keyspace(billing:v1:+7:{acme}:+2:)");
}

#[test]
fn tenant_named_like_a_wildcard_reaches_only_its_keys() {
    let billing = Keyspace::new("billing").unwrap();
    let acme = billing.tenant("acme").unwrap().key(["x"]);
    for name in [
        "*", "?cme", "[a]cme", "a*", "acme}", "{acme}", "}:{acme", "acme}:*", "a%63me",
    ] {
        let odd = billing.tenant(name).unwrap();
        assert!(!odd.pattern_all().matches(acme.as_bytes()), "{name}");
        assert!(
            !billing.pattern_tenant(name).unwrap().matches(acme.as_bytes()),
            "{name}"
        );
        let key = odd.key(["x"]);
        assert!(odd.pattern_all().matches(key.as_bytes()), "{name}");
        assert_eq!(odd.pattern_all().slot(), Some(slot_of(key.as_bytes())), "{name}");
    }
}

#[test]
fn wire_version_patterns_skip_handmade_keys() {
    let billing = Keyspace::new("billing").unwrap();
    let service = billing.pattern_service();
    let (acme, spread) = (
        billing.pattern_tenant("acme").unwrap(),
        billing.pattern_tenant_spread("acme").unwrap(),
    );
    for key in [
        "billing:vat:7",
        "billing:v:7",
        "billing:v",
        "billing:v1",
        "billing:values:{acme}:x",
        "billing:vat:@acme:x",
    ] {
        for pattern in [&service, &acme, &spread] {
            assert!(!pattern.matches(key.as_bytes()), "{pattern} and {key}");
        }
    }
    let digest = ConfigDigest::of(["x"]).unwrap();
    for version in [0, 1, 42, u32::MAX] {
        for builder in [
            Keyspace::builder("billing"),
            Keyspace::builder("billing").digest(digest),
        ] {
            let keys = builder.wire_version(version).build().unwrap();
            for keys in [keys.clone(), keys.generation(3)] {
                let key = keys.key([] as [&str; 0]);
                assert!(service.matches(key.as_bytes()), "{key}");
                let key = keys.tenant("acme").unwrap().key([] as [&str; 0]);
                assert!(
                    service.matches(key.as_bytes()) && acme.matches(key.as_bytes()),
                    "{key}"
                );
                let key = keys.tenant_spread("acme").unwrap().key(["x"]);
                assert!(spread.matches(key.as_bytes()), "{key}");
            }
        }
    }
    // The tag is after a wildcard, so no slot is pinned. The prefix of the keys is known.
    assert_eq!((service.slot(), acme.slot(), spread.slot()), (None, None, None));
    for pattern in [service, acme, spread] {
        assert_eq!(pattern.literal_prefix(), b"billing:v");
        assert!(!pattern.is_broad(), "{pattern}");
    }
}

#[test]
fn another_wire_version_or_digest_is_another_key() {
    let key = |version, digest: &str| {
        let digest = ConfigDigest::of([digest]).unwrap();
        Keyspace::builder("s")
            .wire_version(version)
            .digest(digest)
            .build()
            .unwrap()
            .key(["k"])
    };
    assert_eq!(key(1, "a"), key(1, "a"));
    assert_ne!(key(1, "a"), key(2, "a"));
    assert_ne!(key(1, "a"), key(1, "b"));
}

#[test]
fn missing_digest_fails_closed() {
    let error = Keyspace::builder("s").digest(None).build().unwrap_err();
    assert!(
        matches!(
            error,
            CacheError::InvalidInput {
                argument: "digest",
                ..
            }
        ),
        "{error}"
    );
    assert!(Keyspace::builder("s").require_digest().build().is_err());
    let digest = ConfigDigest::of(["a"]).unwrap();
    assert!(
        Keyspace::builder("s")
            .require_digest()
            .digest(digest)
            .build()
            .is_ok()
    );
    assert!(
        Keyspace::builder("s")
            .digest(digest)
            .require_digest()
            .build()
            .is_ok()
    );
    assert!(
        Keyspace::builder("s")
            .digest(digest)
            .digest(None)
            .build()
            .is_err()
    );
}

#[test]
fn invalid_keyspace_is_refused() {
    assert_eq!(
        Keyspace::new("").unwrap_err().to_string(),
        "invalid service: empty; expected a name of 1 to 128 bytes"
    );
    assert!(Keyspace::new(&"s".repeat(128)).is_ok());
    assert_eq!(
        Keyspace::new(&"s".repeat(129)).unwrap_err().to_string(),
        "invalid service: 129 bytes long when escaped; expected a name of 1 to 128 bytes"
    );
    assert!(Keyspace::builder("s").max_key_len(511).build().is_err());
    assert!(
        Keyspace::builder("s")
            .max_key_len(MAX_KEY_LEN + 1)
            .build()
            .is_err()
    );
    let keys = Keyspace::new("s").unwrap();
    assert!(keys.tenant("").is_err());
    assert!(keys.pattern_tenant("").is_err());
    assert!(keys.tenant("a").unwrap().tenant("b").is_err());
    assert!(keys.pattern_under(["x".repeat(2_000)]).is_err());
}

#[test]
fn long_key_keeps_leading_parts_and_hashes_the_rest() {
    let keys = Keyspace::builder("s").max_key_len(512).build().unwrap();
    let long = "x".repeat(500);
    let key = keys.key(["reports", "2026", &long]);
    assert_eq!(key, format!("s:v1:reports:2026:#{:x}", Sha256::digest(&long)));
    assert!(keys.pattern_under(["reports"]).unwrap().matches(key.as_bytes()));
    assert_ne!(
        key,
        keys.key(["reports", "2026", &key["s:v1:reports:2026:".len()..]])
    );

    let at_the_limit = "x".repeat(512 - "s:v1:".len());
    assert_eq!(keys.key([&at_the_limit]), format!("s:v1:{at_the_limit}"));
    assert!(keys.key([at_the_limit + "x"]).starts_with("s:v1:#"));
}
