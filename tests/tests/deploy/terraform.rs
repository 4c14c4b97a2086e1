//! The Terraform against the schema of the AWS provider, the policies of docs/aws.md and the settings that there are.
//! The inputs and outputs of modules from the registry are recorded in registry_modules.json, which holds their names only.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tests::Python;

use crate::deploy;

/// The bindings that were generated from the schema of the provider (6.x), without what they need to run.
const PACKAGES: &[&str] = &[
    "--no-compile",
    "--no-deps",
    "cdktf-cdktf-provider-aws==21.22.1",
    "python-hcl2==8.1.4",
    "lark==1.3.1",
    "regex==2026.11.19",
];

const AWS: &str = include_str!("../../../docs/aws.md");
const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");

/// What the check says of a folder.
#[derive(Debug, Deserialize)]
struct Facts {
    wrong: Vec<String>,
    actions: Vec<String>,
    settings: Vec<String>,
    resources: usize,
    from_registry: usize,
}

async fn check(name: &str, folder: &Path) -> Result<Option<Facts>> {
    let root = env!("CARGO_TARGET_TMPDIR");
    let Some(python) = Python::find_or_skip(name, root, "terraform", PACKAGES).await? else {
        return Ok(None);
    };
    let program = python.program("python");
    let packages = program.ancestors().nth(2).context("no environment")?.join("lib");
    let output = Command::new(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/deploy/terraform.py"))
        .args([folder, &packages])
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

#[tokio::test]
async fn the_modules_fit_the_provider_the_policies_and_the_settings() -> Result<()> {
    let name = "the_modules_fit_the_provider_the_policies_and_the_settings";
    let Some(facts) = check(name, &deploy("terraform")).await? else {
        return Ok(());
    };
    assert_eq!(facts.wrong, Vec::<String>::new());
    assert!(facts.resources >= 15, "{facts:?}");
    assert_eq!(facts.from_registry, 1, "{facts:?}");
    assert!(facts.actions.len() >= 11, "{facts:?}");
    for action in facts.actions {
        assert!(
            AWS.contains(&format!("\"{action}\"")),
            "{action} is in no policy of docs/aws.md"
        );
    }
    for setting in facts.settings {
        assert!(
            CONFIGURATION.contains(&format!("| `{setting}`")),
            "there is no {setting}"
        );
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_the_provider_does_not_know_is_noticed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    copy(&deploy("terraform"), folder.path())?;
    // An argument, a required one, one of a block in a block, a variable, a module's variable, a resource.
    let mistakes = [
        (
            "modules/cache/main.tf",
            "transit_encryption_mode ",
            "transit_mode ",
        ),
        ("modules/cache/alarms.tf", "evaluation_periods ", "periods "),
        ("modules/serverless/main.tf", "unit    = \"GB\"", ""),
        ("modules/access/main.tf", "var.role_name", "var.rolle"),
        ("production/main.tf", "  shards  ", "  shardz  "),
        (
            "modules/encryption/main.tf",
            "aws_kms_key.this.arn",
            "aws_kms_key.that.arn",
        ),
        // An input of the registry's module, an output of it, its version; an output of a module here.
        ("registry-module/main.tf", "  num_node_groups ", "  node_groups "),
        (
            "registry-module/main.tf",
            "elasticache.replication_group_arn",
            "elasticache.group_arn",
        ),
        ("registry-module/main.tf", "~> 1.10", "~> 2.0"),
        (
            "production/main.tf",
            "module.encryption.key_arn",
            "module.encryption.kms_arn",
        ),
    ];
    for (file, right, wrong) in mistakes {
        let path = folder.path().join(file);
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.contains(right), "{file} has no {right}");
        std::fs::write(&path, text.replace(right, wrong))?;
    }
    let name = "what_the_provider_does_not_know_is_noticed";
    let Some(facts) = check(name, folder.path()).await? else {
        return Ok(());
    };
    for noticed in [
        "transit_mode",
        "evaluation_periods",
        "unit",
        "rolle",
        "shardz",
        "aws_kms_key.that",
        "no variable node_groups",
        "no output group_arn",
        "has to be ~> 1.10",
        "no output kms_arn",
    ] {
        assert!(
            facts.wrong.iter().any(|line| line.contains(noticed)),
            "{noticed}: {:?}",
            facts.wrong
        );
    }
    Ok(())
}
