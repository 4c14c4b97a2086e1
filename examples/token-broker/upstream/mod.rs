//! Where tokens come from: what an upstream promises, and why it may mint none.
//!
//! Over HTTP it is `remote.rs`, the stand-in that answers there is `stand_in.rs`. Not in here: caching, and the bounds
//! that protect the upstream (`minter.rs`).

pub(crate) mod remote;
pub(crate) mod stand_in;

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use crate::profiles::Order;
use crate::token::Minted;

/// A token on its way.
pub(crate) type Minting<'a> = Pin<Box<dyn Future<Output = Result<Minted, MintError>> + Send + 'a>>;

/// Mints tokens.
pub(crate) trait Upstream: fmt::Debug + Send + Sync + 'static {
    /// Asks once. The caller sets the time limit.
    fn mint<'a>(&'a self, order: &'a Order) -> Minting<'a>;
}

/// Why there is no new token. No variant shows a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MintError {
    /// The upstream failed, or could not be reached.
    Failed { detail: String },
    /// The upstream's own rate limit.
    RateLimited { retry_after: Duration },
    /// This process's bound on mints.
    Bounded { retry_after: Duration },
    /// The upstream minted a token that expires too soon to be handed out.
    TooShort { valid_for: Duration },
    /// A mint failed a moment ago, here or in another process.
    HeldBack { retry_after: Duration },
}

impl MintError {
    /// When it is worth asking again, where that is known.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after }
            | Self::Bounded { retry_after }
            | Self::HeldBack { retry_after } => Some(*retry_after),
            Self::Failed { .. } | Self::TooShort { .. } => None,
        }
    }
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { detail } => write!(f, "the upstream fails ({detail})"),
            Self::RateLimited { .. } => f.write_str("the upstream's rate limit is used up"),
            Self::Bounded { .. } => f.write_str("this process has minted as many tokens as it may"),
            Self::TooShort { valid_for } => {
                write!(
                    f,
                    "the upstream minted a token that is valid for {valid_for:?} only"
                )
            }
            Self::HeldBack { .. } => f.write_str("the upstream failed a moment ago"),
        }
    }
}

impl Error for MintError {}
