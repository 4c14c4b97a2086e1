//! One of three primaries is away, killed or paused: keys of the other two do not notice, in any layer and recipe.

mod near;
mod outage;
mod recipes;
mod values;
