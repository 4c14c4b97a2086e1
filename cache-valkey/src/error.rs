//! Translates a server's refusals into the contract's errors.
//!
//! Not in here: transport errors. They are classified where they happen: `dial`, `tls`, `wire`.

use std::borrow::Cow;

use cache_core::{CacheError, ConfigError, Outcome, Unavailability};

use crate::reply::{Reply, ServerError};

/// Translates a server's refusal of `command`.
///
/// | code | becomes |
/// |---|---|
/// | `LOADING` `MASTERDOWN` `CLUSTERDOWN` `TRYAGAIN` `BUSY` `READONLY` `FAILOVER` `NOREPLICAS` | `Unavailable`, not ready, not applied |
/// | `ERR max number of clients reached` | `Unavailable`, not ready, not applied |
/// | what a proxy says of its servers ([`behind_proxy`]) | `Unavailable`, not applied or unknown |
/// | `NOAUTH` `WRONGPASS` | `Unauthorized` |
/// | `NOPERM` | `Denied` |
/// | `MOVED` `ASK` outside of cluster mode | `Config`, naming `CACHE_MODE` |
/// | anything else, such as `WRONGTYPE` `OOM` `ERR` | `Rejected` with the server's code |
pub(crate) fn from_server(error: &ServerError, command: &str) -> CacheError {
    let detail = words(&error.detail);
    if let Some((reason, outcome)) = behind_proxy(error) {
        return CacheError::Unavailable {
            reason,
            detail: format!("a proxy says of a server behind it: {} {detail}", error.code).into(),
            outcome,
            source: None,
        };
    }
    match error.code.as_str() {
        "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "BUSY" | "READONLY" | "FAILOVER" | "NOREPLICAS" => {
            CacheError::Unavailable {
                reason: Unavailability::NotReady,
                detail: format!("{} {detail}", error.code).into(),
                outcome: Outcome::NotApplied,
                source: None,
            }
        }
        "ERR" if detail.starts_with("max number of clients") => CacheError::Unavailable {
            reason: Unavailability::NotReady,
            detail: format!("the server has no connection left for this client (ERR {detail})").into(),
            outcome: Outcome::NotApplied,
            source: None,
        },
        "WRONGPASS" => CacheError::Unauthorized {
            detail: format!(
                "the server refused the user name or the password, or the user is disabled (WRONGPASS){CHECK_LOGIN}"
            )
            .into(),
            source: None,
        },
        "NOAUTH" => CacheError::Unauthorized {
            detail: "the server asks for a password (NOAUTH); set CACHE_PASSWORD, and CACHE_USERNAME for an ACL user"
                .into(),
            source: None,
        },
        "NOPERM" => CacheError::Denied { command: command.to_owned().into(), detail: detail.into_owned().into() },
        "MOVED" | "ASK" => CacheError::Config(ConfigError::one(
            "CACHE_MODE",
            "the server is part of a cluster and another node serves this key; set CACHE_MODE=cluster",
        )),
        code => CacheError::Rejected { code: code.to_owned().into(), detail: detail.into_owned().into() },
    }
}

/// Recognises the error of a proxy whose server did not answer: twemproxy uses the system's messages, Envoy
/// its own.
fn behind_proxy(error: &ServerError) -> Option<(Unavailability, Outcome)> {
    const NOT_SENT: [&str; 4] = [
        "ERR Connection refused",
        "ERR Host is down",
        "ERR No route to host",
        "no upstream host",
    ];
    const MAYBE_SENT: [&str; 5] = [
        "ERR Connection timed out",
        "ERR Connection reset by peer",
        "ERR Broken pipe",
        "upstream failure",
        "upstream disconnected",
    ];
    let is = |line: &&str| {
        let rest = line
            .strip_prefix(error.code.as_str())
            .and_then(|rest| rest.strip_prefix(' '));
        rest.is_some_and(|words| error.detail.starts_with(words))
    };
    if NOT_SENT.iter().any(is) {
        return Some((Unavailability::NotReady, Outcome::NotApplied));
    }
    MAYBE_SENT
        .iter()
        .any(is)
        .then_some((Unavailability::Lost, Outcome::Unknown))
}

/// The default advice for a refused login.
const CHECK_LOGIN: &str = "; check CACHE_USERNAME and CACHE_PASSWORD";

/// Translates a server's refusal of a login (`HELLO` or `AUTH`): as [`from_server`], but some servers refuse
/// credentials with the code `ERR`.
pub(crate) fn from_login(error: &ServerError, command: &str) -> CacheError {
    let words = error.detail.to_ascii_lowercase();
    let refused = [
        "invalid username-password pair",
        "invalid password",
        "without any password configured",
    ];
    if error.code == "ERR" && refused.iter().any(|refusal| words.contains(refusal)) {
        return CacheError::Unauthorized {
            detail: format!("the server refused the user name or the password (ERR){CHECK_LOGIN}").into(),
            source: None,
        };
    }
    from_server(error, command)
}

/// Whether `error`, the outcome of a login, means that the server refused the credentials.
pub(crate) fn is_refused_login(error: &CacheError) -> bool {
    match error {
        CacheError::Unauthorized { .. } => true,
        CacheError::Denied { command, .. } => matches!(command.as_ref(), "HELLO" | "AUTH"),
        _ => false,
    }
}

