//! Keysets, steps and times as they are shown.

use std::time::Duration;

use cache_admin::keysets::{Due, KeysetAdmin, KeysetView};
use serde_json::{Map, Value, json};

use crate::output::Output;

/// A keyset for scripts; never key material.
pub(super) fn json(admin: &KeysetAdmin, view: &KeysetView) -> Value {
    let keys: Vec<Value> = view
        .info
        .keys
        .iter()
        .map(|key| {
            let events: Map<String, Value> = view
                .times
                .key(key.id)
                .events()
                .map(|(event, moment)| {
                    let value = json!({ "at": moment.to_string(), "assumed": moment.is_assumed });
                    (event.to_owned(), value)
                })
                .collect();
            json!({
                "id": key.id,
                "status": key.status.name(),
                "primary": key.is_primary,
                "kind": key.kind,
                "prefix": key.prefix.map(|prefix| prefix.name()),
                "times": events,
            })
        })
        .collect();
    json!({
        "location": admin.location(),
        "form": view.form.name(),
        "encrypted": view.form.is_encrypted(),
        "proved": view.is_proved,
        "primary_key_id": view.info.primary_key_id,
        "keys": keys,
        "next": due(&view.next, admin.now()),
    })
}

fn due(due: &Due, now: Duration) -> Value {
    json!({
        "step": due.step.name(),
        "key_id": due.step.key_id(),
        "at": due.at.map(|at| at.to_string()),
        "due": due.is_due(now),
        "remaining_s": due.remaining(now).as_secs(),
        "reason": due.reason,
    })
}

/// What comes next, and when.
pub(super) fn next(due: &Due, now: Duration) -> String {
    let step = due.step;
    match due.at {
        Some(at) if !due.is_due(now) => {
            format!("next: {step}, safe from {at}, in {}", span(due.remaining(now)))
        }
        _ => format!("next: {step}, safe now"),
    }
}

/// Says that times had to be assumed.
pub(super) fn unknown(ids: &[u32], is_dry: bool, output: &mut Output) {
    if ids.is_empty() {
        return;
    }
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    let noted = if is_dry {
        "the schedule counts from the first change or rotate"
    } else {
        "the schedule counts from now, which was noted"
    };
    output.note(&format!(
        "another tool made or changed the keys {}, at an unknown time: {noted}",
        ids.join(", ")
    ));
}

/// A time to the second, or to the minute if it is long.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let rounded = if seconds >= 3_600 {
        seconds - seconds % 60
    } else {
        seconds
    };
    humantime::format_duration(Duration::from_secs(rounded)).to_string()
}
