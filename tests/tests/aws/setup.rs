//! What the tests of this folder share.

use std::error::Error;
use std::time::Duration;

use anyhow::Result;
use cache_aws::{Aws, AwsBuilder};
use cache_core::CacheError;
use tests::emulator::REGION;
use tests::{Emulator, EmulatorKind};

pub(crate) const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY";

/// Longer than any call may take: emulators answer slowly on a busy machine.
const CALL: Duration = Duration::from_secs(30);

/// Fixed credentials and a region.
pub(crate) fn fixed() -> AwsBuilder {
    Aws::builder()
        .region(REGION)
        .credentials(ACCESS_KEY, SECRET_KEY.into(), None)
}

/// Everything at `url`.
pub(crate) async fn at(url: &str) -> Result<Aws> {
    Ok(fixed().endpoint(url).call_timeout(CALL).load().await?)
}

/// Both emulators, those that can be installed.
pub(crate) async fn emulators(test: &str) -> Result<Vec<Emulator>> {
    let mut all = Vec::new();
    for kind in EmulatorKind::ALL {
        all.extend(Emulator::start_or_skip(kind, test, env!("CARGO_TARGET_TMPDIR")).await?);
    }
    Ok(all)
}

/// An error in all its forms, with its causes.
pub(crate) fn everything(error: &CacheError) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(" {cause} {cause:?}"));
        next = cause.source();
    }
    text
}
