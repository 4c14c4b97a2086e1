//! Making and opening sealed tokens.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cache_core::{CacheError, Secret};
use cache_layers::{SystemClock, WallClock};

use super::Binding;
use super::secret::{random, read};

/// The form that this version makes, and the only one that it opens.
const VERSION: u8 = 1;

/// What stands before the payload: version, purpose, when it ends (8 bytes), what it is bound to (32).
const HEAD: usize = 42;

/// The length of the code at the end.
const CODE: usize = 32;

/// The longest token, in bytes before Base64: more than any that is made.
const MAX_LEN: usize = 16 * 1024;

/// What the key is derived for, so that the same secret in another use makes other codes.
const CONTEXT: &[u8] = b"cache-admin sealed token 1";

/// What a sealed token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Agreeing to a removal of many keys.
    Confirm,
    /// Where a listing goes on.
    Cursor,
    /// What the rates of the next look are reckoned from.
    Reading,
}

impl Purpose {
    const fn byte(self) -> u8 {
        match self {
            Self::Confirm => 1,
            Self::Cursor => 2,
            Self::Reading => 3,
        }
    }
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsealed {
    /// It was not made here, or not with a secret that is still accepted, or was changed.
    #[error("it was not issued by this service, or was changed")]
    Forged,
    /// It was issued for another purpose, request, cache or actor.
    #[error("it was issued for something else")]
    Foreign,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
}

/// Makes sealed tokens, and opens them.
///
/// By a secret that is drawn at start ([`Sealer::random`]), so that tokens end with the process; or by secrets
/// from a file ([`Sealer::from_file`]) that all processes of a service share: the first of them seals, all of them
/// are accepted.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<[hmac::Key]>,
    clock: Arc<dyn WallClock>,
}

impl Sealer {
    /// By a secret of this process.
    ///
    /// # Errors
    ///
    /// [`CacheError::Unavailable`] where the machine has no randomness to give.
    pub fn random() -> Result<Self, CacheError> {
        Ok(Self::of([random::<CODE>()?.expose().as_slice()]))
    }

    /// By the secrets in `text`, one on each line, of 32 characters at least; lines that begin with `#` say
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`CacheError::InvalidInput`] where there is none, or one is too short.
    pub fn from_text(text: &Secret) -> Result<Self, CacheError> {
        let secrets = read(text.expose())?;
        Ok(Self::of(secrets.iter().map(|secret| secret.expose().as_slice())))
    }

    /// By the secrets in a file, as [`from_text`](Self::from_text).
    ///
    /// # Errors
    ///
    /// As [`from_text`](Self::from_text), and where the file cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, CacheError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| CacheError::InvalidInput {
            argument: "secrets of the service",
            reason: format!("{}: cannot be read: {}", path.display(), error.kind()).into(),
        })?;
        Self::from_text(&Secret::new(text))
    }

    fn of<'a>(secrets: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let key = |secret: &[u8]| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
            hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, CONTEXT).as_ref())
        };
        Self {
            keys: secrets.into_iter().map(key).collect(),
            clock: Arc::new(SystemClock),
        }
    }

    /// Takes the time of day, by which tokens expire, from `clock`. Default: that of the machine.
    #[must_use]
    pub fn with_clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// A token for `purpose` that is bound to `binding`, is good for `life`, and carries `payload`, which
    /// anybody can read. Letters, digits, `-` and `_` only.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, binding: &Binding, payload: &[u8], life: Duration) -> String {
        let end = self.clock.since_epoch().saturating_add(life).as_secs();
        let mut token = Vec::with_capacity(HEAD + payload.len() + CODE);
        token.extend([VERSION, purpose.byte()]);
        token.extend(end.to_be_bytes());
        token.extend(binding.digest());
        token.extend(payload);
        if let Some(key) = self.keys.first() {
            let code = hmac::sign(key, &token);
            token.extend(code.as_ref());
        }
        URL_SAFE_NO_PAD.encode(token)
    }

    /// The payload of a token that was sealed for the same purpose and binding.
    ///
    /// # Errors
    ///
    /// Why it is not accepted.
    pub fn open(&self, purpose: Purpose, binding: &Binding, token: &str) -> Result<Vec<u8>, Unsealed> {
        if token.len() > MAX_LEN / 3 * 4 {
            return Err(Unsealed::Forged);
        }
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| Unsealed::Forged)?;
        let (said, code) = token.split_last_chunk::<CODE>().ok_or(Unsealed::Forged)?;
        let sealed = |key: &hmac::Key| hmac::verify(key, said, code).is_ok();
        if !self.keys.iter().any(sealed) {
            return Err(Unsealed::Forged);
        }
        // From here on it says what we once said.
        let (head, payload) = said.split_first_chunk::<HEAD>().ok_or(Unsealed::Forged)?;
        let (kind, rest) = head.split_first_chunk::<2>().ok_or(Unsealed::Forged)?;
        let (end, bound) = rest.split_first_chunk::<8>().ok_or(Unsealed::Forged)?;
        if *kind != [VERSION, purpose.byte()] || bound != binding.digest() {
            return Err(Unsealed::Foreign);
        }
        if u64::from_be_bytes(*end) <= self.clock.since_epoch().as_secs() {
            return Err(Unsealed::Expired);
        }
        Ok(payload.to_vec())
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer")
            .field("secrets", &self.keys.len())
            .finish_non_exhaustive()
    }
}
