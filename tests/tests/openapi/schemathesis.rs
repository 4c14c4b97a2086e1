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

/// Requests for each route.
const EXAMPLES: &str = "10";

/// Chains of requests. With few of them, which links are followed changes with every word of the description.
const CHAINS: &str = "200";

/// Where a chain of requests begins with a wrong token again and again, the service hears no more of them for a while,
/// which the program takes for an answer to the token. The other ways make sure that tokens count.
const UNCHECKED_IN_CHAINS: &str = "ignored_auth";

/// Chains from one answer to the next request of which fewer are proved would not be worth the name.
const LEAST_LINKS: usize = 5;

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

/// How long a run may take on a starved machine.
const LIMIT: Duration = Duration::from_secs(240);

/// How requests are made up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Each parameter at, and beyond, each of its limits, of the route that has most of them.
    LimitsOfPatterns,
    /// The same of all other routes.
    OtherLimits,
    /// At random, good ones and bad ones.
    Random,
    /// With what earlier answers gave, such as the id of a job.
    Chains,
}

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
    pub(crate) async fn run(&self, service: &Service, way: Way) -> Result<Ran> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("schemathesis.toml"), SETTINGS)?;
        let child = Command::new(&self.program)
            .arg("run")
            .arg(format!("{}/openapi.json", service.url))
            .args(["--header", &format!("Authorization: Bearer {}", service.token)])
            .args(["--checks", "all", "--exclude-checks", &way.unchecked()])
            .args(["--phases", way.phase(), "--max-examples", way.examples()])
            // The same requests each time.
            .args([
                "--generation-deterministic",
                "--no-shrink",
                "--continue-on-failure",
            ])
            .args(way.routes())
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
        ensure!(
            way.was_gone(&report) || !output.status.success(),
            "not every route was asked, or too few links were followed: {report}\n{errors}"
        );
        Ok(Ran {
            passed: output.status.success(),
            report: format!("{report}\n{errors}"),
        })
    }
}

impl Way {
    /// Its name to the program.
    const fn phase(self) -> &'static str {
        match self {
            Self::LimitsOfPatterns | Self::OtherLimits => "coverage",
            Self::Random => "fuzzing",
            Self::Chains => "stateful",
        }
    }

    const fn examples(self) -> &'static str {
        match self {
            Self::Chains => CHAINS,
            Self::LimitsOfPatterns | Self::OtherLimits | Self::Random => EXAMPLES,
        }
    }

    /// Which routes. Streams of events are left out: they end when the client has had enough.
    const fn routes(self) -> [&'static str; 2] {
        match self {
            Self::LimitsOfPatterns => ["--include-path-regex", "^/cache/pattern$"],
            Self::OtherLimits => ["--exclude-path-regex", "^/cache/pattern$|/events$"],
            Self::Random | Self::Chains => ["--exclude-path-regex", "/events$"],
        }
    }

    fn unchecked(self) -> String {
        match self {
            Self::LimitsOfPatterns | Self::OtherLimits | Self::Random => UNCHECKED.to_owned(),
            Self::Chains => format!("{UNCHECKED},{UNCHECKED_IN_CHAINS}"),
        }
    }

    /// Whether the report says that all routes were asked, or enough chains followed.
    fn was_gone(self, report: &str) -> bool {
        let after = |label: &str| -> Option<usize> {
            let line = report.lines().find_map(|line| line.trim().strip_prefix(label))?;
            line.split_whitespace().next()?.parse().ok()
        };
        if self == Self::Chains {
            return after("API Links:").is_some_and(|covered| covered >= LEAST_LINKS);
        }
        // `Operations: 14 selected / 15 total`.
        let selected = after("Operations:").filter(|selected| *selected > 0);
        selected.is_some() && after("Tested:") == selected
    }
}
