//! Values of one grid at the voxel centres of another one with the same axes: nearest, and cubic B-spline.
//!
//! Beyond its edge a volume goes on with the values of the edge. There is no anti-alias filter: both functions only sample.

use crate::{Grid, Volume};

/// The pole of the cubic B-spline's prefilter, `sqrt(3) - 2` (Unser 1999, table I).
pub(crate) const POLE: f64 = -0.267_949_192_431_122_7;
/// The prefilter's gain, `(1 - pole) * (1 - 1 / pole)`.
pub(crate) const GAIN: f64 = 6.0;
/// Samples by which a line is lengthened at each end before it is filtered: the filter forgets to `|pole|^12`, 1e-7.
pub(crate) const BEYOND: usize = 12;
/// Neighbouring lines filtered together: a block of 500 samples of them stays in the second-level cache.
const LINES: usize = 256;
/// Rows filtered together: two registers of eight numbers.
const ROWS: usize = 16;

/// For each voxel of `target` along each axis its place in voxels of `source`. The grids' axes must be parallel; what
/// `target` is turned against `source` is not seen.
pub(crate) fn positions(source: &Grid, target: &Grid) -> [Vec<f64>; 3] {
    let start = source.affine.index(target.affine.origin());
    let (from, to) = (source.affine.spacing(), target.affine.spacing());
    let counts = target.dims.counts();
    std::array::from_fn(|axis| {
        (0..counts[axis]).map(|n| start[axis] + n as f64 * (to[axis] / from[axis])).collect()
    })
}

/// The value of the voxel nearest to each voxel of `target`; halfway the later one, as in SciPy.
pub fn nearest<T: Copy>(source: &Volume<T>, target: &Grid) -> Volume<T> {
    let counts = source.dims().counts();
    let [columns, rows, slices] = nearest_places(source.grid(), target);
    let mut voxels = Vec::with_capacity(target.dims.voxels());
    for &k in &slices {
        for &j in &rows {
            let row = &source.voxels()[source.dims().offset([0, j, k])..][..counts[0]];
            voxels.extend(columns.iter().map(|&i| row[i]));
        }
    }
    Volume::new(*target, voxels).expect("one value per voxel")
}

/// For each voxel of `target` along each axis the nearest voxel of `source`, as [`nearest`] takes it; they ascend.
pub fn nearest_places(source: &Grid, target: &Grid) -> [Vec<usize>; 3] {
    let (counts, places) = (source.dims.counts(), positions(source, target));
    std::array::from_fn(|axis| {
        let last = (counts[axis] - 1) as f64;
        places[axis].iter().map(|at| (at + 0.5).floor().clamp(0.0, last) as usize).collect()
    })
}

/// The cubic B-spline through the voxels of `source` at the voxels of `target`.
pub fn cubic(source: &Volume<f32>, target: &Grid) -> Volume<f32> {
    let places = positions(source.grid(), target);
    let [ni, nj, nk] = source.dims().counts();
    let [mi, mj, _] = target.dims.counts();
    let wide = along_rows(source.voxels(), ni, &places[0]);
    let high = along(&wide, [mi, nj, nk], &places[1]);
    let deep = along(&high, [mi * mj, nk, 1], &places[2]);
    Volume::new(*target, deep).expect("one value per voxel")
}

/// The four coefficients that make one sample, and how far each counts.
struct Taps {
    first: usize,
    weights: [f32; 4],
}

/// First coefficient and weights of each sample, for kernels elsewhere.
pub(crate) fn spline_taps(places: &[f64], count: usize) -> Vec<(usize, [f32; 4])> {
    taps(places, count).into_iter().map(|tap| (tap.first, tap.weights)).collect()
}

/// The samples of a lengthened line of `count` coefficients at `places` of the line itself.
fn taps(places: &[f64], count: usize) -> Vec<Taps> {
    let reach = (BEYOND - 2) as f64;
    let tap = |&place: &f64| {
        let at = place.clamp(-reach, (count - 1) as f64 + reach);
        let (before, t) = (at.floor(), at - at.floor());
        let first = (before + BEYOND as f64) as usize - 1;
        Taps { first, weights: weights(t).map(|w| w as f32) }
    };
    places.iter().map(tap).collect()
}

/// The cubic B-spline at distances `1 + t`, `t`, `1 - t` and `2 - t`.
fn weights(t: f64) -> [f64; 4] {
    let (squared, cubed, rest) = (t * t, t * t * t, 1.0 - t);
    let near = (4.0 - 6.0 * squared + 3.0 * cubed) / 6.0;
    let far = (1.0 + 3.0 * t + 3.0 * squared - 3.0 * cubed) / 6.0;
    [rest * rest * rest / 6.0, near, far, cubed / 6.0]
}

