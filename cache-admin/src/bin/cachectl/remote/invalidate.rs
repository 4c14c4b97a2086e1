//! `cachectl invalidate PATTERN...`: a job of the service, watched until it ends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_admin::Selection;
use cache_admin::jobs::JobState;
use cache_core::Pattern;
use http::StatusCode;
use serde_json::{Value, json};

use super::Client;
use super::problem::Problem;
use crate::cli::Invalidate;
use crate::commands::Ended;
use crate::confirm::{Counted, Question, question};
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
    ask(client, &selection, arguments, &body, output).await?;
    let job = match client.once("/cache/pattern", Some(&body)).await? {
        Ok(job) => job,
        Err(refusal) if refusal.status == StatusCode::PRECONDITION_REQUIRED => {
            let token = Problem::read(&refusal.body).confirm;
            let token = token.ok_or_else(|| client.refused(&refusal))?;
            if arguments.confirm.is_some() {
                // What was given is not accepted: the refusal says why.
                return Err(client.refused(&refusal));
            }
            if !arguments.yes && arguments.expect.is_none() && !output.can_ask() {
                return Err(unconfirmed(&selection, &token));
            }
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
    if let Some(keys) = arguments.most_keys() {
        body["max_keys"] = keys.into();
    }
    if let Some(token) = &arguments.confirm {
        body["confirm"] = token.as_str().into();
    }
    body
}

/// Has the service count what would be removed; `None` if the token may remove keys but not list them.
async fn count(client: &Client, body: &Value, output: &Output) -> Result<Option<Counted>, Failure> {
    let mut body = body.clone();
    body["mode"] = "count".into();
    if let Some(body) = body.as_object_mut() {
        body.remove("max_keys");
        body.remove("confirm");
    }
    let job = match client.once("/cache/pattern", Some(&body)).await? {
        Ok(job) => job,
        Err(refusal) if refusal.status == StatusCode::FORBIDDEN => return Ok(None),
        Err(refusal) => return Err(client.refused(&refusal)),
    };
    let job = job::watched(&Source::Remote(client), job, output).await?;
    match job.state {
        JobState::Complete | JobState::Partial => Ok(Some(Counted {
            matched: job.progress.matched,
            is_complete: job.state == JobState::Complete,
        })),
        JobState::Cancelled => Err(crate::confirm::stopped()),
        _ => Err(Failure::Service {
            exit: job::exit(&job),
            kind: "count".to_owned(),
            message: format!(
                "the keys could not be counted, so nothing was removed: {}",
                job.error
                    .as_deref()
                    .map_or_else(|| job.state.name().to_owned(), crate::escape::plain)
            ),
        }),
    }
}

/// Asks what has to be asked before a removal.
async fn ask(
    client: &Client,
    selection: &Selection,
    arguments: &Invalidate,
    body: &Value,
    output: &mut Output,
) -> Result<(), Failure> {
    if arguments.dry_run || arguments.confirm.is_some() {
        return Ok(());
    }
    // Without a terminal the service's own refusal has the token that confirms a broad pattern.
    if arguments.expect.is_none() && !output.can_ask() {
        return Ok(());
    }
    let Some(question) = question(selection, arguments, output)? else {
        return Ok(());
    };
    match (count(client, body, output).await?, question) {
        (Some(counted), question) => question.answered(counted, selection, output),
        (None, Question::AtMost(_)) => Err(Failure::Refused(
            "--expect: the token may not count these keys (scope list), so nothing was removed".to_owned(),
        )),
        (None, Question::Number) => {
            if output.ask("The token may not count these keys (scope list). Remove them uncounted?")? {
                Ok(())
            } else {
                Err(Failure::Refused("not confirmed; nothing was removed".to_owned()))
            }
        }
    }
}

/// The refusal of a broad pattern that nobody could be asked about, with the token that confirms it.
fn unconfirmed(selection: &Selection, token: &str) -> Failure {
    let broad = selection.patterns().iter().find(|pattern| pattern.is_broad());
    // Where the service alone holds it for broad, the first one stands for all.
    let pattern = broad
        .or(selection.patterns().first())
        .map(ToString::to_string)
        .unwrap_or_default();
    Failure::Refused(format!(
        "the pattern {pattern} is broad and there is no terminal to confirm it at, so nothing was removed; --expect N \
         confirms it if at most N keys match, --yes without counting, or --confirm {}; --dry-run counts what it matches",
        crate::escape::plain(token)
    ))
}
