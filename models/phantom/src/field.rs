//! Smooth random variation: over the patient ([`Field`]) and along the spine ([`Profile`]).

use crate::random::Random;

/// Cells per axis; the field repeats after that many. A power of two, so that wrapping is a mask.
const CELLS: usize = 32;
/// Lattice points stored per axis: the first once more at the end, so that a cell's corners lie at fixed distances.
const POINTS: usize = CELLS + 1;
const ROW: usize = POINTS;
const LAYER: usize = POINTS * POINTS;

/// Smooth noise over the patient with mean 0 and lattice deviation 1: trilinear between random lattice points.
#[derive(Debug)]
pub(crate) struct Field {
    /// x fastest.
    values: Vec<f32>,
    /// Cells per millimetre along x, y, z.
    rate: [f64; 3],
}

/// Cell that holds a position (in cells) and the place in it, 0 to 1.
///
/// Adding 1.5 * 2^52 leaves the nearest whole number in the lowest bits: the same on every machine, and a fraction of
/// the cost of a conversion, which has to look for overflow. Half a cell less makes nearest the one below.
fn cell(position: f64) -> (usize, f32) {
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let shifted = (position - 0.5) + SHIFT;
    (shifted.to_bits() as usize & (CELLS - 1), (position - (shifted - SHIFT)) as f32)
}

fn between(a: f32, b: f32, part: f32) -> f32 {
    a + (b - a) * part
}

impl Field {
    /// No value is further from 0: the tails of [`Random::normal`] end here, and a mean does not exceed its parts.
    pub(crate) const MOST: f64 = 3.5;

    /// `cell_mm`: size of the blobs along x, y, z in millimetres.
    pub(crate) fn new(random: &mut Random, cell_mm: [f64; 3]) -> Field {
        let mut values = vec![0.0; POINTS * LAYER];
        for z in 0..CELLS {
            for y in 0..CELLS {
                for x in 0..CELLS {
                    values[x + ROW * y + LAYER * z] = random.normal() as f32;
                }
                values[CELLS + ROW * y + LAYER * z] = values[ROW * y + LAYER * z];
            }
            values.copy_within(LAYER * z..LAYER * z + ROW, LAYER * z + ROW * CELLS);
        }
        values.copy_within(0..LAYER, LAYER * CELLS);
        Field { values, rate: cell_mm.map(|mm| 1.0 / mm) }
    }

    /// The value at a point in millimetres.
    #[inline]
    pub(crate) fn at(&self, point: [f64; 3]) -> f64 {
        let (x, part_x) = cell(point[0] * self.rate[0]);
        let (y, part_y) = cell(point[1] * self.rate[1]);
        let (z, part_z) = cell(point[2] * self.rate[2]);
        let first = x + ROW * y + LAYER * z;
        let corners = &self.values[first..first + LAYER + ROW + 2];
        let along_x = |n: usize| between(corners[n], corners[n + 1], part_x);
        let along_y = |n: usize| between(along_x(n), along_x(n + ROW), part_y);
        f64::from(between(along_y(0), along_y(LAYER), part_z))
    }
}

/// A field over whole rows of a canvas, many times faster than point by point: the rows between two layers of the
/// lattice are the mean of two rows that lie on it, which are kept.
#[derive(Debug)]
pub(crate) struct FieldRows<'a> {
    field: &'a Field,
    column_step: [f64; 3],
    row_step: [f64; 3],
    /// Height of the last row, and the layer of the lattice (not wrapped) below it.
    z: f64,
    layer: f64,
    crossings: Vec<f32>,
    below: Vec<f32>,
    above: Vec<f32>,
    values: Vec<f32>,
}

