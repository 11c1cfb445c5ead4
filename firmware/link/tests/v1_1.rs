//! The exact bytes of every message that version 1.1 appended. Never edited, as `v1.rs`.

mod frozen;

use frozen::frozen;
use link::Command::{BeginUpdate, EndUpdate};
use link::FromSupervisor::{Clock, Entry, Status};
use link::ToSupervisor::{Command, GetClock, GetEntry, GetSensors};
use link::{
    FromSupervisor, JournalEvent, PowerState, Rail, ResetCause, Sensors, ToSupervisor, Version,
};

#[test]
fn to_supervisor() {
    frozen(&[
        (ToSupervisor::Hello { version: Version { major: 1, minor: 1 } }, "010701010eb8ad8100"),
        (GetClock, "06054d478c6700"),
        (GetSensors, "0606b9b4dc7400"),
        (GetEntry { from: 300 }, "0807ac027b0c79a200"),
        (Command(BeginUpdate { seconds: 900 }), "09040384078945e8b800"),
        (Command(EndUpdate), "0704041181717800"),
    ]);
}

#[test]
fn from_supervisor() {
    let all = Sensors {
        board_deci_c: Some(-55),
        input_mv: Some(12_000),
        fan_rpm: Some(2_400),
        door_open: true,
    };
    frozen(&[
        (Clock { run: 3, uptime_ms: 0x0001_0000_0001 }, "0c070381808080102428cef600"),
        (FromSupervisor::Sensors(Sensors::default()), "020801010105a47d158000"),
        (FromSupervisor::Sensors(all), "0f08016d01e05d01e01201c47b30ac00"),
        (updating(), "080280dddb0105020664956ec60300"),
        (entry(JournalEvent::PoweredOn), "07090b02c0a907051ac890cd00"),
        (
            entry(JournalEvent::Started { cause: ResetCause::Watchdog }),
            "0d090b02c0a907090102f4d15500",
        ),
        (entry(JournalEvent::UpdateBegan), "0c090b02c0a9070a22e072a600"),
        (entry(JournalEvent::UpdateEnded), "0c090b02c0a9070b2163195400"),
        (entry(JournalEvent::UpdateTimedOut), "0c090b02c0a9070cca07d38000"),
        (entry(JournalEvent::ButtonHeld), "0c090b02c0a9070dc984b87200"),
        (entry(JournalEvent::RailFailed { rail: Rail::Carrier }), "08090b02c0a9070e0544bed7dd00"),
        (entry(JournalEvent::RailFailed { rail: Rail::Module }), "0d090b02c0a9070e01473dbc2f00"),
        (entry(JournalEvent::TooHot), "0c090b02c0a9070f3ef4839300"),
        (entry(JournalEvent::Cooled), "0c090b02c0a90710750fcedd00"),
        (entry(JournalEvent::BrownOut), "0c090b02c0a90711768ca52f00"),
        (entry(JournalEvent::SupplyBack), "0c090b02c0a90712827ff53c00"),
        (entry(JournalEvent::FanStalled), "0c090b02c0a9071381fc9ece00"),
        (entry(JournalEvent::SensorLost), "0c090b02c0a907146a98541a00"),
        (entry(JournalEvent::DoorOpened), "0c090b02c0a90715691b3fe800"),
        (entry(JournalEvent::DoorClosed), "0c090b02c0a907169de86ffb00"),
        (entry(JournalEvent::LinkNoisy), "0c090b02c0a907179e6b040900"),
    ]);
}

fn updating() -> FromSupervisor {
    let state = PowerState::Updating;
    Status { uptime_ms: 3_600_000, state, resets: 2, bad_frames: 0, fan_percent: 100 }
}

fn entry(event: JournalEvent) -> FromSupervisor {
    Entry { sequence: 11, run: 2, at_ms: 120_000, event }
}
