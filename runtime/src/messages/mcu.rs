//! The messages about the supervisor MCU: how the link stands, and its journal.
//!
//! Their words are ours and stay when the link gets others: every word of the link is translated here.

use super::Timestamp;
use crate::health::Part;
use link::{JournalEvent, PowerState, Rail, ResetCause};
use serde::Serialize;

/// How the link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// The supervisor answers.
    Up,
    /// The port is there, nobody answers.
    Silent,
    /// The port cannot be opened, or broke.
    NoPort,
    /// The supervisor speaks another major version: nothing is said but hello.
    OtherVersion,
}

/// What the supervisor thinks the computer is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum McuPower {
    Off,
    Booting,
    Running,
    Updating,
    Resetting,
    Recovery,
}

impl From<PowerState> for McuPower {
    fn from(state: PowerState) -> McuPower {
        match state {
            PowerState::Off => McuPower::Off,
            PowerState::Booting => McuPower::Booting,
            PowerState::Running => McuPower::Running,
            PowerState::Updating => McuPower::Updating,
            PowerState::Resetting => McuPower::Resetting,
            PowerState::Recovery => McuPower::Recovery,
        }
    }
}

/// Payload of `mcu/link`. What is not known is null.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct McuLink {
    pub link: LinkState,
    /// Which part of the service makes no progress; heartbeats are held back meanwhile. Null: all is well.
    pub stuck: Option<Part>,
    pub power: Option<McuPower>,
    pub fan_percent: Option<u8>,
    pub fan_rpm: Option<u16>,
    /// The carrier board.
    pub board_c: Option<f64>,
    /// The hottest zone of the computer's module.
    pub module_c: Option<f64>,
    pub supply_mv: Option<u16>,
    pub door_open: Option<bool>,
    /// Resets of the computer since the supervisor started.
    pub resets: Option<u32>,
    /// Frames the supervisor could not read, since it started.
    pub bad_frames_there: Option<u32>,
    /// Frames we could not read, since the service started.
    pub bad_frames_here: u32,
    /// Messages that stayed without an answer, since the service started.
    pub unanswered: u32,
    /// Question to answer, over the last hundred.
    pub round_trip_p50_ms: Option<f64>,
    pub round_trip_p99_ms: Option<f64>,
}

/// Why the supervisor itself started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum McuCause {
    PowerOn,
    Watchdog,
    BrownOut,
    Software,
}

impl From<ResetCause> for McuCause {
    fn from(cause: ResetCause) -> McuCause {
        match cause {
            ResetCause::PowerOn => McuCause::PowerOn,
            ResetCause::Watchdog => McuCause::Watchdog,
            ResetCause::BrownOut => McuCause::BrownOut,
            ResetCause::Software => McuCause::Software,
        }
    }
}

/// A supply that the supervisor switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum McuRail {
    Carrier,
    Module,
}

impl From<Rail> for McuRail {
    fn from(rail: Rail) -> McuRail {
        match rail {
            Rail::Carrier => McuRail::Carrier,
            Rail::Module => McuRail::Module,
        }
    }
}

/// What the journal tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum McuEvent {
    PoweredOn,
    PoweredOff,
    Healthy,
    HeartbeatLost,
    BootTimedOut,
    Reset,
    RestartAsked,
    GaveUp,
    ButtonPressed,
    ButtonHeld,
    Started { cause: McuCause },
    UpdateBegan,
    UpdateEnded,
    UpdateTimedOut,
    RailFailed { rail: McuRail },
    TooHot,
    Cooled,
    BrownOut,
    SupplyBack,
    FanStalled,
    SensorLost,
    DoorOpened,
    DoorClosed,
    LinkNoisy,
}

impl From<JournalEvent> for McuEvent {
    fn from(event: JournalEvent) -> McuEvent {
        match event {
            JournalEvent::PoweredOn => McuEvent::PoweredOn,
            JournalEvent::PoweredOff => McuEvent::PoweredOff,
            JournalEvent::Healthy => McuEvent::Healthy,
            JournalEvent::HeartbeatLost => McuEvent::HeartbeatLost,
            JournalEvent::BootTimedOut => McuEvent::BootTimedOut,
            JournalEvent::Reset => McuEvent::Reset,
            JournalEvent::RestartAsked => McuEvent::RestartAsked,
            JournalEvent::GaveUp => McuEvent::GaveUp,
            JournalEvent::ButtonPressed => McuEvent::ButtonPressed,
            JournalEvent::ButtonHeld => McuEvent::ButtonHeld,
            JournalEvent::Started { cause } => McuEvent::Started { cause: cause.into() },
            JournalEvent::UpdateBegan => McuEvent::UpdateBegan,
            JournalEvent::UpdateEnded => McuEvent::UpdateEnded,
            JournalEvent::UpdateTimedOut => McuEvent::UpdateTimedOut,
            JournalEvent::RailFailed { rail } => McuEvent::RailFailed { rail: rail.into() },
            JournalEvent::TooHot => McuEvent::TooHot,
            JournalEvent::Cooled => McuEvent::Cooled,
            JournalEvent::BrownOut => McuEvent::BrownOut,
            JournalEvent::SupplyBack => McuEvent::SupplyBack,
            JournalEvent::FanStalled => McuEvent::FanStalled,
            JournalEvent::SensorLost => McuEvent::SensorLost,
            JournalEvent::DoorOpened => McuEvent::DoorOpened,
            JournalEvent::DoorClosed => McuEvent::DoorClosed,
            JournalEvent::LinkNoisy => McuEvent::LinkNoisy,
        }
    }
}

/// Payload of `mcu/journal`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct McuEntry {
    /// Counts up by one an entry: a gap tells how many were lost.
    pub entry: u32,
    /// Counts the starts of the supervisor.
    pub run: u32,
    /// Since that start.
    pub uptime_ms: u64,
    /// The same by our clock; null for a run that this service has not met.
    pub at: Option<Timestamp>,
    #[serde(flatten)]
    pub event: McuEvent,
}
