//! The secrets by which tokens are sealed: chance, or a file that several processes share.

use aws_lc_rs::rand;
use cache_core::{CacheError, Outcome, Secret, Unavailability};

/// The least bytes of a secret.
pub(super) const LEAST: usize = 32;

/// So many bytes of chance.
pub(crate) fn random<const N: usize>() -> Result<Secret<[u8; N]>, CacheError> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_| CacheError::Unavailable {
        reason: Unavailability::NotReady,
        detail: "the machine has no randomness to give".into(),
        outcome: Outcome::NotApplied,
        source: None,
    })?;
    Ok(Secret::new(bytes))
}

/// The secrets in `text`, one on each line; empty lines and those that begin with `#` say nothing.
pub(super) fn read(text: &str) -> Result<Vec<Secret<Vec<u8>>>, CacheError> {
    let wrong = |reason: String| CacheError::InvalidInput {
        argument: "secrets of the service",
        reason: reason.into(),
    };
    let mut secrets = Vec::new();
    for (number, line) in (1..).zip(text.lines().map(str::trim)) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.len() < LEAST {
            return Err(wrong(format!(
                "line {number}: shorter than {LEAST} characters; such as head -c 32 /dev/urandom | base64 prints are fine"
            )));
        }
        secrets.push(Secret::new(line.as_bytes().to_vec()));
    }
    if secrets.is_empty() {
        return Err(wrong(
            "there is none; one stands on each line, the one that seals first".to_owned(),
        ));
    }
    Ok(secrets)
}
