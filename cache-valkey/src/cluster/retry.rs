//! Decides what a call does after a failed attempt: follow a redirection, try again, or stop.
//!
//! Pure. Bounds: at most [`REDIRECTIONS`] redirections and `max_retries` retries, plus one resend if the
//! connection turned out to be dead. A command that must not run twice is never repeated if it may have been
//! applied.

use std::time::Duration;

use cache_core::config::Address;
use cache_core::slot::SLOTS;
use cache_core::{CacheError, Outcome, Unavailability};

use super::report::address;
use crate::backoff::Backoff;
use crate::command::Effect;
use crate::refresher::Hint;
use crate::reply::ServerError;

/// How many redirections one call follows before it gives up. Nodes that disagree about a slot agree within
/// moments.
const REDIRECTIONS: u32 = 16;

/// How many redirections are followed at once. After that the nodes seem to disagree, and the call pauses.
const PROMPT: u32 = 3;

/// Why an attempt has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Another node serves the slot, at `to` if the asked node knows its address.
    Moved { slot: u16, to: Option<Address> },
    /// The node redirects to the address at which it was asked: the cluster means another server there.
    MovedHere,
    /// The slot is migrating, and this key is at `to` already or may be created there.
    Ask { to: Option<Address> },
    /// Some of several keys have moved and some have not.
    TryAgain,
    /// The node cannot serve now; nothing was applied.
    NotReady,
    /// The connection was lost during the call.
    Lost(Outcome),
    /// There is no connection to the node; nothing was sent.
    Unreachable,
    /// The deadline passed.
    TimedOut,
    /// A retry would not help.
    Final,
}

impl Failure {
    /// Classifies a refusal by the node at `asked`; `None` if the refusal is the call's result.
    pub(super) fn of_refusal(error: &ServerError, asked: &Address) -> Option<Self> {
        Some(match error.code.as_str() {
            "MOVED" | "ASK" => match (error.code.as_str(), redirection(&error.detail, asked)?) {
                (_, (_, Some(to))) if to == *asked => Self::MovedHere,
                ("MOVED", (slot, to)) => Self::Moved { slot, to },
                (_, (_, to)) => Self::Ask { to },
            },
            "TRYAGAIN" => Self::TryAgain,
            "CLUSTERDOWN" | "LOADING" | "MASTERDOWN" | "READONLY" | "FAILOVER" | "BUSY" | "NOREPLICAS" => {
                Self::NotReady
            }
            _ => return None,
        })
    }

    /// Classifies a transport error.
    pub(super) fn of_failure(error: &CacheError) -> Self {
        match error {
            CacheError::Timeout { .. } => Self::TimedOut,
            CacheError::Unavailable { reason, outcome, .. } => match reason {
                Unavailability::Lost => Self::Lost(*outcome),
                // A transport error says `NotReady` if the server refused the login, as it does while it
                // loads.
                Unavailability::Resolve | Unavailability::Connect | Unavailability::NotReady => {
                    Self::Unreachable
                }
                _ => Self::Final,
            },
            // The node left the cluster and its grace period ended during the call.
            CacheError::Closed => Self::Lost(Outcome::Unknown),
            _ => Self::Final,
        }
    }

    /// What the failure hints at. A missed deadline hints at nothing: the node may have been slow.
    pub(super) const fn hint(&self) -> Option<Hint> {
        match self {
            Self::Moved { .. } | Self::MovedHere | Self::Lost(_) => Some(Hint::Change),
            Self::NotReady | Self::Unreachable => Some(Hint::Outage),
            Self::Ask { .. } | Self::TryAgain | Self::TimedOut | Self::Final => None,
        }
    }
}

/// What a call does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Follow a redirection to the node at `to`.
    Follow {
        to: Address,
        /// Whether to send `ASKING` first, because the slot is migrating.
        asking: bool,
        pause: Duration,
    },
    /// Try again where the table says after the pause.
    Again { pause: Duration },
    /// Stop with the last result.
    Stop,
}

/// The retry state of one call.
#[derive(Debug)]
pub(super) struct RetryState {
    effect: Effect,
    /// Whether another node may answer if the first one cannot.
    has_choice: bool,
    retries: u32,
    redirections: u32,
    max_retries: u32,
    /// Whether the call was resent after a dead connection, which does not count as a retry.
    is_resent: bool,
    /// Whether an attempt with an unknown outcome was lost.
    may_be_done: bool,
}

impl RetryState {
    pub(super) const fn new(effect: Effect, has_choice: bool, max_retries: u32) -> Self {
        Self {
            effect,
            has_choice,
            retries: 0,
            redirections: 0,
            max_retries,
            is_resent: false,
            may_be_done: false,
        }
    }

    /// Whether an attempt may have been applied although the call has no result.
    pub(super) const fn may_be_done(&self) -> bool {
        self.may_be_done
    }

    /// Whether the call was retried. A read that prefers replicas then goes to the primary.
    pub(super) const fn was_retried(&self) -> bool {
        self.retries > 0 || self.is_resent
    }

