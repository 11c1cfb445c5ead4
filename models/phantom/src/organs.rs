//! Organs of chest, abdomen and pelvis, and the tubes along the column: vessels, oesophagus, airway, psoas.

use crate::angle::sin_cos;
use crate::canvas::{Canvas, Row};
use crate::field::{Field, Profile};
use crate::random::Random;
use crate::soft::{Blob, SMOOTH, UNEVEN, chord, cover, inside, nearest, organ};
use crate::spine::{C2, Frame, L5, Spine};
use crate::tissue::{Tissue, Voxel};
use crate::trunk::Trunk;

/// Draws them all; what lies outside the field of view costs nothing.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    trunk: &Trunk,
    roughness: &Field,
) {
    let place = Place { spine, trunk };
    bowel(canvas, random, &place, roughness);
    upper_abdomen(canvas, random, &place, roughness);
    heart(canvas, random, &place, roughness);
    pelvis(canvas, random, spine, roughness);
    for side in [1.0, -1.0] {
        kidney(canvas, random, &place, side, roughness);
        psoas(canvas, random, &place, side);
        buttock(canvas, random, spine, side, roughness);
    }
    tubes(canvas, random, &place);
    sternum(canvas, random, &place);
}

/// Finds places beside the spine.
struct Place<'a> {
    spine: &'a Spine,
    trunk: &'a Trunk,
}

impl Place<'_> {
    /// The point at `level` (a fraction), `ahead` to posterior of the smoothed column, `aside` to the left.
    fn at(&self, level: f64, ahead: f64, aside: f64) -> [f64; 3] {
        let z = self.spine.z_of(level);
        [self.spine.x.at(z) + aside, self.trunk.middle.at(z) + ahead, z]
    }
}

/// Upright, turned by `degrees` about the left-right axis: positive leans its top backwards.
fn leaning(centre: [f64; 3], degrees: f64) -> Frame {
    let (sine, cosine) = sin_cos(degrees);
    Frame { centre, back: [0.0, cosine, -sine], up: [0.0, sine, cosine], left: [1.0, 0.0, 0.0] }
}

fn radii(random: &mut Random, ranges: [(f64, f64); 3]) -> [f64; 3] {
    ranges.map(|(low, high)| random.between(low, high))
}

/// What a hollow organ holds. Gas rises to the front of a supine patient, fluid stays behind.
#[derive(Clone, Copy)]
enum Content {
    One(Tissue),
    GasOverFluid { border_y: f64 },
}

impl Content {
    fn random(random: &mut Random, centre_y: f64) -> Content {
        match random.unit() {
            k if k < 0.2 => Content::One(Tissue::OrganDark),
            k if k < 0.62 => Content::One(Tissue::OrganGrey),
            k if k < 0.72 => Content::One(Tissue::OrganBright),
            k if k < 0.82 => Content::One(Tissue::Bladder),
            k if k < 0.9 => Content::One(Tissue::Gas),
            _ => Content::GasOverFluid { border_y: centre_y + random.between(-5.0, 5.0) },
        }
    }

    fn at(self, point: [f64; 3]) -> Tissue {
        match self {
            Content::One(tissue) => tissue,
            Content::GasOverFluid { border_y } if point[1] < border_y => Tissue::Gas,
            Content::GasOverFluid { .. } => Tissue::Bladder,
        }
    }
}

/// A number for an organ without one of its own.
fn any_part(random: &mut Random) -> u8 {
    random.count(organ::BOWEL.into(), organ::LAST.into()) as u8
}

/// Loops of bowel in the visceral fat, each with a wall.
fn bowel(canvas: &mut Canvas, random: &mut Random, place: &Place<'_>, roughness: &Field) {
    let spine = place.spine;
    let (low, high) = (spine.z_of(-0.5) - 60.0, spine.z_of(C2 as f64));
    // Three for every centimetre of trunk keep about half of the fat.
    for _ in 0..((high - low) * 0.3) as usize {
        let z = random.between(low, high);
        let front = -place.trunk.wall_front.at(z) - 12.0;
        let centre = [
            random.between(-55.0, 55.0),
            place.trunk.middle.at(z) - random.between(40.0, front.max(45.0)),
            z,
        ];
        let radii = radii(random, [(5.0, 16.0), (6.0, 24.0), (8.0, 26.0)]);
        let frame = leaning(centre, random.between(-60.0, 60.0));
        let blob = Blob { frame, radii, roughness, unevenness: UNEVEN };
        let (content, part) = (Content::random(random, centre[1]), any_part(random));
        let takes = |v: &Voxel| matches!(v.tissue, Tissue::VisceralFat | Tissue::OrganGrey);
        blob.draw(canvas, &[0.8, 1.0], takes, |shell, point, voxel| {
            let tissue = if shell == 0 { content.at(point) } else { Tissue::OrganDark };
            voxel.fill(tissue, part);
        });
    }
}

