//! `docs/users.md` says exactly what each role is granted.

#![expect(clippy::expect_used, reason = "a page without the role ends the test")]

use cache_admin::users::{Role, Target};

const PAGE: &str = include_str!("../../../docs/users.md");

/// What the page says of `role`, between its heading and the next one.
fn told(role: Role) -> Vec<String> {
    let heading = format!("\n### `{role}`\n");
    let start = PAGE.find(&heading).expect("the page has the role") + heading.len();
    let block = PAGE[start..].split("```").nth(1).expect("a block of rules");
    let words = block.strip_prefix("text").unwrap_or(block).split_whitespace();
    words.map(str::to_owned).collect()
}

#[test]
fn the_page_says_what_each_role_is_granted_in_a_cluster() {
    for role in Role::ALL {
        let keyspaces = ["billing:".to_owned()];
        let permissions = role.permissions(&keyspaces, Target::Cluster);
        let plus = |granted: &cache_admin::users::Granted| format!("+{}", granted.command);
        let mut rules = permissions.keys.clone();
        rules.extend(permissions.commands.iter().map(plus));
        for (keys, commands) in &permissions.selectors {
            let words: Vec<String> = keys.iter().cloned().chain(commands.iter().map(plus)).collect();
            rules.extend(format!("({})", words.join(" ")).split(' ').map(str::to_owned));
        }
        if role != Role::Service
            && role != Role::Reader
            && role != Role::Invalidator
            && role != Role::Operator
        {
            assert!(permissions.keys.is_empty(), "{role}");
        }
        assert_eq!(told(role), rules, "{role}");
    }
}
