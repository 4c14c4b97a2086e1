//! `cachectl keys [PATTERN]`, page by page from the service.

use std::collections::HashSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_core::Pattern;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Client;
use super::client::{encoded, parameter};
use crate::cli::Keys;
use crate::commands::Ended;
use crate::escape;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::human;
use crate::output::Output;

/// The most that one page is asked for.
const PAGE: usize = 1_000;

#[derive(Deserialize)]
struct Page {
    keys: Vec<Name>,
    cursor: Option<String>,
    #[serde(default)]
    gaps: Vec<[u16; 2]>,
}

#[derive(Deserialize)]
struct Name {
    key: Option<String>,
    key_base64: Option<String>,
}

pub(super) async fn run(client: &Client, arguments: &Keys, output: &mut Output) -> Ended {
    let run = &arguments.run;
    if run.rate.is_some() || run.full_speed {
        return Err(Failure::Usage(
            "with --server the service decides how fast it lists: no --rate, no --full-speed".to_owned(),
        ));
    }
    let [pattern] = arguments.patterns.as_slice() else {
        return Err(Failure::Usage("with --server keys takes one pattern".to_owned()));
    };
    if arguments.filters.are_given() {
        return Err(Failure::Usage(
            "with --server keys lists by name only: no --type, --ttl-below and the like".to_owned(),
        ));
    }
    let pattern = Pattern::new(pattern.clone().into_encoded_bytes())?;
    let limit = (!arguments.all).then_some(arguments.limit);
    let mut given = HashSet::new();
    let (mut listed, mut has_more) = (0_u64, false);
    let (mut gaps, mut cursor) = (Vec::new(), None::<String>);
    'pages: loop {
        let mut path = format!(
            "/cache/keys?{}&partial=true&limit={}",
            parameter("pattern", pattern.as_bytes()),
            limit.map_or(PAGE, |limit| limit.min(PAGE))
        );
        if let Some(cursor) = &cursor {
            path.push_str(&format!("&cursor={}", encoded(cursor.as_bytes())));
        }
        let page: Page = client.get(&path).await?;
        gaps.extend(page.gaps);
        for name in page.keys {
            let key = name.bytes().ok_or_else(|| client.strange("a key has no name"))?;
            if let Some(limit) = limit {
                if given.contains(&key) {
                    continue;
                }
                if given.len() >= limit {
                    has_more = true;
                    break 'pages;
                }
                given.insert(key.clone());
            }
            listed += 1;
            if output.is_json() {
                output.json(&Value::Object(escape::object("key", &key)))?;
            } else {
                output.line(&escape::escaped(&key))?;
            }
        }
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    end(&gaps, listed, has_more, output)
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

impl Name {
    fn bytes(self) -> Option<Vec<u8>> {
        match (self.key, self.key_base64) {
            (Some(text), _) => Some(text.into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).ok(),
            (None, None) => None,
        }
    }
}
