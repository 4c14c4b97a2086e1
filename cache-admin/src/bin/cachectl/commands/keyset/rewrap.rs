//! `cachectl keyset rewrap`: the same keys, encrypted again, in another form or at another place.

use std::path::PathBuf;
use std::sync::Arc;

use cache_admin::keysets::KeysetAdmin;
use cache_core::keyset::{KeyEncryption, KeysetStore};
use cache_layers::SystemClock;
use cache_layers::keyset::{FileKeysetStore, KeysetEditor, KeysetForm};
use clap::Args;
use serde_json::json;

use super::place::{self, Place};
use super::{Ended, Notation, explained, show, usage};
use crate::exit::Exit;
use crate::output::Output;

#[derive(Args, Debug)]
pub(crate) struct Rewrap {
    #[command(flatten)]
    place: Place,
    /// Encrypt under this key [default: the one of --kms-key]
    #[arg(long, value_name = "URI", conflicts_with = "to_clear")]
    to_kms_key: Option<String>,
    /// Write to this file, which must not exist [default: in place]
    #[arg(long, value_name = "PATH", conflicts_with = "to_uri")]
    to_file: Option<PathBuf>,
    /// Write to this secret, which must not have a value [default: in place]
    #[arg(long, value_name = "URI")]
    to_uri: Option<String>,
    /// Write in clear, for development: anyone who can read it can read every value
    #[arg(long, conflicts_with = "to_uri")]
    to_clear: bool,
    /// The notation [default: as it is]
    #[arg(long, value_enum)]
    form: Option<Notation>,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(rewrap: Rewrap, output: &mut Output) -> Ended {
    let found = rewrap.place.find_to_look(output).await?;
    let read = found.store.read().await;
    let stored = read.map_err(|error| explained(error, &found.store.location()))?;
    let (_, old_form) = KeysetEditor::peek(&stored.bytes)?;
    if old_form.is_encrypted() && found.kek.is_none() {
        return Err(usage(
            "the keyset is encrypted: say with --kms-key which key decrypts it",
        ));
    }
    let new_kek: Option<Arc<dyn KeyEncryption>> = match (&rewrap.to_kms_key, rewrap.to_clear) {
        (_, true) => None,
        (Some(uri), false) => Some(place::key(uri).await?),
        (None, false) => found.kek.clone(),
    };
    if new_kek.is_none() && !rewrap.to_clear {
        return Err(usage(
            "say with --to-kms-key under which key to encrypt, or --to-clear",
        ));
    }
    let form = match rewrap.form {
        Some(notation) => notation.form(new_kek.is_some()),
        None => old_form.with_encryption(new_kek.is_some()),
    };
    let target: Option<Arc<dyn KeysetStore>> = match (rewrap.to_file, rewrap.to_uri) {
        (Some(path), _) => Some(Arc::new(FileKeysetStore::new(path))),
        (None, Some(uri)) => Some(place::secret(&uri).await?),
        (None, None) => None,
    };

    let old_kek = found.kek.filter(|_| old_form.is_encrypted());
    let admin = KeysetAdmin::new(found.store, old_kek, Arc::new(SystemClock));
    let view = admin
        .rewrap(target.as_deref(), new_kek.as_deref(), form, rewrap.dry_run)
        .await?;
    let location = target.map_or_else(|| admin.location(), |target| target.location());
    if output.is_json() {
        output.json(&json!({
            "change": "rewrap",
            "done": true,
            "dry_run": rewrap.dry_run,
            "to": location,
            "keyset": show::json(&admin, &view),
        }))?;
        return Ok(Exit::Ok);
    }
    let name = new_kek.map_or_else(|| "in clear".to_owned(), |kek| format!("under {}", kek.name()));
    let written = if rewrap.dry_run {
        "would be written"
    } else {
        "written"
    };
    output.line(&format!("{written} to {location} ({form}), {name}"))?;
    warn(old_form, form, output);
    Ok(Exit::Ok)
}

fn warn(old: KeysetForm, new: KeysetForm, output: &mut Output) {
    if !old.is_encrypted() && new.is_encrypted() {
        output.note(
            "its keys were in clear until now: rotate them if anybody else could read them, and remove old copies",
        );
    }
    if !new.is_encrypted() {
        output.warning(
            "the keyset is in clear, which is for development: anyone who can read it can read every value",
        );
    }
}
