//! One call on its way: what an answer that is no result means for it, and what it does next.
//!
//! Pure. The bounds: at most [`REDIRECTIONS`] times sent on, at most `max_retries` times tried again, once more if its
//! connection turned out dead, and never again where it must not be done twice and may have been done.

use std::time::Duration;

use cache_core::config::Address;
use cache_core::slot::SLOTS;
use cache_core::{CacheError, Outcome, Unavailability};

use super::survey::address;
use crate::backoff::Backoff;
use crate::command::Effect;
use crate::reply::ServerError;
use crate::upkeep::Hint;

/// How often one call is sent on by nodes before it gives up: nodes that disagree about a slot settle it
/// within moments.
const REDIRECTIONS: u32 = 16;

/// Redirections that are followed at once; from then on the nodes disagree, and get time to settle.
const PROMPT: u32 = 3;

/// Why a call has no result yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setback {
    /// Another node serves the slot: where the node that was asked knows its address, at `to`.
    Moved { slot: u16, to: Option<Address> },
    /// The node names the address at which it was asked: the cluster means another server there.
    MovedHere,
    /// The slot is on its way, and this key has arrived at `to` or may be made there.
    Ask { to: Option<Address> },
    /// Of several keys some are here and some have moved.
    TryAgain,
    /// The node cannot serve at the moment; nothing was done.
    NotReady,
    /// The connection was lost under the call.
    Lost(Outcome),
    /// There is no connection to the node; nothing was sent.
    Unreachable,
    /// The deadline passed.
    Late,
    /// It will not get better.
    Final,
}

impl Setback {
    /// What a refusal by the node at `asked` means for the call; `None` where it is the call's result.
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

    /// What a failure of the transport means for the call.
    pub(super) fn of_failure(error: &CacheError) -> Self {
        match error {
            CacheError::Timeout { .. } => Self::Late,
            CacheError::Unavailable { reason, outcome, .. } => match reason {
                Unavailability::Lost => Self::Lost(*outcome),
                // Not ready as a failure of the transport: the server let nobody in, as while it loads.
                Unavailability::Resolve | Unavailability::Connect | Unavailability::NotReady => {
                    Self::Unreachable
                }
                _ => Self::Final,
            },
            // The node has left the cluster, after its grace; the call met the end of it.
            CacheError::Closed => Self::Lost(Outcome::Unknown),
            _ => Self::Final,
        }
    }

    /// What it hints at. A deadline that passed hints at nothing: the node may have been slow.
    pub(super) const fn hint(&self) -> Option<Hint> {
        match self {
            Self::Moved { .. } | Self::MovedHere | Self::Lost(_) => Some(Hint::News),
            Self::NotReady | Self::Unreachable => Some(Hint::Outage),
            Self::Ask { .. } | Self::TryAgain | Self::Late | Self::Final => None,
        }
    }
}

/// What a call does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Goes to the node at `to`, as it was told to.
    Follow {
        to: Address,
        /// Whether the node is to be told that it was sent there for a slot that is on its way.
        asking: bool,
        pause: Duration,
    },
    /// Goes where the table says by then.
    Again { pause: Duration },
    /// Ends with what it has.
    Stop,
}

/// One call on its way.
#[derive(Debug)]
pub(super) struct Journey {
    effect: Effect,
    /// Whether another node may answer what the first one cannot.
    has_choice: bool,
    retries: u32,
    redirections: u32,
    max_retries: u32,
    /// Whether it was repeated because its connection turned out dead, which does not count as a retry.
    is_resent: bool,
    /// Whether a try was lost of which nobody knows whether it was done.
    may_be_done: bool,
}

impl Journey {
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

    /// Whether some try may have been done although the call has no result.
    pub(super) const fn may_be_done(&self) -> bool {
        self.may_be_done
    }

    /// Whether it has been tried again, which is when a read that prefers replicas turns to the primary.
    pub(super) const fn was_retried(&self) -> bool {
        self.retries > 0 || self.is_resent
    }

