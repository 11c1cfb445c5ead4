//! The shape of the spine: its curve, and the frame of each vertebra.
//!
//! Levels count upwards along the chain: 0..=4 are S5..S1, 5 the lowest lumbar vertebra, and so on to C2. Places are
//! levels of the usual chain (`variants`): 5..=9 L5..L1, 10..=21 T12..T1, 22..=27 C7..C2. Angles: the sagittal tilt
//! of a vertebra's axis in degrees, positive where its top leans backwards.

use crate::angle::sin_cos;
use crate::field::Profile;
use crate::morphometry::{Size, sizes};
use crate::pathology::Findings;
use crate::random::Random;
use crate::variants::Plan;
use crate::{Population, Region};
use kernels::volume::{add, cross, dot, norm, scale, sub};

/// No chain has more levels: five sacral, six lumbar, thirteen thoracic and seven cervical vertebrae.
pub(crate) const LEVELS: usize = 31;
/// Both levels and places: below the lumbar spine all chains are alike.
pub(crate) const S1: usize = 4;
pub(crate) const L5: usize = 5;
/// Places.
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

/// One level of the spine.
#[derive(Debug, Clone)]
pub(crate) struct Vertebra {
    /// Index in the chain.
    pub(crate) level: usize,
    /// Where it would lie in the usual chain.
    pub(crate) place: f64,
    pub(crate) part: Part,
    /// SPINEPS instance value.
    pub(crate) id: u8,
    pub(crate) tilt: f64,
    pub(crate) size: Size,
    pub(crate) frame: Frame,
    /// Degeneration of the disc below: 0 young to 1 collapsed.
    pub(crate) degeneration: f64,
    pub(crate) findings: Findings,
}

impl Vertebra {
    /// Height of the body before a fracture took from it.
    pub(crate) fn whole_height(&self) -> f64 {
        self.size.height / self.findings.fracture.map_or(1.0, |f| f.height_left())
    }
}

/// The whole chain and its course over the height of the patient.
#[derive(Debug)]
pub(crate) struct Spine {
    /// Bottom to top.
    pub(crate) vertebrae: Vec<Vertebra>,
    /// Over z: x and y of the line through the bodies, place in the usual chain and level as fractions, tilt.
    pub(crate) x: Profile,
    pub(crate) y: Profile,
    pub(crate) place: Profile,
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
    /// A spine of `plan` whose `region` lies around the origin of the world.
    pub(crate) fn new(
        random: &mut Random,
        plan: &Plan,
        findings: Vec<Findings>,
        (region, population): (Region, Population),
    ) -> Spine {
        let sizes = sizes(random, plan, &findings, population);
        let tilts = tilts(random, plan, &sizes, &findings, (region, population));
        let mut centres = centres(random, &sizes, &tilts, &findings, population);
        let origin = middle(random, plan, &centres, region);
        for centre in &mut centres {
            *centre = sub(*centre, origin);
        }
        let rotation = random.normal() * 2.5;
        let vertebrae = std::iter::zip(&plan.links, findings).enumerate();
        let vertebrae = vertebrae.map(|(level, (link, findings))| Vertebra {
            level,
            place: link.place,
            part: link.part,
            id: link.id,
            tilt: tilts[level],
            size: sizes[level],
            frame: frame(&centres, level, tilts[level], rotation),
            degeneration: findings.disc.wear,
            findings,
        });
        Spine::along(vertebrae.collect())
    }

    fn along(vertebrae: Vec<Vertebra>) -> Spine {
        let knots = |value: &dyn Fn(&Vertebra) -> f64| {
            let knots: Vec<_> = vertebrae.iter().map(|v| (v.frame.centre[2], value(v))).collect();
            Profile::through(&knots)
        };
        let (x, y) = (knots(&|v| v.frame.centre[0]), knots(&|v| v.frame.centre[1]));
        let place = knots(&|v| v.place);
        let level = knots(&|v| v.level as f64);
        // The sacrum tilts up to 62 degrees; a slanted tube is cut by horizontal rows up to there.
        let tilt = knots(&|v| v.tilt.clamp(-62.0, 62.0)).smoothed(6.0);
        Spine { vertebrae, x, y, place, level, tilt }
    }

