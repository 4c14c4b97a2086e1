//! What the load generator saw: counts, how long answers took, and when each token was handed out first and last.
//!
//! A token is a fingerprint here.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use cache_layers::{SystemClock, WallClock as _};
use serde::{Deserialize, Serialize};

use crate::routes::Shown;
use crate::token::AccessToken;
use crate::upstream::stand_in::millis;

/// One answer.
#[derive(Debug)]
pub(super) enum Answered {
    Token(Shown),
    /// 503, and what it says.
    Refused(String),
    Failed(String),
}

/// What one asker saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    took_us: Vec<u64>,
    report: Report,
    tokens: BTreeMap<Key, TokenUse>,
}

/// App, profile and the token itself, which is a fingerprint only once it is reported.
type Key = (String, String, AccessToken);

/// What all of them saw.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
    pub(crate) tokens_given: u64,
    /// Answers with 503, by what they say, without the numbers in it.
    pub(crate) refused: BTreeMap<String, u64>,
    /// Anything else, by what it was.
    pub(crate) failed: BTreeMap<String, u64>,
    pub(crate) served_from: BTreeMap<String, u64>,
    /// The least validity that a broker said, in milliseconds.
    pub(crate) least_valid_ms: Option<u64>,
    /// The 50th and 99th percentile of the time to an answer, and the longest, in milliseconds.
    pub(crate) took_ms: [f64; 3],
    pub(crate) uses: Vec<TokenUse>,
    /// When each app and profile was refused first and last, in milliseconds since 1970.
    pub(crate) refused_at: BTreeMap<String, [u64; 2]>,
}

/// When a token was handed out. Times are in milliseconds since 1970.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct TokenUse {
    pub(crate) app: String,
    pub(crate) profile: String,
    pub(crate) token: String,
    pub(crate) expires_ms: u64,
    pub(crate) first_ms: u64,
    pub(crate) last_ms: u64,
    pub(crate) times: u64,
}

impl Seen {
    /// Notes the answer to a request that was made at `at_ms`.
    pub(super) fn note(&mut self, name: (&str, &str), at_ms: u64, took: Duration, answered: Answered) {
        self.took_us
            .push(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let report = &mut self.report;
        report.requests += 1;
        match answered {
            Answered::Token(shown) => {
                report.tokens_given += 1;
                let valid_ms = millis(Duration::try_from_secs_f64(shown.valid_for).unwrap_or_default());
                let least = report.least_valid_ms.unwrap_or(u64::MAX);
                report.least_valid_ms = Some(least.min(valid_ms));
                *report.served_from.entry(shown.served_from).or_default() += 1;
                let key = (shown.app, shown.profile, shown.token);
                let expires_ms = expires_ms(&shown.expiry);
                self.tokens
                    .entry(key)
                    .or_default()
                    .join(expires_ms, [at_ms, at_ms], 1);
            }
            Answered::Refused(said) => {
                let said = said.chars().filter(|letter| !letter.is_ascii_digit()).collect();
                *report.refused.entry(said).or_default() += 1;
                // When the answer came: what was known then.
                let at_ms = millis(SystemClock.since_epoch());
                let span = report.refused_at.entry(format!("{}/{}", name.0, name.1));
                span.or_insert([at_ms, at_ms])[1] = at_ms;
            }
            Answered::Failed(what) => *report.failed.entry(what).or_default() += 1,
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.took_us.extend(other.took_us);
        let (mine, theirs) = (&mut self.report, other.report);
        mine.requests += theirs.requests;
        mine.tokens_given += theirs.tokens_given;
        for (mine, theirs) in [
            (&mut mine.refused, theirs.refused),
            (&mut mine.failed, theirs.failed),
            (&mut mine.served_from, theirs.served_from),
        ] {
            for (what, times) in theirs {
                *mine.entry(what).or_default() += times;
            }
        }
        mine.least_valid_ms = match (mine.least_valid_ms, theirs.least_valid_ms) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        for (name, [first, last]) in theirs.refused_at {
            let span = mine.refused_at.entry(name).or_insert([first, last]);
            *span = [span[0].min(first), span[1].max(last)];
        }
        for (key, used) in other.tokens {
            let span = [used.first_ms, used.last_ms];
            self.tokens
                .entry(key)
                .or_default()
                .join(used.expires_ms, span, used.times);
        }
    }

    pub(super) fn report(mut self, span: Duration) -> Report {
        self.took_us.sort_unstable();
        let last = self.took_us.len().saturating_sub(1);
        let at = |percent: usize| {
            let index = last * percent / 100;
            let micros = self.took_us.get(index).copied().unwrap_or_default();
            Duration::from_micros(micros).as_secs_f64() * 1_000.0
        };
        let named = |((app, profile, token), used): (Key, TokenUse)| TokenUse {
            app,
            profile,
            token: token.fingerprint(),
            ..used
        };
        Report {
            seconds: span.as_secs_f64(),
            took_ms: [at(50), at(99), at(100)],
            uses: self.tokens.into_iter().map(named).collect(),
            ..self.report
        }
    }
}

impl TokenUse {
    fn join(&mut self, expires_ms: u64, [first_ms, last_ms]: [u64; 2], times: u64) {
        self.first_ms = if self.times == 0 {
            first_ms
        } else {
            self.first_ms.min(first_ms)
        };
        self.last_ms = self.last_ms.max(last_ms);
        self.expires_ms = expires_ms;
        self.times += times;
    }
}

fn expires_ms(expiry: &str) -> u64 {
    let expiry = humantime::parse_rfc3339(expiry).unwrap_or(UNIX_EPOCH);
    millis(expiry.duration_since(UNIX_EPOCH).unwrap_or_default())
}

impl Report {
    /// Answers with 503.
    pub(crate) fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Answers that were neither a token nor 503, or none at all.
    pub(crate) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// A table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [middle, high, highest] = self.took_ms;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, value: u64| writeln!(f, "{name:<28}{value:>10}");
        row(f, "requests", self.requests)?;
        row(f, "tokens given", self.tokens_given)?;
        row(
            f,
            "different tokens",
            u64::try_from(self.uses.len()).unwrap_or(u64::MAX),
        )?;
        row(f, "refused (503)", self.refusals())?;
        row(f, "failed", self.failures())?;
        for (what, times) in self.refused.iter().chain(&self.failed) {
            writeln!(f, "  {times:>8}  {what}")?;
        }
        write!(
            f,
            "in {:.1} s; an answer took {middle:.1} ms, 99 % at most {high:.1} ms, all {highest:.1} ms",
            self.seconds
        )
    }
}
