//! Programs in Python that tests check the product by: each in an environment of its own, with pinned packages, beside
//! what the tests are built into.
//!
//! Not in here: which packages, and what is asked of them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::skip::skip;

/// An environment with its packages.
#[derive(Clone, Debug)]
pub struct Python {
    folder: PathBuf,
}

impl Python {
    /// Finds or installs `packages` (each with its version, as in `botocore==1.44.5`) in the environment `name` below
    /// `root`, which is the caller's `CARGO_TARGET_TMPDIR`. `None` where that cannot be, for example without a network;
    /// then `test` is reported as skipped.
    ///
    /// # Errors
    ///
    /// Where the installation panics.
    ///
    /// # Panics
    ///
    /// Where it would skip and `CI=true`.
    pub async fn find_or_skip(
        test: &str,
        root: &'static str,
        name: &'static str,
        packages: &'static [&'static str],
    ) -> Result<Option<Self>> {
        let installed = tokio::task::spawn_blocking(move || install(Path::new(root), name, packages));
        match installed.await? {
            Ok(folder) => Ok(Some(Self { folder })),
            Err(error) => {
                skip(test, &format!("{name} cannot be installed ({error:#})"));
                Ok(None)
            }
        }
    }

    /// A program of the environment: `python`, or what a package brought along.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }
}

/// Once for all tests, also for those that run at the same time.
fn install(root: &Path, name: &str, packages: &[&str]) -> Result<PathBuf> {
    std::fs::create_dir_all(root)?;
    let lock = File::create(root.join(format!("{name}.lock")))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    let folder = root.join(name);
    let complete = folder.join("complete");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&complete).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    run(Command::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(packages))?;
    std::fs::write(complete, wanted)?;
    Ok(folder)
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "{name} ended with {}: {}",
            output.status,
            said.lines().last().unwrap_or_default()
        );
    }
    Ok(())
}
