//! What is written for Terraform and for ElastiCache's API, by what others know of both: the API's model as `botocore`
//! has it, a stand-in for ElastiCache (`moto`) that is given the users and asked for them again, a reader of HCL.
//!
//! The looking is done in `exported.py`.

use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use cache_admin::users::{Declaration, export};
use tests::Python;
use tokio::process::Command;

/// The example of the documentation: of the engine `redis`, with an IAM user and a password that is being changed.
const EXAMPLE: &str = include_str!("../../../docs/users.toml");

/// What looks into it.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/users/exported.py");

/// Pinned, so that a run next year asks the same.
const PACKAGES: &[&str] = &["botocore==1.44.5", "moto==5.2.5", "python-hcl2==8.1.4"];

/// What a declaration becomes.
struct Exports {
    json: String,
    terraform: String,
}

impl Exports {
    fn of(text: &str) -> Result<Self> {
        let declaration = Declaration::parse(text)?;
        Ok(Self {
            json: export::elasticache(&declaration)?.text,
            terraform: export::terraform(&declaration)?.text,
        })
    }

    async fn look(&self, python: &Path) -> Result<Output> {
        let folder = tempfile::tempdir()?;
        let (json, terraform) = (
            folder.path().join("elasticache.json"),
            folder.path().join("elasticache.tf"),
        );
        std::fs::write(&json, &self.json)?;
        std::fs::write(&terraform, &self.terraform)?;
        let looked = Command::new(python)
            .args([Path::new(SCRIPT), &json, &terraform])
            .env_clear()
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        looked.await.context("start python")
    }

    /// Nothing is wrong with it, and this is what there was to look at.
    async fn are_taken(&self, python: &Path, counts: &str) -> Result<()> {
        let output = self.look(python).await?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(output.status.success(), "{}: {out}{err}", output.status);
        assert_eq!(out.trim_end(), counts, "{err}");
        Ok(())
    }

    /// The same with one text for another is found out, with `word` in what is said.
    async fn are_found_out(&self, python: &Path, change: [&str; 2], word: &str) -> Result<()> {
        let [from, to] = change;
        let changed = Self {
            json: self.json.replace(from, to),
            terraform: self.terraform.replace(from, to),
        };
        ensure!(
            changed.json != self.json || changed.terraform != self.terraform,
            "{from} does not occur"
        );
        let output = changed.look(python).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{from} as {to}: {said}");
        assert!(said.contains(word), "{from} as {to}: {said}");
        Ok(())
    }
}

async fn python(test: &str) -> Result<Option<std::path::PathBuf>> {
    let root = env!("CARGO_TARGET_TMPDIR");
    let python = Python::find_or_skip(test, root, "elasticache", PACKAGES).await?;
    Ok(python.map(|python| python.program("python")))
}

#[tokio::test]
async fn elasticache_and_terraform_take_what_is_exported() -> Result<()> {
    let Some(python) = python("elasticache_and_terraform_take_what_is_exported").await? else {
        return Ok(());
    };
    let redis = Exports::of(EXAMPLE)?;
    redis
        .are_taken(&python, "inputs 14, created 7, resources 7")
        .await?;
    // Names that are cut, and everything that newer servers know.
    let long = "a-name-that-is-longer-than-what-elasticache-takes-for-an-id";
    let text = format!(
        "version = \"9.1\"\n{}",
        EXAMPLE
            .replace("engine = \"redis\"", "engine = \"valkey\"")
            .replace("[admins.board]", &format!("[admins.{long}]"))
    );
    Exports::of(&text)?
        .are_taken(&python, "inputs 13, created 6, resources 6")
        .await
}

#[tokio::test]
async fn what_elasticache_or_terraform_would_not_take_is_found_out() -> Result<()> {
    let Some(python) = python("what_elasticache_or_terraform_would_not_take_is_found_out").await? else {
        return Ok(());
    };
    let exports = Exports::of(EXAMPLE)?;
    for (change, word) in [
        // The model of the API, its enumerations and patterns, and the stand-in.
        (
            ["\"AccessString\"", "\"AccesString\""],
            "Missing required parameter",
        ),
        (["\"Type\": \"iam\"", "\"Type\": \"IAM\""], "is not one of"),
        (["\"app-board\"", "\"app_board\""], "is not of the form"),
        (["\"env:BOARD\"", "\"a\", \"b\", \"c\""], "needs one or two"),
        (
            ["\"UserName\": \"app-search\"", "\"UserName\": \"app-find\""],
            "have to be one",
        ),
        // Terraform: arguments, secrets, templates, and that it says the same.
        (["user_group_id =", "group_id ="], "its arguments are"),
        (
            ["sensitive   = true", "sensitive   = false"],
            "no sensitive variable",
        ),
        (["= \"on %R~search:", "= \"on %R~${search}:"], "holds a template"),
        (["= \"on %R~search:", "= \"on ~search:"], "terraform says"),
    ] {
        exports.are_found_out(&python, change, word).await?;
    }
    Ok(())
}
