//! The answer in text and in JSON.

use cache_core::{CacheConfig, ConfigError};
use serde_json::{Value, json};

use super::server::Seen;
use super::translate::{Setting, Translation, Written};
use crate::escape::plain;
use crate::failure::Failure;
use crate::output::Output;

type Looked = Result<Seen, Failure>;

pub(super) fn show(
    translation: &Translation,
    accepted: &Result<CacheConfig, ConfigError>,
    seen: Option<&Looked>,
    output: &mut Output,
) -> Result<(), Failure> {
    if output.is_json() {
        output.json(&as_json(translation, accepted, seen))?;
        return Ok(());
    }
    for setting in &translation.settings {
        let line = match setting.from.as_slice() {
            [] => setting.line(),
            [from] if *from == setting.name => setting.line(),
            from => format!("{}   # from {}", setting.line(), from.join(", ")),
        };
        output.line(&plain(&line))?;
    }
    if translation.settings.is_empty() {
        output.line("# no setting of a cache client was found")?;
    }
    if !translation.notes.is_empty() {
        output.line("")?;
    }
    for note in &translation.notes {
        let label = output.colours().yellow(&format!("{:<16}", note.kind));
        output.line(&format!(
            "# {label}  {}: {}",
            plain(&note.about),
            plain(&note.message)
        ))?;
    }
    output.line("")?;
    if accepted.is_ok() {
        output
            .line("# accepted; secrets are not shown: put the value of the named variable in their place")?;
    }
    if let Some(Ok(seen)) = seen {
        let kind = if seen.cluster { "a cluster" } else { "no cluster" };
        output.line(&format!(
            "# looked at {} primaries ({kind}), {} keys drawn at random",
            seen.primaries, seen.sampled
        ))?;
    }
    Ok(())
}

impl Setting {
    fn line(&self) -> String {
        match &self.written {
            Written::Plain(value) => format!("{}={value}", self.name),
            Written::Secret { reference, .. } => format!("{}={reference}", self.name),
        }
    }
}

fn as_json(
    translation: &Translation,
    accepted: &Result<CacheConfig, ConfigError>,
    seen: Option<&Looked>,
) -> Value {
    let settings: Vec<Value> = translation
        .settings
        .iter()
        .map(|setting| {
            let (value, take_from) = match &setting.written {
                Written::Plain(value) => (Some(value), None),
                Written::Secret { reference, .. } => (None, Some(reference)),
            };
            json!({ "name": setting.name, "value": value, "secret": take_from, "from": setting.from })
        })
        .collect();
    let problems: Vec<String> = match accepted {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().iter().map(ToString::to_string).collect(),
    };
    json!({
        "accepted": accepted.is_ok(),
        "settings": settings,
        "problems": problems,
        "notes": translation.notes,
        "server": seen.and_then(|seen| seen.as_ref().ok()),
    })
}
