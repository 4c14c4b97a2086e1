//! `/cache/keys`: pages of keys.

use axum::Json;
use axum::extract::State;
use cache_core::Ttl;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access::Scope;
use crate::http::document::{answer, refusals};
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsJson, KeyText, Query, within};
use crate::http::model::{KeyName, TypeName};
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::paging::{Listed, PageRequest};
use crate::seal::CursorScope;
use crate::{KeyAttributes, Selection};

/// Which keys, and where the page begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// The pattern of the keys: *, ?, [abc], [^abc], and \ before a byte that means itself. Without one, all keys.
    #[param(min_length = 1, max_length = 16_384)]
    pub(super) pattern: Option<String>,
    /// The pattern in base64 of either alphabet, padded or not, where it is no text.
    #[param(min_length = 2, max_length = 21_848, pattern = "^[A-Za-z0-9+/_-]+={0,2}$")]
    pub(super) pattern_base64: Option<String>,
    /// How many keys a page holds at most; often it holds fewer, or none. It holds more only if the keys changed right
    /// where the page before ended.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: Option<u16>,
    /// Where an earlier page of the same pattern ended.
    #[param(min_length = 1, max_length = 16_384)]
    pub(super) cursor: Option<String>,
    /// What is told of each key, in any order with commas between: ttl, type, size.
    #[param(pattern = "^(ttl|type|size)(,(ttl|type|size)){0,2}$")]
    pub(super) fields: Option<String>,
    /// Whether slots that cannot be listed are passed over and told of, in place of an error.
    #[param(default = false)]
    pub(super) partial: Option<bool>,
}

/// A page of keys.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyPage {
    keys: Vec<KeyEntry>,
    /// Where the next page begins; null at the end. Good for an hour, for the same actor and pattern.
    #[schema(required)]
    cursor: Option<String>,
    /// About how many keys the servers looked at for this page; never fewer than it holds.
    looked_at: u64,
    /// Whether this or an earlier page passed over slots.
    partial: bool,
    /// The slots that this page passed over, first and last.
    gaps: Vec<[u16; 2]>,
}

/// A key.
#[derive(Serialize, ToSchema)]
pub(super) struct KeyEntry {
    #[serde(flatten)]
    name: KeyName,
    /// What it holds.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    kind: Option<TypeName>,
    /// What is left of its life, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ttl_ms: Option<u64>,
    /// Whether it lives for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    forever: Option<bool>,
    /// The memory that it takes, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    size: Option<u64>,
}

refusals!(Refusals: Unauthorized, Forbidden, RateLimited, InvalidArgument, InvalidCursor, Unsupported, CacheRefused,
    CacheUnavailable);

/// A page of the keys that match, over all primaries. A key that is there from the first page to the last is on at
/// least one of them. Nothing is kept between pages, and the work for each is bounded. Scope `list` for all that the
/// pattern could match.
#[utoipa::path(
    get,
    path = "/cache/keys",
    operation_id = "list_keys",
    tag = "cache",
    params(Which),
    responses((status = 200, description = "A page", body = KeyPage), Refusals),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn list(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(which): Query<Which>,
) -> answer!(Result<Json<KeyPage>, Problem>) {
    Ok(Json(page(&service, &caller, &which).await?))
}

/// The page.
pub(super) async fn page(service: &Service, caller: &Caller, which: &Which) -> Result<KeyPage, Problem> {
    let given = KeyText {
        name: "pattern",
        kind: Kind::InvalidQuery,
        text: which.pattern.as_deref(),
        base64: which.pattern_base64.as_deref(),
    };
    let pattern = given.pattern_or_all()?;
    caller.needs_pattern(Scope::List, &pattern)?;
    let limit = which.limit.map(usize::from);
    let limit = within(Kind::InvalidQuery, "limit", limit, 1..=PageRequest::MAX_LIMIT)?.unwrap_or(100);
    let prefix = service.stack().key_prefix();
    let selection = Selection::new(pattern.within(prefix)?);
    let traits = traits(which.fields.as_deref())?;
    let cache = service.bound_to(service.cache().await?);
    let scope = CursorScope {
        selection: &selection,
        cache: &cache,
        prefixes: caller.actor.prefixes(Scope::List),
    };
    let mut request = PageRequest::new(&selection)
        .with_limit(limit)
        .with_traits(traits)
        .past_gaps(which.partial.unwrap_or(false));
    if let Some(cursor) = &which.cursor {
        let position = scope
            .open(service.sealer(), cursor)
            .map_err(|why| Problem::new(Kind::InvalidCursor, format!("the cursor is not accepted: {why}")))?;
        request = request.at(position);
    }
    let page = service.engine().page(&request).await?;
    Ok(KeyPage {
        keys: page
            .keys
            .iter()
            .map(|listed| KeyEntry::of(listed, prefix))
            .collect(),
        cursor: page.next.map(|position| scope.seal(service.sealer(), &position)),
        looked_at: page.looked_at,
        partial: page.is_partial,
        gaps: page
            .gaps
            .ranges()
            .iter()
            .map(|range| [*range.start(), *range.end()])
            .collect(),
    })
}

impl KeyEntry {
    fn of(listed: &Listed, prefix: &str) -> Self {
        let known = &listed.description;
        Self {
            name: KeyName::of(&listed.key, prefix),
            kind: known.kind.map(TypeName::from),
            ttl_ms: match known.ttl {
                Some(Ttl::After(left)) => Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
                _ => None,
            },
            forever: known.ttl.map(|life| life == Ttl::Forever),
            size: known.size,
        }
    }
}

fn traits(fields: Option<&str>) -> Result<KeyAttributes, Problem> {
    let mut traits = KeyAttributes::default();
    for field in fields.into_iter().flat_map(|fields| fields.split(',')) {
        match field {
            "ttl" => traits.ttl = true,
            "type" => traits.kind = true,
            "size" => traits.size = true,
            _ => {
                return Err(Problem::new(
                    Kind::InvalidQuery,
                    "fields: has to be of ttl, type and size, with commas between",
                ));
            }
        }
    }
    Ok(traits)
}
