//! What is read from files that others write, or that broke: it is taken, or refused by its place, and never ends
//! the process.

use std::sync::Arc;
use std::time::Duration;

use cache_admin::users::Declaration;
use cache_admin::{CacheIdentity, Checkpoint, Engine, MemoryKeys, Options, Outcome};
use cache_core::{CacheError, MemoryCache};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The example of the documentation.
const USERS: &str = include_str!("../../docs/users.toml");

const CHECKPOINT: &str = r#"{"form":1,"cache":{"kind":"embedded","ids":[]},"patterns":["k:*",{"base64":"/wA="}],"types":["set"],"life":null,"size":null,
"idle":{"secs":1,"nanos":0},"verify":true,"max_keys":5,"passes":1,"slots_moved":3,"elapsed":{"secs":1,"nanos":5},
"uncounted":7,"primaries":[{"address":"a:1","visited":[[0,99],[200,200]],"swept":false,"counts":{"pages":2,
"matched":9,"removed":8,"gone":1,"orphans":0,"moved":0,"late":0},"keys_before":30,"elapsed":{"secs":4,"nanos":0}},
{"address":"b:1","visited":[],"swept":true,"counts":{"pages":6,"removed":4},"keys_before":null,"elapsed":
{"secs":2,"nanos":0}}]}"#;

/// What is put in the place of something.
const PIECES: [&str; 22] = [
    "",
    "0",
    "-1",
    "65535",
    "4294967295",
    "18446744073709551615",
    "1e308",
    "\"",
    "'",
    "[",
    "]",
    "{",
    "}",
    ",",
    ".",
    "=",
    ":",
    "\n",
    "null",
    "\\",
    "\u{0}",
    "\u{fffd}",
];

/// `right`, after some of its words and numbers became others.
fn mangled(right: &'static str) -> impl Strategy<Value = String> {
    proptest::collection::vec((any::<Index>(), select(&PIECES[..]), any::<bool>()), 0..4).prop_map(
        move |changes| {
            let mut text = right.to_owned();
            for (at, piece, whole) in changes {
                let mut words = Vec::new();
                let is_word = |character: char| character.is_ascii_alphanumeric();
                for (start, _) in text.char_indices().filter(|(_, character)| is_word(*character)) {
                    match words.last_mut() {
                        Some((_, end)) if *end == start => *end = start + 1,
                        _ => words.push((start, start + 1)),
                    }
                }
                if words.is_empty() {
                    break;
                }
                let (start, end) = words[at.index(words.len())];
                text.replace_range(start..if whole { end } else { start + 1 }, piece);
            }
            text
        },
    )
}

async fn resumed(checkpoint: &Checkpoint) -> Outcome {
    let engine = Engine::new(MemoryKeys::new(Arc::new(MemoryCache::default())));
    engine.resume(checkpoint, &Options::default()).await.outcome
}

#[tokio::test]
async fn the_checkpoint_that_is_mangled_here_is_one() {
    let checkpoint: Checkpoint = serde_json::from_str(CHECKPOINT).expect("a checkpoint");
    assert_eq!(checkpoint.counts().removed, 12);
    assert_eq!(checkpoint.elapsed(), Duration::new(1, 5));
    let outcome = resumed(&checkpoint).await;
    assert!(!matches!(outcome, Outcome::Failed { .. }), "{outcome:?}");
    let absurd = CHECKPOINT.replace("\"removed\":8", "\"removed\":18446744073709551615");
    let absurd: Checkpoint = serde_json::from_str(&absurd).expect("the form of a checkpoint");
    let refused = absurd.selection();
    assert!(matches!(refused, Err(CacheError::Corrupt { .. })), "{refused:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_stands_in_a_checkpoint_it_is_resumed_or_refused(text in mangled(CHECKPOINT)) {
        if let Ok(checkpoint) = serde_json::from_str::<Checkpoint>(&text) {
            let _sum = checkpoint.counts();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let outcome = runtime.expect("a runtime").block_on(resumed(&checkpoint));
            let is_sound = checkpoint.selection().is_ok() && checkpoint.check_cache(&CacheIdentity::embedded()).is_ok();
            prop_assert_eq!(is_sound, !matches!(outcome, Outcome::Failed { .. }), "{:?}", outcome);
        }
    }

    #[test]
    fn whatever_stands_in_a_file_of_users_it_is_declared_or_refused(text in mangled(USERS), noise in "\\PC{0,80}") {
        for text in [text, noise] {
            if let Err(error) = Declaration::parse(&text) {
                prop_assert!(!error.problems().is_empty());
            }
        }
    }
}

#[cfg(feature = "http")]
mod actors {
    use cache_admin::access::Access;

    use super::*;

    const ACTORS: &str = "[actors.deploy]\ntokens = [{ hash = \
        \"sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\", \
        not_after = 2030-01-01T00:00:00+01:00 }]\ncertificates = [\"dns:deploy.example\"]\n\
        grants = { list = [\"\"], invalidate = [\"billing:\"] }\n";

    #[test]
    fn the_file_that_is_mangled_here_is_one() {
        assert!(Access::from_toml(ACTORS).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn whatever_stands_in_a_file_of_actors_it_is_read_or_refused_and_no_hash_is_told(
            text in mangled(ACTORS),
            noise in "\\PC{0,80}",
        ) {
            for text in [text, noise] {
                if let Err(error) = Access::from_toml(&text) {
                    let told = format!("{error} {error:?}");
                    prop_assert!(!told.contains("d081884c7d659a2feaa0"), "{}", told);
                }
            }
        }
    }
}
