//! The test bench: what a carrier board would answer, for the simulator and for the image in QEMU, which have no pins.
//!
//! One letter on the bench's line presses the button, opens the door, heats the board, ...; one line of text tells each
//! change of the outputs, so that a test can do what a reset line does. No product has it.

use crate::state::{Inputs, Outputs};
use crate::supervisor::Supervisor;
use core::fmt;
use link::{PowerState, ResetCause};

/// The seed of the key that signs images for the bench (RFC 8032 section 5.1.5). Everybody knows it.
pub const VENDOR_SEED: [u8; 32] = *b"the bench of sagitta: no secret!";

/// How long a rail needs to be good, in milliseconds: as a converter with its soft start.
const RAIL_UP_MS: u64 = 5;
/// How long the bench's finger presses, in milliseconds; and holds.
const PRESS_MS: u64 = 100;
const HOLD_MS: u64 = crate::button::HOLD_MS + 100;
/// A board in a warm room, in tenths of a degree; and one that burns.
const WARM_DECI_C: i16 = 450;
const BURNING_DECI_C: i16 = 980;
/// The nominal supply, in millivolts; and a failing one.
const SUPPLY_MV: u16 = 12_000;
const LOW_SUPPLY_MV: u16 = 8_000;
/// Turns a minute of the fan at each percent of its duty: 4000 at its fastest.
const RPM_PER_PERCENT: u16 = 40;

/// What the bench wants besides its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// The main loop shall hang.
    Hang,
}

/// The carrier board of the bench.
#[derive(Debug, Default)]
pub struct Bench {
    carrier_since_ms: Option<u64>,
    module_since_ms: Option<u64>,
    /// The finger leaves the button then.
    pressed_until_ms: u64,
    door_open: bool,
    burning: bool,
    low: bool,
    sensor_lost: bool,
    fan_stuck: bool,
    rail_broken: bool,
}

impl Bench {
    /// Takes one letter of the bench's line: `b` presses the button, `B` holds it, `h` hangs the main loop; `d`, `t`,
    /// `v`, `s`, `f`, `r` turn over the door, heat, low supply, loss of the sensor, standstill of the fan, a broken rail.
    pub fn command(&mut self, now_ms: u64, letter: u8) -> Option<Request> {
        match letter {
            b'b' => self.pressed_until_ms = now_ms + PRESS_MS,
            b'B' => self.pressed_until_ms = now_ms + HOLD_MS,
            b'd' => self.door_open = !self.door_open,
            b't' => self.burning = !self.burning,
            b'v' => self.low = !self.low,
            b's' => self.sensor_lost = !self.sensor_lost,
            b'f' => self.fan_stuck = !self.fan_stuck,
            b'r' => self.rail_broken = !self.rail_broken,
            b'h' => return Some(Request::Hang),
            _ => {}
        }
        None
    }

    /// What the pins say, given what drives them.
    pub fn inputs(&mut self, now_ms: u64, outputs: &Outputs) -> Inputs {
        let module = outputs.module && !self.rail_broken;
        let turns = u16::from(outputs.fan_percent) * RPM_PER_PERCENT;
        let board = if self.burning { BURNING_DECI_C } else { WARM_DECI_C };
        Inputs {
            carrier_good: is_up(&mut self.carrier_since_ms, now_ms, outputs.carrier),
            module_good: is_up(&mut self.module_since_ms, now_ms, module),
            button_down: now_ms < self.pressed_until_ms,
            door_open: self.door_open,
            board_deci_c: (!self.sensor_lost).then_some(board),
            input_mv: Some(if self.low { LOW_SUPPLY_MV } else { SUPPLY_MV }),
            fan_rpm: Some(if self.fan_stuck { 0 } else { turns }),
        }
    }
}

/// Whether a rail that is driven since `since_ms` is good.
fn is_up(since_ms: &mut Option<u64>, now_ms: u64, driven: bool) -> bool {
    *since_ms = driven.then(|| since_ms.unwrap_or(now_ms));
    since_ms.is_some_and(|since| now_ms.saturating_sub(since) >= RAIL_UP_MS)
}

/// One line of the bench: what can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub run: u32,
    pub cause: ResetCause,
    pub state: PowerState,
    pub outputs: Outputs,
}

impl Seen {
    pub fn of(supervisor: &Supervisor<'_>, cause: ResetCause) -> Seen {
        let (run, state) = (supervisor.journal().run(), supervisor.state().power());
        Seen { run, cause, state, outputs: supervisor.outputs() }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outputs { carrier, module, reset, fan_percent, led } = self.outputs;
        let Seen { run, cause, state, .. } = self;
        write!(
            f,
            "run={run} cause={cause:?} state={state:?} carrier={carrier} module={module} reset={reset} \
             fan={fan_percent} led={:?}/{:?}",
            led.colour, led.pattern
        )
    }
}
