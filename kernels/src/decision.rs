//! Scores -> class map: the largest score of each pixel over one or more passes, and how sure it is.

/// What a net says of slices, as it leaves it: rows and columns padded, mirrored passes one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    /// `[passes, classes, padded rows, padded columns]` for each slice.
    pub values: &'a [f32],
    pub passes: usize,
    pub classes: usize,
    /// Columns and rows.
    pub padded: [usize; 2],
}

/// The sum of the winning probabilities, class 0 left out.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Certainty {
    pub sum: f64,
    pub voxels: usize,
}

impl Certainty {
    pub fn mean(&self) -> f32 {
        if self.voxels == 0 { 0.0 } else { (self.sum / self.voxels as f64) as f32 }
    }

    pub fn add(&mut self, other: Certainty) {
        self.sum += other.sum;
        self.voxels += other.voxels;
    }
}

/// Class of each pixel of one slice of `columns` and `rows`: the largest score, summed over the passes; ties go to the
/// lower class. The probability of a winner is that of a softmax over the mean of the passes.
pub fn decide(scores: &Scores, [columns, rows]: [usize; 2], out: &mut [u8]) -> Certainty {
    let Scores { values, passes, classes, padded } = *scores;
    let plane = padded[0] * padded[1];
    let mut certainty = Certainty::default();
    // Row by row and class by class: memory is read in order, and the loops over columns are vectors.
    let mut sums = vec![0.0f32; classes * columns];
    let mut top = vec![0.0f32; columns];
    for (row, out) in out.chunks_exact_mut(columns).take(rows).enumerate() {
        let line = |pass: usize, class: usize| {
            &values[(pass * classes + class) * plane + row * padded[0]..][..columns]
        };
        for (class, sums) in sums.chunks_exact_mut(columns).enumerate() {
            sums.copy_from_slice(line(0, class));
            for pass in 1..passes {
                sums.iter_mut().zip(line(pass, class)).for_each(|(sum, score)| *sum += score);
            }
        }
        largest(&sums, out, &mut top);
        for (column, _) in out.iter().enumerate().filter(|(_, class)| **class != 0) {
            let scores = sums.iter().skip(column).step_by(columns);
            let others: f32 = scores.map(|s| ((s - top[column]) / passes as f32).exp()).sum();
            certainty.sum += f64::from(1.0 / others);
            certainty.voxels += 1;
        }
    }
    certainty
}

/// The class with the largest of `sums` (`[classes, columns]`) for every column, and that sum.
fn largest(sums: &[f32], best: &mut [u8], top: &mut [f32]) {
    let columns = top.len();
    best.fill(0);
    top.copy_from_slice(&sums[..columns]);
    for (class, sums) in sums.chunks_exact(columns).enumerate().skip(1) {
        for ((best, top), &sum) in best.iter_mut().zip(top.iter_mut()).zip(sums) {
            let better = sum > *top;
            *best = if better { class as u8 } else { *best };
            *top = if better { sum } else { *top };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_to_the_lower_class() {
        let (mut best, mut top) = ([9; 2], [0.0; 2]);
        largest(&[1.0, 3.0, 2.0, 3.0, 2.0, 1.0], &mut best, &mut top);
        assert_eq!((best, top), ([1, 0], [2.0, 3.0]));
    }
}
