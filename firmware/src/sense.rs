//! What a board's converter and its fan's tachometer say, in the units of the supervisor.
//!
//! The carrier board that these fit: a thermistor of 10 kilohm at 25 degrees (B 3950) from the converter's pin to ground with
//! 10 kilohm to its reference, and the supply over a divider of 100 to 10 kilohm.

/// Steps of the converter: 12 bits.
const FULL_SCALE: u16 = 4095;
/// The converter's reference, in millivolts.
const REFERENCE_MV: u32 = 3_300;
/// The supply for each volt at the pin: (100 + 10) / 10 kilohm.
const DIVIDER: u32 = 11;

/// The coldest of [`THERMISTOR`], and its step, in tenths of a degree.
const COLDEST_DECI_C: i16 = -400;
const STEP_DECI_C: i16 = 100;
/// What the converter says of the thermistor at -40, -30, ..., 120 degrees: `4095 r / (r + 1)`, where
/// `r = exp(3950 (1 / T - 1 / 298.15))` and `T` is in kelvin.
const THERMISTOR: [u16; 17] =
    [3996, 3900, 3740, 3495, 3156, 2738, 2278, 1825, 1419, 1081, 815, 613, 462, 350, 267, 206, 160];

/// Temperature of the board, in tenths of a degree Celsius; `None` where the thermistor is broken, shorted or far beyond what
/// a board outlives.
pub fn board_deci_c(raw: u16) -> Option<i16> {
    let after = THERMISTOR.iter().position(|&at| at <= raw)?;
    let before = after.checked_sub(1)?;
    let (cold, warm) = (i32::from(THERMISTOR[before]), i32::from(THERMISTOR[after]));
    let share = (cold - i32::from(raw)) * i32::from(STEP_DECI_C) / (cold - warm);
    Some(COLDEST_DECI_C + before as i16 * STEP_DECI_C + share as i16)
}

/// The supply, in millivolts; `None` beyond what the divider can tell.
pub fn input_mv(raw: u16) -> Option<u16> {
    let pin_mv = u32::from(raw) * REFERENCE_MV / u32::from(FULL_SCALE);
    (raw < FULL_SCALE).then(|| u16::try_from(pin_mv * DIVIDER).ok())?
}

/// Counts the tachometer of a fan, two pulses a turn, by looking at it every millisecond: up to 15,000 turns a minute.
#[derive(Debug, Default)]
pub struct Tachometer {
    was_high: bool,
    pulses: u16,
    since_ms: u64,
    rpm: Option<u16>,
}

/// How long pulses are counted: at the slowest that a fan turns, 300 a minute, ten.
const WINDOW_MS: u64 = 1_000;
const PULSES_A_TURN: u16 = 2;

impl Tachometer {
    /// Takes a look; turns a minute over the last second, `None` in the first.
    pub fn look(&mut self, now_ms: u64, high: bool) -> Option<u16> {
        self.pulses += u16::from(high && !self.was_high);
        self.was_high = high;
        if now_ms.saturating_sub(self.since_ms) >= WINDOW_MS {
            self.rpm = Some(self.pulses * (60 / PULSES_A_TURN));
            (self.pulses, self.since_ms) = (0, now_ms);
        }
        self.rpm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn the_table_is_that_of_the_thermistor() {
        for (n, &raw) in THERMISTOR.iter().enumerate() {
            let kelvin = 273.15 - 40.0 + 10.0 * n as f64;
            let r = (3950.0 * (1.0 / kelvin - 1.0 / 298.15)).exp();
            assert_eq!(raw, (4095.0 * r / (r + 1.0)).round() as u16, "{n}");
        }
    }

    #[test]
    fn between_the_steps_the_line_is_within_a_degree() {
        for deci_c in (-399..1200).step_by(7) {
            let kelvin = 273.15 + f64::from(deci_c) / 10.0;
            let r = (3950.0 * (1.0 / kelvin - 1.0 / 298.15)).exp();
            let said = board_deci_c((4095.0 * r / (r + 1.0)).round() as u16).unwrap();
            assert!((i32::from(said) - deci_c).abs() <= 10, "{deci_c}: {said}");
        }
        // Broken wire, short circuit.
        assert_eq!([board_deci_c(4095), board_deci_c(0)], [None, None]);
    }

    #[test]
    fn the_supply_is_what_the_divider_is_given() {
        assert!((11_990..12_010).contains(&input_mv(1354).unwrap()), "{:?}", input_mv(1354));
        assert_eq!(input_mv(FULL_SCALE), None);
    }

    #[test]
    fn a_fan_is_counted_and_a_stuck_one_stands() {
        let mut fan = Tachometer::default();
        // 4000 turns a minute: a pulse every 7.5 ms.
        let turning = |ms: u64| (ms * 4 / 15).is_multiple_of(2);
        let turned: Vec<_> = (0..=2_000).map(|ms| fan.look(ms, turning(ms))).collect();
        assert_eq!(turned[999], None, "not a second yet");
        assert!(turned[1_000..].iter().all(|rpm| (3_900..4_100).contains(&rpm.unwrap())));
        let stuck = (2_001..=4_100).map(|ms| fan.look(ms, true)).last();
        assert_eq!(stuck, Some(Some(0)));
    }
}
