//! One key, one namespace: `cachectl inspect`, `del` and `generation`.

use cache_admin::{Bumped, Inspection, NamespaceState};
use serde::Deserialize;

use super::Client;
use super::client::{encoded, parameter};
use crate::commands::Ended;
use crate::commands::generation::{self, Generation};
use crate::commands::inspect::{self, Inspect};
use crate::commands::key;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Deserialize)]
struct Removed {
    removed: u64,
}

/// Removes keys one after the other, each a request of its own.
pub(super) async fn del(client: &Client, keys: &[String], output: &mut Output) -> Ended {
    let mut removed = 0;
    for key in keys {
        let path = format!("/cache?{}", parameter("key", key.as_bytes()));
        let answer: Result<Removed, Failure> = client.delete(&path).await;
        match answer {
            Ok(answer) => removed += answer.removed,
            Err(failure) => {
                if keys.len() > 1 {
                    output.warning(&format!(
                        "{} before that",
                        crate::human::keys(removed) + " removed"
                    ));
                }
                return Err(failure);
            }
        }
    }
    key::removed(removed, keys.len(), output)
}

pub(super) async fn inspect(client: &Client, arguments: Inspect, output: &mut Output) -> Ended {
    let key = arguments.key.into_encoded_bytes();
    let mut path = format!("/cache?{}", parameter("key", &key));
    if arguments.value {
        path.push_str("&value=true");
    }
    let found: Inspection = client.get(&path).await?;
    inspect::show(&key, &found, arguments.value, output)
}

pub(super) async fn generation(client: &Client, generation: Generation, output: &mut Output) -> Ended {
    let path = |namespace: &str| format!("/cache/namespaces/{}/generation", encoded(namespace.as_bytes()));
    let (namespace, count) = match generation {
        Generation::Bump { namespace, count } => (namespace, count),
        Generation::Show { namespace } => {
            let state: NamespaceState = client.get(&path(&namespace)).await?;
            return generation::show_state(&state, output);
        }
    };
    if count {
        return Err(Failure::Usage(
            "--count does not work through a service, and no step was made; leave it out, and count with invalidate --dry-run".to_owned(),
        ));
    }
    let bumped: Result<Bumped, _> = client.once(&path(&namespace), None).await?;
    let bumped = bumped.map_err(|refusal| client.refused(&refusal))?;
    generation::show_bumped(&bumped, None, output)
}
