//! The keys of a DynamoDB table.
//!
//! In here: the table as one primary. How a walk over it is numbered is in `cursor.rs`, where it has come to in
//! `walks.rs`.

mod cursor;
mod walks;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cache_aws::dynamodb::{DynamoClient, DynamoTable};
use cache_core::{CacheClient as _, CacheError};

use tokio::sync::OnceCell;

use self::walks::Walks;
use crate::CacheIdentity;
use crate::keys::{
    Described, Description, Find, KeyAttributes, KeyType, Keys, Layout, ScanPage, Shard, Unlinked,
};

/// The keys of the table behind a [`DynamoClient`], as those of one primary with the address
/// `dynamodb:<region>/<table>`.
///
/// # What it costs
///
/// DynamoDB has no index of names: a walk reads every item, whatever the pattern, and costs half of a read unit for each
/// 4 KB of the table. A removal walks twice ([`Options::with_verify`](crate::Options::with_verify)), and pays one
/// write unit for each KB that it removes. [`Options::with_rate`](crate::Options::with_rate) spreads that over
/// time. Where whole namespaces have to go at once, bump their generation instead.
///
/// # What is different
///
/// Reads of a walk are eventually consistent: an entry that was stored less than a second before the walk came by may be
/// missed. Entries that have ended are not listed, though DynamoDB deletes them only later. A batch does not say which
/// of its keys were there, so each that was asked for counts as removed. How many keys there are in all is what
/// DynamoDB counted up to six hours ago, entries that have ended included.
#[derive(Clone, Debug)]
pub struct DynamoKeys {
    shard: Arc<Whole>,
}

impl DynamoKeys {
    /// The keys of the table behind `client`.
    #[must_use]
    pub fn new(client: Arc<DynamoClient>) -> Self {
        Self {
            shard: Arc::new(Whole {
                address: format!("dynamodb:{}/{}", client.region(), client.table()),
                table: client.administration(),
                walks: Walks::default(),
                by_name: CacheIdentity::table(format!("{}/{}", client.region(), client.table())),
                by_arn: OnceCell::new(),
                client,
            }),
        }
    }
}

#[async_trait]
impl Keys for DynamoKeys {
    async fn layout(&self) -> Result<Layout, CacheError> {
        self.shard.identify().await?;
        Ok(Layout::Whole(Arc::clone(&self.shard) as Arc<dyn Shard>))
    }

    async fn unlink_anywhere(&self, keys: &[Bytes]) -> Unlinked {
        self.shard.unlink(keys).await
    }

    async fn describe_anywhere(
        &self,
        keys: &[Bytes],
        traits: KeyAttributes,
    ) -> Result<Vec<Option<Description>>, CacheError> {
        let described = self.shard.describe(keys, traits).await?;
        Ok(described.into_iter().map(Described::here).collect())
    }
}

#[derive(Debug)]
struct Whole {
    address: String,
    client: Arc<DynamoClient>,
    table: DynamoTable,
    walks: Walks,
    /// By region and name, if the role may not describe the table.
    by_name: CacheIdentity,
    by_arn: OnceCell<CacheIdentity>,
}

impl Whole {
    /// Asks for the table's ARN, once: a table of the same name in another account has another one.
    async fn identify(&self) -> Result<(), CacheError> {
        let ask = || async {
            match self.table.arn().await {
                Ok(Some(arn)) => Ok(CacheIdentity::table(arn)),
                Ok(None) | Err(CacheError::Denied { .. }) => Ok(self.by_name.clone()),
                Err(error) => Err(error),
            }
        };
        self.by_arn.get_or_try_init(ask).await.map(drop)
    }
}

#[async_trait]
impl Shard for Whole {
    fn address(&self) -> &str {
        &self.address
    }

    fn cache(&self) -> &CacheIdentity {
        self.by_arn.get().unwrap_or(&self.by_name)
    }

    fn start_of(&self, _slot: u16) -> Option<u64> {
        None
    }

    fn slot_at(&self, _cursor: u64) -> Option<u16> {
        None
    }

    async fn scan(&self, cursor: u64, find: Find<'_>) -> Result<ScanPage, CacheError> {
        // Everything in it is bytes.
        if find.kind.is_some_and(|kind| kind != KeyType::String) {
            return Ok(ScanPage::default());
        }
        self.walks.step(self, cursor, find).await
    }

    async fn unlink(&self, keys: &[Bytes]) -> Unlinked {
        // Its keys are text; any other name is one that it does not hold.
        let names: Vec<&str> = keys
            .iter()
            .filter_map(|key| std::str::from_utf8(key).ok())
            .collect();
        let asked = u64::try_from(names.len()).unwrap_or(u64::MAX);
        match self.client.remove(&names).await {
            Ok(()) => Unlinked {
                removed: asked,
                ..Unlinked::default()
            },
            Err((failed, error)) => {
                let failed: Vec<Bytes> = failed.into_iter().map(Bytes::from).collect();
                Unlinked {
                    removed: asked.saturating_sub(u64::try_from(failed.len()).unwrap_or(u64::MAX)),
                    ..Unlinked::failed(failed, error)
                }
            }
        }
    }

    async fn describe(&self, keys: &[Bytes], traits: KeyAttributes) -> Result<Vec<Described>, CacheError> {
        if traits.size || traits.idle {
            return Err(CacheError::Unsupported {
                detail: "DynamoDB does not say what a single key takes or when it was used".into(),
            });
        }
        // A name that is no text is none of its keys.
        let names: Vec<&str> = keys
            .iter()
            .filter_map(|key| std::str::from_utf8(key).ok())
            .collect();
        let mut lives = self.client.ttls(&names).await?.into_iter();
        let describe = |key: &Bytes| {
            let life = std::str::from_utf8(key).ok().and_then(|_| lives.next().flatten());
            life.map_or(Described::Gone, |life| {
                Described::Here(Description {
                    kind: traits.kind.then_some(KeyType::String),
                    ttl: traits.ttl.then_some(life),
                    ..Description::default()
                })
            })
        };
        Ok(keys.iter().map(describe).collect())
    }

    async fn ping(&self) -> Result<(), CacheError> {
        self.client.ping().await
    }

    async fn key_count(&self) -> Result<u64, CacheError> {
        self.table.item_count().await
    }
}
