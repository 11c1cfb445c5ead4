//! Definition of `crate::bias`: every cell asks its control points one by one, the field is the sum of the lattices of all
//! levels, and Wiener's filter is written with its Fourier series; all in double precision.

use super::resample::cubic_b_spline;
use crate::bias::{BIN, BINS, CIRCLE, LEAST_SHARE, LEVELS, NOISE, ROUNDS, WIDTH, axes};
use crate::{Dims, Volume};
use std::f64::consts::{LN_2, TAU};

/// A cell: where it lies, in intervals of the first lattice, and ln of its mean.
struct Cell {
    place: [f64; 3],
    log: f64,
}

/// The control points of one level.
struct Lattice {
    spans: [usize; 3],
    level: usize,
    points: Vec<f64>,
}

/// See [`crate::bias::correct`].
pub fn correct(image: &Volume<f32>) -> Volume<f32> {
    let mut image = image.clone();
    let cells = cells(&image);
    let mut lattices: Vec<Lattice> = Vec::new();
    let filter = wiener();
    let field = |lattices: &[Lattice], place| -> f64 { lattices.iter().map(|l| l.at(place)).sum() };
    for level in 0..LEVELS {
        lattices.push(Lattice::flat(axes(image.grid()).map(|axis| axis.spans << level), level));
        for _ in 0..ROUNDS {
            let left = cells.iter().map(|cell| cell.log - field(&lattices, cell.place));
            let excess = excess(&left.collect::<Vec<f64>>(), &filter);
            let fitted = lattices[level].fitted(&cells, &excess);
            let points = lattices[level].points.iter_mut().zip(fitted);
            points.for_each(|(point, more)| *point += more);
        }
    }
    let mean = cells.iter().map(|cell| field(&lattices, cell.place)).sum::<f64>();
    let mean = mean / cells.len().max(1) as f64;
    let (dims, axes) = (image.dims(), axes(image.grid()));
    for (offset, value) in image.voxels_mut().iter_mut().enumerate() {
        let index = dims.index(offset);
        let place = [0, 1, 2].map(|axis| axes[axis].place(index[axis] as f64, 0));
        *value = (f64::from(*value) * (mean - field(&lattices, place)).exp()) as f32;
    }
    image
}

fn cells(image: &Volume<f32>) -> Vec<Cell> {
    let axes = axes(image.grid());
    let Ok(grid) = Dims::new(axes.map(|axis| axis.cells)) else { return Vec::new() };
    let mut means = vec![(0.0f64, 0usize); grid.voxels()];
    for (offset, &value) in image.voxels().iter().enumerate() {
        let index = image.dims().index(offset);
        let (sum, count) =
            &mut means[grid.offset([0, 1, 2].map(|axis| index[axis] / axes[axis].step))];
        if value > 0.0 && value.is_finite() {
            *sum += f64::from(value);
            *count += 1;
        }
    }
    let means: Vec<f64> = means.iter().map(|&(sum, count)| sum / count.max(1) as f64).collect();
    let least = f64::from(LEAST_SHARE) * means.iter().sum::<f64>() / means.len() as f64;
    let inside = means.iter().enumerate().filter(|(_, mean)| **mean > least);
    let cell = |(offset, mean): (usize, &f64)| {
        let index = grid.index(offset);
        let place = |axis: usize| axes[axis].place(axes[axis].middle(index[axis]), 0);
        Cell { place: [0, 1, 2].map(place), log: mean.ln() }
    };
    inside.map(cell).collect()
}

impl Lattice {
    fn flat(spans: [usize; 3], level: usize) -> Lattice {
        let points = spans.map(|n| n + 3).iter().product();
        Lattice { spans, level, points: vec![0.0; points] }
    }

