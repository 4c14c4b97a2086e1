//! The file of actors, and who is let in by it.

use std::time::Duration;

use cache_admin::access::{Access, Denied, Refused, Scope, Token};

use super::Held;

/// 2030-01-01 00:00 UTC.
const YEAR_2030: u64 = 1_893_456_000;

fn access(tokens: &[(&str, &Token, &str)]) -> Access {
    let actors: Vec<String> = tokens
        .iter()
        .map(|(name, token, rest)| {
            format!(
                "[actors.{name}]\ntokens = [{{ hash = \"{}\"{rest} }}]\ngrants = {{ list = [\"{name}:\"] }}\n",
                token.hash()
            )
        })
        .collect();
    Access::from_toml(&actors.concat()).expect("a file of actors")
}

fn token() -> Token {
    Token::generate().expect("a token")
}

#[test]
fn each_token_is_its_own_actor_and_any_other_text_is_nobody() {
    let (one, two) = (token(), token());
    let access = access(&[("one", &one, ""), ("two", &two, "")]);
    let who = |token: &str| {
        access
            .authenticate(Some(token), None)
            .map(|actor| actor.name().to_owned())
    };
    assert_eq!(who(one.expose()).as_deref(), Ok("one"));
    assert_eq!(who(two.expose()).as_deref(), Ok("two"));
    let upper = one.expose().to_uppercase();
    let cut = &one.expose()[..one.expose().len() - 1];
    let hash = one.hash();
    let longer = format!("{}x", one.expose());
    let long = "x".repeat(100_000);
    for wrong in [
        "",
        " ",
        "cca_",
        &*upper,
        cut,
        &*hash,
        &*longer,
        token().expose(),
        &*long,
    ] {
        assert_eq!(who(wrong), Err(Refused::Unknown));
    }
    assert_eq!(access.authenticate(None, None), Err(Refused::Missing));
}

#[test]
fn an_actor_has_what_its_own_entry_grants_and_nothing_else() {
    let (one, two) = (token(), token());
    let access = access(&[("one", &one, ""), ("two", &two, "")]);
    let one = access.authenticate(Some(one.expose()), None).expect("known");
    assert_eq!(one.may_key(Scope::List, b"one:1"), Ok(()));
    assert_eq!(
        one.may_key(Scope::List, b"two:1"),
        Err(Denied::Prefix(Scope::List))
    );
    assert_eq!(
        one.may_key(Scope::Value, b"one:1"),
        Err(Denied::Scope(Scope::Value))
    );
}

#[test]
fn a_token_ends_and_the_next_one_of_the_actor_is_good_meanwhile() {
    let (old, new) = (token(), token());
    let text = format!(
        "[actors.a]\ntokens = [{{ hash = \"{}\", not_after = 2030-01-01T00:00:00Z }}, {{ hash = \"{}\" }}]\ngrants = {{}}\n",
        old.hash(),
        new.hash()
    );
    let clock = Held::at(YEAR_2030 - 1);
    let access = Access::from_toml(&text)
        .expect("actors")
        .with_clock(clock.clone());
    let who = |token: &Token| {
        access
            .authenticate(Some(token.expose()), None)
            .map(|actor| actor.name().to_owned())
    };
    assert_eq!(who(&old).as_deref(), Ok("a"));
    assert_eq!(who(&new).as_deref(), Ok("a"));
    clock.pass(Duration::from_secs(1));
    assert_eq!(who(&old), Err(Refused::Expired));
    assert_eq!(who(&new).as_deref(), Ok("a"));
    assert!(access.warnings().is_empty());
}

#[test]
fn an_actor_whose_tokens_have_all_ended_is_warned_of() {
    let token = token();
    let access = access(&[("late", &token, ", not_after = 2001-01-01T00:00:00+02:00")]);
    assert_eq!(access.warnings(), ["actor late: all of its tokens have expired"]);
}

#[test]
fn without_authentication_everybody_is_one_actor_with_everything() {
    let access = Access::open();
    for presented in [None, Some("whatever")] {
        let actor = access.authenticate(presented, None).expect("everybody");
        assert_eq!(actor.name(), "anonymous");
        assert!(Scope::ALL.iter().all(|scope| actor.may_all(*scope).is_ok()));
    }
}

