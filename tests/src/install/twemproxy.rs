//! twemproxy, from the package `nutcracker` of Debian and its kin.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{Program, alone, debian, folder, library_folders, on_path, say};

const NAME: &str = "nutcracker";

/// The program: found on `PATH` or under `.servers/`, or brought there first.
///
/// # Errors
///
/// When it is neither here nor in the machine's packages.
pub async fn twemproxy() -> Result<Program> {
    tokio::task::spawn_blocking(find_or_install).await?
}

fn find_or_install() -> Result<Program> {
    if let Some(program) = on_path(NAME).find(runs) {
        return Ok(program);
    }
    let root = folder()?;
    let _alone = alone(&root)?;
    let place = root.join(NAME);
    if let Some(program) = unpacked(&place) {
        return Ok(program);
    }
    say(&format!(
        "{NAME}: not here yet, taking it from the machine's packages"
    ));
    let part = tempfile::Builder::new().prefix("part-").tempdir_in(&root)?;
    debian::unpack_packages(&[NAME], part.path())?;
    if unpacked(part.path()).is_none() {
        bail!("what was unpacked holds no {NAME} that runs here");
    }
    if place.exists() {
        std::fs::remove_dir_all(&place)?;
    }
    std::fs::rename(part.path(), &place)?;
    unpacked(&place).context("the program vanished")
}

fn unpacked(place: &Path) -> Option<Program> {
    let libraries = ["usr/lib", "lib"].iter();
    let program = Program {
        loader: None,
        path: place.join("usr/sbin").join(NAME),
        libraries: libraries
            .flat_map(|lib| library_folders(&place.join(lib)))
            .collect(),
    };
    (program.path.is_file() && runs(&program)).then_some(program)
}

fn runs(program: &Program) -> bool {
    let Ok(line) = program.command() else {
        return false;
    };
    let output = Command::new(&line[0]).args(&line[1..]).arg("--version").output();
    output.is_ok_and(|output| output.status.success())
}
