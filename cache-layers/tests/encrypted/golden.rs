//! Entries that Google's Tink made are read, at every stage of a rotation.

use cache_layers::encrypted::{Migration, StoredForm};
use serde_json::Value;

use crate::rig::Rig;

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hex");
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
        .collect()
}

#[tokio::test]
async fn entry_that_tink_made_is_read() {
    let vectors: Value = serde_json::from_str(include_str!("../keyset/vectors.json")).unwrap();
    let stages = vectors["keysets"].as_object().unwrap();
    assert_eq!(stages.len(), 4);
    for (sealed_at, sealed) in stages {
        let key = String::from_utf8(bytes(&sealed["aad"])).unwrap();
        for (opened_at, opens) in stages {
            let rig = Rig::new(opens["clear"].to_string(), StoredForm::Tink, Migration::Strict).await;
            rig.store_raw(&key, bytes(&sealed["ciphertext"])).await;
            let value = rig.get(&key).await;
            // The first key is disabled at the end; the second is not there at the beginning.
            let is_readable = match (sealed_at.as_str(), opened_at.as_str()) {
                ("st0" | "st1", "st3") | ("st2" | "st3", "st0") => None,
                _ => Some(bytes(&sealed["plaintext"]).into()),
            };
            assert_eq!(value, is_readable, "sealed at {sealed_at}, opened at {opened_at}");
        }
    }
}
