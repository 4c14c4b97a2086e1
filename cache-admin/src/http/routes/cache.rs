//! `/cache`: the whole cache, one key of it, or a page of keys.

use axum::Json;
use axum::extract::State;
use bytes::Bytes;
use cache_core::{CacheClient as _, CacheError};
use cache_stack::{Foundation, Stack};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::keys::{self, KeyPage, Which};
use crate::access::Scope;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsJson, KeyText, Query};
use crate::http::model::KeyName;
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::http::written::{begun, written};
use crate::jobs::{AuditAction, AuditRecord};
use crate::{Inspection, Overview};

/// Which key, and whether its value is wanted; or which keys.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Look {
    /// The key; without it and without `pattern` the answer is about the whole cache.
    #[param(min_length = 1, max_length = 16_384)]
    key: Option<String>,
    /// The key in base64 of either alphabet, padded or not, where it is no text.
    #[param(min_length = 2, max_length = 21_848, pattern = "^[A-Za-z0-9+/_-]+={0,2}$")]
    key_base64: Option<String>,
    /// Whether the value is shown; needs the scope `value`. At most 64 KiB of it are.
    #[param(default = false)]
    value: Option<bool>,
    /// The pattern of the keys of a page, as of `/cache/keys`.
    #[param(min_length = 1, max_length = 16_384)]
    pattern: Option<String>,
    /// The pattern in base64 of either alphabet, padded or not, where it is no text.
    #[param(min_length = 2, max_length = 21_848, pattern = "^[A-Za-z0-9+/_-]+={0,2}$")]
    pattern_base64: Option<String>,
    /// How many keys a page holds at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u16>,
    /// Where an earlier page of the same pattern ended.
    #[param(min_length = 1, max_length = 16_384)]
    cursor: Option<String>,
}

/// Which key.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct OneKey {
    /// The key. It, or `key_base64`, has to be there.
    #[param(min_length = 1, max_length = 16_384)]
    key: Option<String>,
    /// The key in base64 of either alphabet, padded or not, where it is no text.
    #[param(min_length = 2, max_length = 21_848, pattern = "^[A-Za-z0-9+/_-]+={0,2}$")]
    key_base64: Option<String>,
}

/// The whole cache, one key, or a page of keys.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum CacheAnswer {
    Overview(Box<Overview>),
    Key(Box<KeyAnswer>),
    Keys(Box<KeyPage>),
}

/// What is known of one key.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyAnswer {
    #[serde(flatten)]
    name: KeyName,
    #[serde(flatten)]
    found: Inspection,
}

/// How many keys were removed.
#[derive(Serialize, ToSchema)]
pub(super) struct Removed {
    #[schema(maximum = 1)]
    removed: u64,
}

refusals!(ShowRefusals: Unauthorized, Forbidden, RateLimited, InvalidArgument, InvalidCursor, NoSuchKey, Unsupported, CacheRefused,
    CacheUnavailable);
refusals!(RemoveRefusals: Unauthorized, Forbidden, RateLimited, InvalidArgument, Unsupported, CacheRefused,
    CacheUnavailable);

