//! What the README prints is what the commands give: its `curl` lines are asked one after the other, of the
//! service on the embedded client and of the same service on a cluster.

use anyhow::{Context as _, Result, bail};
use tests::{Cluster, ClusterOptions};

use crate::http::Request;
use crate::service::Service;

const README: &str = include_str!("../../../README.md");

/// A `curl` line and what the README prints below it.
#[derive(Debug)]
struct Step {
    line: &'static str,
    printed: String,
}

/// All `curl` lines of the README's `console` blocks, in order.
fn steps() -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut reading = false;
    for line in README.lines() {
        if line.starts_with("```") {
            reading = false;
        } else if let Some(command) = line.strip_prefix("$ ") {
            reading = command.starts_with("curl ");
            if reading {
                steps.push(Step {
                    line: command,
                    printed: String::new(),
                });
            }
        } else if reading && let Some(step) = steps.last_mut() {
            step.printed.push_str(line);
            step.printed.push('\n');
        }
    }
    steps
}

/// The request that such a line makes. Options that the README does not use are refused.
fn request(line: &str) -> Result<Request> {
    let mut request = Request::default();
    let mut words = words(line).into_iter().skip(1);
    while let Some(word) = words.next() {
        let mut argument = || {
            words
                .next()
                .with_context(|| format!("{word} of {line:?} has no argument"))
        };
        match word.as_str() {
            "-X" => request.method = Some(argument()?),
            "-d" => request.body = Some(argument()?),
            "-H" => {
                let header = argument()?;
                let (name, value) = header.split_once(": ").context("no header")?;
                request = request.header(name, value);
            }
            url => match url.strip_prefix("localhost:8080") {
                Some(path) => request.path = path.to_owned(),
                None => bail!("{url} of {line:?} is neither a known option nor the service"),
            },
        }
    }
    if request.body.is_some() && request.method.is_none() {
        request.method = Some("POST".to_owned());
    }
    Ok(request)
}

/// The words of a line, as a shell reads them where nothing but single quotes is special.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            other => {
                if let Some(word) = words.last_mut() {
                    word.push(other);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

async fn follow_the_readme(service: &Service) -> Result<()> {
    let steps = steps();
    assert!(steps.len() >= 6, "the README shows {} curl lines", steps.len());
    for step in steps {
        let answer = service.ask(request(step.line)?).await;
        assert_eq!(answer.body, step.printed, "{}", step.line);
    }
    Ok(())
}

#[tokio::test]
async fn the_curl_lines_of_the_readme_give_what_it_prints() -> Result<()> {
    let service = Service::start(&[]).await?;
    let greeting = service.greeting.replace(&service.address, "127.0.0.1:8080");
    assert!(README.lines().any(|line| line == greeting), "{greeting}");
    follow_the_readme(&service).await
}

// A cluster of its own, because the README's answers are those of a cache that is empty.
#[tokio::test]
async fn they_give_the_same_on_a_cluster() -> Result<()> {
    let cluster = Cluster::start(ClusterOptions::new(3, 0)).await?;
    let addresses = cluster.addresses().join(",");
    let variables = [("CACHE_ADDRS", addresses.as_str()), ("CACHE_MODE", "cluster")];
    let service = Service::start(&variables).await?;
    assert!(service.greeting.contains("cluster"), "{}", service.greeting);
    follow_the_readme(&service).await
}

#[test]
fn a_line_is_read_as_a_shell_reads_it() {
    assert_eq!(
        words("curl -H 'a: b c'  -d '{\"x\":1}' u"),
        ["curl", "-H", "a: b c", "-d", "{\"x\":1}", "u"]
    );
}

#[test]
fn the_readme_is_short_enough_to_be_read() {
    assert!(README.lines().count() <= 150);
}
