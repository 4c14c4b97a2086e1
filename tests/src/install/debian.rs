//! Server programs from the packages of Debian and its kin, downloaded and unpacked, never installed.
//!
//! The mirror is the one that the machine already uses. Where its own suites do not hold the package, the
//! release's backports are asked too, through lists kept apart from the system's.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Version, run};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Unpacks the package `name` alone into `folder`, without what it depends on.
pub(super) fn unpack_package(name: &str, folder: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    let apt = Apt::update(work.path())?;
    run(apt.get().args(["download", name]).current_dir(work.path()))?;
    unpack_all(work.path(), folder)
}

/// Unpacks the server's packages, with the libraries that the machine lacks, into `folder`.
pub(super) fn unpack(version: Version, folder: &Path) -> Result<()> {
    let (packages, in_backports): (&[&str], _) = match version {
        Version::Redis7 => (&["redis-server", "redis-tools"], None),
        Version::Valkey8 => (&["valkey-server", "valkey-tools"], Some("valkey-server")),
        Version::Valkey9 | Version::Redis6 => bail!("no Debian release has it"),
    };
    unpack_from(packages, in_backports, folder)
}

/// Unpacks these packages, with the libraries that the machine lacks, into `folder`.
pub(super) fn unpack_packages(packages: &[&str], folder: &Path) -> Result<()> {
    unpack_from(packages, None, folder)
}

/// `in_backports` may only be there.
fn unpack_from(packages: &[&str], in_backports: Option<&str>, folder: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    let apt = Apt::update(work.path())?;
    let mut download = apt.download();
    if in_backports.is_some_and(|package| !apt.offers(package)) {
        let suite = apt.add_backports()?;
        download.args(["--target-release", &suite]);
    }
    run(download.args(packages))?;
    unpack_all(&work.path().join("archives"), folder)
}

/// Unpacks every package in `from` into `folder`.
fn unpack_all(from: &Path, folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg").arg("-x").arg(&path).arg(folder))?;
        }
    }
    Ok(())
}

/// The package manager with its lists and downloads in a folder of ours, so that it needs no rights and
/// changes nothing.
struct Apt<'a> {
    root: &'a Path,
}

impl<'a> Apt<'a> {
    /// With the lists of today.
    fn update(root: &'a Path) -> Result<Self> {
        let apt = Self { root };
        for part in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(root.join(part))?;
        }
        std::fs::write(
            apt.sources(),
            std::fs::read("/etc/apt/sources.list").unwrap_or_default(),
        )?;
        run(apt.get().arg("update"))?;
        Ok(apt)
    }

    fn sources(&self) -> std::path::PathBuf {
        self.root.join("sources.list")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for (key, part) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::Cache", ""),
            ("Dir::Cache::archives", "archives"),
        ] {
            command
                .arg("-o")
                .arg(format!("{key}={}", self.root.join(part).display()));
        }
        command
            .args(["-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User="])
            .env("LC_ALL", "C");
        command
    }

    fn get(&self) -> Command {
        self.command("apt-get")
    }

    fn download(&self) -> Command {
        let mut command = self.get();
        command.args([
            "install",
            "--download-only",
            "--reinstall",
            "--no-install-recommends",
            "--yes",
        ]);
        command
    }

    fn offers(&self, package: &str) -> bool {
        let known = run(self
            .command("apt-cache")
            .args(["show", "--no-all-versions", package]));
        known.is_ok_and(|text| !text.trim().is_empty())
    }

    /// Adds the backports of this release, from the mirror of the release itself; returns the suite's name.
    fn add_backports(&self) -> Result<String> {
        let release = std::fs::read_to_string("/etc/os-release").context("read /etc/os-release")?;
        let code_name = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .context("/etc/os-release names no release")?;
        let targets = run(self.get().args([
            "indextargets",
            "--format",
            "$(CREATED_BY) $(CODENAME) $(REPO_URI)",
        ]))?;
        let prefix = format!("Packages {code_name} ");
        let mirror = targets.lines().find_map(|line| line.strip_prefix(&prefix));
        let mirror = mirror.with_context(|| format!("no source of this machine holds {code_name}"))?;
        let suite = format!("{code_name}-backports");
        let signed = if Path::new(KEYRING).exists() {
            format!("[signed-by={KEYRING}] ")
        } else {
            String::new()
        };
        let mut sources = std::fs::read_to_string(self.sources())?;
        sources.push_str(&format!("\ndeb {signed}{mirror} {suite} main\n"));
        std::fs::write(self.sources(), sources)?;
        run(self.get().arg("update"))?;
        Ok(suite)
    }
}
