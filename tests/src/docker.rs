//! The container engine, where one answers, and an image with a Valkey server for it.
//!
//! Starting containers is the business of the tests, by the `testcontainers` crate.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::install::{self, Program, Version};
use crate::skip::skip;

/// The image's name and tag.
const IMAGE: [&str; 2] = ["valkey/valkey", "8"];

/// A container engine that answers.
#[derive(Debug)]
pub struct Docker {
    _private: (),
}

impl Docker {
    /// The engine; `None` where none answers, and then the test `name` is reported as skipped.
    ///
    /// # Panics
    ///
    /// Where none answers and `CI=true`.
    #[must_use]
    pub fn find_or_skip(name: &str) -> Option<Self> {
        match docker(["version", "--format", "{{.Server.Version}}"]) {
            Ok(_) => Some(Self { _private: () }),
            Err(error) => {
                skip(name, &format!("no container engine answers ({error:#})"));
                None
            }
        }
    }

    /// Name and tag of an image with `valkey-server` on its path: the official one where the engine has it
    /// or can pull it, else one of that name built here from the server program and its libraries.
    ///
    /// # Errors
    ///
    /// When there is no image and none can be built.
    pub async fn valkey_image(&self) -> Result<(&'static str, &'static str)> {
        let [name, tag] = IMAGE;
        let reference = format!("{name}:{tag}");
        let program = install::program(Version::Valkey8).await?;
        let get = move || install::alone_do(|| get_image(&reference, &program));
        tokio::task::spawn_blocking(get).await??;
        Ok((name, tag))
    }
}

fn docker<const N: usize>(arguments: [&str; N]) -> Result<String> {
    let output = Command::new("docker")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("no docker")?;
    if !output.status.success() {
        bail!(
            "{}",
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .last()
                .unwrap_or("docker failed")
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn get_image(reference: &str, program: &Program) -> Result<()> {
    if docker(["image", "inspect", reference]).is_err() && docker(["pull", "--quiet", reference]).is_err() {
        let context = tempfile::tempdir()?;
        lay_out(&program.command()?, program.path(), context.path())?;
        let folder = context
            .path()
            .to_str()
            .context("the temporary folder's name is not text")?;
        docker(["build", "--quiet", "--tag", reference, folder])?;
    }
    Ok(())
}

/// Puts the program, its loader and its libraries into `context`, with the recipe for an image of nothing
/// else.
fn lay_out(command: &[std::ffi::OsString], program: &Path, context: &Path) -> Result<()> {
    let (loader, libraries) = needs(command, program)?;
    let root = context.join("root");
    let loader_at = root.join(loader.strip_prefix("/").unwrap_or(&loader));
    std::fs::create_dir_all(loader_at.parent().context("the loader has no folder")?)?;
    std::fs::copy(&loader, loader_at)?;
    for folder in ["libraries", "usr/local/bin", "data"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    for (name, path) in libraries {
        std::fs::copy(path, root.join("libraries").join(name))?;
    }
    std::fs::copy(program, root.join("usr/local/bin/valkey-server"))?;
    let recipe = "FROM scratch\nCOPY root /\nENV PATH=/usr/local/bin LD_LIBRARY_PATH=/libraries\n\
                  WORKDIR /data\nEXPOSE 6379\nCMD [\"valkey-server\", \"--protected-mode\", \"no\"]\n";
    std::fs::write(context.join("Dockerfile"), recipe)?;
    Ok(())
}

/// The loader and the libraries that `ldd` names, with the settings by which the program is started.
fn needs(command: &[std::ffi::OsString], program: &Path) -> Result<(PathBuf, BTreeMap<String, PathBuf>)> {
    let settings = &command[..command.len() - 1];
    let [first, rest @ ..] = &[settings, &["ldd".into()]].concat()[..] else {
        bail!("no command")
    };
    let output = Command::new(first)
        .args(rest)
        .arg(program)
        .output()
        .context("start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut loader = None;
    let mut libraries = BTreeMap::new();
    for line in text.lines().map(str::trim) {
        // `name => /path (address)`, or `/path/of/the/loader (address)`.
        let path = line.split(" (").next().unwrap_or_default();
        match path.split_once(" => ") {
            Some((_, "not found")) => bail!("ldd does not find {line}"),
            Some((name, path)) => {
                libraries.insert(name.to_owned(), PathBuf::from(path));
            }
            None if path.starts_with('/') => loader = Some(PathBuf::from(path)),
            None => {}
        }
    }
    Ok((loader.context("ldd names no loader")?, libraries))
}
