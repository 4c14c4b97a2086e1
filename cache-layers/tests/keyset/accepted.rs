//! What Tink's reader accepts: names in two spellings, enums and ids as texts and numbers, base64 of all kinds.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use cache_core::Secret;
use cache_layers::keyset::{KeyStatus, load};
use serde_json::{Value, json};

use crate::rig::{AES_GCM, bytes, key, key_with, keyset, loaded, material};

/// Loads a keyset that seals as the plain one does.
async fn accept(text: &str) {
    let plain = loaded(&keyset(1, &[key(1)])).await.unwrap();
    let keyset = match load(&Secret::new(text.as_bytes().to_vec()), None).await {
        Ok(keyset) => keyset,
        Err(error) => panic!("{text}: {error}"),
    };
    let sealed = keyset.seal(b"text", b"name").unwrap();
    assert_eq!(plain.open(&sealed, b"name").unwrap(), b"text", "{text}");
}

#[tokio::test]
async fn names_in_camel_case_and_in_snake_case() {
    let text = keyset(1, &[key(1)]).to_string();
    for (camel, snake) in [
        ("primaryKeyId", "primary_key_id"),
        ("keyData", "key_data"),
        ("typeUrl", "type_url"),
        ("keyMaterialType", "key_material_type"),
        ("keyId", "key_id"),
        ("outputPrefixType", "output_prefix_type"),
    ] {
        assert!(text.contains(camel));
        accept(&text.replace(&format!("\"{camel}\""), &format!("\"{snake}\""))).await;
    }
}

#[tokio::test]
async fn enums_as_numbers_and_as_numbers_in_texts() {
    for status in [json!("ENABLED"), json!(1), json!("1"), json!(1.0)] {
        accept(&keyset(1, &[key_with(1, &[("/status", status)])]).to_string()).await;
    }
    for prefix in [json!("TINK"), json!(1), json!("1")] {
        accept(&keyset(1, &[key_with(1, &[("/outputPrefixType", prefix)])]).to_string()).await;
    }
    for kind in [json!("REMOTE"), json!(0), json!(7), Value::Null] {
        accept(&keyset(1, &[key_with(1, &[("/keyData/keyMaterialType", kind)])]).to_string()).await;
    }
}

#[tokio::test]
async fn ids_as_numbers_and_as_decimal_texts() {
    for id in [
        "1", "1.0", "1e0", "10e-1", "\"1\"", "\"01\"", "\"+1\"", "\"1.0\"", "\"1e0\"",
    ] {
        let text = keyset(1, &[key(1)]).to_string();
        accept(&text.replace("\"primaryKeyId\":1", &format!("\"primaryKeyId\":{id}"))).await;
        accept(&text.replace("\"keyId\":1", &format!("\"keyId\":{id}"))).await;
    }
}

#[tokio::test]
async fn the_smallest_and_the_largest_id() {
    for id in [0, u32::MAX] {
        let keyset = loaded(&keyset(id, &[key(id)])).await.unwrap();
        let sealed = keyset.seal(b"text", b"").unwrap();
        assert_eq!(sealed[1..5], id.to_be_bytes());
    }
    let without_ids = key_with(0, &[("/keyId", Value::Null)]);
    let keyset = loaded(&json!({ "key": [without_ids] })).await.unwrap();
    assert_eq!(keyset.primary_key_id(), 0);
}

#[tokio::test]
async fn base64_of_every_alphabet_and_padding() {
    // A key whose base64 has both characters that the alphabets differ in, and padding.
    let value = material(0xfb, 32);
    let plain = loaded(&keyset(0xfb, &[key(0xfb)])).await.unwrap();
    let standard = key(0xfb)["keyData"]["value"].as_str().unwrap().to_owned();
    assert!(standard.contains('+') && standard.ends_with('='), "{standard}");
    let folded = format!("{}\n {}", &standard[..20], &standard[20..]);
    for text in [
        URL_SAFE.encode(&value),
        STANDARD_NO_PAD.encode(&value),
        URL_SAFE_NO_PAD.encode(&value),
        format!("{standard}=="),
        folded,
    ] {
        let keyset = loaded(&keyset(
            0xfb,
            &[key_with(0xfb, &[("/keyData/value", json!(text))])],
        ))
        .await;
        let sealed = keyset.unwrap().seal(b"text", b"").unwrap();
        assert_eq!(plain.open(&sealed, b"").unwrap(), b"text");
    }
}

