//! The policies in `docs/aws.md`: JSON that IAM takes, no wider than needed, with every permission that errors name.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

const DOCS: &str = include_str!("../../../docs/aws.md");

/// The blocks of JSON in the page that are policies.
fn policies() -> Result<Vec<Value>> {
    let blocks = DOCS
        .split("```json")
        .skip(1)
        .filter_map(|part| part.split("```").next());
    let mut policies = Vec::new();
    for block in blocks {
        let value: Value = serde_json::from_str(block).with_context(|| block.to_owned())?;
        if value.get("Statement").is_some() {
            policies.push(value);
        }
    }
    Ok(policies)
}

/// A value that is one text or a list of them.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_policy_is_what_iam_takes_and_no_wider_than_needed() -> Result<()> {
    let policies = policies()?;
    assert!(policies.len() >= 5, "{}", policies.len());
    for policy in policies {
        ensure!(policy["Version"] == "2012-10-17", "{policy}");
        let statements = policy["Statement"].as_array().context("no list of statements")?;
        for statement in statements {
            ensure!(statement["Effect"] == "Allow", "{statement}");
            let (actions, resources) = (texts(&statement["Action"]), texts(&statement["Resource"]));
            ensure!(!actions.is_empty() && !resources.is_empty(), "{statement}");
            for action in actions {
                let (service, name) = action.split_once(':').context("no service")?;
                let is_name = name.bytes().all(|byte| byte.is_ascii_alphabetic());
                ensure!(is_name && !service.is_empty(), "{action}");
            }
            for resource in resources {
                ensure!(resource.starts_with("arn:aws:"), "{resource}");
            }
        }
    }
    Ok(())
}

/// The permissions that the sources name, as in `"kms:Decrypt"`.
fn named(folder: &Path, found: &mut BTreeSet<String>) -> Result<()> {
    for entry in folder.read_dir()? {
        let path = entry?.path();
        if path.is_dir() {
            named(&path, found)?;
            continue;
        }
        let source = std::fs::read_to_string(&path)?;
        for literal in source.split('"') {
            if let Some((service, name)) = literal.split_once(':')
                && ["dynamodb", "elasticache", "kms", "memorydb", "secretsmanager"].contains(&service)
                && name.starts_with(|char: char| char.is_ascii_uppercase())
                && name.bytes().all(|byte| byte.is_ascii_alphabetic())
            {
                found.insert(literal.to_owned());
            }
        }
    }
    Ok(())
}

#[test]
fn every_permission_that_an_error_names_is_in_a_policy() -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cache-aws/src");
    let mut named_permissions = BTreeSet::new();
    named(&source, &mut named_permissions)?;
    assert!(named_permissions.contains("kms:Decrypt"), "{named_permissions:?}");
    let mut granted = BTreeSet::new();
    for policy in policies()? {
        for statement in policy["Statement"].as_array().into_iter().flatten() {
            granted.extend(texts(&statement["Action"]).into_iter().map(str::to_owned));
        }
    }
    let missing: Vec<_> = named_permissions.difference(&granted).collect();
    assert!(missing.is_empty(), "not in docs/aws.md: {missing:?}");
    Ok(())
}
