//! Translates errors of the `redis` crate and of pools into the contract's errors.
//!
//! No error contains what a caller sent: the server's messages are cut where they repeat arguments, and the
//! crate's own errors, which may show a reply, are reduced to their kind. Only the operating system's error
//! is kept as a source.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use cache_core::{CacheError, ConfigError, ErrorSource, Outcome, Stage, Unavailability};
use redis::{ErrorKind, RedisError, ServerError, Value};

use crate::connection::Failure;

/// The call that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// The command, as errors name it.
    pub(crate) command: &'static str,
    /// How long it took.
    pub(crate) took: Duration,
    /// Whether the connection may have sent it more than once. Then an error of the last attempt does not
    /// tell whether an earlier one was applied.
    pub(crate) may_repeat: bool,
}

/// Translates `failure` for the caller.
///
/// | what happened | becomes |
/// |---|---|
/// | the pool had no connection in time | `Timeout` while connecting, not applied |
/// | the service closed the pool | `Closed` |
/// | the pool could not open or check a connection | as the error says, not applied |
/// | the response timeout of the connection passed | `Timeout` while waiting for the reply, unknown |
/// | the connection was refused | `Unavailable`, no connection, not applied |
/// | the connection was lost | `Unavailable`, lost, unknown |
/// | TLS failed | `Unavailable`, TLS, unknown |
/// | no node of the cluster can be reached | `Unavailable`, no connection, not applied |
/// | the sentinels know no primary | `Unavailable`, not ready, not applied |
/// | the login was refused | `Unauthorized` |
/// | a reply cannot be read | `Corrupt` |
/// | the crate refused the request | `Config`, or `Unsupported` |
/// | a server refused the command | as [`from_server`] says |
///
/// If the connection may have repeated the request, "not applied" becomes unknown.
pub(crate) fn from_failure(failure: Failure, attempt: Attempt) -> CacheError {
    let (error, sent) = match failure {
        Failure::PoolTimeout => return timeout(Stage::Connect, attempt.took),
        Failure::PoolClosed => return CacheError::Closed,
        Failure::PoolWithoutRuntime => {
            return ConfigError::one(
                "deadpool_redis",
                "the pool has timeouts and no runtime: build it with `Runtime::Tokio1`",
            )
            .into();
        }
        Failure::NotConnected(None) => {
            return unavailable(
                Unavailability::Connect,
                "a hook of the pool refused the connection",
                Outcome::NotApplied,
            );
        }
        Failure::NotConnected(Some(error)) => (error, false),
        Failure::Request(error) => (error, true),
    };
    let error = from_redis(&error, attempt, sent);
    if sent && attempt.may_repeat {
        error.with_unknown_outcome()
    } else {
        error
    }
}

fn from_redis(error: &RedisError, attempt: Attempt, sent: bool) -> CacheError {
    if let Some(code) = error.code() {
        return from_server(code, error.detail().unwrap_or_default(), attempt.command);
    }
    let unknown = if sent {
        Outcome::Unknown
    } else {
        Outcome::NotApplied
    };
    match error.kind() {
        ErrorKind::Io => from_io(error, attempt, sent, unknown),
        ErrorKind::ClusterConnectionNotFound => unavailable(
            Unavailability::Connect,
            "the cluster connection reaches no node that serves the key",
            Outcome::NotApplied,
        ),
        ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => unavailable(
            Unavailability::NotReady,
            "the sentinels know no server for that name",
            Outcome::NotApplied,
        ),
        ErrorKind::AuthenticationFailed => CacheError::Unauthorized {
            detail:
                "the server refused the login of the `redis` connection; check its user name and password"
                    .into(),
            source: None,
        },
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => CacheError::Corrupt {
            detail: "the server sent what the `redis` crate cannot read".into(),
            source: None,
        },
        ErrorKind::InvalidClientConfig | ErrorKind::EmptySentinelList | ErrorKind::RESP3NotSupported => {
            ConfigError::one(
                "redis",
                format!("the client refuses its configuration: {}", error.category()),
            )
            .into()
        }
        ErrorKind::Client => CacheError::Unsupported {
            detail: "the `redis` crate refused the request before it was sent".into(),
        },
        // Kinds that the crate or its features may add.
        _ => unavailable(
            Unavailability::Lost,
            format!("the `redis` crate failed: {}", error.category()),
            unknown,
        ),
    }
}

