//! A supervisor in any place it can be in, and time that passes.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod image;

use firmware::{Event, Inputs, Limits, Retained, Supervisor, Why};
use link::{Command, JournalEvent, PowerState, ResetCause, ToSupervisor, VERSION};

pub const LIMITS: Limits =
    Limits { boot_ms: 1000, beat_ms: 100, pulse_ms: 50, settled_ms: 5_000, trial_ms: 2_000 };
/// When the supervisor under test enters its place.
pub const T: u32 = 100_000;

/// All is well.
pub const FINE: Inputs = Inputs {
    carrier_good: true,
    module_good: true,
    button_down: false,
    door_open: false,
    board_deci_c: Some(350),
    input_mv: Some(12_000),
    fan_rpm: Some(2_000),
};

pub const HELLO: Event = Event::Message(ToSupervisor::Hello { version: VERSION });
pub const BEAT: Event = beat(9);

pub const fn beat(sequence: u32) -> Event {
    Event::Message(ToSupervisor::Heartbeat { sequence })
}

pub const fn command(command: Command) -> Event {
    Event::Message(ToSupervisor::Command(command))
}

pub fn tick(s: &mut Supervisor<'_>, now_ms: u32, inputs: Inputs) {
    s.handle(now_ms, Event::Tick(inputs));
}

/// Where a supervisor can stand.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    Off(Why),
    /// Booting, before the rails are up.
    Rails,
    /// Booting, out of reset.
    Booting,
    Running,
    Updating,
    Resetting,
    Recovery,
}

/// Lets the rails come up at one instant.
pub fn powered_up(s: &mut Supervisor<'_>, now_ms: u32) -> PowerState {
    for _ in 0..3 {
        tick(s, now_ms, FINE);
    }
    s.state().power()
}

/// A supervisor that has just entered `place` at time `T`, its peer greeted where a peer is there.
pub fn at(place: Place, retained: &mut Retained) -> Supervisor<'_> {
    let start = match place {
        Place::Recovery => 0,
        // A breakdown is believed 21 ms after the rail was last good.
        Place::Off(Why::Rail) => T - 21,
        _ => T,
    };
    let mut s = Supervisor::new(LIMITS, ResetCause::PowerOn, start, retained);
    if matches!(place, Place::Rails) {
        s.handle(T, HELLO);
        return s;
    }
    powered_up(&mut s, start);
    s.handle(start, HELLO);
    if !matches!(place, Place::Booting | Place::Recovery) {
        s.handle(start, BEAT);
    }
    match place {
        Place::Rails | Place::Booting | Place::Running => {}
        Place::Off(Why::Asked) => drop(s.handle(T, command(Command::PowerOff))),
        Place::Off(Why::Rail) => tick(&mut s, T, Inputs { module_good: false, ..FINE }),
        Place::Off(Why::TooHot) => tick(&mut s, T, Inputs { board_deci_c: Some(960), ..FINE }),
        Place::Off(Why::BrownOut) => tick(&mut s, T, Inputs { input_mv: Some(9_000), ..FINE }),
        Place::Updating => drop(s.handle(T, command(Command::BeginUpdate { seconds: 9 }))),
        Place::Resetting => drop(s.handle(T, command(Command::Restart))),
        Place::Recovery => {
            silence(&mut s, 0, T);
            s.handle(T, HELLO);
        }
    }
    s
}

/// Ticks every millisecond from `from_ms` on, and counts entries into Resetting.
pub fn silence(s: &mut Supervisor<'_>, from_ms: u32, for_ms: u32) -> u32 {
    let mut resets = 0;
    for ms in 1..=for_ms {
        let before = s.state().power();
        tick(s, from_ms.wrapping_add(ms), FINE);
        let entered = s.state().power() == PowerState::Resetting && before != PowerState::Resetting;
        resets += u32::from(entered);
    }
    resets
}

/// The events of the journal, in order.
pub fn events<'a>(s: &'a Supervisor<'_>) -> impl Iterator<Item = JournalEvent> + 'a {
    let (mut from, journal) = (0, s.journal());
    std::iter::from_fn(move || {
        let entry = journal.first_from(from)?;
        from = entry.sequence + 1;
        Some(entry.event)
    })
}
