//! Every metric, in one list. Instruments are created from it, the table in `docs/metrics.md` is checked against it,
//! and a test emits everything and finds nothing else.

/// A metric as it is emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// The kind of its instrument.
    pub instrument: Instrument,
    /// The unit, in the notation of UCUM.
    pub unit: &'static str,
    /// The attributes of its data points. All data points have all of them, except that `error.type` is only on
    /// errors, and `server.address` and `server.port` only where there is one server.
    pub attributes: &'static [Attribute],
    /// What it means.
    pub meaning: &'static str,
}

/// The kind of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Instrument {
    /// A sum that only grows.
    Counter,
    /// A sum that grows and shrinks.
    UpDownCounter,
    /// A distribution over [`BUCKETS`].
    Histogram,
    /// A value that is not added up over processes.
    Gauge,
}

impl Instrument {
    /// Its name in prose.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::UpDownCounter => "up-down counter",
            Self::Histogram => "histogram",
            Self::Gauge => "gauge",
        }
    }
}

/// An attribute of data points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// All values that it can have. Empty if the configuration sets the value.
    pub values: &'static [&'static str],
    /// What it means.
    pub meaning: &'static str,
}

/// The upper bounds of the buckets of every histogram, in seconds: 50 us to 5 s.
pub const BUCKETS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0,
];

/// Every attribute of every metric.
pub const ATTRIBUTES: &[Attribute] = &[
    TIER,
    OPERATION,
    SYSTEM,
    SERVER_ADDRESS,
    SERVER_PORT,
    OUTCOME,
    ERROR,
    FOUND,
    ANSWER,
    LOAD,
    LOAD_OUTCOME,
    STATUS,
    STATE,
    RECIPE,
    LOCK_RESULT,
    LOCK_END,
    IDEMPOTENCY_RESULT,
    IDEMPOTENCY_END,
    DECISION,
    GENERATION_SOURCE,
    UNREADABLE_REASON,
    REFRESH_OUTCOME,
];

/// Every metric, in the order of the documentation.
pub const METRICS: &[Metric] = &[
    OPERATIONS,
    DURATION,
    CLIENT_DURATION,
    LOOKUPS,
    BATCH_KEYS,
    FAILED_KEYS,
    ANSWERS,
    JOINED,
    LOADS,
    LOAD_DURATION,
    LEASE_WAIT,
    WITHOUT_LEASE,
    HELD_BACK,
    SUPERSEDED,
    OVERSIZE,
    UNENCODABLE,
    UNDECODABLE,
    CACHE_FAILURES,
    NEAR_LOOKUPS,
    NEAR_ENTRIES,
    NEAR_SIZE,
    NEAR_EVICTIONS,
    NEAR_INVALIDATIONS,
    NEAR_POISONED,
    NEAR_RESETS,
    NEAR_STATUS,
    GUARD_STATE,
    GUARD_OPENED,
    GUARD_CALLS,
    GUARD_FAILURES,
    GUARD_TIMEOUTS,
    GUARD_SLOW,
    GUARD_SHED,
    GUARD_BYPASSED,
    GUARD_PROBES,
    LOCK_REQUESTS,
    LOCK_WAIT,
    LOCK_ENDS,
    LOCK_HELD,
    IDEMPOTENCY_REQUESTS,
    IDEMPOTENCY_ENDS,
    RATE_LIMITER_CALLS,
    GENERATION_READS,
    GENERATION_BUMPS,
    GENERATION_BEGINNINGS,
    RECIPE_FAILURES,
    ENCRYPTION_SEALED,
    ENCRYPTION_OPENED,
    ENCRYPTION_UNREADABLE,
    ENCRYPTION_REMOVED,
    ENCRYPTION_PLAINTEXT,
    KEYRING_REFRESHES,
    KEYRING_AGE,
];

macro_rules! attributes {
    ($($name:ident: $text:literal, [$($value:literal),*], $meaning:literal;)+) => {
        $(pub(super) const $name: Attribute = Attribute {
            name: $text,
            values: &[$($value),*],
            meaning: $meaning,
        };)+
    };
}

