//! The sacrum S1-S5 with its ala, dorsal plate, foramina and disc remnants; coccyx and iliac wings beside it.
//!
//! One structure in the truth, as in SPINEPS. (u, v, w) run back, up and left in the frame of the segment.

use crate::bodies::{Body, ENDPLATE_INSIDE_MM, superellipse};
use crate::canvas::{Canvas, Reach};
use crate::field::Field;
use crate::random::Random;
use crate::spine::{Frame, L5, S1, Spine, Vertebra};
use crate::tissue::{Structure, Tissue, Voxel};
use kernels::volume::{add, scale};

/// Half width of S5..S1 with the ala, millimetres, for an L5 that is 35 mm deep.
const HALF_WIDTH: [f64; 5] = [17., 25., 35., 45., 53.];

/// What the segments of one sacrum share, in millimetres but for `size`.
struct Person {
    size: f64,
    foramen_height: f64,
    foramen_width: f64,
    foramen_side: f64,
    crest: f64,
    plate: f64,
    bright_remnant: bool,
    squareness: f64,
}

/// One segment with the sizes of its neighbours that it tapers to.
struct Segment<'a> {
    vertebra: &'a Vertebra,
    shape: &'a Body,
    lower_depth: f64,
    gap_above: f64,
    half_width: f64,
    person: &'a Person,
}

/// Draws the sacrum, the coccyx and the iliac wings into what is still free.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    bodies: &[Body],
    roughness: &Field,
) {
    let size = spine.vertebrae[L5].size.depth / 35.0;
    let person = Person {
        size: size * random.between(0.92, 1.08),
        foramen_height: random.between(3.2, 5.0),
        foramen_width: random.between(3.5, 5.8),
        foramen_side: random.between(4.0, 8.0),
        crest: random.between(3.0, 9.0),
        plate: random.between(3.5, 6.0),
        bright_remnant: random.chance(0.5),
        squareness: random.between(0.2, 0.5),
    };
    for level in 0..=S1 {
        let vertebra = &spine.vertebrae[level];
        let depth = vertebra.size.depth;
        let segment = Segment {
            vertebra,
            shape: &bodies[level],
            lower_depth: if level == 0 {
                depth * 0.7
            } else {
                spine.vertebrae[level - 1].size.depth * 1.05
            },
            gap_above: spine.vertebrae[level + 1].size.disc,
            half_width: HALF_WIDTH[level] * person.size,
            person: &person,
        };
        segment.draw(canvas, roughness);
    }
    coccyx(canvas, random, spine);
    iliac_wings(canvas, random, spine, person.size);
}

impl Segment<'_> {
    fn draw(&self, canvas: &mut Canvas, roughness: &Field) {
        let size = &self.vertebra.size;
        let behind = size.canal_depth + self.person.plate + self.person.crest + 4.0;
        let reach = Reach {
            low: [-size.depth / 2.0 - 6.0, -size.height / 2.0 - size.disc - 4.0, -self.half_width],
            high: [size.depth / 2.0 + behind, size.height / 2.0 + 4.0, self.half_width],
        };
        canvas.visit(&self.vertebra.frame, &reach, |place, point, voxel| {
            if voxel.is_free() {
                self.fill(place, roughness.at(point), voxel);
            }
        });
    }

    fn fill(&self, [u, v, w]: [f64; 3], rough: f64, voxel: &mut Voxel) {
        let size = &self.vertebra.size;
        let (a, h) = (size.depth / 2.0, size.height);
        let in_canal = voxel.tissue == Tissue::EpiduralFat && u > a - 0.5;
        let body = self.body([u, v, w], rough);
        if in_canal
            || !(body.is_some() || self.wing([u, v, w], rough) || self.plate([u, v, w], rough))
        {
            return;
        }
        if let Some(from_root) = self.foramen([u, v, w]) {
            voxel.tissue = if from_root < 1.6 { Tissue::Root } else { Tissue::EpiduralFat };
            return;
        }
        let level = self.vertebra.level;
        if body.is_some() && level == S1 && v > self.shape.endplates(u, w).0 - ENDPLATE_INSIDE_MM {
            // As in SPINEPS, both endplates of a disc count with the vertebra above it.
            voxel.set(Tissue::Endplate, Structure::Endplate, L5);
            return;
        }
        let tissue = match body {
            Some(radius) if level >= S1 - 1 && v < -h / 2.0 - 0.1 && radius < 0.8 => {
                let core = radius < 0.55 && v > -h / 2.0 - size.disc + 0.1;
                if self.person.bright_remnant && core { Tissue::Nucleus } else { Tissue::Annulus }
            }
            _ => Tissue::SacralMarrow,
        };
        voxel.set(tissue, Structure::Sacrum, level);
    }

    /// The superellipse radius where the point lies in the tapered body or in the remnant below it.
    fn body(&self, [u, v, w]: [f64; 3], rough: f64) -> Option<f64> {
        let size = &self.vertebra.size;
        let (a, h) = (size.depth / 2.0, size.height);
        let upwards = (v / h + 0.5).clamp(0.0, 1.0);
        let depth = self.lower_depth + (size.depth - self.lower_depth) * upwards;
        let width = size.width / 2.0 * (0.78 + 0.22 * upwards);
        // The back walls are in line: what the body loses in depth it loses at the front.
        let from_centre = u - (a - depth / 2.0);
        let radius = superellipse(from_centre / (depth / 2.0), self.person.squareness)
            + superellipse(w / width, self.person.squareness)
            + 0.03 * rough;
        let top =
            if self.vertebra.level == S1 { self.shape.endplates(u, w).0 } else { h / 2.0 + 0.6 };
        let inside = radius < 1.0 && v < top && v > -h / 2.0 - size.disc - 0.4;
        inside.then_some(radius)
    }

    /// Ala and lateral mass: wedge-shaped, thinner to the side, reaching back beside the canal.
    fn wing(&self, [u, v, w]: [f64; 3], rough: f64) -> bool {
        let size = &self.vertebra.size;
        let (a, b, h, aside) = (size.depth / 2.0, size.width / 2.0, size.height, w.abs());
        let half_canal = size.canal_width / 2.0;
        let out = ((aside - b * 0.75) / (self.half_width - b * 0.75).max(1.0)).clamp(0.0, 1.0);
        let front = -a * 0.45 + out * (a * 1.1 + size.canal_depth * 0.4) + rough * 1.2;
        let back = a - 3.0
            + (size.canal_depth + 5.0) * ((aside - half_canal) / 5.0).clamp(0.0, 1.0)
            + rough * 1.2;
        let top =
            if self.vertebra.level == S1 { h / 2.0 - 3.0 - h * 0.45 * out } else { h / 2.0 + 1.0 };
        let ala = aside > b * 0.7
            && aside < self.half_width
            && (front..back).contains(&u)
            && v < top
            && v > -h / 2.0 - size.disc - 0.6;
        let lateral_mass = aside > half_canal + 1.0
            && aside < b
            && u > a - 3.0
            && u < back + 1.0
            && v.abs() < h * 0.62;
        ala || lateral_mass
    }

    /// Dorsal plate with the median crest; open behind S5.
    fn plate(&self, [u, v, w]: [f64; 3], rough: f64) -> bool {
        let size = &self.vertebra.size;
        let (h, aside, level) = (size.height, w.abs(), self.vertebra.level);
        let along = v / h;
        // One bump of the crest a segment.
        let crest = if aside < 3.5 { self.person.crest * (1.0 - 2.8 * along * along) } else { 0.0 };
        let start = size.depth / 2.0 + size.canal_depth + 0.3;
        let top = if level == S1 { 0.42 } else { 0.52 };
        level > 0
            && u > start
            && u < start + self.person.plate + crest + rough
            && aside < size.canal_width / 2.0 + 9.0
            && along < top
            && along > -0.5
    }

    /// Distance from the root in a sacral foramen above or below the segment, where the point lies in one.
    fn foramen(&self, [u, v, w]: [f64; 3]) -> Option<f64> {
        let size = &self.vertebra.size;
        let (h, level, aside) = (size.height, self.vertebra.level, w.abs());
        let half_canal = size.canal_width / 2.0;
        if u <= -size.depth * 0.05 || aside <= half_canal + 0.5 {
            return None;
        }
        let heights = [
            (level > 0).then_some(-h / 2.0 - size.disc / 2.0),
            (level < S1).then_some(h / 2.0 + self.gap_above / 2.0),
        ];
        heights.into_iter().flatten().find_map(|height| {
            let (dv, dw) = (v - height, aside - half_canal - self.person.foramen_side);
            let (y, x) = (dv / self.person.foramen_height, dw / self.person.foramen_width);
            (x * x + y * y < 1.0).then(|| (dv * dv + dw * dw).sqrt())
        })
    }
}

