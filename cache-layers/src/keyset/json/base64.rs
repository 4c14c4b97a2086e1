//! Base64 as Tink's JSON reader takes it, in buffers that are wiped.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::{Zeroize as _, Zeroizing};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes standard or URL-safe base64, padded or not. White space is skipped. `None` if `text` is not base64.
pub(super) fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut standard = Zeroizing::new(Vec::with_capacity(text.len()));
    standard.extend(
        text.bytes()
            .filter(|byte| !byte.is_ascii_whitespace())
            .map(|byte| match byte {
                b'-' => b'+',
                b'_' => b'/',
                other => other,
            }),
    );
    while standard.last() == Some(&b'=') {
        standard.pop();
    }
    let mut decoded = Zeroizing::new(vec![0; base64::decoded_len_estimate(standard.len())]);
    let len = LENIENT
        .decode_slice(standard.as_slice(), decoded.as_mut_slice())
        .ok()?;
    decoded[len..].zeroize();
    decoded.truncate(len);
    Some(decoded)
}

/// Appends standard base64 with padding, as Tink writes it.
pub(super) fn encode_to(bytes: &[u8], text: &mut Vec<u8>) {
    let start = text.len();
    let len = base64::encoded_len(bytes.len(), true).unwrap_or(usize::MAX);
    text.resize(start.saturating_add(len), 0);
    let written = base64::engine::general_purpose::STANDARD.encode_slice(bytes, &mut text[start..]);
    text.truncate(start.saturating_add(written.unwrap_or(0)));
}