/// Liver on the right, stomach on the left, below the diaphragm.
fn upper_abdomen(canvas: &mut Canvas, random: &mut Random, place: &Place<'_>, roughness: &Field) {
    let centre = place.at(random.between(10.5, 12.5), -62.0, -random.between(55.0, 80.0));
    let shape = radii(random, [(45.0, 60.0), (55.0, 80.0), (45.0, 70.0)]);
    let liver = Blob { frame: Frame::upright(centre), radii: shape, roughness, unevenness: SMOOTH };
    liver.draw(canvas, &[1.0], inside, |_, _, voxel| voxel.fill(Tissue::OrganGrey, organ::LIVER));
    let centre = place.at(
        random.between(10.0, 12.0),
        -random.between(70.0, 90.0),
        random.between(20.0, 45.0),
    );
    let stomach = Blob {
        frame: leaning(centre, random.between(-30.0, 30.0)),
        radii: radii(random, [(18.0, 32.0), (25.0, 45.0), (20.0, 34.0)]),
        roughness,
        unevenness: UNEVEN,
    };
    let (content, part) = (Content::random(random, centre[1]), any_part(random));
    stomach.draw(canvas, &[0.82, 1.0], inside, |shell, point, voxel| {
        let tissue = if shell == 0 { content.at(point) } else { Tissue::OrganDark };
        voxel.fill(tissue, part);
    });
}

/// Heart in front of T6 to T9, blood in its muscle, fat around it.
fn heart(canvas: &mut Canvas, random: &mut Random, place: &Place<'_>, roughness: &Field) {
    let centre = place.at(
        random.between(15.0, 17.0),
        -random.between(62.0, 75.0),
        random.between(5.0, 25.0),
    );
    let heart = Blob {
        frame: leaning(centre, random.between(10.0, 45.0)),
        radii: radii(random, [(26.0, 38.0), (38.0, 52.0), (35.0, 48.0)]),
        roughness,
        unevenness: SMOOTH,
    };
    let blood = if random.chance(0.7) { Tissue::Vessel } else { Tissue::OrganBright };
    let tissues = [blood, Tissue::OrganGrey, Tissue::VisceralFat];
    heart.draw(canvas, &[0.6, 1.0, 1.15], inside, |shell, _, voxel| {
        voxel.fill(tissues[shell], organ::HEART);
    });
}

/// A kidney in its fat beside T12 to L3: the lateral slices of a wide exam cut it.
fn kidney(
    canvas: &mut Canvas,
    random: &mut Random,
    place: &Place<'_>,
    side: f64,
    roughness: &Field,
) {
    let centre = place.at(
        random.between(7.8, 10.0),
        random.between(-14.0, 10.0),
        side * random.between(44.0, 62.0),
    );
    let kidney = Blob {
        frame: leaning(centre, random.between(5.0, 25.0)),
        radii: radii(random, [(20.0, 28.0), (44.0, 60.0), (20.0, 28.0)]),
        roughness,
        unevenness: SMOOTH,
    };
    let pelvis = if random.chance(0.15) { Tissue::Bladder } else { Tissue::VisceralFat };
    let tissues = [pelvis, Tissue::VisceralFat, Tissue::OrganGrey, Tissue::VisceralFat];
    kidney.draw(canvas, &[0.1, 0.25, 1.0, 1.5], inside, |shell, _, voxel| {
        voxel.fill(tissues[shell], organ::KIDNEY);
    });
}

/// Whether a row passes a tube about `x` by far: most do.
fn far_aside(row: &Row<'_>, x: f64, radius: f64) -> bool {
    // An exam is turned by 3 degrees at most: 6 mm over half of its depth.
    const TURN_MM: f64 = 8.0;
    (row.x_at(row.voxels.len() / 2) - x).abs() > radius + TURN_MM
}

const PSOAS_FAT_MM: f64 = 2.5;