impl<'a> FieldRows<'a> {
    /// For rows of `columns` voxels; `steps` are those of the canvas.
    pub(crate) fn new(field: &'a Field, steps: [[f64; 3]; 2], columns: usize) -> FieldRows<'a> {
        let row = || vec![0.0; columns];
        let [column_step, row_step] = steps;
        FieldRows {
            field,
            column_step,
            row_step,
            z: f64::NEG_INFINITY,
            layer: f64::NAN,
            crossings: Vec::new(),
            below: row(),
            above: row(),
            values: row(),
        }
    }

    /// Values of the row that starts at `start`. Rows of one slice come from head to foot.
    pub(crate) fn at(&mut self, start: [f64; 3]) -> &[f32] {
        if start[2] >= self.z {
            // Another slice: what is kept lies elsewhere.
            self.layer = f64::NAN;
        }
        self.z = start[2];
        let position = start[2] * self.field.rate[2];
        let layer = position.floor();
        if layer != self.layer {
            // Rows of a slice run downwards: the layer below is the next one above.
            if layer == self.layer - 1.0 {
                std::mem::swap(&mut self.below, &mut self.above);
            } else {
                self.expand(start, layer + 1.0, true);
            }
            self.expand(start, layer, false);
            self.layer = layer;
        }
        let part = (position - layer) as f32;
        for ((value, below), above) in self.values.iter_mut().zip(&self.below).zip(&self.above) {
            *value = between(*below, *above, part);
        }
        &self.values
    }

    /// The row parallel to the one from `start` that lies in `layer` of the lattice.
    fn expand(&mut self, start: [f64; 3], layer: f64, above: bool) {
        let rows = (layer / self.field.rate[2] - start[2]) / self.row_step[2];
        let (x, y) = (start[0] + self.row_step[0] * rows, start[1] + self.row_step[1] * rows);
        let (values, rate) = (&self.field.values, self.field.rate);
        let layer = LAYER * cell(layer + 0.25).0;
        let row = if above { &mut self.above } else { &mut self.below };
        // Where the row crosses the lines of the lattice along x; between them the values lie on straight lines.
        let (start, step) = (y * rate[1], self.column_step[1] * rate[1]);
        let bottom = start.floor();
        let lines = ((row.len() as f64 * step) as usize) + 3;
        self.crossings.clear();
        self.crossings.extend((0..lines).map(|n| {
            let line = bottom + n as f64;
            let x = x + self.column_step[0] / step * (line - start);
            let (x, part) = cell(x * rate[0]);
            let first = layer + ROW * cell(line + 0.25).0 + x;
            between(values[first], values[first + 1], part)
        }));
        let (start, step) = ((start - bottom) as f32, step as f32);
        let mut from = 0;
        for (line, ends) in self.crossings.windows(2).enumerate() {
            let past = line as f32 + 1.0 - start;
            let end = ((past / step) as usize + 1).clamp(from, row.len());
            let slope = ends[1] - ends[0];
            let (value, rise) = (ends[0] + slope * (start - line as f32), slope * step);
            for (n, column) in row[from..end].iter_mut().enumerate() {
                *column = value + rise * (from + n) as f32;
            }
            from = end;
        }
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

    /// A profile of the same extent: `value` of z and of the value here.
    pub(crate) fn map(&self, value: impl Fn(f64, f64) -> f64) -> Profile {
        let at = |(n, old): (usize, &f64)| value(self.bottom + n as f64 * STEP_MM, *old);
        Profile { bottom: self.bottom, values: self.values.iter().enumerate().map(at).collect() }
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
            let mut sums = vec![0.0; values.len() + 1];
            for (n, value) in values.iter().enumerate() {
                sums[n + 1] = sums[n] + value;
            }
            for (n, value) in values.iter_mut().enumerate() {
                // Shrink the window at the ends, so that they stay where they are.
                let reach = radius.min(n).min(last - n);
                *value = (sums[n + reach + 1] - sums[n - reach]) / (2 * reach + 1) as f64;
            }
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
    fn rows_hold_the_values_of_their_points() {
        let field = Field::new(&mut Random::stream(5, 0), [5.0, 3.5, 9.0]);
        // Turned and leaning by about two degrees, as an exam may be.
        let steps = [[-0.035, 0.999, 0.0], [0.03, 0.001, -0.999]];
        let mut rows = FieldRows::new(&field, steps, 90);
        for slice in 0..3 {
            for j in 0..70 {
                let start: [f64; 3] = std::array::from_fn(|axis| {
                    [-20.0, -70.0, 33.0][axis]
                        + steps[1][axis] * f64::from(j)
                        + if axis == 0 { -1.3 * f64::from(slice) } else { 0.0 }
                });
                for (n, value) in rows.at(start).iter().enumerate() {
                    let point = std::array::from_fn(|axis| start[axis] + steps[0][axis] * n as f64);
                    let want = field.at(point) as f32;
                    // Between two lines of the lattice the row is taken as straight.
                    assert!((value - want).abs() < 0.12, "{slice} {j} {n}: {value} {want}");
                }
            }
        }
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
