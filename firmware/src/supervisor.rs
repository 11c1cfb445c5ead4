//! The state machine: what the MCU decides, given the time and what happened. Outputs are levels that follow from what
//! is known, so a missed edge cannot leave a rail or the reset line in the wrong place.
//!
//! ```text
//! Off --button, cause gone--> Booting --beat--> Running --silence--> Resetting --pulse over--> Booting
//!                 Booting --limit--> Resetting     |  ^                 after three attempts: Recovery
//!                                      BeginUpdate v  | EndUpdate, limit
//!                                               Updating
//! any --hold, PowerOff, rail, heat, low supply--> Off
//! ```
//!
//! Resets and returns of the power are attempts. After [`MAX_ATTEMPTS`] there is no other until the computer has beaten
//! for [`Limits::settled_ms`] or somebody pressed the button: a computer that hangs is then in Recovery, one with a failing
//! rail or too much heat stays off. In Recovery it is powered and out of reset, in its recovery slot, with a red LED:
//! somebody can still reach it, and it does not wear itself out. A button press or a heartbeat ends it.

use link::{Command, FromSupervisor, JournalEvent, Rail, ResetCause, ToSupervisor};

use crate::button::{Button, Press};
use crate::conditions::Conditions;
use crate::fan::{MIN_FAN_PERCENT, SAFE_FAN_PERCENT, curve};
use crate::journal::Journal;
use crate::retained::{Retained, Standing};
use crate::state::{Colour, Inputs, Led, Limits, Outputs, Pattern, Stage, State, Why};

mod answer;

/// Resets and returns of the power without proof that they helped, before the supervisor gives up.
pub const MAX_ATTEMPTS: u8 = 3;
/// Longest update anybody may announce, in milliseconds: writing a slot of the NVMe takes minutes.
pub const MAX_UPDATE_MS: u64 = 1_800_000;
/// A rail is good within this, in milliseconds, or it never is: converters take less than ten.
const RAIL_MS: u64 = 200;
/// A rail may be reported bad for so long, in milliseconds: the comparator sees load steps.
const RAIL_GLITCH_MS: u64 = 20;
/// Before a failed rail is tried again, in milliseconds: its capacitors are empty then.
const RAIL_PAUSE_MS: u64 = 2_000;
/// The power is cut at this temperature of the board, in tenths of a degree: parts are specified to 105 degrees.
const TOO_HOT_DECI_C: i16 = 950;
/// And comes back below this one.
const COOLED_DECI_C: i16 = 700;
/// A board that is off is still cooled above this one: the heat of the module comes out for minutes.
const AFTER_RUN_DECI_C: i16 = 600;
/// Supply, in millivolts, below which the module's converters leave their range (12 V nominal, 9 V least).
const BROWN_OUT_MV: u16 = 9_500;
/// A supply that came back has some reserve.
const SUPPLY_GOOD_MV: u16 = 10_500;
/// And keeps it for so long, in milliseconds: mains that come back often go again at once.
const SUPPLY_HOLD_MS: u64 = 5_000;

/// Something the board noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Time passed, and this is what the pins say; sent at least every few milliseconds.
    Tick(Inputs),
    Message(ToSupervisor),
    /// A frame that was not a message.
    BadFrame,
}

/// The supervisor.
#[derive(Debug)]
pub struct Supervisor<'a> {
    limits: Limits,
    reset_cause: ResetCause,
    state: State,
    /// Uptime in milliseconds; the board's counter wraps, this does not.
    now_ms: u64,
    inputs: Inputs,
    /// When all rails that must be good last were.
    rails_ms: u64,
    button: Button,
    conditions: Conditions,
    /// The minor version of the runtime that greeted us, if one did.
    greeted: Option<u8>,
    /// The number of the last heartbeat.
    beat: Option<u32>,
    attempts: u8,
    resets: u32,
    bad_frames: u32,
    asked_fan_percent: u8,
    journal: Journal<'a>,
}

