//! What the supervisor answers, and to whom.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod support;

use firmware::conditions::QUIET_MS;
use firmware::fan::SAFE_FAN_PERCENT;
use firmware::{Event, Retained, Supervisor};
use link::{
    FromSupervisor, JournalEvent, PowerState, ResetCause, Sensors, ToSupervisor, VERSION, Version,
};
use support::{BEAT, FINE, HELLO, LIMITS, Place, T, at, events, tick};

const STATUS: Event = Event::Message(ToSupervisor::GetStatus);

#[test]
fn another_major_version_is_answered_and_kept_out() {
    let mut retained = Retained::empty();
    let mut s = Supervisor::new(LIMITS, ResetCause::Watchdog, 0, &mut retained);
    let newer = Version { major: VERSION.major + 1, minor: 0 };
    let hello = FromSupervisor::Hello { version: VERSION, reset_cause: ResetCause::Watchdog };
    assert_eq!(s.handle(1, BEAT), Some(FromSupervisor::Refused));
    let answer = s.handle(1, Event::Message(ToSupervisor::Hello { version: newer }));
    assert_eq!(answer, Some(hello));
    assert_eq!(s.handle(2, BEAT), Some(FromSupervisor::Refused));
    assert_eq!(s.handle(3, HELLO), Some(hello));
    assert_eq!(s.handle(4, BEAT), Some(FromSupervisor::HeartbeatSeen { sequence: 9 }));
    // A newer minor is no obstacle.
    let newer = Version { minor: VERSION.minor + 1, ..VERSION };
    s.handle(5, Event::Message(ToSupervisor::Hello { version: newer }));
    assert_eq!(s.handle(6, BEAT), Some(FromSupervisor::HeartbeatSeen { sequence: 9 }));
}

#[test]
fn an_end_of_1_0_hears_only_what_it_knows() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Updating, &mut retained);
    let old = Version { major: 1, minor: 0 };
    s.handle(T, Event::Message(ToSupervisor::Hello { version: old }));
    let answer = s.handle(T, STATUS);
    let running =
        |answer| matches!(answer, Some(FromSupervisor::Status { state: PowerState::Running, .. }));
    assert!(running(answer), "{answer:?}");
    let mut from = 0;
    let mut heard = Vec::new();
    while let Some(FromSupervisor::Journal { sequence, event, .. }) =
        s.handle(T, Event::Message(ToSupervisor::GetJournal { from }))
    {
        assert!(event.is_of_1_0(), "{event:?}");
        heard.push(event);
        from = sequence + 1;
    }
    assert_eq!(heard, [JournalEvent::PoweredOn, JournalEvent::Healthy]);
    assert!(events(&s).any(|event| event == JournalEvent::UpdateBegan));
}

#[test]
fn status_sensors_clock_and_journal_tell_what_happened() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Running, &mut retained);
    for _ in 0..80 {
        s.handle(T, Event::BadFrame);
    }
    tick(&mut s, T, FINE);
    let want = FromSupervisor::Status {
        uptime_ms: T + 5,
        state: PowerState::Running,
        resets: 0,
        bad_frames: 80,
        fan_percent: SAFE_FAN_PERCENT,
    };
    assert_eq!(s.handle(T + 5, STATUS), Some(want));
    let ask = |s: &mut Supervisor<'_>, message| s.handle(T + 5, Event::Message(message)).unwrap();
    let sensors = Sensors {
        board_deci_c: Some(350),
        input_mv: Some(12_000),
        fan_rpm: Some(2_000),
        door_open: false,
    };
    assert_eq!(ask(&mut s, ToSupervisor::GetSensors), FromSupervisor::Sensors(sensors));
    let clock = FromSupervisor::Clock { run: 1, uptime_ms: u64::from(T) + 5 };
    assert_eq!(ask(&mut s, ToSupervisor::GetClock), clock);
    // 80 damaged frames are one entry, until it was quiet for a while.
    let want = [
        JournalEvent::Started { cause: ResetCause::PowerOn },
        JournalEvent::PoweredOn,
        JournalEvent::Healthy,
        JournalEvent::LinkNoisy,
    ];
    assert_eq!(events(&s).collect::<Vec<_>>(), want);
    let entry = ask(&mut s, ToSupervisor::GetEntry { from: 3 });
    let event = JournalEvent::LinkNoisy;
    assert_eq!(entry, FromSupervisor::Entry { sequence: 3, run: 1, at_ms: u64::from(T), event });
    assert_eq!(
        ask(&mut s, ToSupervisor::GetEntry { from: 4 }),
        FromSupervisor::JournalEnd { next: 4 }
    );
    s.handle(T + 5 + QUIET_MS as u32, Event::BadFrame);
    assert_eq!(s.journal().next(), 5);
}
