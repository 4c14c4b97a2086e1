//! What `deploy/` holds is what the product has.
//!
//! Not in here: images and the compose file, which the tests of `examples` start.

mod environments;
mod helm;
mod kubernetes;
mod monitoring;
mod terraform;

use std::path::{Path, PathBuf};

/// A file of the folder `deploy`.
fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}
