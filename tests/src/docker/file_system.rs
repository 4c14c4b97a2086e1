//! The file system of an image that is made of programs of this machine, with their loader and libraries.
//!
//! Not in here: building the image.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// A folder that becomes the root of an image.
pub(super) struct FileSystem {
    root: PathBuf,
    /// Where libraries go; without it each goes where it is on this machine, so that the loader finds it by itself.
    libraries: Option<&'static str>,
}

impl FileSystem {
    /// `root` is made if it is not there.
    pub(super) fn new(root: PathBuf, libraries: Option<&'static str>) -> Self {
        Self { root, libraries }
    }

    /// Puts a program at `place`, with everything it needs. `settings` is what comes before it on a command line.
    pub(super) fn add(&self, settings: &[OsString], program: &Path, place: &str) -> Result<()> {
        self.add_libraries(settings, program)?;
        self.copy(program, Path::new(place))
    }

    /// Puts only what the program needs.
    pub(super) fn add_libraries(&self, settings: &[OsString], program: &Path) -> Result<()> {
        let (loader, libraries) = needs(settings, program)?;
        self.copy(&loader, loader.strip_prefix("/").unwrap_or(&loader))?;
        for (name, path) in libraries {
            let place = match self.libraries {
                Some(folder) => Path::new(folder).join(name),
                None => path.strip_prefix("/").unwrap_or(&path).to_owned(),
            };
            self.copy(&path, &place)?;
        }
        Ok(())
    }

    /// An empty folder that everybody may write to.
    pub(super) fn folder(&self, place: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = self.root.join(place);
        std::fs::create_dir_all(&folder)?;
        Ok(std::fs::set_permissions(
            &folder,
            std::fs::Permissions::from_mode(0o1777),
        )?)
    }

    /// A file of text.
    pub(super) fn write(&self, place: &str, text: &str) -> Result<()> {
        let file = self.root.join(place);
        std::fs::create_dir_all(file.parent().context("a file without a folder")?)?;
        Ok(std::fs::write(file, text)?)
    }

    fn copy(&self, from: &Path, place: &Path) -> Result<()> {
        let to = self.root.join(place);
        std::fs::create_dir_all(to.parent().context("a file without a folder")?)?;
        std::fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
        Ok(())
    }
}

/// Asks `ldd` for the loader and the libraries of a program. `settings` is what comes before it on a command line.
fn needs(settings: &[OsString], program: &Path) -> Result<(PathBuf, BTreeMap<String, PathBuf>)> {
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
