//! The shape of the spine: sizes of every level, its curve, and the frame of each vertebra.
//!
//! Levels count upwards: 0..=4 are S5..S1, 5..=9 L5..L1, 10..=21 T12..T1, 22..=27 C7..C2. Sizes are straight lines
//! between knots at a few levels, in millimetres, after the usual adult morphometry tables (Panjabi et al., Spine
//! 1991-1992, rounded). Angles: the sagittal tilt of a vertebra's axis, positive where its top leans backwards.

use crate::Region;
use crate::angle::sin_cos;
use crate::field::Profile;
use crate::random::Random;
use kernels::volume::{add, cross, dot, norm, scale, sub};

/// Levels of the chain, S5 to C2.
pub(crate) const LEVELS: usize = 28;
pub(crate) const S1: usize = 4;
pub(crate) const L5: usize = 5;
pub(crate) const T12: usize = 10;
pub(crate) const C7: usize = 22;
pub(crate) const C2: usize = 27;

/// Part of the spine a level belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Sacral,
    Lumbar,
    Thoracic,
    Cervical,
}

/// A vertebra's own axes: unit vectors in LPS through the centre of its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) centre: [f64; 3],
    pub(crate) back: [f64; 3],
    pub(crate) up: [f64; 3],
    pub(crate) left: [f64; 3],
}

impl Frame {
    /// The axes of the patient around a point.
    pub(crate) fn upright(centre: [f64; 3]) -> Frame {
        Frame { centre, back: [0.0, 1.0, 0.0], up: [0.0, 0.0, 1.0], left: [1.0, 0.0, 0.0] }
    }

    /// LPS millimetres -> (back, up, left).
    pub(crate) fn local(&self, point: [f64; 3]) -> [f64; 3] {
        let d = sub(point, self.centre);
        [dot(d, self.back), dot(d, self.up), dot(d, self.left)]
    }

    /// (back, up, left) -> LPS millimetres.
    pub(crate) fn world(&self, [u, v, w]: [f64; 3]) -> [f64; 3] {
        let offset = add(scale(self.back, u), add(scale(self.up, v), scale(self.left, w)));
        add(self.centre, offset)
    }
}

/// Sizes of one level in millimetres. Depth runs front to back, width left to right.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    pub(crate) depth: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// Height of the disc below.
    pub(crate) disc: f64,
    pub(crate) canal_depth: f64,
    pub(crate) canal_width: f64,
    pub(crate) cord_depth: f64,
    pub(crate) cord_width: f64,
}

/// One level of the spine.
#[derive(Debug, Clone)]
pub(crate) struct Vertebra {
    /// 0 (S5) to 27 (C2).
    pub(crate) level: usize,
    pub(crate) tilt: f64,
    pub(crate) size: Size,
    pub(crate) frame: Frame,
    /// Degeneration of the disc below: 0 young to 1 collapsed.
    pub(crate) degeneration: f64,
}

impl Vertebra {
    pub(crate) fn part(&self) -> Part {
        match self.level {
            0..=S1 => Part::Sacral,
            L5..T12 => Part::Lumbar,
            T12..C7 => Part::Thoracic,
            _ => Part::Cervical,
        }
    }
}

/// The whole chain and its course over the height of the patient.
#[derive(Debug)]
pub(crate) struct Spine {
    /// Bottom to top.
    pub(crate) vertebrae: Vec<Vertebra>,
    /// Over z: x and y of the line through the bodies, y with the bends smoothed out, level as a fraction, tilt.
    pub(crate) x: Profile,
    pub(crate) y: Profile,
    pub(crate) level: Profile,
    pub(crate) tilt: Profile,
}

/// Chain level at the middle of the field of view: L3 to L4, T7, C5 to C6, and between T10 and T9 for the whole spine.
fn middle_level(region: Region) -> f64 {
    match region {
        Region::Lumbar => 6.6,
        Region::Thoracic => 15.0,
        Region::Cervical => 23.6,
        Region::Whole => 12.4,
    }
}