/// The psoas: a spindle beside the bodies from T12, thick at L4, with fat around it.
fn psoas(canvas: &mut Canvas, random: &mut Random, place: &Place<'_>, side: f64) {
    let (spine, size) = (place.spine, random.between(0.75, 1.25));
    let (bottom, top) = (spine.z_of(2.0), spine.z_of(10.6));
    canvas.rows_between(bottom, top, |row| {
        let z = row.z();
        let share = (top - z) / (top - bottom);
        // Thickest at two thirds of the way down.
        let swell = share * (2.0 - 1.4 * share * share);
        let half = [3.0 + 15.0 * size * swell, 3.0 + 18.0 * size * swell];
        let beside = nearest(spine, spine.place.at(z)).size.width / 2.0;
        let x = spine.x.at(z) + side * (beside + half[0] * 0.8 + 12.0 * share * share);
        if far_aside(&row, x, half[0] + PSOAS_FAT_MM) {
            return;
        }
        let centre = [x, spine.y.at(z) + 4.0 - 22.0 * share * share];
        let fat = chord(&row, centre, half.map(|h| h + PSOAS_FAT_MM));
        let muscle = chord(&row, centre, half);
        cover(&mut row.voxels[fat], Tissue::VisceralFat, 0);
        cover(&mut row.voxels[muscle], Tissue::Muscle, 1);
    });
}

/// Gluteal muscle and fat beside and below the sacrum.
fn buttock(canvas: &mut Canvas, random: &mut Random, spine: &Spine, side: f64, roughness: &Field) {
    let s4 = spine.vertebrae[1].frame.centre;
    let centre = [
        s4[0] + side * random.between(42.0, 55.0),
        s4[1] + random.between(0.0, 16.0),
        s4[2] - random.between(20.0, 50.0),
    ];
    let muscle = Blob {
        frame: leaning(centre, random.between(-35.0, -10.0)),
        radii: radii(random, [(24.0, 36.0), (60.0, 85.0), (34.0, 44.0)]),
        roughness,
        unevenness: SMOOTH,
    };
    muscle.draw(canvas, &[1.0], inside, |_, point, voxel| {
        let streak = roughness.at([point[1] * 0.5, point[2], point[0]]) > 1.0;
        voxel.fill(if streak { Tissue::Fat } else { Tissue::Muscle }, 2);
    });
}

/// Bladder, uterus, rectum and pubic bone in front of the sacrum.
fn pelvis(canvas: &mut Canvas, random: &mut Random, spine: &Spine, roughness: &Field) {
    let s3 = spine.vertebrae[2].frame.centre;
    let mut near = |x: f64, front: (f64, f64), down: (f64, f64)| {
        [
            s3[0] + random.normal() * x,
            s3[1] - random.between(front.0, front.1),
            s3[2] - random.between(down.0, down.1),
        ]
    };
    let (pubis, bladder, uterus) = (
        near(2.0, (88.0, 108.0), (50.0, 80.0)),
        near(6.0, (62.0, 88.0), (0.0, 55.0)),
        near(6.0, (38.0, 62.0), (-10.0, 35.0)),
    );
    let mut rectum: Vec<_> = (0..3)
        .map(|n| near(6.0, (20.0, 36.0), (28.0 * f64::from(n) - 18.0, 28.0 * f64::from(n))))
        .collect();
    rectum.truncate(random.count(1, 3) as usize);

    let bone = Blob {
        frame: leaning(pubis, random.between(20.0, 60.0)),
        radii: radii(random, [(7.0, 11.0), (16.0, 24.0), (22.0, 40.0)]),
        roughness,
        unevenness: SMOOTH,
    };
    bone.draw(canvas, &[1.0], inside, |_, _, voxel| voxel.fill(Tissue::OtherMarrow, 0));
    if random.chance(0.5) {
        let stripe = if random.chance(0.5) { Tissue::Bladder } else { Tissue::OrganBright };
        let uterus = Blob {
            frame: leaning(uterus, random.between(-80.0, 20.0)),
            radii: radii(random, [(16.0, 30.0), (28.0, 48.0), (20.0, 34.0)]),
            roughness,
            unevenness: SMOOTH,
        };
        let tissues = [stripe, Tissue::OrganDark, Tissue::OrganGrey];
        uterus.draw(canvas, &[0.06, 0.16, 1.0], inside, |shell, _, voxel| {
            voxel.fill(tissues[shell], organ::UTERUS);
        });
    }
    let fluid = if random.chance(0.75) { Tissue::Bladder } else { Tissue::OrganBright };
    let bladder = Blob {
        frame: leaning(bladder, random.between(-30.0, 30.0)),
        radii: radii(random, [(10.0, 34.0), (10.0, 36.0), (18.0, 46.0)]),
        roughness,
        unevenness: SMOOTH,
    };
    bladder.draw(canvas, &[1.0, 1.3], inside, |shell, _, voxel| {
        voxel.fill([fluid, Tissue::Muscle][shell], 3);
    });
    for centre in rectum {
        let gut = Blob {
            frame: leaning(centre, random.between(-20.0, 40.0)),
            radii: radii(random, [(7.0, 16.0), (12.0, 26.0), (10.0, 20.0)]),
            roughness,
            unevenness: UNEVEN,
        };
        let (content, part) = (Content::random(random, centre[1]), any_part(random));
        gut.draw(canvas, &[0.8, 1.1], inside, |shell, point, voxel| {
            let tissue = if shell == 0 { content.at(point) } else { Tissue::OrganDark };
            voxel.fill(tissue, part);
        });
    }
}

