//! Every (state, event) pair of the supervisor, and its rules one by one.
#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod support;

use firmware::fan::{MIN_FAN_PERCENT, SAFE_FAN_PERCENT};
use firmware::supervisor::{MAX_ATTEMPTS, MAX_UPDATE_MS};
use firmware::{Event, Inputs, Retained, State, Supervisor, Why};
use link::{Command, FromSupervisor, JournalEvent, PowerState, Rail, ResetCause, ToSupervisor};
use support::{
    BEAT, FINE, HELLO, LIMITS, Place, T, at, beat, command, events, powered_up, silence, tick,
};

const STATUS: Event = Event::Message(ToSupervisor::GetStatus);

const PLACES: [Place; 10] = [
    Place::Off(Why::Asked),
    Place::Off(Why::Rail),
    Place::Off(Why::TooHot),
    Place::Off(Why::BrownOut),
    Place::Rails,
    Place::Booting,
    Place::Running,
    Place::Updating,
    Place::Resetting,
    Place::Recovery,
];

/// Per event: the state after it, from each of [`PLACES`] in order. `.` stays.
#[rustfmt::skip]
const TABLE: &[(&str, u32, Event, &str)] = &[
    // asked rail hot low | rails booting running updating resetting recovery
    ("a millisecond",      1, Event::Tick(FINE), "ooBo BBRUXV"),
    ("the reset pulse",   51, Event::Tick(FINE), "ooBo BBRUBV"),
    ("a beat is due",    100, Event::Tick(FINE), "ooBo BBRUBV"),
    ("the beat's limit", 101, Event::Tick(FINE), "ooBo BBXUBV"),
    ("the boot's limit", 1001, Event::Tick(FINE), "ooBo BXXUBV"),
    ("the rail's pause", 2001, Event::Tick(FINE), "oBBo BXXUBV"),
    ("the supply's hold", 5001, Event::Tick(FINE), "oBBB BXXUBV"),
    ("the update's limit", 9001, Event::Tick(FINE), "oBBB BXXRBV"),
    ("rails are bad for a moment", 20, Event::Tick(Inputs { module_good: false, ..FINE }), "ooBo BBRUXV"),
    ("a rail breaks down", 21, Event::Tick(Inputs { module_good: false, ..FINE }), "ooBo Booooo"),
    ("the carrier breaks down", 21, Event::Tick(Inputs { carrier_good: false, ..FINE }), "ooBo Booooo"),
    ("no rail comes up", 201, Event::Tick(Inputs { carrier_good: false, ..FINE }), "ooBo oooooo"),
    ("too hot",            1, Event::Tick(Inputs { board_deci_c: Some(950), ..FINE }), "oooo oooooo"),
    ("almost too hot",     1, Event::Tick(Inputs { board_deci_c: Some(949), ..FINE }), "oooo BBRUXV"),
    ("no temperature",     1, Event::Tick(Inputs { board_deci_c: None, ..FINE }), "oooo BBRUXV"),
    ("low supply",         1, Event::Tick(Inputs { input_mv: Some(9_499), ..FINE }), "oooo oooooo"),
    ("no supply reading",  1, Event::Tick(Inputs { input_mv: None, ..FINE }), "ooBo BBRUXV"),
    ("door",               1, Event::Tick(Inputs { door_open: true, ..FINE }), "ooBo BBRUXV"),
    ("still fan",          1, Event::Tick(Inputs { fan_rpm: Some(0), ..FINE }), "ooBo BBRUXV"),
    ("a button goes down", 1, Event::Tick(Inputs { button_down: true, ..FINE }), "ooBo BBRUXV"),
    ("damaged frame",      1, Event::BadFrame, "oooo BBRUXV"),
    ("hello",              1, HELLO, "oooo BBRUXV"),
    ("beat",               1, BEAT, "oooo RRRUXR"),
    ("status",             1, STATUS, "oooo BBRUXV"),
    ("clock",              1, Event::Message(ToSupervisor::GetClock), "oooo BBRUXV"),
    ("sensors",            1, Event::Message(ToSupervisor::GetSensors), "oooo BBRUXV"),
    ("journal",            1, Event::Message(ToSupervisor::GetJournal { from: 0 }), "oooo BBRUXV"),
    ("entry",              1, Event::Message(ToSupervisor::GetEntry { from: 0 }), "oooo BBRUXV"),
    ("fan",                1, command(Command::FanDuty { percent: 50 }), "oooo BBRUXV"),
    ("restart",            1, command(Command::Restart), "oooo BBXXXV"),
    ("power off",          1, command(Command::PowerOff), "oooo BBooXV"),
    ("update begins",      1, command(Command::BeginUpdate { seconds: 9 }), "oooo BBUUXV"),
    ("update ends",        1, command(Command::EndUpdate), "oooo BBRRXV"),
];

