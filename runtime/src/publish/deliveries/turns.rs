//! Whose turn it is among the deliveries of one destination: the oldest, but for those that were tried in vain and wait for a
//! while. No clock: `now` is the time since any fixed start.

use crate::identity::JobId;
use crate::outbox::Delivery;
use std::collections::BTreeMap;
use std::time::Duration;

/// Pause after the first try in vain; it doubles up to [`LONGEST_PAUSE`].
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
/// Who has made room has the results within this.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Tries of one delivery in one run of the service: with these pauses they last a day, as long as files are kept by default.
const MOST_TRIES: u32 = 296;

/// What was tried in vain, and when it may be tried again.
#[derive(Debug, Default)]
pub(super) struct Turns {
    tried: BTreeMap<(JobId, u64), Tried>,
}

#[derive(Debug)]
struct Tried {
    times: u32,
    again: Duration,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn<'a> {
    /// Nothing waits.
    Idle,
    /// All that waits was tried in vain before; the first is due then.
    At(Duration),
    /// Send this; `last` where it will not be tried again.
    Now { delivery: &'a Delivery, last: bool },
}

impl Turns {
    /// The turn among `pending`, oldest first: all that waits for the destination.
    pub(super) fn next<'a>(&mut self, now: Duration, pending: &'a [Delivery]) -> Turn<'a> {
        self.tried.retain(|key, _| pending.iter().any(|delivery| key_of(delivery) == *key));
        let again = |delivery| self.tried.get(&key_of(delivery)).map(|tried| tried.again);
        if let Some(delivery) = pending.iter().find(|d| again(d).is_none_or(|at| at <= now)) {
            let times = self.tried.get(&key_of(delivery)).map_or(0, |tried| tried.times);
            return Turn::Now { delivery, last: times + 1 >= MOST_TRIES };
        }
        pending.iter().filter_map(again).min().map_or(Turn::Idle, Turn::At)
    }

    /// A try failed, and another one can help: others go first meanwhile.
    pub(super) fn in_vain(&mut self, now: Duration, delivery: &Delivery) {
        let first = Tried { times: 0, again: now };
        let tried = self.tried.entry(key_of(delivery)).or_insert(first);
        let pause = SHORTEST_PAUSE.saturating_mul(1 << tried.times.min(16)).min(LONGEST_PAUSE);
        *tried = Tried { times: tried.times + 1, again: now + pause };
    }
}

fn key_of(delivery: &Delivery) -> (JobId, u64) {
    (delivery.job.clone(), delivery.recorded_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn delivery(uid: &str, recorded_ms: u64) -> Delivery {
        let (job, destination) = (JobId::new(b"key", uid), "console".to_owned());
        Delivery { job, destination, files: vec!["seg.dcm".into()], recorded_ms }
    }

    fn now(delivery: &Delivery) -> Turn<'_> {
        Turn::Now { delivery, last: false }
    }

    #[test]
    fn others_overtake_what_was_tried_in_vain_until_its_pause_is_over() {
        let pending = [delivery("1", 1), delivery("2", 2)];
        let mut turns = Turns::default();
        assert_eq!(turns.next(S(0), &[]), Turn::Idle);
        assert_eq!(turns.next(S(0), &pending), now(&pending[0]));
        turns.in_vain(S(10), &pending[0]);
        assert_eq!(turns.next(S(10), &pending), now(&pending[1]));
        assert_eq!(turns.next(S(10), &pending[..1]), Turn::At(S(11)));
        assert_eq!(turns.next(S(11), &pending), now(&pending[0]));
        turns.in_vain(S(11), &pending[0]);
        assert_eq!(turns.next(S(11), &pending[..1]), Turn::At(S(13)), "pauses grow");
        let again = [delivery("1", 3)];
        assert_eq!(turns.next(S(12), &again), now(&again[0]), "recorded anew, nothing was tried");
        assert_eq!(turns.next(S(12), &pending), now(&pending[0]), "and the old one is forgotten");
    }

    #[test]
    fn tries_last_a_day_and_the_last_one_is_known() {
        let pending = [delivery("1", 1)];
        let (mut turns, mut at, mut tries) = (Turns::default(), S(0), 1);
        while turns.next(at, &pending) == now(&pending[0]) {
            turns.in_vain(at, &pending[0]);
            let Turn::At(due) = turns.next(at, &pending) else { panic!("it waits") };
            assert!(due - at <= LONGEST_PAUSE);
            (at, tries) = (due, tries + 1);
        }
        let last = Turn::Now { delivery: &pending[0], last: true };
        assert_eq!((turns.next(at, &pending), tries), (last, MOST_TRIES));
        assert!(at.abs_diff(S(86_400)) <= LONGEST_PAUSE, "{at:?}");
    }
}