/// Samples every row of `count` values. Rows are filtered side by side, so that the compiler can take many an instruction.
fn along_rows(values: &[f32], count: usize, places: &[f64]) -> Vec<f32> {
    let taps = taps(places, count);
    let wide = places.len();
    let mut result = vec![0.0; values.len() / count * wide];
    let mut line = vec![0.0; (count + 2 * BEYOND) * ROWS];
    let mut samples = vec![0.0; wide * ROWS];
    for (from, to) in values.chunks(count * ROWS).zip(result.chunks_mut(wide * ROWS)) {
        for (row, values) in from.chunks_exact(count).enumerate() {
            for n in 0..count + 2 * BEYOND {
                line[n * ROWS + row] = values[n.saturating_sub(BEYOND).min(count - 1)];
            }
        }
        prefilter(&mut line, ROWS);
        for (tap, samples) in taps.iter().zip(samples.chunks_exact_mut(ROWS)) {
            sample(&line, tap, samples);
        }
        for (row, to) in to.chunks_exact_mut(wide).enumerate() {
            to.iter_mut().zip(samples[row..].iter().step_by(ROWS)).for_each(|(to, &v)| *to = v);
        }
    }
    result
}

/// Samples the middle axis of an array of `[inner, count, outer]` values, the first fastest.
fn along(values: &[f32], [inner, count, outer]: [usize; 3], places: &[f64]) -> Vec<f32> {
    let taps = taps(places, count);
    let mut result = vec![0.0; inner * places.len() * outer];
    let mut line = Vec::new();
    for block in 0..outer {
        let from = &values[block * count * inner..][..count * inner];
        let to = &mut result[block * places.len() * inner..][..places.len() * inner];
        for first in (0..inner).step_by(LINES) {
            let lines = LINES.min(inner - first);
            lengthen(from, &mut line, inner, first..first + lines);
            prefilter(&mut line, lines);
            for (tap, to) in taps.iter().zip(to.chunks_exact_mut(inner)) {
                sample(&line, tap, &mut to[first..first + lines]);
            }
        }
    }
    result
}

/// The chosen lines of `from`, side by side, each end lengthened by its last value.
fn lengthen(from: &[f32], line: &mut Vec<f32>, inner: usize, chosen: std::ops::Range<usize>) {
    line.clear();
    let last = from.len() / inner - 1;
    for n in 0..last + 1 + 2 * BEYOND {
        let n = n.saturating_sub(BEYOND).min(last);
        line.extend_from_slice(&from[n * inner..][chosen.clone()]);
    }
}

/// Samples -> coefficients of the spline through them, for `lines` lines side by side that are constant beyond their ends.
fn prefilter(line: &mut [f32], lines: usize) {
    let pole = POLE as f32;
    let (start, turn) = ((GAIN / (1.0 - POLE)) as f32, (-POLE / (1.0 - POLE)) as f32);
    line[..lines].iter_mut().for_each(|v| *v *= start);
    for n in (lines..line.len()).step_by(lines) {
        let (before, here) = line.split_at_mut(n);
        for (v, b) in here[..lines].iter_mut().zip(&before[n - lines..]) {
            *v = GAIN as f32 * *v + pole * b;
        }
    }
    let last = line.len() - lines;
    line[last..].iter_mut().for_each(|v| *v *= turn);
    for n in (0..last).step_by(lines).rev() {
        let (here, behind) = line.split_at_mut(n + lines);
        for (v, b) in here[n..].iter_mut().zip(&behind[..lines]) {
            *v = pole * (b - *v);
        }
    }
}

fn sample(line: &[f32], tap: &Taps, to: &mut [f32]) {
    let lines = to.len();
    let [a, b, c, d] = [0, 1, 2, 3].map(|n| &line[(tap.first + n) * lines..][..lines]);
    let [wa, wb, wc, wd] = tap.weights;
    for (n, to) in to.iter_mut().enumerate() {
        *to = wa * a[n] + wb * b[n] + wc * c[n] + wd * d[n];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, Dims};

    fn line(counts: usize, mm: f64) -> Grid {
        let axes = [[mm, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let affine = Affine::new(axes, [0.0; 3]).unwrap();
        Grid { dims: Dims::new([counts, 1, 1]).unwrap(), affine }
    }

    #[test]
    fn the_spline_passes_through_the_voxels_and_stays_constant_beyond_them() {
        let values = vec![3.0, -1.0, 4.0, 1.0, 5.0];
        let source = Volume::new(line(5, 1.0), values.clone()).unwrap();
        let same = cubic(&source, source.grid());
        assert!(same.voxels().iter().zip(&values).all(|(a, b)| (a - b).abs() < 1e-5), "{same:?}");
        let far = cubic(&source, &line(40, 1.0));
        assert!((far.at([39, 0, 0]) - 5.0).abs() < 1e-5);
    }

    /// `scipy.ndimage.affine_transform([3, -1, 4, 1, 5], [[0.5]], order=3, mode="nearest")`.
    const SCIPY: [f32; 10] = [
        3.000000, 0.387967, -1.000000, 1.507214, 4.000000, 2.708176, 1.000000, 2.535081, 5.000000,
        5.526498,
    ];

    #[test]
    fn between_the_voxels_it_is_scipys() {
        let source = Volume::new(line(5, 1.0), vec![3.0, -1.0, 4.0, 1.0, 5.0]).unwrap();
        let finer = cubic(&source, &line(10, 0.5));
        for (got, want) in finer.voxels().iter().zip(SCIPY) {
            assert!((got - want).abs() < 1e-5, "{finer:?}");
        }
    }

    #[test]
    fn halfway_the_later_voxel_is_nearest() {
        let source = Volume::new(line(3, 1.0), vec![7u8, 8, 9]).unwrap();
        assert_eq!(nearest(&source, &line(7, 0.5)).voxels(), [7, 8, 8, 9, 9, 9, 9]);
    }
}
