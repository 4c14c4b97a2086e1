//! What the README prints is what the commands give: its lines are carried out one after the other, with free ports and
//! a server of the test's own in place of those that it names.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tests::{Server, ServerOptions, Version};

use crate::process::{self, Process};
use crate::shell::{request, words};
use crate::steps::{Step, steps};

const README: &str = include_str!("../../token-broker/README.md");

/// How the README runs the program.
const PROGRAM: &str = "cargo run -q --bin token-broker";

/// The arguments of a line that runs the program; `None` of one that does something else.
fn arguments(line: &str) -> Option<Vec<String>> {
    let rest = line.strip_prefix(PROGRAM)?;
    let (_, arguments) = rest.split_once(" -- ").unwrap_or_default();
    Some(words(arguments))
}

/// The lines without what differs from run to run: numbers and tokens.
fn without_chance(text: &str) -> Vec<String> {
    let is_free = |character: char| !character.is_ascii_digit() && character != '.';
    let line = |line: &str| {
        let kept: String = line.chars().filter(|character| is_free(*character)).collect();
        kept.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect()
}

/// An answer without what differs from run to run.
fn stable(body: &str) -> Result<Value> {
    let mut body: Value = serde_json::from_str(body).with_context(|| format!("no JSON: {body}"))?;
    for name in [
        "token",
        "expiry",
        "valid_for",
        "requests_per_hour",
        "mints_per_hour",
    ] {
        if let Some(value) = body.get_mut(name) {
            // What kind of value it is stays.
            *value = if value.is_string() { "".into() } else { 0.into() };
        }
    }
    Ok(body)
}

#[tokio::test]
async fn the_lines_for_one_broker_give_what_the_readme_prints() -> Result<()> {
    let steps = steps(README, "See it work");
    let [start, requests @ ..] = &steps[..] else {
        bail!("the README starts nothing");
    };
    assert_eq!(arguments(start.line), Some(Vec::new()));
    let broker = Process::start(&[], &[]).await?;
    let greeting = broker.greeting.replace(&broker.address, "127.0.0.1:8090");
    assert_eq!(start.printed.trim_end(), greeting);
    assert!(requests.len() >= 5);
    let mut tokens = Vec::new();
    for Step { line, printed, .. } in requests {
        let answered = broker.ask(request(line, "localhost:8090")?).await;
        assert_eq!(stable(&answered.body)?, stable(printed)?, "{line}");
        let printed: Value = serde_json::from_str(printed)?;
        tokens.push((answered.json()["token"].clone(), printed["token"].clone()));
    }
    // Equal where the README shows them to be equal.
    assert_eq!(tokens[0].0, tokens[1].0);
    assert_eq!(tokens[0].1, tokens[1].1);
    Ok(())
}

#[tokio::test]
async fn the_demo_prints_the_table_of_the_readme() -> Result<()> {
    let steps = steps(README, "A compressed hour");
    let [Step { line, printed, .. }] = &steps[..] else {
        bail!("{steps:?}");
    };
    let arguments = arguments(line).context("no run of the program")?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let table = process::run(&arguments, &[]).await?;
    assert_eq!(without_chance(&table), without_chance(printed), "{table}");
    let mints = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("mints "));
        line.map(|count| count.trim().to_owned())
    };
    assert_eq!(mints(&table), mints(printed), "{table}");
    Ok(())
}

#[tokio::test]
async fn the_lines_for_a_fleet_give_what_the_readme_prints() -> Result<()> {
    let server = Server::start(ServerOptions::new(Version::Valkey8)).await?;
    let keyset = concat!(env!("CARGO_MANIFEST_DIR"), "/token-broker/demo/keyset.json");
    let (mut variables, mut running) = (Vec::new(), Vec::new());
    // What the README calls an address, and what it is here.
    let mut addresses = vec![
        (
            "examples/token-broker/demo/keyset.json".to_owned(),
            keyset.to_owned(),
        ),
        ("127.0.0.1:6379".to_owned(), server.address()),
    ];
    let put = |text: &str, names: &[(String, String)]| {
        names
            .iter()
            .fold(text.to_owned(), |text, (name, here)| text.replace(name, here))
    };
    for Step { line, printed, .. } in steps(README, "A fleet") {
        if let Some(exported) = line.strip_prefix("export ") {
            let pairs = exported.split(' ').filter_map(|pair| pair.split_once('='));
            variables.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
            continue;
        }
        let arguments = arguments(line).with_context(|| format!("{line} runs something else"))?;
        let arguments: Vec<String> = arguments.iter().map(|word| put(word, &addresses)).collect();
        let here: Vec<_> = variables
            .iter()
            .map(|(name, value)| (name.clone(), put(value, &addresses)))
            .collect();
        let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if words.first() == Some(&"load") {
            let table = process::run(&words, &here).await?;
            assert_eq!(without_chance(&table), without_chance(&printed), "{table}");
            continue;
        }
        let port = words
            .iter()
            .position(|word| *word == "--port")
            .context("no port")?;
        let named = format!("127.0.0.1:{}", words[port + 1]);
        words[port + 1] = "0";
        let process = Process::start(&words, &here).await?;
        addresses.push((named, process.address.clone()));
        assert_eq!(process.greeting, put(printed.trim_end(), &addresses));
        running.push(process);
    }
    assert_eq!(running.len(), 3);
    Ok(())
}
