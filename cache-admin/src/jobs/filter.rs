//! What has to be true of a job's keys besides their names, as it is shown.

use serde::{Deserialize, Serialize};

use super::job::millis;
use crate::{Life, Selection};

/// What has to be true of a key besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct JobFilter {
    /// It is of one of these types; none is any.
    pub types: Vec<String>,
    /// It never expires.
    pub forever: bool,
    /// It expires after a time between these, in milliseconds.
    pub ttl_ms: Option<Bounds>,
    /// It takes so many bytes.
    pub size: Option<Bounds>,
    /// Nobody has used it for so many milliseconds.
    pub idle_ms: Option<u64>,
}

/// A number between two others, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Bounds {
    /// The least.
    pub min: u64,
    /// The most.
    pub max: u64,
}

impl JobFilter {
    pub(super) fn of(selection: &Selection) -> Self {
        let filter = selection.filter();
        let ttl = match &filter.life {
            Some(Life::Within(range)) => Some(Bounds {
                min: millis(*range.start()),
                max: millis(*range.end()),
            }),
            _ => None,
        };
        Self {
            types: filter.types.iter().map(|kind| kind.name().to_owned()).collect(),
            forever: filter.life == Some(Life::Forever),
            ttl_ms: ttl,
            size: filter.size.as_ref().map(|range| Bounds {
                min: *range.start(),
                max: *range.end(),
            }),
            idle_ms: filter.idle.map(millis),
        }
    }
}
