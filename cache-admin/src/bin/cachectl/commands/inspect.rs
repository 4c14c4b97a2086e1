//! `cachectl inspect KEY`.

use std::ffi::OsString;
use std::time::Duration;

use cache_admin::{Inspection, Shown};
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
        lines.push(("value", shown(value)));
    }
    lines
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
