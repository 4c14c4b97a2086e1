//! What is asked for, whichever way it came: who may, what has to be confirmed, and the job that does it.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::edge::Caller;
use crate::http::extract::RetryKey;
use crate::http::problem::{Kind, Problem};
use crate::http::routes::jobs::{not_kept, scope_of};
use crate::http::service::Service;
use crate::jobs::{JobOptions, JobRequest, Mode, StartError};
use crate::seal::Confirmation;
use crate::{CacheIdentity, Pace, Selection, escaped};

/// The longest confirmation, in characters: more than any that was given.
const MAX_CONFIRM: usize = 16_384;

/// The longest time that can be named, in milliseconds, and the largest number: what every JSON reader takes.
pub(super) const MOST: u64 = 9_007_199_254_740_991;

#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum PaceName {
    Gentle,
    Full,
}

/// What is asked for, in one form.
pub(super) struct Asked {
    pub(super) selection: Selection,
    pub(super) mode: Mode,
    pub(super) options: JobOptions,
    pub(super) confirm: Option<String>,
}

impl Asked {
    /// Starts the job, and waits a little for one that changes nothing.
    pub(super) async fn start(
        self,
        service: &Service,
        caller: &Caller,
        key: RetryKey,
    ) -> Result<Response, Problem> {
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
        let mode = self.mode;
        let mut request =
            JobRequest::new(self.selection.clone(), mode, caller.who()).with_options(self.options.clone());
        if mode == Mode::Execute && self.selection.is_broad() {
            let cache = service.cache().await?;
            let mark = self.confirmed(service, caller, &service.bound_to(cache.clone()))?;
            request = request
                .with_confirmation(mark, Confirmation::LIFE)
                .with_cache(cache);
        }
        if let RetryKey(Some(key)) = key {
            request = request.with_idempotency_key(key);
        }
        let job = match service.jobs().start(request).await {
            Err(error @ StartError::Confirmed { job }) => {
                let cache = service.bound_to(service.cache().await?);
                return Err(self
                    .unconfirmed(service, caller, &cache, Some(&error.to_string()))
                    .with("job", job.to_string()));
            }
            started => started?,
        };
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

    /// Refuses a broad removal that was not confirmed, with what confirms it; else the mark of what did.
    fn confirmed(
        &self,
        service: &Service,
        caller: &Caller,
        cache: &CacheIdentity,
    ) -> Result<String, Problem> {
        let Some(token) = &self.confirm else {
            return Err(self.unconfirmed(service, caller, cache, None));
        };
        self.confirmation(cache, &self.way(), caller)
            .check(service.sealer(), token)
            .map_err(|why| self.unconfirmed(service, caller, cache, Some(&why.to_string())))
    }

    /// What confirms this, and why what came with it does not.
    fn unconfirmed(
        &self,
        service: &Service,
        caller: &Caller,
        cache: &CacheIdentity,
        why: Option<&str>,
    ) -> Problem {
        let mode = self.way();
        let confirmation = self.confirmation(cache, &mode, caller);
        let detail = match why {
            None => {
                "the patterns may match most keys; the same request with this confirm removes them".to_owned()
            }
            Some(why) => {
                format!("confirm is not accepted: {why}; the same request with this one removes the keys")
            }
        };
        let broad = self
            .selection
            .patterns()
            .iter()
            .filter(|pattern| pattern.is_broad());
        let broad: Vec<String> = broad.map(|pattern| escaped(pattern.as_bytes())).collect();
        Problem::new(Kind::Unconfirmed, detail)
            .with("patterns", broad)
            .with("confirm", confirmation.token(service.sealer()))
            .with("expires_in", Confirmation::LIFE.as_secs())
    }

    /// Neither more keys nor another way may be confirmed than was asked about.
    fn way(&self) -> String {
        format!("{} {:?}", self.mode.name(), self.options)
    }

    fn confirmation<'a>(
        &'a self,
        cache: &'a CacheIdentity,
        mode: &'a str,
        caller: &'a Caller,
    ) -> Confirmation<'a> {
        Confirmation {
            selection: &self.selection,
            mode,
            cache,
            actor: caller.actor.name(),
        }
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
            StartError::Confirmed { job } => Self::new(Kind::Unconfirmed, text).with("job", job.to_string()),
            StartError::TooMany { .. } => {
                Self::new(Kind::RateLimited, text).retry_after(std::time::Duration::from_secs(5))
            }
            StartError::OtherCache { .. } => Self::new(Kind::OtherCache, text),
            StartError::Invalid(error) | StartError::Cache(error) => error.into(),
            StartError::Kept(error) => not_kept(&error),
        }
    }
}
