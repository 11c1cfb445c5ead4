//! Everything around the spine: skin fat, muscles, vessels, organs, airway and head; air outside.
//!
//! Nothing here has a label. It is drawn first, the spine replaces it.

use crate::Region;
use crate::canvas::{Canvas, Reach, Row};
use crate::field::{Field, Profile};
use crate::random::Random;
use crate::spine::{C2, Frame, L5, Spine, Vertebra};
use crate::tissue::{Tissue, Voxel};

/// Outlines of one person over z, as millimetres to posterior of the smoothed line through the bodies (`middle`).
struct Outline {
    middle: Profile,
    /// Back of the muscles and front of the abdominal wall, each with the thickness of the fat outside it.
    muscle_back: Profile,
    fat_back: Profile,
    wall_front: Profile,
    fat_front: Profile,
    /// Half width of the space between the psoas muscles.
    psoas: f64,
    /// Streaks where the field exceeds this: fewer fat streaks for a higher value.
    streaks: f64,
    midline: f64,
}

/// Thickness of the skin, seen as a grey line.
const SKIN_MM: f64 = 1.3;

/// Thickness of the abdominal wall.
const WALL_MM: f64 = 9.0;

/// Where a field is this close to zero runs a thin winding sheet: a septum, a fascia or a small vessel.
const SEPTUM: f64 = 0.07;

impl Outline {
    fn new(random: &mut Random, spine: &Spine) -> Outline {
        let middle = spine.y.smoothed(18.0);
        let (behind, fat) = (28.0 + 2.0 * random.normal(), random.between(8.0, 24.0));
        let chest = 112.0 + 12.0 * random.normal();
        let belly = random.between(6.0, 26.0);
        let mut over_levels = |waves: f64, value: &dyn Fn(&Vertebra) -> f64| {
            let waves = Profile::waves(&middle, random, 55.0, waves);
            let knots: Vec<_> = (spine.vertebrae.iter())
                .map(|v| (v.frame.centre[2], v))
                .map(|(z, v)| (z, value(v) + waves.at(z)))
                .collect();
            Profile::through(&knots).smoothed(9.0)
        };
        let neck = |v: &Vertebra| ((v.place - 22.0) / 3.0).clamp(0.0, 1.0);
        let sacral = |v: &Vertebra| ((4.8 - v.place) / 2.5).clamp(0.0, 1.0);
        // The muscles reach as far back as the spinous processes, and end on the dorsal plate of the sacrum.
        let muscle = |v: &Vertebra| {
            let behind = behind * (1.0 - 0.15 * neck(v)) * (1.0 - 0.75 * sacral(v));
            let body = v.frame.centre[1] - middle.at(v.frame.centre[2]);
            body + v.size.depth / 2.0 + v.size.canal_depth + behind
        };
        let front = |v: &Vertebra| -chest * (1.0 - 0.5 * neck(v));
        Outline {
            muscle_back: over_levels(1.5, &muscle),
            // Thinner over the ribs and the neck.
            fat_back: over_levels(1.0, &|v| {
                let lumbar = ((14.0 - v.place) / 6.0).clamp(0.0, 1.0);
                (fat * (0.6 + 0.4 * lumbar)).max(6.0)
            }),
            wall_front: over_levels(5.0, &front),
            fat_front: over_levels(1.0, &|_| belly),
            psoas: random.between(17.0, 23.0),
            streaks: random.between(0.9, 1.5),
            midline: random.between(2.0, 4.5),
            middle,
        }
    }
}

/// Noise fields that give tissues their borders.
pub(crate) struct Fields<'a> {
    pub(crate) roughness: &'a Field,
    /// Fat streaks run along the muscles.
    pub(crate) streaks: &'a Field,
}

/// Draws the trunk (and neck and head) that the spine of `region` lies in.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    region: Region,
    fields: &Fields<'_>,
) {
    let outline = Outline::new(random, spine);
    canvas.rows(|row| layers(row, spine, &outline, fields));
    organs(canvas, random, spine, &outline, fields.roughness);
    pelvis(canvas, random, spine, fields.roughness);
    vessels(canvas, random, spine, &outline);
    if matches!(region, Region::Cervical | Region::Whole) {
        airway(canvas, random, spine, &outline);
        head(canvas, random, spine, fields.roughness);
    }
}

