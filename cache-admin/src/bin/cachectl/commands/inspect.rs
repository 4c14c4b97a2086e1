//! `cachectl inspect KEY`.

use std::ffi::OsString;
use std::time::Duration;

use cache_admin::{Cipher, Envelope, Form, Holds, Inspection, Shown};
use cache_core::CacheError;
use cache_stack::Stack;
use clap::Args;
use serde_json::{Value, json};

use super::Ended;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;

#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// The key, byte by byte
    pub(crate) key: OsString,
    /// Show what it holds, too; that counts as a use of the key
    #[arg(long)]
    pub(crate) value: bool,
    /// How many bytes of it
    #[arg(long, value_name = "N", default_value_t = 1_024, requires = "value")]
    pub(crate) bytes: u32,
}

pub(super) async fn run(stack: &Stack, arguments: Inspect, output: &mut Output) -> Ended {
    let key = arguments.key.into_encoded_bytes();
    let full = [stack.key_prefix().as_bytes(), &key].concat();
    // A prefix alone is no key.
    let asked: &[u8] = if key.is_empty() { &[] } else { &full };
    let value = arguments.value.then_some(arguments.bytes);
    let found = Inspection::of(stack, asked, value).await?;
    let found = found.ok_or(Failure::Cache(CacheError::Miss))?;
    show(&key, &found, arguments.value, output)
}

/// What is known of `key`; with its value, where that was asked for.
pub(crate) fn show(key: &[u8], found: &Inspection, value: bool, output: &mut Output) -> Ended {
    if output.is_json() {
        let mut object = escape::object("key", key);
        if let Value::Object(fields) = json!(found) {
            object.extend(fields);
        }
        output.json(&object)?;
        return Ok(Exit::Ok);
    }
    for (name, words) in lines(key, found) {
        let name = output.colours().dim(&format!("{name:<8}"));
        output.line(&format!("{name}  {words}"))?;
    }
    if value && found.value.is_none() {
        output.note("only what is stored as a string is shown");
    }
    Ok(Exit::Ok)
}

fn lines(key: &[u8], found: &Inspection) -> Vec<(&'static str, String)> {
    let kind = found.kind.as_ref().map(|kind| match &found.encoding {
        Some(encoding) => format!("{kind} ({encoding})"),
        None => kind.clone(),
    });
    let left = found
        .ttl_ms
        .map(|millis| human::time(Duration::from_millis(millis)));
    let left = left.or_else(|| (found.forever == Some(true)).then(|| "forever".to_owned()));
    let idle = found
        .idle_seconds
        .map(|seconds| humantime::format_duration(Duration::from_secs(seconds)).to_string());
    let told = |words: Option<String>| words.unwrap_or_else(|| "not told".to_owned());
    let mut lines = vec![
        ("key", escape::escaped(key)),
        ("type", told(kind)),
        ("ttl", told(left)),
        ("memory", told(found.memory_bytes.map(human::bytes))),
        ("idle", told(idle)),
        ("primary", told(found.primary.clone())),
    ];
    if let Some(slot) = found.slot {
        lines.push(("slot", slot.to_string()));
    }
    if let Some(value) = &found.value {
        let is_empty = match &value.form {
            Some(Form::Envelope(envelope)) => {
                lines.extend(envelope_lines(envelope));
                envelope.holds != Holds::Value
            }
            Some(Form::Encrypted { cipher }) => {
                let cipher = match cipher {
                    Cipher::Tink => "encrypted, in the form of Tink, by its looks; not decrypted",
                    _ => "encrypted, in the form of chinmina-bridge; not decrypted",
                };
                lines.push(("form", cipher.to_owned()));
                false
            }
            _ => false,
        };
        if !is_empty {
            lines.push(("value", shown(value)));
        }
    }
    lines
}

fn envelope_lines(envelope: &Envelope) -> [(&'static str, String); 3] {
    let holds = match envelope.holds {
        Holds::Value => "envelope of a read-through",
        Holds::Absent => "envelope of a read-through: there is no value",
        _ => "envelope of a read-through: a load is under way",
    };
    let time = |millis| human::time(Duration::from_millis(millis));
    let fresh = match envelope.fresh_for_ms {
        Some(left) => format!("for {}", time(left)),
        None => "no longer: it has expired".to_owned(),
    };
    [
        ("form", holds.to_owned()),
        ("age", time(envelope.age_ms)),
        ("fresh", fresh),
    ]
}

fn shown(value: &Shown) -> String {
    let what = match (&value.text, &value.base64) {
        (Some(text), _) => escape::escaped(text.as_bytes()),
        (None, Some(base64)) => format!("base64 {base64}"),
        (None, None) => String::new(),
    };
    if value.truncated {
        format!("{what}... ({} in all)", human::bytes(value.length))
    } else {
        what
    }
}

#[cfg(test)]
mod tests {
    use cache_core::{CacheClient as _, CacheConfig, Ttl};
    use cache_layers::{Loaded, ReadThrough, ReadThroughConfig};

    use super::*;

    /// The names of the lines from the form on, with the words of all but the times.
    async fn told(stack: &Stack, key: &str) -> Vec<(&'static str, String)> {
        let found = Inspection::of(stack, key.as_bytes(), Some(64)).await.unwrap();
        let lines = lines(key.as_bytes(), &found.unwrap()).into_iter();
        let lines = lines.skip_while(|(name, _)| !["form", "value"].contains(name));
        lines
            .map(|(name, words)| match name {
                "age" | "fresh" => (name, String::new()),
                _ => (name, words),
            })
            .collect()
    }

    #[tokio::test]
    async fn an_envelope_and_a_ciphertext_are_named_and_a_plain_value_is_shown_as_it_is() {
        let stack = cache_stack::assemble(&CacheConfig::default()).await.unwrap();
        let values = ReadThrough::new(stack.client.clone(), ReadThroughConfig::default());
        values.put("user:7", Loaded::new("hello")).await.unwrap();
        values.put("user:8", Loaded::absent()).await.unwrap();
        for (key, value) in [("plain", "hello"), ("enc:token", "cb-enc:AAAA")] {
            stack.client.set(key, value.into(), Ttl::Forever).await.unwrap();
        }
        let line = |name, words: &str| (name, words.to_owned());
        let (age, fresh) = (line("age", ""), line("fresh", ""));
        let form = line("form", "envelope of a read-through");
        let value = line("value", "hello");
        assert_eq!(
            told(&stack, "user:7").await,
            [form, age.clone(), fresh.clone(), value.clone()]
        );
        let form = line("form", "envelope of a read-through: there is no value");
        assert_eq!(told(&stack, "user:8").await, [form, age, fresh]);
        let form = line("form", "encrypted, in the form of chinmina-bridge; not decrypted");
        assert_eq!(
            told(&stack, "enc:token").await,
            [form, line("value", "cb-enc:AAAA")]
        );
        assert_eq!(told(&stack, "plain").await, [value]);
    }
}
