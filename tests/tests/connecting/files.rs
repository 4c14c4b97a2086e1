//! Files that are replaced: in one step as Kubernetes does with mounted secrets, or by writing into them.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tempfile::TempDir;

/// How files are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A symbolic link to the folder of all files is replaced by a rename.
    Swap,
    /// Each file is truncated and written, one after the other.
    Rewrite,
}

/// A folder of files.
pub(crate) struct Mount {
    folder: TempDir,
    way: Way,
    versions: AtomicUsize,
}

impl Mount {
    pub(crate) fn new(way: Way, files: &[(&str, &str)]) -> Result<Self> {
        let mount = Self {
            folder: tempfile::tempdir()?,
            way,
            versions: AtomicUsize::new(0),
        };
        mount.replace(files)?;
        Ok(mount)
    }

    /// Where the file `name` is found.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self.way {
            Way::Swap => self.folder.path().join("..data").join(name),
            Way::Rewrite => self.folder.path().join(name),
        }
    }

    /// Replaces all files.
    pub(crate) fn replace(&self, files: &[(&str, &str)]) -> Result<()> {
        if self.way == Way::Rewrite {
            for (name, content) in files {
                fs::write(self.path(name), content)?;
            }
            return Ok(());
        }
        let version = self.versions.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(format!("..{version}"));
        fs::create_dir(&folder)?;
        for (name, content) in files {
            fs::write(folder.join(name), content)?;
        }
        let link = self.folder.path().join("..data_tmp");
        std::os::unix::fs::symlink(&folder, &link)?;
        Ok(fs::rename(&link, self.folder.path().join("..data"))?)
    }
}
