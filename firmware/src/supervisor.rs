//! The state machine: what the MCU decides, given the time and what happened. Outputs are levels that follow from the
//! state, so a missed edge cannot leave a rail or the reset line in the wrong place.
//!
//! ```text
//! Off --button--> Booting --beat--> Running --silence--> Resetting --pulse over--> Booting
//!                 Booting --limit--> Resetting                     third fruitless reset: Recovery
//! ```
//!
//! In Recovery the computer stays powered and out of reset, in its recovery slot, with a red LED: somebody can still
//! reach it, and it does not wear itself out by endless resets. A button press or a heartbeat ends it.

use link::{Command, FromSupervisor, JournalEvent, PowerState, ResetCause, ToSupervisor, VERSION};

use crate::journal::Journal;

/// Resets without a heartbeat between them before the supervisor gives up.
pub const MAX_FRUITLESS_RESETS: u8 = 3;
/// Fan duty, in percent, below which the runtime cannot go: bearings start reliably and a little air always moves.
pub const MIN_FAN_PERCENT: u8 = 20;
/// Fan duty without a healthy runtime: nobody reads temperatures then, so cool as much as possible.
pub const SAFE_FAN_PERCENT: u8 = 100;

/// How long the supervisor waits, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub boot_ms: u32,
    pub beat_ms: u32,
    pub pulse_ms: u32,
}

impl Limits {
    /// The product: kernel, file system check and engine load take up to 180 s; the runtime beats every second.
    pub const PRODUCT: Limits = Limits { boot_ms: 180_000, beat_ms: 10_000, pulse_ms: 50 };
}

/// What the computer is doing, as far as the supervisor knows. Times are uptimes in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Off,
    Booting { since_ms: u32 },
    Running { beat_ms: u32 },
    Resetting { since_ms: u32 },
    Recovery,
}

impl State {
    /// The state as it goes over the wire.
    pub fn power(self) -> PowerState {
        match self {
            State::Off => PowerState::Off,
            State::Booting { .. } => PowerState::Booting,
            State::Running { .. } => PowerState::Running,
            State::Resetting { .. } => PowerState::Resetting,
            State::Recovery => PowerState::Recovery,
        }
    }
}

/// Something the board noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Time passed; sent at least every few milliseconds.
    Tick,
    Message(ToSupervisor),
    /// A frame that was not a message.
    BadFrame,
    Button,
}

/// The front-panel light.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Led {
    Dark,
    Amber,
    Green,
    Red,
}

/// What the board's pins must be, now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outputs {
    pub power: bool,
    pub reset: bool,
    pub fan_percent: u8,
    pub led: Led,
}

/// The supervisor.
#[derive(Debug)]
pub struct Supervisor {
    limits: Limits,
    reset_cause: ResetCause,
    state: State,
    /// A `Hello` of a version we speak arrived.
    greeted: bool,
    /// Resets since the last heartbeat.
    fruitless: u8,
    resets: u32,
    bad_frames: u32,
    asked_fan_percent: u8,
    journal: Journal,
}

