//! Scores of patches back to pixels: equal to `mean` of `models/train/penn/patches.py`.

use super::SIDE;

/// Mirrored pixels around a slice, so that every pixel has patches on all sides.
pub const PADDING: usize = SIDE / 2;

/// A slice of `columns` with [`PADDING`] mirrored pixels on each side, the edge itself not repeated; and its columns then.
pub fn padded(plane: &[f32], columns: usize) -> (Vec<f32>, usize) {
    let wide = columns + 2 * PADDING;
    let rows = plane.len() / columns;
    let across: Vec<usize> = (0..wide).map(|n| mirrored(n, columns)).collect();
    let down = (0..rows + 2 * PADDING).map(|n| mirrored(n, rows));
    let values =
        down.flat_map(|row| across.iter().map(move |column| plane[row * columns + column]));
    (values.collect(), wide)
}

/// Which of `count` pixels lies at place `n` of the padded ones, however few there are.
fn mirrored(n: usize, count: usize) -> usize {
    let period = 2 * (count - 1).max(1);
    let place = (n as isize - PADDING as isize).rem_euclid(period as isize) as usize;
    place.min(period - place).min(count - 1)
}

/// The mean score of all patches over each pixel of a slice of `[columns, rows]`; `positions` are those along columns and
/// rows of the padded slice.
pub fn rebuilt(
    scores: &[f32],
    positions: [usize; 2],
    [columns, rows]: [usize; 2],
    stride: usize,
) -> Vec<f32> {
    let wide = columns + 2 * PADDING + 1;
    let mut sums = vec![0.0f64; wide * (rows + 2 * PADDING + 1)];
    let mut counts = sums.clone();
    // The corners of every patch's square; running sums fill them.
    for (n, &score) in scores.iter().enumerate() {
        let (x, y) = (n % positions[0] * stride, n / positions[0] * stride);
        for (right, down, sign) in
            [(0, 0, 1.0), (SIDE, 0, -1.0), (0, SIDE, -1.0), (SIDE, SIDE, 1.0)]
        {
            let place = (y + down) * wide + x + right;
            sums[place] += sign * f64::from(score);
            counts[place] += sign;
        }
    }
    fill(&mut sums, wide);
    fill(&mut counts, wide);
    let place = |n: usize| (n / columns + PADDING) * wide + n % columns + PADDING;
    (0..columns * rows).map(|n| (sums[place(n)] / counts[place(n)].round()) as f32).collect()
}

/// Running sums along rows and columns.
fn fill(values: &mut [f64], wide: usize) {
    for row in values.chunks_exact_mut(wide) {
        let mut sum = 0.0;
        row.iter_mut().for_each(|value| {
            sum += *value;
            *value = sum;
        });
    }
    for n in wide..values.len() {
        values[n] += values[n - wide];
    }
}
