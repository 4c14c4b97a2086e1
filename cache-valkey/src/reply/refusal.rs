//! Reads a server's refusal: its code and its message.
//!
//! Not in here: what a refusal means to a caller, see `error.rs`.

use std::fmt;

/// A server's refusal of one command: its code (`WRONGTYPE`) and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    pub(crate) code: String,
    pub(crate) detail: String,
}

impl ServerError {
    /// Reads the text of an error reply.
    pub(crate) fn read(text: &str) -> Self {
        let (code, detail) = text.split_once(' ').unwrap_or((text, ""));
        Self::new(code, detail)
    }

    /// The refusal with this code and message.
    ///
    /// Redis before 7.0 wraps the refusal of a command inside a script in a message with the code `ERR`. It
    /// is unwrapped here, so that callers and retries see the same refusal on every version.
    pub(crate) fn new(code: &str, detail: &str) -> Self {
        let found = (code == "ERR").then(|| in_script(detail)).flatten();
        let (code, detail) = found.unwrap_or((code, detail));
        Self {
            code: code.to_owned(),
            detail: detail.to_owned(),
        }
    }

    /// The code, such as `WRONGTYPE`.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The server's message, without the code. It may repeat arguments of the command.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server said {} {}", self.code, self.detail)
    }
}

impl std::error::Error for ServerError {}

/// The code and message of the command that failed inside a script, if `detail` is about one: `Error running
/// script (call to f_2d5e): @user_script:1: @user_script: 1: -OOM command not allowed`.
fn in_script(detail: &str) -> Option<(&str, &str)> {
    /// Every version's message for a command that the script's user may not run.
    const NOT_PERMITTED: &str = "The user executing the script";

    let running = detail.strip_prefix("Error running script (call to ");
    let Some((_, mut words)) = running.and_then(|rest| rest.split_once("): ")) else {
        return detail.starts_with(NOT_PERMITTED).then_some(("NOPERM", detail));
    };
    while let Some(rest) = without_place(words) {
        words = rest;
    }
    if words.starts_with(NOT_PERMITTED) {
        return Some(("NOPERM", words));
    }
    let (code, said) = words.strip_prefix('-').unwrap_or(words).split_once(' ')?;
    let is_code = code.len() > 1 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    Some(if is_code { (code, said) } else { ("ERR", words) })
}

/// Removes the position in the script at the start of `words`, such as `@user_script:1: `. An error that a
/// script raises itself has a position without the `@`, so its text is never taken for a server's code.
fn without_place(words: &str) -> Option<&str> {
    let (name, rest) = words.strip_prefix('@')?.split_once(':')?;
    let (line, rest) = rest.trim_start().split_once(": ")?;
    let is_name = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_line = !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit());
    (is_name && is_line).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, String) {
        let error = ServerError::read(text);
        (error.code, error.detail)
    }

    /// As Redis 6.2.14 says it.
    #[test]
    fn refusal_inside_a_script_is_unwrapped() {
        let wrapped = |words: &str| {
            read(&format!(
                "ERR Error running script (call to f_dde55dcf9f80cf4c4f6f797ac09e8d49cd026675): {words}"
            ))
        };
        for (code, words) in [
            ("OOM", "command not allowed when used memory > 'maxmemory'."),
            ("READONLY", "You can't write against a read only replica."),
            ("NOREPLICAS", "Not enough good replicas to write."),
            ("MISCONF", "Redis is configured to save RDB snapshots: no."),
        ] {
            let said = wrapped(&format!("@user_script:1: @user_script: 1: -{code} {words}"));
            assert_eq!(said, (code.to_owned(), words.to_owned()));
        }
        for (code, words) in [
            (
                "WRONGTYPE",
                "Operation against a key holding the wrong kind of value",
            ),
            ("ERR", "value is not an integer or out of range"),
        ] {
            let said = wrapped(&format!("@user_script:12: {code} {words}"));
            assert_eq!(said, (code.to_owned(), words.to_owned()));
        }
        let denied = wrapped(
            "@user_script:1: @user_script: 1: The user executing the script can't run this command or subcommand",
        );
        assert_eq!(denied.0, "NOPERM");
    }

    #[test]
    fn error_raised_by_a_script_is_no_server_code() {
        for words in [
            "Error running script (call to f_00): @user_script:1: user_script:1: MOVED 1 127.0.0.1:2",
            "Error running script (call to f_00): @user_script:1: @user_script: 1: Unknown Redis command called",
            "Error running script (call to f_00): @err_handler_def:9: err_handler_def:9: attempt to concatenate",
            "Error compiling script (new function): user_script:1: unexpected symbol near '<eof>'",
            "Error running script (call to f_00): ",
            "Error running script (call to f_00): @user_script:x: READONLY no",
            "unknown command 'READONLY'",
        ] {
            assert_eq!(read(&format!("ERR {words}")).0, "ERR", "{words}");
        }
    }

    #[test]
    fn refusal_is_code_and_message() {
        assert_eq!(
            read("LOADING not yet"),
            ("LOADING".to_owned(), "not yet".to_owned())
        );
        assert_eq!(read("ERR"), ("ERR".to_owned(), String::new()));
        assert_eq!(
            ServerError::read("WRONGTYPE no").to_string(),
            "the server said WRONGTYPE no"
        );
    }
}
