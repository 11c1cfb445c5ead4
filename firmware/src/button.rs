//! The button's level over time -> presses. A press counts when the button comes up, a hold while it is still down.

/// Shorter is a contact that bounces, in milliseconds.
const BOUNCE_MS: u64 = 30;
/// As long as people know it from computers.
pub const HOLD_MS: u64 = 5_000;

/// What somebody meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    Short,
    Held,
}

/// The button so far.
#[derive(Debug, Default)]
pub struct Button {
    down_since_ms: Option<u64>,
    /// This press was told as held already.
    told: bool,
}

impl Button {
    /// Looks at the level, and says when a press is one.
    pub fn look(&mut self, now_ms: u64, down: bool) -> Option<Press> {
        match (self.down_since_ms, down) {
            (None, true) => {
                (self.down_since_ms, self.told) = (Some(now_ms), false);
                None
            }
            (Some(since), true) => {
                let held = !self.told && now_ms.saturating_sub(since) >= HOLD_MS;
                self.told |= held;
                held.then_some(Press::Held)
            }
            (Some(since), false) => {
                self.down_since_ms = None;
                let pressed = !self.told && now_ms.saturating_sub(since) >= BOUNCE_MS;
                pressed.then_some(Press::Short)
            }
            (None, false) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a press of `for_ms` gives, and when it is told.
    fn press(for_ms: u64) -> Option<(u64, Press)> {
        let mut button = Button::default();
        let mut told = (0..20_000).filter_map(|ms| Some((ms, button.look(ms, ms < for_ms)?)));
        let first = told.next();
        assert_eq!(told.next(), None, "told twice");
        first
    }

    #[test]
    fn presses_are_told_by_their_length() {
        assert_eq!(press(0), None);
        assert_eq!(press(BOUNCE_MS - 1), None);
        assert_eq!(press(BOUNCE_MS), Some((BOUNCE_MS, Press::Short)));
        assert_eq!(press(HOLD_MS), Some((HOLD_MS, Press::Short)), "the last moment");
        assert_eq!(press(HOLD_MS + 1), Some((HOLD_MS, Press::Held)));
        assert_eq!(press(15_000), Some((HOLD_MS, Press::Held)));
    }
}
