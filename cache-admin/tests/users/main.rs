//! Users as declared, without servers: what is refused, what is written, in which order it is applied.

mod applying;
mod credentials;
#[cfg(feature = "aws")]
mod elasticache;
mod exports;
mod page;
mod planning;
mod refusals;
mod simulated;

use anyhow::Result;
use cache_admin::users::{Credentials, Declaration};

/// The example of the documentation: two services, three administrators.
const EXAMPLE: &str = include_str!("../../../docs/users.toml");

/// The example's declaration and passwords that nobody uses.
fn example() -> Result<(Declaration, Credentials)> {
    declared(EXAMPLE)
}

fn declared(text: &str) -> Result<(Declaration, Credentials)> {
    let declaration = Declaration::parse(text)?;
    let credentials = Credentials::read(&declaration, |name| Some(password(name)))?;
    Ok((declaration, credentials))
}

/// A password for the variable `name`, strong enough to be taken.
fn password(name: &str) -> String {
    format!("Zk3-vv91!qLm0-{}", name.to_lowercase().replace('_', "/"))
}
