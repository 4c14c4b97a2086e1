//! What can go wrong, in few kinds, each of which says what the caller should do.
//!
//! Not in here: the translation of a backend's errors. Each backend has one table for that, in its own
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
/// expired. It is an error so that `?` leads the caller to the code that loads the value. Use
/// [`find`](crate::CacheClientExt::find) if an `Option` reads better.
///
/// `Display` is one line and shows neither a value nor a secret. The cause is in [`source`](Error::source)
/// and is not repeated in the text.
///
/// | kind | the operation | retry |
/// | --- | --- | --- |
/// | `Miss` | was done, there is no value | no, load the value |
/// | `Timeout`, `Unavailable` | see [`outcome`](CacheError::outcome) | yes, see [`is_transient`](CacheError::is_transient) |
/// | `Unauthorized`, `Denied`, `Config`, `Unsupported` | was not done | no, an operator has to act |
/// | `Rejected`, `InvalidInput` | was not done | no, the caller has to act |
/// | `Corrupt` | may have been done, its answer is unreadable | no, the caller has to act |
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
        /// What the operation was waiting for.
        stage: Stage,
        /// The deadline that passed.
        after: Duration,
    },

    /// The backend is unreachable or does not answer usefully at the moment.
    #[error("cache unavailable, {reason}: {detail}")]
    Unavailable {
        /// What is wrong, as a kind.
        reason: Unavailability,
        /// What is wrong, in words: which node, what to check.
        detail: Cow<'static, str>,
        /// Whether the operation may have been applied anyway.
        outcome: Outcome,
        /// The lower-level error.
        source: Option<Source>,
    },

    /// The backend does not accept our credentials.
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
        /// The backend's reason: a command, a key or a channel that is not allowed.
        detail: Cow<'static, str>,
    },

    /// The backend refused the operation itself, for example because the value is not an integer.
    #[error("rejected by the server, {code}: {detail}")]
    Rejected {
        /// The server's own code, such as `WRONGTYPE` or `OOM`.
        code: Cow<'static, str>,
        /// The server's own words.
        detail: Cow<'static, str>,
    },

    /// No backend, or not this one, accepts the argument. Nothing was sent.
    #[error("invalid {argument}: {reason}")]
    InvalidInput {
        /// The argument's name.
        argument: &'static str,
        /// What is wrong with it and what is accepted.
        reason: Cow<'static, str>,
    },

    /// Stored or received bytes cannot be read as what they should be.
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

    /// This backend, or this build, does not support the operation.
    #[error("unsupported: {detail}")]
    Unsupported {
        /// What cannot be done, and what to do instead.
        detail: Cow<'static, str>,
    },
}

/// What an operation was waiting for when its deadline passed.
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
    /// The client could not connect.
    Connect,
    /// The client could not connect securely: a certificate, a name or a protocol does not match.
    Tls,
    /// The connection was lost.
    Lost,
    /// The server is reachable but cannot serve now: it is loading, failing over, moving slots or busy.
    NotReady,
    /// The circuit breaker is open: the backend failed too often recently.
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

/// Whether an operation without a result was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It was certainly not applied.
    NotApplied,
    /// It may have been applied.
    Unknown,
}

impl CacheError {
    /// Whether this is a miss.
    #[must_use]
    pub const fn is_miss(&self) -> bool {
        matches!(self, Self::Miss)
    }

    /// Whether the same call may succeed a moment later without anyone acting.
    ///
    /// A certificate that does not match is [`Unavailable`](Self::Unavailable) but not transient.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Timeout { .. } => true,
            Self::Unavailable { reason, .. } => !matches!(reason, Unavailability::Tls),
            _ => false,
        }
    }

    /// Whether the operation may have been applied although it has no result.
    ///
    /// After [`Outcome::Unknown`], a caller of `incr` or of a conditional write has to read to find out.
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

    /// This error for a call whose earlier attempt, or another part, may have been applied. If the error is a
    /// timeout or says that the backend is unavailable, its [`outcome`](Self::outcome) becomes
    /// [`Outcome::Unknown`]. The other kinds do not change.
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

    /// Whether the backend is reachable and refused the operation because of its own state, not because of
    /// the operation. It is full (`OOM`), cannot write to its disk (`MISCONF`), is loading, is failing over,
    /// or has too few replicas.
    ///
    /// Some of these states end without action ([`is_transient`](Self::is_transient)). A full server still
    /// answers reads, but takes no writes until an operator acts or entries expire.
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
    fn display_is_one_line_without_the_cause() {
        let error = lost(Outcome::Unknown);
        assert_eq!(
            error.to_string(),
            "cache unavailable, connection lost: 10.0.0.1:6379"
        );
        assert_eq!(error.source().unwrap().to_string(), "broken pipe");
    }

    #[test]
    fn only_temporary_errors_are_transient() {
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
    fn backend_state_differs_from_operation_errors() {
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
    fn missing_reply_leaves_outcome_unknown() {
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
    fn earlier_attempt_leaves_outcome_unknown() {
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
