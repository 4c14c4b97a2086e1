//! Lua scripts: their text and digest, and the scripts for operations without a server command.
//!
//! A script is sent by its digest. A server that does not know it answers `NOSCRIPT` without running
//! anything. Then it gets the text, which it keeps.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::command::ScriptAnswer;

/// A Lua script, for [`ValkeyClient::script`](crate::ValkeyClient::script).
///
/// Create it once, best in a `static`, because its digest is computed once. Each server gets the text once,
/// and again after losing it (restart, failover, `SCRIPT FLUSH`).
///
/// ```
/// use cache_valkey::Script;
///
/// static TAKE_ONE: Script = Script::new(
///     "if tonumber(redis.call('GET', KEYS[1]) or '0') < 1 then return 0 end
///      redis.call('DECR', KEYS[1])
///      return 1",
/// );
/// assert_eq!(TAKE_ONE.digest().len(), 40);
/// ```
pub struct Script {
    text: Cow<'static, str>,
    digest: OnceLock<String>,
    answer: ScriptAnswer,
}

impl Script {
    /// Creates a script from its text.
    #[must_use]
    pub const fn new(text: &'static str) -> Self {
        Self::answering(text, ScriptAnswer::Int)
    }

    /// One of this crate's scripts, with its kind of reply.
    const fn answering(text: &'static str, answer: ScriptAnswer) -> Self {
        Self {
            text: Cow::Borrowed(text),
            digest: OnceLock::new(),
            answer,
        }
    }

    pub(crate) const fn answer(&self) -> ScriptAnswer {
        self.answer
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The digest by which servers know it: SHA-1, in hexadecimal. Security does not depend on it.
    pub fn digest(&self) -> &str {
        self.digest.get_or_init(|| {
            let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, self.text.as_bytes());
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }
}

impl From<String> for Script {
    /// Creates a script from a text made at run time. Pass data as arguments, not in the text, because
    /// servers keep every text that they have seen.
    fn from(text: String) -> Self {
        Self {
            text: text.into(),
            digest: OnceLock::new(),
            answer: ScriptAnswer::Int,
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.digest())
    }
}

/// Replaces a value equal to `ARGV[1]` by `ARGV[2]`, with the TTL `ARGV[3]` in ms (0: no expiry).
pub(crate) static COMPARE_AND_SET: Script = Script::new(
    "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1",
);

/// Deletes a value equal to `ARGV[1]`.
pub(crate) static COMPARE_AND_DELETE: Script = Script::new(
    "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
return 1",
);

/// Adds `ARGV[1]`, and gives a key without a TTL the TTL `ARGV[2]` in ms.
///
/// The reply to `INCRBY` is a double in Lua, which is inexact beyond 2^53. The text of the number is exact.
pub(crate) static INCREMENT_WITH_TTL: Script = Script::answering(
    "\
redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])",
    ScriptAnswer::Value,
);

/// Removes the TTL of a key. Returns whether the key exists.
pub(crate) static PERSIST: Script = Script::new(
    "\
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('PERSIST', KEYS[1])
return 1",
);

/// Returns a value and deletes it. A missing key is `false` in a script, and a refusal is a table, which is passed on.
pub(crate) static GET_AND_DELETE: Script = Script::answering(
    "\
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'string' then redis.call('UNLINK', KEYS[1]) end
return value",
    ScriptAnswer::Value,
);

/// Returns a value and gives it the TTL `ARGV[1]` in ms (0: no expiry).
pub(crate) static GET_AND_EXPIRE: Script = Script::answering(
    "\
local value = redis.pcall('GET', KEYS[1])
if type(value) ~= 'string' then return value end
if ARGV[1] == '0' then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return value",
    ScriptAnswer::Value,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_equals_the_servers() {
        // SHA-1 of "return 1", as SCRIPT LOAD answers it.
        let digest = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        assert_eq!(Script::new("return 1").digest(), digest);
        assert_eq!(Script::from("return 1".to_owned()).digest(), digest);
        assert_eq!(
            format!("{:?}", Script::new("return 1")),
            format!("Script({digest})")
        );
    }
}