    /// z of the point that lies at `place`, a fraction, of the usual chain.
    pub(crate) fn z_of(&self, place: f64) -> f64 {
        let chain = &self.vertebrae;
        let below = chain.iter().rposition(|v| v.place <= place).unwrap_or(0).min(chain.len() - 2);
        let [lower, upper] = [&chain[below], &chain[below + 1]];
        let z = |v: &Vertebra| v.frame.centre[2];
        z(lower) + (z(upper) - z(lower)) * (place - lower.place) / (upper.place - lower.place)
    }

    /// The vertebra that lies nearest to `place` of the usual chain.
    pub(crate) fn nearest(&self, place: f64) -> &Vertebra {
        let above = self.vertebrae.iter().position(|v| v.place >= place);
        &self.vertebrae[above.unwrap_or(self.vertebrae.len() - 1)]
    }

    /// C2: the uppermost vertebra of the chain.
    pub(crate) fn top(&self) -> &Vertebra {
        &self.vertebrae[self.vertebrae.len() - 1]
    }
}

/// Lumbar lordosis from L5 up to T11 as shares of the whole: most of it sits at the lumbosacral junction.
const LORDOSIS: [f64; 7] = [0.32, 0.28, 0.20, 0.14, 0.08, 0.02, -0.03];

/// Sagittal tilt of each level in degrees.
fn tilts(
    random: &mut Random,
    plan: &Plan,
    sizes: &[Size],
    findings: &[Findings],
    (region, population): (Region, Population),
) -> Vec<f64> {
    let mut range = |usual: [f64; 2], training: [f64; 2]| {
        let [low, high] = if population == Population::Training { training } else { usual };
        random.between(low, high)
    };
    let slope = range([28.0, 43.0], [20.0, 60.0]);
    // Lordosis follows the sacral slope, so that the trunk stays over the pelvis (Legaye et al., 1998).
    let lordosis = slope + range([6.0, 16.0], [-6.0, 20.0]);
    let kyphosis = range([0.7, 1.25], [0.4, 1.7]);
    let cervical = range([-0.2, 1.1], [-1.2, 1.4]);
    let lumbar = plan.links.iter().filter(|l| l.part == Part::Lumbar).count() as f64;
    let mut tilt = vec![0.0; plan.links.len()];
    tilt[S1] = -slope;
    for level in L5..tilt.len() {
        let place = plan.links[level].place;
        let bend = match plan.links[level].part {
            Part::Sacral => 0.0,
            // Six vertebrae share what is usually five's.
            Part::Lumbar => LORDOSIS[place as usize - L5] * lordosis * 5.0 / lumbar,
            Part::Thoracic if place < 11.5 => LORDOSIS[place as usize - L5] * lordosis,
            Part::Thoracic if place < 12.5 => -2.0 * kyphosis,
            Part::Thoracic => -3.3 * kyphosis,
            Part::Cervical => 3.3 * cervical + 2.0 * (kyphosis - 0.7),
        };
        tilt[level] =
            tilt[level - 1] + bend - fracture_angle(level, sizes, findings) + random.normal() * 0.8;
    }
    let field = match region {
        // A neck is imaged upright, whatever the trunk below it does; a chest nearly so.
        Region::Cervical => Some((20.0..28.0, random.normal() * 6.0)),
        Region::Thoracic | Region::Whole => Some((10.0..22.0, random.normal() * 5.0 - 6.0)),
        Region::Lumbar => None,
    };
    if let Some((places, upright)) = field {
        let inside: Vec<_> = std::iter::zip(&plan.links, &tilt)
            .filter(|(link, _)| places.contains(&link.place))
            .map(|(_, tilt)| *tilt)
            .collect();
        let mean = inside.iter().sum::<f64>() / inside.len() as f64;
        // The sacrum must not lie down: its segments are drawn from bottom to top.
        let turn = (upright - mean).max(-MAX_SACRAL_TILT - tilt[S1]);
        tilt[S1..].iter_mut().for_each(|t| *t += turn);
    }
    // The sacrum is concave towards the pelvis.
    for (level, bend) in [(3, (-2.0, 12.0)), (2, (5.0, 22.0)), (1, (8.0, 28.0)), (0, (8.0, 30.0))] {
        tilt[level] = tilt[level + 1] + random.between(bend.0, bend.1);
    }
    tilt
}

