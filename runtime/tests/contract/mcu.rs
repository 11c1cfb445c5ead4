//! The messages about the supervisor MCU, in every form, and their frozen bytes.

use super::encode;
use link::{JournalEvent, PowerState, Rail, ResetCause};
use sagitta::health::Part;
use sagitta::messages::{LinkState, McuEntry, McuLink, Timestamp};

/// A link about which nothing is known.
const UNKNOWN: McuLink = McuLink {
    link: LinkState::NoPort,
    stuck: None,
    power: None,
    fan_percent: None,
    fan_rpm: None,
    board_c: None,
    module_c: None,
    supply_mv: None,
    door_open: None,
    resets: None,
    bad_frames_there: None,
    bad_frames_here: 0,
    unanswered: 3,
    round_trip_p50_ms: None,
    round_trip_p99_ms: None,
};

fn whole(power: PowerState, stuck: Option<Part>) -> McuLink {
    McuLink {
        link: LinkState::Up,
        stuck,
        power: Some(power.into()),
        fan_percent: Some(35),
        fan_rpm: Some(1400),
        board_c: Some(-4.5),
        module_c: Some(51.25),
        supply_mv: Some(12_000),
        door_open: Some(false),
        resets: Some(1),
        bad_frames_there: Some(0),
        round_trip_p50_ms: Some(0.21),
        round_trip_p99_ms: Some(1.7),
        ..UNKNOWN
    }
}

pub(crate) fn links() -> Vec<McuLink> {
    let states = [LinkState::Silent, LinkState::NoPort, LinkState::OtherVersion];
    let mut links: Vec<_> = states.map(|link| McuLink { link, ..UNKNOWN }).into();
    links.extend(Part::ALL.map(|part| whole(PowerState::Running, Some(part))));
    let powers = [
        PowerState::Off,
        PowerState::Booting,
        PowerState::Running,
        PowerState::Updating,
        PowerState::Resetting,
        PowerState::Recovery,
    ];
    links.extend(powers.map(|power| whole(power, None)));
    links
}

pub(crate) fn entries() -> Vec<McuEntry> {
    use JournalEvent as E;
    let causes =
        [ResetCause::PowerOn, ResetCause::Watchdog, ResetCause::BrownOut, ResetCause::Software];
    let mut events: Vec<E> = causes.map(|cause| E::Started { cause }).into();
    events.extend([Rail::Carrier, Rail::Module].map(|rail| E::RailFailed { rail }));
    events.extend([E::PoweredOn, E::PoweredOff, E::Healthy, E::HeartbeatLost, E::BootTimedOut]);
    events.extend([E::Reset, E::RestartAsked, E::GaveUp, E::ButtonPressed, E::ButtonHeld]);
    events.extend([E::UpdateBegan, E::UpdateEnded, E::UpdateTimedOut, E::TooHot, E::Cooled]);
    events.extend([E::BrownOut, E::SupplyBack, E::FanStalled, E::SensorLost, E::DoorOpened]);
    events.extend([E::DoorClosed, E::LinkNoisy]);
    events.into_iter().map(|event| entry(event, Some(1_795_236_169_123))).collect()
}

fn entry(event: JournalEvent, at: Option<u64>) -> McuEntry {
    let at = at.map(Timestamp::from_millis);
    McuEntry { entry: 11, run: 2, uptime_ms: 120_000, at, event: event.into() }
}

/// Frozen, as the others.
#[test]
fn bytes_of_version_1() {
    let envelope = r#"{"v":1,"seq":5,"boot":"abababababababab","ts":"2026-11-21T04:42:49.123Z","#;
    let started = entry(JournalEvent::Started { cause: ResetCause::Watchdog }, None);
    let rest =
        r#""entry":11,"run":2,"uptime_ms":120000,"at":null,"event":"started","cause":"watchdog"}"#;
    assert_eq!(encode(5, &started), format!("{envelope}{rest}"));
    let rest = concat!(
        r#""link":"up","stuck":"jobs","power":"running","fan_percent":35,"fan_rpm":1400,"board_c":-4.5,"#,
        r#""module_c":51.25,"supply_mv":12000,"door_open":false,"resets":1,"bad_frames_there":0,"#,
        r#""bad_frames_here":0,"unanswered":3,"round_trip_p50_ms":0.21,"round_trip_p99_ms":1.7}"#
    );
    let stuck = whole(PowerState::Running, Some(Part::Jobs));
    assert_eq!(encode(5, &stuck), format!("{envelope}{rest}"));
    assert!(encode(5, &UNKNOWN).contains(r#""power":null,"#));
}