/// Skin, fat, muscle and the space of the organs, row by row.
fn layers(mut row: Row<'_>, spine: &Spine, outline: &Outline, fields: &Fields<'_>) {
    let z = row.z();
    let (middle, x, level) = (outline.middle.at(z), spine.x.at(z), spine.place.at(z));
    let (muscle_back, wall_front) = (outline.muscle_back.at(z), outline.wall_front.at(z));
    let skin_back = muscle_back + outline.fat_back.at(z).max(4.0);
    let skin_front = wall_front - outline.fat_front.at(z).max(4.0);
    let lumbar = level < 10.0;
    // The multifidus turns to fat towards the sacrum first.
    let streaks = outline.streaks - 0.25 * ((7.0 - level) / 3.0).clamp(0.0, 1.0);
    row.each(|point, voxel| {
        let (ahead, aside) = (point[1] - middle, point[0] - x);
        // A furrow over the spinous processes.
        let furrow = 4.0 / (1.0 + aside * aside / 200.0);
        if ahead > skin_back - furrow || ahead < skin_front {
            return;
        }
        if ahead > skin_back - furrow - SKIN_MM || ahead < skin_front + SKIN_MM {
            voxel.tissue = Tissue::Muscle;
            return;
        }
        if ahead > muscle_back - 0.8 * furrow || ahead < wall_front {
            let septum = fields.streaks.at(point).abs() < SEPTUM / 3.0;
            voxel.tissue = if septum { Tissue::Muscle } else { Tissue::Fat };
            return;
        }
        let in_psoas = lumbar && aside.abs() > outline.psoas && ahead > -26.0;
        if ahead < -8.0 && !in_psoas {
            voxel.tissue = match ahead < wall_front + WALL_MM {
                true if fields.streaks.at(point).abs() < SEPTUM => Tissue::VisceralFat,
                true => Tissue::Muscle,
                // Mesentery and small vessels.
                false if fields.roughness.at(point).abs() < SEPTUM => Tissue::OrganGrey,
                false => contents(level, ahead),
            };
            return;
        }
        voxel.tissue = back_muscle(point, aside, streaks, outline.midline, fields);
    });
}

/// What fills the space in front of the column between the organs: neck muscles, lung beside the mediastinum, fat.
fn contents(level: f64, ahead: f64) -> Tissue {
    // The diaphragm stands at T9, the apex of the lung at T1; both are domes.
    const LUNG: std::ops::Range<f64> = 14.0..21.8;
    const MEDIASTINUM_MM: f64 = 50.0;
    let dome = (ahead + 85.0) / 35.0;
    if level >= LUNG.end - dome * dome {
        Tissue::Muscle
    } else if level > LUNG.start - dome * dome && ahead < -MEDIASTINUM_MM {
        Tissue::Gas
    } else {
        Tissue::VisceralFat
    }
}

fn back_muscle(
    point: [f64; 3],
    aside: f64,
    streaks: f64,
    midline: f64,
    fields: &Fields<'_>,
) -> Tissue {
    let streak = fields.streaks.at(point);
    if streak > streaks {
        return Tissue::Fat;
    } else if streak.abs() < SEPTUM {
        return Tissue::VisceralFat;
    }
    if aside.abs() < midline {
        // Interspinous ligaments: strands in fat.
        let rough = fields.roughness.at(point);
        if rough > 0.2 {
            return Tissue::Fat;
        } else if rough < -0.9 {
            return Tissue::Ligament;
        }
    }
    Tissue::Muscle
}

/// An ellipsoid with a surface as uneven as `unevenness`: `radii` along x, y, z.
fn blob(
    canvas: &mut Canvas,
    centre: [f64; 3],
    radii: [f64; 3],
    (roughness, unevenness): (&Field, f64),
    mut fill: impl FnMut(f64, &mut Voxel),
) {
    // The frame's order is back, up, left.
    let radii = [radii[1], radii[2], radii[0]];
    let reach = Reach::around([0.0; 3], [0.0; 3], radii.map(|r| r * 1.5));
    canvas.visit(&Frame::upright(centre), &reach, |place, point, voxel| {
        let square = |n: usize| place[n] / radii[n] * (place[n] / radii[n]);
        let radius = square(0) + square(1) + square(2);
        if radius < 2.2 && voxel.tissue != Tissue::Air {
            fill(radius + unevenness * roughness.at(point), voxel);
        }
    });
}

/// Unevenness of bowel and of smooth walls.
const UNEVEN: f64 = 0.3;
const SMOOTH: f64 = 0.06;

/// Bowel and other organs: blobs in the visceral fat, most of them grey, some with dark gas or bright fluid.
fn organs(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    outline: &Outline,
    roughness: &Field,
) {
    let (low, high) = (spine.z_of(-0.5), spine.z_of(C2 as f64));
    // Three blobs for every centimetre of trunk keep about half of the fat.
    let count = ((high - low) * 0.3) as usize;
    for _ in 0..count {
        let z = random.between(low - 60.0, high);
        let front = -outline.wall_front.at(z) - 12.0;
        let centre = [
            random.between(-55.0, 55.0),
            outline.middle.at(z) - random.between(40.0, front.max(45.0)),
            z,
        ];
        let radii = [random.between(8., 26.), random.between(5., 15.), random.between(6., 22.)];
        let kind = random.unit();
        let tissue = match kind {
            k if k < 0.3 => Tissue::OrganDark,
            k if k < 0.82 => Tissue::OrganGrey,
            k if k < 0.9 => Tissue::OrganBright,
            _ => Tissue::Gas,
        };
        blob(canvas, centre, radii, (roughness, UNEVEN), |radius, voxel| {
            if voxel.tissue == Tissue::VisceralFat || voxel.tissue == Tissue::OrganGrey {
                if radius < 0.8 {
                    voxel.tissue = tissue;
                } else if radius < 1.0 {
                    voxel.tissue = Tissue::OrganDark;
                }
            }
        });
    }
}

