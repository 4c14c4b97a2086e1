//! Command lines as a shell and `curl` read them, as far as the README uses them.

use anyhow::{Context as _, Result, bail};

use crate::http::Request;

/// The words of a line where nothing but single quotes is special.
pub(crate) fn words(line: &str) -> Vec<String> {
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

/// The request that a `curl` line makes to the service at `host`. Options that the README does not use are refused.
pub(crate) fn request(line: &str, host: &str) -> Result<Request> {
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
            url => match url.strip_prefix(host) {
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

#[test]
fn a_line_is_read_as_a_shell_reads_it() {
    assert_eq!(
        words("curl -H 'a: b c'  -d '{\"x\":1}' u"),
        ["curl", "-H", "a: b c", "-d", "{\"x\":1}", "u"]
    );
}
