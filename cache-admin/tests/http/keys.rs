//! One key, pages of keys, the whole cache.

use std::collections::BTreeSet;

use cache_core::{CacheClient as _, CacheConfig, Ttl};
use serde_json::json;

use crate::asking::Asked;

#[tokio::test]
async fn the_cache_at_one_look_needs_a_scope_and_no_key() {
    let asked = Asked::new().await;
    asked.store(["a".to_owned()]).await;
    let overview = asked.get("lister", "/cache").await;
    overview.is_ok(200);
    assert_eq!(
        (&overview.json["mode"], &overview.json["keys"]),
        (&json!("memory"), &json!(1))
    );
    asked.get("billing", "/cache").await.is_ok(200);
    asked.get("nobody", "/cache").await.is(403, "forbidden");
    asked.get("purger", "/cache").await.is(403, "forbidden");
    asked
        .get("lister", "/cache?value=true")
        .await
        .is(400, "invalid-query");
}

#[tokio::test]
async fn a_value_is_shown_to_those_who_may_see_it_and_ask_for_it() {
    let asked = Asked::new().await;
    for key in ["billing:1", "users:1"] {
        asked
            .stack
            .client
            .set(key, "secret".into(), Ttl::secs(60))
            .await
            .unwrap();
    }
    let without = asked.get("root", "/cache?key=billing:1").await;
    without.is_ok(200);
    assert_eq!(
        (&without.json["key"], &without.json["type"]),
        (&json!("billing:1"), &json!("string"))
    );
    assert!(!without.text.contains("secret"), "{}", without.text);
    let with = asked.get("root", "/cache?key=billing:1&value=true").await;
    assert_eq!(with.json["value"]["text"], "secret");
    asked
        .get("root", "/cache?key=billing:1&value=false")
        .await
        .is_ok(200);
    asked.get("lister", "/cache?key=billing:1").await.is_ok(200);
    asked
        .get("lister", "/cache?key=billing:1&value=true")
        .await
        .is(403, "forbidden");
    // Only what begins with the prefix.
    assert_eq!(
        asked.get("billing", "/cache?key=billing:1&value=true").await.json["value"]["text"],
        "secret"
    );
    asked
        .get("billing", "/cache?key=users:1&value=true")
        .await
        .is(403, "forbidden");
    asked
        .get("billing", "/cache?key=users:1")
        .await
        .is(403, "forbidden");
    asked
        .get("billing", "/cache?key=billing")
        .await
        .is(403, "forbidden");
}

#[tokio::test]
async fn no_more_of_a_value_is_shown_than_the_limit() {
    let asked =
        Asked::with(|builder| builder.limits(cache_admin::http::Limits::default().with_value(3))).await;
    asked
        .stack
        .client
        .set("a", "123456".into(), Ttl::Forever)
        .await
        .unwrap();
    let shown = asked.get("root", "/cache?key=a&value=true").await.json["value"].clone();
    assert_eq!(shown, json!({ "text": "123", "length": 6, "truncated": true }));
}

#[tokio::test]
async fn a_key_is_text_or_base64_and_never_another_one() {
    let asked = Asked::new().await;
    asked
        .store(["a b".to_owned(), "ä".to_owned(), "a+b".to_owned()])
        .await;
    for path in [
        "key=a%20b",
        "key=a+b",
        "key=%C3%A4",
        "key=a%2Bb",
        "key_base64=w6Q",
        "key_base64=w6Q=",
        "key_base64=YSBi",
    ] {
        asked.get("root", &format!("/cache?{path}")).await.is_ok(200);
    }
    asked
        .get("root", "/cache?key=missing")
        .await
        .is(404, "no-such-key");
    asked
        .get("root", "/cache?key_base64=/w==")
        .await
        .is(404, "no-such-key");
    for wrong in [
        "key=%ff",
        "key=%zz",
        "key=",
        "key=a&key=b",
        "key=a&key_base64=YQ",
        "key_base64=!",
        "keys=a",
        "key=a&value=yes",
    ] {
        asked
            .get("root", &format!("/cache?{wrong}"))
            .await
            .is(400, "invalid-query");
    }
}

#[tokio::test]
async fn a_key_is_removed_once_and_by_those_who_may() {
    let asked = Asked::new().await;
    asked.store(["billing:1".to_owned(), "users:1".to_owned()]).await;
    asked
        .delete("lister", "/cache?key=billing:1")
        .await
        .is(403, "forbidden");
    asked
        .delete("purger", "/cache?key=billing:1")
        .await
        .is(403, "forbidden");
    asked
        .delete("billing", "/cache?key=users:1")
        .await
        .is(403, "forbidden");
    assert_eq!(
        asked
            .stack
            .client
            .exists(&["billing:1", "users:1"])
            .await
            .unwrap(),
        2
    );
    for removed in [1, 0] {
        let answer = asked.delete("billing", "/cache?key=billing:1").await;
        answer.is_ok(200);
        assert_eq!(answer.json, json!({ "removed": removed }));
    }
    assert_eq!(
        asked.delete("root", "/cache?key_base64=/w==").await.json["removed"],
        0
    );
    asked.delete("root", "/cache").await.is(400, "invalid-query");
    asked
        .delete("root", "/cache?key=%ff")
        .await
        .is(400, "invalid-query");
    asked
        .delete("root", "/cache?key=a&value=true")
        .await
        .is(400, "invalid-query");
    assert_eq!(asked.stack.client.exists(&["users:1"]).await.unwrap(), 1);
}

