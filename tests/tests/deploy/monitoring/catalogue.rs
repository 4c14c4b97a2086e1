//! The metrics of docs/metrics.md, and what Prometheus calls them.
//!
//! Tests of the crates compare the page with their catalogues and with what they emit, so the page is the one list of all.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};

const PAGE: &str = include_str!("../../../../docs/metrics.md");

/// All metrics and attributes.
#[derive(Debug)]
pub(super) struct Catalogue {
    pub(super) metrics: Vec<Metric>,
    /// Each attribute, and its values; none where anything may be one.
    attributes: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Clone, Debug)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) instrument: Instrument,
    pub(super) unit: String,
    pub(super) attributes: Vec<String>,
    pub(super) meaning: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instrument {
    Counter,
    UpDownCounter,
    Histogram,
    Gauge,
}

impl Catalogue {
    /// The one of the page.
    pub(super) fn read() -> Result<Self> {
        Self::of(PAGE)
    }

    pub(super) fn of(page: &str) -> Result<Self> {
        let mut metrics = Vec::new();
        let mut attributes = BTreeMap::<String, BTreeSet<String>>::new();
        for line in page.lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            match cells[..] {
                [_, name, instrument, unit, of, meaning, _] if name.starts_with('`') => {
                    let metric = Metric {
                        name: name.trim_matches('`').to_owned(),
                        instrument: Instrument::of(instrument).with_context(|| line.to_owned())?,
                        unit: unit.trim_matches('`').to_owned(),
                        attributes: quoted(of),
                        meaning: meaning.to_owned(),
                    };
                    for attribute in &metric.attributes {
                        attributes.entry(attribute.clone()).or_default();
                    }
                    metrics.push(metric);
                }
                [_, name, values, _, _] if name.starts_with('`') => {
                    let name = name.trim_matches('`').to_owned();
                    attributes.entry(name).or_default().extend(quoted(values));
                }
                _ => {}
            }
        }
        Ok(Self { metrics, attributes })
    }

    /// The metric of this name.
    pub(super) fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.iter().find(|metric| metric.name == name)
    }

    /// What Prometheus calls the metric or attribute of this name.
    pub(super) fn resolve(&self, name: &str) -> Result<String> {
        let metric = self.metric(name).map(Metric::series);
        let attribute = self.attributes.contains_key(name).then(|| label(name));
        match (metric, attribute) {
            (Some(metric), Some(attribute)) if metric != attribute => {
                bail!("`{name}` is a metric and an attribute, with different names in Prometheus")
            }
            (Some(name), _) | (None, Some(name)) => Ok(name),
            (None, None) => bail!("there is no metric and no attribute `{name}`"),
        }
    }

    /// Refuses values that the attribute cannot have, such as those in `a|b`.
    pub(super) fn check_values(&self, attribute: &str, values: &str) -> Result<()> {
        let Some(known) = self.attributes.get(attribute).filter(|known| !known.is_empty()) else {
            return Ok(());
        };
        for value in values.split('|') {
            ensure!(known.contains(value), "`{attribute}` is never \"{value}\"");
        }
        Ok(())
    }
}

impl Metric {
    /// Its name in Prometheus; a histogram has three, which begin with this one.
    pub(super) fn series(&self) -> String {
        let unit = match &*self.unit {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let total = match self.instrument {
            Instrument::Counter => "_total",
            _ => "",
        };
        format!("{}{unit}{total}", label(&self.name))
    }
}

impl Instrument {
    fn of(name: &str) -> Result<Self> {
        Ok(match name {
            "counter" => Self::Counter,
            "up-down counter" => Self::UpDownCounter,
            "histogram" => Self::Histogram,
            "gauge" => Self::Gauge,
            _ => bail!("no instrument: {name}"),
        })
    }
}

/// What Prometheus calls an attribute.
fn label(attribute: &str) -> String {
    attribute.replace('.', "_")
}

/// What stands in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}