impl Spine {
    /// A spine whose `region` lies around the origin of the world.
    pub(crate) fn new(random: &mut Random, region: Region) -> Spine {
        let sizes = sizes(random);
        let tilts = tilts(random, region);
        let degeneration = degeneration(random);
        let mut sizes = sizes;
        for level in L5..LEVELS {
            // A degenerated disc has lost up to half of its height.
            if random.chance(0.5) {
                sizes[level].disc *= 1.0 - 0.5 * degeneration[level];
            }
        }
        let mut centres = centres(random, &sizes, &tilts);
        let origin = middle(random, &centres, region);
        for centre in &mut centres {
            *centre = sub(*centre, origin);
        }
        let rotation = random.normal() * 2.5;
        let vertebrae: Vec<_> = (0..LEVELS)
            .map(|level| Vertebra {
                level,
                tilt: tilts[level],
                size: sizes[level],
                frame: frame(&centres, level, tilts[level], rotation),
                degeneration: degeneration[level],
            })
            .collect();
        Spine::along(vertebrae)
    }

    fn along(vertebrae: Vec<Vertebra>) -> Spine {
        let knots = |value: &dyn Fn(&Vertebra) -> f64| {
            let knots: Vec<_> = vertebrae.iter().map(|v| (v.frame.centre[2], value(v))).collect();
            Profile::through(&knots)
        };
        let (x, y) = (knots(&|v| v.frame.centre[0]), knots(&|v| v.frame.centre[1]));
        let level = knots(&|v| v.level as f64);
        // The sacrum tilts up to 62 degrees; a slanted tube is cut by horizontal rows up to there.
        let tilt = knots(&|v| v.tilt.clamp(-62.0, 62.0)).smoothed(6.0);
        Spine { vertebrae, x, y, level, tilt }
    }

    /// z of the point that lies `level` (a fraction) up the chain.
    pub(crate) fn z_of(&self, level: f64) -> f64 {
        let below = (level.max(0.0) as usize).min(LEVELS - 2);
        let z = |n: usize| self.vertebrae[n].frame.centre[2];
        z(below) + (z(below + 1) - z(below)) * (level - below as f64)
    }
}

/// Sizes of C2, C6, T1, T3, T7, T12, L1, L3, L5 in millimetres; the levels between are on straight lines.
const KNOT_LEVELS: [usize; 9] = [27, 23, 21, 19, 15, 10, 9, 7, 5];
const DEPTH: [f64; 9] = [15., 16., 17., 20., 26., 30., 32., 34., 35.];
const WIDTH: [f64; 9] = [17., 20., 27., 26., 28., 39., 41., 45., 50.];
const HEIGHT: [f64; 9] = [20., 13., 16., 17.5, 20., 25., 26., 27., 27.];
const DISC: [f64; 9] = [5., 5.5, 4.5, 4., 5., 6.5, 8., 10., 10.];
const CANAL_DEPTH: [f64; 9] = [17., 14., 15., 14.5, 14.5, 15.5, 17., 16.5, 17.];
const CANAL_WIDTH: [f64; 9] = [22., 23.5, 20., 17., 16.5, 20., 22., 23., 26.];
const CORD_DEPTH: [f64; 9] = [8.3, 8.1, 7.5, 6.8, 6.6, 8., 6.8, 3.2, 2.2];
const CORD_WIDTH: [f64; 9] = [12.6, 14., 11.2, 9.4, 8.9, 9.9, 8.4, 3.2, 2.2];
/// Sizes of S5..S1 relative to an L5 that is 35 mm deep.
const SACRAL_DEPTH: [f64; 5] = [8., 10.5, 14., 20., 31.5];
const SACRAL_WIDTH: [f64; 5] = [20., 26., 30., 36., 50.];
const SACRAL_HEIGHT: [f64; 5] = [15., 17., 21., 25., 30.];
const SACRAL_CANAL_DEPTH: [f64; 5] = [2., 5., 8., 11., 14.];
const SACRAL_CANAL_WIDTH: [f64; 5] = [4., 10., 14., 20., 26.];

fn knot(table: &[f64; 9], level: usize) -> f64 {
    let above = KNOT_LEVELS.iter().rposition(|&knot| knot >= level).unwrap_or(0);
    let below = (above + 1).min(KNOT_LEVELS.len() - 1);
    if above == below {
        return table[above];
    }
    let span = (KNOT_LEVELS[above] - KNOT_LEVELS[below]) as f64;
    let part = (KNOT_LEVELS[above] - level) as f64 / span;
    table[above] + (table[below] - table[above]) * part
}

