//! Server programs out of the official container images, where a container engine answers.
//!
//! The image's file system is unpacked and the program started through the image's own loader, beside the
//! other servers: ports, pipes and signals then work the same whichever way a server came here.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::{Version, run};

/// Unpacks the image's file system into `folder`.
pub(super) fn unpack(version: Version, folder: &Path) -> Result<()> {
    let image = match version {
        Version::Valkey8 => "valkey/valkey:8",
        Version::Valkey9 => "valkey/valkey:9",
        Version::Redis7 => "redis:7.0",
        Version::Redis6 => "redis:6.2",
    };
    let container = run(Command::new("docker").args(["create", image, version.program()]))?;
    let container = container.trim();
    let unpacked = export(container, folder);
    run(Command::new("docker").args(["rm", "--force", container]))?;
    unpacked
}

fn export(container: &str, folder: &Path) -> Result<()> {
    let mut export = Command::new("docker")
        .args(["export", container])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start docker")?;
    let archive = export.stdout.take().context("docker has no output")?;
    let tar = Command::new("tar")
        .args(["-x", "--no-same-owner", "--exclude=dev/*", "-C"])
        .arg(folder)
        .stdin(archive)
        .status()
        .context("start tar")?;
    if !export.wait()?.success() || !tar.success() {
        bail!("the image could not be unpacked");
    }
    Ok(())
}
