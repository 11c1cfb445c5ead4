//! Definition of `crate::answers`: every voxel and every plane by itself.

use crate::answers::{Around, Layout};
use crate::one_hot::Shown;

/// See [`crate::answers::said`].
pub fn said(scores: &[f32], layout: &Layout, nearest: &Shown, voxels: &[[usize; 3]]) -> Vec<u8> {
    let [columns, rows, slices] = layout.counts;
    let mut said = Vec::new();
    for index in voxels {
        let [i, j, k] = [0, 1, 2].map(|axis| nearest[axis][index[axis]]);
        let mut best = 0;
        if let (Some(i), Some(j), Some(k)) = (i, j, k) {
            let score = |class: usize| scores[((class * slices + k) * rows + j) * columns + i];
            for class in 1..layout.classes {
                if score(class) > score(best) {
                    best = class;
                }
            }
        }
        said.push(best as u8);
    }
    said
}

/// See [`crate::answers::means`].
pub fn means(scores: &[f32], layout: &Layout, around: &Around) -> Vec<f64> {
    let [columns, rows, slices] = layout.counts;
    let mut means = Vec::new();
    for plane in layout.classes * slices..layout.planes() {
        let (mut sum, mut count) = (0.0, 0);
        for row in around.rows.clone() {
            for column in around.columns.clone() {
                sum += f64::from(scores[(plane * rows + row) * columns + column]);
                count += 1;
            }
        }
        means.push(sum / f64::from(count));
    }
    means
}