    /// What to do after `setback`.
    pub(super) fn next(&mut self, setback: &Setback) -> Step {
        self.may_be_done |= matches!(setback, Setback::Lost(Outcome::Unknown) | Setback::Late);
        match setback {
            Setback::Moved { to: Some(to), .. } => self.follow(to, false),
            Setback::Ask { to: Some(to) } => self.follow(to, true),
            Setback::Moved { to: None, .. }
            | Setback::Ask { to: None }
            | Setback::MovedHere
            | Setback::TryAgain
            | Setback::NotReady => self.again(),
            Setback::Lost(Outcome::Unknown) if self.effect == Effect::WriteOnce => Step::Stop,
            Setback::Lost(_) => self.resend(),
            // A node that is known to be down fails its calls at once; only a call that was on its way
            // when that happened waits for what comes of it.
            Setback::Unreachable if self.has_choice || self.was_retried() || self.redirections > 0 => {
                self.again()
            }
            Setback::Unreachable | Setback::Late | Setback::Final => Step::Stop,
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

    /// The call has not been sent, and what is known of the cluster has changed since it was routed.
    pub(super) fn reroute(&mut self) -> Step {
        self.resend()
    }

    /// At once and beyond the number of retries if this is the first time: a connection may have died while nobody used
    /// it, and a call is the first to notice.
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

    fn refusal(code: &str, detail: &str) -> Option<Setback> {
        let (code, detail) = (code.to_owned(), detail.to_owned());
        Setback::of_refusal(&ServerError { code, detail }, &Address::new("asked", 7000))
    }

    fn failure(reason: Unavailability, outcome: Outcome) -> CacheError {
        CacheError::Unavailable {
            reason,
            detail: "x".into(),
            outcome,
            source: None,
        }
    }

    fn moved() -> Setback {
        refusal("MOVED", "1 b:2").unwrap()
    }

    #[test]
    fn redirections_are_read_with_every_form_of_host() {
        let to = |detail| match refusal("MOVED", detail) {
            Some(Setback::Moved { slot: 3999, to }) => to.map(|address| address.to_string()),
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
        let ask = Setback::Ask {
            to: Some(Address::new("a", 1)),
        };
        assert_eq!(refusal("ASK", "7 a:1").as_ref(), Some(&ask));
        let followed = Step::Follow {
            to: Address::new("a", 1),
            asking: true,
            pause: Duration::ZERO,
        };
        assert_eq!(Journey::new(Effect::Read, false, 0).next(&ask), followed);
        assert_eq!(refusal("WRONGTYPE", "no"), None);
    }

    #[test]
    fn a_redirection_to_the_address_that_was_asked_is_no_other_place_to_go() {
        for (code, detail) in [
            ("MOVED", "1 asked:7000"),
            ("MOVED", "1 :7000"),
            ("ASK", "1 asked:7000"),
        ] {
            let setback = refusal(code, detail).unwrap();
            assert_eq!(setback, Setback::MovedHere, "{code} {detail}");
            assert_eq!(setback.hint(), Some(Hint::News));
            let step = Journey::new(Effect::WriteOnce, false, 3).next(&setback);
            assert!(matches!(step, Step::Again { .. }));
        }
        assert_ne!(refusal("MOVED", "1 asked:7001"), Some(Setback::MovedHere));
    }

    #[test]
    fn redirections_are_bounded_and_slow_down_when_nodes_disagree() {
        let mut journey = Journey::new(Effect::WriteOnce, false, 0);
        for count in 1..=REDIRECTIONS {
            let Step::Follow {
                to,
                asking: false,
                pause,
            } = journey.next(&moved())
            else {
                panic!("gave up at {count}");
            };
            assert_eq!(to, Address::new("b", 2));
            assert_eq!(pause.is_zero(), count <= PROMPT, "{count}");
        }
        assert_eq!(journey.next(&moved()), Step::Stop);
    }

    #[test]
    fn what_was_certainly_not_done_is_tried_again_up_to_the_bound() {
        for code in ["TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY"] {
            let mut journey = Journey::new(Effect::WriteOnce, false, 2);
            let setback = refusal(code, "The cluster is down").unwrap();
            assert!(matches!(journey.next(&setback), Step::Again { .. }), "{code}");
            assert!(matches!(journey.next(&setback), Step::Again { .. }), "{code}");
            assert_eq!(journey.next(&setback), Step::Stop, "{code}");
        }
    }

    #[test]
    fn what_must_not_be_done_twice_ends_when_its_outcome_is_unknown() {
        let unknown = Setback::of_failure(&failure(Unavailability::Lost, Outcome::Unknown));
        assert_eq!(
            Journey::new(Effect::WriteOnce, true, 3).next(&unknown),
            Step::Stop
        );
        for effect in [Effect::Read, Effect::Write] {
            let step = Journey::new(effect, false, 3).next(&unknown);
            assert!(matches!(step, Step::Again { .. }));
        }
        let not_sent = Setback::of_failure(&failure(Unavailability::Lost, Outcome::NotApplied));
        let step = Journey::new(Effect::WriteOnce, false, 3).next(&not_sent);
        assert!(matches!(step, Step::Again { .. }));
    }

    #[test]
    fn a_node_that_is_known_to_be_down_fails_a_call_at_once_unless_it_was_on_its_way() {
        let down = Setback::of_failure(&failure(Unavailability::Connect, Outcome::NotApplied));
        assert_eq!(down, Setback::Unreachable);
        let loading = failure(Unavailability::NotReady, Outcome::NotApplied);
        assert_eq!(Setback::of_failure(&loading), Setback::Unreachable);
        assert_eq!(Journey::new(Effect::Read, false, 3).next(&down), Step::Stop);
        let mut on_its_way = Journey::new(Effect::Read, false, 3);
        on_its_way.next(&Setback::Lost(Outcome::Unknown));
        assert!(matches!(on_its_way.next(&down), Step::Again { .. }));
        let step = Journey::new(Effect::Read, true, 3).next(&down);
        assert!(matches!(step, Step::Again { .. }), "another replica may answer");
    }

    #[test]
    fn a_call_whose_connection_turned_out_dead_is_repeated_once_even_without_retries() {
        let lost = Setback::Lost(Outcome::Unknown);
        for effect in [Effect::Read, Effect::Write] {
            let mut journey = Journey::new(effect, false, 0);
            let at_once = Step::Again {
                pause: Duration::ZERO,
            };
            assert_eq!(journey.next(&lost), at_once);
            assert!(journey.was_retried());
            assert_eq!(journey.next(&lost), Step::Stop);
        }
        assert_eq!(Journey::new(Effect::WriteOnce, false, 0).next(&lost), Step::Stop);
    }

    #[test]
    fn a_deadline_that_passed_hints_at_nothing() {
        assert_eq!(Setback::Late.hint(), None);
        assert_eq!(Setback::Unreachable.hint(), Some(Hint::Outage));
        assert_eq!(Setback::Lost(Outcome::Unknown).hint(), Some(Hint::News));
    }

    #[test]
    fn nothing_is_tried_again_where_it_cannot_help() {
        let certificate = failure(Unavailability::Tls, Outcome::NotApplied);
        for setback in [Setback::of_failure(&certificate), Setback::Late] {
            assert_eq!(Journey::new(Effect::Read, true, 3).next(&setback), Step::Stop);
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_redirection_says_it_goes_to_a_slot_and_a_port_that_there_are(
            detail in crate::reply::foreign::mangled("3999 127.0.0.1:6381"),
            code in proptest::sample::select(vec!["MOVED", "ASK"]),
        ) {
            let to = match refusal(code, &detail) {
                Some(Setback::Moved { slot, to }) => {
                    proptest::prop_assert!(slot < SLOTS);
                    to
                }
                Some(Setback::Ask { to }) => to,
                other => {
                    proptest::prop_assert_eq!(other, None);
                    return Ok(());
                }
            };
            proptest::prop_assert!(to.is_none_or(|to| to.port != 0 && !to.host.is_empty()));
        }
    }
}
