//! One key, looked at closely. Its value is read only where that is asked for, and only so much of it.

mod form;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use cache_core::{CacheClient, CacheError, Ttl};
use cache_stack::{Foundation, Stack};
use cache_valkey::ValkeyClient;
use cache_valkey::admin::KeyType;
use serde::{Deserialize, Serialize};

pub use self::form::{Cipher, Envelope, Form, Holds};

/// What is known of one key. What its server does not tell is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Inspection {
    /// Its slot; missing outside of a cluster.
    pub slot: Option<u16>,
    /// The primary that serves it.
    pub primary: Option<String>,
    /// The type, as the server names it, such as `string`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What is left of its life, in milliseconds; missing where it lives for ever, or that is not told.
    pub ttl_ms: Option<u64>,
    /// Whether it lives for ever.
    pub forever: Option<bool>,
    /// The memory that it takes, with its name, in bytes.
    pub memory_bytes: Option<u64>,
    /// For how many seconds nobody has used it.
    pub idle_seconds: Option<u64>,
    /// How the server holds it, such as `embstr`.
    pub encoding: Option<String>,
    /// What it holds, where that was asked for and it holds bytes.
    pub value: Option<Shown>,
}

/// A value, or the start of one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
#[non_exhaustive]
pub struct Shown {
    /// The bytes, as text where they are text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// The bytes in base64, where they are no text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub base64: Option<String>,
    /// How many bytes the whole value has.
    pub length: u64,
    /// Whether this is less than the whole.
    pub truncated: bool,
    /// The form in which one of our layers stored it. In an envelope, all of the above is about the payload.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub form: Option<Form>,
}

impl Inspection {
    /// Looks at `key`, as the servers know it: with the prefix of the configuration, if there is one. `value` is
    /// how many bytes of what it holds are to be read at most; to read it counts as a use of the key. `None`
    /// where it is not there.
    ///
    /// # Errors
    ///
    /// As any call to the servers. What the user may not ask is missing, and no error, as long as the type or the
    /// life can be had.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn of(stack: &Stack, key: &[u8], value: Option<u32>) -> Result<Option<Self>, CacheError> {
        if key.is_empty() {
            return Err(CacheError::InvalidInput {
                argument: "key",
                reason: "must not be empty".into(),
            });
        }
        match &stack.foundation {
            Foundation::Memory(cache) => Self::of_client(&**cache, "memory".to_owned(), key, value).await,
            Foundation::Valkey(client) => Self::of_servers(client, key, value).await,
            #[cfg(feature = "dynamodb")]
            Foundation::DynamoDb(client) => {
                let table = format!("dynamodb:{}/{}", client.region(), client.table());
                Self::of_client(&**client, table, key, value).await
            }
            _ => Err(CacheError::Unsupported {
                detail: "this backend's keys cannot be looked at".into(),
            }),
        }
    }

    async fn of_servers(
        client: &ValkeyClient,
        key: &[u8],
        value: Option<u32>,
    ) -> Result<Option<Self>, CacheError> {
        let administration = client.administration();
        let Some(found) = administration.inspect(key).await? else {
            return Ok(None);
        };
        let value = match value {
            Some(most) if found.kind.is_none_or(|kind| kind == KeyType::String) => {
                match administration.excerpt(key, form::reach(key, most)).await {
                    Ok(Some(excerpt)) => Some(Shown::of(key, &excerpt.bytes, excerpt.length, most)),
                    // Gone meanwhile.
                    Ok(None) => return Ok(None),
                    Err(CacheError::Rejected { code, .. }) if code == "WRONGTYPE" => None,
                    Err(error) => return Err(error),
                }
            }
            _ => None,
        };
        let (ttl_ms, forever) = life(found.ttl);
        Ok(Some(Self {
            slot: administration.slot_of(key),
            primary: administration.home_of(key).map(|address| address.to_string()),
            kind: found.kind.map(|kind| kind.name().to_owned()),
            ttl_ms,
            forever,
            memory_bytes: found.size,
            idle_seconds: found.idle.map(|idle| idle.as_secs()),
            encoding: found.encoding,
            value,
        }))
    }

    /// By what the contract tells.
    async fn of_client(
        cache: &dyn CacheClient,
        place: String,
        key: &[u8],
        value: Option<u32>,
    ) -> Result<Option<Self>, CacheError> {
        // Its keys are text.
        let Ok(key) = std::str::from_utf8(key) else {
            return Ok(None);
        };
        let entry = match cache.get_entry(key).await {
            Err(CacheError::Miss) => return Ok(None),
            entry => entry?,
        };
        let (ttl_ms, forever) = life(Some(entry.remaining));
        let shown = |most: u32| {
            let length = u64::try_from(entry.value.len()).unwrap_or(u64::MAX);
            Shown::of(key.as_bytes(), &entry.value, length, most)
        };
        Ok(Some(Self {
            slot: None,
            primary: Some(place),
            kind: Some(KeyType::String.name().to_owned()),
            ttl_ms,
            forever,
            memory_bytes: None,
            idle_seconds: None,
            encoding: None,
            value: value.map(shown),
        }))
    }
}