fn letter(state: PowerState) -> char {
    match state {
        PowerState::Off => 'o',
        PowerState::Booting => 'B',
        PowerState::Running => 'R',
        PowerState::Updating => 'U',
        PowerState::Resetting => 'X',
        PowerState::Recovery => 'V',
    }
}

#[test]
fn every_state_and_event() {
    for (name, after_ms, event, want) in TABLE {
        let mut seen = String::new();
        for place in PLACES {
            if matches!(place, Place::Rails) {
                seen.push(' ');
            }
            let mut retained = Retained::empty();
            let mut s = at(place, &mut retained);
            s.handle(T + after_ms, *event);
            seen.push(letter(s.state().power()));
        }
        assert_eq!(seen, *want, "{name}: from {PLACES:?}");
    }
}

#[test]
fn a_press_starts_what_is_off_or_given_up_and_a_hold_cuts_the_power() {
    let after = |place: Place, down_ms: u32| {
        let mut retained = Retained::empty();
        let mut s = at(place, &mut retained);
        for ms in 0..=down_ms {
            // The runtime, where there is one, goes on beating; what brings the power back does not act meanwhile.
            s.handle(T + ms, beat(ms));
            let low = matches!(place, Place::Off(Why::BrownOut)).then_some(10_000);
            let inputs =
                Inputs { input_mv: low.or(FINE.input_mv), button_down: ms < down_ms, ..FINE };
            s.handle(T + ms, Event::Tick(inputs));
        }
        letter(s.state().power())
    };
    let press: String = PLACES.iter().map(|place| after(*place, 40)).collect();
    assert_eq!(press, "BBBBRRRUXR", "short");
    let hold: String = PLACES.iter().map(|place| after(*place, 5_200)).collect();
    assert_eq!(hold, "oooooooooo", "held");
    let bounce: String = PLACES.iter().map(|place| after(*place, 10)).collect();
    assert_eq!(bounce, "ooBoRRRUXR", "a bounce");
    // In Recovery without a runtime, the press resets.
    let mut retained = Retained::empty();
    let mut s = at(Place::Recovery, &mut retained);
    tick(&mut s, T, Inputs { button_down: true, ..FINE });
    tick(&mut s, T + 100, FINE);
    assert_eq!(s.state().power(), PowerState::Resetting);
}

#[test]
fn a_press_does_not_start_what_is_hot_or_starved() {
    let bad = [
        (Why::TooHot, Inputs { board_deci_c: Some(960), ..FINE }),
        (Why::BrownOut, Inputs { input_mv: Some(9_000), ..FINE }),
    ];
    for (why, inputs) in bad {
        let mut retained = Retained::empty();
        let mut s = at(Place::Off(why), &mut retained);
        tick(&mut s, T, Inputs { button_down: true, ..inputs });
        tick(&mut s, T + 100, inputs);
        assert_eq!(s.state().power(), PowerState::Off, "{why:?}");
    }
}

#[test]
fn power_comes_up_one_rail_after_the_other() {
    let mut retained = Retained::empty();
    let mut s = Supervisor::new(LIMITS, ResetCause::PowerOn, 0, &mut retained);
    let pins = |s: &Supervisor<'_>| {
        let o = s.outputs();
        (o.carrier, o.module, o.reset)
    };
    let none = Inputs { carrier_good: false, module_good: false, ..FINE };
    let carrier = Inputs { module_good: false, ..FINE };
    tick(&mut s, 1, none);
    assert_eq!(pins(&s), (true, false, true));
    tick(&mut s, 2, carrier);
    assert_eq!(pins(&s), (true, true, true));
    tick(&mut s, 3, carrier);
    assert_eq!(pins(&s), (true, true, true));
    tick(&mut s, 4, FINE);
    assert_eq!(pins(&s), (true, true, false));
}

