//! Thousands of changed keysets, judged by Tink and by ours.
//!
//! What Tink refuses, ours refuses. What Tink accepts, ours accepts, but for the deviations that the documentation of
//! `cache_layers::keyset` lists, each recognised by its reason.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::Secret;
use cache_layers::keyset::{KeysetForm, load};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

use crate::tink::{Stored, Tink};

/// Reasons for which ours refuses what Tink accepts.
const DEVIATIONS: [&str; 7] = [
    "must be base64",
    "is given twice",
    "must be an integer",
    "must be one of",
    "must be an object",
    "is not ENABLED, DISABLED or DESTROYED",
    "it is neither JSON nor a binary keyset",
];

/// How both judged.
#[derive(Debug, Default)]
struct Verdicts {
    both_accept: usize,
    both_refuse: usize,
    deviations: BTreeMap<&'static str, usize>,
}

async fn judge(tink: &mut Tink, bytes: Vec<u8>, form: KeysetForm, verdicts: &mut Verdicts) -> Result<()> {
    let stored = Stored {
        bytes,
        form,
        kek: None,
    };
    let theirs = tink.seal(&stored, b"text", b"name").await?;
    let ours = load(&Secret::new(stored.bytes.clone()), None).await;
    let shown = String::from_utf8_lossy(&stored.bytes);
    match (theirs, ours) {
        (Ok(sealed), Ok(keyset)) => {
            assert_eq!(
                keyset.open(&sealed, b"name").as_deref(),
                Ok(&b"text"[..]),
                "{shown}"
            );
            let sealed = keyset.seal(b"text", b"name")?;
            let opened = tink.open(&stored, &sealed, b"name").await?;
            assert_eq!(opened.as_deref(), Ok(&b"text"[..]), "{shown}");
            verdicts.both_accept += 1;
        }
        (Err(_), Err(_)) => verdicts.both_refuse += 1,
        (Err(theirs), Ok(_)) => panic!("only Tink refuses, with {theirs}: {shown}"),
        (Ok(_), Err(ours)) => {
            let reason = ours.to_string();
            let Some(known) = DEVIATIONS.iter().find(|known| reason.contains(**known)) else {
                panic!("only ours refuses, with {reason}: {shown}");
            };
            *verdicts.deviations.entry(known).or_default() += 1;
        }
    }
    Ok(())
}

fn key(id: u32, len: u8) -> Value {
    let mut material = vec![0x1a, len];
    material.extend((0..len).map(|at| at.wrapping_mul(37) ^ id.to_be_bytes()[3]));
    json!({
        "keyData": {
            "typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey",
            "value": STANDARD.encode(material),
            "keyMaterialType": "SYMMETRIC",
        },
        "status": "ENABLED",
        "keyId": id,
        "outputPrefixType": "TINK",
    })
}

fn keyset() -> Value {
    let mut disabled = key(3, 32);
    disabled["status"] = "DISABLED".into();
    let mut raw = key(4, 16);
    raw["outputPrefixType"] = "RAW".into();
    json!({ "primaryKeyId": 1, "key": [key(1, 32), key(2, 16), disabled, raw] })
}

/// What stands in a field in place of what should.
fn values() -> Vec<Value> {
    let mut values = vec![
        Value::Null,
        json!([]),
        json!({}),
        json!(""),
        json!(true),
        json!("x"),
    ];
    for number in [-1_i64, 0, 1, 2, 3, 4, 5, 6, 24, 1 << 31, (1 << 32) - 1, 1 << 32] {
        values.push(json!(number));
        values.push(json!(number.to_string()));
    }
    for text in [
        "1.0",
        "1e0",
        "01",
        "+1",
        " 1",
        "1_0",
        "NaN",
        "ENABLED",
        "DISABLED",
        "DESTROYED",
        "UNKNOWN_STATUS",
        "TINK",
        "LEGACY",
        "CRUNCHY",
        "RAW",
        "UNKNOWN_PREFIX",
        "WITH_ID_REQUIREMENT",
        "SYMMETRIC",
        "REMOTE",
        "enabled",
        "type.googleapis.com/google.crypto.tink.HmacKey",
        "GiA",
        "GhA-_-_-_-_-_-_-_-_-_-_w",
    ] {
        values.push(json!(text));
    }
    values.extend([json!(1.0), json!(1.5), json!(2.0)]);
    for (version, len) in [(0_u8, 0_u8), (0, 15), (0, 16), (0, 24), (0, 32), (1, 32)] {
        let mut material = if version == 0 { vec![] } else { vec![0x08, version] };
        material.extend([0x1a, len]);
        material.extend((0..len).map(|at| at.wrapping_mul(91)));
        values.push(json!(STANDARD.encode(&material)));
        values.push(json!(STANDARD.encode(&material).trim_end_matches('=')));
    }
    values
}

const NAMES: [&str; 16] = [
    "primaryKeyId",
    "primary_key_id",
    "key",
    "keyData",
    "key_data",
    "typeUrl",
    "type_url",
    "value",
    "keyMaterialType",
    "key_material_type",
    "status",
    "keyId",
    "key_id",
    "outputPrefixType",
    "output_prefix_type",
    "x",
];

