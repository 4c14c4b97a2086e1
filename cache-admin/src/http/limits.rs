//! What a request may cost.

use std::time::Duration;

use cache_layers::Quota;

/// What a request may cost, and how often one may come. A setter never fails.
#[derive(Clone, Debug)]
pub struct Limits {
    pub(crate) requests: Quota,
    pub(crate) failures: Quota,
    pub(crate) timeout: Duration,
    pub(crate) body: usize,
    pub(crate) body_timeout: Duration,
    pub(crate) value: u32,
    pub(crate) answer_within: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) streams: usize,
    pub(crate) streams_of_each: usize,
}

impl Limits {
    /// How many requests each actor may make. Default: 600 in a minute, sliding.
    #[must_use]
    pub const fn with_requests(mut self, quota: Quota) -> Self {
        self.requests = quota;
        self
    }

    /// How often each address may fail to authenticate. Default: 30 times in a minute, sliding.
    #[must_use]
    pub const fn with_failures(mut self, quota: Quota) -> Self {
        self.failures = quota;
        self
    }

    /// How long a request may take until its answer begins. Default: 30 s.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The largest body, in bytes. Default: 256 KiB.
    #[must_use]
    pub const fn with_body(mut self, bytes: usize) -> Self {
        self.body = bytes;
        self
    }

    /// How long a body may take to arrive. Default: 10 s.
    #[must_use]
    pub const fn with_body_timeout(mut self, timeout: Duration) -> Self {
        self.body_timeout = timeout;
        self
    }

    /// How many bytes of a value are shown at most. Default: 64 KiB.
    #[must_use]
    pub const fn with_value(mut self, bytes: u32) -> Self {
        self.value = bytes;
        self
    }

    /// How long a count is waited for before its job is answered in place of its result. Default: 2 s.
    #[must_use]
    pub const fn with_answer_within(mut self, time: Duration) -> Self {
        self.answer_within = time;
        self
    }

    /// After how much silence a stream of events tells that it is still there. Default: 15 s.
    #[must_use]
    pub const fn with_heartbeat(mut self, time: Duration) -> Self {
        self.heartbeat = time;
        self
    }

    /// How many streams of events there may be at once. Default: 64.
    #[must_use]
    pub const fn with_streams(mut self, streams: usize) -> Self {
        self.streams = streams;
        self
    }

    /// How many of these each actor may have. Default: 16.
    #[must_use]
    pub const fn with_streams_of_each(mut self, streams: usize) -> Self {
        self.streams_of_each = streams;
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            requests: Quota::sliding(600, MINUTE),
            failures: Quota::sliding(30, MINUTE),
            timeout: Duration::from_secs(30),
            body: 262_144,
            body_timeout: Duration::from_secs(10),
            value: 65_536,
            answer_within: Duration::from_secs(2),
            heartbeat: Duration::from_secs(15),
            streams: 64,
            streams_of_each: 16,
        }
    }
}
