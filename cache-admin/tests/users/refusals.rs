//! Each thing that a declaration may not say, by its place and with what would be right.

#![expect(clippy::expect_used, reason = "a refusal that does not come ends the test")]

use cache_admin::users::Declaration;

/// A declaration with one service that is right.
const RIGHT: &str = "prefix = 'app-'
[services.billing]
keyspaces = ['billing:']
[services.billing.users.service]
password = 'env:BILLING'
";

/// Asserts that `text` is refused at `path`, for a reason that holds `words`.
fn refused(text: &str, path: &str, words: &str) {
    let error = Declaration::parse(text).expect_err(text);
    let found = error
        .problems()
        .iter()
        .any(|problem| problem.variable == path && problem.message.contains(words));
    assert!(found, "{text}\n{error}");
}

fn with_keyspace(keyspace: &str) -> String {
    RIGHT.replace("billing:'", &format!("{keyspace}'"))
}

#[test]
fn what_is_right_is_taken() {
    assert!(Declaration::parse(RIGHT).is_ok());
}

#[test]
fn all_keys_and_all_commands_are_refused() {
    let path = "services.billing.keyspaces[0]";
    for all in ["", "*", "~*", "%R~*", "%RW~*", "**"] {
        refused(
            &with_keyspace(all),
            path,
            "must not be all keys: name a prefix, such as billing:",
        );
    }
    for (command, words) in [
        ("+@all", "categories grow"),
        ("@read", "categories grow"),
        ("+get", "must be a command in lower case"),
        ("GET", "must be a command in lower case"),
        ("get set", "must be a command in lower case"),
        ("a|b|c", "must be a command in lower case"),
        ("flushall", "reaches beyond"),
        ("config|get", "reaches beyond"),
        ("acl", "reaches beyond"),
        ("client|kill", "reaches beyond"),
        ("keys", "reaches beyond"),
    ] {
        let text = format!("{RIGHT}allow = ['{command}']\n");
        refused(&text, "services.billing.users.service.allow[0]", words);
    }
    assert!(
        Declaration::parse(&format!(
            "{RIGHT}allow = ['zadd', 'object|encoding', 'client|id']\n"
        ))
        .is_ok()
    );
}

#[test]
fn a_keyspace_is_a_prefix_that_ends_with_a_separator() {
    let path = "services.billing.keyspaces[0]";
    refused(&with_keyspace("billing:*"), path, "without wildcards");
    refused(&with_keyspace("bill[io]ng:"), path, "without wildcards");
    refused(&with_keyspace("billing"), path, "must end with a separator");
    refused(&with_keyspace("bil ling:"), path, "no spaces");
    refused(&with_keyspace("b\u{e4}:"), path, "ASCII only");
    refused(&with_keyspace(":"), path, "a name before the separator");
    let none = RIGHT.replace("keyspaces = ['billing:']", "keyspaces = []");
    refused(&none, "services.billing.keyspaces", "must name the prefixes");
    let none = RIGHT.replace("keyspaces = ['billing:']\n", "");
    refused(&none, "services.billing.keyspaces", "must name the prefixes");
}

/// Two services with these keyspaces, of which those in `agreeing` share theirs with the other one.
fn two(one: &str, two: &str, agreeing: &[&str]) -> String {
    let service = |name: &str, keyspace: &str, other: &str| {
        let shared = if agreeing.contains(&name) {
            format!("shared_with = ['{other}']\n")
        } else {
            String::new()
        };
        format!(
            "[services.{name}]\nkeyspaces = ['{keyspace}']\n{shared}[services.{name}.users.service]\npassword = 'env:X'\n"
        )
    };
    format!(
        "prefix = 'app-'\n{}{}",
        service("billing", one, "other"),
        service("other", two, "billing")
    )
}

#[test]
fn keyspaces_of_two_services_overlap_only_where_both_agree() {
    let path = "services.other.keyspaces[0]";
    for (first, second) in [("a:", "a:"), ("a:", "a:b:"), ("a:b:", "a:")] {
        refused(&two(first, second, &[]), path, "names the other in shared_with");
        refused(
            &two(first, second, &["billing"]),
            path,
            "names the other in shared_with",
        );
        assert!(
            Declaration::parse(&two(first, second, &["billing", "other"])).is_ok(),
            "{first} {second}"
        );
    }
    assert!(Declaration::parse(&two("a:", "ab:", &[])).is_ok());
    let twice = RIGHT.replace("['billing:']", "['billing:', 'billing:v1:']");
    refused(&twice, "services.billing.keyspaces[1]", "of the same service");
    let nobody = RIGHT.replace("keyspaces", "shared_with = ['nobody']\nkeyspaces");
    refused(
        &nobody,
        "services.billing.shared_with",
        "must name other services",
    );
    refused(
        &with_keyspace("cachectl-doctor:x:"),
        "services.billing.keyspaces[0]",
        "where the doctor tries",
    );
}

