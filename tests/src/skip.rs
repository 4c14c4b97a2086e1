//! Tests that cannot run everywhere: they say so by name and reason, and where `CI=true` they fail instead.

use std::io::Write as _;

/// The file that collects what was skipped, set by the runner, which prints it at the end.
pub const VARIABLE: &str = "TEST_SKIPS";

/// Says that the test `name` does not run, and why.
///
/// # Panics
///
/// Where `CI=true`: there a skip is a failure.
pub fn skip(name: &str, reason: &str) {
    let line = format!("SKIPPED {name}: {reason}");
    #[expect(
        clippy::disallowed_methods,
        reason = "set by the build machine; no setting of the cache"
    )]
    let (ci, file) = (std::env::var("CI"), std::env::var_os(VARIABLE));
    assert!(
        ci.as_deref() != Ok("true"),
        "{line} (with CI=true nothing may be skipped)"
    );
    #[expect(clippy::print_stderr, reason = "a skip must not look like a pass")]
    {
        eprintln!("{line}");
    }
    if let Some(file) = file {
        // Where the list cannot be written the line above is all there is.
        let _ = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(file)
            .and_then(|mut file| writeln!(file, "{line}"));
    }
}
