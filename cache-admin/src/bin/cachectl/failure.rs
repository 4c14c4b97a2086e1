//! Why a command has no result, in words, as an exit code and as JSON.

use std::io;

pub(crate) use cache_admin::with_causes;
use cache_core::{CacheError, ConfigError};
use serde_json::{Value, json};

use crate::exit::Exit;

/// Why a command has no result.
#[derive(Debug)]
pub(crate) enum Failure {
    Cache(CacheError),
    Usage(String),
    /// What is wrong with a profile.
    Profile(String),
    Refused(String),
    /// What a service, or what is kept of jobs, says.
    Service {
        exit: Exit,
        kind: String,
        message: String,
    },
    Output(io::Error),
}

impl Failure {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Cache(error) => exit_of(error),
            Self::Usage(_) => Exit::Usage,
            Self::Profile(_) => Exit::Config,
            Self::Refused(_) => Exit::Refused,
            Self::Service { exit, .. } => *exit,
            // Whoever reads our output has had enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Output(_) => Exit::Failed,
        }
    }

    /// Whether the same may succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Cache(error) => error.is_transient(),
            Self::Service { exit, .. } => *exit == Exit::Unavailable,
            Self::Usage(_) | Self::Profile(_) | Self::Refused(_) | Self::Output(_) => false,
        }
    }

    /// Whether servers could not be reached.
    pub(crate) const fn is_unavailable(&self) -> bool {
        matches!(
            self,
            Self::Cache(CacheError::Unavailable { .. } | CacheError::Timeout { .. })
        )
    }

    /// Whether a service gave this as its reason.
    pub(crate) fn is_of_service(&self, name: &str) -> bool {
        matches!(self, Self::Service { kind, .. } if kind == name)
    }

    /// What to tell, a line for each problem; nothing where nobody listens any more.
    pub(crate) fn lines(&self) -> Vec<String> {
        match self {
            Self::Cache(CacheError::Config(error)) => {
                error.problems().iter().map(ToString::to_string).collect()
            }
            Self::Cache(error) => vec![with_causes(error)],
            Self::Usage(message)
            | Self::Profile(message)
            | Self::Refused(message)
            | Self::Service { message, .. } => {
                vec![message.clone()]
            }
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Vec::new(),
            Self::Output(error) => vec![format!("cannot write the output: {error}")],
        }
    }

    pub(crate) fn json(&self) -> Value {
        let kind = match self {
            Self::Cache(error) => error.kind(),
            Self::Usage(_) => "invalid_input",
            Self::Profile(_) => "config",
            Self::Refused(_) => "refused",
            Self::Service { kind, .. } => kind,
            Self::Output(_) => "output",
        };
        json!({ "error": { "kind": kind, "messages": self.lines(), "exit": self.exit() as u8 } })
    }
}

/// The exit code of a cache error.
pub(crate) const fn exit_of(error: &CacheError) -> Exit {
    match error {
        CacheError::Miss => Exit::False,
        CacheError::InvalidInput { .. } => Exit::Usage,
        CacheError::Timeout { .. } | CacheError::Unavailable { .. } => Exit::Unavailable,
        CacheError::Unauthorized { .. } | CacheError::Denied { .. } => Exit::Refused,
        CacheError::Config(_) => Exit::Config,
        _ => Exit::Failed,
    }
}

impl From<CacheError> for Failure {
    fn from(error: CacheError) -> Self {
        Self::Cache(error)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Cache(error.into())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cache_core::{Outcome, Unavailability};

    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_causes() {
        let error = CacheError::Unavailable {
            reason: Unavailability::Connect,
            detail: "10.0.0.1:6379".into(),
            outcome: Outcome::NotApplied,
            source: Some(Arc::new(io::Error::other("connection\nrefused"))),
        };
        let failure = Failure::from(error);
        assert_eq!(
            failure.lines(),
            ["cache unavailable, no connection: 10.0.0.1:6379: connection refused"]
        );
        assert_eq!(failure.exit(), Exit::Unavailable);
    }

    #[test]
    fn a_reader_that_left_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.exit(), failure.lines().len()), (Exit::Ok, 0));
    }
}
