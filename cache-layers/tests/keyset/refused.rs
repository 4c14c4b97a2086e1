//! What Tink's reader refuses, each with a reason that says where and what.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::rig::{key, key_with, keyset, material, refusal};

async fn refuse(keyset: &Value, reason: &str) {
    refuse_text(&keyset.to_string(), reason).await;
}

async fn refuse_text(text: &str, reason: &str) {
    let said = refusal(text.as_bytes()).await;
    assert!(
        said.contains(reason),
        "{text}\nis refused with\n{said}\nin place of\n{reason}"
    );
}

#[tokio::test]
async fn unknown_fields() {
    refuse(
        &json!({ "primaryKeyId": 1, "key": [key(1)], "x": 1 }),
        "unknown field x, known are primaryKeyId, key",
    )
    .await;
    refuse(
        &keyset(1, &[key_with(1, &[("/comment", Value::Null)])]),
        "key[0]: unknown field comment",
    )
    .await;
    refuse_text(
        &keyset(1, &[key(1)]).to_string().replace("keyId", "KeyId"),
        "unknown field KeyId",
    )
    .await;
    refuse(
        &json!({ "primaryKeyId": 1, "key": [key(1)], "encryptedKeyset": "AAAA" }),
        "unknown field",
    )
    .await;
}

#[tokio::test]
async fn fields_that_are_given_twice() {
    let text = keyset(1, &[key(1)]).to_string();
    let twice = format!("{},\"primaryKeyId\":1}}", &text[..text.len() - 1]);
    refuse_text(&twice, "primaryKeyId is given twice").await;
    refuse_text(
        &twice.replace("primaryKeyId\":1}", "primary_key_id\":1}"),
        "primaryKeyId is given twice",
    )
    .await;
}

#[tokio::test]
async fn a_primary_that_is_missing_disabled_or_destroyed() {
    refuse(
        &keyset(5, &[key(1)]),
        "its primaryKeyId is 5, and it holds no such key",
    )
    .await;
    refuse(&json!({ "key": [key(1)] }), "its primaryKeyId is 0").await;
    for status in ["DISABLED", "DESTROYED"] {
        let primary = key_with(1, &[("/status", json!(status))]);
        refuse(&keyset(1, &[primary, key(2)]), "its primary key 1 is not enabled").await;
    }
}

#[tokio::test]
async fn two_enabled_keys_with_the_primary_id() {
    let raw = key_with(1, &[("/outputPrefixType", json!("RAW"))]);
    refuse(
        &keyset(1, &[key(1), raw]),
        "two of its keys have the primary's id 1",
    )
    .await;
}

#[tokio::test]
async fn no_keys() {
    for empty in [
        json!({}),
        keyset(1, &[]),
        json!({ "primaryKeyId": 1, "key": null }),
    ] {
        refuse(&empty, "it is empty").await;
    }
    refuse(
        &keyset(1, &[key_with(1, &[("/status", json!("DESTROYED"))])]),
        "it is empty",
    )
    .await;
    refuse_text("", "it is empty").await;
    refuse_text(" \n", "it is empty").await;
    refuse(
        &json!({ "encryptedKeyset": "" , "keysetInfo": {} }),
        "ENVELOPE_KEY_URI: is needed",
    )
    .await;
}

#[tokio::test]
async fn keys_of_a_wrong_length_version_or_type() {
    for len in [0, 15, 24, 33] {
        let value = json!(STANDARD.encode(material(1, len)));
        let reason = format!("key 1 has {len} bytes, AES-GCM keys have 16 or 32");
        refuse(&keyset(1, &[key_with(1, &[("/keyData/value", value)])]), &reason).await;
    }
    let mut newer = vec![0x08, 1];
    newer.extend(material(1, 32));
    let value = json!(STANDARD.encode(newer));
    refuse(
        &keyset(1, &[key_with(1, &[("/keyData/value", value)])]),
        "key 1 has version 1, only version 0",
    )
    .await;
    for url in [
        "type.googleapis.com/google.crypto.tink.HmacKey",
        "google.crypto.tink.AesGcmKey",
        "",
    ] {
        let foreign = key_with(1, &[("/keyData/typeUrl", json!(url))]);
        refuse(&keyset(1, &[foreign]), "only AesGcmKey is supported").await;
    }
    let value = json!(STANDARD.encode([0x1a, 200, 1, 2]));
    refuse(
        &keyset(1, &[key_with(1, &[("/keyData/value", value)])]),
        "not a serialized AesGcmKey",
    )
    .await;
}

