//! The command `cachectl`, which is another package's program: beside this one's where the whole workspace
//! was built, else built now.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// Runs it with these variables and no others; what it printed.
pub(crate) async fn run(arguments: &[String], variables: &[(&str, &str)]) -> Result<String> {
    let output = Command::new(program().await?)
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cachectl: {}, {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

async fn program() -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_BIN_EXE_tenant-service"))
        .parent()
        .context("no folder of programs")?;
    let program = folder.join("cachectl");
    if program.exists() {
        return Ok(program);
    }
    let target = folder.parent().context("no target folder")?;
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "cache-admin", "--bin", "cachectl"])
        .arg("--target-dir")
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .await?;
    ensure!(built.success(), "cachectl does not build");
    Ok(target.join("debug").join("cachectl"))
}
