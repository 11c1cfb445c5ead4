//! What the two ends say. The order of variants and fields is the byte format (postcard): append only.

use crate::update::{ImageRefusal, ImageRequest, ImageStatus};
use serde::{Deserialize, Serialize};

/// Version of the messages below.
pub const VERSION: Version = Version { major: 1, minor: 2 };

/// Ends with different `major` do not understand each other and exchange `Hello` only; a higher `minor` has more
/// messages at the end of the enums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub major: u8,
    pub minor: u8,
}

impl Version {
    /// Whether an end of this version may talk to one of `other`.
    pub fn speaks(self, other: Version) -> bool {
        self.major == other.major
    }
}

/// Runtime to supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToSupervisor {
    /// First message after opening the port; answered by [`FromSupervisor::Hello`].
    Hello {
        version: Version,
    },
    /// The runtime is *healthy* (ingest, jobs and outbox made progress), not merely alive.
    Heartbeat {
        sequence: u32,
    },
    GetStatus,
    /// Asks for the oldest journal entry whose sequence is at least `from`.
    /// Answered with events of version 1.0 only; an end of 1.1 asks for entries.
    GetJournal {
        from: u32,
    },
    Command(Command),
    /// Since 1.1.
    GetClock,
    /// Since 1.1.
    GetSensors,
    /// Since 1.1: asks for the oldest entry of the journal whose sequence is at least `from`, whatever its event.
    GetEntry {
        from: u32,
    },
    /// Since 1.2: about the supervisor's own image.
    Image(ImageRequest),
}

/// What the runtime may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Fan duty in percent; the supervisor keeps it within its own limits.
    FanDuty { percent: u8 },
    /// Reset the computer now, for example after an update.
    Restart,
    /// The computer has shut down and may lose power.
    PowerOff,
    /// Since 1.1: software is being replaced and nobody beats for at most so long.
    BeginUpdate { seconds: u16 },
    /// Since 1.1: beats come again.
    EndUpdate,
}

/// Supervisor to runtime; each is the answer to one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromSupervisor {
    Hello {
        version: Version,
        reset_cause: ResetCause,
    },
    HeartbeatSeen {
        sequence: u32,
    },
    Status {
        uptime_ms: u32,
        state: PowerState,
        resets: u32,
        bad_frames: u32,
        fan_percent: u8,
    },
    Journal {
        sequence: u32,
        at_ms: u32,
        event: JournalEvent,
    },
    /// No entry is left; the next one will have sequence `next`.
    JournalEnd {
        next: u32,
    },
    /// The command was carried out.
    Done,
    /// The message is not allowed in this state, or came before a `Hello` of a known version.
    Refused,
    /// Since 1.1: the supervisor's time, by which the other end dates entries of the same run.
    Clock {
        run: u32,
        uptime_ms: u64,
    },
    /// Since 1.1.
    Sensors(Sensors),
    /// Since 1.1: an entry of the journal. `at_ms` is the uptime in `run`, the count of the supervisor's own starts.
    Entry {
        sequence: u32,
        run: u32,
        at_ms: u64,
        event: JournalEvent,
    },
    /// Since 1.2: answers [`ImageRequest::Status`], [`ImageRequest::Finish`] and [`ImageRequest::Confirm`].
    Image(ImageStatus),
    /// Since 1.2: answers [`ImageRequest::Begin`] and [`ImageRequest::Chunk`]: every byte of the image before `offset` is kept.
    ImageNext {
        offset: u32,
    },
    /// Since 1.2: the request about the image was not carried out.
    ImageRefused {
        why: ImageRefusal,
    },
}

/// What the supervisor measures; `None` where a sensor does not answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sensors {
    /// Tenths of a degree Celsius, on the board beside the computer's module.
    pub board_deci_c: Option<i16>,
    /// Supply of the appliance in millivolts.
    pub input_mv: Option<u16>,
    pub fan_rpm: Option<u16>,
    pub door_open: bool,
}

/// The supervisor's state, without its timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerState {
    Off,
    Booting,
    Running,
    Resetting,
    Recovery,
    /// Since 1.1; an end of 1.0 hears `Running`.
    Updating,
}

/// Why the supervisor itself started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetCause {
    PowerOn,
    Watchdog,
    BrownOut,
    Software,
}

/// One entry of the supervisor's journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JournalEvent {
    PoweredOn,
    PoweredOff,
    /// First heartbeat after a boot.
    Healthy,
    HeartbeatLost,
    BootTimedOut,
    Reset,
    RestartAsked,
    /// Too many resets without a heartbeat: the computer is left alone in its recovery slot.
    GaveUp,
    ButtonPressed,
    /// Since 1.1, as all below: the supervisor itself started; entries after it have another run.
    Started {
        cause: ResetCause,
    },
    UpdateBegan,
    UpdateEnded,
    /// The update took longer than announced; beats are due again.
    UpdateTimedOut,
    /// Held down: the power was cut.
    ButtonHeld,
    /// A rail did not come up in time, or broke down.
    RailFailed {
        rail: Rail,
    },
    /// The board was too hot: the power was cut.
    TooHot,
    Cooled,
    /// The supply was too low: the power was cut.
    BrownOut,
    SupplyBack,
    FanStalled,
    /// The temperature cannot be read: the fan turns at its fastest.
    SensorLost,
    DoorOpened,
    DoorClosed,
    /// Frames came that were no messages.
    LinkNoisy,
}

impl JournalEvent {
    /// Whether an end of version 1.0 can read it.
    pub fn is_of_1_0(self) -> bool {
        use JournalEvent::{
            BootTimedOut, ButtonPressed, GaveUp, Healthy, HeartbeatLost, PoweredOff, PoweredOn,
            Reset, RestartAsked,
        };
        let first = [PoweredOn, PoweredOff, Healthy, HeartbeatLost, BootTimedOut];
        let second = [Reset, RestartAsked, GaveUp, ButtonPressed];
        first.contains(&self) || second.contains(&self)
    }
}

/// A supply the supervisor switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rail {
    /// Carrier board, 5 V.
    Carrier,
    /// The computer's module.
    Module,
}
