//! Scripts for what the server has no command for; loaded once per server, at its first NOSCRIPT.
//!
//! A script is sent by its digest. A server that does not know it says so without having run anything,
//! and gets the text, which it keeps.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

use crate::command::ScriptAnswer;

/// One script and the digest by which servers know it.
pub(crate) struct Script {
    pub(crate) text: &'static str,
    digest: LazyLock<String>,
    answer: ScriptAnswer,
}

impl Script {
    pub(crate) const fn answer(&self) -> ScriptAnswer {
        self.answer
    }

    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

/// The digest that servers use for scripts is SHA-1; nothing here depends on its strength.
fn sha1(text: &str) -> String {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes())
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Replaces a value that equals `ARGV[1]` by `ARGV[2]`, with the life `ARGV[3]` in ms (0: forever).
pub(crate) static COMPARE_AND_SET: Script = Script {
    text: COMPARE_AND_SET_TEXT,
    digest: LazyLock::new(|| sha1(COMPARE_AND_SET_TEXT)),
    answer: ScriptAnswer::Int,
};

/// Deletes a value that equals `ARGV[1]`.
pub(crate) static COMPARE_AND_DELETE: Script = Script {
    text: COMPARE_AND_DELETE_TEXT,
    digest: LazyLock::new(|| sha1(COMPARE_AND_DELETE_TEXT)),
    answer: ScriptAnswer::Int,
};

/// Adds `ARGV[1]`, and gives a key without a life the life `ARGV[2]` in ms.
pub(crate) static INCREMENT_WITH_LIFE: Script = Script {
    text: INCREMENT_WITH_LIFE_TEXT,
    digest: LazyLock::new(|| sha1(INCREMENT_WITH_LIFE_TEXT)),
    answer: ScriptAnswer::Int,
};

/// Takes the life of a key away; whether the key exists.
pub(crate) static PERSIST: Script = Script {
    text: PERSIST_TEXT,
    digest: LazyLock::new(|| sha1(PERSIST_TEXT)),
    answer: ScriptAnswer::Int,
};

/// Returns a value and deletes it.
pub(crate) static GET_AND_DELETE: Script = Script {
    text: GET_AND_DELETE_TEXT,
    digest: LazyLock::new(|| sha1(GET_AND_DELETE_TEXT)),
    answer: ScriptAnswer::Value,
};

/// Returns a value and gives it the TTL `ARGV[1]` in ms (0: forever).
pub(crate) static GET_AND_EXPIRE: Script = Script {
    text: GET_AND_EXPIRE_TEXT,
    digest: LazyLock::new(|| sha1(GET_AND_EXPIRE_TEXT)),
    answer: ScriptAnswer::Value,
};

const COMPARE_AND_SET_TEXT: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[3] == '0' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
return 1";

const COMPARE_AND_DELETE_TEXT: &str = "\
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[1])
return 1";

const INCREMENT_WITH_LIFE_TEXT: &str = "\
local value = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return value";

const PERSIST_TEXT: &str = "\
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('PERSIST', KEYS[1])
return 1";

// A missing key is `false` in a script, and a refusal is a table, which is passed on as it is.
const GET_AND_DELETE_TEXT: &str = "\
local value = redis.pcall('GET', KEYS[1])
if type(value) == 'string' then redis.call('UNLINK', KEYS[1]) end
return value";

const GET_AND_EXPIRE_TEXT: &str = "\
local value = redis.pcall('GET', KEYS[1])
if type(value) ~= 'string' then return value end
if ARGV[1] == '0' then redis.call('PERSIST', KEYS[1])
else redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return value";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_what_the_server_computes() {
        // SHA-1 of "return 1", as SCRIPT LOAD answers it.
        assert_eq!(sha1("return 1"), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
        assert_eq!(PERSIST.digest().len(), 40);
    }
}