fn sizes(random: &mut Random) -> [Size; LEVELS] {
    let stature = 1.0 + 0.07 * random.normal().clamp(-2.0, 2.0);
    let mut own = |spread: f64| stature * (1.0 + spread * random.normal());
    let person = [own(0.03), own(0.03), own(0.03), own(0.12), own(0.05), own(0.04)];
    let cord = own(0.04);
    let mut sizes = [Size::default(); LEVELS];
    for (level, size) in sizes.iter_mut().enumerate().skip(L5) {
        let mut here = |table: &[f64; 9], person: f64, spread: f64| {
            knot(table, level) * person * (1.0 + spread * random.normal())
        };
        *size = Size {
            depth: here(&DEPTH, person[0], 0.02),
            width: here(&WIDTH, person[1], 0.02),
            height: here(&HEIGHT, person[2], 0.02),
            disc: here(&DISC, person[3], 0.06),
            canal_depth: here(&CANAL_DEPTH, person[4], 0.025),
            canal_width: here(&CANAL_WIDTH, person[5], 0.025),
            cord_depth: here(&CORD_DEPTH, cord, 0.02),
            cord_width: here(&CORD_WIDTH, cord, 0.02),
        };
    }
    let sacral = sizes[L5].depth / 35.0;
    // S1 and S2 keep a remnant of their disc, the lower segments are fused.
    let remnant =
        if random.chance(0.65) { random.between(1.3, 2.5) } else { random.between(2.0, 5.5) };
    for level in 0..=S1 {
        sizes[level] = Size {
            depth: SACRAL_DEPTH[level] * sacral * (1.0 + 0.025 * random.normal()),
            width: SACRAL_WIDTH[level] * sacral,
            height: SACRAL_HEIGHT[level] * sacral * (1.0 + 0.025 * random.normal()),
            disc: if level == S1 { remnant } else { 0.7 },
            canal_depth: SACRAL_CANAL_DEPTH[level] * random.between(0.9, 1.1),
            canal_width: SACRAL_CANAL_WIDTH[level] * random.between(0.95, 1.05),
            cord_depth: 2.0,
            cord_width: 2.0,
        };
    }
    sizes
}

/// Lumbar lordosis from L5 up to T11 as shares of the whole: most of it sits at the lumbosacral junction.
const LORDOSIS: [f64; 7] = [0.32, 0.28, 0.20, 0.14, 0.08, 0.02, -0.03];

/// Sagittal tilt of each level in degrees.
fn tilts(random: &mut Random, region: Region) -> [f64; LEVELS] {
    let mut tilt = [0.0; LEVELS];
    let slope = random.between(28.0, 43.0);
    // Lordosis follows the sacral slope, so that the trunk stays over the pelvis (Legaye et al., 1998).
    let lordosis = slope + random.between(6.0, 16.0);
    let kyphosis = random.between(0.7, 1.25);
    let cervical = random.between(-0.2, 1.1);
    tilt[S1] = -slope;
    for level in L5..LEVELS {
        let bend = match level {
            L5..=11 => LORDOSIS[level - L5] * lordosis,
            12 => -2.0 * kyphosis,
            13..C7 => -3.3 * kyphosis,
            _ => 3.3 * cervical + 2.0 * (kyphosis - 0.7),
        };
        tilt[level] = tilt[level - 1] + bend + random.normal() * 0.8;
    }
    if region == Region::Cervical {
        // A neck is imaged upright, whatever the trunk below it does.
        let mean = tilt[20..].iter().sum::<f64>() / 8.0;
        let upright = random.normal() * 4.0;
        tilt[S1..].iter_mut().for_each(|t| *t += upright - mean);
    }
    // The sacrum is concave towards the pelvis.
    for (level, bend) in [(3, (-4.0, 8.0)), (2, (4.0, 18.0)), (1, (8.0, 24.0)), (0, (8.0, 24.0))] {
        tilt[level] = tilt[level + 1] + random.between(bend.0, bend.1);
    }
    tilt
}

/// Discs wear from the bottom up; the thoracic ones last.
fn degeneration(random: &mut Random) -> [f64; LEVELS] {
    let age = random.between(0.1, 0.9);
    std::array::from_fn(|level| {
        let exposure = match level {
            L5..=6 => 1.2,
            7..=9 => 0.8,
            C7..=25 => 0.9,
            _ => 0.5,
        };
        (age * exposure * random.between(0.2, 1.2)).clamp(0.0, 1.0)
    })
}

fn up(tilt: f64) -> [f64; 3] {
    let (sine, cosine) = sin_cos(tilt);
    [0.0, sine, cosine]
}

