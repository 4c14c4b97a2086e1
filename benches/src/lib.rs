//! What the benchmarks share: load from many tasks, and tables of ratios.
//!
//! The machine that runs this is shared and noisy, so no number stands alone: contenders take turns in
//! short rounds, each round gives a ratio to the baseline of the same round, and the median over the
//! rounds is what counts.

mod load;
mod options;
mod table;

pub use load::{Call, Sample, repeat, run};
pub use options::Options;
pub use table::{Goal, Table, median};
