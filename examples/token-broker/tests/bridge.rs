//! Entries shared with a chinmina-bridge: what it stored is used, and what is minted is left where it looks.

use cache_core::{CacheClient as _, CacheClientExt as _, Ttl};
use serde_json::{Value, json};

use super::rig::{MINUTE, Rig};
use crate::broker::Broker;
use crate::profiles::Profiles;

const KEY: &str = "d1gest:profile://organization/acme/profile/packages";

fn profiles() -> Profiles {
    let profiles = json!({ "apps": { "acme-ci": {
        "bridge": { "organization": "acme", "digest": "d1gest" },
        "profiles": {
            "packages": { "repositories": ["*"], "permissions": ["packages:read"] },
            "one": { "repositories": "caller", "permissions": ["contents:read"] },
        },
    } } });
    serde_json::from_value(profiles).unwrap()
}

/// What chinmina-bridge stores, with so much of its validity left.
fn stored(rig: &Rig, valid_minutes: u32, permissions: &Value) -> Value {
    let at =
        std::time::UNIX_EPOCH + cache_layers::WallClock::since_epoch(&rig.clock) + MINUTE * valid_minutes;
    json!({
        "organizationSlug": "acme",
        "profile": "org:packages",
        "repositoryUrl": "https://github.com/acme/web",
        "repositories": { "wildcard": true },
        "permissions": permissions,
        "token": "ghs_of_the_bridge",
        "hashedToken": "4QmU3sVRX6VDF5Q6FQkYFZ6Vt9yWmYbLr1lXlX1mW5o=",
        "expiry": humantime::format_rfc3339_nanos(at).to_string(),
    })
}

async fn given(broker: &Broker) -> String {
    let handed = broker.token("acme-ci", "packages", None).await.unwrap();
    handed.minted.token.expose().to_owned()
}

#[tokio::test(start_paused = true)]
async fn token_of_the_bridge_is_used_and_none_is_minted() {
    let rig = Rig::new();
    let entry = stored(&rig, 40, &json!(["packages:read"]));
    rig.memory.set_json(KEY, &entry, Ttl::Forever).await.unwrap();
    let (broker, _) = rig.process_of(profiles(), 10);
    assert_eq!(given(&broker).await, "ghs_of_the_bridge");
    assert_eq!(rig.upstream.count(), 0);
    rig.until(31 * MINUTE).await;
    given(&broker).await;
    broker.settled().await;
    assert_eq!(
        rig.upstream.count(),
        1,
        "refreshed ten minutes ahead of its own expiry"
    );
    assert_ne!(given(&broker).await, "ghs_of_the_bridge");
}

#[tokio::test(start_paused = true)]
async fn token_with_other_rights_or_too_little_validity_is_not_used() {
    for (valid_minutes, permissions) in [
        (40, json!(["packages:write"])),
        (40, Value::Null),
        (9, json!(["packages:read"])),
    ] {
        let rig = Rig::new();
        let entry = stored(&rig, valid_minutes, &permissions);
        rig.memory.set_json(KEY, &entry, Ttl::Forever).await.unwrap();
        let (broker, _) = rig.process_of(profiles(), 10);
        assert_ne!(given(&broker).await, "ghs_of_the_bridge", "{entry}");
        assert_eq!(rig.upstream.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn minted_token_is_left_where_the_bridge_looks_in_its_form() {
    let rig = Rig::new();
    let (broker, _) = rig.process_of(profiles(), 10);
    let token = given(&broker).await;
    let entry: Value = rig.memory.find_json(KEY).await.unwrap().unwrap();
    assert_eq!(entry["token"], token);
    assert_eq!(entry["profile"], "org:packages");
    assert_eq!(entry["repositories"], json!({ "wildcard": true }));
    assert_eq!(entry["hashedToken"].as_str().map(str::len), Some(44));
    assert!(
        entry["expiry"]
            .as_str()
            .is_some_and(|expiry| expiry.ends_with('Z'))
    );
    let Ttl::After(left) = rig.memory.ttl(KEY).await.unwrap() else {
        panic!("it stays for ever");
    };
    assert!(left <= 45 * MINUTE && left > 44 * MINUTE, "{left:?}");

    broker.token("acme-ci", "one", Some("web")).await.unwrap();
    let key = "d1gest:profile://organization/acme/profile/one/repository/web";
    let entry: Value = rig.memory.find_json(key).await.unwrap().unwrap();
    assert_eq!(entry["repositories"], json!({ "names": ["web"] }));
    assert_eq!(entry["profile"], "org:one/web");
}
