//! Sealed tokens: accepted for what they were issued for, and for nothing else.

use std::time::Duration;

use cache_admin::paging::{PageRequest, Position};
use cache_admin::seal::{Binding, Confirmation, CursorScope, Purpose, Sealer, Unsealed};
use cache_admin::{CacheIdentity, Engine, MemoryKeys, Selection};
use cache_core::{CacheClient as _, MemoryCache, Pattern, Secret, Ttl};
use proptest::prelude::any;

use super::Held;

const MINUTE: Duration = Duration::from_secs(60);

fn sealer(clock: &Held) -> Sealer {
    Sealer::random().expect("chance").with_clock(clock.clone())
}

fn secrets(text: &str) -> Sealer {
    Sealer::from_text(&Secret::from(text)).expect("secrets")
}

fn selection(patterns: &[&str]) -> Selection {
    let patterns = patterns.iter().map(|text| Pattern::new(*text).unwrap());
    Selection::any_of(patterns).expect("patterns")
}

fn binding() -> Binding {
    Binding::new().with(b"one").with(b"two")
}

proptest::proptest! {
    #[test]
    fn a_token_opens_to_what_was_sealed(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
        let sealer = sealer(&Held::at(1_000));
        let token = sealer.seal(Purpose::Cursor, &binding(), &payload, MINUTE);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        proptest::prop_assert!(token.bytes().all(plain));
        proptest::prop_assert_eq!(sealer.open(Purpose::Cursor, &binding(), &token), Ok(payload));
    }

    #[test]
    fn a_token_with_any_bit_changed_is_forged(
        payload in proptest::collection::vec(any::<u8>(), 0..60),
        place: usize,
        character in "[A-Za-z0-9_-]",
    ) {
        let sealer = sealer(&Held::at(1_000));
        let token = sealer.seal(Purpose::Cursor, &binding(), &payload, MINUTE);
        let place = place % token.len();
        let changed = format!("{}{character}{}", &token[..place], &token[place + 1..]);
        if changed != token {
            proptest::prop_assert_eq!(sealer.open(Purpose::Cursor, &binding(), &changed), Err(Unsealed::Forged));
        }
    }

    #[test]
    fn a_token_that_was_cut_or_made_longer_is_forged(
        payload in proptest::collection::vec(any::<u8>(), 0..60),
        length: usize,
        more in "[A-Za-z0-9_-]{1,8}",
    ) {
        let sealer = sealer(&Held::at(1_000));
        let token = sealer.seal(Purpose::Cursor, &binding(), &payload, MINUTE);
        for changed in [token[..length % token.len()].to_owned(), format!("{token}{more}"), format!("{more}{token}")] {
            proptest::prop_assert_eq!(sealer.open(Purpose::Cursor, &binding(), &changed), Err(Unsealed::Forged));
        }
    }

    #[test]
    fn any_text_is_forged(text in ".{0,200}") {
        let sealer = sealer(&Held::at(1_000));
        proptest::prop_assert_eq!(sealer.open(Purpose::Confirm, &binding(), &text), Err(Unsealed::Forged));
    }
}

#[test]
fn a_token_for_something_else_is_foreign_and_one_of_before_has_expired() {
    let clock = Held::at(1_000);
    let sealer = sealer(&clock);
    let token = sealer.seal(Purpose::Cursor, &binding(), b"here", MINUTE);
    let open = |purpose, binding: &Binding| sealer.open(purpose, binding, &token);
    assert_eq!(open(Purpose::Confirm, &binding()), Err(Unsealed::Foreign));
    assert_eq!(
        open(Purpose::Cursor, &Binding::new().with(b"one")),
        Err(Unsealed::Foreign)
    );
    assert_eq!(
        open(Purpose::Cursor, &binding().with(b"")),
        Err(Unsealed::Foreign)
    );
    clock.pass(MINUTE - Duration::from_secs(1));
    assert_eq!(open(Purpose::Cursor, &binding()), Ok(b"here".to_vec()));
    clock.pass(Duration::from_secs(1));
    assert_eq!(open(Purpose::Cursor, &binding()), Err(Unsealed::Expired));
    assert_eq!(open(Purpose::Confirm, &binding()), Err(Unsealed::Foreign));
}

#[test]
fn a_token_is_good_wherever_its_secret_is_accepted_and_nowhere_else() {
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    let token = secrets(&old).seal(Purpose::Cursor, &binding(), b"", MINUTE);
    let both = secrets(&format!("# the newest first\n{new}\n\n{old}\n"));
    assert_eq!(both.open(Purpose::Cursor, &binding(), &token), Ok(Vec::new()));
    assert_eq!(
        secrets(&new).open(Purpose::Cursor, &binding(), &token),
        Err(Unsealed::Forged)
    );
    let newer = both.seal(Purpose::Cursor, &binding(), b"", MINUTE);
    assert_eq!(
        secrets(&new).open(Purpose::Cursor, &binding(), &newer),
        Ok(Vec::new())
    );
    assert_eq!(
        secrets(&old).open(Purpose::Cursor, &binding(), &newer),
        Err(Unsealed::Forged)
    );
    let another = Sealer::random().expect("chance");
    assert_eq!(
        another.open(Purpose::Cursor, &binding(), &token),
        Err(Unsealed::Forged)
    );
}

