//! The chart as `helm` renders it: the checks of the overlays, the same meaning as theirs, and values that are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use cache_core::config::{VARIABLES, Variable};
use serde_json::{Value, json};
use tests::install::helm;

use crate::deploy;
use crate::kubernetes::{check, manifests, read, settings, tools};

/// The chart and the program that renders it.
struct Chart {
    helm: PathBuf,
    home: tempfile::TempDir,
}

impl Chart {
    async fn find_or_skip(name: &str) -> Result<Option<Self>> {
        let Some(helm) = helm::find_or_skip(name).await else {
            return Ok(None);
        };
        let home = tempfile::tempdir()?;
        Ok(Some(Self { helm, home }))
    }

    fn run(&self, command: &[&str], values: Option<&str>, more: &[&str]) -> Result<Output> {
        let chart = deploy("helm/tenant-service");
        let mut helm = Command::new(&self.helm);
        helm.args(command)
            .arg(&chart)
            .args(more)
            .env_clear()
            .env("HOME", self.home.path());
        if let Some(values) = values {
            helm.arg("--values")
                .arg(chart.join(format!("values-{values}.yaml")));
        }
        Ok(helm.output()?)
    }

    /// The YAML of the release `tenant-service`; an error has what `helm` said.
    fn render(&self, values: Option<&str>, more: &[&str]) -> Result<Vec<u8>> {
        let output = self.run(&["template", "tenant-service"], values, more)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        Ok(output.stdout)
    }
}

/// Takes away what only says which tool made a manifest.
fn strip(value: &mut Value, config: &str) {
    const OF_THE_TOOL: [&str; 7] = [
        "app.kubernetes.io/instance",
        "app.kubernetes.io/managed-by",
        "app.kubernetes.io/part-of",
        "app.kubernetes.io/version",
        "checksum/config",
        "helm.sh/chart",
        "namespace",
    ];
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_THE_TOOL.contains(&name.as_str()));
            fields.values_mut().for_each(|value| strip(value, config));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip(item, config)),
        Value::String(text) if text == config => *text = "(the config map)".to_owned(),
        _ => {}
    }
}

/// Where pods may connect to, however the rules are grouped.
fn ways_out(policy: &Value) -> Value {
    let rules = policy["spec"]["egress"].as_array().cloned().unwrap_or_default();
    let mut ways = BTreeSet::new();
    for rule in rules {
        for port in rule["ports"].as_array().cloned().unwrap_or_default() {
            ways.insert(format!("{port} to {}", rule["to"]));
        }
    }
    json!(ways)
}

/// What manifests mean, by kind.
fn meaning(manifests: Vec<Value>) -> BTreeMap<String, Value> {
    let config = manifests
        .iter()
        .find(|manifest| manifest["kind"] == "ConfigMap")
        .and_then(|manifest| manifest["metadata"]["name"].as_str())
        .unwrap_or_default()
        .to_owned();
    let mut meaning = BTreeMap::new();
    for mut manifest in manifests {
        strip(&mut manifest, &config);
        if manifest["kind"] == "NetworkPolicy" {
            manifest["spec"]["egress"] = ways_out(&manifest);
        }
        meaning.insert(manifest["kind"].as_str().unwrap_or_default().to_owned(), manifest);
    }
    meaning
}

#[tokio::test]
async fn the_chart_passes_the_checks_of_the_overlays() -> Result<()> {
    let name = "the_chart_passes_the_checks_of_the_overlays";
    let (Some(chart), Some(python)) = (Chart::find_or_skip(name).await?, tools(name).await?) else {
        return Ok(());
    };
    for values in [None, Some("staging"), Some("production")] {
        let linted = chart.run(&["lint", "--strict"], values, &[])?;
        ensure!(
            linted.status.success(),
            "{}",
            String::from_utf8_lossy(&linted.stdout)
        );
        let manifests = read(&python, &chart.render(values, &[])?)?;
        check(&manifests, &[]).with_context(|| format!("{values:?}"))?;
    }
    // Variables are text, whatever YAML makes of them: numbers of a file are floating-point numbers.
    let file = chart.home.path().join("values.yaml");
    std::fs::write(
        &file,
        "settings: {CACHE_TYPE: memory, CACHE_ADDRS: null, CACHE_L1_MAX_ENTRIES: 2000000}",
    )?;
    let file = file.display().to_string();
    let manifests = read(&python, &chart.render(None, &["--values", &file])?)?;
    let settings: BTreeMap<_, _> = settings(&manifests)?.into_iter().collect();
    assert_eq!(settings["CACHE_L1_MAX_ENTRIES"], "2000000");
    assert!(!settings.contains_key("CACHE_ADDRS"), "{settings:?}");
    Ok(())
}

