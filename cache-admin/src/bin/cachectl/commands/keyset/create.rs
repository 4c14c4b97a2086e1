//! `cachectl keyset create`.

use std::sync::Arc;

use cache_admin::keysets::KeysetAdmin;
use cache_layers::SystemClock;
use serde_json::json;

use super::place::Found;
use super::{Ended, Notation, show};
use crate::exit::Exit;
use crate::output::Output;

pub(super) async fn run(found: &Found, notation: Notation, dry_run: bool, output: &mut Output) -> Ended {
    let admin = KeysetAdmin::new(Arc::clone(&found.store), found.kek.clone(), Arc::new(SystemClock));
    let form = notation.form(found.kek.is_some());
    let view = admin.create(form, dry_run).await?;
    if output.is_json() {
        output.json(&json!({
            "change": "create",
            "done": true,
            "dry_run": dry_run,
            "keyset": show::json(&admin, &view),
        }))?;
        return Ok(Exit::Ok);
    }
    let (would, location) = (if dry_run { "would be " } else { "" }, admin.location());
    if dry_run {
        output.line(&format!("a keyset {would}made at {location} ({form})"))?;
    } else {
        let id = view.info.primary_key_id;
        output.line(&format!("made at {location} ({form}), with the primary key {id}"))?;
    }
    if !form.is_encrypted() {
        output.warning(
            "the keyset is in clear, which is for development: anyone who can read it can read every value",
        );
    }
    Ok(Exit::Ok)
}