    /// The control points that reach a place, with their splines there.
    fn reaching(&self, place: [f64; 3]) -> Vec<(usize, f64)> {
        let place = place.map(|at| at * (1 << self.level) as f64);
        let first = [0, 1, 2].map(|axis| (place[axis] as usize).min(self.spans[axis] - 1));
        // Point n stands at the border n - 1 of the intervals.
        let spline = |axis: usize, n: usize| cubic_b_spline(place[axis] - (n as f64 - 1.0));
        let [ni, nj, _] = self.spans.map(|n| n + 3);
        let mut reaching = Vec::new();
        for step in 0..64 {
            let n = [0, 1, 2].map(|axis| first[axis] + (step >> (2 * axis) & 3));
            let weight = spline(0, n[0]) * spline(1, n[1]) * spline(2, n[2]);
            reaching.push((n[0] + ni * (n[1] + nj * n[2]), weight));
        }
        reaching
    }

    fn at(&self, place: [f64; 3]) -> f64 {
        self.reaching(place).iter().map(|&(n, weight)| weight * self.points[n]).sum()
    }

    /// Lee, Wolberg and Shin (1997), formulas 5 and 6.
    fn fitted(&self, cells: &[Cell], values: &[f64]) -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); self.points.len()];
        for (cell, value) in cells.iter().zip(values) {
            let reaching = self.reaching(cell.place);
            let squares: f64 = reaching.iter().map(|(_, weight)| weight * weight).sum();
            for (n, weight) in reaching {
                sums[n].0 += weight * weight * (weight * value / squares);
                sums[n].1 += weight * weight;
            }
        }
        sums.iter().map(|&(sum, weight)| if weight > 0.0 { sum / weight } else { 0.0 }).collect()
    }
}

fn gaussian(bins: f64) -> f64 {
    let widths = bins * f64::from(BIN) / f64::from(WIDTH);
    (-4.0 * LN_2 * widths * widths).exp()
}

/// Wiener's filter around the circle of bins.
fn wiener() -> Vec<f64> {
    let cosine = |k: usize, n: usize| (TAU * (k * n % CIRCLE) as f64 / CIRCLE as f64).cos();
    let kernel: Vec<f64> = (0..CIRCLE).map(|n| gaussian(n.min(CIRCLE - n) as f64)).collect();
    let scale: f64 = kernel.iter().sum();
    let blur = |k: usize| (0..CIRCLE).map(|n| kernel[n] * cosine(k, n)).sum::<f64>() / scale;
    let spectrum: Vec<f64> = (0..CIRCLE).map(|k| blur(k) / (blur(k) * blur(k) + NOISE)).collect();
    let at = |n: usize| (0..CIRCLE).map(|k| spectrum[k] * cosine(k, n)).sum::<f64>();
    (0..CIRCLE).map(|n| at(n) / CIRCLE as f64).collect()
}

/// How much each value lies above the one that it most likely had without a field.
fn excess(values: &[f64], filter: &[f64]) -> Vec<f64> {
    let darkest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let width = f64::from(BIN);
    let place = |value: f64| ((value - darkest) / width).min((BINS - 2) as f64);
    let mut histogram = vec![0.0; BINS];
    for place in values.iter().map(|&value| place(value)) {
        histogram[place as usize] += 1.0 - place.fract();
        histogram[place as usize + 1] += place.fract();
    }
    let sharp = |n: usize| {
        let counts = histogram.iter().enumerate();
        counts.map(|(bin, count)| count * filter[(CIRCLE + n - bin) % CIRCLE]).sum::<f64>().max(0.0)
    };
    let sharp: Vec<f64> = (0..CIRCLE).map(sharp).collect();
    let excess = |bin: usize| {
        let (mut sum, mut weights) = (0.0, 0.0);
        for away in -(BINS as isize)..BINS as isize {
            let from = (bin as isize + away).rem_euclid(CIRCLE as isize) as usize;
            let weight = gaussian(away as f64) * sharp[from];
            sum -= weight * away as f64;
            weights += weight;
        }
        if weights > 0.0 { width * sum / weights } else { 0.0 }
    };
    let excess: Vec<f64> = (0..BINS).map(excess).collect();
    let between = |place: f64| {
        let (bin, part) = (place as usize, place.fract());
        excess[bin] * (1.0 - part) + excess[bin + 1] * part
    };
    values.iter().map(|&value| between(place(value))).collect()
}