/// A tube along the column: levels it runs between, radius, place in front of the bodies and to the left.
struct Tube {
    levels: (f64, f64),
    radius: f64,
    gap: f64,
    aside: f64,
    lumen: Tissue,
    wall_mm: f64,
}

/// Aorta, vena cava, oesophagus, airway, and the vessels of the neck.
fn tubes(canvas: &mut Canvas, random: &mut Random, place: &Place<'_>) {
    let infinite = f64::INFINITY;
    let mut list = Vec::new();
    for side in [1.0, -1.0] {
        list.push(Tube {
            levels: (L5 as f64 + 0.7, if side > 0.0 { 18.5 } else { 17.0 }),
            radius: random.between(7.0, 11.0),
            gap: random.between(2.0, 6.0),
            aside: side * random.between(7.0, 15.0),
            lumen: Tissue::Vessel,
            wall_mm: 1.5,
        });
        list.push(Tube {
            levels: (20.0, infinite),
            radius: random.between(2.5, 4.5),
            gap: random.between(4.0, 14.0),
            aside: side * random.between(18.0, 27.0),
            lumen: Tissue::Vessel,
            wall_mm: 1.0,
        });
    }
    list.push(Tube {
        levels: (11.5, 23.5),
        radius: random.between(2.0, 4.0),
        gap: random.between(1.0, 5.0),
        aside: random.between(-3.0, 8.0),
        lumen: if random.chance(0.3) { Tissue::Gas } else { Tissue::OrganGrey },
        wall_mm: 3.0,
    });
    list.push(Tube {
        levels: (17.2, 27.6),
        radius: random.between(6.0, 8.5),
        gap: random.between(7.0, 13.0),
        aside: random.between(-2.0, 2.0),
        lumen: Tissue::Gas,
        wall_mm: 2.0,
    });
    for tube in &list {
        let sway = Profile::waves(&place.trunk.middle, random, 50.0, 1.8);
        tube.draw(canvas, place.spine, &sway);
    }
}

impl Tube {
    fn draw(&self, canvas: &mut Canvas, spine: &Spine, sway: &Profile) {
        let bottom = spine.z_of(self.levels.0);
        let top = if self.levels.1.is_finite() { spine.z_of(self.levels.1) } else { f64::INFINITY };
        canvas.rows_between(bottom, top, |row| {
            let z = row.z();
            // Both ends are rounded: there the vessel branches or turns out of the way.
            let ends = ((z - bottom).min(top - z) / 12.0).clamp(0.0, 1.0).sqrt();
            let radius = (self.radius * ends).max(0.1);
            let x = spine.x.at(z) + self.aside + sway.at(z);
            if far_aside(&row, x, radius + self.wall_mm) {
                return;
            }
            let depth = nearest(spine, spine.place.at(z)).size.depth;
            let front = depth / 2.0 + self.radius + self.gap;
            let centre = [x, spine.y.at(z) - front];
            let wall = chord(&row, centre, [radius + self.wall_mm; 2]);
            let lumen = chord(&row, centre, [radius; 2]);
            cover(&mut row.voxels[wall], Tissue::Muscle, 3);
            cover(&mut row.voxels[lumen], self.lumen, 3);
        });
    }
}

/// The breast bone: marrow in segments at the front of the chest.
fn sternum(canvas: &mut Canvas, random: &mut Random, place: &Place<'_>) {
    let (bottom, top) = (place.spine.z_of(14.0), place.spine.z_of(20.2));
    let (depth, breadth) = (random.between(4.0, 6.5), random.between(14.0, 19.0));
    let (back, segment) = (random.between(7.0, 12.0), random.between(28.0, 38.0));
    canvas.rows_between(bottom, top, |row| {
        let z = row.z();
        // A thin joint between two segments.
        if (z - bottom) % segment < 1.6 {
            return;
        }
        let middle = place.trunk.middle.at(z) + place.trunk.wall_front.at(z) + back;
        let run = chord(&row, [place.spine.x.at(z), middle], [breadth, depth]);
        cover(&mut row.voxels[run], Tissue::OtherMarrow, 0);
    });
}
