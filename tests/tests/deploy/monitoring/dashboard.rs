//! The dashboard: the panels of panels.toml, and one for each metric that none of them names.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::catalogue::{Catalogue, Instrument, Metric};
use super::template::{fill, names};

/// The height and the width of a panel; the dashboard is 24 wide.
const HEIGHT: u32 = 8;
const WIDTH: u32 = 12;

/// A panel that was made for a metric splits it by so many attributes at most: more would be too many lines to tell apart.
const MOST_LABELS: usize = 2;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Source {
    group: Vec<Group>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    title: String,
    /// What the names of its metrics begin with.
    metrics: Vec<String>,
    #[serde(default)]
    panel: Vec<Panel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Panel {
    title: String,
    #[serde(default)]
    description: String,
    unit: String,
    max: Option<u32>,
    series: Vec<Series>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    legend: String,
    query: String,
}

/// The dashboard as Grafana takes it.
pub(super) fn generate(source: &str, catalogue: &Catalogue) -> Result<Value> {
    let Source { mut group } = toml::from_str(source).context("panels.toml")?;
    group.push(Group {
        title: "Other".to_owned(),
        metrics: vec![String::new()],
        panel: Vec::new(),
    });
    let named: BTreeSet<String> = group
        .iter()
        .flat_map(|group| &group.panel)
        .flat_map(|panel| &panel.series)
        .flat_map(|series| names(&series.query))
        .map(str::to_owned)
        .collect();
    for metric in catalogue
        .metrics
        .iter()
        .filter(|metric| !named.contains(&metric.name))
    {
        let best = group
            .iter_mut()
            .max_by_key(|group| group.fit(&metric.name))
            .context("there is a group of all metrics")?;
        best.panel.push(Panel::of(metric));
    }
    let mut panels = Vec::new();
    let mut y = 0;
    for Group { title, panel, .. } in group.iter().filter(|group| !group.panel.is_empty()) {
        let id = panels.len() + 1;
        let place = json!({ "x": 0, "y": y, "w": 2 * WIDTH, "h": 1 });
        panels.push(json!({
            "id": id, "type": "row", "title": title, "collapsed": false, "gridPos": place, "panels": [],
        }));
        y += 1;
        for pair in panel.chunks(2) {
            for (panel, x) in pair.iter().zip([0, WIDTH]) {
                let id = panels.len() + 1;
                let place = json!({ "x": x, "y": y, "w": WIDTH, "h": HEIGHT });
                panels.push(panel.json(id, &place, catalogue)?);
            }
            y += HEIGHT;
        }
    }
    Ok(json!({
        "title": "Cache client",
        "uid": "cache-client",
        "tags": ["cache"],
        "timezone": "browser",
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": [
            { "name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source" },
            {
                "name": "job", "type": "query", "label": "Service", "datasource": data_source(),
                "query": { "query": one_line("label_values(`cache.operations`, job)", catalogue)?, "refId": "A" },
                "includeAll": true, "multi": true, "refresh": 2, "current": { "text": "All", "value": "$__all" },
            },
        ] },
        "annotations": { "list": [] },
        "panels": panels,
    }))
}

impl Group {
    /// How much of a metric's name it knows.
    fn fit(&self, metric: &str) -> Option<usize> {
        let prefixes = self
            .metrics
            .iter()
            .filter(|prefix| metric.starts_with(prefix.as_str()));
        prefixes.map(String::len).max()
    }
}

