//! A key or a pattern: as text, or in base64 where it need not be text.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cache_core::Pattern;

use crate::http::problem::{Kind, Problem};

/// The most characters of a name in a query, as text and in base64: what fits a request's target beside the rest of it.
const MOST: (usize, usize) = (16_384, 21_848);

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A name given as text or in base64, of which only one may be there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyText<'a> {
    /// What it is called where something is wrong with it.
    pub(crate) name: &'static str,
    /// What kind of problem that is.
    pub(crate) kind: Kind,
    pub(crate) text: Option<&'a str>,
    pub(crate) base64: Option<&'a str>,
}

impl KeyText<'_> {
    /// The bytes; `None` where neither form is given.
    pub(crate) fn bytes(self) -> Result<Option<Vec<u8>>, Problem> {
        let name = self.name;
        let wrong = |detail: String| Problem::new(self.kind, detail);
        let is_over = |text: Option<&str>, most| text.is_some_and(|text| text.chars().nth(most).is_some());
        if is_over(self.text, MOST.0) || is_over(self.base64, MOST.1) {
            let most = format!("{name}: at most {} characters, {} in base64", MOST.0, MOST.1);
            return Err(wrong(most));
        }
        let bytes = match (self.text, self.base64) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(wrong(format!("{name} and {name}_base64 exclude each other")));
            }
            (Some(text), None) => text.as_bytes().to_vec(),
            (None, Some(text)) => base64_of(text)
                .ok_or_else(|| wrong(format!("{name}_base64: no base64, of either alphabet")))?,
        };
        if bytes.is_empty() {
            return Err(wrong(format!("{name}: must not be empty")));
        }
        Ok(Some(bytes))
    }

    /// The pattern of these bytes; of all keys where neither form is given.
    pub(crate) fn pattern_or_all(self) -> Result<Pattern, Problem> {
        Ok(match self.bytes()? {
            Some(bytes) => Pattern::new(bytes)?,
            None => Pattern::all(),
        })
    }

    /// The bytes, which have to be given.
    pub(crate) fn required(self) -> Result<Vec<u8>, Problem> {
        let missing = format!("{0} or {0}_base64 is missing", self.name);
        self.bytes()?.ok_or_else(|| Problem::new(self.kind, missing))
    }
}

/// Decodes base64 of either alphabet, with or without padding.
pub(crate) fn base64_of(text: &str) -> Option<Vec<u8>> {
    let standard: Vec<u8> = text
        .bytes()
        .map(|byte| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => byte,
        })
        .collect();
    LENIENT.decode(standard).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key<'a>(text: Option<&'a str>, base64: Option<&'a str>) -> KeyText<'a> {
        KeyText {
            name: "key",
            kind: Kind::InvalidQuery,
            text,
            base64,
        }
    }

    #[test]
    fn bytes_come_as_text_or_in_base64_of_either_alphabet() {
        assert_eq!(key(Some("a"), None).required().unwrap(), b"a");
        for text in ["//79", "__79", "_/79"] {
            assert_eq!(key(None, Some(text)).required().unwrap(), b"\xff\xfe\xfd");
        }
        for text in ["/w==", "_w", "/w"] {
            assert_eq!(key(None, Some(text)).required().unwrap(), b"\xff");
        }
        assert!(key(None, None).bytes().unwrap().is_none());
        for (text, base64) in [
            (None, None),
            (Some(""), None),
            (None, Some("")),
            (Some("a"), Some("YQ")),
            (None, Some("Y")),
            (None, Some("a b=")),
        ] {
            assert_eq!(
                key(text, base64).required().unwrap_err().kind(),
                Kind::InvalidQuery
            );
        }
    }
}
