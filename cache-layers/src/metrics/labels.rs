//! The labels of measurements: where a call was measured, which operation it was, and how it ended.
//!
//! All of them are closed lists, so the number of time series has a bound that no caller can exceed.

use cache_core::CacheError;

/// The place in the stack where calls are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// Above the near cache: what callers see.
    Edge,
    /// Below the near cache: what goes to the backend.
    Far,
}

impl Tier {
    /// The label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Far => "far",
        }
    }
}

macro_rules! labels {
    ($(#[$doc:meta])* $label:ident { $($name:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $label { $($name,)+ }

        impl $label {
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];
            pub(crate) const COUNT: usize = Self::ALL.len();

            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

labels! {
    /// A method of the contract.
    Operation {
        Get = "get",
        GetEntry = "get_entry",
        GetMany = "get_many",
        GetEach = "get_each",
        GetEntries = "get_entries",
        Set = "set",
        SetMany = "set_many",
        SetEach = "set_each",
        SetIfAbsent = "set_if_absent",
        CompareAndSet = "compare_and_set",
        CompareAndDelete = "compare_and_delete",
        GetAndDelete = "get_and_delete",
        GetAndExpire = "get_and_expire",
        Del = "del",
        Exists = "exists",
        Incr = "incr",
        IncrBy = "incr_by",
        Expire = "expire",
        Ttl = "ttl",
        Ping = "ping",
        Close = "close",
    }
}

labels! {
    /// How a call ended. An error has the name of its kind.
    Outcome {
        Ok = "ok",
        Hit = "hit",
        Partial = "partial",
        PartialFailure = "partial_failure",
        Miss = "miss",
        Unmet = "unmet",
        Cancelled = "cancelled",
        Timeout = "timeout",
        Unavailable = "unavailable",
        Unauthorized = "unauthorized",
        Denied = "denied",
        Rejected = "rejected",
        InvalidInput = "invalid_input",
        Corrupt = "corrupt",
        Config = "config",
        Closed = "closed",
        Unsupported = "unsupported",
        Other = "_OTHER",
    }
}

labels! {
    /// The recipes other than read-throughs, whose failures are counted here.
    Recipe {
        Lock = "lock",
        Idempotency = "idempotency",
        RateLimiter = "rate_limiter",
        Generations = "generations",
    }
}

labels! {
    /// The result of a request for a lock.
    LockResult {
        Acquired = "acquired",
        Taken = "taken",
        Failed = "failed",
    }
}

labels! {
    /// How a held lock ended.
    LockEnd {
        Released = "released",
        Expired = "expired",
        Gone = "gone",
    }
}

labels! {
    /// The result of a request with an idempotency key.
    IdempotencyResult {
        Run = "run",
        Unprotected = "unprotected",
        InProgress = "in_progress",
        Replayed = "replayed",
        NotReplayable = "not_replayable",
        Mismatch = "mismatch",
        Failed = "failed",
    }
}

labels! {
    /// The result of a run with an idempotency key.
    IdempotencyEnd {
        Stored = "stored",
        NotKept = "not_kept",
        Overtaken = "overtaken",
        Released = "released",
        NotStored = "not_stored",
    }
}

labels! {
    /// The decision of a limiter about a call.
    Decision {
        Allowed = "allowed",
        Denied = "denied",
        DeniedFromMemory = "denied_from_memory",
        Uncounted = "uncounted",
    }
}

labels! {
    /// Where the number of a generation came from.
    GenerationSource {
        Memory = "memory",
        Cache = "cache",
    }
}

impl Outcome {
    pub(crate) const fn of_error(error: &CacheError) -> Self {
        match error {
            CacheError::Miss => Self::Miss,
            CacheError::Timeout { .. } => Self::Timeout,
            CacheError::Unavailable { .. } => Self::Unavailable,
            CacheError::Unauthorized { .. } => Self::Unauthorized,
            CacheError::Denied { .. } => Self::Denied,
            CacheError::Rejected { .. } => Self::Rejected,
            CacheError::InvalidInput { .. } => Self::InvalidInput,
            CacheError::Corrupt { .. } => Self::Corrupt,
            CacheError::Config(_) => Self::Config,
            CacheError::Closed => Self::Closed,
            CacheError::Unsupported { .. } => Self::Unsupported,
            _ => Self::Other,
        }
    }

    /// The value of `cache.outcome`.
    pub(crate) const fn label(self) -> &'static str {
        match self.error_type() {
            Some(_) => "error",
            None => self.name(),
        }
    }

    /// The value of `error.type`.
    pub(crate) const fn error_type(self) -> Option<&'static str> {
        match self {
            Self::Ok
            | Self::Hit
            | Self::Partial
            | Self::PartialFailure
            | Self::Miss
            | Self::Unmet
            | Self::Cancelled => None,
            _ => Some(self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cache_core::{ConfigError, Outcome as Applied, Stage, Unavailability};

    use super::*;

    #[test]
    fn an_error_bears_the_name_of_its_kind() {
        let errors = [
            CacheError::Timeout {
                stage: Stage::Call,
                after: Duration::ZERO,
            },
            CacheError::Unavailable {
                reason: Unavailability::Lost,
                detail: "".into(),
                outcome: Applied::Unknown,
                source: None,
            },
            CacheError::Unauthorized {
                detail: "".into(),
                source: None,
            },
            CacheError::Denied {
                command: "".into(),
                detail: "".into(),
            },
            CacheError::Rejected {
                code: "".into(),
                detail: "".into(),
            },
            CacheError::InvalidInput {
                argument: "key",
                reason: "".into(),
            },
            CacheError::Corrupt {
                detail: "".into(),
                source: None,
            },
            CacheError::Config(ConfigError::one("CACHE_TYPE", "must be something")),
            CacheError::Closed,
            CacheError::Unsupported { detail: "".into() },
        ];
        let kinds = Outcome::ALL.iter().filter_map(|outcome| outcome.error_type());
        assert_eq!(kinds.count(), errors.len() + 1, "every kind, and what has none");
        for error in errors {
            let outcome = Outcome::of_error(&error);
            assert_eq!(outcome.error_type(), Some(error.kind()));
            assert_eq!(outcome.label(), "error");
        }
        assert_eq!(
            Outcome::of_error(&CacheError::Miss).label(),
            CacheError::Miss.kind()
        );
    }
}
