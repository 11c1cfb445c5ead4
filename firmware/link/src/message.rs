//! What the two ends say. The order of variants and fields is the byte format (postcard): append only.

use serde::{Deserialize, Serialize};

/// Version of the messages below.
pub const VERSION: Version = Version { major: 1, minor: 0 };

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
    GetJournal {
        from: u32,
    },
    Command(Command),
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
}

/// The supervisor's state, without its timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerState {
    Off,
    Booting,
    Running,
    Resetting,
    Recovery,
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
}