#[test]
fn a_failing_rail_is_tried_three_times_more_then_waits_for_the_button() {
    for (rail, inputs) in [
        (Rail::Carrier, Inputs { carrier_good: false, module_good: false, ..FINE }),
        (Rail::Module, Inputs { module_good: false, ..FINE }),
    ] {
        let mut retained = Retained::empty();
        let mut s = Supervisor::new(LIMITS, ResetCause::PowerOn, 0, &mut retained);
        for ms in 0..60_000 {
            tick(&mut s, ms, inputs);
        }
        let failed = events(&s).filter(|e| *e == JournalEvent::RailFailed { rail }).count();
        assert_eq!(failed, 1 + usize::from(MAX_ATTEMPTS));
        assert_eq!(events(&s).filter(|e| *e == JournalEvent::PoweredOn).count(), failed);
        assert!(matches!(s.state(), State::Off { why: Why::Rail, .. }));
        tick(&mut s, 60_000, Inputs { button_down: true, ..FINE });
        tick(&mut s, 60_100, FINE);
        assert_eq!(powered_up(&mut s, 60_100), PowerState::Booting);
    }
}

#[test]
fn heat_cuts_the_power_and_cooling_brings_it_back_three_times() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Running, &mut retained);
    let hot = Inputs { board_deci_c: Some(960), ..FINE };
    for n in 1..=4 {
        let now = T + n * 10_000;
        tick(&mut s, now, hot);
        assert_eq!(s.state().power(), PowerState::Off);
        assert_eq!(s.outputs().fan_percent, SAFE_FAN_PERCENT, "its heat comes out");
        tick(&mut s, now + 10, Inputs { board_deci_c: Some(700), ..FINE });
        tick(&mut s, now + 20, Inputs { board_deci_c: None, ..FINE });
        assert_eq!(s.state().power(), PowerState::Off, "not yet cool, or unknown");
        tick(&mut s, now + 30, Inputs { board_deci_c: Some(699), ..FINE });
        let on = if n <= 3 { PowerState::Booting } else { PowerState::Off };
        assert_eq!(s.state().power(), on, "{n}");
    }
    tick(&mut s, T + 50_000, Inputs { board_deci_c: Some(300), ..FINE });
    assert_eq!(s.outputs().fan_percent, 0);
}

#[test]
fn a_supply_must_be_good_for_a_while() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Off(Why::BrownOut), &mut retained);
    // Every four seconds it goes again.
    for n in 0..20 {
        tick(&mut s, T + 4_000 * n, FINE);
        tick(&mut s, T + 4_000 * n + 3_999, Inputs { input_mv: Some(10_400), ..FINE });
    }
    assert_eq!(s.state().power(), PowerState::Off);
    let now = T + 80_000;
    for ms in 0..=5_001 {
        tick(&mut s, now + ms, FINE);
    }
    assert_eq!(s.state().power(), PowerState::Booting);
}

#[test]
fn a_supervisor_that_starts_after_a_brown_out_waits_for_the_supply() {
    let mut retained = Retained::empty();
    let s = Supervisor::new(LIMITS, ResetCause::BrownOut, 0, &mut retained);
    assert!(matches!(s.state(), State::Off { why: Why::BrownOut, .. }));
}

