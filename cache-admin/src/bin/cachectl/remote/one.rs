//! One key, one namespace: `cachectl inspect` and `cachectl generation`.

use cache_admin::{Bumped, Inspection, NamespaceState};

use super::Client;
use super::client::{encoded, parameter};
use crate::commands::Ended;
use crate::commands::generation::{self, Generation};
use crate::commands::inspect::{self, Inspect};
use crate::failure::Failure;
use crate::output::Output;

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
            "with --server count what is left by invalidate --dry-run: no --count".to_owned(),
        ));
    }
    let bumped: Result<Bumped, _> = client.once(&path(&namespace), None).await?;
    let bumped = bumped.map_err(|refusal| client.refused(&refusal))?;
    generation::show_bumped(&bumped, None, output)
}
