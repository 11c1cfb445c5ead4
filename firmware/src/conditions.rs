//! What is not as it should be without changing the state: door, fan, temperature sensor, noise on the link. Each is told
//! when it begins, and seldom enough that a loose contact cannot flush the journal.

use crate::state::Inputs;
use link::JournalEvent;

/// The same event again at the earliest, in milliseconds: five loose contacts leave 64 entries in two hours.
pub const QUIET_MS: u64 = 600_000;
/// A level counts when it held for so long: nobody opens a door for less.
const STEADY_MS: u64 = 1_000;
/// Slower than this is a standing fan, in turns a minute; the slowest duty gives several hundred.
const STALLED_RPM: u16 = 200;
/// From still to turning, in milliseconds, with a worn bearing.
const SPIN_UP_MS: u64 = 3_000;

/// The events that may come again and again, by their place in [`Conditions::told`].
const SELDOM: [JournalEvent; 7] = [
    JournalEvent::FanStalled,
    JournalEvent::SensorLost,
    JournalEvent::DoorOpened,
    JournalEvent::DoorClosed,
    JournalEvent::LinkNoisy,
    JournalEvent::BrownOut,
    JournalEvent::SupplyBack,
];

/// A level that must hold for a while before it counts.
#[derive(Debug, Default)]
struct Steady {
    counts: bool,
    /// When the level was last the one that counts.
    agreed_ms: u64,
}

impl Steady {
    /// The new level, when it begins to count.
    fn look(&mut self, now_ms: u64, level: bool, after_ms: u64) -> Option<bool> {
        if level == self.counts {
            self.agreed_ms = now_ms;
        } else if now_ms.saturating_sub(self.agreed_ms) >= after_ms {
            self.counts = level;
            return Some(level);
        }
        None
    }
}

/// The conditions so far.
#[derive(Debug, Default)]
pub struct Conditions {
    door: Steady,
    sensor_lost: Steady,
    stalled: Steady,
    /// When each of [`SELDOM`] was last told.
    told: [Option<u64>; SELDOM.len()],
}

impl Conditions {
    /// Looks at the inputs; tells the events that begin. `turning`: the fan is driven.
    pub fn look(
        &mut self,
        now_ms: u64,
        inputs: &Inputs,
        turning: bool,
        mut tell: impl FnMut(JournalEvent),
    ) {
        let stalled = turning && inputs.fan_rpm.is_some_and(|rpm| rpm < STALLED_RPM);
        let lost = inputs.board_deci_c.is_none();
        let begun = [
            (self.door.look(now_ms, inputs.door_open, STEADY_MS))
                .map(|open| if open { JournalEvent::DoorOpened } else { JournalEvent::DoorClosed }),
            (self.sensor_lost.look(now_ms, lost, STEADY_MS))
                .and_then(|lost| lost.then_some(JournalEvent::SensorLost)),
            (self.stalled.look(now_ms, stalled, SPIN_UP_MS))
                .and_then(|stalled| stalled.then_some(JournalEvent::FanStalled)),
        ];
        for event in begun.into_iter().flatten() {
            if self.may_tell(now_ms, event) {
                tell(event);
            }
        }
    }

    /// Whether `event` was not told lately; counts as told then. Events that are no condition may always be told.
    pub fn may_tell(&mut self, now_ms: u64, event: JournalEvent) -> bool {
        let Some(at) = SELDOM.iter().position(|seldom| *seldom == event) else { return true };
        let told = &mut self.told[at];
        if told.is_some_and(|told_ms| now_ms.saturating_sub(told_ms) < QUIET_MS) {
            return false;
        }
        *told = Some(now_ms);
        true
    }

    /// Whether the fan must make up for something.
    pub fn cool_hard(&self) -> bool {
        self.stalled.counts || self.sensor_lost.counts
    }

    /// Whether somebody should look.
    pub fn any(&self) -> bool {
        self.cool_hard() || self.door.counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const FINE: Inputs = Inputs {
        carrier_good: true,
        module_good: true,
        button_down: false,
        door_open: false,
        board_deci_c: Some(400),
        input_mv: Some(12_000),
        fan_rpm: Some(2000),
    };

    fn told(for_ms: u64, inputs: impl Fn(u64) -> Inputs) -> Vec<(u64, JournalEvent)> {
        let (mut conditions, mut told) = (Conditions::default(), Vec::new());
        for ms in 0..for_ms {
            conditions.look(ms, &inputs(ms), true, |event| told.push((ms, event)));
        }
        told
    }

    #[test]
    fn each_condition_is_told_when_it_has_held() {
        let from = |ms: u64, then: Inputs| move |now| if now < ms { FINE } else { then };
        let open = Inputs { door_open: true, ..FINE };
        assert_eq!(told(3000, from(10, open)), [(1009, JournalEvent::DoorOpened)]);
        let lost = Inputs { board_deci_c: None, ..FINE };
        assert_eq!(told(3000, from(10, lost)), [(1009, JournalEvent::SensorLost)]);
        let still = Inputs { fan_rpm: Some(0), ..FINE };
        assert_eq!(told(5000, from(10, still)), [(3009, JournalEvent::FanStalled)]);
        assert_eq!(told(5000, |_| FINE), []);
    }

    #[test]
    fn a_loose_contact_does_not_flush_the_journal() {
        // Open and closed for 1.5 s each, for 20 minutes.
        let flapping = |ms: u64| Inputs { door_open: !(ms / 1500).is_multiple_of(2), ..FINE };
        assert_eq!(told(1_200_000, flapping).len(), 4);
        // Faster than a door: nothing.
        let bouncing = |ms: u64| Inputs { door_open: !(ms / 100).is_multiple_of(2), ..FINE };
        assert_eq!(told(60_000, bouncing), []);
    }

    #[test]
    fn a_fan_nobody_drives_does_not_stall() {
        let mut conditions = Conditions::default();
        let still = Inputs { fan_rpm: Some(0), ..FINE };
        for ms in 0..10_000 {
            conditions.look(ms, &still, false, |event| panic!("{event:?}"));
        }
        assert!(!conditions.any());
    }
}
