//! What a job is asked to do, and by whom.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{JobId, Timestamp};
use crate::engine::Checkpoint;
use crate::{CacheIdentity, Options, Pace, Selection};

/// What a job is asked to do, and by whom.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobRequest {
    /// Which keys, as users of the cache know them: what [`JobsConfig::with_key_prefix`] puts before every key
    /// is added here.
    ///
    /// [`JobsConfig::with_key_prefix`]: super::JobsConfig::with_key_prefix
    pub selection: Selection,
    /// What is done to them.
    pub mode: Mode,
    /// How.
    pub options: JobOptions,
    /// Who wants it.
    pub actor: Who,
    /// A text of the actor's own: the same request with the same key is one job, however often it is made.
    pub idempotency_key: Option<String>,
    /// What somebody confirmed it by, and for how long that has to be remembered: it starts one job only.
    pub confirmation: Option<(String, Duration)>,
    /// The cache that somebody confirmed it for. It starts on no other one.
    pub cache: Option<CacheIdentity>,
}

/// What is done to the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub enum Mode {
    /// They are counted.
    Count,
    /// They are counted, and some of them are shown.
    DryRun,
    /// They are removed.
    Execute,
}

/// How a job goes about its work; the same as [`Options`], in a form that can be kept and sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct JobOptions {
    /// How much of the servers it takes: `gentle` or `full`. Default: `gentle`.
    #[cfg_attr(feature = "http", schema(value_type = String))]
    pub pace: Pace,
    /// How many keys it looks at in a second at most. Default: no limit but the pace.
    pub rate: Option<u32>,
    /// How many keys are removed at most. Default: no limit.
    pub max_keys: Option<u64>,
    /// Whether every slot is visited a second time. Default: yes.
    pub verify: bool,
    /// How many milliseconds to wait for what cannot be reached. Default: 30,000.
    pub patience_ms: u64,
    /// How many keys a server looks at per call. Default: 1,000.
    pub page_size: u32,
    /// How many keys a dry run shows, at most 1,000. Default: 10.
    pub sample: usize,
}

/// Who does something, as far as that is known; it is written down as it is, control characters escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "http", derive(utoipa::ToSchema))]
pub struct Who {
    /// The name, such as that of a token or a user; never the token.
    pub name: String,
    /// From where, such as an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The request in which it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// A confirmation that was used up by a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spent {
    pub(super) mark: String,
    /// Afterwards nobody would accept it anyway.
    pub(super) until: Timestamp,
}

/// A request that may come again, in the history of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Repeatable {
    pub(super) key: String,
    /// What was asked for, as a digest.
    pub(super) digest: String,
}

impl JobRequest {
    /// A request with default options and no idempotency key.
    pub fn new(selection: impl Into<Selection>, mode: Mode, actor: Who) -> Self {
        Self {
            selection: selection.into(),
            mode,
            options: JobOptions::default(),
            actor,
            idempotency_key: None,
            confirmation: None,
            cache: None,
        }
    }

    /// How it goes about its work.
    #[must_use]
    pub fn with_options(mut self, options: JobOptions) -> Self {
        self.options = options;
        self
    }

    /// A text under which it is known to be the same request when it comes again.
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// The mark of what somebody confirmed it by. No other job is started with the same mark for at least `life`,
    /// which is as long as it would be accepted.
    #[must_use]
    pub fn with_confirmation(mut self, mark: impl Into<String>, life: Duration) -> Self {
        self.confirmation = Some((mark.into(), life));
        self
    }

    /// The cache that it is meant for. Default: whichever the jobs work on.
    #[must_use]
    pub fn with_cache(mut self, cache: CacheIdentity) -> Self {
        self.cache = Some(cache);
        self
    }

    /// The removal or the count on paper, before it begins.
    pub(super) fn beginning(&self, selection: &Selection) -> Checkpoint {
        Checkpoint::beginning(selection, self.options.verify, self.options.max_keys)
    }

    pub(super) fn repeatable(&self) -> Option<Repeatable> {
        let key = self.idempotency_key.clone()?;
        let asked = (self.beginning(&self.selection), self.mode, &self.options);
        // What can be put into a store can be written.
        let text = serde_json::to_vec(&asked).unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
        let digest = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
        Some(Repeatable {
            key,
            digest: digest.collect(),
        })
    }
}

impl Who {
    /// Somebody of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            from: None,
            request_id: None,
        }
    }

    /// From where.
    #[must_use]
    pub fn with_from(mut self, from: impl Into<String>) -> Self {
        self.from = Some(from.into());
        self
    }

    /// In which request.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }
}

impl JobOptions {
    /// The most keys that a dry run shows.
    pub const MAX_SAMPLE: usize = 1_000;

    /// As the engine takes them; what a removal keeps in its checkpoint is not among them.
    pub(super) fn engine(&self) -> Options {
        let options = Options::default()
            .with_pace(self.pace)
            .with_page_size(self.page_size)
            .with_patience(Duration::from_millis(self.patience_ms));
        match self.rate {
            Some(rate) => options.with_rate(rate),
            None => options,
        }
    }
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            pace: Pace::default(),
            rate: None,
            max_keys: None,
            verify: true,
            patience_ms: 30_000,
            page_size: 1_000,
            sample: 10,
        }
    }
}

impl Mode {
    /// Its name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::DryRun => "dry_run",
            Self::Execute => "execute",
        }
    }
}

/// One of a literal prefix and the job that holds it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub(super) job: JobId,
    pub(super) pattern: String,
}

/// Whether keys may begin with both.
pub(super) fn overlap(one: &[u8], other: &[u8]) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

#[cfg(test)]
mod tests {
    use cache_core::Pattern;

    use super::*;

    #[test]
    fn prefixes_overlap_where_one_begins_the_other_and_nothing_begins_all() {
        for (one, other) in [
            ("a:", "a:b"),
            ("a:b", "a:"),
            ("a", "a"),
            ("", "a"),
            ("a", ""),
            ("", ""),
        ] {
            assert!(overlap(one.as_bytes(), other.as_bytes()), "{one} {other}");
        }
        assert!(!overlap(b"a:b", b"a:c") && !overlap(b"b", b"a"));
    }

    #[test]
    fn a_request_is_the_same_where_all_of_it_is() {
        let who = Who::new("jo");
        let request = |pattern: &str| {
            JobRequest::new(Pattern::new(pattern).unwrap(), Mode::Execute, who.clone())
                .with_idempotency_key("k")
        };
        let first = request("a:*").repeatable();
        assert_eq!(first, request("a:*").repeatable());
        assert_ne!(first, request("b:*").repeatable());
        let mut other = request("a:*");
        other.mode = Mode::Count;
        assert_ne!(first, other.repeatable());
        let mut other = request("a:*");
        other.options.max_keys = Some(5);
        assert_ne!(first, other.repeatable());
        let mut other = request("a:*");
        other.selection = other.selection.with_idle(Duration::from_secs(5));
        assert_ne!(first, other.repeatable());
        other.idempotency_key = None;
        assert_eq!(other.repeatable(), None);
    }
}