/// A random place in a keyset is changed: a value, a name, a field more or less, a key more or less.
fn change(keyset: &mut Value, values: &[Value], rng: &mut StdRng) {
    let key = rng.random_range(0..4_usize);
    let inner = rng.random_bool(0.4);
    if rng.random_bool(0.1) {
        if let Some(keys) = keyset["key"].as_array_mut().filter(|keys| !keys.is_empty()) {
            let at = rng.random_range(0..keys.len());
            match rng.random_range(0..3) {
                0 => drop(keys.remove(at)),
                1 => keys.push(keys[at].clone()),
                _ => keys[at] = values.choose(rng).cloned().unwrap_or_default(),
            }
        }
        return;
    }
    let object: Option<&mut Map<String, Value>> = if rng.random_bool(0.2) {
        keyset.as_object_mut()
    } else if inner {
        keyset["key"]
            .get_mut(key)
            .and_then(|key| key.get_mut("keyData"))
            .and_then(Value::as_object_mut)
    } else {
        keyset["key"].get_mut(key).and_then(Value::as_object_mut)
    };
    let Some(object) = object else { return };
    let names: Vec<String> = object.keys().cloned().collect();
    let Some(name) = names.choose(rng) else { return };
    let other = NAMES.choose(rng).copied().unwrap_or("x");
    match rng.random_range(0..10) {
        0 => drop(object.remove(name)),
        1 => drop(object.insert(other.to_owned(), values.choose(rng).cloned().unwrap_or_default())),
        2 => {
            let value = object.remove(name).unwrap_or_default();
            object.insert(other.to_owned(), value);
        }
        _ => drop(object.insert(name.clone(), values.choose(rng).cloned().unwrap_or_default())),
    }
}

#[tokio::test]
async fn a_changed_json_keyset_is_judged_as_tink_does() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("a_changed_json_keyset_is_judged_as_tink_does").await? else {
        return Ok(());
    };
    let mut verdicts = Verdicts::default();
    let values = values();
    // Every value in every field, of a key that is primary, enabled or disabled.
    for value in &values {
        for pointer in ["/primaryKeyId", "/key", "/key/0", "/key/2"] {
            let mut changed = keyset();
            if let Some(place) = changed.pointer_mut(pointer) {
                *place = value.clone();
            }
            judge(
                &mut tink,
                changed.to_string().into_bytes(),
                KeysetForm::Json,
                &mut verdicts,
            )
            .await?;
        }
        for key in 0..3 {
            for field in [
                "keyData",
                "status",
                "keyId",
                "outputPrefixType",
                "keyData/typeUrl",
                "keyData/value",
                "keyData/keyMaterialType",
            ] {
                let mut changed = keyset();
                if let Some(place) = changed.pointer_mut(&format!("/key/{key}/{field}")) {
                    *place = value.clone();
                }
                judge(
                    &mut tink,
                    changed.to_string().into_bytes(),
                    KeysetForm::Json,
                    &mut verdicts,
                )
                .await?;
            }
        }
    }
    // Several random changes at once.
    let mut rng = StdRng::seed_from_u64(8);
    for _ in 0..3_000 {
        let mut changed = keyset();
        for _ in 0..rng.random_range(1..4) {
            change(&mut changed, &values, &mut rng);
        }
        judge(
            &mut tink,
            changed.to_string().into_bytes(),
            KeysetForm::Json,
            &mut verdicts,
        )
        .await?;
    }
    eprintln!("{verdicts:?}");
    assert!(
        verdicts.both_accept > 500 && verdicts.both_refuse > 500,
        "{verdicts:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_json_keyset_with_a_changed_character_is_judged_as_tink_does() -> Result<()> {
    let Some(mut tink) =
        Tink::start_or_skip("a_json_keyset_with_a_changed_character_is_judged_as_tink_does").await?
    else {
        return Ok(());
    };
    let mut verdicts = Verdicts::default();
    let mut rng = StdRng::seed_from_u64(8);
    let text = json!({ "primaryKeyId": 1, "key": [key(1, 16)] }).to_string();
    for at in 0..text.len() {
        for character in [
            '"', '}', ',', '1', '-', '=', '\\', ' ', '\n', 'Z', 'e', '\u{e9}', '\u{1}',
        ] {
            // Not all of them: each takes Tink half a millisecond.
            if rng.random_bool(0.5) {
                let mut changed = text.clone();
                changed.replace_range(at..=at, character.encode_utf8(&mut [0; 4]));
                judge(&mut tink, changed.into_bytes(), KeysetForm::Json, &mut verdicts).await?;
            }
        }
    }
    eprintln!("{verdicts:?}");
    assert!(
        verdicts.both_accept > 40 && verdicts.both_refuse > 500,
        "{verdicts:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_changed_binary_keyset_is_judged_as_tink_does() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("a_changed_binary_keyset_is_judged_as_tink_does").await? else {
        return Ok(());
    };
    let mut verdicts = Verdicts::default();
    let mut rng = StdRng::seed_from_u64(8);
    let stored = tink
        .make(
            &["AES256_GCM", "AES128_GCM", "AES256_GCM_RAW"],
            KeysetForm::Binary,
            None,
        )
        .await?;
    for at in 0..stored.bytes.len() {
        for bit in 0..8 {
            let mut changed = stored.bytes.clone();
            changed[at] ^= 1 << bit;
            judge(&mut tink, changed, KeysetForm::Binary, &mut verdicts).await?;
        }
        judge(
            &mut tink,
            stored.bytes[..at].to_vec(),
            KeysetForm::Binary,
            &mut verdicts,
        )
        .await?;
    }
    for _ in 0..1_000 {
        let mut changed = stored.bytes.clone();
        for _ in 0..rng.random_range(2..5) {
            let at = rng.random_range(0..changed.len());
            changed[at] = *[
                0, 1, 2, 3, 4, 5, 8, 0x0a, 0x10, 0x12, 0x1a, 0x20, 0x7f, 0x80, 0xff,
            ]
            .choose(&mut rng)
            .unwrap_or(&0);
        }
        judge(&mut tink, changed, KeysetForm::Binary, &mut verdicts).await?;
    }
    eprintln!("{verdicts:?}");
    assert!(
        verdicts.both_accept > 500 && verdicts.both_refuse > 200,
        "{verdicts:?}"
    );
    Ok(())
}
