//! Scripts for operations that not every server version has a command for. They are sent by their digest. A
//! server that does not know a script answers so without running anything, and gets the text, which it keeps.

use std::sync::LazyLock;

/// One script and the digest by which servers know it.
pub(crate) struct Script {
    pub(crate) text: &'static str,
    digest: LazyLock<String>,
}

impl Script {
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }
}

fn digest(text: &str) -> String {
    redis::Script::new(text).get_hash().to_owned()
}

/// Replaces a value equal to `ARGV[1]` by `ARGV[2]`, with the TTL `ARGV[3]` in ms (0: none).
pub(crate) static COMPARE_AND_SET: Script = Script {
    text: COMPARE_AND_SET_TEXT,
    digest: LazyLock::new(|| digest(COMPARE_AND_SET_TEXT)),
};

/// Deletes a value equal to `ARGV[1]`.
pub(crate) static COMPARE_AND_DELETE: Script = Script {
    text: COMPARE_AND_DELETE_TEXT,
    digest: LazyLock::new(|| digest(COMPARE_AND_DELETE_TEXT)),
};

/// Adds `ARGV[1]`, and gives a key without a TTL the TTL `ARGV[2]` in ms.
pub(crate) static INCREMENT_WITH_TTL: Script = Script {
    text: INCREMENT_WITH_TTL_TEXT,
    digest: LazyLock::new(|| digest(INCREMENT_WITH_TTL_TEXT)),
};

/// Removes the TTL of a key. Returns whether the key exists.
pub(crate) static PERSIST: Script = Script {
    text: PERSIST_TEXT,
    digest: LazyLock::new(|| digest(PERSIST_TEXT)),
};

/// Returns a value and deletes it.
pub(crate) static GET_AND_DELETE: Script = Script {
    text: GET_AND_DELETE_TEXT,
    digest: LazyLock::new(|| digest(GET_AND_DELETE_TEXT)),
};

/// Returns a value and gives it the TTL `ARGV[1]` in ms (0: none).
pub(crate) static GET_AND_EXPIRE: Script = Script {
    text: GET_AND_EXPIRE_TEXT,
    digest: LazyLock::new(|| digest(GET_AND_EXPIRE_TEXT)),
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

// The new value is read as text, because a number becomes a double in Lua, which is inexact beyond 2^53.
const INCREMENT_WITH_TTL_TEXT: &str = "\
redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])";

const PERSIST_TEXT: &str = "\
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('PERSIST', KEYS[1])
return 1";

// GETDEL and GETEX exist from Redis 6.2 only. A missing key is `false` in a script, and a refusal is a table, which is
// passed on as it is.
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