    /// Decides the next step after `failure`.
    pub(super) fn next(&mut self, failure: &Failure) -> Step {
        self.may_be_done |= matches!(failure, Failure::Lost(Outcome::Unknown) | Failure::TimedOut);
        match failure {
            Failure::Moved { to: Some(to), .. } => self.follow(to, false),
            Failure::Ask { to: Some(to) } => self.follow(to, true),
            Failure::Moved { to: None, .. }
            | Failure::Ask { to: None }
            | Failure::MovedHere
            | Failure::TryAgain
            | Failure::NotReady => self.again(),
            Failure::Lost(Outcome::Unknown) if self.effect == Effect::WriteOnce => Step::Stop,
            Failure::Lost(_) => self.resend(),
            // A node that is known to be down fails its calls at once. Only a call that was under way when
            // the node went down is retried.
            Failure::Unreachable if self.has_choice || self.was_retried() || self.redirections > 0 => {
                self.again()
            }
            Failure::Unreachable | Failure::TimedOut | Failure::Final => Step::Stop,
        }
    }

    fn follow(&mut self, to: &Address, asking: bool) -> Step {
        if self.redirections >= REDIRECTIONS {
            return Step::Stop;
        }
        self.redirections += 1;
        Step::Follow {
            to: to.clone(),
            asking,
            pause: match self.redirections.checked_sub(PROMPT + 1) {
                Some(excess) => Backoff::CALL.delay(excess),
                None => Duration::ZERO,
            },
        }
    }

    /// Decides the next step of a call that was not sent, after the topology has changed.
    pub(super) fn reroute(&mut self) -> Step {
        self.resend()
    }

    /// Resends at once and without counting a retry the first time: an idle connection may have died, and a
    /// call is the first to notice.
    fn resend(&mut self) -> Step {
        if std::mem::replace(&mut self.is_resent, true) {
            return self.again();
        }
        Step::Again {
            pause: Duration::ZERO,
        }
    }

    fn again(&mut self) -> Step {
        if self.retries >= self.max_retries {
            return Step::Stop;
        }
        self.retries += 1;
        Step::Again {
            pause: Backoff::CALL.delay(self.retries - 1),
        }
    }
}