#[tokio::test]
async fn numbers_that_are_no_ids() {
    for id in [
        "-1",
        "4294967296",
        "1.5",
        "NaN",
        "Infinity",
        "true",
        "\"x\"",
        "\"\"",
        "\" 1\"",
        "\"0x1\"",
        "\"NaN\"",
        "\"1_0\"",
        "[]",
        "{}",
        "1e400",
        "\"-1\"",
        "\"4294967296\"",
    ] {
        let text = keyset(1, &[key(1)]).to_string();
        let said = refusal(text.replace("\"keyId\":1", &format!("\"keyId\":{id}")).as_bytes()).await;
        assert!(
            said.contains("key[0].keyId: must be an integer from 0 to 4294967295")
                || said.contains("not valid JSON"),
            "{id}: {said}"
        );
    }
}

#[tokio::test]
async fn names_that_are_in_no_enum() {
    for status in [
        json!("enabled"),
        json!("WORKING"),
        json!(true),
        json!(1.5),
        json!([]),
        json!("1.0"),
    ] {
        let key = key_with(1, &[("/status", status)]);
        refuse(
            &keyset(1, &[key]),
            "key[0].status: must be one of UNKNOWN_STATUS, ENABLED, DISABLED, DESTROYED",
        )
        .await;
    }
    for status in [
        json!(0),
        json!(4),
        json!(-1),
        Value::Null,
        json!("UNKNOWN_STATUS"),
    ] {
        let key = key_with(1, &[("/status", status)]);
        refuse(
            &keyset(1, &[key]),
            "the status of key 1 is not ENABLED, DISABLED or DESTROYED",
        )
        .await;
    }
    for prefix in [json!(5), json!(6), json!(-1), json!("WITH_ID_REQUIREMENT")] {
        let key = key_with(1, &[("/outputPrefixType", prefix)]);
        refuse(
            &keyset(1, &[key]),
            "the outputPrefixType of key 1 is not TINK, LEGACY, CRUNCHY or RAW",
        )
        .await;
    }
    for prefix in [json!(0), Value::Null] {
        let key = key_with(1, &[("/outputPrefixType", prefix)]);
        refuse(&keyset(1, &[key]), "key 1 has no outputPrefixType").await;
    }
}

#[tokio::test]
async fn values_of_the_wrong_kind() {
    refuse(
        &json!({ "primaryKeyId": 1, "key": key(1) }),
        "key: must be a list",
    )
    .await;
    refuse(
        &json!({ "primaryKeyId": 1, "key": [null] }),
        "key[0]: must be an object",
    )
    .await;
    refuse(
        &json!({ "primaryKeyId": 1, "key": [1] }),
        "key[0]: must be an object",
    )
    .await;
    refuse(
        &keyset(1, &[key_with(1, &[("/keyData", json!("x"))])]),
        "key[0].keyData: must be an object",
    )
    .await;
    refuse(
        &keyset(1, &[key_with(1, &[("/keyData", Value::Null)])]),
        "key 1 has no keyData",
    )
    .await;
    refuse(
        &keyset(1, &[key_with(1, &[("/keyData/value", json!(1))])]),
        "key[0].keyData.value: must be a text",
    )
    .await;
    for value in ["%", "AAAA*AAA", "A", "AA=A"] {
        let key = key_with(1, &[("/keyData/value", json!(value))]);
        refuse(&keyset(1, &[key]), "key[0].keyData.value: must be base64").await;
    }
}

#[tokio::test]
async fn text_that_is_not_json() {
    let text = keyset(1, &[key(1)]).to_string();
    refuse_text(&format!("{text} x"), "not valid JSON at line 1, column").await;
    refuse_text(&text[..text.len() - 1], "not valid JSON").await;
    refuse_text(&text.replace("}]", "},]"), "not valid JSON").await;
    refuse_text(&text.replace('"', "'"), "not valid JSON").await;
    for other in ["[]", "null", "\"x\"", "\u{feff}{}"] {
        refuse_text(other, "neither JSON nor a binary keyset").await;
    }
    let mut not_utf8 = text.into_bytes();
    not_utf8[10] = 0xff;
    assert!(refusal(&not_utf8).await.contains("neither UTF-8 nor binary"));
}
