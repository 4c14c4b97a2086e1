//! The container engine, where one answers, and images for it.
//!
//! An image that the engine does not have and cannot pull is built from what this machine has, under the official name
//! ([`file_system`]). Several containers at once are started from a compose file ([`compose`]); the tests start single
//! ones by the `testcontainers` crate.

pub mod compose;
mod file_system;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use self::file_system::FileSystem;
use crate::install::{self, Program, Version};
use crate::skip::skip;

pub use self::compose::Compose;

/// Name and tag of the image with the server.
const IMAGE: [&str; 2] = ["valkey/valkey", "8"];

/// What programs without a shell are put on: the C library, its loader, the certificates of public authorities.
const BASE: &str = "gcr.io/distroless/cc-debian12:nonroot";

/// What the scripts of compose files use.
const TOOLS: [&str; 6] = ["sh", "grep", "cut", "sleep", "getent", "env"];

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
        let get = move || {
            install::alone_do(|| get_or_build(&reference, |context| lay_out_server(&program, context)))
        };
        tokio::task::spawn_blocking(get).await??;
        Ok((name, tag))
    }

    /// Builds the last stage of `dockerfile` under the name `tag`, with `programs` in place of what its stage `build`
    /// would compile. The stage `build` itself is left out: its base image is nowhere to be had without a registry.
    ///
    /// # Errors
    ///
    /// When the file has no such stages, or the engine cannot build it.
    pub async fn build_with(&self, dockerfile: &Path, tag: &str, programs: &[&Path]) -> Result<()> {
        let recipe = without_build_stage(&std::fs::read_to_string(dockerfile)?)?;
        let programs: Vec<_> = programs.iter().map(|program| program.to_path_buf()).collect();
        let tag = tag.to_owned();
        let build = move || {
            install::alone_do(|| {
                get_or_build(BASE, |context| lay_out_base(&programs, context))?;
                let binaries = format!("{tag}-binaries");
                build_image(&binaries, |context| {
                    let out = context.join("out");
                    std::fs::create_dir_all(&out)?;
                    for program in &programs {
                        let name = program.file_name().context("a program without a name")?;
                        std::fs::copy(program, out.join(name))?;
                    }
                    Ok("FROM scratch\nCOPY out /out\n".to_owned())
                })?;
                let argument = format!("BINARIES={binaries}");
                let context = tempfile::tempdir()?;
                std::fs::write(context.path().join("Dockerfile"), &recipe)?;
                let folder = text(context.path())?;
                docker([
                    "build",
                    "--quiet",
                    "--build-arg",
                    &argument,
                    "--tag",
                    &tag,
                    folder,
                ])?;
                docker(["rmi", "--force", &binaries])?;
                Ok(())
            })
        };
        tokio::task::spawn_blocking(build).await?
    }

    /// Removes the image; the layers that others share stay.
    pub fn remove_image(&self, tag: &str) {
        // One that is gone already is fine.
        let _ = docker(["rmi", "--force", tag]);
    }
}

/// `recipe` without its stage `build`.
fn without_build_stage(recipe: &str) -> Result<String> {
    let mut kept = String::new();
    let mut is_build = false;
    for line in recipe.lines() {
        if line.starts_with("FROM ") {
            is_build = line.ends_with(" AS build");
        }
        if !is_build {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    if kept.len() == recipe.len() {
        bail!("the file has no stage `build`");
    }
    Ok(kept)
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

/// Makes sure that the engine has `reference`: as it is, pulled, or built from what `lay_out` puts into a folder.
fn get_or_build(reference: &str, lay_out: impl FnOnce(&Path) -> Result<String>) -> Result<()> {
    if docker(["image", "inspect", reference]).is_ok() || docker(["pull", "--quiet", reference]).is_ok() {
        return Ok(());
    }
    build_image(reference, lay_out)
}

/// Builds `reference` from what `lay_out` puts into a folder, by the recipe that it returns.
fn build_image(reference: &str, lay_out: impl FnOnce(&Path) -> Result<String>) -> Result<()> {
    let context = tempfile::tempdir()?;
    let recipe = lay_out(context.path())?;
    std::fs::write(context.path().join("Dockerfile"), recipe)?;
    docker(["build", "--quiet", "--tag", reference, text(context.path())?])?;
    Ok(())
}

/// The server, its command line client, and the tools that scripts of the official image find.
fn lay_out_server(program: &Program, context: &Path) -> Result<String> {
    let command = program.command()?;
    let settings = &command[..command.len() - 1];
    let files = FileSystem::new(context.join("root"), Some("libraries"));
    files.add(settings, program.path(), "usr/local/bin/valkey-server")?;
    let client = program.path().with_file_name("valkey-cli");
    if client.exists() {
        files.add(settings, &client, "usr/local/bin/valkey-cli")?;
    }
    for tool in TOOLS {
        files.add(&[], &on_path(tool)?, &format!("usr/local/bin/{tool}"))?;
    }
    files.folder("data")?;
    files.folder("tmp")?;
    Ok(
        "FROM scratch\nCOPY root /\nCOPY --chown=999:999 root/data /data\n\
        ENV PATH=/usr/local/bin LD_LIBRARY_PATH=/libraries\n\
        WORKDIR /data\nVOLUME /data\nEXPOSE 6379\nCMD [\"valkey-server\", \"--protected-mode\", \"no\"]\n"
            .to_owned(),
    )
}

/// The libraries that `programs` need, and who they may run as.
fn lay_out_base(programs: &[PathBuf], context: &Path) -> Result<String> {
    let files = FileSystem::new(context.join("root"), None);
    for program in programs {
        files.add_libraries(&[], program)?;
    }
    files.write(
        "etc/passwd",
        "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n",
    )?;
    files.write("etc/group", "nonroot:x:65532:\n")?;
    files.folder("tmp")?;
    files.folder("home/nonroot")?;
    let authorities = Path::new("/etc/ssl/certs/ca-certificates.crt");
    if authorities.exists() {
        files.write(
            "etc/ssl/certs/ca-certificates.crt",
            &std::fs::read_to_string(authorities)?,
        )?;
    }
    Ok("FROM scratch\nCOPY root /\nENV PATH=/usr/local/bin:/usr/bin:/bin\nUSER 65532\n".to_owned())
}

/// Where a program of this machine is.
fn on_path(name: &str) -> Result<PathBuf> {
    ["/usr/bin", "/bin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .with_context(|| format!("this machine has no {name}"))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the temporary folder's name is not text")
}
