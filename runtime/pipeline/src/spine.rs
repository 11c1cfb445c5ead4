//! The line through the bodies: where on the spine a point lies, in units of vertebrae.

use kernels::volume::{add, dot, norm, scale, sub};

/// Distance between the centres of neighbouring bodies where only one is in view: between C4 (18 mm) and L4 (38 mm).
const LONE_PITCH_MM: f64 = 28.0;

/// A body's centre and the spine's direction there, millimetres along the grid's axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    centre: [f64; 3],
    /// Unit vector down the spine.
    down: [f64; 3],
    /// Unit vector to the back, perpendicular to `down`.
    back: [f64; 3],
    /// Distance to the nearer neighbour's centre: a body missed between two must not stretch it.
    pitch: f64,
}

impl Level {
    /// How far `point` (millimetres along the grid's axes) lies below and behind the body's centre, in vertebrae.
    pub fn place(&self, point: [f64; 3]) -> [f64; 2] {
        let from_centre = scale(sub(point, self.centre), 1.0 / self.pitch);
        [dot(from_centre, self.down), dot(from_centre, self.back)]
    }
}

/// The levels of bodies with `centres` (voxels of a (P, I, R) grid of `spacing`), top to bottom.
pub fn levels(centres: &[[f64; 3]], spacing: [f64; 3]) -> Vec<Level> {
    let centres: Vec<[f64; 3]> =
        centres.iter().map(|at| std::array::from_fn(|axis| at[axis] * spacing[axis])).collect();
    let last = centres.len().saturating_sub(1);
    (0..centres.len())
        .map(|n| {
            let (above, below) = (centres[n.saturating_sub(1)], centres[(n + 1).min(last)]);
            let down = unit(sub(below, above), [0.0, 1.0, 0.0]);
            let posterior = [1.0, 0.0, 0.0];
            let back = unit(add(posterior, scale(down, -dot(posterior, down))), posterior);
            let near = [above, below].map(|other| norm(sub(other, centres[n])));
            let pitch = near.into_iter().filter(|&mm| mm > 0.0).reduce(f64::min);
            Level { centre: centres[n], down, back, pitch: pitch.unwrap_or(LONE_PITCH_MM) }
        })
        .collect()
}

/// `vector` with length 1; `otherwise` where it has none (a lone body has no direction).
fn unit(vector: [f64; 3], otherwise: [f64; 3]) -> [f64; 3] {
    let length = norm(vector);
    if length > 0.0 { scale(vector, 1.0 / length) } else { otherwise }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_in_vertebrae_along_the_curve() {
        // 30 mm down and 30 mm back from body to body: the spine leans by 45 degrees.
        let levels = levels(&[[0.0, 0.0, 4.0], [30.0, 60.0, 4.0]], [1.0, 0.5, 3.0]);
        let [below, behind] = levels[0].place([30.0, 30.0, 12.0]);
        assert!((below - 1.0).abs() < 1e-9 && behind.abs() < 1e-9, "{below} {behind}");
        let [below, behind] = levels[1].place([60.0, 0.0, 0.0]);
        assert!(below.abs() < 1e-9 && (behind - 1.0).abs() < 1e-9, "{below} {behind}");
    }

    #[test]
    fn a_lone_body_stands_upright() {
        let level = levels(&[[10.0, 10.0, 1.0]], [1.0; 3])[0];
        assert_eq!(level.place([10.0, 10.0 + LONE_PITCH_MM, 1.0]), [1.0, 0.0]);
    }
}
