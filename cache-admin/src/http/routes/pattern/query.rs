//! The queries of `DELETE` and `GET /cache/pattern`: a removal and a count, in short. Not in here: doing it.

use cache_core::Pattern;
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked::{Asked, MOST, PaceName};
use crate::http::extract::{KeyText, within};
use crate::http::problem::{Kind, Problem};
use crate::jobs::{JobOptions, Mode};
use crate::{Pace, Selection};

/// A removal, in short.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::http::routes) struct Removal {
    /// The pattern. It, or `pattern_base64`, has to be there, unless there is a body.
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

/// A count, in short.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::http::routes) struct Counting {
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
}

const QUERY: Kind = Kind::InvalidQuery;

fn selection(text: Option<&str>, base64: Option<&str>) -> Result<Selection, Problem> {
    let given = KeyText {
        name: "pattern",
        kind: QUERY,
        text,
        base64,
    };
    Ok(Selection::new(Pattern::new(given.required()?)?))
}

impl Counting {
    /// In one form with what comes as a body.
    pub(super) fn asked(self) -> Result<Asked, Problem> {
        let options = JobOptions {
            rate: within(QUERY, "rate", self.rate, 1..=u32::MAX)?,
            pace: self.pace.map(Pace::from).unwrap_or_default(),
            sample: 0,
            ..JobOptions::default()
        };
        Ok(Asked {
            mode: Mode::Count,
            confirm: None,
            options,
            selection: selection(self.pattern.as_deref(), self.pattern_base64.as_deref())?,
        })
    }
}

impl Removal {
    /// Whether nothing was given.
    pub(super) const fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                pattern: None,
                pattern_base64: None,
                rate: None,
                pace: None,
                max_keys: None,
                confirm: None,
            }
        )
    }

    /// In one form with what comes as a body.
    pub(super) fn asked(self) -> Result<Asked, Problem> {
        let selection = selection(self.pattern.as_deref(), self.pattern_base64.as_deref())?;
        let options = JobOptions {
            rate: within(QUERY, "rate", self.rate, 1..=u32::MAX)?,
            max_keys: within(QUERY, "max_keys", self.max_keys, 1..=MOST)?,
            pace: self.pace.map(Pace::from).unwrap_or_default(),
            ..JobOptions::default()
        };
        Ok(Asked {
            mode: Mode::Execute,
            confirm: self.confirm,
            options,
            selection,
        })
    }
}