fn back(tilt: f64) -> [f64; 3] {
    let (sine, cosine) = sin_cos(tilt);
    [0.0, cosine, -sine]
}

/// Centre of every body, S1's at the origin of y and z; the scoliosis is in x.
fn centres(
    random: &mut Random,
    sizes: &[Size; LEVELS],
    tilts: &[f64; LEVELS],
) -> [[f64; 3]; LEVELS] {
    let mut centres = [[0.0; 3]; LEVELS];
    let stride = |lower: usize, upper: usize| {
        let disc = (tilts[lower] + tilts[upper]) / 2.0;
        let half = |level: usize| scale(up(tilts[level]), sizes[level].height / 2.0);
        add(add(half(lower), scale(up(disc), sizes[upper].disc)), half(upper))
    };
    for level in L5..LEVELS {
        centres[level] = add(centres[level - 1], stride(level - 1, level));
    }
    for level in (0..S1).rev() {
        centres[level] = sub(centres[level + 1], stride(level, level + 1));
    }
    for level in 0..S1 {
        // Sacral bodies taper at the front: their back walls stay in line.
        let shift = (sizes[S1].depth - sizes[level].depth) / 2.0;
        centres[level] = add(centres[level], scale(back(tilts[level]), shift));
    }
    let sway = random.normal() * 2.0;
    let (wave, phase) = (random.between(200.0, 420.0), random.between(0.0, 360.0));
    let lean = random.normal() * 0.012;
    for centre in &mut centres {
        centre[0] = sway * sin_cos(centre[2] / wave * 360.0 + phase).0 + lean * centre[2];
    }
    centres
}

/// The point that becomes the origin of the world: the isocentre of a usual positioning.
fn middle(random: &mut Random, centres: &[[f64; 3]; LEVELS], region: Region) -> [f64; 3] {
    let level = middle_level(region) + random.normal() * 0.15;
    let below = level as usize;
    let part = level - below as f64;
    let on = |axis: usize| {
        centres[below][axis] + (centres[below + 1][axis] - centres[below][axis]) * part
    };
    // The column lies a little behind the middle of the field, more room in front of it than behind.
    [on(0) + random.normal(), on(1) - random.between(2.0, 14.0), on(2)]
}

/// Axes of the vertebra at `level`; `rotation` in degrees turns it about its own axis at full scoliosis.
fn frame(centres: &[[f64; 3]; LEVELS], level: usize, tilt: f64, rotation: f64) -> Frame {
    let (below, above) = (level.saturating_sub(1), (level + 1).min(LEVELS - 1));
    let rise = sub(centres[above], centres[below]);
    let lean = rise[0] / norm(rise);
    let mut axis = up(tilt);
    axis[0] = lean;
    let axis = scale(axis, 1.0 / norm(axis));
    let straight = back(tilt);
    let straight = sub(straight, scale(axis, dot(straight, axis)));
    let straight = scale(straight, 1.0 / norm(straight));
    let side = cross(straight, axis);
    let (sine, cosine) = sin_cos(rotation * (1.0 + 20.0 * lean));
    let back = add(scale(straight, cosine), scale(side, sine));
    Frame { centre: centres[level], back, up: axis, left: cross(back, axis) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_pass_their_knots() {
        assert_eq!(knot(&DEPTH, 27), 15.0);
        assert_eq!(knot(&DEPTH, 5), 35.0);
        assert_eq!(knot(&WIDTH, 8), 43.0);
        assert_eq!(knot(&HEIGHT, 10), 25.0);
    }

    #[test]
    fn chain_rises_and_every_frame_is_right_handed() {
        for seed in 0..200 {
            let spine = Spine::new(&mut Random::stream(seed, 1), Region::Whole);
            for pair in spine.vertebrae.windows(2) {
                assert!(pair[1].frame.centre[2] > pair[0].frame.centre[2] + 2.0, "seed {seed}");
            }
            for vertebra in &spine.vertebrae {
                let Frame { back, up, left, .. } = vertebra.frame;
                assert!(left[0] > 0.7 && dot(cross(left, back), up) > 0.999, "seed {seed}");
                let place = vertebra.frame.local(vertebra.frame.world([3.0, -2.0, 5.0]));
                assert!((place[0] - 3.0).abs() < 1e-9 && (place[2] - 5.0).abs() < 1e-9);
            }
        }
    }
}
