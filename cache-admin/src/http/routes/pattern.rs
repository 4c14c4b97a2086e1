//! `/cache/pattern`: counting and removing by pattern.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cache_core::Pattern;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::jobs::{not_kept, scope_of};
use crate::http::document::refusals;
use crate::http::edge::Caller;
use crate::http::extract::{AcceptsJson, Body, KeyText, NoQuery, Query, RetryKey, base64_of};
use crate::http::model::TypeName;
use crate::http::problem::{Kind, Problem};
use crate::http::service::Service;
use crate::jobs::{Job, JobOptions, JobRequest, Mode, StartError};
use crate::seal::Confirmation;
use crate::{KeyType, Life, Pace, Selection, escaped};

/// The longest confirmation, in characters: more than any that was given.
const MAX_CONFIRM: usize = 16_384;

/// The longest time that can be named, in milliseconds, and the largest number: what every JSON reader takes.
const MOST: u64 = 9_007_199_254_740_991;

/// What is to be counted or removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatternRequest {
    /// The patterns; a key that matches any of them is meant.
    #[schema(min_items = 1, max_items = 1000)]
    patterns: Vec<PatternText>,
    /// What is done.
    mode: Mode,
    /// Only keys of these types. Default: of any.
    #[schema(max_items = 7)]
    #[serde(default)]
    types: Vec<TypeName>,
    /// Only keys that never expire.
    #[serde(default)]
    forever: bool,
    /// Only keys that expire after a time between these, in milliseconds.
    ttl_ms: Option<Between>,
    /// Only keys that take so many bytes of memory.
    size: Option<Between>,
    /// Only keys that nobody has used for so many milliseconds.
    #[schema(maximum = 9007199254740991_i64)]
    idle_ms: Option<u64>,
    /// How many keys are looked at in a second at most, on all primaries together. Default: no limit but the pace.
    #[schema(minimum = 1, maximum = 4294967295_i64)]
    rate: Option<u32>,
    /// How much of the servers is taken. Default: gentle.
    #[schema(inline)]
    pace: Option<PaceName>,
    /// How many keys are removed at most. Default: no limit.
    #[schema(minimum = 1, maximum = 9007199254740991_i64)]
    max_keys: Option<u64>,
    /// Whether every slot is visited a second time. Default: yes.
    verify: Option<bool>,
    /// For how many milliseconds to try what cannot be reached. Default: 30,000.
    #[schema(maximum = 3600000)]
    patience_ms: Option<u64>,
    /// How many keys a dry run shows. Default: 10.
    #[schema(maximum = 1000)]
    sample: Option<u16>,
    /// What the answer 428 to this same request gave.
    #[schema(max_length = 16384)]
    confirm: Option<String>,
}

/// A pattern: as text, or in base64 where it is no text.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum PatternText {
    Text(PatternString),
    Bytes(PatternBytes),
}

/// A pattern: *, ?, [abc], [^abc], and \ before a byte that means itself.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(min_length = 1, max_length = 65536)]
struct PatternString(String);

/// A pattern in base64 of either alphabet, padded or not.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PatternBytes {
    #[schema(min_length = 2, max_length = 87384, pattern = "^[A-Za-z0-9+/_-]+={0,2}$")]
    base64: String,
}

/// A number between two others, both included.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Between {
    /// The least. Default: 0.
    #[schema(maximum = 9007199254740991_i64)]
    min: Option<u64>,
    /// The most. Default: no limit.
    #[schema(maximum = 9007199254740991_i64)]
    max: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum PaceName {
    Gentle,
    Full,
}

/// A removal, in short.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Removal {
    /// The pattern. It, or `pattern_base64`, has to be there.
    #[param(min_length = 1, max_length = 16_384)]
    pattern: Option<String>,
    /// The pattern in base64 of either alphabet, padded or not, where it is no text.
    #[param(min_length = 2, max_length = 21_848, pattern = "^[A-Za-z0-9+/_-]+={0,2}$")]
    pattern_base64: Option<String>,
    /// How many keys are looked at in a second at most.
    #[param(minimum = 1, maximum = 4294967295_i64)]
    rate: Option<u32>,
    /// How much of the servers is taken. Default: gentle.
    #[param(inline)]
    pace: Option<PaceName>,
    /// How many keys are removed at most.
    #[param(minimum = 1, maximum = 9007199254740991_i64)]
    max_keys: Option<u64>,
    /// What the answer 428 to this same request gave.
    #[param(max_length = 16_384)]
    confirm: Option<String>,
}

refusals!(StartRefusals: Unauthorized, Forbidden, RateLimited, InvalidBody, InvalidHeader, InvalidArgument, RequestTimeout,
    Overlaps, TooLarge, MediaType, KeyReused, Unconfirmed, CacheRefused, CacheUnavailable);
refusals!(RemoveRefusals: Unauthorized, Forbidden, RateLimited, InvalidHeader, InvalidArgument, Overlaps, KeyReused,
    Unconfirmed, CacheRefused, CacheUnavailable);