#[test]
fn secrets_are_long_enough_and_never_shown() {
    for (text, message) in [
        ("", "there is none"),
        ("# only this\n\n", "there is none"),
        ("s3cr3t", "line 1: shorter than 32 characters"),
        (
            "oooooooooooooooooooooooooooooooooo\ns3cr3t",
            "line 2: shorter than 32 characters",
        ),
    ] {
        let error = Sealer::from_text(&Secret::from(text))
            .expect_err(text)
            .to_string();
        assert!(error.contains(message) && !error.contains("s3cr3t"), "{error}");
    }
    assert_eq!(
        format!("{:?}", secrets(&"o".repeat(32))),
        "Sealer { secrets: 1, .. }"
    );
    let error = Sealer::from_file("/nowhere/secrets")
        .expect_err("no file")
        .to_string();
    assert!(error.contains("/nowhere/secrets"), "{error}");
}

#[test]
fn who_agreed_to_one_removal_agreed_to_no_other() {
    let clock = Held::at(1_000);
    let sealer = sealer(&clock);
    let (all, other) = (selection(&["*"]), selection(&["*", "a*"]));
    let longer = all.clone().with_size(1..=2);
    let (one, two) = (node("one"), node("two"));
    let agreed = Confirmation {
        selection: &all,
        mode: "execute",
        cache: &one,
        actor: "jo",
    };
    let token = agreed.token(&sealer);
    let number = agreed.check(&sealer, &token).unwrap();
    assert_eq!(agreed.check(&sealer, &token), Ok(number.clone()));
    // Whoever is asked twice has two tokens.
    let again = agreed.token(&sealer);
    assert_ne!(agreed.check(&sealer, &again).unwrap(), number);
    let others = [
        Confirmation {
            selection: &other,
            ..agreed
        },
        Confirmation {
            selection: &longer,
            ..agreed
        },
        Confirmation {
            mode: "count",
            ..agreed
        },
        Confirmation {
            cache: &two,
            ..agreed
        },
        Confirmation {
            actor: "joe",
            ..agreed
        },
        // The same letters, cut in another place.
        Confirmation {
            mode: "executej",
            actor: "o",
            ..agreed
        },
    ];
    for other in others {
        assert_eq!(other.check(&sealer, &token), Err(Unsealed::Foreign), "{other:?}");
    }
    clock.pass(5 * MINUTE);
    assert_eq!(agreed.check(&sealer, &token), Err(Unsealed::Expired));
}

fn node(id: &str) -> CacheIdentity {
    CacheIdentity::cluster([id.to_owned()])
}

#[test]
fn a_token_is_good_while_one_node_of_its_cluster_is_left() {
    let clock = Held::at(1_000);
    let sealer = sealer(&clock);
    let all = selection(&["*"]);
    let nodes = |first: usize, last: usize| {
        CacheIdentity::cluster((first..last).map(|number| format!("node-{number}")))
    };
    let cluster = nodes(0, 200);
    let agreed = Confirmation {
        selection: &all,
        mode: "execute",
        cache: &cluster,
        actor: "jo",
    };
    let token = agreed.token(&sealer);
    assert!(token.len() < 400, "{}", token.len());
    let checked = |cache: &CacheIdentity| Confirmation { cache, ..agreed }.check(&sealer, &token);
    assert!(checked(&nodes(0, 300)).is_ok());
    for other in [
        nodes(200, 300),
        nodes(0, 200).with_database(1),
        nodes(0, 200).with_prefix("x:"),
        CacheIdentity::embedded(),
    ] {
        assert_eq!(checked(&other), Err(Unsealed::Foreign), "{other}");
    }
}

async fn a_position() -> Position {
    let cache = std::sync::Arc::new(MemoryCache::default());
    for number in 0..500 {
        cache
            .set(&format!("a{number}"), "".into(), Ttl::Forever)
            .await
            .expect("stored");
    }
    let engine = Engine::new(MemoryKeys::new(cache));
    let page = engine
        .page(&PageRequest::new(selection(&["a*"])).with_limit(10))
        .await;
    page.expect("a page").next.expect("there is more")
}

#[tokio::test]
async fn a_cursor_goes_on_with_the_same_keys_of_the_same_cache_for_the_same_rights_only() {
    let clock = Held::at(1_000);
    let sealer = sealer(&clock);
    let position = a_position().await;
    let (keys, others) = (selection(&["a*"]), selection(&["b*"]));
    let prefixes: [Box<[u8]>; 2] = [Box::from(*b"a"), Box::from(*b"b")];
    let (one, two) = (node("one"), node("two"));
    let scope = CursorScope {
        selection: &keys,
        cache: &one,
        prefixes: &prefixes,
    };
    let cursor = scope.seal(&sealer, &position);
    assert_eq!(scope.open(&sealer, &cursor), Ok(position));
    let typed = keys.clone().with_types([cache_admin::KeyType::String]);
    for foreign in [
        CursorScope {
            selection: &others,
            ..scope
        },
        CursorScope {
            selection: &typed,
            ..scope
        },
        CursorScope { cache: &two, ..scope },
        CursorScope {
            prefixes: &prefixes[..1],
            ..scope
        },
        CursorScope {
            prefixes: &[],
            ..scope
        },
    ] {
        assert_eq!(
            foreign.open(&sealer, &cursor),
            Err(Unsealed::Foreign),
            "{foreign:?}"
        );
    }
    let confirm = Confirmation {
        selection: &keys,
        mode: "execute",
        cache: &one,
        actor: "jo",
    };
    assert_eq!(
        scope.open(&sealer, &confirm.token(&sealer)),
        Err(Unsealed::Foreign)
    );
    assert_eq!(confirm.check(&sealer, &cursor), Err(Unsealed::Foreign));
    clock.pass(60 * MINUTE);
    assert_eq!(scope.open(&sealer, &cursor), Err(Unsealed::Expired));
}
