//! `cachectl invalidate PATTERN...`: a job of the service, watched until it ends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_admin::Selection;
use cache_core::Pattern;
use http::StatusCode;
use serde_json::{Value, json};

use super::Client;
use super::problem::Problem;
use crate::cli::Invalidate;
use crate::commands::Ended;
use crate::failure::Failure;
use crate::job;
use crate::output::Output;
use crate::source::Source;

pub(super) async fn run(client: &Client, arguments: &Invalidate, output: &mut Output) -> Ended {
    if arguments.resume.is_some() {
        return Err(Failure::Usage(
            "--resume does not work through a service, which keeps how far a removal is (cachectl jobs resume JOB); \
             nothing was removed".to_owned(),
        ));
    }
    if arguments.estimate.is_some() {
        return Err(Failure::Usage(
            "--estimate does not work through a service; --dry-run alone counts there".to_owned(),
        ));
    }
    let selection = arguments.filters.of(&arguments.patterns)?;
    let mut body = body(&selection, arguments);
    let job = match client.once("/cache/pattern", Some(&body)).await? {
        Ok(job) => job,
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_REQUIRED => {
            let token = Problem::read(&refusal.body).confirm;
            let token = token.ok_or_else(|| client.refused(&refusal))?;
            if arguments.confirm.is_some() {
                // What was given is not accepted: the refusal says why.
                return Err(client.refused(&refusal));
            }
            confirm(&selection, &token, arguments, output)?;
            body["confirm"] = token.into();
            let confirmed = client.once("/cache/pattern", Some(&body)).await?;
            confirmed.map_err(|refusal| client.refused(&refusal))?
        }
        Err(refusal) => return Err(client.refused(&refusal)),
    };
    let source = Source::Remote(client);
    let job = job::watched(&source, job, output).await?;
    job::show(&job, output)?;
    Ok(job::exit(&job))
}

fn body(selection: &Selection, arguments: &Invalidate) -> Value {
    let run = &arguments.run;
    let text = |pattern: &Pattern| match std::str::from_utf8(pattern.as_bytes()) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(pattern.as_bytes()) }),
    };
    let mut body = json!({
        "patterns": selection.patterns().iter().map(text).collect::<Vec<_>>(),
        "mode": if arguments.dry_run { "dry_run" } else { "execute" },
        "verify": !arguments.no_verify,
        "patience_ms": u64::try_from(run.wait.as_millis()).unwrap_or(u64::MAX),
    });
    arguments.filters.put(&mut body);
    if arguments.dry_run {
        body["sample"] = arguments.sample.into();
    }
    if run.full_speed {
        body["pace"] = "full".into();
    }
    if let Some(rate) = run.rate {
        body["rate"] = rate.into();
    }
    if let Some(keys) = arguments.max_keys {
        body["max_keys"] = keys.into();
    }
    if let Some(token) = &arguments.confirm {
        body["confirm"] = token.as_str().into();
    }
    body
}

/// A broad pattern needs a yes: from the terminal, by `--yes`, or by the token that the service gave before.
fn confirm(
    selection: &Selection,
    token: &str,
    arguments: &Invalidate,
    output: &mut Output,
) -> Result<(), Failure> {
    let broad = selection.patterns().iter().find(|pattern| pattern.is_broad());
    // Where the service alone holds it for broad, the first one stands for all.
    let pattern = broad.or(selection.patterns().first());
    let Some(pattern) = pattern.filter(|_| !arguments.yes) else {
        return Ok(());
    };
    if !output.can_ask() {
        return Err(Failure::Refused(format!(
            "the pattern {pattern} is broad and there is no terminal to confirm it at, so nothing was removed; --yes \
             confirms it, or --confirm {}; --dry-run counts what it matches",
            crate::escape::plain(token)
        )));
    }
    if output.ask(&format!(
        "The pattern {pattern} is broad: it may remove most keys. Go on?"
    ))? {
        Ok(())
    } else {
        Err(Failure::Refused("not confirmed; nothing was removed".to_owned()))
    }
}