/// Bladder and rectum in front of the sacrum.
fn pelvis(canvas: &mut Canvas, random: &mut Random, spine: &Spine, roughness: &Field) {
    let s3 = spine.vertebrae[2].frame.centre;
    let bladder = [
        s3[0] + random.normal() * 5.0,
        s3[1] - random.between(68.0, 88.0),
        s3[2] - random.between(8.0, 40.0),
    ];
    let radii = [random.between(26., 40.), random.between(18., 30.), random.between(18., 32.)];
    blob(canvas, bladder, radii, (roughness, SMOOTH), |radius, voxel| {
        if radius < 1.0 {
            voxel.tissue = Tissue::Bladder;
        } else if radius < 1.25 {
            voxel.tissue = Tissue::Muscle;
        }
    });
    for _ in 0..random.count(1, 3) {
        let centre = [
            s3[0] + random.normal() * 6.0,
            s3[1] - random.between(22.0, 38.0),
            s3[2] - random.between(-12.0, 45.0),
        ];
        let radii = [random.between(10., 18.), random.between(8., 13.), random.between(9., 20.)];
        let core = if random.chance(0.5) { Tissue::Gas } else { Tissue::OrganDark };
        blob(canvas, centre, radii, (roughness, UNEVEN), |radius, voxel| {
            if radius < 0.8 {
                voxel.tissue = core;
            } else if radius < 1.1 {
                voxel.tissue = Tissue::OrganGrey;
            }
        });
    }
}

/// Aorta to the left of the midline and vena cava to the right, in front of the bodies down to L4.
fn vessels(canvas: &mut Canvas, random: &mut Random, spine: &Spine, outline: &Outline) {
    let bottom = spine.z_of(L5 as f64 + 0.7);
    for side in [1.0, -1.0] {
        let radius = random.between(7.0, 10.0);
        let aside = side * random.between(7.0, 15.0);
        let gap = random.between(2.0, 6.0);
        let sway = Profile::waves(&outline.middle, random, 50.0, 2.0);
        canvas.rows_between(bottom, f64::INFINITY, |mut row| {
            let z = row.z();
            let front = spine.nearest(spine.place.at(z)).size.depth / 2.0 + radius + gap;
            let centre = [spine.x.at(z) + aside + sway.at(z), spine.y.at(z) - front];
            // Both end as a rounded tip where they branch.
            let radius = radius * ((z - bottom) / 12.0).clamp(0.0, 1.0).sqrt();
            let limit = (radius + 1.5) * (radius + 1.5);
            row.between(centre[1] - radius - 2.0, centre[1] + radius + 2.0, |point, voxel| {
                let (dx, dy) = (point[0] - centre[0], point[1] - centre[1]);
                let square = dx * dx + dy * dy;
                if square < limit && voxel.tissue != Tissue::Air {
                    let lumen = square < radius * radius;
                    voxel.tissue = if lumen { Tissue::Vessel } else { Tissue::Muscle };
                }
            });
        });
    }
}

/// Trachea and pharynx in front of the cervical spine.
fn airway(canvas: &mut Canvas, random: &mut Random, spine: &Spine, outline: &Outline) {
    let (bottom, radius) = (spine.z_of(21.0), random.between(6.0, 8.5));
    let front = random.between(22.0, 28.0);
    let sway = Profile::waves(&outline.middle, random, 40.0, 1.5);
    canvas.rows_between(bottom, f64::INFINITY, |mut row| {
        let z = row.z();
        let centre = [spine.x.at(z), spine.y.at(z) - front - sway.at(z)];
        let reach = 1.5 * radius;
        row.between(centre[1] - reach, centre[1] + reach, |point, voxel| {
            let (dx, dy) = ((point[0] - centre[0]) / 1.2, point[1] - centre[1]);
            let square = (dx * dx + dy * dy) / (radius * radius);
            if square < 1.8 && voxel.tissue != Tissue::Air {
                voxel.tissue = if square < 1.0 { Tissue::Gas } else { Tissue::Muscle };
            }
        });
    });
}

/// Skull base and brain above C2: enough for the upper end of a cervical field to look like one.
fn head(canvas: &mut Canvas, random: &mut Random, spine: &Spine, roughness: &Field) {
    let c2 = spine.top();
    let top = c2.frame.centre[2] + c2.size.height / 2.0;
    let centre = [
        c2.frame.centre[0],
        c2.frame.centre[1] + random.between(14.0, 30.0),
        top + random.between(62.0, 72.0),
    ];
    let radii = [70.0, random.between(55.0, 70.0), random.between(38.0, 46.0)];
    blob(canvas, centre, radii, (roughness, SMOOTH), |radius, voxel| {
        voxel.tissue = match radius {
            r if r < 1.0 => Tissue::Brain,
            r if r < 1.15 => Tissue::Csf,
            r if r < 1.35 => Tissue::Cortex,
            _ => return,
        };
    });
}