#[tokio::test]
async fn escapes_in_texts() {
    // Gson, which Tink's Java tools write with, escapes the padding.
    let text = keyset(1, &[key(1)]).to_string();
    accept(&text.replace('=', "\\u003d")).await;
    accept(&text.replace("googleapis.com/", "googleapis.com\\/")).await;
    accept(&text.replace("ENABLED", "\\u0045NABLED")).await;
    accept(&text.replace("\"keyId\"", "\"key\\u0049d\"")).await;
}

#[tokio::test]
async fn white_space_around() {
    accept(&format!("\r\n\t {} \n", keyset(1, &[key(1)]))).await;
}

#[tokio::test]
async fn keys_that_are_not_used_need_not_be_usable() {
    let destroyed = json!({ "keyId": 2, "status": "DESTROYED" });
    let foreign = key_with(
        3,
        &[
            ("/status", json!("DISABLED")),
            ("/keyData/typeUrl", json!("x/y.HmacKey")),
        ],
    );
    let short = key_with(
        4,
        &[
            ("/status", json!("DISABLED")),
            ("/keyData/value", json!(URL_SAFE.encode(material(4, 24)))),
        ],
    );
    let keyset = loaded(&keyset(1, &[key(1), destroyed, foreign, short]))
        .await
        .unwrap();
    assert_eq!(keyset.key_ids().collect::<Vec<_>>(), [1]);
    let status: Vec<_> = keyset
        .info()
        .keys
        .iter()
        .map(|key| (key.id, key.status))
        .collect();
    assert_eq!(
        status,
        [
            (1, KeyStatus::Enabled),
            (2, KeyStatus::Destroyed),
            (3, KeyStatus::Disabled),
            (4, KeyStatus::Disabled)
        ]
    );
}

#[tokio::test]
async fn several_keys_with_one_id() {
    let raw = key_with(2, &[("/outputPrefixType", json!("RAW"))]);
    let disabled = key_with(1, &[("/status", json!("DISABLED"))]);
    let keyset = loaded(&keyset(1, &[disabled, key(1), key(2), key(2), raw]))
        .await
        .unwrap();
    assert_eq!(keyset.key_ids().collect::<Vec<_>>(), [1, 2, 2, 2]);
}

#[tokio::test]
async fn keys_of_16_bytes() {
    let value = json!(URL_SAFE.encode(material(9, 16)));
    let keyset = loaded(&keyset(9, &[key_with(9, &[("/keyData/value", value)])]))
        .await
        .unwrap();
    let sealed = keyset.seal(b"text", b"").unwrap();
    assert_eq!(keyset.open(&sealed, b"").unwrap(), b"text");
}

#[tokio::test]
async fn a_binary_keyset_is_told_from_an_encrypted_one() {
    // Field 1 is absent when the primary's id is 0.
    for id in [0, 1] {
        let mut key_data = vec![0x0a, u8::try_from(AES_GCM.len()).unwrap()];
        key_data.extend(AES_GCM.as_bytes());
        key_data.extend([0x12, 34]);
        key_data.extend(material(id, 32));
        key_data.extend([0x18, 1]);
        let mut key = vec![0x0a, u8::try_from(key_data.len()).unwrap()];
        key.extend(key_data);
        key.extend([0x10, 1, 0x18, id, 0x20, 1]);
        let mut stored = if id == 0 { vec![] } else { vec![0x08, id] };
        stored.extend([0x12, u8::try_from(key.len()).unwrap()]);
        stored.extend(key);
        let keyset = load(&Secret::new(stored), None).await.unwrap();
        assert_eq!(keyset.primary_key_id(), u32::from(id));
        let plain = loaded(&crate::rig::keyset(id.into(), &[crate::rig::key(id.into())]))
            .await
            .unwrap();
        assert_eq!(
            plain.open(&keyset.seal(b"text", b"").unwrap(), b"").unwrap(),
            b"text"
        );
    }
    // An encrypted keyset whose writer noted nothing: field 2 alone.
    let stored = Secret::new(vec![0x12, 6, 1, 2, 3, 4, 5, 6]);
    let error = load(&stored, None).await.unwrap_err().to_string();
    assert!(error.contains("the keyset is encrypted"), "{error}");
}

#[tokio::test]
async fn a_debug_form_shows_ids_and_status() {
    let keyset = load(&bytes(&keyset(1, &[key(1)])), None).await.unwrap();
    let shown = format!("{keyset:?}");
    assert!(
        shown.contains("primary_key_id: 1") && shown.contains("Enabled"),
        "{shown}"
    );
}