#[test]
fn names_that_become_one_are_refused() {
    let long = "a".repeat(36);
    let service = |name: &str| {
        format!(
            "[services.{name}]\nkeyspaces = ['{name}:']\n[services.{name}.users.service]\npassword = 'env:X'\n"
        )
    };
    let text = format!(
        "prefix = 'app-'\n{}{}",
        service(&format!("{long}-one")),
        service(&format!("{long}-two"))
    );
    refused(
        &text,
        &format!("services.{long}-two.users.service"),
        "must differ from services.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-one.users.service in the first 40 characters",
    );
    let text = format!(
        "{RIGHT}[services.billing.users.reader]\npassword = 'env:Y'\n{}",
        service("billing-reader")
    );
    refused(
        &text,
        "services.billing-reader.users.service",
        "must not have the name app-billing-reader",
    );
    let iam =
        format!("prefix = 'app-'\n{}", service(&"b".repeat(40))).replace("password = 'env:X'", "iam = true");
    refused(
        &iam,
        &format!("services.{}.users.service", "b".repeat(40)),
        "at most 40 characters",
    );
    let text = format!("prefix = 'app-'\n{}", service("default"));
    refused(
        &text,
        "services.default.users.service",
        "must not be called default",
    );
    let text = format!("prefix = 'app-'\n{}", service("Billing"));
    refused(&text, "services.Billing", "must be a name of lower-case letters");
}

#[test]
fn the_prefix_marks_what_is_managed_and_so_must_be_there() {
    for prefix in ["", "app", "-", "App-", "a_b-", "a-very-long-prefix-indeed-"] {
        refused(&RIGHT.replace("app-", prefix), "prefix", "such as app-");
    }
    refused(&RIGHT.replace("prefix = 'app-'", ""), "prefix", "such as app-");
}

#[test]
fn a_password_is_referred_to_and_one_that_stands_there_is_not_repeated() {
    let path = "services.billing.users.service.password";
    for wrong in [
        "hunter2hunter2hunter2",
        "plain:hunter2",
        "env:",
        "sha256:hunter2",
        "",
    ] {
        let text = RIGHT.replace("env:BILLING", wrong);
        refused(&text, path, "env:NAME, file:PATH or sha256:");
        let error = Declaration::parse(&text).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    refused(&RIGHT.replace("password = 'env:BILLING'", ""), path, "env:NAME");
    let error = Declaration::parse("prefix = 'app-'\npassword = 'hunter2' 'hunter2'").expect_err("refused");
    assert_eq!(
        error.to_string(),
        "wrong configuration: line 2: is not valid TOML"
    );
    refused(
        &format!("{RIGHT}iam = true\n"),
        "services.billing.users.service",
        "not both",
    );
}

#[test]
fn what_is_not_known_is_refused_by_its_place() {
    refused(
        &format!("colour = 'red'\n{RIGHT}"),
        "colour",
        "is not known; known are prefix",
    );
    refused(
        &format!("{RIGHT}colour = 'red'\n"),
        "services.billing.users.service.colour",
        "is not known",
    );
    refused(
        &RIGHT.replace("users.service", "users.writer"),
        "services.billing.users.writer",
        "must be called service",
    );
    let admin = format!("{RIGHT}[admins.x]\nrole = 'service'\npassword = 'env:X'\n");
    refused(&admin, "admins.x.role", "must be operator, viewer or acl-admin");
    refused(
        &format!("topology = 'ring'\n{RIGHT}"),
        "topology",
        "cluster, single or sentinel",
    );
    refused(
        &format!("database = 3\n{RIGHT}"),
        "database",
        "must be 0 for a cluster",
    );
    refused(&format!("version = '6.2'\n{RIGHT}"), "version", "from 7.0 on");
    refused(
        &RIGHT.replace("['billing:']", "'billing:'"),
        "services.billing.keyspaces",
        "a list of texts",
    );
    refused("prefix = 'app-'\nservices = 3", "services", "a table of tables");
    refused("prefix = 'app-'", "services", "must declare a user");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = format!("colour = 'red'\n{}", with_keyspace("*")).replace("env:BILLING", "x");
    let error = Declaration::parse(&text).expect_err("refused");
    assert_eq!(error.problems().len(), 3, "{error}");
}