/// Adds the credentials source's advice to the error of a refused login.
pub(crate) fn with_check(error: CacheError, check: &str) -> CacheError {
    let add = |detail: Cow<'static, str>| {
        let what = detail.strip_suffix(CHECK_LOGIN).unwrap_or(&detail);
        format!("{what}; {check}").into()
    };
    match error {
        CacheError::Unauthorized { detail, source } => CacheError::Unauthorized {
            detail: add(detail),
            source,
        },
        CacheError::Denied { command, detail } => CacheError::Denied {
            command,
            detail: add(detail),
        },
        other => other,
    }
}

/// Turns a refusal into an error.
pub(crate) fn accept(reply: Reply, command: &str) -> Result<Reply, CacheError> {
    match reply {
        Reply::Error(error) => Err(from_server(&error, command)),
        reply => Ok(reply),
    }
}

/// The server's message in one line, without the caller's arguments, which some messages repeat.
fn words(detail: &str) -> Cow<'_, str> {
    let end = ["with args beginning with", "Use the "]
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &str, detail: &str) -> CacheError {
        from_server(
            &ServerError {
                code: code.into(),
                detail: detail.into(),
            },
            "GET",
        )
    }

    #[test]
    fn not_ready_refusals_are_unavailable_and_transient() {
        for code in [
            "LOADING",
            "MASTERDOWN",
            "CLUSTERDOWN",
            "TRYAGAIN",
            "BUSY",
            "READONLY",
        ] {
            let error = refusal(code, "wait");
            assert!(error.is_transient(), "{code}");
            assert_eq!(error.outcome(), Outcome::NotApplied, "{code}");
            assert!(error.to_string().contains(code));
        }
    }

    #[test]
    fn connection_limit_is_transient() {
        let error = refusal("ERR", "max number of clients reached");
        assert!(error.is_transient());
        assert!(error.to_string().contains("max number of clients"), "{error}");
    }

    #[test]
    fn proxy_errors_about_its_servers_are_unavailable() {
        for (code, detail, outcome) in [
            ("ERR", "Connection refused", Outcome::NotApplied),
            ("ERR", "Host is down", Outcome::NotApplied),
            ("ERR", "Connection timed out", Outcome::Unknown),
            ("no", "upstream host", Outcome::NotApplied),
            ("upstream", "failure", Outcome::Unknown),
        ] {
            let error = refusal(code, detail);
            assert!(error.is_transient(), "{code} {detail}");
            assert_eq!(error.outcome(), outcome, "{code} {detail}");
        }
        assert!(!refusal("ERR", "no such key").is_transient());
        assert!(!refusal("", "").is_transient());
    }

    #[test]
    fn unauthorized_and_denied_are_distinguished() {
        assert!(matches!(
            refusal("WRONGPASS", ""),
            CacheError::Unauthorized { .. }
        ));
        assert!(matches!(refusal("NOAUTH", ""), CacheError::Unauthorized { .. }));
        let denied = refusal("NOPERM", "User app has no permissions to run the 'get' command");
        assert!(
            matches!(&denied, CacheError::Denied { command, .. } if command == "GET"),
            "{denied}"
        );
    }

    #[test]
    fn login_refused_with_code_err_is_unauthorized() {
        let login = |code: &str, detail: &str| {
            let error = ServerError {
                code: code.into(),
                detail: detail.into(),
            };
            from_login(&error, "AUTH")
        };
        for words in [
            "invalid username-password pair or user is disabled.",
            "invalid password",
            "AUTH <password> called without any password configured for the default user.",
        ] {
            assert!(is_refused_login(&login("ERR", words)), "{words}");
        }
        assert!(is_refused_login(&login("WRONGPASS", "invalid")));
        assert!(is_refused_login(&login(
            "NOPERM",
            "no permissions to run the 'auth' command"
        )));
        assert!(!is_refused_login(&login("ERR", "unknown command 'AUTH'")));
        assert!(!is_refused_login(&refusal(
            "NOPERM",
            "no permissions to run 'get'"
        )));
    }

    #[test]
    fn advice_of_the_source_replaces_the_default_advice() {
        let error = with_check(refusal("WRONGPASS", "invalid"), "check the region");
        let text = error.to_string();
        assert!(text.ends_with("(WRONGPASS); check the region"), "{text}");
        let error = with_check(refusal("NOAUTH", "no"), "check the region");
        assert!(error.to_string().ends_with("; check the region"), "{error}");
    }

    #[test]
    fn rejected_command_keeps_the_servers_code() {
        let error = refusal("OOM", "command not allowed when used memory > 'maxmemory'.");
        assert_eq!(
            error.to_string(),
            "rejected by the server, OOM: command not allowed when used memory > 'maxmemory'"
        );
        assert!(!error.is_transient());
    }

    #[test]
    fn redirect_outside_of_cluster_mode_names_the_variable() {
        assert!(
            refusal("MOVED", "3999 127.0.0.1:6381")
                .to_string()
                .contains("CACHE_MODE=cluster")
        );
    }

    #[test]
    fn repeated_arguments_are_cut_from_messages() {
        let error = refusal(
            "ERR",
            "unknown command 'FOO', with args beginning with: 'key' 'hunter2' ",
        );
        assert_eq!(
            error.to_string(),
            "rejected by the server, ERR: unknown command 'FOO'"
        );
    }
}
