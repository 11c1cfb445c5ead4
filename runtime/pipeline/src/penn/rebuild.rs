//! Scores of patches back to pixels: equal to `RECONSTRUCTIONS` of `models/train/penn/patches.py`.

use super::SIDE;

/// How a pixel gets its score; the training chooses on patients that it did not learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reconstruction {
    /// The mean of all patches that cover it.
    Mean,
    /// That of the patch whose middle is nearest.
    Centre,
}

impl Reconstruction {
    pub const ALL: [Reconstruction; 2] = [Reconstruction::Mean, Reconstruction::Centre];

    /// The word in cards and weights.
    pub fn name(self) -> &'static str {
        match self {
            Reconstruction::Mean => "mean",
            Reconstruction::Centre => "centre",
        }
    }
}

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

/// The score of each pixel of a slice of `[columns, rows]`; `positions` are those of the patches along columns and rows of
/// the padded slice.
pub fn rebuilt(
    way: Reconstruction,
    scores: &[f32],
    positions: [usize; 2],
    size: [usize; 2],
    stride: usize,
) -> Vec<f32> {
    match way {
        Reconstruction::Mean => mean(scores, positions, size, stride),
        Reconstruction::Centre => centre(scores, positions, size, stride),
    }
}

fn centre(
    scores: &[f32],
    positions: [usize; 2],
    [columns, rows]: [usize; 2],
    stride: usize,
) -> Vec<f32> {
    // The patch at place n has its middle PADDING further on, which is pixel n of the slice without its padding.
    let nearest = |n: usize, count: usize| ((n + stride / 2) / stride).min(count - 1);
    let at = |n: usize| {
        let (x, y) = (nearest(n % columns, positions[0]), nearest(n / columns, positions[1]));
        scores[y * positions[0] + x]
    };
    (0..columns * rows).map(at).collect()
}

fn mean(
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
