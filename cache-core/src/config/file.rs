//! Files named by settings: the configuration file, and files that hold one value.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use toml::Value;
use zeroize::{Zeroize as _, Zeroizing};

use super::{pem, reference as var};

/// Larger than any configuration or certificate chain. Keeps a wrong path, such as a device, from filling the
/// memory.
const MAX_LEN: u64 = 1024 * 1024;

/// Reads the text of the file at `path`; the error says why not, without the path.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String, String> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_LEN + 1).read_to_end(&mut bytes));
    match read {
        Ok(_) if bytes.len() as u64 > MAX_LEN => Err("names a file of more than 1 MiB".to_owned()),
        Ok(_) => String::from_utf8(bytes).map_err(|error| {
            let mut bytes = error.into_bytes();
            let der = pem::is_der(&bytes);
            bytes.zeroize();
            if der {
                format!("names a file that is not text: {}", pem::DER)
            } else {
                "names a file that is not UTF-8 text".to_owned()
            }
        }),
        Err(error) => Err(format!("names a file that cannot be read: {}", error.kind())),
    }
}

/// Reads and trims the file at `path`, which holds one value. As [`read`], and an empty file is an error.
pub(crate) fn read_value(path: impl AsRef<Path>) -> Result<String, String> {
    let text = Zeroizing::new(read(path)?);
    match text.trim() {
        "" => Err("names an empty file".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// The settings of a configuration file: each name with its value or its problem.
pub(super) type Entries = Vec<(String, Result<String, &'static str>)>;

/// Parses the TOML `text`.
///
/// The parser's own message quotes the text, which may be a password, so only the line number is reported.
pub(super) fn parse(text: &str) -> Result<Entries, String> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        format!("names a file that is not valid TOML in line {line}")
    })?;
    Ok(table
        .into_iter()
        .map(|(name, value)| {
            let value = write(&name, value);
            (name, value)
        })
        .collect())
}

fn write(name: &str, value: Value) -> Result<String, &'static str> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(switch) => Ok(switch.to_string()),
        Value::Array(items) if name == var::ADDRS.file_key() => {
            let texts: Option<Vec<&str>> = items.iter().map(Value::as_str).collect();
            texts
                .map(|texts| texts.join(","))
                .ok_or("must be a list of texts")
        }
        Value::Array(_) | Value::Float(_) | Value::Datetime(_) => {
            Err("must be a text, a whole number, true or false")
        }
        Value::Table(_) => Err("must not be a table: every setting stands at the top of the file"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_file_error_names_line_and_quotes_nothing() {
        for text in [
            "pool_size = 1\npassword = \"s3cr3t\" \"s3cr3t\"",
            "a = 1\npassword = s3cr3t",
            "a=1\ns3cr3t",
            "a=1\n\"s3cr3t\" = 1\n\"s3cr3t\" = 2",
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains("not valid TOML in line"), "{error}");
            assert!(!error.contains("s3cr3t"), "{error}");
        }
    }

    #[test]
    fn values_keep_their_written_form() {
        let mut entries = parse("a = \"x\"\nb = 7\nc = true\naddrs = [\"h:1\", \"i:2\"]").unwrap();
        entries.sort();
        let texts: Vec<_> = entries.into_iter().map(|(_, value)| value.unwrap()).collect();
        assert_eq!(texts, ["x", "h:1,i:2", "7", "true"]);
    }

    #[test]
    fn device_does_not_fill_the_memory() {
        assert!(read("/dev/zero").unwrap_err().contains("1 MiB"));
    }
}