impl Shown {
    /// At most `most` bytes of an entry of `length` bytes that begins with `start`.
    fn of(key: &[u8], start: &Bytes, length: u64, most: u32) -> Self {
        let (form, bytes, length) = form::opened(key, start, length);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
        let bytes = bytes.slice(..most);
        let truncated = u64::try_from(bytes.len()).is_ok_and(|shown| shown < length);
        let text = text(&bytes, truncated).map(str::to_owned);
        let base64 = text.is_none().then(|| STANDARD.encode(&bytes));
        Self {
            text,
            base64,
            length,
            truncated,
            form,
        }
    }
}

/// `bytes` as text; of a value that was cut short, without the character that the cut went through.
fn text(bytes: &[u8], truncated: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if truncated && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

fn life(life: Option<Ttl>) -> (Option<u64>, Option<bool>) {
    let millis = |life: Duration| u64::try_from(life.as_millis()).unwrap_or(u64::MAX);
    match life {
        None => (None, None),
        Some(Ttl::After(life)) => (Some(millis(life)), Some(false)),
        Some(_) => (None, Some(true)),
    }
}

impl std::fmt::Debug for Shown {
    /// Shows how much there is, never what.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shown")
            .field("length", &self.length)
            .field("truncated", &self.truncated)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cache_core::CacheConfig;

    use super::*;

    #[tokio::test]
    async fn a_value_is_shown_on_request_only_and_never_more_of_it_than_asked_for() {
        let stack = cache_stack::assemble(&CacheConfig::default()).await.unwrap();
        let stored = stack.client.set("key", "grün".into(), Ttl::secs(60));
        stored.await.unwrap();
        let look = async |value| Inspection::of(&stack, b"key", value).await.unwrap().unwrap();
        let without = look(None).await;
        assert_eq!((without.value, without.forever), (None, Some(false)));
        assert!(without.ttl_ms.is_some_and(|left| left <= 60_000));
        // The cut goes through the two bytes of the third character.
        let cut = look(Some(3)).await.value.unwrap();
        assert_eq!(
            (cut.text.as_deref(), cut.truncated, cut.length),
            (Some("gr"), true, 5)
        );
        let whole = look(Some(100)).await.value.unwrap();
        assert_eq!((whole.text.as_deref(), whole.truncated), (Some("grün"), false));
        assert!(!format!("{whole:?}").contains("grün"));
        assert_eq!(Inspection::of(&stack, b"other", None).await.unwrap(), None);
        assert!(Inspection::of(&stack, b"", None).await.is_err());
    }

    #[test]
    fn what_is_no_text_is_base64() {
        let shown = Shown::of(b"k", &Bytes::from_static(b"\xff\x00"), 2, 9);
        let json = serde_json::to_string(&shown).unwrap();
        assert_eq!(json, r#"{"base64":"/wA=","length":2,"truncated":false}"#);
        // Cut or not, a byte that begins nothing is no text.
        assert_eq!(text(b"a\xff", true), None);
        assert_eq!(text(b"a\xc3", true), Some("a"));
        assert_eq!(text(b"a\xc3", false), None);
    }
}
