//! The words of the state machine: what the computer is doing, what the board senses, what its pins must be.

use link::{PowerState, Rail};

/// How long the supervisor waits, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the release of reset to the first heartbeat.
    pub boot_ms: u64,
    /// Between two heartbeats.
    pub beat_ms: u64,
    /// How long reset is held.
    pub pulse_ms: u64,
    /// Heartbeats for so long prove that the computer works: the count of attempts begins anew.
    pub settled_ms: u64,
    /// From the start of a new image to its confirmation.
    pub trial_ms: u64,
}

impl Limits {
    /// The product: kernel, file system check and engine load take up to 180 s; the runtime beats every second; a fault
    /// that lets ten minutes pass is no reset loop; who sent an image confirms it in seconds.
    pub const PRODUCT: Limits = Limits {
        boot_ms: 180_000,
        beat_ms: 10_000,
        pulse_ms: 50,
        settled_ms: 600_000,
        trial_ms: 120_000,
    };
    /// The test bench: the same machine, in seconds. A host that tests in parallel may well stall for one.
    pub const BENCH: Limits = Limits {
        boot_ms: 6_000,
        beat_ms: 4_000,
        pulse_ms: 50,
        settled_ms: 60_000,
        trial_ms: 10_000,
    };
}

/// What the computer is doing, as far as the supervisor knows. Times are uptimes in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// `since_ms`: when what keeps it off was last true.
    Off {
        why: Why,
        since_ms: u64,
    },
    Booting {
        stage: Stage,
        since_ms: u64,
    },
    Running {
        since_ms: u64,
        beat_ms: u64,
    },
    /// Software is being replaced; nobody has to beat until the limit.
    Updating {
        until_ms: u64,
    },
    Resetting {
        since_ms: u64,
    },
    Recovery,
}

/// What keeps the computer off, and with it what turns it on again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The runtime or the button said so: the button turns it on.
    Asked,
    /// A rail failed: it is tried again after a pause.
    Rail,
    /// Too hot: it is tried again once the board is cool.
    TooHot,
    /// The supply was low: on again once it was good for a while.
    BrownOut,
}

/// How far power and reset have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waits for a rail to be good.
    Rail(Rail),
    /// Out of reset: the computer boots.
    Released,
}

impl State {
    /// The state as it goes over the wire.
    pub fn power(self) -> PowerState {
        match self {
            State::Off { .. } => PowerState::Off,
            State::Booting { .. } => PowerState::Booting,
            State::Running { .. } => PowerState::Running,
            State::Updating { .. } => PowerState::Updating,
            State::Resetting { .. } => PowerState::Resetting,
            State::Recovery => PowerState::Recovery,
        }
    }

    /// Whether both rails must be good.
    pub fn is_powered(self) -> bool {
        match self {
            State::Off { .. } | State::Booting { stage: Stage::Rail(_), .. } => false,
            State::Booting { stage: Stage::Released, .. } => true,
            State::Running { .. } | State::Updating { .. } | State::Resetting { .. } => true,
            State::Recovery => true,
        }
    }
}

/// What the pins say. Levels, not edges: a look that came late has missed nothing that still matters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Inputs {
    pub carrier_good: bool,
    pub module_good: bool,
    pub button_down: bool,
    pub door_open: bool,
    /// Tenths of a degree Celsius.
    pub board_deci_c: Option<i16>,
    pub input_mv: Option<u16>,
    pub fan_rpm: Option<u16>,
}

/// What the pins must be, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outputs {
    pub carrier: bool,
    pub module: bool,
    pub reset: bool,
    pub fan_percent: u8,
    pub led: Led,
}

/// The front-panel light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Led {
    pub colour: Colour,
    pub pattern: Pattern,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Dark,
    Amber,
    Green,
    Red,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    Steady,
    Slow,
    Fast,
}

/// Half a period of the slow pattern, in milliseconds: calm, once in two seconds.
const SLOW_MS: u64 = 1000;
/// Half a period of the fast one: alarming, and still told apart from a flicker.
const FAST_MS: u64 = 125;

impl Led {
    /// Whether the light is on at this uptime.
    pub fn is_lit(self, now_ms: u64) -> bool {
        let first_half = |half_ms: u64| (now_ms / half_ms).is_multiple_of(2);
        let phase = match self.pattern {
            Pattern::Steady => true,
            Pattern::Slow => first_half(SLOW_MS),
            Pattern::Fast => first_half(FAST_MS),
        };
        self.colour != Colour::Dark && phase
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_blink() {
        let lit = |pattern, at| Led { colour: Colour::Red, pattern }.is_lit(at);
        assert!((0..4000).all(|at| lit(Pattern::Steady, at)));
        for (pattern, half) in [(Pattern::Slow, SLOW_MS), (Pattern::Fast, FAST_MS)] {
            assert!(lit(pattern, half - 1) && !lit(pattern, half) && lit(pattern, 2 * half));
        }
        assert!(!Led { colour: Colour::Dark, pattern: Pattern::Steady }.is_lit(0));
    }
}
