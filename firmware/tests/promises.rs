//! What no sequence of events may break: a powered computer is cooled, and nothing is reset for ever.
//!
//! Random events from fixed seeds, also over resets of the supervisor itself; a failure names its seed.

mod support;

use firmware::fan::{MIN_FAN_PERCENT, SAFE_FAN_PERCENT};
use firmware::supervisor::MAX_ATTEMPTS;
use firmware::{Event, Inputs, Retained, State, Supervisor, Why};
use link::{Command, PowerState, ResetCause, ToSupervisor};
use support::{FINE, HELLO, LIMITS, beat, command};

/// Seeds in the ordinary run and in the long one; each is 20,000 events.
const SEEDS: u64 = 40;
const MANY_SEEDS: u64 = 4_000;
const EVENTS: u32 = 20_000;

struct Random(u64);

impl Random {
    fn draw(&mut self, n: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u32 % n
    }

    fn once_in(&mut self, n: u32) -> bool {
        self.draw(n) == 0
    }
}

/// What happens next: mostly a carrier that follows its rails, sometimes anything.
fn event(random: &mut Random, s: &Supervisor<'_>, sequence: &mut u32) -> Event {
    match random.draw(12) {
        0 => HELLO,
        1 | 2 => {
            *sequence += u32::from(!random.once_in(8));
            beat(*sequence)
        }
        3 => Event::BadFrame,
        4 => command(Command::FanDuty { percent: random.draw(256) as u8 }),
        5 if random.once_in(8) => command(Command::Restart),
        5 if random.once_in(40) => command(Command::PowerOff),
        5 if random.once_in(8) => command(Command::BeginUpdate { seconds: random.draw(3) as u16 }),
        5 => command(Command::EndUpdate),
        6 => Event::Message(ToSupervisor::GetStatus),
        _ => Event::Tick(inputs(random, s)),
    }
}

fn inputs(random: &mut Random, s: &Supervisor<'_>) -> Inputs {
    let outputs = s.outputs();
    let mut inputs = Inputs {
        carrier_good: outputs.carrier && !random.once_in(200),
        module_good: outputs.module && !random.once_in(200),
        ..FINE
    };
    match random.draw(60) {
        0 => inputs.board_deci_c = None,
        1 => inputs.board_deci_c = Some(random.draw(2_000) as i16 - 400),
        2 => inputs.input_mv = Some(random.draw(16_000) as u16),
        3 => inputs.fan_rpm = Some(0),
        4 => inputs.door_open = true,
        5 | 6 => inputs.button_down = true,
        _ => {}
    }
    inputs
}

/// What was promised, followed from outside.
#[derive(Default)]
struct Promises {
    /// Starts of the computer since it proved itself or somebody or the mains intervened.
    starts: u8,
    /// Since when it has run without a break.
    running_since: Option<u64>,
    button_down: bool,
}

impl Promises {
    fn look(&mut self, s: &Supervisor<'_>, before: State, event: Event) {
        let outputs = s.outputs();
        let powered = outputs.carrier || outputs.module;
        assert!(!powered || outputs.fan_percent >= MIN_FAN_PERCENT, "a still fan under load");
        let running = matches!(s.state(), State::Running { .. });
        assert!(!powered || running || outputs.fan_percent == SAFE_FAN_PERCENT);
        assert!(outputs.fan_percent <= 100 && (outputs.carrier || !outputs.module));
        assert!(outputs.module || outputs.reset, "a computer without power is held in reset");

        let after = s.state();
        let started = match (before.power(), after.power()) {
            (PowerState::Resetting, PowerState::Resetting) => false,
            (_, PowerState::Resetting) => true,
            (PowerState::Off, PowerState::Booting) => true,
            _ => false,
        };
        let mains = matches!(before, State::Off { why: Why::BrownOut, .. });
        let idle = matches!(before, State::Off { .. } | State::Recovery);
        let mut pressed = false;
        if let Event::Tick(inputs) = event {
            // The button came up: somebody wanted it, also where heat ended it in the same instant.
            pressed = idle && self.button_down && !inputs.button_down;
            self.button_down = inputs.button_down;
        }
        if running {
            self.running_since.get_or_insert(s.now_ms());
        } else {
            self.running_since = None;
        }
        if self.running_since.is_some_and(|since| s.now_ms() - since >= LIMITS.settled_ms) {
            self.starts = 0;
        }
        if pressed {
            // A reset that was asked for is the first attempt.
            self.starts = u8::from(after.power() == PowerState::Resetting);
        } else if started && !mains {
            self.starts += 1;
            assert!(self.starts <= MAX_ATTEMPTS, "an endless loop: {before:?} -> {after:?}");
        }
    }
}

fn keep_promises(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut retained = Retained::empty();
    let (mut promises, mut sequence, mut cause) = (Promises::default(), 0, ResetCause::PowerOn);
    let mut left = EVENTS;
    while left > 0 {
        let mut now_ms = 0;
        let mut s = Supervisor::new(LIMITS, cause, now_ms, &mut retained);
        promises.running_since = None;
        let (run, mut next) = (s.journal().run(), s.journal().next());
        while left > 0 && !random.once_in(2_000) {
            left -= 1;
            now_ms += [1, 5, 40, 400][random.draw(4) as usize];
            let (before, event) = (s.state(), event(&mut random, &s, &mut sequence));
            s.handle(now_ms, event);
            promises.look(&s, before, event);
            assert!(s.journal().next() >= next && s.journal().run() == run);
            next = s.journal().next();
        }
        // The supervisor loses itself: no fresh attempts come of it.
        cause = if random.once_in(2) { ResetCause::Watchdog } else { ResetCause::Software };
    }
}

fn keep_promises_of(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let kept = std::panic::catch_unwind(|| keep_promises(seed));
        assert!(kept.is_ok(), "seed {seed}: see above");
    }
}

#[test]
fn no_sequence_stops_the_fan_or_resets_for_ever() {
    keep_promises_of(0..SEEDS);
}

#[test]
#[ignore = "long: 80 million events"]
fn no_sequence_of_many_stops_the_fan_or_resets_for_ever() {
    keep_promises_of(SEEDS..MANY_SEEDS);
}

/// Whatever happened before, silence ends the resets.
#[test]
fn silence_always_comes_to_rest() {
    for seed in 0..SEEDS {
        let mut random = Random(seed * 77 + 1);
        let mut retained = Retained::empty();
        let mut s = Supervisor::new(LIMITS, ResetCause::PowerOn, 0, &mut retained);
        let (mut now_ms, mut sequence) = (0, 0);
        for _ in 0..2_000 {
            now_ms += random.draw(200);
            let event = event(&mut random, &s, &mut sequence);
            s.handle(now_ms, event);
        }
        let follow = |s: &Supervisor<'_>| {
            let o = s.outputs();
            Event::Tick(Inputs { carrier_good: o.carrier, module_good: o.module, ..FINE })
        };
        for _ in 0..60_000 {
            now_ms += 1;
            let event = follow(&s);
            s.handle(now_ms, event);
        }
        let rest = s.state();
        assert!(matches!(rest, State::Off { .. } | State::Recovery), "seed {seed}: {rest:?}");
        for _ in 0..60_000 {
            now_ms += 1;
            let event = follow(&s);
            s.handle(now_ms, event);
            assert_eq!(s.state(), rest, "seed {seed}");
        }
    }
}