impl Panel {
    /// What is shown of a metric without a panel.
    fn of(metric: &Metric) -> Self {
        let name = &metric.name;
        let labels: Vec<_> = metric.attributes.iter().take(MOST_LABELS).collect();
        let by = |labels: &[String]| match labels {
            [] => String::new(),
            labels => format!(" by ({}) ", labels.join(", ")),
        };
        let quoted: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let shown: Vec<_> = labels.iter().map(|label| format!("{{{{`{label}`}}}}")).collect();
        let legend = match shown.is_empty() {
            true => name.rsplit('.').next().unwrap_or(name).to_owned(),
            false => shown.join(" "),
        };
        let all = "{job=~\"$job\"}";
        let series = match metric.instrument {
            Instrument::Counter => vec![Series {
                legend,
                query: format!("sum{}(rate(`{name}`{all}[$__rate_interval]))", by(&quoted)),
            }],
            Instrument::UpDownCounter => vec![Series {
                legend,
                query: format!("sum{}(`{name}`{all})", by(&quoted)),
            }],
            Instrument::Gauge => vec![Series {
                legend,
                query: format!("max{}(`{name}`{all})", by(&quoted)),
            }],
            Instrument::Histogram => [("p50", 0.5), ("p99", 0.99)]
                .map(|(part, quantile)| Series {
                    legend: part.to_owned(),
                    query: format!(
                        "histogram_quantile({quantile}, sum by (le) (rate(`{name}`_bucket{all}[$__rate_interval])))"
                    ),
                })
                .into(),
        };
        let unit = match (&*metric.unit, metric.instrument) {
            ("s", _) => "s",
            ("By", Instrument::Counter) => "Bps",
            ("By", _) => "bytes",
            (_, Instrument::Counter) => "ops",
            _ => "none",
        };
        Self {
            title: name.clone(),
            description: metric.meaning.clone(),
            unit: unit.to_owned(),
            max: None,
            series,
        }
    }

    fn json(&self, id: usize, place: &Value, catalogue: &Catalogue) -> Result<Value> {
        let mut targets = Vec::new();
        for (series, reference) in self.series.iter().zip('A'..='Z') {
            targets.push(json!({
                "datasource": data_source(),
                "expr": one_line(&series.query, catalogue)?,
                "legendFormat": one_line(&series.legend, catalogue)?,
                "refId": reference.to_string(),
            }));
        }
        let mut defaults = json!({ "unit": self.unit, "min": 0 });
        if let Some(max) = self.max {
            defaults["max"] = max.into();
        }
        Ok(json!({
            "id": id,
            "type": "timeseries",
            "title": self.title,
            "description": self.description,
            "datasource": data_source(),
            "targets": targets,
            "fieldConfig": { "defaults": defaults, "overrides": [] },
            "options": { "tooltip": { "mode": "multi", "sort": "desc" } },
            "gridPos": place,
        }))
    }
}

fn data_source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn one_line(template: &str, catalogue: &Catalogue) -> Result<String> {
    Ok(fill(template, catalogue)?.trim_end().to_owned())
}

#[test]
fn metric_without_a_panel_gets_one_in_its_group() -> Result<()> {
    let catalogue = Catalogue::of(
        "| `cache.operations` | counter | `{operation}` |  | Calls. |\n\
         | `cache.near.age` | gauge | `s` | `cache.near.kind` | The age. |\n\
         | `cache.new.size` | histogram | `s` |  | New. |\n",
    )?;
    let source = "[[group]]\ntitle = \"Near\"\nmetrics = [\"cache.near.\"]\n[[group]]\ntitle = \"Calls\"\nmetrics = [\"cache.\"]\n\
                  [[group.panel]]\ntitle = \"Rate\"\nunit = \"ops\"\nseries = [{ legend = \"all\", query = 'rate(`cache.operations`[5m])' }]\n";
    let dashboard = generate(source, &catalogue)?;
    let panels = dashboard["panels"].as_array().context("no panels")?;
    let titles: Vec<_> = panels
        .iter()
        .filter_map(|panel| panel["title"].as_str())
        .collect();
    assert_eq!(
        titles,
        ["Near", "cache.near.age", "Calls", "Rate", "cache.new.size"]
    );
    let made = &panels[1];
    assert_eq!(
        made["targets"][0]["expr"],
        "max by (cache_near_kind) (cache_near_age_seconds{job=~\"$job\"})"
    );
    assert_eq!(made["targets"][0]["legendFormat"], "{{cache_near_kind}}");
    assert_eq!(made["fieldConfig"]["defaults"]["unit"], "s");
    Ok(())
}
