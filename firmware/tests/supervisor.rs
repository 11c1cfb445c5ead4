//! Every (state, event) pair of the supervisor, and the two promises: no endless reset loop, no still fan under load.

use firmware::supervisor::{MAX_FRUITLESS_RESETS, MIN_FAN_PERCENT, SAFE_FAN_PERCENT};
use firmware::{Event, Led, Limits, State, Supervisor};
use link::{
    Command, FromSupervisor, JournalEvent, PowerState, ResetCause, ToSupervisor, VERSION, Version,
};

const LIMITS: Limits = Limits { boot_ms: 1000, beat_ms: 100, pulse_ms: 10 };
const T: u32 = 50; // when the supervisor under test enters its state

const HELLO: Event = Event::Message(ToSupervisor::Hello { version: VERSION });
const BEAT: Event = Event::Message(ToSupervisor::Heartbeat { sequence: 9 });
const STATUS: Event = Event::Message(ToSupervisor::GetStatus);
const JOURNAL: Event = Event::Message(ToSupervisor::GetJournal { from: 0 });

fn command(command: Command) -> Event {
    Event::Message(ToSupervisor::Command(command))
}

/// A supervisor that has just entered `state` at time `T`, its peer greeted where a peer is there.
fn at(state: PowerState) -> Supervisor {
    let mut s = Supervisor::new(LIMITS, ResetCause::PowerOn, T);
    s.handle(T, HELLO);
    match state {
        PowerState::Booting => {}
        PowerState::Running => assert!(s.handle(T, BEAT).is_some()),
        PowerState::Off => {
            s.handle(T, BEAT);
            s.handle(T, command(Command::PowerOff));
        }
        PowerState::Resetting => {
            s.handle(T, BEAT);
            s.handle(T, command(Command::Restart));
        }
        PowerState::Recovery => {
            silence(&mut s, T, 10_000);
            s.handle(T, HELLO);
        }
    }
    assert_eq!(s.state().power(), state);
    s
}

/// Ticks every millisecond from `from_ms` on, and counts entries into Resetting.
fn silence(s: &mut Supervisor, from_ms: u32, for_ms: u32) -> u32 {
    let mut resets = 0;
    for ms in 1..=for_ms {
        let before = s.state().power();
        s.handle(from_ms.wrapping_add(ms), Event::Tick);
        let entered = s.state().power() == PowerState::Resetting && before != PowerState::Resetting;
        resets += u32::from(entered);
    }
    resets
}

#[test]
fn every_state_and_event() {
    use PowerState::{Booting, Off, Recovery, Resetting, Running};
    let fan = command(Command::FanDuty { percent: 50 });
    let restart = command(Command::Restart);
    let off = command(Command::PowerOff);
    // Per event: the state after it, from each of these states in order.
    let from = [Off, Booting, Running, Resetting, Recovery];
    let table = [
        (T + 1, Event::Tick, [Off, Booting, Running, Resetting, Recovery]),
        (T + 11, Event::Tick, [Off, Booting, Running, Booting, Recovery]),
        (T + 100, Event::Tick, [Off, Booting, Running, Booting, Recovery]),
        (T + 101, Event::Tick, [Off, Booting, Resetting, Booting, Recovery]),
        (T + 1001, Event::Tick, [Off, Resetting, Resetting, Booting, Recovery]),
        (T + 1, Event::Button, [Booting, Booting, Running, Resetting, Resetting]),
        (T + 1, Event::BadFrame, from),
        (T + 1, HELLO, from),
        (T + 1, BEAT, [Off, Running, Running, Resetting, Running]),
        (T + 1, STATUS, from),
        (T + 1, JOURNAL, from),
        (T + 1, fan, from),
        (T + 1, restart, [Off, Booting, Resetting, Resetting, Recovery]),
        (T + 1, off, [Off, Booting, Off, Resetting, Recovery]),
    ];
    for (now_ms, event, after) in table {
        for (state, want) in from.into_iter().zip(after) {
            let mut s = at(state);
            s.handle(now_ms, event);
            assert_eq!(s.state().power(), want, "{state:?} {event:?} at {now_ms}");
        }
    }
}

#[test]
fn outputs_follow_from_the_state() {
    let seen = |state| {
        let o = at(state).outputs();
        (o.power, o.reset, o.fan_percent, o.led)
    };
    assert_eq!(seen(PowerState::Off), (false, false, 0, Led::Dark));
    assert_eq!(seen(PowerState::Booting), (true, false, 100, Led::Amber));
    assert_eq!(seen(PowerState::Running), (true, false, 100, Led::Green));
    assert_eq!(seen(PowerState::Resetting), (true, true, 100, Led::Amber));
    assert_eq!(seen(PowerState::Recovery), (true, false, 100, Led::Red));
}