impl Supervisor {
    /// Mains came: the computer is powered at once.
    pub fn new(limits: Limits, reset_cause: ResetCause, now_ms: u32) -> Supervisor {
        let mut journal = Journal::default();
        journal.note(now_ms, JournalEvent::PoweredOn);
        Supervisor {
            limits,
            reset_cause,
            state: State::Booting { since_ms: now_ms },
            greeted: false,
            fruitless: 0,
            resets: 0,
            bad_frames: 0,
            asked_fan_percent: SAFE_FAN_PERCENT,
            journal,
        }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Levels that follow from the state alone.
    pub fn outputs(&self) -> Outputs {
        let (power, reset, fan_percent, led) = match self.state {
            State::Off => (false, false, 0, Led::Dark),
            State::Booting { .. } => (true, false, SAFE_FAN_PERCENT, Led::Amber),
            State::Running { .. } => (true, false, self.asked_fan_percent, Led::Green),
            State::Resetting { .. } => (true, true, SAFE_FAN_PERCENT, Led::Amber),
            State::Recovery => (true, false, SAFE_FAN_PERCENT, Led::Red),
        };
        Outputs { power, reset, fan_percent, led }
    }

    /// Takes one event at `now_ms` (uptime, wraps after 49 days) and gives the answer to a message.
    pub fn handle(&mut self, now_ms: u32, event: Event) -> Option<FromSupervisor> {
        match event {
            Event::Tick => self.tick(now_ms),
            Event::Button => self.button(now_ms),
            // Counted only: a noisy line must not flush the journal.
            Event::BadFrame => self.bad_frames = self.bad_frames.saturating_add(1),
            Event::Message(message) => return Some(self.message(now_ms, message)),
        }
        None
    }

    fn tick(&mut self, now_ms: u32) {
        let over = |since: u32, limit: u32| now_ms.wrapping_sub(since) > limit;
        match self.state {
            State::Booting { since_ms } if over(since_ms, self.limits.boot_ms) => {
                self.journal.note(now_ms, JournalEvent::BootTimedOut);
                self.fruitless_reset(now_ms);
            }
            State::Running { beat_ms } if over(beat_ms, self.limits.beat_ms) => {
                self.journal.note(now_ms, JournalEvent::HeartbeatLost);
                self.fruitless_reset(now_ms);
            }
            State::Resetting { since_ms } if over(since_ms, self.limits.pulse_ms) => {
                self.state = State::Booting { since_ms: now_ms };
            }
            _ => {}
        }
    }

    /// A reset that nobody asked for: the third without a heartbeat was the last.
    fn fruitless_reset(&mut self, now_ms: u32) {
        if self.fruitless == MAX_FRUITLESS_RESETS {
            self.journal.note(now_ms, JournalEvent::GaveUp);
            self.state = State::Recovery;
        } else {
            self.fruitless += 1;
            self.reset(now_ms);
        }
    }

    fn reset(&mut self, now_ms: u32) {
        self.resets = self.resets.saturating_add(1);
        self.greeted = false;
        self.journal.note(now_ms, JournalEvent::Reset);
        self.state = State::Resetting { since_ms: now_ms };
    }

    /// The button starts what is off or given up; it never stops a computer that works.
    fn button(&mut self, now_ms: u32) {
        self.journal.note(now_ms, JournalEvent::ButtonPressed);
        match self.state {
            State::Off => {
                self.fruitless = 0;
                self.journal.note(now_ms, JournalEvent::PoweredOn);
                self.state = State::Booting { since_ms: now_ms };
            }
            State::Recovery => {
                self.fruitless = 0;
                self.reset(now_ms);
            }
            State::Booting { .. } | State::Running { .. } | State::Resetting { .. } => {}
        }
    }

    fn message(&mut self, now_ms: u32, message: ToSupervisor) -> FromSupervisor {
        // Off or in reset, nobody sane is at the other end.
        if matches!(self.state, State::Off | State::Resetting { .. }) {
            return FromSupervisor::Refused;
        }
        match message {
            ToSupervisor::Hello { version } => {
                self.greeted = VERSION.speaks(version);
                FromSupervisor::Hello { version: VERSION, reset_cause: self.reset_cause }
            }
            _ if !self.greeted => FromSupervisor::Refused,
            ToSupervisor::Heartbeat { sequence } => {
                if !matches!(self.state, State::Running { .. }) {
                    self.journal.note(now_ms, JournalEvent::Healthy);
                }
                self.fruitless = 0;
                self.state = State::Running { beat_ms: now_ms };
                FromSupervisor::HeartbeatSeen { sequence }
            }
            ToSupervisor::GetStatus => self.status(now_ms),
            ToSupervisor::GetJournal { from } => match self.journal.first_from(from) {
                Some(e) => {
                    FromSupervisor::Journal { sequence: e.sequence, at_ms: e.at_ms, event: e.event }
                }
                None => FromSupervisor::JournalEnd { next: self.journal.next() },
            },
            ToSupervisor::Command(command) => self.command(now_ms, command),
        }
    }

    fn status(&self, now_ms: u32) -> FromSupervisor {
        FromSupervisor::Status {
            uptime_ms: now_ms,
            state: self.state.power(),
            resets: self.resets,
            bad_frames: self.bad_frames,
            fan_percent: self.outputs().fan_percent,
        }
    }

    /// Commands are the healthy runtime's: before its first heartbeat they are refused.
    fn command(&mut self, now_ms: u32, command: Command) -> FromSupervisor {
        if !matches!(self.state, State::Running { .. }) {
            return FromSupervisor::Refused;
        }
        match command {
            Command::FanDuty { percent } => {
                self.asked_fan_percent = percent.clamp(MIN_FAN_PERCENT, SAFE_FAN_PERCENT);
            }
            Command::Restart => {
                self.journal.note(now_ms, JournalEvent::RestartAsked);
                self.reset(now_ms);
            }
            Command::PowerOff => {
                self.journal.note(now_ms, JournalEvent::PoweredOff);
                self.greeted = false;
                self.state = State::Off;
            }
        }
        FromSupervisor::Done
    }
}