#[test]
fn the_commanded_fan_has_a_floor_a_curve_and_an_end() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Running, &mut retained);
    tick(&mut s, T, FINE);
    assert_eq!(s.outputs().fan_percent, SAFE_FAN_PERCENT, "until somebody asks");
    let answer = s.handle(T, command(Command::FanDuty { percent: 3 }));
    assert_eq!(answer, Some(FromSupervisor::Done));
    assert_eq!(s.outputs().fan_percent, MIN_FAN_PERCENT);
    tick(&mut s, T, Inputs { board_deci_c: Some(550), ..FINE });
    assert_eq!(s.outputs().fan_percent, 60, "the board is warmer than the runtime thinks");
    tick(&mut s, T, Inputs { board_deci_c: None, ..FINE });
    assert_eq!(s.outputs().fan_percent, SAFE_FAN_PERCENT, "nobody knows");
    tick(&mut s, T, FINE);
    assert_eq!(s.outputs().fan_percent, MIN_FAN_PERCENT);
    tick(&mut s, T + 101, FINE);
    assert_eq!(s.outputs().fan_percent, SAFE_FAN_PERCENT);
    tick(&mut s, T + 160, FINE);
    s.handle(T + 161, HELLO);
    s.handle(T + 162, beat(1));
    assert_eq!(s.outputs().fan_percent, SAFE_FAN_PERCENT, "what an earlier runtime asked is over");
}

#[test]
fn a_standing_fan_is_driven_hard_and_told() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Running, &mut retained);
    s.handle(T, command(Command::FanDuty { percent: 30 }));
    for ms in 0..=3_001 {
        s.handle(T + ms, beat(ms));
        tick(&mut s, T + ms, Inputs { fan_rpm: Some(50), ..FINE });
    }
    assert_eq!(s.outputs().fan_percent, SAFE_FAN_PERCENT);
    assert!(events(&s).any(|event| event == JournalEvent::FanStalled));
}

#[test]
fn the_light_tells_where_it_stands() {
    let seen: Vec<String> = PLACES
        .iter()
        .map(|place| {
            let mut retained = Retained::empty();
            let s = at(*place, &mut retained);
            let led = s.outputs().led;
            format!("{:?} {:?}", led.colour, led.pattern)
        })
        .collect();
    let want = [
        "Dark Steady",
        "Red Slow",
        "Red Slow",
        "Red Slow",
        "Amber Slow",
        "Amber Slow",
        "Green Steady",
        "Amber Fast",
        "Amber Steady",
        "Red Steady",
    ];
    assert_eq!(seen, want);
    let mut retained = Retained::empty();
    let mut s = at(Place::Running, &mut retained);
    for ms in 0..=1_001 {
        s.handle(T + ms, beat(ms));
        tick(&mut s, T + ms, Inputs { door_open: true, ..FINE });
    }
    assert_eq!(format!("{:?}", s.outputs().led.pattern), "Slow", "somebody should look");
}

#[test]
fn silence_ends_in_recovery_after_three_resets_and_a_button_gives_three_more() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Running, &mut retained);
    assert_eq!(silence(&mut s, T, 100_000), u32::from(MAX_ATTEMPTS));
    assert_eq!(s.state(), State::Recovery);
    assert_eq!(events(&s).last(), Some(JournalEvent::GaveUp));
    tick(&mut s, 200_000, Inputs { button_down: true, ..FINE });
    // Its first tick sees the button come up, and resets.
    assert_eq!(silence(&mut s, 200_100, 100_000), u32::from(MAX_ATTEMPTS));
    assert_eq!(s.state(), State::Recovery);
}

/// A runtime that beats for a moment after each reset and hangs again: once it cleared the count with its first beat.
#[test]
fn a_runtime_that_lives_for_a_moment_is_given_up_too() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Running, &mut retained);
    let (mut resets, mut sequence) = (0, 0);
    for round in 0..20 {
        let now = T + round * 5_000;
        resets += silence(&mut s, now, 1_000);
        s.handle(now + 1_000, HELLO);
        sequence += 1;
        s.handle(now + 1_000, beat(sequence));
    }
    assert_eq!(resets, u32::from(MAX_ATTEMPTS));
    // Ten healthy minutes (here: 5 s) prove that it works.
    for ms in 0..=5_001 {
        sequence += 1;
        s.handle(200_000 + ms, beat(sequence));
    }
    assert_eq!(silence(&mut s, 205_001, 100_000), u32::from(MAX_ATTEMPTS));
}