fn from_io(error: &RedisError, attempt: Attempt, sent: bool, unknown: Outcome) -> CacheError {
    if error.is_timeout() {
        let stage = if sent { Stage::Reply } else { Stage::Connect };
        return timeout(stage, attempt.took);
    }
    let system = system_error(error);
    let kind = system.as_deref().map(io::Error::kind);
    let (reason, detail, outcome) = match kind {
        Some(io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => (
            Unavailability::Connect,
            "no server listens at the address",
            Outcome::NotApplied,
        ),
        // An error of `rustls` arrives as invalid data.
        Some(io::ErrorKind::InvalidData) => (
            Unavailability::Tls,
            "the certificate, the name or the protocol of the server does not fit",
            unknown,
        ),
        _ if sent => (
            Unavailability::Lost,
            "the server or the network ended it",
            unknown,
        ),
        _ => (Unavailability::Connect, "the server cannot be reached", unknown),
    };
    CacheError::Unavailable {
        reason,
        detail: detail.into(),
        outcome,
        source: system.map(|system| system as ErrorSource),
    }
}

/// The error of the operating system in `error`.
fn system_error(error: &RedisError) -> Option<Arc<io::Error>> {
    let source = error.source()?;
    let shared = source.downcast_ref::<Arc<dyn Error + Send + Sync>>();
    let system = match shared {
        Some(shared) => shared.downcast_ref::<io::Error>(),
        None => source.downcast_ref::<io::Error>(),
    }?;
    // The crate shares it as a dynamic error, so it is rebuilt from its number.
    Some(Arc::new(match system.raw_os_error() {
        Some(number) => io::Error::from_raw_os_error(number),
        None => system.kind().into(),
    }))
}

/// Turns a refusal into an error.
pub(crate) fn accept(value: Value, attempt: Attempt) -> Result<Value, CacheError> {
    match value {
        Value::ServerError(error) => Err(refused(&error, attempt)),
        value => Ok(value),
    }
}

fn refused(error: &ServerError, attempt: Attempt) -> CacheError {
    let error = from_server(error.code(), error.details().unwrap_or_default(), attempt.command);
    if attempt.may_repeat {
        error.with_unknown_outcome()
    } else {
        error
    }
}

/// Translates a server's refusal of `command`.
///
/// | code | becomes |
/// |---|---|
/// | `LOADING` `MASTERDOWN` `CLUSTERDOWN` `TRYAGAIN` `BUSY` `READONLY` `FAILOVER` `NOREPLICAS` | `Unavailable`, not ready, not applied |
/// | `MOVED` `ASK` | `Unavailable`, not ready, not applied |
/// | `ERR max number of clients reached` | `Unavailable`, not ready, not applied |
/// | `NOAUTH` `WRONGPASS` | `Unauthorized` |
/// | `NOPERM` | `Denied` |
/// | anything else, such as `WRONGTYPE` `OOM` `ERR` | `Rejected` with the server's code |
///
/// Redis 6.2 wraps the refusal of a command inside a script in its own message; the inner refusal counts.
pub(crate) fn from_server(code: &str, detail: &str, command: &'static str) -> CacheError {
    let (code, detail) = unwrapped(code, detail);
    let detail = words(detail);
    match code {
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" | "READONLY" | "FAILOVER" | "NOREPLICAS" => {
            unavailable(Unavailability::NotReady, format!("{code} {detail}"), Outcome::NotApplied)
        }
        "MOVED" | "ASK" => unavailable(
            Unavailability::NotReady,
            format!(
                "the server sends the call to another node of its cluster ({code}); a connection to one server cannot \
                 follow, use RedisCache::from_cluster"
            ),
            Outcome::NotApplied,
        ),
        "ERR" if detail.starts_with("max number of clients") => unavailable(
            Unavailability::NotReady,
            format!("the server has no connection left for this client (ERR {detail})"),
            Outcome::NotApplied,
        ),
        "NOAUTH" | "WRONGPASS" => CacheError::Unauthorized {
            detail: format!("the server refused the login of the `redis` connection ({code}); check its user name and password")
                .into(),
            source: None,
        },
        "NOPERM" => CacheError::Denied {
            command: command.into(),
            detail: detail.into_owned().into(),
        },
        code => CacheError::Rejected {
            code: code.to_owned().into(),
            detail: detail.into_owned().into(),
        },
    }
}

/// The refusal inside a script, if Redis 6.2 or older wrapped it:
/// `ERR Error running script (call to f_...): @user_script:1: -OOM command not allowed ...`.
fn unwrapped<'a>(code: &'a str, detail: &'a str) -> (&'a str, &'a str) {
    if code != "ERR" || !detail.starts_with("Error running script") {
        return (code, detail);
    }
    let Some((_, inside)) = detail
        .split_once("@user_script:")
        .and_then(|(_, rest)| rest.split_once(": "))
    else {
        return (code, detail);
    };
    let inside = inside.trim_start_matches('-');
    let is_code = |word: &str| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    match inside.split_once(' ') {
        Some((code, detail)) if is_code(code) => (code, detail),
        _ => (code, inside),
    }
}

/// The server's message in one line, without the caller's arguments, which some messages repeat, and without
/// the position in a script.
fn words(detail: &str) -> Cow<'_, str> {
    let end = [
        "with args beginning with",
        "Use the ",
        " script: ",
        "@user_script",
    ]
    .iter()
    .filter_map(|tail| detail.find(tail))
    .min()
    .unwrap_or(detail.len());
    let text = detail[..end].trim_end_matches([' ', ',', '.']);
    if text.contains(['\r', '\n']) {
        text.replace(['\r', '\n'], " ").into()
    } else {
        text.into()
    }
}

/// The error for a reply of the wrong kind. It shows the kind, never the bytes.
pub(crate) fn unexpected(value: &Value, wanted: &str) -> CacheError {
    let shape = match value {
        Value::Nil => "nil",
        Value::Int(_) => "an integer",
        Value::BulkString(_) | Value::VerbatimString { .. } => "bytes",
        Value::SimpleString(_) | Value::Okay => "a status",
        Value::Boolean(_) => "a boolean",
        Value::Double(_) => "a double",
        Value::Array(_) | Value::Set(_) | Value::Map(_) => "a collection",
        _ => "something else",
    };
    CacheError::Corrupt {
        detail: format!("the server answered {shape} instead of {wanted}").into(),
        source: None,
    }
}

/// `took` in whole milliseconds, as errors show it.
fn timeout(stage: Stage, took: Duration) -> CacheError {
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    CacheError::Timeout {
        stage,
        after: Duration::from_millis(millis),
    }
}

fn unavailable(reason: Unavailability, detail: impl Into<Cow<'static, str>>, outcome: Outcome) -> CacheError {
    CacheError::Unavailable {
        reason,
        detail: detail.into(),
        outcome,
        source: None,
    }
}

#[cfg(test)]
mod tests;