/// The whole cache at one look; with `key`, one key; with `pattern`, `limit` or `cursor`, a page of keys as of
/// `/cache/keys`. Scope `list`; for a value also `value`.
#[utoipa::path(
    get,
    path = "/cache",
    operation_id = "show_cache",
    tag = "cache",
    params(Look),
    responses((status = 200, description = "The cache, the key, or the page", body = CacheAnswer), ShowRefusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn show(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(look): Query<Look>,
) -> answer!(Result<Json<CacheAnswer>, Problem>) {
    caller.needs(Scope::List)?;
    let key = key_text(look.key.as_deref(), look.key_base64.as_deref());
    let with_value = look.value.unwrap_or(false);
    let about_keys = look.pattern.is_some()
        || look.pattern_base64.is_some()
        || look.limit.is_some()
        || look.cursor.is_some();
    let key = key.bytes()?;
    if about_keys && key.is_some() {
        let detail = "key is one key; pattern, limit and cursor are for pages of keys";
        return Err(Problem::new(Kind::InvalidQuery, detail));
    }
    let Some(key) = key else {
        if with_value {
            return Err(Problem::new(Kind::InvalidQuery, "value needs key or key_base64"));
        }
        if about_keys {
            let which = Which {
                pattern: look.pattern,
                pattern_base64: look.pattern_base64,
                limit: look.limit,
                cursor: look.cursor,
                fields: None,
                partial: None,
            };
            let page = keys::page(&service, &caller, &which).await?;
            return Ok(Json(CacheAnswer::Keys(Box::new(page))));
        }
        let overview = Overview::of(service.stack()).await?;
        return Ok(Json(CacheAnswer::Overview(Box::new(overview))));
    };
    caller.needs_key(Scope::List, &key)?;
    if with_value {
        caller.needs_key(Scope::Value, &key)?;
        let record = AuditRecord::new(&caller.who(), AuditAction::ValueRead).on("key", &key);
        begun(&service, record.result("ok")).await?;
    }
    let most = with_value.then_some(service.limits().value);
    let found = Inspection::of(service.stack(), &whole(service.stack(), &key), most).await?;
    let found = found.ok_or(CacheError::Miss)?;
    Ok(Json(CacheAnswer::Key(Box::new(KeyAnswer {
        name: KeyName::of(&key, ""),
        found,
    }))))
}

/// Removes one key; that it was not there is no error. Scope `invalidate`.
#[utoipa::path(
    delete,
    path = "/cache",
    operation_id = "remove_key",
    tag = "cache",
    params(OneKey),
    responses((status = 200, description = "Whether it was there", body = Removed), RemoveRefusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn remove(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(one): Query<OneKey>,
) -> answer!(Result<Json<Removed>, Problem>) {
    caller.needs(Scope::Invalidate)?;
    let key = key_text(one.key.as_deref(), one.key_base64.as_deref()).required()?;
    caller.needs_key(Scope::Invalidate, &key)?;
    let record = AuditRecord::new(&caller.who(), AuditAction::KeyDelete).on("key", &key);
    begun(&service, record.clone().result("begun")).await?;
    let removed = removed(service.stack(), &key).await;
    written(&service, record, &removed, |record, removed| {
        record.number("removed", *removed)
    })
    .await;
    Ok(Json(Removed { removed: removed? }))
}

fn key_text<'a>(text: Option<&'a str>, base64: Option<&'a str>) -> KeyText<'a> {
    KeyText {
        name: "key",
        kind: Kind::InvalidQuery,
        text,
        base64,
    }
}

/// The key as the servers know it.
fn whole(stack: &Stack, key: &[u8]) -> Bytes {
    [stack.key_prefix().as_bytes(), key].concat().into()
}

async fn removed(stack: &Stack, key: &[u8]) -> Result<u64, CacheError> {
    if let Ok(text) = std::str::from_utf8(key) {
        // Below the guard, which may be told to pass over errors.
        let removed = stack.strict().del(&[text]).await?;
        if stack.near.is_some() {
            // A near tier of this process lets go of it at once; it would hear of it a moment later.
            let _ = stack.client.del(&[text]).await;
        }
        return Ok(removed);
    }
    match &stack.foundation {
        // Its keys are text.
        Foundation::Memory(_) => Ok(0),
        #[cfg(feature = "dynamodb")]
        Foundation::DynamoDb(_) => Ok(0),
        Foundation::Valkey(client) => {
            let unlinked = client.administration().unlink(&[whole(stack, key)]).await;
            unlinked.into_removed()
        }
        _ => Err(CacheError::Unsupported {
            detail: "this backend takes text as keys only".into(),
        }),
    }
}
