//! e^x and its inverse in single precision, by polynomials: those of the system differ in the last bit from machine to
//! machine, and a call per voxel would cost more than the rest of the correction.

use std::f32::consts::{LN_2, LOG2_E};

/// Beyond, the result would leave the normal numbers.
const LARGEST: f32 = 80.0;
/// 1.5 * 2^23: a sum with it is rounded to a whole number, which its lowest bits then hold.
const ROUNDING: f32 = 12_582_912.0;
/// ln 2 in two parts; products of the first with whole numbers up to 2^8 are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// Taylor's shares of x^6 to x^2; the next one is below 2e-7 for the |x| <= ln 2 / 2 that are left.
const SHARES: [f32; 5] = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];
const EXPONENT_BIAS: u32 = 127;
const MANTISSA_BITS: u32 = 23;

/// e^x within 3e-7 of itself, for `x` held to -80..80.
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-LARGEST, LARGEST);
    let rounded = x * LOG2_E + ROUNDING;
    let whole = rounded - ROUNDING;
    let rest = (x - whole * LN_2_HIGH) - whole * LN_2_LOW;
    let curve = SHARES.iter().fold(0.0, |sum, share| sum * rest + share);
    let power = f32::from_bits(rounded.to_bits().wrapping_add(EXPONENT_BIAS) << MANTISSA_BITS);
    power * (curve * rest * rest + rest + 1.0)
}

/// ln x within 3e-7 of it or of 1, for a normal number above 0.
pub(super) fn ln(x: f32) -> f32 {
    // 1/sqrt(2) has the bits 0x3f3504f3: the mantissa that is left lies from there to sqrt(2).
    let shifted = x.to_bits().wrapping_sub(0x3f35_04f3);
    let whole = (shifted as i32) >> MANTISSA_BITS;
    let mantissa = f32::from_bits(x.to_bits().wrapping_sub((whole as u32) << MANTISSA_BITS));
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (((square / 9.0 + 1.0 / 7.0) * square + 0.2) * square + 1.0 / 3.0) * square;
    2.0 * s * (1.0 + series) + whole as f32 * LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_those_of_the_standard_library() {
        for n in -800..=800 {
            let x = n as f32 / 10.0 + 0.003;
            let want = f64::from(x.clamp(-80.0, 80.0)).exp();
            assert!((f64::from(exp(x)) / want - 1.0).abs() < 3e-7, "{x}: {} {want}", exp(x));
            let y = exp(x);
            assert!((ln(y) - y.ln()).abs() <= 3e-7 * y.ln().abs().max(1.0), "{y}");
        }
        assert_eq!((exp(0.0), ln(1.0)), (1.0, 0.0));
    }
}
