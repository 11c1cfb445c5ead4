//! How fast the fan must turn. What cannot be known is cooled as if it were hot.

/// Fan duty, in percent, below which a powered computer is never cooled: bearings start reliably and a little air always
/// moves.
pub const MIN_FAN_PERCENT: u8 = 20;
/// Fan duty where nobody reads temperatures: as much as there is.
pub const SAFE_FAN_PERCENT: u8 = 100;

/// Board temperature, in tenths of a degree, up to which the slowest fan is enough: a warm room and a little more.
const COOL_DECI_C: i16 = 400;
/// From here on the fan turns at its fastest: 25 degrees below the limit at which the power is cut.
const WARM_DECI_C: i16 = 700;

/// Duty by the board's temperature: a straight line between two temperatures.
pub fn curve(board_deci_c: Option<i16>) -> u8 {
    let Some(board) = board_deci_c else { return SAFE_FAN_PERCENT };
    let above = i32::from(board.clamp(COOL_DECI_C, WARM_DECI_C) - COOL_DECI_C);
    let range = i32::from(SAFE_FAN_PERCENT - MIN_FAN_PERCENT);
    let duty = i32::from(MIN_FAN_PERCENT) + above * range / i32::from(WARM_DECI_C - COOL_DECI_C);
    u8::try_from(duty).unwrap_or(SAFE_FAN_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curve_rises_between_its_ends_and_fails_to_its_top() {
        let points = [(-400, 20), (400, 20), (550, 60), (699, 99), (700, 100), (1500, 100)];
        for (board, duty) in points {
            assert_eq!(curve(Some(board)), duty, "{board}");
        }
        assert_eq!(curve(None), 100);
        assert!((i16::MIN..i16::MAX).all(|t| curve(Some(t)) <= curve(Some(t + 1))));
    }
}
