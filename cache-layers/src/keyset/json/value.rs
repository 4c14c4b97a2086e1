//! Single values of a keyset's JSON, by the rules of protocol buffers' JSON.
//!
//! Values are taken from the raw text. So key material never passes through a buffer of the parser, and no message of
//! the parser can quote it.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::super::check::Invalid;
use super::base64;

/// A field's two names: in camelCase and in `snake_case`.
pub(super) type Name = (&'static str, &'static str);

/// A value that is not null, and its position.
#[derive(Clone)]
pub(super) struct Value<'a> {
    at: String,
    raw: &'a str,
}

/// An object's fields, in their order.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Value<'a> {
    /// The whole document.
    pub(super) fn document(bytes: &'a [u8]) -> Result<Self, Invalid> {
        let text = std::str::from_utf8(bytes).map_err(|_| Invalid::new("it is neither UTF-8 nor binary"))?;
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
            // Not the parser's own words, because they may quote what it read.
            let (line, column) = (error.line(), error.column());
            Invalid::new(format!("it is not valid JSON at line {line}, column {column}"))
        })?;
        Ok(Self {
            at: String::new(),
            raw: raw.get(),
        })
    }

    pub(super) fn invalid(&self, problem: &str) -> Invalid {
        match self.at.as_str() {
            "" => Invalid::new(problem.to_owned()),
            at => Invalid::new(format!("{at}: {problem}")),
        }
    }

    /// The values of the fields `names`. Null counts as absent, and no other field is allowed.
    pub(super) fn fields<const N: usize>(&self, names: [Name; N]) -> Result<[Option<Self>; N], Invalid> {
        let Fields(fields) = serde_json::from_str(self.raw).map_err(|_| self.invalid("must be an object"))?;
        let mut seen = [false; N];
        let mut values = [const { None }; N];
        for (name, raw) in fields {
            let Some(index) = names
                .iter()
                .position(|(camel, snake)| name == *camel || name == *snake)
            else {
                return Err(self.invalid(&unknown(&name, &names)));
            };
            let at = self.under(names[index].0);
            if seen[index] {
                return Err(Invalid::new(format!("{at} is given twice")));
            }
            seen[index] = true;
            if raw.get() != "null" {
                values[index] = Some(Self { at, raw: raw.get() });
            }
        }
        Ok(values)
    }

    /// Whether it is an object with one of these fields.
    pub(super) fn has_any(&self, names: &[Name]) -> bool {
        let Ok(Fields(fields)) = serde_json::from_str(self.raw) else {
            return false;
        };
        let is_named =
            |(name, _): &(String, _)| names.iter().any(|(camel, snake)| name == camel || name == snake);
        fields.iter().any(is_named)
    }

    pub(super) fn list(&self) -> Result<Vec<Self>, Invalid> {
        let items: Vec<&RawValue> =
            serde_json::from_str(self.raw).map_err(|_| self.invalid("must be a list"))?;
        let item = |(index, raw): (usize, &'a RawValue)| Self {
            at: format!("{}[{index}]", self.at),
            raw: raw.get(),
        };
        Ok(items.into_iter().enumerate().map(item).collect())
    }

    /// Returns a text with its escapes resolved.
    pub(super) fn text(&self) -> Result<Zeroizing<String>, Invalid> {
        let quoted = self
            .raw
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .ok_or_else(|| self.invalid("must be a text"))?;
        unescape(quoted).ok_or_else(|| self.invalid("has an escape that is not valid"))
    }

    pub(super) fn bytes(&self) -> Result<Zeroizing<Vec<u8>>, Invalid> {
        base64::decode(&self.text()?).ok_or_else(|| self.invalid("must be base64"))
    }

    /// A key id: a number, or a decimal number as a text.
    pub(super) fn id(&self) -> Result<u32, Invalid> {
        self.text()
            .map_or_else(|_| self.integer(), |text| integer(&text))
            .and_then(|number| u32::try_from(number).ok())
            .ok_or_else(|| self.invalid("must be an integer from 0 to 4294967295"))
    }

    /// An enum: one of `names`, or a number, also as a text.
    pub(super) fn number_of(&self, names: &[(&str, i32)]) -> Result<i32, Invalid> {
        let number = match self.text() {
            Ok(text) => names
                .iter()
                .find(|(name, _)| *name == text.as_str())
                .map_or_else(|| text.parse().ok(), |(_, number)| Some(i64::from(*number))),
            Err(_) => self.integer(),
        };
        number
            .and_then(|number| i32::try_from(number).ok())
            .ok_or_else(|| {
                let names: Vec<_> = names.iter().map(|(name, _)| *name).collect();
                self.invalid(&format!("must be one of {}, or its number", names.join(", ")))
            })
    }

    fn integer(&self) -> Option<i64> {
        let is_number = self
            .raw
            .starts_with(|first: char| first == '-' || first.is_ascii_digit());
        is_number.then(|| integer(self.raw)).flatten()
    }

    fn under(&self, name: &str) -> String {
        match self.at.as_str() {
            "" => name.to_owned(),
            at => format!("{at}.{name}"),
        }
    }
}

/// An integer, which may be written as a fraction or with an exponent: `1000`, `1000.0`, `1e3`.
fn integer(text: &str) -> Option<i64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    // Within this range a double holds every integer.
    let is_whole = number.fract() == 0.0 && number.abs() <= 4_294_967_296.0;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "it is an integer within the range of i64"
    )]
    is_whole.then_some(number as i64)
}

fn unknown(name: &str, names: &[Name]) -> String {
    let known: Vec<_> = names.iter().map(|(camel, _)| *camel).collect();
    let known = known.join(", ");
    // A long or odd name may be a secret that must not be shown, not a name.
    let is_name = name.len() <= 20
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if is_name {
        format!("unknown field {name}, known are {known}")
    } else {
        format!("unknown field, known are {known}")
    }
}

fn unescape(quoted: &str) -> Option<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(quoted.len()));
    let mut rest = quoted;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let mut escape = rest[at + 1..].chars();
        match escape.next()? {
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'u' => {
                let code = escape.as_str().get(..4)?;
                // Half of a surrogate pair is not a character. Nothing in a keyset needs characters that take two.
                text.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
                escape = escape.as_str()[4..].chars();
            }
            plain => text.push(plain),
        }
        rest = escape.as_str();
    }
    text.push_str(rest);
    Some(text)
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Fields(fields))
    }
}
