//! The program `cachectl`, for tests that run it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;
use tokio::sync::OnceCell;

/// What the program is built from.
const SOURCES: [&str; 6] = [
    "cache-admin/src",
    "cache-aws/src",
    "cache-core/src",
    "cache-layers/src",
    "cache-stack/src",
    "cache-valkey/src",
];

/// Where `cachectl` is. A run of the whole workspace has built it; a run of some tests alone builds it here.
///
/// # Errors
///
/// When it does not build.
pub async fn cachectl() -> Result<PathBuf> {
    static FOUND: OnceCell<PathBuf> = OnceCell::const_new();
    FOUND.get_or_try_init(find_or_build).await.cloned()
}

async fn find_or_build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no root of the workspace")?;
    // The test stands in <target>/<profile>/deps.
    let own = std::env::current_exe()?;
    let profile = own.ancestors().nth(2).context("no folder of the profile")?;
    let program = profile.join("cachectl");
    let built = program.metadata().and_then(|program| program.modified()).ok();
    let mut changed = Vec::new();
    for folder in SOURCES {
        changed.push(newest(&root.join(folder))?);
    }
    if built.is_some() && built > changed.into_iter().max() {
        return Ok(program);
    }
    let name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "-p",
            "cache-admin",
            "--bin",
            "cachectl",
            "--features",
            "aws",
            "--profile",
            name,
            "--target-dir",
        ])
        .arg(profile.parent().context("no target folder")?)
        .current_dir(root)
        .stdin(Stdio::null())
        .status()
        .await?;
    ensure!(built.success(), "cachectl does not build");
    Ok(program)
}

/// When a file under `folder` was changed last.
fn newest(folder: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in folder.read_dir()? {
        let entry = entry?;
        let time = if entry.file_type()?.is_dir() {
            self::newest(&entry.path())?
        } else {
            entry.metadata()?.modified()?
        };
        newest = newest.max(time);
    }
    Ok(newest)
}
