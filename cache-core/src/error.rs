//! What can go wrong, in few kinds, each of which tells the caller what to do.
//!
//! Not in here: how a backend's errors become these. Each backend has one table for that, in its own
//! `error.rs`.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::ConfigError;

/// The lower-level error behind a [`CacheError`], shared so that one failure can answer many waiters.
pub type Source = Arc<dyn Error + Send + Sync + 'static>;

/// Why a cache operation has no result.
///
/// [`Miss`](CacheError::Miss) is the contract's `ErrCacheMiss`: the key holds no value, or its value has
/// expired. It is an error so that `?` takes the caller to the place that loads the value; use
/// [`find`](crate::CacheClientExt::find) where an `Option` reads better.
///
/// `Display` is one line and shows neither a value nor a secret; the cause is in
/// [`source`](Error::source) and is not repeated in the text.
///
/// | kind | the operation | worth trying again |
/// |---|---|---|
/// | `Miss` | was done, there is nothing | no, load the value |
/// | `Timeout`, `Unavailable` | see [`outcome`](CacheError::outcome) | yes, see [`is_transient`](CacheError::is_transient) |
/// | `Unauthorized`, `Denied`, `Config`, `Unsupported` | was not done | no, an operator has to act |
/// | `Rejected`, `InvalidInput` | was not done | no, the caller has to act |
/// | `Corrupt` | may have been done, its answer cannot be read | no, the caller has to act |
/// | `Closed` | was not done | no |
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The key holds no value (`ErrCacheMiss`).
    #[error("cache miss")]
    Miss,

    /// The deadline passed.
    #[error("timed out after {} while {stage}", humantime::format_duration(*after))]
    Timeout {
        /// What was being waited for.
        stage: Stage,
        /// The deadline that passed.
        after: Duration,
    },

    /// The backend cannot be reached or does not answer usefully at the moment.
    #[error("cache unavailable, {reason}: {detail}")]
    Unavailable {
        /// What is wrong, as a kind.
        reason: Unavailability,
        /// What is wrong, in words: which node, what to check.
        detail: Cow<'static, str>,
        /// Whether the operation may have been carried out all the same.
        outcome: Outcome,
        /// The lower-level error.
        source: Option<Source>,
    },

    /// The backend does not accept who we are.
    #[error("unauthorized: {detail}")]
    Unauthorized {
        /// What to check; never the password or token.
        detail: Cow<'static, str>,
        /// The lower-level error.
        source: Option<Source>,
    },

    /// The user may not do this.
    #[error("denied: the user may not run {command}: {detail}")]
    Denied {
        /// The command that was refused, as the backend names it.
        command: Cow<'static, str>,
        /// What the backend says: a command, a key or a channel that is not allowed.
        detail: Cow<'static, str>,
    },

    /// The backend refused the operation itself, for example because the value is no integer.
    #[error("rejected by the server, {code}: {detail}")]
    Rejected {
        /// The server's own code, such as `WRONGTYPE` or `OOM`.
        code: Cow<'static, str>,
        /// The server's own words.
        detail: Cow<'static, str>,
    },

    /// An argument is one that no backend, or not this one, takes. Nothing was sent.
    #[error("invalid {argument}: {reason}")]
    InvalidInput {
        /// The argument's name.
        argument: &'static str,
        /// What is wrong with it and what is accepted.
        reason: Cow<'static, str>,
    },

    /// What is stored, or what was received, cannot be read as what it should be.
    #[error("corrupt: {detail}")]
    Corrupt {
        /// What could not be read, and as what; never the bytes.
        detail: Cow<'static, str>,
        /// The lower-level error.
        source: Option<Source>,
    },

    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// The client was closed.
    #[error("the client is closed")]
    Closed,

    /// This backend, or this build, cannot do it.
    #[error("unsupported: {detail}")]
    Unsupported {
        /// What cannot be done, and what to do instead.
        detail: Cow<'static, str>,
    },
}

/// What was being waited for when a deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// For a connection: nothing was sent.
    Connect,
    /// For the connection to take the request: it may have been sent.
    Send,
    /// For the reply: the request was sent and may have been carried out.
    Reply,
    /// For the whole call, retries included.
    Call,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Send => "sending the request",
            Self::Reply => "waiting for the reply",
            Self::Call => "waiting for the call to finish",
        })
    }
}

/// Why the backend is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unavailability {
    /// The host name has no address.
    Resolve,
    /// No connection could be made.
    Connect,
    /// No secure connection could be made: a certificate, a name or a protocol does not fit.
    Tls,
    /// The connection was lost.
    Lost,
    /// The server is there and cannot serve now: it loads, fails over, moves slots, is busy.
    NotReady,
    /// The circuit breaker is open: the backend failed too often a moment ago.
    CircuitOpen,
}

impl fmt::Display for Unavailability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "the host name does not resolve",
            Self::Connect => "no connection",
            Self::Tls => "no secure connection",
            Self::Lost => "connection lost",
            Self::NotReady => "the server is not ready",
            Self::CircuitOpen => "the circuit breaker is open",
        })
    }
}

/// Whether an operation that has no result was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was certainly not carried out.
    NotApplied,
    /// It may have been carried out.
    Unknown,
}

impl CacheError {
    /// Whether this is a miss.
    #[must_use]
    pub const fn is_miss(&self) -> bool {
        matches!(self, Self::Miss)
    }