attributes! {
    TIER: "cache.tier", ["edge", "far"],
        "where in the stack the call was measured";
    OPERATION: "db.operation.name", [
        "get", "get_entry", "get_many", "get_each", "get_entries", "set", "set_many", "set_each", "set_if_absent", "compare_and_set",
        "compare_and_delete", "get_and_delete", "get_and_expire", "del", "exists", "incr", "incr_by", "expire", "ttl", "ping", "close"
    ], "the method of the contract";
    SYSTEM: "db.system.name", [],
        "what the calls go to, as the configuration says";
    SERVER_ADDRESS: "server.address", [],
        "the one host that is configured; of a cluster, of sentinels and of several addresses none";
    SERVER_PORT: "server.port", [],
        "its port";
    OUTCOME: "cache.outcome", ["ok", "hit", "partial", "partial_failure", "miss", "unmet", "cancelled", "error"],
        "how the call ended";
    ERROR: "error.type", [
        "timeout", "unavailable", "unauthorized", "denied", "rejected", "invalid_input", "corrupt", "config", "closed",
        "unsupported", "_OTHER"
    ], "the kind of the error, only where the outcome is one";
    FOUND: "cache.result", ["hit", "miss", "joined"],
        "what came of a key: a value; none (of the near tier: a far read); the far read of another caller";
    ANSWER: "cache.answer", ["hit", "negative", "stale", "miss"],
        "what answered: an entry with a value, one that says that there is none, one beyond its life, or none: a load or an error";
    LOAD: "cache.load.kind", ["load", "refresh"],
        "whether a caller waited for it, or it ran ahead of expiry";
    LOAD_OUTCOME: "cache.load.outcome", ["value", "absent", "failed", "panicked", "timed_out", "given_up"],
        "how the load ended";
    STATUS: "cache.near.status", ["tracked", "partly_tracked", "short_lived", "bypassed"],
        "how the near tier is kept true: by reports of changes, for all keys or for those of some servers; by short lives; or by keeping nothing";
    STATE: "cache.guard.state", ["closed", "open", "half_open"],
        "what the circuit breaker does with calls: lets them through, answers them itself, lets a few through";
    RECIPE: "cache.recipe", ["lock", "idempotency", "rate_limiter", "generations"],
        "which recipe";
    LOCK_RESULT: "cache.lock.result", ["acquired", "taken", "failed"],
        "what became of the request: the lock, not the lock because others had it, or because the cache failed";
    LOCK_END: "cache.lock.end", ["released", "expired", "gone"],
        "how the lock ended: given back; lost because it was not extended in time; lost because it was deleted, evicted or taken over";
    IDEMPOTENCY_RESULT: "cache.idempotency.result", [
        "run", "unprotected", "in_progress", "replayed", "not_replayable", "mismatch", "failed"
    ], "what the request was told: to run; to run although the cache failed; that another one is running; the response; that the response was not kept; that the key stands for another request; that the cache failed";
    IDEMPOTENCY_END: "cache.idempotency.end", ["stored", "not_kept", "overtaken", "released", "not_stored"],
        "what the run left: its response; that it has run; nothing, since another run has the key; nothing, so that a retry runs; nothing, since the cache failed";
    DECISION: "cache.rate_limiter.decision", ["allowed", "denied", "denied_from_memory", "uncounted"],
        "what was decided; `uncounted` where the cache failed";
    GENERATION_SOURCE: "cache.generations.source", ["memory", "cache"],
        "where the number came from";
    UNREADABLE_REASON: "cache.encryption.reason", ["not_sealed", "malformed", "unknown_key", "refused"],
        "why a stored value was not read: it is not encrypted, it is broken, it names a key that the keyset does not have, or its key does not open it";
    REFRESH_OUTCOME: "cache.keyring.outcome", ["changed", "unchanged", "failed"],
        "what came of a refresh: another keyset, the same one, or none, and the old one stays";
}

macro_rules! metrics {
    ($($name:ident: $text:literal, $instrument:ident, $unit:literal, [$($attribute:ident),*], $meaning:literal;)+) => {
        $(pub(super) const $name: Metric = Metric {
            name: $text,
            instrument: Instrument::$instrument,
            unit: $unit,
            attributes: &[$($attribute),*],
            meaning: $meaning,
        };)+
    };
}

