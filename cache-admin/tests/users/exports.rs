//! What is written for other tools, byte by byte. `GOLDEN=write` writes the files anew; look at the difference.

use anyhow::{Context as _, Result};
use cache_admin::users::{Declaration, export};

use super::{EXAMPLE, example};

fn same(name: &str, text: &str) -> Result<()> {
    let path = format!("{}/tests/users/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of this test, not of the product"
    )]
    let writes = std::env::var("GOLDEN").is_ok_and(|value| value == "write");
    if writes {
        std::fs::write(&path, text)?;
    }
    let golden = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    assert_eq!(text, golden, "{name}");
    Ok(())
}

#[test]
fn the_acl_file_is_as_it_should_be() -> Result<()> {
    let (declaration, credentials) = example()?;
    let exported = export::acl_file(&declaration, &credentials);
    assert_eq!(
        exported.notes,
        ["app-search is left out: iam works on ElastiCache only"]
    );
    same("users.acl", &exported.text)
}

#[test]
fn terraform_is_as_it_should_be_and_holds_no_secret() -> Result<()> {
    let (declaration, credentials) = example()?;
    let exported = export::terraform(&declaration)?;
    for password in credentials.of("app-billing") {
        assert!(!exported.text.contains(password.hash.expose()));
    }
    assert_eq!(exported.notes.len(), 2, "{:?}", exported.notes);
    same("elasticache.tf", &exported.text)
}

#[test]
fn the_input_of_elasticache_is_as_it_should_be() -> Result<()> {
    let (declaration, _) = example()?;
    let exported = export::elasticache(&declaration)?;
    let json: serde_json::Value = serde_json::from_str(&exported.text)?;
    let users = json["CreateUser"].as_array().context("users")?;
    for user in users {
        let access = user["AccessString"].as_str().context("an access string")?;
        for word in access.split(' ') {
            assert!(!word.starts_with(['>', '#', '(']) && word != "reset", "{access}");
        }
    }
    assert_eq!(users[0]["UserName"], "default", "a group of Redis needs one");
    let iam = users
        .iter()
        .find(|user| user["AuthenticationMode"]["Type"] == "iam");
    let iam = iam.context("an IAM user")?;
    assert_eq!(iam["UserId"], iam["UserName"]);
    same("elasticache.json", &exported.text)
}

#[test]
fn a_group_of_valkey_needs_no_default_user_and_newer_servers_have_more_commands() -> Result<()> {
    let text = EXAMPLE.replace("\"redis\"", "\"valkey\"");
    let json = export::elasticache(&Declaration::parse(&text)?)?.text;
    assert!(!json.contains("\"default\""), "{json}");
    assert!(!json.contains("delifeq"), "8.0 does not know it");
    let text = format!("version = \"9.1\"\n{text}");
    let json = export::elasticache(&Declaration::parse(&text)?)?.text;
    assert!(
        json.contains("+delifeq") && json.contains("+clusterscan"),
        "{json}"
    );
    Ok(())
}

#[test]
fn more_than_a_group_takes_and_passwords_by_hash_are_refused() -> Result<()> {
    let mut text = "prefix = 'app-'\n".to_owned();
    for number in 0..101 {
        text.push_str(&format!(
            "[services.s{number}]\nkeyspaces = ['s{number}:']\n[services.s{number}.users.service]\npassword = 'env:X'\n"
        ));
    }
    let error = export::terraform(&Declaration::parse(&text)?)
        .expect_err("too many")
        .to_string();
    assert!(error.contains("at most 100 users"), "{error}");
    let text = EXAMPLE.replace("env:BOARD", &format!("sha256:{}", "0a".repeat(32)));
    let error = export::elasticache(&Declaration::parse(&text)?)
        .expect_err("a hash")
        .to_string();
    assert!(
        error.contains("admins.board: must have passwords by env: or file:"),
        "{error}"
    );
    Ok(())
}
