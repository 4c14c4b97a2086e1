//! The whole cache, looked into by a service: `cachectl overview`, `top`, `bigkeys` and `doctor`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_admin::BigKeys;
use cache_core::Pattern;

use super::client::{encoded, parameter};
use super::{Client, Watch};
use crate::commands::Ended;
use crate::commands::bigkeys::{self, Bigkeys};
use crate::commands::doctor::{self, Examine, Told};
use crate::commands::overview;
use crate::commands::top::{self, Looks, Top};
use crate::exit::Exit;
use crate::output::Output;
use crate::stop;

pub(super) async fn overview(client: &Client, output: &mut Output) -> Ended {
    overview::show(&client.get("/cache").await?, output)
}

pub(super) async fn top(client: &Client, arguments: &Top, output: &mut Output) -> Ended {
    top::shown(Looks::Service(Watch::new(client)), arguments, output).await
}

pub(super) async fn bigkeys(client: &Client, arguments: &Bigkeys, output: &mut Output) -> Ended {
    let pattern = Pattern::new(arguments.pattern.clone().into_encoded_bytes())?;
    let mut path = format!(
        "/cache/big-keys?{}&top={}",
        parameter("pattern", pattern.as_bytes()),
        arguments.top
    );
    // Without a number the service chooses one: it never looks at all keys of a large cache for one request.
    if let Some(sample) = arguments.sample {
        path.push_str(&format!("&samples={sample}"));
    }
    let mut found: BigKeys = tokio::select! {
        found = client.get(&path) => found?,
        () = stop::requested() => return Ok(Exit::Cancelled),
    };
    for key in &mut found.largest {
        let bytes = match (&key.key, &key.key_base64) {
            (Some(text), _) => Some(text.clone().into_bytes()),
            (None, Some(text)) => STANDARD.decode(text).ok(),
            (None, None) => None,
        };
        let bytes = bytes.ok_or_else(|| client.strange("a key has no name"))?;
        key.name = bytes.into();
    }
    bigkeys::told(&found, true, output)
}

pub(super) async fn doctor(client: &Client, arguments: &Examine, output: &mut Output) -> Ended {
    let mut asked = Vec::new();
    if let Some(prefix) = &arguments.prefix {
        asked.push(format!("prefix={}", encoded(prefix.as_bytes())));
    }
    if let Some(deadline) = arguments.deadline {
        asked.push(format!("deadline_ms={}", deadline.as_millis()));
    }
    let path = format!("/cache/doctor?{}", asked.join("&"));
    let told: Told = tokio::select! {
        told = client.get(&path) => told?,
        () = stop::requested() => return Ok(Exit::Cancelled),
    };
    doctor::told(&told, output)
}
