//! The exact bytes of every message of version 1. Never edited: a device in the field may speak them for ten years.
//! A new message is a new line; a changed one is a new major version with its own file.

use link::Command::{FanDuty, PowerOff, Restart};
use link::FromSupervisor::{Done, HeartbeatSeen, Journal, JournalEnd, Refused, Status};
use link::ToSupervisor::{Command, GetJournal, GetStatus, Heartbeat};
use link::{
    FromSupervisor, JournalEvent, PowerState, Reader, ResetCause, ToSupervisor, Version, encode,
};

const V1: Version = Version { major: 1, minor: 0 };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn frozen<T>(cases: &[(T, &str)])
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    for (message, golden) in cases {
        let frame = encode(message).expect("every message fits a frame");
        assert_eq!(hex(frame.as_bytes()), *golden, "{message:?}");
        let mut reader = Reader::default();
        let read: Vec<_> = frame.as_bytes().iter().filter_map(|&b| reader.push::<T>(b)).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].as_ref(), Ok(message));
    }
}

#[test]
fn to_supervisor() {
    frozen(&[
        (ToSupervisor::Hello { version: V1 }, "010201050d3bc67300"),
        (Heartbeat { sequence: 0 }, "020105a5efc3e200"),
        (Heartbeat { sequence: 0x0102_0304 }, "0a01848688088f0179e200"),
        (GetStatus, "0602a62346b300"),
        (GetJournal { from: 300 }, "0803ac0261a8a73c00"),
        (Command(FanDuty { percent: 55 }), "020406373a2a931a00"),
        (Command(Restart), "0704010d95804d00"),
        (Command(PowerOff), "070402f966d05e00"),
    ]);
}

#[test]
fn from_supervisor() {
    frozen(&[
        (
            FromSupervisor::Hello { version: V1, reset_cause: ResetCause::PowerOn },
            "0102010105b9d926ed00",
        ),
        (
            FromSupervisor::Hello { version: V1, reset_cause: ResetCause::Watchdog },
            "0102010601ba5a4d1f00",
        ),
        (
            FromSupervisor::Hello { version: V1, reset_cause: ResetCause::BrownOut },
            "01020106024ea91d0c00",
        ),
        (
            FromSupervisor::Hello { version: V1, reset_cause: ResetCause::Software },
            "01020106034d2a76fe00",
        ),
        (HeartbeatSeen { sequence: 255 }, "0801ff018496ad9400"),
        (status(PowerState::Off), "060280dddb010202061eeb89dbbf00"),
        (status(PowerState::Booting), "080280dddb010102061e53239e6200"),
        (status(PowerState::Running), "080280dddb010202051e6aaabc0100"),
        (status(PowerState::Resetting), "080280dddb010302031ed203f9dd00"),
        (status(PowerState::Recovery), "080280dddb010402061e18b8f9c400"),
        (journal(JournalEvent::PoweredOn), "06030bc0a907054473da9a00"),
        (journal(JournalEvent::PoweredOff), "0b030bc0a9070147f0b16800"),
        (journal(JournalEvent::Healthy), "0b030bc0a90702b303e17b00"),
        (journal(JournalEvent::HeartbeatLost), "0b030bc0a90703b0808a8900"),
        (journal(JournalEvent::BootTimedOut), "0b030bc0a907045be4405d00"),
        (journal(JournalEvent::Reset), "0b030bc0a9070558672baf00"),
        (journal(JournalEvent::RestartAsked), "0b030bc0a90706ac947bbc00"),
        (journal(JournalEvent::GaveUp), "0b030bc0a90707af17104e00"),
        (journal(JournalEvent::ButtonPressed), "0b030bc0a907088b2b031000"),
        (JournalEnd { next: 12 }, "07040cded9a8f200"),
        (Done, "06054d478c6700"),
        (Refused, "0606b9b4dc7400"),
    ]);
}

fn status(state: PowerState) -> FromSupervisor {
    Status { uptime_ms: 3_600_000, state, resets: 2, bad_frames: 0, fan_percent: 30 }
}

fn journal(event: JournalEvent) -> FromSupervisor {
    Journal { sequence: 11, at_ms: 120_000, event }
}
