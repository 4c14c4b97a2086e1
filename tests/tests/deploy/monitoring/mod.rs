//! The dashboard and the alerts are made from the metrics that exist, and the alerts fire when their cases say so.

mod catalogue;
mod dashboard;
mod template;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::install::promtool;

use self::catalogue::Catalogue;

use crate::deploy;

/// Holds a file to what is generated, or writes it with `BLESS` set.
fn hold(file: &str, generated: &str, is_same: impl FnOnce(&str) -> bool) -> Result<()> {
    let path = deploy("monitoring").join(file);
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of the test; no setting of the cache"
    )]
    if std::env::var_os("BLESS").is_some() {
        return Ok(std::fs::write(path, generated)?);
    }
    ensure!(
        is_same(&std::fs::read_to_string(path)?),
        "deploy/monitoring/{file} is not what its sources say; write it again with \
         BLESS=1 cargo nextest run --workspace --all-features -E 'binary(deploy) & test(monitoring)'"
    );
    Ok(())
}

#[test]
fn the_dashboard_is_what_its_panels_and_the_metrics_make() -> Result<()> {
    let catalogue = Catalogue::read()?;
    let source = std::fs::read_to_string(deploy("monitoring/panels.toml"))?;
    let dashboard = dashboard::generate(&source, &catalogue)?;
    let text = dashboard.to_string();
    for metric in &catalogue.metrics {
        assert!(text.contains(&metric.series()), "{} is not shown", metric.name);
    }
    let pretty = serde_json::to_string_pretty(&dashboard)? + "\n";
    // Compared by meaning: the order of keys depends on how serde_json is built.
    hold("dashboard.json", &pretty, |file| {
        serde_json::from_str::<Value>(file).is_ok_and(|file| file == dashboard)
    })
}

#[test]
fn the_alerts_are_what_their_template_and_the_metrics_make() -> Result<()> {
    let template = std::fs::read_to_string(deploy("monitoring/alerts.template.yml"))?;
    let (notes, rules) = template.split_once("\n\n").context("no rules")?;
    let notes: Vec<_> = notes.lines().filter(|line| !line.starts_with("#!")).collect();
    let rules = template::fill(rules, &Catalogue::read()?)?;
    let generated = format!("{}\n\n{rules}", notes.join("\n"));
    hold("alerts.yml", &generated, |file| file == generated)
}

#[test]
fn every_alert_has_a_page_a_case_that_fires_and_one_that_does_not() -> Result<()> {
    let rules = std::fs::read_to_string(deploy("monitoring/alerts.yml"))?;
    let cases = std::fs::read_to_string(deploy("monitoring/alerts_test.yml"))?;
    let runbook = std::fs::read_to_string(deploy("../docs/runbook.md"))?;
    let alerts: Vec<_> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(alerts.len() >= 11, "{alerts:?}");
    for alert in alerts {
        assert!(
            runbook.lines().any(|line| line == format!("### {alert}")),
            "{alert} is not in the runbook"
        );
        assert!(
            rules.contains(&format!("docs/runbook.md#{}", alert.to_lowercase())),
            "{alert} links to no page"
        );
        for case in ["fires", "stays quiet"] {
            assert!(
                cases.contains(&format!("- name: {alert} {case}")),
                "no case in which {alert} {case}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_alerts_fire_when_their_cases_say_so() -> Result<()> {
    let name = "the_alerts_fire_when_their_cases_say_so";
    let Some(promtool) = promtool::find_or_skip(name).await else {
        return Ok(());
    };
    for arguments in [
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "alerts_test.yml"],
    ] {
        let output = Command::new(&promtool)
            .args(arguments)
            .current_dir(deploy("monitoring"))
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        ensure!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&said)
        );
    }
    Ok(())
}
