//! Files that their owner alone may read.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Makes the file at `path` if there is none, for its owner alone.
#[cfg(feature = "jobs")]
pub(crate) fn make(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    open(options, path).map(drop)
}

/// The file at `path`, empty, for its owner alone if it is new.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    open(options, path)
}

fn open(mut options: OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
