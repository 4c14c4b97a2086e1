//! Replies of servers as text and as JSON. At most so many bytes of each are shown.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cache_valkey::Reply;
use serde_json::{Map, Value, json};

use crate::escape::escaped;

/// The deepest that replies are followed; none goes as deep.
const DEEPEST: usize = 16;

/// The lines of `reply`, and whether there are more than fit into `most` bytes.
pub(super) fn lines(reply: &Reply, most: usize) -> (Vec<String>, bool) {
    let mut lines = Vec::new();
    write(reply, 0, "", &mut lines);
    let mut left = most;
    let fitting = lines
        .iter()
        .take_while(|line| match left.checked_sub(line.len() + 1) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        });
    let fitting = fitting.count();
    let is_cut = fitting < lines.len();
    lines.truncate(fitting);
    (lines, is_cut)
}

fn write(reply: &Reply, depth: usize, label: &str, lines: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    if depth > DEEPEST {
        lines.push(format!("{indent}{label}..."));
        return;
    }
    match reply {
        Reply::Array(items) if items.is_empty() => lines.push(format!("{indent}{label}(none)")),
        Reply::Array(items) => {
            if !label.is_empty() {
                lines.push(format!("{indent}{}", label.trim_end()));
            }
            let depth = depth + usize::from(!label.is_empty());
            for item in items {
                write(item, depth, "- ", lines);
            }
        }
        Reply::Map(pairs) => {
            if !label.is_empty() {
                lines.push(format!("{indent}{}", label.trim_end()));
            }
            let depth = depth + usize::from(!label.is_empty());
            for (name, value) in pairs {
                write(value, depth, &format!("{}: ", one_line(name)), lines);
            }
        }
        // Reports of many lines, such as that of INFO.
        Reply::Bulk(bytes) if label.is_empty() && bytes.contains(&b'\n') => {
            let text = bytes.split(|byte| *byte == b'\n');
            lines.extend(text.map(|line| plain(line.strip_suffix(b"\r").unwrap_or(line))));
            if lines.last().is_some_and(String::is_empty) {
                lines.pop();
            }
        }
        single => lines.push(format!("{indent}{label}{}", one_line(single))),
    }
}

fn one_line(reply: &Reply) -> String {
    match reply {
        Reply::Nil => "(nil)".to_owned(),
        Reply::Int(number) => number.to_string(),
        Reply::Bulk(bytes) => plain(bytes),
        Reply::Status(text) => plain(text.as_bytes()),
        Reply::Bool(yes) => yes.to_string(),
        Reply::Double(number) => number.to_string(),
        Reply::Error(error) => plain(format!("{} {}", error.code(), error.message()).as_bytes()),
        Reply::Array(items) => format!("({} items)", items.len()),
        Reply::Map(pairs) => format!("({} fields)", pairs.len()),
        _ => "?".to_owned(),
    }
}

/// Nothing in it controls a terminal; a backslash stays one.
fn plain(bytes: &[u8]) -> String {
    escaped(bytes).replace("\\\\", "\\")
}

/// `reply` as JSON; `None` if it is longer than `most` bytes.
pub(super) fn json(reply: &Reply, most: usize) -> Option<Value> {
    let value = value(reply, 0);
    (value.to_string().len() <= most).then_some(value)
}

fn value(reply: &Reply, depth: usize) -> Value {
    if depth > DEEPEST {
        return Value::Null;
    }
    match reply {
        Reply::Int(number) => (*number).into(),
        Reply::Bulk(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.into(),
            Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
        },
        Reply::Status(text) => text.as_ref().into(),
        Reply::Bool(yes) => (*yes).into(),
        Reply::Double(number) => (*number).into(),
        Reply::Array(items) => items.iter().map(|item| value(item, depth + 1)).collect(),
        Reply::Map(pairs) => {
            let named =
                |(name, of): &(Reply, Reply)| Some((name.as_text()?.to_owned(), value(of, depth + 1)));
            match pairs.iter().map(named).collect::<Option<Map<_, _>>>() {
                Some(object) => Value::Object(object),
                None => pairs
                    .iter()
                    .map(|(name, of)| json!([value(name, depth + 1), value(of, depth + 1)]))
                    .collect(),
            }
        }
        Reply::Error(error) => json!({ "error": format!("{} {}", error.code(), error.message()) }),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Reply {
        Reply::Bulk(text.to_owned().into())
    }

    #[test]
    fn a_report_is_shown_line_by_line_and_controls_no_terminal() {
        let (lines, is_cut) = lines(&text("# Server\r\nversion:9\r\nname:\u{1b}[31m\r\n"), 1_000);
        assert_eq!(lines, ["# Server", "version:9", "name:\\x1b[31m"]);
        assert!(!is_cut);
    }

    #[test]
    fn what_is_nested_is_indented() {
        let slots = Reply::Array(vec![
            Reply::Array(vec![Reply::Int(0), Reply::Int(5), Reply::Nil]),
            Reply::Map(vec![
                (text("a"), Reply::Array(vec![Reply::Int(1)])),
                (text("b"), Reply::Double(0.5)),
            ]),
        ]);
        let (lines, _) = lines(&slots, 1_000);
        assert_eq!(
            lines,
            [
                "-",
                "  - 0",
                "  - 5",
                "  - (nil)",
                "-",
                "  a:",
                "    - 1",
                "  b: 0.5"
            ]
        );
        assert_eq!(
            json(&slots, 1_000),
            Some(serde_json::json!([[0, 5, null], { "a": [1], "b": 0.5 }]))
        );
    }

    #[test]
    fn no_more_is_shown_than_fits() {
        let long = Reply::Array((0..100).map(Reply::Int).collect());
        let (lines, is_cut) = lines(&long, 20);
        assert!(is_cut && lines.len() == 5, "{lines:?}");
        assert_eq!(json(&long, 20), None);
    }
}
