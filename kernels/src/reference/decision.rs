//! Definition of `crate::decision`: every pixel by itself, its softmax in double precision.

use crate::decision::{Certainty, Scores};

/// See [`crate::decision::decide`].
pub fn decide(scores: &Scores, [columns, rows]: [usize; 2], out: &mut [u8]) -> Certainty {
    let Scores { values, passes, classes, padded } = *scores;
    let mut certainty = Certainty::default();
    for (pixel, out) in out.iter_mut().enumerate().take(columns * rows) {
        let at = pixel / columns * padded[0] + pixel % columns;
        let score = |pass: usize, class: usize| {
            values[(pass * classes + class) * padded[0] * padded[1] + at]
        };
        let sum =
            |class: usize| (1..passes).fold(score(0, class), |sum, pass| sum + score(pass, class));
        let best = (1..classes).fold(0, |best, c| if sum(c) > sum(best) { c } else { best });
        *out = best as u8;
        if best != 0 {
            let share = |class| (f64::from(sum(class) - sum(best)) / passes as f64).exp();
            certainty.sum += 1.0 / (0..classes).map(share).sum::<f64>();
            certainty.voxels += 1;
        }
    }
    certainty
}
