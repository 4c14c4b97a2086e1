//! Keysets that `cachectl keyset` made, changed and rotated: the real Tink reads each, and opens what was sealed with it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use cache_core::Secret;
use cache_layers::keyset::{KeysetEditor, KeysetForm, load};
use serde_json::Value;
use tokio::process::Command;

use crate::keysets::{agree, shown};
use crate::tink::{Stored, Tink};

/// Every step is due at once.
const AT_ONCE: [&str; 6] = ["--refresh", "0s", "--value-ttl", "0s", "--every", "0s"];

/// Runs `cachectl keyset` and reads what it says.
pub(crate) async fn keyset(arguments: &[&str], variables: &[(&str, &str)]) -> Result<(i32, Value, String)> {
    let output = Command::new(tests::cachectl().await?)
        .arg("keyset")
        .args(arguments)
        .arg("--json")
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    let code = output.status.code().context("ended by a signal")?;
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Ok((code, said, String::from_utf8(output.stderr)?))
}

/// A keyset in a file.
struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn path(&self) -> PathBuf {
        self.folder.path().join("keyset")
    }

    async fn does(&self, arguments: &[&str]) -> Result<Value> {
        let path = self.path();
        let path = path.to_str().context("no text")?;
        let (code, said, err) = keyset(&[arguments, &["--file", path]].concat(), &[]).await?;
        ensure!(code == 0, "{arguments:?}: {code} {err}");
        Ok(said)
    }

    /// Tink shows the same keys, and each side opens what the other seals.
    async fn is_as_tink_reads_it(&self, tink: &mut Tink) -> Result<()> {
        let stored = stored(&self.path())?;
        let bytes = Secret::new(stored.bytes.clone());
        let (editor, _) = KeysetEditor::read(&bytes, None).await?;
        assert_eq!(tink.info(&stored).await?, shown(&editor));
        agree(tink, &stored, &load(&bytes, None).await?).await
    }
}

fn stored(path: &Path) -> Result<Stored> {
    let bytes = std::fs::read(path)?;
    let (_, form) = KeysetEditor::peek(&Secret::new(bytes.clone()))?;
    Ok(Stored {
        bytes,
        form,
        kek: None,
    })
}

#[tokio::test]
async fn tink_reads_a_keyset_after_every_command() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("tink_reads_a_keyset_after_every_command").await? else {
        return Ok(());
    };
    for form in ["json", "binary"] {
        let file = File {
            folder: tempfile::tempdir()?,
        };
        let made = file.does(&["create", "--form", form]).await?;
        file.is_as_tink_reads_it(&mut tink).await?;
        let first = made["keyset"]["primary_key_id"].to_string();
        let sealed_first = tink.seal(&stored(&file.path())?, b"early", b"name").await?;
        let sealed_first = sealed_first.map_err(anyhow::Error::msg)?;

        let added = file.does(&["add"]).await?["key_id"].to_string();
        for command in [
            &["promote", &added, "--force"][..],
            &["disable", &first, "--force"],
            &["enable", &first],
        ] {
            file.does(command).await?;
            file.is_as_tink_reads_it(&mut tink).await?;
        }
        // What was sealed before the rotation still opens, there and here.
        let now = stored(&file.path())?;
        assert_eq!(
            tink.open(&now, &sealed_first, b"name").await?.as_deref(),
            Ok(&b"early"[..])
        );
        let other = if form == "json" { "binary" } else { "json" };
        file.does(&["rewrap", "--to-clear", "--form", other]).await?;
        file.is_as_tink_reads_it(&mut tink).await?;

        // The rest of the rotation, and a whole one after it.
        let mut steps = Vec::new();
        for _ in 0..6 {
            let ran = file.does(&[&["rotate"], &AT_ONCE[..]].concat()).await?;
            steps.push(ran["change"].as_str().unwrap_or("nothing").to_owned());
            file.is_as_tink_reads_it(&mut tink).await?;
        }
        assert_eq!(
            steps,
            ["disable", "delete", "add", "promote", "disable", "delete"]
        );
        assert!(
            tink.open(&stored(&file.path())?, &sealed_first, b"name")
                .await?
                .is_err()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_keyset_of_tink_is_rotated() -> Result<()> {
    let Some(mut tink) = Tink::start_or_skip("a_keyset_of_tink_is_rotated").await? else {
        return Ok(());
    };
    let file = File {
        folder: tempfile::tempdir()?,
    };
    // An older key that is the primary, and one that Tink added after it.
    let made = tink
        .make(&["AES128_GCM", "AES256_GCM"], KeysetForm::Json, None)
        .await?;
    std::fs::write(file.path(), &made.bytes)?;
    let info = file.does(&["info"]).await?;
    let (old, new) = (info["keys"][0]["id"].clone(), info["keys"][1]["id"].clone());
    assert_eq!(info["keys"][0]["times"]["added"]["assumed"], true);
    assert_eq!(info["next"]["key_id"], new);

    let path = file.path();
    let path = path.to_str().context("no text")?;
    let (code, _, err) = keyset(&["promote", &new.to_string(), "--file", path], &[]).await?;
    assert_eq!(code, 5, "{err}");
    assert!(err.contains("at an unknown time"), "{err}");
    let mut steps = Vec::new();
    for _ in 0..3 {
        let ran = file.does(&[&["rotate"], &AT_ONCE[..]].concat()).await?;
        steps.push((ran["change"].clone(), ran["key_id"].clone()));
        file.is_as_tink_reads_it(&mut tink).await?;
    }
    let expected = [("promote", &new), ("disable", &old), ("delete", &old)];
    assert_eq!(steps, expected.map(|(step, id)| (step.into(), id.clone())));
    Ok(())
}
