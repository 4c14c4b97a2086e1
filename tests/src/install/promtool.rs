//! The program `promtool`, which checks and tests the rules of Prometheus: on `PATH`, else from the machine's packages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::{alone, debian, folder, say};
use crate::skip::skip;

/// Where the program is; `None` where it cannot be had, and then the test `name` is reported as skipped.
///
/// # Panics
///
/// Where it cannot be had and `CI=true`.
pub async fn find_or_skip(name: &str) -> Option<PathBuf> {
    let found = tokio::task::spawn_blocking(find_or_install).await;
    match found.map_err(anyhow::Error::from).and_then(|found| found) {
        Ok(program) => Some(program),
        Err(error) => {
            skip(name, &format!("no promtool ({error:#})"));
            None
        }
    }
}

fn find_or_install() -> Result<PathBuf> {
    let on_path = PathBuf::from("promtool");
    if runs(&on_path) {
        return Ok(on_path);
    }
    let root = folder()?;
    let _alone = alone(&root)?;
    let home = root.join("prometheus");
    let program = home.join("usr/bin/promtool");
    if !runs(&program) {
        say("promtool: not here yet, taking it from the machine's packages");
        let part = tempfile::Builder::new().prefix("part-").tempdir_in(&root)?;
        debian::unpack_package("prometheus", part.path())?;
        if home.exists() {
            std::fs::remove_dir_all(&home)?;
        }
        std::fs::rename(part.path(), &home)?;
        runs(&program)
            .then_some(())
            .context("what was unpacked holds no promtool that runs here")?;
    }
    Ok(program)
}

fn runs(program: &Path) -> bool {
    let version = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    version.is_ok_and(|status| status.success())
}