#[tokio::test]
async fn the_chart_and_the_overlays_mean_the_same() -> Result<()> {
    let name = "the_chart_and_the_overlays_mean_the_same";
    let (Some(chart), Some(python)) = (Chart::find_or_skip(name).await?, tools(name).await?) else {
        return Ok(());
    };
    for environment in ["staging", "production"] {
        let of_the_chart = meaning(read(&python, &chart.render(Some(environment), &[])?)?);
        let of_the_overlay = meaning(manifests(&python, environment)?);
        for (kind, expected) in &of_the_overlay {
            assert_eq!(of_the_chart.get(kind), Some(expected), "{environment}: {kind}");
        }
        assert_eq!(of_the_chart.len(), of_the_overlay.len(), "{environment}");
    }
    Ok(())
}

#[tokio::test]
async fn a_service_monitor_replaces_the_annotations_of_the_pods() -> Result<()> {
    let name = "a_service_monitor_replaces_the_annotations_of_the_pods";
    let (Some(chart), Some(python)) = (Chart::find_or_skip(name).await?, tools(name).await?) else {
        return Ok(());
    };
    let set = "serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus";
    let manifests = read(&python, &chart.render(None, &["--set", set])?)?;
    check(&manifests, &["ServiceMonitor"])?;
    let of = |kind: &str| {
        let found = manifests.iter().find(|manifest| manifest["kind"] == kind);
        found.with_context(|| format!("no {kind}"))
    };
    let (monitor, service) = (of("ServiceMonitor")?, of("Service")?);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    assert_eq!(endpoint["path"], "/metrics");
    let chosen = monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .context("chooses every service")?;
    for (label, value) in chosen {
        assert_eq!(&service["metadata"]["labels"][label], value, "{label}");
    }
    let annotations = &of("Deployment")?["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/scrape"], Value::Null, "scraped twice");
    Ok(())
}

#[tokio::test]
async fn values_that_cannot_be_meant_are_refused() -> Result<()> {
    let name = "values_that_cannot_be_meant_are_refused";
    let Some(chart) = Chart::find_or_skip(name).await? else {
        return Ok(());
    };
    let refused = [
        // Secrets in plain text, also under older names.
        ("settings.CACHE_PASSWORD=hush", "CACHE_PASSWORD"),
        ("settings.CACHE_URL=rediss://app:hush@cache:6379", "CACHE_URL"),
        ("settings.CACHE_SENTINEL_PASSWORD=hush", "CACHE_SENTINEL_PASSWORD"),
        ("settings.CACHE_ADDRS=redis://app:hush@cache:6379", "CACHE_ADDRS"),
        ("settings.REDIS_PASSWORD=hush", "REDIS_PASSWORD"),
        ("environment.CACHE_PASSWORD=hush", "CACHE_PASSWORD"),
        ("environment.REDIS_URL=redis://:hush@cache", "REDIS_URL"),
        ("environment.DATABASE_PASSWORD=hush", "DATABASE_PASSWORD"),
        ("environment.AWS_SECRET_ACCESS_KEY=hush", "AWS_SECRET_ACCESS_KEY"),
        // Names that do not exist.
        ("settings.CACHE_ADDRESSES=cache:6379", "CACHE_ADDRESSES"),
        ("image.tags=1", "tags"),
        ("credentials.password=hush", "password"),
        ("replicaCount=3", "replicaCount"),
        // Values that are wrong.
        ("settings.CACHE_MODE=clustered", "CACHE_MODE"),
        ("settings.CACHE_TLS_ENABLED=perhaps", "CACHE_TLS_ENABLED"),
        ("settings.CACHE_OP_TIMEOUT=250", "CACHE_OP_TIMEOUT"),
        ("settings.CACHE_L1_MAX_BYTES=64Mb", "CACHE_L1_MAX_BYTES"),
        ("settings.CACHE_L1_TRACKING=false", "CACHE_L1_TRACKING"),
        ("settings.CACHE_PASSWORD_FILE=hush", "CACHE_PASSWORD_FILE"),
        ("replicas=two", "replicas"),
        ("resources.limits.memory=lots", "memory"),
        ("networkPolicy.egressPorts={70000}", "egressPorts"),
        ("serviceMonitor.interval=often", "interval"),
        // Together they would keep a node from being drained.
        ("podDisruptionBudget.minAvailable=2", "minAvailable"),
    ];
    for (set, why) in refused {
        let Err(error) = chart.render(None, &["--set", set]) else {
            panic!("{set} was taken");
        };
        let said = error.to_string();
        assert!(said.contains(why), "{set}: {said}");
        assert!(!said.contains("hush"), "{set}: {said}");
    }
    // Kubernetes would set CACHE_TENANT_SERVICE_PORT in every pod of the namespace.
    let named = chart.run(&["template", "cache"], None, &[])?;
    let said = String::from_utf8_lossy(&named.stderr);
    assert!(
        !named.status.success() && said.contains("does not begin with cache"),
        "{said}"
    );
    Ok(())
}

