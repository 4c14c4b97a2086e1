//! `/token?app=APP&profile=PROFILE[&repository=NAME]`: a token, by GET or POST.

use std::time::{Duration, UNIX_EPOCH};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};

use super::App;
use crate::answer::{Answer, Refusal};
use crate::broker::{Handed, Origin};
use crate::token::AccessToken;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    app: String,
    #[serde(default = "Asked::usual_profile")]
    profile: String,
    repository: Option<String>,
}

impl Asked {
    fn usual_profile() -> String {
        "default".to_owned()
    }
}

/// A token and what it is good for.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Shown {
    pub(crate) app: String,
    pub(crate) profile: String,
    pub(crate) repositories: Vec<String>,
    pub(crate) permissions: Vec<String>,
    pub(crate) token: AccessToken,
    /// RFC 3339, in UTC.
    pub(crate) expiry: String,
    /// What is left of its validity, in seconds.
    pub(crate) valid_for: f64,
    /// `cache`, `mint` or `memory`.
    pub(crate) served_from: String,
}

pub(super) async fn show(
    State(app): State<App>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Answer<Shown>, Refusal> {
    let Query(asked) = asked?;
    let handed = app
        .broker
        .token(&asked.app, &asked.profile, asked.repository.as_deref())
        .await?;
    Ok(Answer::new(handed.into()))
}

impl From<Handed> for Shown {
    fn from(handed: Handed) -> Self {
        let Handed {
            order,
            minted,
            valid_for,
            origin,
        } = handed;
        let expiry = UNIX_EPOCH
            .checked_add(Duration::from_millis(minted.expires_ms))
            .unwrap_or(UNIX_EPOCH);
        Self {
            app: order.app,
            profile: order.profile,
            repositories: order.repositories,
            permissions: order.permissions,
            token: minted.token,
            expiry: humantime::format_rfc3339_millis(expiry).to_string(),
            valid_for: (valid_for.as_secs_f64() * 1_000.0).floor() / 1_000.0,
            served_from: match origin {
                Origin::Cache => "cache",
                Origin::Mint => "mint",
                Origin::Memory => "memory",
            }
            .to_owned(),
        }
    }
}
