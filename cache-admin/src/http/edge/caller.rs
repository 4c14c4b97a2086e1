//! Who asks, and what they may.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use cache_core::Pattern;

use super::RequestId;
use crate::access::{Actor, Denied, Scope};
use crate::http::listener::Peer;
use crate::http::problem::{Kind, Problem};
use crate::jobs::Who;

/// The one who asks, by which request, from where. Extracted from a request that passed the gate.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) request_id: RequestId,
    /// Where the request comes from, where that is known.
    pub(crate) from: Option<String>,
}

impl Caller {
    /// As the history of jobs and the audit log know them.
    pub(crate) fn who(&self) -> Who {
        let who = Who::new(self.actor.name()).with_request_id(self.request_id.as_str());
        match &self.from {
            Some(from) => who.with_from(from),
            None => who,
        }
    }

    /// Refuses what they may do with no key at all.
    pub(crate) fn needs(&self, scope: Scope) -> Result<(), Problem> {
        self.actor.may(scope).map_err(refused)
    }

    /// Refuses what they may not do with every key that begins so.
    pub(crate) fn needs_prefix(&self, scope: Scope, prefix: &[u8]) -> Result<(), Problem> {
        self.actor.may_prefix(scope, prefix).map_err(refused)
    }

    /// Refuses what they may not do with this key.
    pub(crate) fn needs_key(&self, scope: Scope, key: &[u8]) -> Result<(), Problem> {
        self.actor.may_key(scope, key).map_err(refused)
    }

    /// Refuses what they may not do with every key that could match.
    pub(crate) fn needs_pattern(&self, scope: Scope, pattern: &Pattern) -> Result<(), Problem> {
        self.actor.may_pattern(scope, pattern).map_err(refused)
    }
}

fn refused(denied: Denied) -> Problem {
    let scope = denied.scope();
    let problem = Problem::new(Kind::Forbidden, denied.to_string()).with("scope", scope.name());
    let challenge = format!("Bearer realm=\"cache-admin\", error=\"insufficient_scope\", scope=\"{scope}\"");
    match HeaderValue::try_from(challenge) {
        Ok(challenge) => problem.header(header::WWW_AUTHENTICATE, challenge),
        Err(_) => problem,
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let actor = parts.extensions.get::<Actor>().cloned();
        let request_id = parts.extensions.get::<RequestId>().cloned();
        match (actor, request_id) {
            (Some(actor), Some(request_id)) => Ok(Self {
                actor,
                request_id,
                from: parts
                    .extensions
                    .get::<Peer>()
                    .map(|peer| peer.client().to_string()),
            }),
            // A route that was left outside of the gate.
            _ => Err(Problem::internal()),
        }
    }
}
