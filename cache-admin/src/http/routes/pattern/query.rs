//! The query of `DELETE /cache/pattern`: a removal, in short. Not in here: doing it.

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

impl Removal {
    /// In one form with what comes as a body.
    pub(super) fn asked(self) -> Result<Asked, Problem> {
        const QUERY: Kind = Kind::InvalidQuery;
        let given = KeyText {
            name: "pattern",
            kind: QUERY,
            text: self.pattern.as_deref(),
            base64: self.pattern_base64.as_deref(),
        };
        let selection = Selection::new(Pattern::new(given.required()?)?);
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
