//! The alerts and the dashboard name metrics and labels that exist, and the alerts fire when their cases say so.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::install::promtool;

use crate::deploy;

const METRICS: &str = include_str!("../../../docs/metrics.md");

/// The names and labels under which Prometheus has the metrics of docs/metrics.md, which is compared with what is emitted.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for line in METRICS.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let quoted = |cell: &str| {
            let names = cell
                .split(',')
                .map(|name| name.trim().trim_matches('`').replace('.', "_"));
            names.collect::<Vec<_>>()
        };
        let [_, name, instrument, unit, labels, _, _] = cells[..] else {
            continue;
        };
        if !name.starts_with('`') {
            continue;
        }
        let unit = match unit.trim_matches('`') {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let name = format!("{}{unit}", quoted(name)[0]);
        match instrument {
            "counter" => {
                known.insert(format!("{name}_total"));
            }
            "histogram" => known.extend(["bucket", "sum", "count"].map(|part| format!("{name}_{part}"))),
            _ => {
                known.insert(name);
            }
        }
        known.extend(quoted(labels));
    }
    known
}

/// The names in an expression that could be ours.
fn names(expression: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut quoted = false;
    let mut word = String::new();
    for character in expression.chars().chain([' ']) {
        if character == '"' {
            quoted = !quoted;
        }
        if !quoted && (character.is_ascii_alphanumeric() || character == '_' || character == ':') {
            word.push(character);
            continue;
        }
        let is_ours = ["cache_", "db_", "error_"]
            .iter()
            .any(|prefix| word.starts_with(prefix));
        if is_ours {
            names.insert(std::mem::take(&mut word));
        }
        word.clear();
    }
    names
}

fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value {
                    Value::String(text) if name == "expr" || name == "query" => found.push(text.clone()),
                    value => expressions(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => {}
    }
}

#[test]
fn the_dashboard_shows_only_metrics_that_exist() -> Result<()> {
    let dashboard: Value =
        serde_json::from_str(&std::fs::read_to_string(deploy("monitoring/dashboard.json"))?)?;
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    assert!(found.len() > 30, "{}", found.len());
    let known = known();
    for expression in found {
        let unknown: Vec<_> = names(&expression).difference(&known).cloned().collect();
        assert!(
            unknown.is_empty(),
            "{expression}: no metric and no label: {unknown:?}"
        );
    }
    Ok(())
}

#[test]
fn the_alerts_ask_only_for_metrics_that_exist() -> Result<()> {
    let text = std::fs::read_to_string(deploy("monitoring/alerts.yml"))?;
    let known = known();
    let mut asked = 0;
    for line in text
        .lines()
        .filter(|line| !line.contains("summary:") && !line.contains("- record:"))
    {
        let line = line.split(" #").next().unwrap_or_default();
        let names = names(line);
        asked += names.len();
        let unknown: Vec<_> = names.difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{line}: no metric and no label: {unknown:?}");
    }
    assert!(asked > 20, "{asked}");
    Ok(())
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
