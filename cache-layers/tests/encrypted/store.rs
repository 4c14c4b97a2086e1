//! A keyset store that a test changes, breaks and slows down; and keysets for it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::keyset::{Expected, KeysetStore, StoredKeyset};
use cache_core::{CacheError, Secret};
use tokio::sync::watch;

/// Where the test's keysets are said to be.
pub(crate) const LOCATION: &str = "memory:///keyset.json";

/// What a read of the keyset does.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Keyset(String),
    Fails(CacheError),
    Hangs,
    Panics,
}

/// A store in memory. Clones are the same store.
#[derive(Clone, Debug)]
pub(crate) struct TestStore {
    answer: Arc<Mutex<Answer>>,
    /// How many reads have begun, and how many have come to an end, also by being dropped.
    begun: Arc<watch::Sender<u32>>,
    ended: Arc<watch::Sender<u32>>,
}

impl TestStore {
    pub(crate) fn new(keyset: impl Into<String>) -> Self {
        Self {
            answer: Arc::new(Mutex::new(Answer::Keyset(keyset.into()))),
            begun: Arc::new(watch::Sender::new(0)),
            ended: Arc::new(watch::Sender::new(0)),
        }
    }

    pub(crate) fn answer(&self, answer: Answer) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = answer;
    }

    pub(crate) fn put(&self, keyset: impl Into<String>) {
        self.answer(Answer::Keyset(keyset.into()));
    }

    pub(crate) fn reads(&self) -> u32 {
        *self.begun.borrow()
    }

    pub(crate) fn ended(&self) -> u32 {
        *self.ended.borrow()
    }

    /// Waits until so many reads have begun.
    pub(crate) async fn until_read(&self, reads: u32) {
        let mut begun = self.begun.subscribe();
        begun
            .wait_for(|begun| *begun >= reads)
            .await
            .expect("the store is there");
    }

    /// Waits until so many reads have ended.
    pub(crate) async fn until_ended(&self, reads: u32) {
        let mut ended = self.ended.subscribe();
        ended
            .wait_for(|ended| *ended >= reads)
            .await
            .expect("the store is there");
    }
}

struct Ended<'s>(&'s watch::Sender<u32>);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|ended| *ended += 1);
    }
}

#[async_trait]
impl KeysetStore for TestStore {
    fn location(&self) -> String {
        LOCATION.to_owned()
    }

    async fn read(&self) -> Result<StoredKeyset, CacheError> {
        self.begun.send_modify(|begun| *begun += 1);
        let _ended = Ended(&self.ended);
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match answer {
            Answer::Keyset(keyset) => {
                let bytes = Secret::new(keyset.into_bytes());
                Ok(StoredKeyset::new(bytes, "1", BTreeMap::new()))
            }
            Answer::Fails(error) => Err(error),
            Answer::Hangs => std::future::pending().await,
            Answer::Panics => panic!("the store panics"),
        }
    }

    async fn write(
        &self,
        _: &Secret<Vec<u8>>,
        _: &BTreeMap<String, String>,
        _: Expected<'_>,
    ) -> Result<(), CacheError> {
        unimplemented_write()
    }
}

fn unimplemented_write() -> Result<(), CacheError> {
    Err(CacheError::Unsupported {
        detail: "a service only reads".into(),
    })
}

/// A key of a test's keyset: its id is its material, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TestKey {
    pub(crate) id: u32,
    pub(crate) material: u8,
    pub(crate) status: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) size: usize,
}

/// An enabled key.
pub(crate) const fn key(id: u32) -> TestKey {
    TestKey {
        id,
        // The lowest byte.
        material: id.to_be_bytes()[3],
        status: "ENABLED",
        prefix: "TINK",
        size: 32,
    }
}

impl TestKey {
    pub(crate) const fn disabled(mut self) -> Self {
        self.status = "DISABLED";
        self
    }

    pub(crate) const fn raw(mut self) -> Self {
        self.prefix = "RAW";
        self
    }

    pub(crate) const fn with_material(mut self, material: u8) -> Self {
        self.material = material;
        self
    }

    pub(crate) const fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// The serialized `AesGcmKey`, in base64.
    pub(crate) fn value(&self) -> String {
        let mut value = vec![0x1a, u8::try_from(self.size).expect("a short key")];
        value.extend(std::iter::repeat_n(self.material, self.size));
        STANDARD.encode(value)
    }
}

/// A keyset in clear JSON.
pub(crate) fn keyset(primary: u32, keys: &[TestKey]) -> String {
    let keys: Vec<String> = keys
        .iter()
        .map(|key| {
            format!(
                r#"{{"keyData":{{"typeUrl":"type.googleapis.com/google.crypto.tink.AesGcmKey","value":"{}","keyMaterialType":"SYMMETRIC"}},"status":"{}","keyId":{},"outputPrefixType":"{}"}}"#,
                key.value(),
                key.status,
                key.id,
                key.prefix
            )
        })
        .collect();
    format!(r#"{{"primaryKeyId":{primary},"key":[{}]}}"#, keys.join(","))
}