/// Counts or removes the keys that match, on all primaries at once. A count that ends within 2 seconds is answered at
/// once; all else is a job. Scope `list` for a count and a dry run, `purge` for a removal, for all that the patterns
/// could match.
#[utoipa::path(
    post,
    path = "/cache/pattern",
    operation_id = "start_by_pattern",
    tag = "cache",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same request with the same key is one job",
        min_length = 1, max_length = 255, pattern = "^[!#-\\[\\]-~]+$")),
    request_body = PatternRequest,
    responses(
        (status = 200, description = "The job, which has ended", body = Job),
        (status = 202, description = "The job", body = Job, headers(("Location" = String, description = "Where it is"))),
        StartRefusals,
    ),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn start(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    _: Query<NoQuery>,
    key: RetryKey,
    Body(request): Body<PatternRequest>,
) -> Result<Response, Problem> {
    let asked = Asked {
        mode: request.mode,
        confirm: request.confirm.clone(),
        options: request.options()?,
        selection: request.selection()?,
    };
    asked.start(&service, &caller, key).await
}

/// Removes the keys that match, on all primaries at once, as a job: `POST` with `mode` `execute`, in short. Scope
/// `purge` for all that the pattern could match.
#[utoipa::path(
    delete,
    path = "/cache/pattern",
    operation_id = "remove_by_pattern",
    tag = "cache",
    params(
        Removal,
        ("Idempotency-Key" = Option<String>, Header, description = "The same request with the same key is one job",
            min_length = 1, max_length = 255, pattern = "^[!#-\\[\\]-~]+$"),
    ),
    responses(
        (status = 202, description = "The job", body = Job, headers(("Location" = String, description = "Where it is"))),
        RemoveRefusals,
    ),
    security(("bearer" = []), ("certificate" = [])),
)]
pub(super) async fn remove(
    State(service): State<Service>,
    caller: Caller,
    _: AcceptsJson,
    Query(removal): Query<Removal>,
    key: RetryKey,
) -> Result<Response, Problem> {
    let given = KeyText {
        name: "pattern",
        kind: Kind::InvalidQuery,
        text: removal.pattern.as_deref(),
        base64: removal.pattern_base64.as_deref(),
    };
    let selection = Selection::new(Pattern::new(given.required()?)?);
    let options = JobOptions {
        rate: within(Kind::InvalidQuery, "rate", removal.rate, 1..=u32::MAX)?,
        max_keys: within(Kind::InvalidQuery, "max_keys", removal.max_keys, 1..=MOST)?,
        pace: removal.pace.map(Pace::from).unwrap_or_default(),
        ..JobOptions::default()
    };
    let asked = Asked {
        mode: Mode::Execute,
        confirm: removal.confirm,
        options,
        selection,
    };
    asked.start(&service, &caller, key).await
}

/// What is asked for, in one form.
struct Asked {
    selection: Selection,
    mode: Mode,
    options: JobOptions,
    confirm: Option<String>,
}

impl Asked {
    async fn start(self, service: &Service, caller: &Caller, key: RetryKey) -> Result<Response, Problem> {
        if self
            .confirm
            .as_ref()
            .is_some_and(|confirm| confirm.chars().nth(MAX_CONFIRM).is_some())
        {
            return Err(Problem::new(
                Kind::InvalidArgument,
                format!("confirm: at most {MAX_CONFIRM} characters"),
            ));
        }
        for pattern in self.selection.patterns() {
            caller.needs_pattern(scope_of(self.mode), pattern)?;
        }
        if self.mode == Mode::Execute && self.selection.is_broad() {
            self.confirmed(service, caller)?;
        }
        let mode = self.mode;
        let mut request = JobRequest::new(self.selection, self.mode, caller.who()).with_options(self.options);
        if let RetryKey(Some(key)) = key {
            request = request.with_idempotency_key(key);
        }
        let job = service.jobs().start(request).await?;
        if mode != Mode::Execute {
            let ended = service.jobs().wait(job.id);
            if let Ok(Some(job)) = tokio::time::timeout(service.limits().answer_within, ended).await
                && job.state.is_ended()
            {
                return Ok(Json(job).into_response());
            }
        }
        // Seen from this path, so that it is right wherever the router is mounted.
        let location = [(header::LOCATION, format!("jobs/{}", job.id))];
        let job = service.jobs().get(job.id).unwrap_or(job);
        Ok((StatusCode::ACCEPTED, location, Json(job)).into_response())
    }

