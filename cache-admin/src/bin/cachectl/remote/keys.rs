//! `cachectl keys [PATTERN]...`, page by page from the service.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::Pattern;
use serde::Deserialize;
use serde_json::json;

use super::Client;
use super::client::{encoded, parameter};
use crate::cli::Keys;
use crate::columns::{self, Known};
use crate::commands::Ended;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;

/// The most that one page is asked for.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
struct Page {
    keys: Vec<Entry>,
    cursor: Option<String>,
    #[serde(default)]
    gaps: Vec<[u16; 2]>,
}

#[derive(Deserialize)]
struct Entry {
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(flatten)]
    known: Known,
}

/// How far a listing is.
struct Listing {
    /// What is asked for of each key, with commas between.
    fields: String,
    /// The keys that were shown, while there is a limit to how many that can be.
    given: HashSet<Vec<u8>>,
    listed: u64,
    gaps: Vec<[u16; 2]>,
}

pub(super) async fn run(client: &Client, arguments: &Keys, output: &mut Output) -> Ended {
    let run = &arguments.run;
    if run.rate.is_some() || run.full_speed {
        return Err(Failure::Usage(
            "--rate and --full-speed do not work with keys through a service, which decides how fast it lists".to_owned(),
        ));
    }
    if arguments.filters.asks_for_idle() {
        return Err(Failure::Usage(
            "--idle does not work with keys through a service; --no-server lists from the cache itself"
                .to_owned(),
        ));
    }
    let selection = arguments.filters.of(&arguments.patterns)?;
    let mut listing = Listing {
        fields: fields(arguments),
        given: HashSet::new(),
        listed: 0,
        gaps: Vec::new(),
    };
    columns::header(&arguments.columns, output)?;
    let mut has_more = false;
    for index in 0..selection.patterns().len() {
        has_more = listing
            .list(client, arguments, selection.patterns(), index, output)
            .await?;
        if has_more {
            break;
        }
    }
    let Listing { listed, gaps, .. } = listing;
    end(&gaps, listed, has_more, output)
}

/// What the service is asked to tell of each key.
fn fields(arguments: &Keys) -> String {
    let mut fields = arguments.filters.fields();
    for column in &arguments.columns {
        if !fields.contains(column) {
            fields.push(*column);
        }
    }
    let names: Vec<&str> = fields.iter().map(|field| field.name()).collect();
    names.join(",")
}

impl Listing {
    /// Lists the keys of one of the patterns that none before it matches; whether there are more than the limit.
    async fn list(
        &mut self,
        client: &Client,
        arguments: &Keys,
        patterns: &[Pattern],
        index: usize,
        output: &mut Output,
    ) -> Result<bool, Failure> {
        let (before, pattern) = (&patterns[..index], &patterns[index]);
        let limit = (!arguments.all).then_some(arguments.limit);
        let size = limit
            .filter(|_| self.fields.is_empty())
            .map_or(PAGE, |limit| limit.min(PAGE));
        let mut cursor = None::<String>;
        loop {
            let mut path = format!(
                "/cache/keys?{}&partial=true&limit={size}",
                parameter("pattern", pattern.as_bytes()),
            );
            if !self.fields.is_empty() {
                path.push_str(&format!("&fields={}", self.fields));
            }
            if let Some(cursor) = &cursor {
                path.push_str(&format!("&cursor={}", encoded(cursor.as_bytes())));
            }
            let page: Page = client.get(&path).await?;
            self.gaps.extend(page.gaps);
            for entry in page.keys {
                let key = entry.bytes().ok_or_else(|| client.strange("a key has no name"))?;
                let known_before = before.iter().any(|pattern| pattern.matches(&key));
                if known_before || !arguments.filters.passes(&entry.known) {
                    continue;
                }
                if let Some(limit) = limit {
                    if self.given.contains(&key) {
                        continue;
                    }
                    if self.given.len() >= limit {
                        return Ok(true);
                    }
                    self.given.insert(key.clone());
                }
                self.listed += 1;
                columns::show(&arguments.columns, &key, &entry.known, output)?;
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return Ok(false);
            }
        }
    }
}

fn end(gaps: &[[u16; 2]], listed: u64, has_more: bool, output: &mut Output) -> Ended {
    let (outcome, exit) = match (has_more, gaps.is_empty()) {
        (true, _) => ("limited", Exit::Ok),
        (false, true) => ("complete", Exit::Ok),
        (false, false) => ("partial", Exit::Partial),
    };
    if output.is_json() {
        let end = json!({ "outcome": outcome, "listed": listed, "has_more": has_more });
        let mut end = json!({ "end": end });
        if exit == Exit::Partial {
            end["end"]["gaps"] = json!([{ "slots": gaps }]);
        }
        output.json(&end)?;
        return Ok(exit);
    }
    output.flush()?;
    if has_more {
        output.note(&format!(
            "{} listed and there are more; --limit N or --all lists them",
            human::keys(listed)
        ));
    } else if output.is_watched() {
        output.note(&human::keys(listed));
    }
    if exit == Exit::Partial {
        let ranges: Vec<String> = gaps
            .iter()
            .map(|[first, last]| format!("{first}-{last}"))
            .collect();
        output.warning(&format!("slots that could not be listed: {}", ranges.join(", ")));
    }
    Ok(exit)
}

impl Entry {
    fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.key, &self.key_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).ok(),
            (None, None) => None,
        }
    }
}
