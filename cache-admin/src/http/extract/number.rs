//! A number with its limits.

use std::fmt::Display;
use std::ops::RangeInclusive;

use crate::http::problem::{Kind, Problem};

/// The number, where there is none or it is within the range.
pub(crate) fn within<T: PartialOrd + Display>(
    kind: Kind,
    name: &'static str,
    number: Option<T>,
    range: RangeInclusive<T>,
) -> Result<Option<T>, Problem> {
    match number {
        Some(number) if !range.contains(&number) => {
            let (least, most) = (range.start(), range.end());
            Err(Problem::new(kind, format!("{name}: has to be {least} to {most}")))
        }
        number => Ok(number),
    }
}