    /// Refuses a broad removal that was not confirmed, with what confirms it.
    fn confirmed(&self, service: &Service, caller: &Caller) -> Result<(), Problem> {
        let cache = service.cache();
        // Neither more keys nor another way may be confirmed than was asked about.
        let mode = format!("{} {:?}", self.mode.name(), self.options);
        let confirmation = Confirmation {
            selection: &self.selection,
            mode: &mode,
            cache: &cache,
            actor: caller.actor.name(),
        };
        let detail = match &self.confirm {
            None => {
                "the patterns may match most keys; the same request with this confirm removes them".to_owned()
            }
            Some(token) => match confirmation.check(service.sealer(), token) {
                Ok(()) => return Ok(()),
                Err(why) => {
                    format!("confirm is not accepted: {why}; the same request with this one removes the keys")
                }
            },
        };
        let broad = self
            .selection
            .patterns()
            .iter()
            .filter(|pattern| pattern.is_broad());
        let broad: Vec<String> = broad.map(|pattern| escaped(pattern.as_bytes())).collect();
        Err(Problem::new(Kind::Unconfirmed, detail)
            .with("patterns", broad)
            .with("confirm", confirmation.token(service.sealer()))
            .with("expires_in", Confirmation::LIFE.as_secs()))
    }
}

impl PatternRequest {
    fn selection(&self) -> Result<Selection, Problem> {
        let wrong = |detail: &'static str| Problem::new(Kind::InvalidBody, detail);
        let patterns = self.patterns.iter().map(|pattern| match pattern {
            PatternText::Text(PatternString(text)) => Ok(Pattern::new(text.as_bytes())?),
            PatternText::Bytes(bytes) => match base64_of(&bytes.base64) {
                Some(bytes) => Ok(Pattern::new(bytes)?),
                None => Err(wrong("patterns: no base64, of either alphabet")),
            },
        });
        let patterns: Vec<Pattern> = patterns.collect::<Result<_, Problem>>()?;
        let mut selection = Selection::any_of(patterns)?;
        if !self.types.is_empty() {
            selection = selection.with_types(self.types.iter().copied().map(KeyType::from));
        }
        selection = match (self.forever, self.ttl_ms) {
            (true, Some(_)) => return Err(wrong("forever and ttl_ms exclude each other")),
            (true, None) => selection.with_life(Life::Forever),
            (false, Some(between)) => {
                let range = between.range("ttl_ms")?;
                let millis = |millis: &u64| Duration::from_millis(*millis);
                selection.with_life(Life::Within(millis(range.start())..=millis(range.end())))
            }
            (false, None) => selection,
        };
        if let Some(between) = self.size {
            selection = selection.with_size(between.range("size")?);
        }
        if let Some(idle) = within(Kind::InvalidBody, "idle_ms", self.idle_ms, 0..=MOST)? {
            selection = selection.with_idle(Duration::from_millis(idle));
        }
        Ok(selection)
    }

    fn options(&self) -> Result<JobOptions, Problem> {
        const BODY: Kind = Kind::InvalidBody;
        let mut options = JobOptions {
            rate: within(BODY, "rate", self.rate, 1..=u32::MAX)?,
            max_keys: within(BODY, "max_keys", self.max_keys, 1..=MOST)?,
            pace: self.pace.map(Pace::from).unwrap_or_default(),
            verify: self.verify.unwrap_or(true),
            ..JobOptions::default()
        };
        if let Some(patience) = within(BODY, "patience_ms", self.patience_ms, 0..=3_600_000)? {
            options.patience_ms = patience;
        }
        if let Some(sample) = within(BODY, "sample", self.sample, 0..=1_000)? {
            options.sample = usize::from(sample);
        }
        if self.mode == Mode::Count {
            options.sample = 0;
        }
        Ok(options)
    }
}

impl Between {
    fn range(self, name: &'static str) -> Result<RangeInclusive<u64>, Problem> {
        let (min, max) = (self.min.unwrap_or(0), self.max.unwrap_or(u64::MAX));
        if min > max {
            return Err(Problem::new(
                Kind::InvalidBody,
                format!("{name}: min is more than max"),
            ));
        }
        Ok(min..=max)
    }
}

fn within<T: PartialOrd + std::fmt::Display>(
    kind: Kind,
    name: &'static str,
    number: Option<T>,
    range: RangeInclusive<T>,
) -> Result<Option<T>, Problem> {
    match number {
        Some(number) if !range.contains(&number) => {
            let (least, most) = (range.start(), range.end());
            Err(Problem::new(kind, format!("{name}: has to be {least} to {most}")))
        }
        number => Ok(number),
    }
}

impl From<PaceName> for Pace {
    fn from(name: PaceName) -> Self {
        match name {
            PaceName::Gentle => Self::Gentle,
            PaceName::Full => Self::Full,
        }
    }
}

impl From<StartError> for Problem {
    fn from(error: StartError) -> Self {
        let text = error.to_string();
        match error {
            StartError::Overlaps { job, pattern } => Self::new(Kind::Overlaps, text)
                .with("job", job.to_string())
                .with("pattern", pattern),
            StartError::KeyReused { job } => Self::new(Kind::KeyReused, text).with("job", job.to_string()),
            StartError::Invalid(error) => error.into(),
            StartError::Kept(error) => not_kept(&error),
        }
    }
}