impl<'a> Supervisor<'a> {
    /// Starts. `now_ms` is the board's counter, whose beginning is uptime 0. A supervisor that only lost itself leaves
    /// the computer as it stands: the board holds its pins over such a reset.
    pub fn new(
        limits: Limits,
        reset_cause: ResetCause,
        now_ms: u32,
        retained: &'a mut Retained,
    ) -> Supervisor<'a> {
        let now_ms = u64::from(now_ms);
        let standing = retained.standing();
        let mut supervisor = Supervisor {
            limits,
            reset_cause,
            state: State::Off { why: Why::Asked, since_ms: now_ms },
            now_ms,
            inputs: Inputs::default(),
            rails_ms: now_ms,
            button: Button::default(),
            conditions: Conditions::default(),
            greeted: None,
            beat: None,
            attempts: 0,
            resets: 0,
            bad_frames: 0,
            asked_fan_percent: SAFE_FAN_PERCENT,
            journal: Journal::open(retained),
        };
        supervisor.note(JournalEvent::Started { cause: reset_cause });
        match (reset_cause, standing) {
            (ResetCause::Watchdog | ResetCause::Software, Some(standing)) => {
                supervisor.take_up(standing);
            }
            (ResetCause::BrownOut, _) => {
                supervisor.state = State::Off { why: Why::BrownOut, since_ms: now_ms };
            }
            // Mains came: the computer is powered at once.
            _ => supervisor.power_on(),
        }
        supervisor.keep_standing();
        supervisor
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn journal(&self) -> &Journal<'a> {
        &self.journal
    }

    /// Uptime in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub fn outputs(&self) -> Outputs {
        let (carrier, module) = match self.state {
            State::Off { .. } => (false, false),
            State::Booting { stage: Stage::Rail(Rail::Carrier), .. } => (true, false),
            _ => (true, true),
        };
        let released = match self.state {
            State::Booting { stage, .. } => stage == Stage::Released,
            State::Off { .. } | State::Resetting { .. } => false,
            _ => true,
        };
        Outputs { carrier, module, reset: !released, fan_percent: self.fan(), led: self.led() }
    }

    fn fan(&self) -> u8 {
        let hot = |limit| self.inputs.board_deci_c.is_some_and(|board| board >= limit);
        match self.state {
            State::Off { .. } if hot(AFTER_RUN_DECI_C) => SAFE_FAN_PERCENT,
            State::Off { .. } => 0,
            State::Running { .. } if !self.conditions.cool_hard() => {
                self.asked_fan_percent.max(curve(self.inputs.board_deci_c))
            }
            // Nobody healthy reads the computer's temperatures.
            _ => SAFE_FAN_PERCENT,
        }
    }

    fn led(&self) -> Led {
        let waits = self.attempts < MAX_ATTEMPTS;
        let (colour, pattern) = match self.state {
            State::Off { why: Why::Asked, .. } => (Colour::Dark, Pattern::Steady),
            State::Off { why: Why::BrownOut, .. } => (Colour::Red, Pattern::Slow),
            State::Off { .. } if waits => (Colour::Red, Pattern::Slow),
            State::Off { .. } => (Colour::Red, Pattern::Fast),
            State::Booting { .. } => (Colour::Amber, Pattern::Slow),
            State::Running { .. } if self.conditions.any() => (Colour::Green, Pattern::Slow),
            State::Running { .. } => (Colour::Green, Pattern::Steady),
            State::Updating { .. } => (Colour::Amber, Pattern::Fast),
            State::Resetting { .. } => (Colour::Amber, Pattern::Steady),
            State::Recovery => (Colour::Red, Pattern::Steady),
        };
        Led { colour, pattern }
    }

    /// Takes one event at `now_ms` (the board's counter, which may wrap) and gives the answer to a message.
    pub fn handle(&mut self, now_ms: u32, event: Event) -> Option<FromSupervisor> {
        // The low half of the uptime is the counter: the difference of two looks is right over a wrap.
        self.now_ms += u64::from(now_ms.wrapping_sub(self.now_ms as u32));
        match event {
            Event::Tick(inputs) => self.tick(inputs),
            Event::BadFrame => {
                // Counted; noted seldom: a noisy line must not flush the journal.
                self.bad_frames = self.bad_frames.saturating_add(1);
                self.note(JournalEvent::LinkNoisy);
            }
            Event::Message(message) => return Some(self.message(message)),
        }
        None
    }

    fn tick(&mut self, inputs: Inputs) {
        let now_ms = self.now_ms;
        self.inputs = inputs;
        let (driven, journal) = (self.fan() > 0, &mut self.journal);
        self.conditions.look(now_ms, &inputs, driven, |event| journal.note(now_ms, event));
        if inputs.carrier_good && inputs.module_good || !self.state.is_powered() {
            self.rails_ms = now_ms;
        }
        match self.button.look(now_ms, inputs.button_down) {
            Some(Press::Short) => self.pressed(),
            Some(Press::Held) => self.held(),
            None => {}
        }
        if self.is_supply_low() && !matches!(self.state, State::Off { .. }) {
            self.note(JournalEvent::BrownOut);
            self.power_down(Why::BrownOut);
        } else if self.is_too_hot() && !matches!(self.state, State::Off { .. }) {
            self.note(JournalEvent::TooHot);
            self.power_down(Why::TooHot);
        } else if self.is_over(self.rails_ms, RAIL_GLITCH_MS) {
            let rail = if inputs.carrier_good { Rail::Module } else { Rail::Carrier };
            self.rail_failed(rail);
        }
        self.advance();
    }

    /// What is due by the time.
    fn advance(&mut self) {
        let now_ms = self.now_ms;
        match self.state {
            State::Off { why, since_ms } => self.wait_for_the_cause_to_go(why, since_ms),
            State::Booting { stage: Stage::Rail(rail), since_ms } => self.sequence(rail, since_ms),
            State::Booting { stage: Stage::Released, since_ms }
                if self.is_over(since_ms, self.limits.boot_ms) =>
            {
                self.note(JournalEvent::BootTimedOut);
                self.fruitless();
            }
            State::Running { beat_ms, .. } if self.is_over(beat_ms, self.limits.beat_ms) => {
                self.note(JournalEvent::HeartbeatLost);
                self.fruitless();
            }
            State::Updating { until_ms } if now_ms > until_ms => {
                self.note(JournalEvent::UpdateTimedOut);
                self.state = State::Running { since_ms: now_ms, beat_ms: now_ms };
            }
            State::Resetting { since_ms } if self.is_over(since_ms, self.limits.pulse_ms) => {
                self.state = State::Booting { stage: Stage::Released, since_ms: now_ms };
            }
            _ => {}
        }
    }

    /// One rail after the other, then reset is released.
    fn sequence(&mut self, rail: Rail, since_ms: u64) {
        let (good, next) = match rail {
            Rail::Carrier => (self.inputs.carrier_good, Stage::Rail(Rail::Module)),
            Rail::Module => (self.inputs.carrier_good && self.inputs.module_good, Stage::Released),
        };
        if good {
            self.state = State::Booting { stage: next, since_ms: self.now_ms };
        } else if self.is_over(since_ms, RAIL_MS) {
            self.rail_failed(rail);
        }
    }

    fn wait_for_the_cause_to_go(&mut self, why: Why, since_ms: u64) {
        let fit = !self.is_supply_low() && !self.is_too_hot();
        let attempt = fit && self.attempts < MAX_ATTEMPTS;
        match why {
            Why::Asked => {}
            Why::Rail if attempt && self.is_over(since_ms, RAIL_PAUSE_MS) => self.attempt_power(),
            Why::TooHot if attempt && self.is_cool() => {
                self.note(JournalEvent::Cooled);
                self.attempt_power();
            }
            Why::BrownOut if !self.is_supply_good() => {
                self.state = State::Off { why, since_ms: self.now_ms };
            }
            // Mains that came back are no attempt of ours.
            Why::BrownOut if fit && self.is_over(since_ms, SUPPLY_HOLD_MS) => {
                self.note(JournalEvent::SupplyBack);
                self.power_on();
            }
            Why::Rail | Why::TooHot | Why::BrownOut => {}
        }
    }

    /// After a reset of the supervisor alone.
    fn take_up(&mut self, standing: Standing) {
        self.attempts = standing.attempts;
        if standing.powered {
            self.state = State::Booting { stage: Stage::Released, since_ms: self.now_ms };
        }
    }

    fn attempt_power(&mut self) {
        self.attempts += 1;
        self.power_on();
    }

    fn power_on(&mut self) {
        self.note(JournalEvent::PoweredOn);
        self.state = State::Booting { stage: Stage::Rail(Rail::Carrier), since_ms: self.now_ms };
        self.keep_standing();
    }

    fn power_down(&mut self, why: Why) {
        self.note(JournalEvent::PoweredOff);
        self.state = State::Off { why, since_ms: self.now_ms };
        self.forget_the_runtime();
        self.keep_standing();
    }

    fn rail_failed(&mut self, rail: Rail) {
        self.note(JournalEvent::RailFailed { rail });
        self.power_down(Why::Rail);
    }

    /// A reset that nobody asked for: once the attempts are used up, the computer is left alone.
    fn fruitless(&mut self) {
        if self.attempts < MAX_ATTEMPTS {
            self.reset();
        } else {
            self.note(JournalEvent::GaveUp);
            self.state = State::Recovery;
        }
    }

    fn reset(&mut self) {
        self.attempts += 1;
        self.resets = self.resets.saturating_add(1);
        self.note(JournalEvent::Reset);
        self.state = State::Resetting { since_ms: self.now_ms };
        self.forget_the_runtime();
        self.keep_standing();
    }

    /// What was agreed with a runtime that is gone.
    fn forget_the_runtime(&mut self) {
        self.greeted = None;
        self.beat = None;
        self.asked_fan_percent = SAFE_FAN_PERCENT;
    }

    /// A press starts what is off or given up; it never stops a computer that works.
    fn pressed(&mut self) {
        self.note(JournalEvent::ButtonPressed);
        match self.state {
            State::Off { .. } if !self.is_supply_low() && !self.is_too_hot() => {
                self.attempts = 0;
                self.power_on();
            }
            State::Recovery => {
                self.attempts = 0;
                self.reset();
            }
            _ => {}
        }
    }

    /// A hold cuts the power, whatever the computer does.
    fn held(&mut self) {
        if !matches!(self.state, State::Off { why: Why::Asked, .. }) {
            self.note(JournalEvent::ButtonHeld);
            self.power_down(Why::Asked);
        }
    }

    /// A heartbeat. One with the number of the last is an echo or a stuck buffer, and proves nothing.
    fn beat(&mut self, sequence: u32) -> FromSupervisor {
        let now_ms = self.now_ms;
        let fresh = self.beat.replace(sequence) != Some(sequence);
        match &mut self.state {
            State::Running { beat_ms, since_ms } if fresh => {
                *beat_ms = now_ms;
                if now_ms.saturating_sub(*since_ms) >= self.limits.settled_ms && self.attempts > 0 {
                    self.attempts = 0;
                    self.keep_standing();
                }
            }
            State::Booting { .. } | State::Recovery => {
                self.note(JournalEvent::Healthy);
                self.state = State::Running { since_ms: now_ms, beat_ms: now_ms };
            }
            _ => {}
        }
        FromSupervisor::HeartbeatSeen { sequence }
    }

    /// Commands are the healthy runtime's: before its first heartbeat they are refused.
    fn command(&mut self, command: Command) -> FromSupervisor {
        if !matches!(self.state, State::Running { .. } | State::Updating { .. }) {
            return FromSupervisor::Refused;
        }
        let now_ms = self.now_ms;
        match (command, self.state) {
            (Command::FanDuty { percent }, _) => {
                self.asked_fan_percent = percent.clamp(MIN_FAN_PERCENT, SAFE_FAN_PERCENT);
            }
            // A runtime that restarts again and again is a reset loop like any other.
            (Command::Restart, _) if self.attempts >= MAX_ATTEMPTS => {
                return FromSupervisor::Refused;
            }
            (Command::Restart, _) => {
                self.note(JournalEvent::RestartAsked);
                self.reset();
            }
            (Command::PowerOff, _) => self.power_down(Why::Asked),
            // Said again: the first limit holds.
            (Command::BeginUpdate { .. }, State::Updating { .. }) => {}
            (Command::BeginUpdate { seconds }, _) => {
                self.note(JournalEvent::UpdateBegan);
                let length_ms = (u64::from(seconds) * 1000).min(MAX_UPDATE_MS);
                self.state = State::Updating { until_ms: now_ms + length_ms };
            }
            (Command::EndUpdate, State::Updating { .. }) => {
                self.note(JournalEvent::UpdateEnded);
                self.state = State::Running { since_ms: now_ms, beat_ms: now_ms };
            }
            (Command::EndUpdate, _) => {}
        }
        FromSupervisor::Done
    }

    fn note(&mut self, event: JournalEvent) {
        if self.conditions.may_tell(self.now_ms, event) {
            self.journal.note(self.now_ms, event);
        }
    }

    fn keep_standing(&mut self) {
        let powered = !matches!(self.state, State::Off { .. });
        let standing = Standing { powered, attempts: self.attempts };
        self.journal.retained().keep_standing(standing);
    }

    fn is_over(&self, since_ms: u64, limit_ms: u64) -> bool {
        self.now_ms.saturating_sub(since_ms) > limit_ms
    }

    fn is_too_hot(&self) -> bool {
        self.inputs.board_deci_c.is_some_and(|board| board >= TOO_HOT_DECI_C)
    }

    /// A sensor that was lost after the power was cut lets nothing hot come back.
    fn is_cool(&self) -> bool {
        self.inputs.board_deci_c.is_some_and(|board| board < COOLED_DECI_C)
    }

    fn is_supply_low(&self) -> bool {
        self.inputs.input_mv.is_some_and(|supply| supply < BROWN_OUT_MV)
    }

    /// A supply that nobody measures is good: the rails have monitors of their own.
    fn is_supply_good(&self) -> bool {
        self.inputs.input_mv.is_none_or(|supply| supply >= SUPPLY_GOOD_MV)
    }
}