#[test]
fn the_commanded_fan_has_a_floor_and_ends_with_the_heartbeat() {
    let mut s = at(PowerState::Running);
    assert_eq!(s.handle(T, command(Command::FanDuty { percent: 3 })), Some(FromSupervisor::Done));
    assert_eq!(s.outputs().fan_percent, MIN_FAN_PERCENT);
    s.handle(T + 101, Event::Tick);
    assert_eq!(s.outputs().fan_percent, SAFE_FAN_PERCENT);
}

#[test]
fn silence_ends_in_recovery_after_three_resets() {
    let mut s = at(PowerState::Running);
    assert_eq!(silence(&mut s, T, 100_000), u32::from(MAX_FRUITLESS_RESETS));
    assert_eq!(s.state(), State::Recovery);
    let last = s.journal().first_from(s.journal().next() - 1).unwrap();
    assert_eq!(last.event, JournalEvent::GaveUp);
    // The button gives it three more attempts, not an endless loop.
    s.handle(200_000, Event::Button);
    assert_eq!(silence(&mut s, 200_000, 100_000), u32::from(MAX_FRUITLESS_RESETS));
    assert_eq!(s.state(), State::Recovery);
}

#[test]
fn another_major_version_is_answered_and_kept_out() {
    let mut s = Supervisor::new(LIMITS, ResetCause::Watchdog, 0);
    let newer = Version { major: VERSION.major + 1, minor: 0 };
    let hello = FromSupervisor::Hello { version: VERSION, reset_cause: ResetCause::Watchdog };
    assert_eq!(s.handle(1, BEAT), Some(FromSupervisor::Refused));
    let answer = s.handle(1, Event::Message(ToSupervisor::Hello { version: newer }));
    assert_eq!(answer, Some(hello));
    assert_eq!(s.handle(2, BEAT), Some(FromSupervisor::Refused));
    assert_eq!(s.handle(3, HELLO), Some(hello));
    assert_eq!(s.handle(4, BEAT), Some(FromSupervisor::HeartbeatSeen { sequence: 9 }));
}

#[test]
fn the_clock_may_wrap() {
    let mut s = Supervisor::new(LIMITS, ResetCause::PowerOn, u32::MAX - 20);
    s.handle(u32::MAX - 10, HELLO);
    s.handle(u32::MAX - 10, BEAT);
    silence(&mut s, u32::MAX - 10, 100);
    assert_eq!(s.state().power(), PowerState::Running);
    silence(&mut s, 89, 1);
    assert_eq!(s.state().power(), PowerState::Resetting);
}

#[test]
fn status_and_journal_tell_what_happened() {
    let mut s = at(PowerState::Running);
    for _ in 0..80 {
        s.handle(T, Event::BadFrame);
    }
    let status = s.handle(T + 5, STATUS);
    let want = FromSupervisor::Status {
        uptime_ms: T + 5,
        state: PowerState::Running,
        resets: 0,
        bad_frames: 80,
        fan_percent: SAFE_FAN_PERCENT,
    };
    assert_eq!(status, Some(want));
    let entry = |sequence, event| Some(FromSupervisor::Journal { sequence, at_ms: T, event });
    let ask =
        |s: &mut Supervisor, from| s.handle(T, Event::Message(ToSupervisor::GetJournal { from }));
    assert_eq!(ask(&mut s, 0), entry(0, JournalEvent::PoweredOn));
    assert_eq!(ask(&mut s, 1), entry(1, JournalEvent::Healthy));
    assert_eq!(ask(&mut s, 2), Some(FromSupervisor::JournalEnd { next: 2 }));
}

/// Random events from a fixed seed: whatever happens, a powered computer has a turning fan, and it is reset at most
/// three times between two signs of life.
#[test]
fn no_sequence_breaks_the_promises() {
    let events = [
        Event::Tick,
        Event::Tick,
        Event::BadFrame,
        HELLO,
        BEAT,
        STATUS,
        command(Command::FanDuty { percent: 0 }),
        command(Command::Restart),
        command(Command::PowerOff),
        Event::Button,
    ];
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut draw = move |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 16) as usize % n
    };
    let mut s = Supervisor::new(LIMITS, ResetCause::PowerOn, 0);
    let (mut now_ms, mut fruitless) = (0, 0);
    for _ in 0..200_000 {
        now_ms += draw(400) as u32;
        let event = events[draw(events.len())];
        let before = s.state().power();
        s.handle(now_ms, event);
        let outputs = s.outputs();
        assert!(!outputs.power || outputs.fan_percent >= MIN_FAN_PERCENT);
        let alive = s.state().power() == PowerState::Running || event == Event::Button;
        let reset = event == Event::Tick && before != PowerState::Resetting && outputs.reset;
        fruitless = if alive { 0 } else { fruitless + u8::from(reset) };
        assert!(fruitless <= MAX_FRUITLESS_RESETS);
    }
}
