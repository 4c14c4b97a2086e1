//! `/status`: what the broker did since it started.

use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::App;
use crate::answer::Answer;
use crate::tally::Totals;

/// The counters, and what is behind them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) cache: String,
    /// How many tokens this process remembers for the time when the cache fails.
    pub(crate) remembered: usize,
    #[serde(flatten)]
    pub(crate) totals: Totals,
}

pub(super) async fn show(State(app): State<App>) -> Answer<Status> {
    Answer::new(Status {
        cache: app.cache.to_string(),
        remembered: app.broker.remembered(),
        totals: app.broker.totals(),
    })
}
