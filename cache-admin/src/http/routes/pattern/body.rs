//! The body of `POST` and `DELETE /cache/pattern`: which keys, what is done to them, and how. Not in here: doing it.

use std::ops::RangeInclusive;
use std::time::Duration;

use cache_core::Pattern;
use serde::Deserialize;
use utoipa::ToSchema;

use super::asked::{Asked, MOST, PaceName};
use crate::http::extract::{base64_of, within};
use crate::http::model::TypeName;
use crate::http::problem::{Kind, Problem};
use crate::jobs::{JobOptions, Mode};
use crate::{KeyType, Life, Pace, Selection};

/// What is to be counted or removed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http::routes) struct PatternRequest {
    /// The patterns; a key that matches any of them is meant. Either these or `pattern` has to be given.
    #[schema(min_items = 1, max_items = 1000)]
    patterns: Option<Vec<PatternText>>,
    /// The pattern, if there is one only.
    pattern: Option<PatternText>,
    /// What is done. Default: count; with DELETE: execute.
    #[schema(inline)]
    mode: Option<Mode>,
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

impl PatternRequest {
    /// In one form with what comes as a query; `mode` is what is done if the body does not say.
    pub(super) fn asked(&self, mode: Mode) -> Result<Asked, Problem> {
        let mode = self.mode.unwrap_or(mode);
        Ok(Asked {
            mode,
            confirm: self.confirm.clone(),
            options: self.options(mode)?,
            selection: self.selection()?,
        })
    }

    fn selection(&self) -> Result<Selection, Problem> {
        let wrong = |detail: &'static str| Problem::new(Kind::InvalidBody, detail);
        let given = match (&self.pattern, &self.patterns) {
            (None, None) => return Err(wrong("pattern or patterns is missing")),
            (Some(_), Some(_)) => return Err(wrong("pattern and patterns exclude each other")),
            (Some(pattern), None) => std::slice::from_ref(pattern),
            (None, Some(patterns)) => patterns,
        };
        let patterns = given.iter().map(|pattern| match pattern {
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

    fn options(&self, mode: Mode) -> Result<JobOptions, Problem> {
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
        if mode == Mode::Count {
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
