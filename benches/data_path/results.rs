//! The samples of one operation, and the ratios between contenders.
//!
//! A ratio compares two samples of the same round, so that the machine's noise affects both alike; the median over
//! the rounds counts.

use std::collections::BTreeMap;
use std::fmt;

use benches::{Sample, median};

use crate::arguments::Name;

/// Other clients that, like ours, share one connection among all tasks.
const PEERS: [Name; 3] = [Name::Redis, Name::Fred, Name::Rustis];

/// The samples of one operation.
pub(crate) struct Results {
    pub(crate) title: String,
    /// By tasks and contender, one for each round.
    samples: BTreeMap<(usize, Name), Vec<Sample>>,
}

impl Results {
    pub(crate) const fn new(title: String) -> Self {
        Self {
            title,
            samples: BTreeMap::new(),
        }
    }

    /// Notes the sample of one more round.
    pub(crate) fn add(&mut self, tasks: usize, name: Name, sample: Sample) {
        self.samples.entry((tasks, name)).or_default().push(sample);
    }

    /// The ratio of two contenders' rates, if both were measured.
    pub(crate) fn rate(&self, name: Name, to: Name, tasks: usize) -> Option<f64> {
        self.ratio(name, to, tasks, |sample| sample.rate)
    }

    /// The ratio of two contenders' CPU per call, if both were measured.
    pub(crate) fn cpu(&self, name: Name, to: Name, tasks: usize) -> Option<f64> {
        self.ratio(name, to, tasks, |sample| sample.cpu)
    }

    /// The ratio of two contenders' 99th percentiles, if both were measured.
    pub(crate) fn p99(&self, name: Name, to: Name, tasks: usize) -> Option<f64> {
        self.ratio(name, to, tasks, |sample| sample.p99)
    }

    /// The ratio of a contender's rate to that of the peer that does best against it.
    pub(crate) fn rate_to_best_peer(&self, name: Name, tasks: usize) -> Option<f64> {
        let ratios = PEERS.iter().filter_map(|peer| self.rate(name, *peer, tasks));
        ratios.min_by(f64::total_cmp)
    }

    /// The ratio of a contender's 99th percentile to that of the peer that does best against it.
    pub(crate) fn p99_to_best_peer(&self, name: Name, tasks: usize) -> Option<f64> {
        let ratios = PEERS.iter().filter_map(|peer| self.p99(name, *peer, tasks));
        ratios.max_by(f64::total_cmp)
    }

    fn ratio(&self, name: Name, to: Name, tasks: usize, of: fn(&Sample) -> f64) -> Option<f64> {
        let rounds = self
            .samples
            .get(&(tasks, name))?
            .iter()
            .zip(self.samples.get(&(tasks, to))?);
        Some(median(rounds.map(|(sample, base)| of(sample) / of(base))))
    }
}

/// A table in Markdown.
impl fmt::Display for Results {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "### {}\n", self.title)?;
        writeln!(
            f,
            "| tasks | contender    | calls/s | to redis | to best peer | p50, µs | p99, µs | client CPU per call, µs |"
        )?;
        writeln!(
            f,
            "|------:|--------------|--------:|---------:|-------------:|--------:|--------:|------------------------:|"
        )?;
        for (&(tasks, name), samples) in &self.samples {
            let of = |of: fn(&Sample) -> f64| median(samples.iter().map(of));
            let (rate, p50, p99, cpu) = (of(|s| s.rate), of(|s| s.p50), of(|s| s.p99), of(|s| s.cpu));
            let to_redis = shown(self.rate(name, Name::Redis, tasks));
            let to_best = shown(self.rate_to_best_peer(name, tasks));
            writeln!(
                f,
                "| {tasks:>5} | {name:12} | {rate:>7.0} | {to_redis:>8} | {to_best:>12} | {p50:>7.0} | {p99:>7.0} | {cpu:>23.2} |"
            )?;
        }
        Ok(())
    }
}

fn shown(ratio: Option<f64>) -> String {
    ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"))
}