metrics! {
    OPERATIONS: "cache.operations", Counter, "{operation}", [TIER, OPERATION, OUTCOME, ERROR],
        "Calls that ended, cancelled ones included. Exact.";
    DURATION: "cache.operation.duration", Histogram, "s", [TIER, OPERATION, OUTCOME, ERROR],
        "How long calls took that the near tier or the embedded client may answer; of one in 16, chosen by chance, unless configured otherwise.";
    CLIENT_DURATION: "db.client.operation.duration", Histogram, "s", [TIER, OPERATION, SYSTEM, SERVER_ADDRESS, SERVER_PORT, OUTCOME, ERROR],
        "How long calls to the backend took, with all that the client does for them; of every call while there are few, of more about 1,000 per second and thread, chosen by chance, unless configured otherwise.";
    LOOKUPS: "cache.lookups", Counter, "{key}", [TIER, FOUND],
        "Keys that `get`, `get_entry`, `get_many`, `get_each`, `get_entries`, `get_and_delete` and `get_and_expire` asked for and had an answer for. Exact.";
    BATCH_KEYS: "cache.batch_keys", Counter, "{key}", [TIER, OPERATION],
        "Keys that calls with any number of keys were made with. By `cache.operations` it is the average size of a batch. Exact.";
    FAILED_KEYS: "cache.failed_keys", Counter, "{key}", [TIER, OPERATION],
        "Keys of `get_each`, `get_entries` and `set_each` whose result is an error other than a miss. Exact.";
    ANSWERS: "cache.read_through.answers", Counter, "{key}", [ANSWER],
        "Keys that callers of a read-through asked for, by what answered; but for callers that left.";
    JOINED: "cache.read_through.joined", Counter, "{key}", [],
        "Keys whose callers waited for a load that was under way in this process.";
    LOADS: "cache.read_through.loads", Counter, "{load}", [LOAD],
        "Loads of one key that were started.";
    LOAD_DURATION: "cache.read_through.load.duration", Histogram, "s", [LOAD, LOAD_OUTCOME],
        "How long the loader took; of every load that ended.";
    LEASE_WAIT: "cache.read_through.lease_wait.duration", Histogram, "s", [],
        "How long a load waited for the one of another process.";
    WITHOUT_LEASE: "cache.read_through.without_lease", Counter, "{load}", [],
        "Loads that went on without the lease, since the cache could not say whose it is.";
    HELD_BACK: "cache.read_through.held_back", Counter, "{load}", [],
        "Loads that were not tried, since one failed a moment ago.";
    SUPERSEDED: "cache.read_through.superseded", Counter, "{value}", [],
        "Loaded values that were not stored: the entry was changed meanwhile, or the lease was lost.";
    OVERSIZE: "cache.read_through.oversize", Counter, "{value}", [],
        "Loaded values that were not stored: larger than the limit.";
    UNENCODABLE: "cache.read_through.unencodable", Counter, "{value}", [],
        "Loaded values that were not stored: their codec has no form for them.";
    UNDECODABLE: "cache.read_through.undecodable", Counter, "{value}", [],
        "Stored values that were taken for a miss: their codec cannot decode them.";
    CACHE_FAILURES: "cache.read_through.cache_failures", Counter, "{operation}", [ERROR],
        "Operations that the cache failed and the read-through went on without.";
    NEAR_LOOKUPS: "cache.near.lookups", Counter, "{key}", [FOUND],
        "Keys that the near tier was asked for.";
    NEAR_ENTRIES: "cache.near.entries", UpDownCounter, "{entry}", [],
        "Entries in the near tier.";
    NEAR_SIZE: "cache.near.size", UpDownCounter, "By", [],
        "Bytes in the near tier: keys, values and book-keeping.";
    NEAR_EVICTIONS: "cache.near.evictions", Counter, "{entry}", [],
        "Entries that had to go from the near tier for others.";
    NEAR_INVALIDATIONS: "cache.near.invalidations", Counter, "{key}", [],
        "Keys of which a change was reported, near or not.";
    NEAR_POISONED: "cache.near.poisoned", Counter, "{read}", [],
        "Far reads that were not kept, because a change overtook them.";
    NEAR_RESETS: "cache.near.resets", Counter, "{reset}", [],
        "How often the near tier was emptied as a whole.";
    NEAR_STATUS: "cache.near.status", UpDownCounter, "{tier}", [STATUS],
        "Near tiers by how they are kept true at the moment: 1 for the status that holds, 0 for the others.";
    GUARD_STATE: "cache.guard.state", UpDownCounter, "{circuit}", [STATE],
        "Circuits by their state at the moment: 1 for the state that holds, 0 for the others.";
    GUARD_OPENED: "cache.guard.opened", Counter, "{change}", [],
        "How often the circuit opened.";
    GUARD_CALLS: "cache.guard.calls", Counter, "{call}", [],
        "Calls that reached the client below the guard and ended.";
    GUARD_FAILURES: "cache.guard.failures", Counter, "{call}", [],
        "Those of them that failed since the backend was not available, or too slow for the deadline.";
    GUARD_TIMEOUTS: "cache.guard.timeouts", Counter, "{call}", [],
        "Those of the failures that the deadline of the guard ended.";
    GUARD_SLOW: "cache.guard.slow", Counter, "{call}", [],
        "Calls that took as long as a slow call.";
    GUARD_SHED: "cache.guard.shed", Counter, "{call}", [],
        "Calls that the open circuit answered.";
    GUARD_BYPASSED: "cache.guard.bypassed", Counter, "{call}", [],
        "Calls that failed or were shed, and that callers saw as a miss or as done.";
    GUARD_PROBES: "cache.guard.probes", Counter, "{call}", [],
        "Calls that were let through to see whether the backend is back.";
    LOCK_REQUESTS: "cache.lock.requests", Counter, "{request}", [LOCK_RESULT],
        "Requests for a lock that ended.";
    LOCK_WAIT: "cache.lock.wait.duration", Histogram, "s", [LOCK_RESULT],
        "How long such requests took, waiting and round trips included.";
    LOCK_ENDS: "cache.lock.ends", Counter, "{lock}", [LOCK_END],
        "Locks that were held and ended.";
    LOCK_HELD: "cache.lock.held.duration", Histogram, "s", [LOCK_END],
        "How long they were held.";
    IDEMPOTENCY_REQUESTS: "cache.idempotency.requests", Counter, "{request}", [IDEMPOTENCY_RESULT],
        "Requests with an idempotency key.";
    IDEMPOTENCY_ENDS: "cache.idempotency.ends", Counter, "{run}", [IDEMPOTENCY_END],
        "Runs that ended.";
    RATE_LIMITER_CALLS: "cache.rate_limiter.calls", Counter, "{call}", [DECISION],
        "Calls that a limiter decided about.";
    GENERATION_READS: "cache.generations.reads", Counter, "{read}", [GENERATION_SOURCE],
        "Times that a generation was asked for and known.";
    GENERATION_BUMPS: "cache.generations.bumps", Counter, "{step}", [],
        "Steps to a new generation.";
    GENERATION_BEGINNINGS: "cache.generations.beginnings", Counter, "{namespace}", [],
        "Counters that were made because there was none: once for each new namespace, and whenever a counter was lost.";
    RECIPE_FAILURES: "cache.recipe.failures", Counter, "{operation}", [RECIPE, ERROR],
        "Operations of a recipe that the cache failed.";
    ENCRYPTION_SEALED: "cache.encryption.sealed", Counter, "{value}", [],
        "Values that were encrypted.";
    ENCRYPTION_OPENED: "cache.encryption.opened", Counter, "{value}", [],
        "Values that were decrypted.";
    ENCRYPTION_UNREADABLE: "cache.encryption.unreadable", Counter, "{value}", [UNREADABLE_REASON],
        "Stored values that were a miss since they could not be decrypted.";
    ENCRYPTION_REMOVED: "cache.encryption.removed", Counter, "{value}", [],
        "Stored values that no instance can decrypt and that were removed.";
    ENCRYPTION_PLAINTEXT: "cache.encryption.plaintext_reads", Counter, "{value}", [],
        "Values that were read although they are not encrypted, as the migration mode allows. Counters are not among them.";
    KEYRING_REFRESHES: "cache.keyring.refreshes", Counter, "{refresh}", [REFRESH_OUTCOME],
        "Refreshes of the keyset that ended.";
    KEYRING_AGE: "cache.keyring.age", Gauge, "s", [],
        "The time since the keyset was last read from its store; of several keyrings the longest.";
}

/// The table of all metrics, as it is in the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut table =
        "| metric | instrument | unit | attributes | meaning |\n|---|---|---|---|---|\n".to_owned();
    for metric in METRICS {
        let attributes: Vec<String> = metric
            .attributes
            .iter()
            .map(|attribute| format!("`{}`", attribute.name))
            .collect();
        table.push_str(&format!(
            "| `{}` | {} | `{}` | {} | {} |\n",
            metric.name,
            metric.instrument.name(),
            metric.unit,
            attributes.join(", "),
            metric.meaning
        ));
    }
    table
}

/// The table of all attributes, as it is in the documentation.
#[must_use]
pub fn markdown_of_attributes() -> String {
    let mut table = "| attribute | values | meaning |\n|---|---|---|\n".to_owned();
    for attribute in ATTRIBUTES {
        let values: Vec<String> = attribute
            .values
            .iter()
            .map(|value| format!("`{value}`"))
            .collect();
        let values = if values.is_empty() {
            "as configured".to_owned()
        } else {
            values.join(", ")
        };
        table.push_str(&format!(
            "| `{}` | {values} | {} |\n",
            attribute.name, attribute.meaning
        ));
    }
    table
}