#[test]
fn a_runtime_that_restarts_again_and_again_is_refused() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Running, &mut retained);
    let mut done = 0;
    for round in 1..10 {
        let now = T + round * 100;
        let answer = s.handle(now, command(Command::Restart));
        done += u8::from(answer == Some(FromSupervisor::Done));
        tick(&mut s, now + 60, FINE);
        s.handle(now + 61, HELLO);
        s.handle(now + 62, beat(round));
    }
    assert_eq!(done, MAX_ATTEMPTS);
    assert_eq!(s.state().power(), PowerState::Running);
}

#[test]
fn a_beat_that_repeats_itself_is_no_sign_of_life() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Running, &mut retained);
    for ms in 1..=101 {
        assert_eq!(s.handle(T + ms, BEAT), Some(FromSupervisor::HeartbeatSeen { sequence: 9 }));
        tick(&mut s, T + ms, FINE);
    }
    assert_eq!(s.state().power(), PowerState::Resetting);
}

#[test]
fn an_update_has_a_limit_of_its_own() {
    let mut retained = Retained::empty();
    let mut s = at(Place::Updating, &mut retained);
    // Saying it again does not make it longer.
    s.handle(T + 8_000, command(Command::BeginUpdate { seconds: 9 }));
    tick(&mut s, T + 9_001, FINE);
    assert_eq!(s.state().power(), PowerState::Running);
    assert_eq!(events(&s).last(), Some(JournalEvent::UpdateTimedOut));
    s.handle(T + 9_002, command(Command::BeginUpdate { seconds: u16::MAX }));
    tick(&mut s, T + 9_002 + MAX_UPDATE_MS as u32, FINE);
    assert_eq!(s.state().power(), PowerState::Updating);
    tick(&mut s, T + 9_003 + MAX_UPDATE_MS as u32, FINE);
    assert_eq!(s.state().power(), PowerState::Running);
}

#[test]
fn a_supervisor_that_lost_itself_takes_up_where_it_stood() {
    for cause in [ResetCause::Watchdog, ResetCause::Software] {
        let mut retained = Retained::empty();
        let mut s = at(Place::Running, &mut retained);
        silence(&mut s, T, 200);
        let next = s.journal().next();
        let mut s = Supervisor::new(LIMITS, cause, 0, &mut retained);
        assert_eq!(s.journal().run(), 2);
        assert_eq!(s.journal().next(), next + 1, "the journal goes on");
        assert!(!s.outputs().reset && s.outputs().module, "the computer is left alone");
        assert_eq!(s.handle(1, BEAT), Some(FromSupervisor::Refused), "not greeted yet");
        assert_eq!(silence(&mut s, 1, 100_000), 2, "one attempt was used up before");
        // What was off stays off.
        let mut retained = Retained::empty();
        let s = at(Place::Off(Why::Asked), &mut retained);
        assert_eq!(s.state().power(), PowerState::Off);
        let s = Supervisor::new(LIMITS, cause, 0, &mut retained);
        assert_eq!(s.state().power(), PowerState::Off);
        // Mains that came and memory that was lost power on.
        let s = Supervisor::new(LIMITS, ResetCause::PowerOn, 0, &mut retained);
        assert_eq!(s.state().power(), PowerState::Booting);
        let mut fresh = Retained::empty();
        let s = Supervisor::new(LIMITS, cause, 0, &mut fresh);
        assert_eq!(s.state().power(), PowerState::Booting);
    }
}

#[test]
fn the_clock_may_wrap() {
    let start = u32::MAX - 1_000;
    let mut retained = Retained::empty();
    let mut s = Supervisor::new(LIMITS, ResetCause::PowerOn, start, &mut retained);
    powered_up(&mut s, start);
    s.handle(u32::MAX - 10, HELLO);
    s.handle(u32::MAX - 10, BEAT);
    silence(&mut s, u32::MAX - 10, 100);
    assert_eq!(s.state().power(), PowerState::Running);
    silence(&mut s, 89, 1);
    assert_eq!(s.state().power(), PowerState::Resetting);
    assert_eq!(s.now_ms(), u64::from(u32::MAX) + 91, "the uptime does not wrap");
}
