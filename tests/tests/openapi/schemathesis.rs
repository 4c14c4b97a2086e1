//! The program that makes up the requests, and how it is run.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tests::Python;
use tokio::process::Command;

use crate::service::Service;

/// Pinned, so that a run next year makes the same requests.
const PACKAGES: &[&str] = &["schemathesis==4.32.5"];

/// What is not checked: that whatever fits the description is accepted. It cannot say that two parameters exclude each
/// other, that a number is not above another one, or that a removal of everything asks first.
const UNCHECKED: &str = "positive_data_acceptance";

/// Requests of each kind for each route.
const EXAMPLES: &str = "10";

/// Requests that are wrong may also be refused for their size.
const SETTINGS: &str = r#"
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 428, 429, 431]

# The embedded cache does not know what a single key takes, and says so.
[[operations]]
include-path = "/cache/big-keys"
[operations.checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 501]
"#;

/// What the report says where every route was asked.
const ROUTES: &str = "Tested: 18";

/// How long a run may take on a starved machine.
const LIMIT: Duration = Duration::from_secs(240);

/// The program, installed.
pub(crate) struct Schemathesis {
    program: PathBuf,
}

/// How a run ended.
pub(crate) struct Ran {
    pub(crate) passed: bool,
    pub(crate) report: String,
}

impl Schemathesis {
    /// Finds or installs it; `None` where that fails, and then the test `name` is reported as skipped.
    pub(crate) async fn find_or_skip(name: &str) -> Result<Option<Self>> {
        let root = env!("CARGO_TARGET_TMPDIR");
        let python = Python::find_or_skip(name, root, "schemathesis", PACKAGES).await?;
        Ok(python.map(|python| Self {
            program: python.program("schemathesis"),
        }))
    }

    /// Drives the service. Every check of every answer counts.
    pub(crate) async fn run(&self, service: &Service) -> Result<Ran> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("schemathesis.toml"), SETTINGS)?;
        let child = Command::new(&self.program)
            .arg("run")
            .arg(format!("{}/openapi.json", service.url))
            .args(["--header", &format!("Authorization: Bearer {}", service.token)])
            .args(["--checks", "all", "--exclude-checks", UNCHECKED])
            .args([
                "--phases",
                "examples,coverage,fuzzing",
                "--max-examples",
                EXAMPLES,
            ])
            // The same requests each time.
            .args([
                "--generation-deterministic",
                "--no-shrink",
                "--continue-on-failure",
            ])
            // Streams of events end when the client has had enough.
            .args(["--exclude-path-regex", "/events$"])
            .args(["--request-timeout", "30", "--workers", "1", "--no-color"])
            .current_dir(folder.path())
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = tokio::time::timeout(LIMIT, child.wait_with_output())
            .await
            .context("schemathesis does not come to an end")??;
        let report = String::from_utf8_lossy(&output.stdout).replace(&service.token, "***");
        let errors = String::from_utf8_lossy(&output.stderr);
        // A run without requests would pass as well.
        let tested = report.lines().any(|line| line.trim() == ROUTES);
        ensure!(
            tested || !output.status.success(),
            "not every route was asked: {report}\n{errors}"
        );
        Ok(Ran {
            passed: output.status.success(),
            report: format!("{report}\n{errors}"),
        })
    }
}