#[tokio::test]
async fn pages_hold_every_key_and_what_was_asked_of_it() {
    let asked = Asked::new().await;
    asked
        .store((0..250).map(|number| format!("billing:{number}")))
        .await;
    asked.store(["users:1".to_owned()]).await;
    let mut seen = BTreeSet::new();
    let mut cursor = String::new();
    loop {
        let page = asked
            .get(
                "billing",
                &format!("/cache/keys?pattern=billing:*&limit=20&fields=type,ttl{cursor}"),
            )
            .await;
        page.is_ok(200);
        assert!(page.json["keys"].as_array().unwrap().len() <= 20, "{}", page.text);
        for entry in page.json["keys"].as_array().unwrap() {
            assert_eq!(
                (&entry["type"], &entry["forever"]),
                (&json!("string"), &json!(true))
            );
            seen.insert(entry["key"].as_str().unwrap().to_owned());
        }
        match page.json["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 250);
    asked.get("billing", "/cache/keys").await.is(403, "forbidden");
    asked
        .get("billing", "/cache/keys?pattern=bill*")
        .await
        .is(403, "forbidden");
    asked.get("purger", "/cache/keys").await.is(403, "forbidden");
    asked
        .get("root", "/cache/keys?fields=size")
        .await
        .is(501, "unsupported");
    for wrong in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=-1",
        "fields=value",
        "fields=",
        "pattern=",
        "patern=a",
    ] {
        asked
            .get("root", &format!("/cache/keys?{wrong}"))
            .await
            .is(400, "invalid-query");
    }
}

#[tokio::test]
async fn a_cursor_is_good_for_its_own_question_and_caller_only() {
    let asked = Asked::new().await;
    asked
        .store((0..500).map(|number| format!("billing:{number}")))
        .await;
    let page = asked
        .get("billing", "/cache/keys?pattern=billing:*&limit=1")
        .await;
    let cursor = page.json["cursor"].as_str().unwrap();
    let path = |pattern: &str, cursor: &str| format!("/cache/keys?pattern={pattern}&cursor={cursor}");
    asked.get("billing", &path("billing:*", cursor)).await.is_ok(200);
    asked
        .get("root", &path("billing:*", cursor))
        .await
        .is(400, "invalid-cursor");
    asked
        .get("billing", &path("billing:1*", cursor))
        .await
        .is(400, "invalid-cursor");
    let (start, end) = cursor.split_at(cursor.len() - 1);
    let forged = format!("{start}{}", if end == "A" { "E" } else { "A" });
    for wrong in [&forged, "x", "", &cursor[1..]] {
        asked
            .get("billing", &path("billing:*", wrong))
            .await
            .is(400, "invalid-cursor");
    }
    let elsewhere = Asked::new().await;
    elsewhere
        .get("billing", &path("billing:*", cursor))
        .await
        .is(400, "invalid-cursor");
}

#[tokio::test]
async fn what_stands_before_every_key_is_not_seen() {
    let config = CacheConfig::builder().key_prefix("shop:").build().unwrap();
    let asked = Asked::of(config, |builder| builder).await;
    asked.store(["billing:1".to_owned()]).await;
    asked.get("billing", "/cache?key=billing:1").await.is_ok(200);
    let page = asked.get("billing", "/cache/keys?pattern=billing:*").await;
    assert_eq!(page.json["keys"][0]["key"], "billing:1");
    let counted = asked
        .post(
            "root",
            "/cache/pattern",
            &json!({ "patterns": ["billing:*"], "mode": "dry_run" }),
        )
        .await;
    assert_eq!(
        (&counted.json["progress"]["matched"], &counted.json["sample"][0]),
        (&json!(1), &json!("billing:1"))
    );
    assert_eq!(
        asked.delete("billing", "/cache?key=billing:1").await.json["removed"],
        1
    );
}

#[tokio::test]
async fn limit_is_the_most_keys_of_a_page_at_either_path() {
    let asked = Asked::new().await;
    asked
        .store((0..30).map(|number| format!("billing:{number}")))
        .await;
    for path in ["/cache/keys", "/cache"] {
        let (mut seen, mut pages, mut cursor) = (BTreeSet::new(), 0, String::new());
        loop {
            let page = asked
                .get("billing", &format!("{path}?pattern=billing:*&limit=2{cursor}"))
                .await;
            page.is_ok(200);
            let keys = page.json["keys"].as_array().unwrap();
            assert!(keys.len() <= 2, "{}", page.text);
            assert!(page.json["looked_at"].as_u64().unwrap() >= keys.len() as u64);
            seen.extend(keys.iter().map(|entry| entry["key"].as_str().unwrap().to_owned()));
            pages += 1;
            match page.json["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert!(
            seen.len() == 30 && pages >= 15,
            "{path}: {} in {pages}",
            seen.len()
        );
    }
    asked.get("lister", "/cache?limit=2").await.is_ok(200);
    for path in ["/cache?pattern=bill*", "/cache?limit=2"] {
        asked.get("billing", path).await.is(403, "forbidden");
    }
    asked
        .get("billing", "/cache?pattern=billing:*&cursor=x")
        .await
        .is(400, "invalid-cursor");
    for wrong in [
        "limit=0",
        "key=a&limit=2",
        "key=a&pattern=a*",
        "pattern=a*&value=true",
    ] {
        asked
            .get("root", &format!("/cache?{wrong}"))
            .await
            .is(400, "invalid-query");
    }
}
