//! Tags of answers, by which a client tells what it has.

use axum::http::{HeaderMap, header};
use serde::Serialize;

/// A tag of what is written as this JSON.
pub(crate) fn of(value: &impl Serialize) -> String {
    use std::fmt::Write as _;

    let text = serde_json::to_vec(value).unwrap_or_default();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    let mut tag = String::from("\"");
    for byte in digest.as_ref().iter().take(16) {
        // Writing to a text does not fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

/// Whether the client has what this tag is of (`If-None-Match`).
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter();
    known.filter_map(|known| known.to_str().ok()).any(|known| {
        known.split(',').map(str::trim).any(|known| {
            let known = known.strip_prefix("W/").unwrap_or(known);
            known == "*" || known == tag
        })
    })
}