/// What the schema of the chart takes for a setting.
fn accepted(variable: &Variable) -> Value {
    let words = variable
        .form
        .split([',', ' '])
        .filter(|word| !word.is_empty() && *word != "or");
    let is_word = |word: &str| {
        word.chars()
            .all(|letter| letter.is_ascii_lowercase() || letter == '-')
    };
    match variable.form {
        "true or false" => json!({"enum": [true, false, "true", "false"]}),
        form if form.starts_with("a whole number") => {
            json!({"type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+$"})
        }
        form if form.starts_with("a number of bytes") => {
            json!({"type": ["integer", "string"], "minimum": 1024, "pattern": "^[0-9]+ *([KMG]i)?B?$"})
        }
        form if form.starts_with("a duration") => {
            json!({"type": "string", "pattern": "^([0-9]+ *[a-z]+ *)+$"})
        }
        form if form.contains(" or ") && words.clone().all(is_word) && !form.starts_with("a ") => {
            json!({"enum": words.collect::<Vec<_>>()})
        }
        // Not a URL, and no password in it.
        _ if variable.name == "CACHE_ADDRS" => json!({"type": "string", "pattern": "^[^@/ ]+$"}),
        _ => json!({"type": "string"}),
    }
}

#[test]
fn the_schema_takes_every_setting_that_is_no_secret() -> Result<()> {
    let schema = std::fs::read_to_string(deploy("helm/tenant-service/values.schema.json"))?;
    let schema: Value = serde_json::from_str(&schema)?;
    let mut expected = serde_json::Map::new();
    for variable in VARIABLES {
        if !variable.secret {
            expected.insert(variable.name.to_owned(), accepted(variable));
        }
        if variable.from_file {
            let file = json!({"type": "string", "pattern": "^/"});
            expected.insert(format!("{}_FILE", variable.name), file);
        }
    }
    let expected = Value::Object(expected);
    assert_eq!(
        schema["properties"]["settings"]["properties"],
        expected,
        "values.schema.json should hold {}",
        serde_json::to_string_pretty(&expected)?
    );
    Ok(())
}

#[test]
fn the_chart_has_the_version_of_the_product() -> Result<()> {
    let chart = std::fs::read_to_string(deploy("helm/tenant-service/Chart.yaml"))?;
    let version = env!("CARGO_PKG_VERSION");
    for line in [
        format!("version: {version}"),
        format!("appVersion: \"{version}\""),
    ] {
        assert!(chart.lines().any(|known| known == line), "no line {line}");
    }
    Ok(())
}
