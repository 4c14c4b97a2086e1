//! Checks each row of the table, and that no caller data is shown.

use super::*;

const ONCE: Attempt = Attempt {
    command: "INCR",
    took: Duration::from_micros(500_900),
    may_repeat: false,
};

fn of(error: impl Into<RedisError>) -> CacheError {
    from_failure(Failure::Request(error.into()), ONCE)
}

#[test]
fn not_ready_server_is_transient_and_not_applied() {
    for code in [
        "LOADING",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "BUSY",
        "READONLY",
        "MOVED",
        "ASK",
    ] {
        let error = from_server(code, "wait", "GET");
        assert!(error.is_transient(), "{code}");
        assert_eq!(error.outcome(), Outcome::NotApplied, "{code}");
    }
    let full = from_server("ERR", "max number of clients reached", "GET");
    assert!(full.is_transient(), "{full}");
}

#[test]
fn login_and_permission_errors_differ() {
    for code in ["NOAUTH", "WRONGPASS"] {
        assert!(matches!(
            from_server(code, "no", "GET"),
            CacheError::Unauthorized { .. }
        ));
    }
    let denied = from_server(
        "NOPERM",
        "User app has no permissions to run the 'get' command",
        "GET",
    );
    assert!(
        matches!(&denied, CacheError::Denied { command, .. } if command == "GET"),
        "{denied}"
    );
}

#[test]
fn denied_command_inside_a_script_is_recognized() {
    let wrapped = |inside: &str| {
        let detail = format!("Error running script (call to f_0123): @user_script:1: {inside} ");
        from_server("ERR", &detail, "EVALSHA")
    };
    assert!(wrapped("-READONLY You can't write against a read only replica.").is_transient());
    let oom = wrapped("-OOM command not allowed when used memory > 'maxmemory'.");
    assert!(
        matches!(&oom, CacheError::Rejected { code, .. } if code == "OOM"),
        "{oom}"
    );
    let text = wrapped("ERR value is not an integer or out of range").to_string();
    assert_eq!(
        text,
        "rejected by the server, ERR: value is not an integer or out of range"
    );
    let text = wrapped("@user_script: 1: Unknown command called from script").to_string();
    assert!(text.starts_with("rejected by the server, ERR"), "{text}");
    let newer = from_server(
        "WRONGTYPE",
        "Operation against a key holding the wrong kind of value script: f_0123, on @user_script:2.",
        "EVALSHA",
    );
    assert_eq!(
        newer.to_string(),
        "rejected by the server, WRONGTYPE: Operation against a key holding the wrong kind of value"
    );
}

#[test]
fn only_a_lost_connection_leaves_outcome_unknown() {
    let lost = of(io::Error::from(io::ErrorKind::BrokenPipe));
    assert_eq!(lost.outcome(), Outcome::Unknown);
    assert!(lost.is_transient(), "{lost}");
    assert!(lost.source().is_some(), "{lost}");
    let refused = of(io::Error::from(io::ErrorKind::ConnectionRefused));
    assert_eq!(refused.outcome(), Outcome::NotApplied);
    assert!(
        matches!(
            refused,
            CacheError::Unavailable {
                reason: Unavailability::Connect,
                ..
            }
        ),
        "{refused}"
    );
    let tls = of(io::Error::new(
        io::ErrorKind::InvalidData,
        "invalid peer certificate",
    ));
    assert!(!tls.is_transient(), "{tls}");
}

#[test]
fn retried_request_leaves_outcome_unknown() {
    let repeated = Attempt {
        may_repeat: true,
        ..ONCE
    };
    let refused = || Failure::Request(io::Error::from(io::ErrorKind::ConnectionRefused).into());
    assert_eq!(from_failure(refused(), repeated).outcome(), Outcome::Unknown);
    let not_ready: RedisError = redis::make_extension_error("NOREPLICAS".into(), None);
    assert_eq!(
        from_failure(Failure::Request(not_ready), repeated).outcome(),
        Outcome::Unknown
    );
    // A pool without a connection has sent nothing.
    assert_eq!(
        from_failure(Failure::PoolTimeout, repeated).outcome(),
        Outcome::NotApplied
    );
}

#[test]
fn connection_timeout_shows_whole_milliseconds() {
    let late = of(io::Error::from(io::ErrorKind::TimedOut));
    assert_eq!(
        late.to_string(),
        "timed out after 500ms while waiting for the reply"
    );
    assert_eq!(late.outcome(), Outcome::Unknown);
    let pool = from_failure(Failure::PoolTimeout, ONCE);
    assert_eq!(pool.to_string(), "timed out after 500ms while connecting");
}

#[test]
fn neither_arguments_nor_replies_are_shown() {
    let unknown = from_server(
        "ERR",
        "unknown command 'FOO', with args beginning with: 'key' 'hunter2' ",
        "FOO",
    );
    assert_eq!(
        unknown.to_string(),
        "rejected by the server, ERR: unknown command 'FOO'"
    );
    let reply = of((
        ErrorKind::UnexpectedReturnType,
        "not compatible",
        "response was bulk-string('hunter2')".to_owned(),
    ));
    let login = of((ErrorKind::AuthenticationFailed, "failed", "hunter2".to_owned()));
    let config = of((
        ErrorKind::InvalidClientConfig,
        "bad",
        "redis://:hunter2@host".to_owned(),
    ));
    let lost = of(io::Error::other("hunter2"));
    let shape = unexpected(&Value::BulkString(b"hunter2".to_vec()), "an integer");
    for error in [reply, login, config, lost, shape] {
        let shown = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn closed_pool_fails_closed() {
    assert!(matches!(
        from_failure(Failure::PoolClosed, ONCE),
        CacheError::Closed
    ));
}
