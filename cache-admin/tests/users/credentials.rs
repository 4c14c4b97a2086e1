//! Passwords: where they are read from, and which are not taken.

#![expect(clippy::expect_used, reason = "a refusal that does not come ends the test")]

use std::io::Write as _;

use anyhow::Result;
use cache_admin::users::{Credentials, Declaration};

use super::{EXAMPLE, example, password};

fn refusal(env: impl Fn(&str) -> Option<String>) -> String {
    let declaration = Declaration::parse(EXAMPLE).expect("the example is right");
    Credentials::read(&declaration, env)
        .expect_err("refused")
        .to_string()
}

#[test]
fn each_user_has_its_own_and_during_a_change_two() -> Result<()> {
    let (_, credentials) = example()?;
    assert_eq!(credentials.of("app-billing").len(), 2);
    assert_eq!(credentials.of("app-oncall").len(), 1);
    assert_eq!(credentials.of("app-search").len(), 0, "it has none with iam");
    let shown = format!("{credentials:?}");
    assert!(
        !shown.contains("Zk3") && !shown.contains(credentials.of("app-oncall")[0].hash.expose()),
        "{shown}"
    );
    Ok(())
}

#[test]
fn what_is_not_set_and_what_is_weak_is_told_by_its_place() {
    let missing = refusal(|name| (name != "ONCALL").then(|| password(name)));
    assert_eq!(
        missing,
        "wrong configuration: admins.oncall.password: env:ONCALL is not set"
    );
    let weak = refusal(|name| {
        Some(if name == "BOARD" {
            "hunter2".to_owned()
        } else {
            password(name)
        })
    });
    assert_eq!(
        weak,
        "wrong configuration: admins.board.password: env:BOARD must have 16 to 128 characters"
    );
}

#[test]
fn two_users_with_one_password_are_refused() {
    let twice = refusal(|name| Some(password(if name == "ONCALL" { "BOARD" } else { name })));
    assert!(
        twice.contains("admins.oncall.password: env:ONCALL must differ from that of admins.board.password"),
        "{twice}"
    );
    let same = refusal(|name| {
        Some(password(if name == "BILLING_NEXT" {
            "BILLING_PASSWORD"
        } else {
            name
        }))
    });
    assert!(
        same.contains("services.billing.users.service.next_password"),
        "{same}"
    );
}

#[test]
fn a_password_comes_from_a_file_without_its_line_end() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("cachectl-users-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let path = folder.join("password");
    writeln!(std::fs::File::create(&path)?, "{}", password("ONCALL"))?;
    let read = |place: &str| {
        let text = EXAMPLE.replace("env:ONCALL", &format!("file:{place}"));
        let declaration = Declaration::parse(&text).expect("the example is right");
        Credentials::read(&declaration, |name| Some(password(name)))
    };
    let credentials = read(&path.display().to_string());
    let missing = read(&folder.join("nothing").display().to_string());
    std::fs::remove_dir_all(&folder)?;
    assert_eq!(
        credentials?.of("app-oncall")[0].hash,
        example()?.1.of("app-oncall")[0].hash
    );
    let error = missing.expect_err("there is no such file").to_string();
    assert!(error.contains("cannot be read: entity not found"), "{error}");
    Ok(())
}

#[test]
fn a_hash_alone_will_do_unless_it_is_that_of_a_usual_password() {
    let with = |hash: &str| {
        let text = EXAMPLE.replace("env:ONCALL", &format!("sha256:{hash}"));
        let declaration = Declaration::parse(&text).expect("the example is right");
        Credentials::read(&declaration, |name| Some(password(name)))
    };
    let hash = "0a".repeat(32);
    let credentials = with(&hash).expect("a hash");
    assert_eq!(credentials.of("app-oncall")[0].hash.expose(), hash);
    let error = with("057ba03d6c44104863dc7361fe4578965d1887360f90a0895882e58a6248fc86")
        .expect_err("changeme")
        .to_string();
    assert!(
        error.contains("sha256:*** must not be the hash of one of the usual"),
        "{error}"
    );
}
