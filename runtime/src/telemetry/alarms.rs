//! Alarms: latched until somebody has seen them, raised and cleared with a delay. A state machine without clock or files.

use crate::messages::{AlarmCode, AlarmMessage, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is remembered of an alarm over restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Latched {
    active: bool,
    acknowledged: bool,
    raised_ms: u64,
    cleared_ms: Option<u64>,
    count: u32,
}

/// How long a reason must be there, and how long it must be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delay {
    pub(super) raise: Duration,
    pub(super) clear: Duration,
}

/// All alarms of a device. Those that are over and acknowledged are forgotten.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    latched: BTreeMap<AlarmCode, Latched>,
    /// Since when a reason is there, or gone, that does not yet count.
    turning: BTreeMap<AlarmCode, Duration>,
}

impl Alarms {
    /// As they were written by [`Alarms::to_json`]; none where that cannot be understood.
    pub(super) fn from_json(text: &[u8]) -> Alarms {
        let latched = serde_json::from_slice(text).unwrap_or_default();
        Alarms { latched, turning: BTreeMap::new() }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.latched).expect("words, times and numbers")
    }

    /// Whether the reason of an alarm is there `now` (since any fixed start, never going back; `at` is the same by the
    /// clock). Returns whether the alarm changed.
    pub(super) fn observe(
        &mut self,
        now: Duration,
        at: Timestamp,
        code: AlarmCode,
        there: bool,
        delay: Delay,
    ) -> bool {
        if self.is_active(code) == there {
            self.turning.remove(&code);
            return false;
        }
        let since = *self.turning.entry(code).or_insert(now);
        let wanted = if there { delay.raise } else { delay.clear };
        if now.saturating_sub(since) < wanted {
            return false;
        }
        self.turning.remove(&code);
        if there {
            self.raise(code, at)
        } else {
            self.clear(code, at)
        }
        true
    }

    fn is_active(&self, code: AlarmCode) -> bool {
        self.latched.get(&code).is_some_and(|latched| latched.active)
    }

    fn raise(&mut self, code: AlarmCode, at: Timestamp) {
        let before = self.latched.get(&code).filter(|latched| !latched.acknowledged);
        let count = before.map_or(0, |latched| latched.count).saturating_add(1);
        let (raised_ms, cleared_ms) = (at.millis(), None);
        let latched = Latched { active: true, acknowledged: false, raised_ms, cleared_ms, count };
        self.latched.insert(code, latched);
    }

    fn clear(&mut self, code: AlarmCode, at: Timestamp) {
        let Some(latched) = self.latched.get_mut(&code) else { return };
        (latched.active, latched.cleared_ms) = (false, Some(at.millis()));
        if latched.acknowledged {
            self.latched.remove(&code);
        }
    }

    /// Somebody has seen it. Returns whether there was anything to see.
    pub(super) fn acknowledge(&mut self, code: AlarmCode) -> bool {
        let Some(latched) = self.latched.get_mut(&code).filter(|latched| !latched.acknowledged)
        else {
            return false;
        };
        latched.acknowledged = true;
        if !latched.active {
            self.latched.remove(&code);
        }
        true
    }

    /// What is told of one alarm; `None` where there is nothing to tell any more.
    pub(super) fn message(&self, code: AlarmCode) -> Option<AlarmMessage> {
        self.latched.get(&code).map(|latched| AlarmMessage {
            code,
            severity: code.severity(),
            active: latched.active,
            acknowledged: latched.acknowledged,
            raised: Timestamp::from_millis(latched.raised_ms),
            cleared: latched.cleared_ms.map(Timestamp::from_millis),
            count: latched.count,
            action: code.action(),
        })
    }

    /// All that are told, the most severe first.
    pub(super) fn messages(&self) -> Vec<AlarmMessage> {
        let mut all: Vec<_> = self.latched.keys().filter_map(|&code| self.message(code)).collect();
        all.sort_by_key(|alarm| (!alarm.active, std::cmp::Reverse(alarm.severity), alarm.code));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: AlarmCode = AlarmCode::BrokerAway;
    const DELAY: Delay = Delay { raise: Duration::from_secs(60), clear: Duration::from_secs(10) };

    fn at(seconds: u64) -> (Duration, Timestamp) {
        let at = Timestamp::from_millis(1_795_236_000_000 + 1000 * seconds);
        (Duration::from_secs(seconds), at)
    }

    const NEVER: [u64; 0] = [];

    /// Observes from `from` to `to`, a second apart; the seconds at which the alarm changed.
    fn seen(alarms: &mut Alarms, from: u64, to: u64, there: bool) -> Vec<u64> {
        let changed = |&s: &u64| {
            let (now, at) = at(s);
            alarms.observe(now, at, CODE, there, DELAY)
        };
        (from..to).filter(changed).collect()
    }

    #[test]
    fn a_reason_counts_when_it_stays_and_is_gone_when_it_stays_away() {
        let mut alarms = Alarms::default();
        assert_eq!(seen(&mut alarms, 0, 59, true), NEVER);
        assert_eq!(seen(&mut alarms, 59, 60, false), NEVER, "too short");
        assert_eq!(seen(&mut alarms, 60, 130, true), [120]);
        assert_eq!(seen(&mut alarms, 130, 135, false), NEVER);
        assert_eq!(seen(&mut alarms, 135, 136, true), NEVER, "it flickers");
        assert_eq!(seen(&mut alarms, 136, 150, false), [146]);
        let told = alarms.message(CODE).unwrap();
        assert_eq!((told.active, told.acknowledged, told.count), (false, false, 1), "latched");
        assert_eq!((told.raised, told.cleared), (at(120).1, Some(at(146).1)));
    }

    #[test]
    fn it_is_told_until_it_is_over_and_seen_in_any_order() {
        let mut alarms = Alarms::default();
        seen(&mut alarms, 0, 61, true);
        assert!(alarms.acknowledge(CODE) && !alarms.acknowledge(CODE));
        assert!(alarms.message(CODE).unwrap().acknowledged);
        seen(&mut alarms, 61, 80, false);
        assert_eq!(alarms.message(CODE), None);

        seen(&mut alarms, 80, 150, true);
        seen(&mut alarms, 150, 170, false);
        seen(&mut alarms, 170, 240, true);
        assert_eq!(alarms.message(CODE).unwrap().count, 2, "nobody has seen the first");
        seen(&mut alarms, 240, 260, false);
        assert!(alarms.acknowledge(CODE));
        assert_eq!(alarms.messages(), []);
    }

    #[test]
    fn a_restart_keeps_what_nobody_has_seen() {
        let mut alarms = Alarms::default();
        seen(&mut alarms, 0, 61, true);
        let mut again = Alarms::from_json(&alarms.to_json());
        assert_eq!(again.messages(), alarms.messages());
        assert_eq!(
            seen(&mut again, 100, 120, false),
            [110],
            "its reason is gone after the restart"
        );
        assert_eq!(Alarms::from_json(b"not JSON").messages(), []);
    }
}