/// Reads `3999 127.0.0.1:6381`; the host may be empty, a name, or an IPv6 address without brackets.
fn redirection(detail: &str, asked: &Address) -> Option<(u16, Option<Address>)> {
    let mut words = detail.split_ascii_whitespace();
    let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
    let (host, port) = words.next()?.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    Some((slot, address(Some(host), port, asked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: &str, detail: &str) -> Option<Failure> {
        let (code, detail) = (code.to_owned(), detail.to_owned());
        Failure::of_refusal(&ServerError { code, detail }, &Address::new("asked", 7000))
    }

    fn failure(reason: Unavailability, outcome: Outcome) -> CacheError {
        CacheError::Unavailable {
            reason,
            detail: "x".into(),
            outcome,
            source: None,
        }
    }

    fn moved() -> Failure {
        refusal("MOVED", "1 b:2").unwrap()
    }

    #[test]
    fn redirections_are_read_with_every_form_of_host() {
        let to = |detail| match refusal("MOVED", detail) {
            Some(Failure::Moved { slot: 3999, to }) => to.map(|address| address.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(to("3999 127.0.0.1:6381").as_deref(), Some("127.0.0.1:6381"));
        assert_eq!(to("3999 fe80::1:6381").as_deref(), Some("[fe80::1]:6381"));
        assert_eq!(
            to("3999 node-1.example:6381").as_deref(),
            Some("node-1.example:6381")
        );
        assert_eq!(to("3999 :6381").as_deref(), Some("asked:6381"));
        assert_eq!(to("3999 ?:6381"), None);
        for nonsense in ["", "3999", "x 127.0.0.1:1", "1 127.0.0.1", "1 a:b", "70000 a:1"] {
            assert_eq!(refusal("MOVED", nonsense), None, "{nonsense}");
        }
        let ask = Failure::Ask {
            to: Some(Address::new("a", 1)),
        };
        assert_eq!(refusal("ASK", "7 a:1").as_ref(), Some(&ask));
        let followed = Step::Follow {
            to: Address::new("a", 1),
            asking: true,
            pause: Duration::ZERO,
        };
        assert_eq!(RetryState::new(Effect::Read, false, 0).next(&ask), followed);
        assert_eq!(refusal("WRONGTYPE", "no"), None);
    }

    #[test]
    fn redirection_to_the_asked_address_is_no_redirection() {
        for (code, detail) in [
            ("MOVED", "1 asked:7000"),
            ("MOVED", "1 :7000"),
            ("ASK", "1 asked:7000"),
        ] {
            let failure = refusal(code, detail).unwrap();
            assert_eq!(failure, Failure::MovedHere, "{code} {detail}");
            assert_eq!(failure.hint(), Some(Hint::Change));
            let step = RetryState::new(Effect::WriteOnce, false, 3).next(&failure);
            assert!(matches!(step, Step::Again { .. }));
        }
        assert_ne!(refusal("MOVED", "1 asked:7001"), Some(Failure::MovedHere));
    }

    #[test]
    fn redirections_are_bounded_and_slow_down() {
        let mut retry = RetryState::new(Effect::WriteOnce, false, 0);
        for count in 1..=REDIRECTIONS {
            let Step::Follow {
                to,
                asking: false,
                pause,
            } = retry.next(&moved())
            else {
                panic!("gave up at {count}");
            };
            assert_eq!(to, Address::new("b", 2));
            assert_eq!(pause.is_zero(), count <= PROMPT, "{count}");
        }
        assert_eq!(retry.next(&moved()), Step::Stop);
    }

    #[test]
    fn unapplied_calls_are_retried_up_to_the_limit() {
        for code in ["TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY"] {
            let mut retry = RetryState::new(Effect::WriteOnce, false, 2);
            let failure = refusal(code, "The cluster is down").unwrap();
            assert!(matches!(retry.next(&failure), Step::Again { .. }), "{code}");
            assert!(matches!(retry.next(&failure), Step::Again { .. }), "{code}");
            assert_eq!(retry.next(&failure), Step::Stop, "{code}");
        }
    }

    #[test]
    fn write_once_ends_when_its_outcome_is_unknown() {
        let unknown = Failure::of_failure(&failure(Unavailability::Lost, Outcome::Unknown));
        assert_eq!(
            RetryState::new(Effect::WriteOnce, true, 3).next(&unknown),
            Step::Stop
        );
        for effect in [Effect::Read, Effect::Write] {
            let step = RetryState::new(effect, false, 3).next(&unknown);
            assert!(matches!(step, Step::Again { .. }));
        }
        let not_sent = Failure::of_failure(&failure(Unavailability::Lost, Outcome::NotApplied));
        let step = RetryState::new(Effect::WriteOnce, false, 3).next(&not_sent);
        assert!(matches!(step, Step::Again { .. }));
    }

    #[test]
    fn down_node_fails_calls_at_once_unless_under_way() {
        let down = Failure::of_failure(&failure(Unavailability::Connect, Outcome::NotApplied));
        assert_eq!(down, Failure::Unreachable);
        let loading = failure(Unavailability::NotReady, Outcome::NotApplied);
        assert_eq!(Failure::of_failure(&loading), Failure::Unreachable);
        assert_eq!(RetryState::new(Effect::Read, false, 3).next(&down), Step::Stop);
        let mut on_its_way = RetryState::new(Effect::Read, false, 3);
        on_its_way.next(&Failure::Lost(Outcome::Unknown));
        assert!(matches!(on_its_way.next(&down), Step::Again { .. }));
        let step = RetryState::new(Effect::Read, true, 3).next(&down);
        assert!(matches!(step, Step::Again { .. }), "another replica may answer");
    }

    #[test]
    fn dead_connection_is_retried_once_even_without_retries() {
        let lost = Failure::Lost(Outcome::Unknown);
        for effect in [Effect::Read, Effect::Write] {
            let mut retry = RetryState::new(effect, false, 0);
            let at_once = Step::Again {
                pause: Duration::ZERO,
            };
            assert_eq!(retry.next(&lost), at_once);
            assert!(retry.was_retried());
            assert_eq!(retry.next(&lost), Step::Stop);
        }
        assert_eq!(
            RetryState::new(Effect::WriteOnce, false, 0).next(&lost),
            Step::Stop
        );
    }

    #[test]
    fn missed_deadline_is_no_hint() {
        assert_eq!(Failure::TimedOut.hint(), None);
        assert_eq!(Failure::Unreachable.hint(), Some(Hint::Outage));
        assert_eq!(Failure::Lost(Outcome::Unknown).hint(), Some(Hint::Change));
    }

    #[test]
    fn permanent_failures_are_not_retried() {
        let certificate = failure(Unavailability::Tls, Outcome::NotApplied);
        for failure in [Failure::of_failure(&certificate), Failure::TimedOut] {
            assert_eq!(RetryState::new(Effect::Read, true, 3).next(&failure), Step::Stop);
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_redirection_has_valid_slot_and_port(
            detail in crate::reply::foreign::mangled("3999 127.0.0.1:6381"),
            code in proptest::sample::select(vec!["MOVED", "ASK"]),
        ) {
            let to = match refusal(code, &detail) {
                Some(Failure::Moved { slot, to }) => {
                    proptest::prop_assert!(slot < SLOTS);
                    to
                }
                Some(Failure::Ask { to }) => to,
                other => {
                    proptest::prop_assert_eq!(other, None);
                    return Ok(());
                }
            };
            proptest::prop_assert!(to.is_none_or(|to| to.port != 0 && !to.host.is_empty()));
        }
    }
}
