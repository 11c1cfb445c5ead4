//! Sine and cosine by series: the same bits on every machine, which the platform's own library does not promise.

use std::f64::consts::{FRAC_PI_2, TAU};

/// Sine and cosine of an angle in degrees, of any size.
pub(crate) fn sin_cos(degrees: f64) -> (f64, f64) {
    let turns = degrees / 360.0;
    let radians = (turns - (turns + 0.5).floor()) * TAU;
    // Into [-pi/2, pi/2], where the series below is short; the cosine changes its sign on the other half.
    let pi = 2.0 * FRAC_PI_2;
    if radians > FRAC_PI_2 {
        let (s, c) = series(pi - radians);
        (s, -c)
    } else if radians < -FRAC_PI_2 {
        let (s, c) = series(-pi - radians);
        (s, -c)
    } else {
        series(radians)
    }
}

/// Taylor series up to x^21: the first term left out is below 1e-17 for |x| <= pi/2.
fn series(x: f64) -> (f64, f64) {
    let square = x * x;
    let (mut sine, mut cosine) = (0.0, 0.0);
    for n in (0..=10).rev() {
        let n = f64::from(n);
        sine = 1.0 - sine * square / ((2.0 * n + 2.0) * (2.0 * n + 3.0));
        cosine = 1.0 - cosine * square / ((2.0 * n + 1.0) * (2.0 * n + 2.0));
    }
    (x * sine, cosine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_platform() {
        for step in -800..800 {
            let degrees = f64::from(step) * 0.97;
            let (s, c) = sin_cos(degrees);
            let (want_s, want_c) = degrees.to_radians().sin_cos();
            assert!((s - want_s).abs() < 1e-12 && (c - want_c).abs() < 1e-12, "{degrees}: {s} {c}");
        }
    }
}