/// Each with what the message has to hold. `HASH` stands for one that is good.
const WRONG: [(&str, &str); 24] = [
    ("", "actors, actors: there is none; add [actors.NAME]"),
    ("[actors]", "there is none"),
    ("[actors", "line 1: not valid TOML"),
    ("a = 1", "line 1: holds an unknown field; known are actors"),
    (
        "actors = 1",
        "line 1, actors: must be tables such as [actors.deploy]",
    ),
    (
        "[actors.a]\ngrants = {}",
        "line 1, actors.a: nobody can be this actor",
    ),
    (
        "[actors.'s3cr3t s3cr3t']",
        "line 1, actors: a name is 1 to 64 letters",
    ),
    (
        "[actors.a]\ntoken = 1",
        "line 2, actors.a: holds an unknown field; known are tokens, certificates, grants",
    ),
    (
        "[actors.a]\ntokens = 's3cr3t'",
        "line 2, actors.a.tokens: must be a list of tables",
    ),
    (
        "[actors.a]\ngrants = {}\ntokens = ['s3cr3t']",
        "line 3, actors.a.tokens[0]: must be a list of tables",
    ),
    (
        "[actors.a]\ngrants = {}\ntokens = [{}]",
        "line 3, actors.a.tokens[0].hash: is missing",
    ),
    (
        "[actors.a]\ngrants = {}\ntokens = [{ hash = 's3cr3t' }]",
        "line 3, actors.a.tokens[0].hash: must be sha256: and 64 hexadecimal digits",
    ),
    (
        "[actors.a]\ngrants = {}\ntokens = [{ hash = 'HASH', s3cr3t = 1 }]",
        "line 3, actors.a.tokens[0]: holds an unknown field; known are hash, not_after",
    ),
    (
        "[actors.a]\ngrants = {}\ntokens = [{ hash = 'HASH', not_after = 2030-01-01 }]",
        "line 3, actors.a.tokens[0].not_after: must be a time with its offset",
    ),
    (
        "[actors.a]\ngrants = {}\ntokens = [{ hash = 'HASH' },\n{ hash = 'HASH' }]",
        "actors.a.tokens[1].hash: stands in the file twice",
    ),
    (
        "[actors.a]\ntokens = [{ hash = 'HASH' }]",
        "line 1, actors.a.grants: is missing",
    ),
    (
        "[actors.a]\ntokens = [{ hash = 'HASH' }]\ngrants = 1",
        "line 3, actors.a.grants: must be a table",
    ),
    (
        "[actors.a]\ntokens = [{ hash = 'HASH' }]\n[actors.a.grants]\nread = ['']",
        "line 4, actors.a.grants: holds an unknown field; known are list, value, invalidate, purge, acl",
    ),
    (
        "[actors.a]\ntokens = [{ hash = 'HASH' }]\n[actors.a.grants]\nlist = true",
        "line 4, actors.a.grants.list: must be a list of literal prefixes",
    ),
    (
        "[actors.a]\ntokens = [{ hash = 'HASH' }]\n[actors.a.grants]\nlist = []",
        "line 4, actors.a.grants.list: must be a list of literal prefixes",
    ),
    (
        "[actors.a]\ntokens = [{ hash = 'HASH' }]\n[actors.a.grants]\nlist = [1]",
        "line 4, actors.a.grants.list: must be a list of literal prefixes",
    ),
    (
        "[actors.a]\ngrants = {}\ncertificates = ['s3cr3t']",
        "line 3, actors.a.certificates[0]: must be a name in a certificate",
    ),
    (
        "[actors.a]\ngrants = {}\ncertificates = ['dns:x']\n[actors.b]\ngrants = {}\ncertificates = ['dns:x']",
        "line 4, actors.b.certificates[0]: stands in the file twice",
    ),
    (
        "[actors.a]\ngrants = {}\n[actors.a]\ns3cr3t = 1",
        "line 3: not valid TOML",
    ),
];

#[test]
fn a_wrong_file_is_refused_by_line_and_field_and_never_quoted() {
    let hash = token().hash();
    for (text, message) in WRONG {
        let error = Access::from_toml(&text.replace("HASH", &hash))
            .expect_err(text)
            .to_string();
        assert!(error.contains(message), "{text:?}: {error}");
        assert!(!error.contains("s3cr3t") && !error.contains(&hash), "{error}");
        assert!(!error.contains('\n') && !error.ends_with('.'), "{error}");
    }
}

#[test]
fn nothing_that_is_shown_holds_a_token_or_its_hash() {
    let token = token();
    let access = access(&[("one", &token, "")]);
    let actor = access.authenticate(Some(token.expose()), None).expect("known");
    let shown = format!("{access:?} {access:#?} {actor:?} {token:?}");
    assert!(shown.contains("one"), "{shown}");
    for hidden in [token.expose().as_str(), &token.hash(), &token.hash()[7..]] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}