/// Steepest tilt of S1 to either side, degrees.
const MAX_SACRAL_TILT: f64 = 60.0;

/// Kyphosis that half of the fractures of `level` and of the level below add between them, degrees.
fn fracture_angle(level: usize, sizes: &[Size], findings: &[Findings]) -> f64 {
    let wedge = |n: usize| {
        findings[n].fracture.map_or(0.0, |f| {
            let whole = sizes[n].height / f.height_left();
            (f.front - f.back) * whole / sizes[n].depth
        })
    };
    // Small angles; the neighbouring discs make up for a third of it.
    0.66 * 57.3 * (wedge(level) + wedge(level - 1)) / 2.0
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
    sizes: &[Size],
    tilts: &[f64],
    findings: &[Findings],
    population: Population,
) -> Vec<[f64; 3]> {
    let mut centres = vec![[0.0; 3]; sizes.len()];
    let stride = |lower: usize, upper: usize| {
        let disc = (tilts[lower] + tilts[upper]) / 2.0;
        let half = |level: usize| scale(up(tilts[level]), sizes[level].height / 2.0);
        add(add(half(lower), scale(up(disc), sizes[upper].disc)), half(upper))
    };
    for level in L5..sizes.len() {
        let slip = scale(back(tilts[level - 1]), -findings[level].slip);
        centres[level] = add(add(centres[level - 1], stride(level - 1, level)), slip);
    }
    for level in (0..S1).rev() {
        centres[level] = sub(centres[level + 1], stride(level, level + 1));
    }
    for level in 0..S1 {
        // Sacral bodies taper at the front: their back walls stay in line.
        let shift = (sizes[S1].depth - sizes[level].depth) / 2.0;
        centres[level] = add(centres[level], scale(back(tilts[level]), shift));
    }
    let (wave, phase) = (random.between(200.0, 420.0), random.between(0.0, 360.0));
    // A Cobb angle is twice the steepest lean of a wave, and that is 2 pi amplitude / wave.
    let cobb = match (population, random.unit()) {
        (Population::Training, u) if u < 0.12 => random.between(12.0, 50.0),
        _ => 4.5 * random.normal(),
    };
    let sway = sin_cos(cobb / 2.0).0 / sin_cos(cobb / 2.0).1 * wave / std::f64::consts::TAU;
    let lean = random.normal() * 0.012;
    for centre in &mut centres {
        centre[0] = sway * sin_cos(centre[2] / wave * 360.0 + phase).0 + lean * centre[2];
    }
    centres
}

/// The point that becomes the origin of the world: the isocentre of a usual positioning.
fn middle(random: &mut Random, plan: &Plan, centres: &[[f64; 3]], region: Region) -> [f64; 3] {
    let place = middle_level(region) + random.normal() * 0.15;
    let below = plan.links.iter().rposition(|link| link.place <= place).unwrap_or(0);
    let [lower, upper] = [plan.links[below].place, plan.links[below + 1].place];
    let part = (place - lower) / (upper - lower);
    let on = |axis: usize| {
        centres[below][axis] + (centres[below + 1][axis] - centres[below][axis]) * part
    };
    // The column lies a little behind the middle of the field, more room in front of it than behind.
    [on(0) + random.normal(), on(1) - random.between(2.0, 14.0), on(2)]
}

/// Axes of the vertebra at `level`; `rotation` in degrees turns it about its own axis at full scoliosis.
fn frame(centres: &[[f64; 3]], level: usize, tilt: f64, rotation: f64) -> Frame {
    let (below, above) = (level.saturating_sub(1), (level + 1).min(centres.len() - 1));
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
    use crate::pathology::findings;

    #[test]
    fn chain_rises_and_every_frame_is_right_handed() {
        for seed in 0..200 {
            let mut random = Random::stream(seed, 1);
            let plan = Plan::new(&mut random, Population::Training);
            let findings = findings(&mut random, &plan, Population::Training);
            let whole = (Region::Whole, Population::Training);
            let spine = Spine::new(&mut random, &plan, findings, whole);
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