/// Two to four small segments that go on from S5 and curl forwards; bone without a label.
fn coccyx(canvas: &mut Canvas, random: &mut Random, spine: &Spine) {
    let last = &spine.vertebrae[0];
    let mut place = add(last.frame.centre, scale(last.frame.up, -last.size.height / 2.0));
    let mut tilt = last.tilt;
    for _ in 0..random.count(2, 4) {
        tilt += random.between(4.0, 24.0);
        let (sine, cosine) = crate::angle::sin_cos(tilt);
        place = add(place, scale([0.0, sine, cosine], -random.between(7.0, 10.0)));
        let radii = [random.between(3.0, 4.5), random.between(4.0, 5.5), random.between(4.0, 8.0)];
        let reach = Reach::around([0.0; 3], [0.0; 3], radii);
        canvas.visit(&Frame::upright(place), &reach, |[u, v, w], _, voxel| {
            let (u, v, w) = (u / radii[0], v / radii[1], w / radii[2]);
            if u * u + v * v + w * w < 1.0 && voxel.is_free() && voxel.tissue != Tissue::Air {
                voxel.tissue = Tissue::OtherMarrow;
            }
        });
    }
}

/// The wings of the pelvis beside S1, seen in lateral slices; bone without a label.
fn iliac_wings(canvas: &mut Canvas, random: &mut Random, spine: &Spine, size: f64) {
    // A wing lies within this of the middle, in depth and height.
    const TALL_MM: f64 = 60.0;
    let s1 = &spine.vertebrae[S1];
    let (back, tall) = (random.between(24.0, 32.0), random.between(42.0, 54.0));
    let (thick, gap) = (random.between(4.0, 7.0), random.between(4.0, 7.0));
    let start = HALF_WIDTH[S1] * size + gap;
    let centre = s1.size.depth / 2.0 + 18.0;
    // As far beside the sacrum as a wing is within the height of the box.
    let (near, far) = (start - 0.12 * TALL_MM - thick, start + 0.12 * TALL_MM + thick);
    for (low, high) in [(-far, -near), (near, far)] {
        let reach = Reach {
            low: [centre - TALL_MM, -TALL_MM, low],
            high: [centre + TALL_MM, TALL_MM, high],
        };
        canvas.visit(&s1.frame, &reach, |[u, v, w], _, voxel| {
            let (x, y) = ((u - centre - 0.35 * v) / back, (v + 4.0) / tall);
            let beside = (w.abs() - (start - 0.12 * v)).abs() < thick;
            if beside && x * x + y * y < 1.0 && voxel.is_free() && voxel.tissue != Tissue::Air {
                voxel.tissue = Tissue::OtherMarrow;
            }
        });
    }
}
