//! What a refusal by ElastiCache means to a caller that may look and try again.

use cache_core::{CacheError, Outcome};

/// What a failed request says about ElastiCache's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A change to the user or the group is under way, or requests are throttled: the same request succeeds later.
    Busy,
    /// There is no such user or group, or there is one already: what was seen before is out of date.
    Stale,
    /// There is no answer: the request may have been carried out.
    Unknown,
    /// The request is refused and will be.
    Refused,
}

impl Condition {
    /// What `error` says.
    #[must_use]
    pub fn of(error: &CacheError) -> Self {
        match error {
            CacheError::Rejected { code, .. } => match code.as_ref() {
                "InvalidUserState" | "InvalidUserGroupState" => Self::Busy,
                "UserAlreadyExists" | "UserNotFound" | "UserGroupAlreadyExists" | "UserGroupNotFound" => {
                    Self::Stale
                }
                _ => Self::Refused,
            },
            CacheError::Unavailable {
                reason: cache_core::Unavailability::NotReady,
                outcome: Outcome::NotApplied,
                ..
            } => Self::Busy,
            error if error.is_transient() => Self::Unknown,
            _ => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(code: &'static str) -> CacheError {
        CacheError::Rejected {
            code: code.into(),
            detail: "".into(),
        }
    }

    #[test]
    fn condition_is_recognized_by_its_code() {
        assert_eq!(Condition::of(&rejected("InvalidUserGroupState")), Condition::Busy);
        assert_eq!(Condition::of(&rejected("UserAlreadyExists")), Condition::Stale);
        assert_eq!(
            Condition::of(&rejected("UserGroupQuotaExceeded")),
            Condition::Refused
        );
        let lost = CacheError::Timeout {
            stage: cache_core::Stage::Call,
            after: std::time::Duration::from_secs(5),
        };
        assert_eq!(Condition::of(&lost), Condition::Unknown);
    }
}