    /// Whether the same call may well succeed a moment later without anybody acting.
    ///
    /// A certificate that does not fit is [`Unavailable`](Self::Unavailable) but not transient.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Unavailable { reason, .. } => !matches!(reason, Unavailability::Tls),
            _ => false,
        }
    }

    /// Whether the operation may have been carried out although it has no result.
    ///
    /// After [`Outcome::Unknown`] a caller of `incr` or of a conditional write has to read to find out.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Timeout {
                stage: Stage::Connect,
                ..
            } => Outcome::NotApplied,
            Self::Timeout { .. } => Outcome::Unknown,
            Self::Unavailable { outcome, .. } => *outcome,
            Self::Corrupt { .. } => Outcome::Unknown,
            _ => Outcome::NotApplied,
        }
    }

    /// This error as the end of a call of which an earlier try, or another part, may have been carried out: its
    /// [`outcome`](Self::outcome) is [`Outcome::Unknown`] if the error is a timeout or says that the backend is
    /// unavailable. The other kinds stay as they are.
    ///
    /// For implementors of a client that sends a request more than once.
    #[must_use]
    pub fn with_unknown_outcome(self) -> Self {
        match self {
            Self::Unavailable {
                reason,
                detail,
                source,
                ..
            } => Self::Unavailable {
                reason,
                detail,
                outcome: Outcome::Unknown,
                source,
            },
            Self::Timeout { after, .. } => Self::Timeout {
                stage: Stage::Call,
                after,
            },
            other => other,
        }
    }

    /// Whether the backend is there and refused the operation for its own state, whatever the operation was: it is full
    /// (`OOM`), cannot write to its disk (`MISCONF`), loads, fails over, has too few replicas.
    ///
    /// Some of these pass by themselves ([`is_transient`](Self::is_transient)). A full server does not: it answers reads as
    /// before, and takes no writes until an operator acts, or until entries expire.
    #[must_use]
    pub fn is_backend_state(&self) -> bool {
        match self {
            Self::Unavailable { reason, .. } => matches!(reason, Unavailability::NotReady),
            Self::Rejected { code, .. } => matches!(code.as_ref(), "OOM" | "MISCONF"),
            _ => false,
        }
    }

    /// A short, stable name of the kind, for metrics and exit codes.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Timeout { .. } => "timeout",
            Self::Unavailable { .. } => "unavailable",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Denied { .. } => "denied",
            Self::Rejected { .. } => "rejected",
            Self::InvalidInput { .. } => "invalid_input",
            Self::Corrupt { .. } => "corrupt",
            Self::Config(_) => "config",
            Self::Closed => "closed",
            Self::Unsupported { .. } => "unsupported",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(outcome: Outcome) -> CacheError {
        CacheError::Unavailable {
            reason: Unavailability::Lost,
            detail: "10.0.0.1:6379".into(),
            outcome,
            source: Some(Arc::new(std::io::Error::other("broken pipe"))),
        }
    }

    #[test]
    fn the_text_is_one_line_and_leaves_the_cause_to_source() {
        let error = lost(Outcome::Unknown);
        assert_eq!(
            error.to_string(),
            "cache unavailable, connection lost: 10.0.0.1:6379"
        );
        assert_eq!(error.source().unwrap().to_string(), "broken pipe");
    }

    #[test]
    fn only_what_may_pass_by_itself_is_transient() {
        assert!(lost(Outcome::NotApplied).is_transient());
        assert!(
            CacheError::Timeout {
                stage: Stage::Reply,
                after: Duration::from_secs(3)
            }
            .is_transient()
        );
        assert!(!CacheError::Miss.is_transient());
        assert!(!CacheError::Closed.is_transient());
        let certificate = CacheError::Unavailable {
            reason: Unavailability::Tls,
            detail: "expired".into(),
            outcome: Outcome::NotApplied,
            source: None,
        };
        assert!(!certificate.is_transient());
    }

    #[test]
    fn a_refusal_for_the_state_of_the_backend_is_told_from_one_for_the_operation() {
        let rejected = |code: &'static str| CacheError::Rejected {
            code: code.into(),
            detail: "no".into(),
        };
        assert!(rejected("OOM").is_backend_state() && rejected("MISCONF").is_backend_state());
        assert!(!rejected("WRONGTYPE").is_backend_state() && !rejected("ERR").is_backend_state());
        let unavailable = |reason| CacheError::Unavailable {
            reason,
            detail: "no".into(),
            outcome: Outcome::NotApplied,
            source: None,
        };
        assert!(unavailable(Unavailability::NotReady).is_backend_state());
        assert!(!unavailable(Unavailability::Lost).is_backend_state());
        assert!(!CacheError::Miss.is_backend_state());
    }

    #[test]
    fn a_reply_that_never_came_leaves_the_outcome_open() {
        let at = |stage| {
            CacheError::Timeout {
                stage,
                after: Duration::from_millis(1),
            }
            .outcome()
        };
        assert_eq!(at(Stage::Connect), Outcome::NotApplied);
        assert_eq!(at(Stage::Reply), Outcome::Unknown);
        assert_eq!(lost(Outcome::Unknown).outcome(), Outcome::Unknown);
    }

    #[test]
    fn earlier_try_leaves_the_outcome_open() {
        let refused = lost(Outcome::NotApplied).with_unknown_outcome();
        assert_eq!(refused.outcome(), Outcome::Unknown);
        assert_eq!(refused.to_string(), lost(Outcome::NotApplied).to_string());
        let late = CacheError::Timeout {
            stage: Stage::Connect,
            after: Duration::from_millis(1),
        };
        assert_eq!(late.with_unknown_outcome().outcome(), Outcome::Unknown);
        assert!(CacheError::Miss.with_unknown_outcome().is_miss());
    }
}
