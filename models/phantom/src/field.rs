//! Smooth random variation: over the patient ([`Field`]) and along the spine ([`Profile`]).

use crate::random::Random;

/// Lattice points per axis; the field repeats after that many cells. A power of two, so that wrapping is a mask.
const LATTICE: usize = 32;

/// Smooth noise over the patient with mean 0 and lattice deviation 1: trilinear between random lattice points.
#[derive(Debug)]
pub(crate) struct Field {
    values: Vec<f32>,
    /// Lattice cells per millimetre along x, y, z.
    rate: [f64; 3],
}

impl Field {
    /// `cell_mm`: size of the blobs along x, y, z in millimetres.
    pub(crate) fn new(random: &mut Random, cell_mm: [f64; 3]) -> Field {
        let values = (0..LATTICE * LATTICE * LATTICE).map(|_| random.normal() as f32).collect();
        Field { values, rate: cell_mm.map(|mm| 1.0 / mm) }
    }

    /// The value at a point in millimetres.
    pub(crate) fn at(&self, point: [f64; 3]) -> f64 {
        let mut corner = [[0usize; 2]; 3];
        let mut part = [0f32; 3];
        for axis in 0..3 {
            let position = point[axis] * self.rate[axis];
            // Rounds down; the call of `floor` would cost more than the rest where the processor lacks it.
            let toward_zero = position as i64;
            let whole = toward_zero - i64::from(toward_zero as f64 > position);
            part[axis] = (position - whole as f64) as f32;
            let index = whole as usize;
            corner[axis] = [index & (LATTICE - 1), index.wrapping_add(1) & (LATTICE - 1)];
        }
        let along_x = |y: usize, z: usize| {
            let row = LATTICE * (corner[1][y] + LATTICE * corner[2][z]);
            let (a, b) = (self.values[row + corner[0][0]], self.values[row + corner[0][1]]);
            a + (b - a) * part[0]
        };
        let along_y = |z: usize| {
            let (a, b) = (along_x(0, z), along_x(1, z));
            a + (b - a) * part[1]
        };
        let (a, b) = (along_y(0), along_y(1));
        f64::from(a + (b - a) * part[2])
    }
}

/// Millimetres between the samples of a profile.
const STEP_MM: f64 = 1.0;

/// A quantity along the height of the patient (z, millimetres), constant beyond its ends.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    bottom: f64,
    values: Vec<f64>,
}

impl Profile {
    /// Straight lines through `(z, value)` knots with rising z.
    pub(crate) fn through(knots: &[(f64, f64)]) -> Profile {
        let (bottom, top) = (knots[0].0, knots[knots.len() - 1].0);
        let count = ((top - bottom) / STEP_MM).ceil() as usize + 1;
        let mut segment = 0;
        let value = |n: usize| {
            let z = bottom + n as f64 * STEP_MM;
            while segment + 2 < knots.len() && z > knots[segment + 1].0 {
                segment += 1;
            }
            let ((z0, v0), (z1, v1)) = (knots[segment], knots[segment + 1]);
            v0 + (v1 - v0) * ((z - z0) / (z1 - z0)).clamp(0.0, 1.0)
        };
        Profile { bottom, values: (0..count).map(value).collect() }
    }

    /// Random waves about 0 of `amplitude`, with `cell_mm` between their knots, over the extent of `like`.
    pub(crate) fn waves(
        like: &Profile,
        random: &mut Random,
        cell_mm: f64,
        amplitude: f64,
    ) -> Profile {
        let knots = (like.values.len() as f64 * STEP_MM / cell_mm).ceil() as usize + 2;
        let knots: Vec<_> = (0..knots)
            .map(|n| (like.bottom + n as f64 * cell_mm, random.normal() * amplitude))
            .collect();
        Profile::through(&knots).smoothed(cell_mm * 0.4)
    }

    pub(crate) fn at(&self, z: f64) -> f64 {
        let position = ((z - self.bottom) / STEP_MM).clamp(0.0, (self.values.len() - 1) as f64);
        let index = (position as usize).min(self.values.len().saturating_sub(2));
        let next = (index + 1).min(self.values.len() - 1);
        let (a, b) = (self.values[index], self.values[next]);
        a + (b - a) * (position - index as f64)
    }

    /// Three running means of half-width `radius_mm`: close to a Gaussian, without an exponential.
    pub(crate) fn smoothed(&self, radius_mm: f64) -> Profile {
        let radius = (radius_mm / STEP_MM).round() as usize;
        let mut values = self.values.clone();
        for _ in 0..3 {
            let last = values.len() - 1;
            values = (0..=last)
                .map(|n| {
                    // Shrink the window at the ends, so that they stay where they are.
                    let reach = radius.min(n).min(last - n);
                    let window = &values[n - reach..=n + reach];
                    window.iter().sum::<f64>() / window.len() as f64
                })
                .collect();
        }
        Profile { bottom: self.bottom, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_is_continuous_and_keeps_its_values_far_from_the_origin() {
        let field = Field::new(&mut Random::stream(3, 0), [5.0, 7.0, 9.0]);
        for n in -400..400 {
            let z = f64::from(n) * 0.9;
            let (a, b) = (field.at([z, -z, z]), field.at([z + 0.01, -z, z]));
            assert!((a - b).abs() < 0.02 && a.abs() < 4.0, "{z}: {a} {b}");
        }
        assert!((field.at([1.0; 3]) - field.at([1.0 - 5.0 * 32.0, 1.0, 1.0])).abs() < 1e-6);
    }

    #[test]
    fn profile_passes_its_knots_and_holds_its_ends() {
        let profile = Profile::through(&[(-10.0, 1.0), (0.0, 2.0), (5.0, 0.0)]);
        for (z, want) in
            [(-50.0, 1.0), (-10.0, 1.0), (-5.0, 1.5), (0.0, 2.0), (5.0, 0.0), (99.0, 0.0)]
        {
            assert!((profile.at(z) - want).abs() < 1e-9, "{z}: {}", profile.at(z));
        }
        let smooth = profile.smoothed(3.0);
        assert!((smooth.at(-10.0) - 1.0).abs() < 1e-9 && smooth.at(0.0) < 2.0);
    }
}
