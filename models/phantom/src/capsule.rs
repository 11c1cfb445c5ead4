//! Simple solids in the frame of a vertebra, (back, up, left) in millimetres: what processes, ribs and rods are
//! made of.

use crate::canvas::Reach;

/// What has an inside.
pub(crate) trait Solid: Copy {
    fn holds(&self, point: [f64; 3]) -> bool;

    /// The same with `margin` around it.
    fn grown(&self, margin: f64) -> Self;

    /// A box that holds it with `margin` around it.
    fn reach(&self, margin: f64) -> Reach;
}

/// A segment from `a` to `b` with a radius along each axis (back, up, left), in millimetres.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Capsule {
    pub(crate) a: [f64; 3],
    pub(crate) b: [f64; 3],
    radii: [f64; 3],
    /// One by each radius: the point is asked for more often than the capsule is made.
    per_radius: [f64; 3],
    /// From `a` to `b`, and the same by its squared length.
    along: [f64; 3],
    per_length: [f64; 3],
}

impl Capsule {
    pub(crate) fn new(a: [f64; 3], b: [f64; 3], radii: [f64; 3]) -> Capsule {
        let along: [f64; 3] = std::array::from_fn(|n| b[n] - a[n]);
        let square = along.iter().map(|x| x * x).sum::<f64>().max(1e-6);
        let (per_radius, per_length) = (radii.map(|r| 1.0 / r), along.map(|x| x / square));
        Capsule { a, b, radii, per_radius, along, per_length }
    }

    /// The same on the right: `w` changes its sign.
    pub(crate) fn mirrored(self) -> Capsule {
        let turn = |[u, v, w]: [f64; 3]| [u, v, -w];
        Capsule::new(turn(self.a), turn(self.b), self.radii)
    }

    /// The same, `back` further to posterior.
    pub(crate) fn moved(self, back: f64) -> Capsule {
        let turn = |[u, v, w]: [f64; 3]| [u + back, v, w];
        Capsule::new(turn(self.a), turn(self.b), self.radii)
    }
}

impl Solid for Capsule {
    fn holds(&self, point: [f64; 3]) -> bool {
        let p: [f64; 3] = std::array::from_fn(|n| point[n] - self.a[n]);
        let share: f64 = (0..3).map(|n| p[n] * self.per_length[n]).sum();
        let share = share.clamp(0.0, 1.0);
        let distance = |n: usize| (p[n] - share * self.along[n]) * self.per_radius[n];
        (0..3).map(|n| distance(n) * distance(n)).sum::<f64>() < 1.0
    }

    fn grown(&self, margin: f64) -> Capsule {
        Capsule::new(self.a, self.b, self.radii.map(|r| r + margin))
    }

    fn reach(&self, margin: f64) -> Reach {
        Reach::around(self.a, self.b, self.radii.map(|r| r + margin))
    }
}

/// A blade from `a` to `b`, both in a sagittal plane, that stands on edge: half heights and half thicknesses at both
/// ends, rounded beyond them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blade {
    pub(crate) a: [f64; 3],
    pub(crate) b: [f64; 3],
    pub(crate) heights: [f64; 2],
    pub(crate) thicknesses: [f64; 2],
}

impl Blade {
    /// The same, `back` further to posterior.
    pub(crate) fn moved(self, back: f64) -> Blade {
        let turn = |[u, v, w]: [f64; 3]| [u + back, v, w];
        Blade { a: turn(self.a), b: turn(self.b), ..self }
    }
}

impl Solid for Blade {
    fn holds(&self, point: [f64; 3]) -> bool {
        let [du, dv, dw] = std::array::from_fn(|n| self.b[n] - self.a[n]);
        let [u, v, w] = std::array::from_fn(|n| point[n] - self.a[n]);
        let length = (du * du + dv * dv).max(1e-6);
        let free = (u * du + v * dv) / length;
        let along = free.clamp(0.0, 1.0);
        let at = |ends: [f64; 2]| ends[0] + (ends[1] - ends[0]) * along;
        let (height, thickness) = (at(self.heights), at(self.thicknesses));
        let root = length.sqrt();
        let (beyond, off) = ((free - along) * root, (v * du - u * dv) / root);
        let (x, y) = (beyond / thickness, off / height);
        let z = (w - dw * along) / thickness;
        // Flat edges above and below, round ones behind.
        x * x + y * y * y * y + z * z < 1.0
    }

    fn grown(&self, margin: f64) -> Blade {
        let grow = |half: [f64; 2]| half.map(|h| h + margin);
        Blade { heights: grow(self.heights), thicknesses: grow(self.thicknesses), ..*self }
    }

    fn reach(&self, margin: f64) -> Reach {
        let tall = self.heights[0].max(self.heights[1]) + margin;
        let thick = self.thicknesses[0].max(self.thicknesses[1]) + margin;
        Reach::around(self.a, self.b, [tall + thick, tall, thick])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capsule_is_round_at_its_ends_and_has_a_mirror_image() {
        let capsule = Capsule::new([0.0, 0.0, 5.0], [10.0, 0.0, 5.0], [2.0, 3.0, 4.0]);
        assert!(capsule.holds([11.9, 0.0, 5.0]) && !capsule.holds([12.1, 0.0, 5.0]));
        assert!(capsule.holds([5.0, 2.9, 5.0]) && !capsule.holds([5.0, 3.1, 5.0]));
        assert!(capsule.mirrored().holds([5.0, 0.0, -8.9]));
        assert!(capsule.moved(3.0).holds([14.9, 0.0, 5.0]));
    }

    #[test]
    fn a_blade_is_high_and_thin() {
        let blade = Blade {
            a: [0.0, 0.0, 0.0],
            b: [20.0, 0.0, 0.0],
            heights: [5.0, 9.0],
            thicknesses: [2.0, 3.0],
        };
        assert!(blade.holds([20.0, 8.9, 0.0]) && !blade.holds([0.0, 8.9, 0.0]));
        assert!(blade.holds([0.0, 0.0, 1.9]) && !blade.holds([0.0, 0.0, 2.1]));
        let reach = blade.reach(0.0);
        assert!(reach.high[0] >= 23.0 && reach.high[1] >= 9.0 && reach.low[2] <= -3.0);
    }
}
