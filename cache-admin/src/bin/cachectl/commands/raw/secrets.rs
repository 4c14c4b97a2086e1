//! What servers answer and nobody is shown: passwords among settings, keys and values in logs of slow calls.

use cache_valkey::Reply;

const MASK: &str = "***";

/// `reply` to the command `name`, without secrets.
pub(super) fn without(name: &str, reply: Reply) -> Reply {
    match name {
        "CONFIG GET" => settings(reply),
        "SLOWLOG GET" | "COMMANDLOG GET" => calls(reply),
        _ => reply,
    }
}

/// Settings whose names say that they are secret are masked, unless they are empty.
fn settings(reply: Reply) -> Reply {
    let pairs = match reply.into_map() {
        Ok(pairs) => pairs,
        // Of another shape: which part is a secret is not known.
        Err(_) => return Reply::Status(MASK.into()),
    };
    let masked = pairs.into_iter().map(|(name, value)| {
        let is_empty = matches!(&value, Reply::Bulk(bytes) if bytes.is_empty()) || value == Reply::Nil;
        let is_secret = name.as_text().is_none_or(is_secret);
        let value = if is_secret && !is_empty {
            Reply::Status(MASK.into())
        } else {
            value
        };
        (name, value)
    });
    Reply::Map(masked.collect())
}

/// Whether a setting with this name holds a secret.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "secret", "token", "credential"]
        .iter()
        .any(|word| name.contains(word))
        || name.ends_with("auth")
}

/// Of each call the command stays; its arguments, which are keys and values, become their number.
fn calls(reply: Reply) -> Reply {
    let Reply::Array(entries) = reply else {
        return Reply::Status(MASK.into());
    };
    let entries = entries.into_iter().map(|entry| match entry {
        Reply::Array(parts) => {
            let parts = parts.into_iter().map(|part| match part {
                Reply::Array(call) => call_without_arguments(&call),
                other => other,
            });
            Reply::Array(parts.collect())
        }
        _ => Reply::Status(MASK.into()),
    });
    Reply::Array(entries.collect())
}

fn call_without_arguments(call: &[Reply]) -> Reply {
    let arguments = call.len().saturating_sub(1);
    let is_name = |name: &&str| {
        !name.is_empty()
            && name.len() <= 32
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._|-".contains(&byte))
    };
    let name = call
        .first()
        .and_then(Reply::as_text)
        .filter(is_name)
        .unwrap_or("?")
        .to_ascii_uppercase();
    Reply::Status(match arguments {
        1 => format!("{name} (1 argument)").into(),
        arguments => format!("{name} ({arguments} arguments)").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Bulk(text.to_owned().into())
    }

    #[test]
    fn passwords_among_settings_are_masked_in_both_protocols() {
        let pairs = [
            ("requirepass", "hunter2"),
            ("masterauth", "hunter2"),
            ("primaryauth", "hunter2"),
            ("tls-key-file-pass", "hunter2"),
            ("tls-client-key-file-pass", ""),
            ("tls-auth-clients", "yes"),
            ("maxmemory", "0"),
        ];
        let flat = Reply::Array(
            pairs
                .iter()
                .flat_map(|(name, value)| [text(name), text(value)])
                .collect(),
        );
        let map = Reply::Map(
            pairs
                .iter()
                .map(|(name, value)| (text(name), text(value)))
                .collect(),
        );
        for reply in [flat, map] {
            let shown = without("CONFIG GET", reply);
            for (name, value) in pairs {
                let expected = if value == "hunter2" { MASK } else { value };
                assert_eq!(
                    shown.field(name).and_then(Reply::as_text),
                    Some(expected),
                    "{name}"
                );
            }
        }
        assert_eq!(without("CONFIG GET", text("hunter2")), Reply::Status(MASK.into()));
    }

    #[test]
    fn slow_calls_show_no_argument() {
        let call = Reply::Array(vec![text("set"), text("user:jo"), text("hunter2")]);
        let entry = Reply::Array(vec![
            Reply::Int(1),
            Reply::Int(2),
            Reply::Int(3),
            call,
            text("127.0.0.1:1"),
            text(""),
        ]);
        let Reply::Array(entries) = without("SLOWLOG GET", Reply::Array(vec![entry])) else {
            panic!("no array");
        };
        let Reply::Array(parts) = &entries[0] else {
            panic!("no entry");
        };
        assert_eq!(parts[3].as_text(), Some("SET (2 arguments)"));
        assert_eq!(parts[4].as_text(), Some("127.0.0.1:1"));
    }
}
