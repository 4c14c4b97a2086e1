//! Tables of ratios, and goals beside what was measured.

use std::fmt;

use crate::Sample;

/// Contenders by columns; the first contender is the baseline. A cell holds the rate (the ratio of the
/// rates, for all but the baseline), the median and the 99th percentile of the time of a call in
/// microseconds, and what this process spent on a call in microseconds of a core.
#[derive(Debug)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    contenders: Vec<String>,
    /// By contender, column, round.
    samples: Vec<Vec<Vec<Sample>>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(title: &str, columns: &[usize], contenders: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(ToString::to_string).collect(),
            contenders: contenders.iter().map(|&name| name.to_owned()).collect(),
            samples: vec![vec![Vec::new(); columns.len()]; contenders.len()],
        }
    }

    /// Notes what `contender` did in `column` in one more round.
    pub fn add(&mut self, contender: usize, column: usize, sample: Sample) {
        self.samples[contender][column].push(sample);
    }

    /// The median over the rounds of the ratio of the rates of two contenders.
    #[must_use]
    pub fn ratio(&self, contender: usize, to: usize, column: usize) -> f64 {
        self.ratio_of(contender, to, column, |sample| sample.rate)
    }

    /// The median over the rounds of the ratio of the 99th percentiles of two contenders.
    #[must_use]
    pub fn ratio_of_p99(&self, contender: usize, to: usize, column: usize) -> f64 {
        self.ratio_of(contender, to, column, |sample| sample.p99)
    }

    /// The median over the rounds of the median time of a step, in microseconds.
    #[must_use]
    pub fn p50(&self, contender: usize, column: usize) -> f64 {
        median(self.samples[contender][column].iter().map(|sample| sample.p50))
    }

    /// The median over the rounds of what a step of a contender spent, in microseconds of a core.
    #[must_use]
    pub fn cpu(&self, contender: usize, column: usize) -> f64 {
        median(self.samples[contender][column].iter().map(|sample| sample.cpu))
    }

    fn ratio_of(&self, contender: usize, to: usize, column: usize, of: impl Fn(&Sample) -> f64) -> f64 {
        let rounds = self.samples[contender][column]
            .iter()
            .zip(&self.samples[to][column]);
        median(rounds.map(|(ours, theirs)| of(ours) / of(theirs)))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .contenders
            .iter()
            .map(String::len)
            .max()
            .unwrap_or(0)
            .max(self.title.len());
        write!(f, "{:width$}", self.title)?;
        for column in &self.columns {
            write!(f, " | {column:>24}")?;
        }
        writeln!(f)?;
        for (row, name) in self.contenders.iter().enumerate() {
            write!(f, "{name:width$}")?;
            for column in 0..self.columns.len() {
                let samples = &self.samples[row][column];
                let p50 = median(samples.iter().map(|sample| sample.p50));
                let p99 = median(samples.iter().map(|sample| sample.p99));
                let head = if row == 0 {
                    format!(
                        "{:.0}k/s",
                        median(samples.iter().map(|sample| sample.rate)) / 1_000.0
                    )
                } else {
                    format!("{:.2}", self.ratio(row, 0, column))
                };
                let cpu = median(samples.iter().map(|sample| sample.cpu));
                let times = format!("{p50:.0}/{p99:.0}");
                write!(f, " | {head:>7} {times:>11} {cpu:>4.1}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A goal and what was measured.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What is to be at least (or at most) so much.
    pub what: String,
    /// What was measured.
    pub measured: f64,
    /// The bound.
    pub bound: f64,
    /// Whether the bound is a lower one.
    pub at_least: bool,
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            what,
            measured,
            bound,
            at_least,
        } = self;
        let reached = if *at_least {
            measured >= bound
        } else {
            measured <= bound
        };
        let word = if *at_least { "at least" } else { "at most" };
        let verdict = if reached { "reached" } else { "NOT REACHED" };
        write!(f, "{verdict:>11}  {measured:>8.2}  ({word} {bound})  {what}")
    }
}

/// The median.
#[must_use]
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
