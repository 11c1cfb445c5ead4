//! The trunk and neck as layers from front to back: skin, fat, wall, the space of the organs, muscles, fat, skin.
//!
//! Drawn row by row as runs of columns. `ahead` and `aside` are millimetres to posterior and to the left of the
//! smoothed line through the bodies.

use crate::canvas::{Canvas, Row};
use crate::field::{FieldRows, Profile};
use crate::random::Random;
use crate::soft::{Fields, organ};
use crate::spine::{Spine, Vertebra};
use crate::tissue::{Tissue, Voxel};
use std::ops::Range;

/// Outlines of one person over z.
pub(crate) struct Trunk {
    pub(crate) middle: Profile,
    /// Back of the muscles and front of the abdominal wall, each with the thickness of the fat outside it.
    muscle_back: Profile,
    fat_back: Profile,
    pub(crate) wall_front: Profile,
    fat_front: Profile,
    /// Half of the breadth: a neck is round, so that its depth falls to the side.
    half_breadth: Profile,
    /// Half width of the space in front of the transverse processes.
    psoas: f64,
    /// Streaks where the field exceeds this: fewer fat streaks for a higher value.
    streaks: f64,
    midline: f64,
    /// Half width of what lies between the lungs.
    mediastinum: Profile,
}

/// Thickness of the skin, seen as a grey line.
const SKIN_MM: f64 = 1.3;
/// Thickness of the abdominal wall.
const WALL_MM: f64 = 9.0;
/// Where a field is this close to zero runs a thin winding sheet: a septum, a fascia or a small vessel.
const SEPTUM: f32 = 0.07;
/// Levels at which the lung begins (the dome of the diaphragm) and ends (its apex).
const LUNG: Range<f64> = 14.0..21.8;
/// Depth from the column to the crest of those domes, and how far from it they have fallen by one level.
const DOME_CREST_MM: f64 = -85.0;
const DOME_MM: f64 = 35.0;
/// Depth of what lies in front of the column between the lungs.
const MEDIASTINUM_MM: f64 = 50.0;
/// How far behind that the lung reaches beside it: to the ribs.
const MEDIASTINUM_BACK_MM: f64 = 70.0;

impl Trunk {
    pub(crate) fn new(random: &mut Random, spine: &Spine) -> Trunk {
        let (middle, straight) = (spine.y.smoothed(18.0), spine.y.smoothed(60.0));
        let behind = 28.0 + 2.0 * random.normal();
        // From lean to obese, most of them between.
        let fat = random.between(4.0, 22.0) + random.between(0.0, 22.0) * random.unit();
        let belly = random.between(5.0, 24.0) + random.between(0.0, 40.0) * random.unit();
        let chest = 101.0 + 15.0 * random.normal();
        let between_lungs = random.between(16.0, 32.0);
        let mut over_levels = |waves: f64, value: &dyn Fn(&Vertebra) -> f64| {
            let waves = Profile::waves(&middle, random, 55.0, waves);
            let knots: Vec<_> = (spine.vertebrae.iter())
                .map(|v| (v.frame.centre[2], v))
                .map(|(z, v)| (z, value(v) + waves.at(z)))
                .collect();
            Profile::through(&knots).smoothed(9.0)
        };
        let mediastinum = over_levels(6.0, &|_| between_lungs);
        let neck = |v: &Vertebra| ((v.place - 22.0) / 3.0).clamp(0.0, 1.0);
        let sacral = |v: &Vertebra| ((4.8 - v.place) / 2.5).clamp(0.0, 1.0);
        // The muscles reach as far back as the spinous processes, and end on the dorsal plate of the sacrum.
        let muscle = |v: &Vertebra| {
            let behind = behind * (1.0 - 0.15 * neck(v)) * (1.0 - 0.75 * sacral(v));
            let body = v.frame.centre[1] - middle.at(v.frame.centre[2]);
            body + v.size.depth / 2.0 + v.size.canal_depth + behind
        };
        // The front of the trunk is straighter than the column: the bend of the loins comes near it.
        let front = |v: &Vertebra| {
            let z = v.frame.centre[2];
            (straight.at(z) - middle.at(z)) * (1.0 - neck(v)) - chest * (1.0 - 0.45 * neck(v))
        };
        Trunk {
            muscle_back: over_levels(1.5, &muscle),
            // Thinner over the ribs and the neck.
            fat_back: over_levels(1.0, &|v| {
                let lumbar = ((14.0 - v.place) / 6.0).clamp(0.0, 1.0);
                (fat * (0.6 + 0.4 * lumbar)).max(4.0)
            }),
            wall_front: over_levels(5.0, &front),
            fat_front: over_levels(1.0, &|v| belly * (1.0 - 0.7 * neck(v))),
            half_breadth: over_levels(2.0, &|v| 160.0 - 98.0 * neck(v)),
            psoas: random.between(17.0, 23.0),
            streaks: random.between(0.9, 1.5),
            midline: random.between(2.0, 4.5),
            mediastinum,
            middle,
        }
    }
}

/// A long thin layer in front of or behind the spine: a fascia, a leaf of fat or fluid. Whole fields of view have one,
/// as bright and as long as the dural sac.
struct Sheet {
    /// Place of its middle and half of its thickness over z; it ends where that is negative.
    ahead: Profile,
    half: Profile,
    tissue: Tissue,
    part: u8,
    /// Whether it lies in fat only.
    in_fat: bool,
}

impl Sheet {
    fn in_front(random: &mut Random, trunk: &Trunk) -> Sheet {
        let place = random.between(-8.0, 55.0);
        let (wave, cell) = (random.between(2.0, 8.0), random.between(35.0, 80.0));
        let waves = Profile::waves(&trunk.middle, random, cell, wave);
        let ahead = trunk.wall_front.map(|z, front| front + place + waves.at(z));
        let tissue = match random.unit() {
            k if k < 0.28 => Tissue::Bladder,
            k if k < 0.55 => Tissue::Fat,
            k if k < 0.90 => Tissue::OrganGrey,
            _ => Tissue::Muscle,
        };
        Sheet::new(random, trunk, ahead, random_half(1.2, 6.0), tissue, false)
    }

    fn behind(random: &mut Random, trunk: &Trunk) -> Sheet {
        let share = random.between(-0.1, 0.9);
        let waves = Profile::waves(&trunk.middle, random, 60.0, 2.0);
        let ahead =
            trunk.muscle_back.map(|z, back| back + share * trunk.fat_back.at(z) + waves.at(z));
        let tissues = [Tissue::Ligament, Tissue::OrganGrey, Tissue::Muscle];
        let tissue = tissues[random.count(0, 2) as usize];
        Sheet::new(random, trunk, ahead, random_half(0.6, 2.4), tissue, true)
    }

    fn new(
        random: &mut Random,
        trunk: &Trunk,
        ahead: Profile,
        half: impl Fn(&mut Random) -> f64,
        tissue: Tissue,
        in_fat: bool,
    ) -> Sheet {
        let half = half(random);
        let swell = Profile::waves(&trunk.middle, random, 30.0, 0.6);
        let half = trunk.middle.map(|z, _| half * (0.9 + swell.at(z)));
        let part = random.count(organ::BOWEL.into(), organ::LAST.into()) as u8;
        Sheet { ahead, half, tissue, part, in_fat }
    }

    fn draw(&self, row: &mut Row<'_>, middle: f64) {
        let z = row.z();
        let (ahead, half) = (self.ahead.at(z), self.half.at(z));
        if half <= 0.0 {
            return;
        }
        let first = row.column_at(middle + ahead - half);
        let end = row.column_at(middle + ahead + half).max(first);
        for voxel in &mut row.voxels[first..end] {
            let takes = match voxel.tissue {
                Tissue::Air => false,
                Tissue::Fat => true,
                _ => !self.in_fat,
            };
            if takes {
                voxel.fill(self.tissue, self.part);
            }
        }
    }
}

/// Draws half of a thickness between `low` and `high` millimetres.
fn random_half(low: f64, high: f64) -> impl Fn(&mut Random) -> f64 {
    move |random| random.between(low, high) / 2.0
}

/// Draws the layers of the whole trunk.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    trunk: &Trunk,
    fields: &Fields<'_>,
) {
    let mut sheets: Vec<_> =
        (0..random.count(0, 3)).map(|_| Sheet::in_front(random, trunk)).collect();
    sheets.extend((0..random.count(0, 3)).map(|_| Sheet::behind(random, trunk)));
    let (steps, columns) = (canvas.steps(), canvas.columns());
    let mut streaks = FieldRows::new(fields.streaks, steps, columns);
    let mut roughness = FieldRows::new(fields.roughness, steps, columns);
    canvas.rows(|mut row| {
        let start = row.start();
        layers(&mut row, spine, trunk, streaks.at(start), roughness.at(start));
        let middle = trunk.middle.at(row.z());
        sheets.iter().for_each(|sheet| sheet.draw(&mut row, middle));
    });
}

/// Where the layers of one row begin and end, as millimetres to posterior of the line through the bodies.
struct Borders {
    skin_front: f64,
    wall_front: f64,
    organs_back: f64,
    muscle_back: f64,
    skin_back: f64,
}

impl Borders {
    fn new(trunk: &Trunk, z: f64, level: f64, aside: f64) -> Borders {
        // A round neck or chest is less deep beside its middle.
        let across = aside / trunk.half_breadth.at(z);
        let depth = (1.0 - across * across).max(0.0).sqrt();
        let wall_front = trunk.wall_front.at(z) * depth;
        let muscle_back = trunk.muscle_back.at(z) * depth;
        // A furrow over the spinous processes.
        let furrow = 4.0 / (1.0 + aside * aside / 200.0);
        Borders {
            skin_front: wall_front - trunk.fat_front.at(z).max(4.0),
            wall_front,
            // Kidneys and lungs reach back beside the column.
            organs_back: match level {
                l if l < 10.0 => -8.0 + 14.0 * beside(aside, trunk.psoas),
                l if LUNG.contains(&l) => -8.0 + 22.0 * beside(aside, trunk.mediastinum.at(z)),
                _ => -8.0,
            },
            muscle_back: muscle_back - 0.8 * furrow,
            skin_back: muscle_back + trunk.fat_back.at(z).max(4.0) - furrow,
        }
    }
}

/// One row: from skin to skin.
fn layers(row: &mut Row<'_>, spine: &Spine, trunk: &Trunk, streaks: &[f32], roughness: &[f32]) {
    let z = row.z();
    let (middle, level) = (trunk.middle.at(z), spine.place.at(z));
    let aside = row.x_near(middle) - spine.x.at(z);
    let borders = Borders::new(trunk, z, level, aside);
    let mut from = row.column_at(middle + borders.skin_front);
    let mut to = |ahead: f64| {
        let first = from;
        from = row.column_at(middle + ahead).max(first);
        first..from
    };
    let skin_front = to(borders.skin_front + SKIN_MM);
    let fat_front = to(borders.wall_front);
    let wall = to(borders.wall_front + WALL_MM);
    let space = to(borders.organs_back.min(borders.muscle_back));
    let back = to(borders.muscle_back);
    let fat_back = to(borders.skin_back - SKIN_MM);
    let skin_back = to(borders.skin_back);

    let septa = |other: Tissue, septum: Tissue, width: f32| {
        move |streak: f32| if streak.abs() < width { septum } else { other }
    };
    let voxels = &mut *row.voxels;
    paint(voxels, streaks, skin_front, |_| Tissue::Muscle);
    paint(voxels, streaks, fat_front, septa(Tissue::Fat, Tissue::Muscle, SEPTUM / 3.0));
    paint(voxels, streaks, wall, septa(Tissue::Muscle, Tissue::VisceralFat, SEPTUM));
    paint(voxels, streaks, fat_back, septa(Tissue::Fat, Tissue::Muscle, SEPTUM / 3.0));
    paint(voxels, streaks, skin_back, |_| Tissue::Muscle);
    // The multifidus turns to fat towards the sacrum first.
    let fat_from = (trunk.streaks - 0.25 * ((7.0 - level) / 3.0).clamp(0.0, 1.0)) as f32;
    paint(voxels, streaks, back.clone(), |streak| match streak {
        s if s > fat_from => Tissue::Fat,
        s if s.abs() < SEPTUM => Tissue::VisceralFat,
        _ => Tissue::Muscle,
    });
    contents(row, space, [level, middle, aside], trunk, roughness);
    strands(row, back, spine.x.at(z), trunk.midline, roughness);
}

/// Interspinous ligaments: strands in fat, within `half` of the midline.
fn strands(row: &mut Row<'_>, back: Range<usize>, midline: f64, half: f64, roughness: &[f32]) {
    let ends = [back.start, back.end].map(|n| row.x_at(n) - midline);
    // Hardly a slice comes near the midline.
    if ends[0].min(ends[1]) > half || ends[0].max(ends[1]) < -half {
        return;
    }
    for n in back {
        if (row.x_at(n) - midline).abs() < half {
            row.voxels[n].tissue = match roughness[n] {
                r if r > 0.2 => Tissue::Fat,
                r if r < -0.9 => Tissue::Ligament,
                _ => row.voxels[n].tissue,
            };
        }
    }
}

/// 0 within `half` of the middle, 1 well beside it: borders between them are slanted, never in the plane of a slice.
fn beside(aside: f64, half: f64) -> f64 {
    const SLANT_MM: f64 = 14.0;
    ((aside.abs() - half) / SLANT_MM).clamp(0.0, 1.0)
}

/// Fills the columns of `run` by the value of a field there.
fn paint(voxels: &mut [Voxel], field: &[f32], run: Range<usize>, choose: impl Fn(f32) -> Tissue) {
    for (voxel, &value) in voxels[run.clone()].iter_mut().zip(&field[run]) {
        voxel.tissue = choose(value);
    }
}

/// What fills the space in front of the column between the organs: neck muscles, lung beside the mediastinum, fat.
fn contents(
    row: &mut Row<'_>,
    space: Range<usize>,
    [level, middle, aside]: [f64; 3],
    trunk: &Trunk,
    roughness: &[f32],
) {
    // Mesentery and small vessels; the vessels of the lung.
    let filled = |tissue: Tissue, rough: f32| match tissue {
        Tissue::Gas if rough > 1.15 => Tissue::Vessel,
        Tissue::Gas => Tissue::Gas,
        _ if rough.abs() < SEPTUM => Tissue::OrganGrey,
        _ => tissue,
    };
    // The ends of the lung are domes: on a row they are distances from the crest of the dome.
    if (LUNG.start - 8.0..LUNG.end).contains(&level) {
        let distance = |below: f64| (DOME_MM * below.max(0.0).sqrt()) as f32;
        let (lung, below) = (distance(LUNG.end - level), distance(LUNG.start - level));
        let crest = (row.y_at(0) - middle - DOME_CREST_MM) as f32;
        let step = (row.y_at(1) - row.y_at(0)) as f32;
        let back = MEDIASTINUM_BACK_MM * beside(aside, trunk.mediastinum.at(row.z()));
        let front = (back - MEDIASTINUM_MM - DOME_CREST_MM) as f32;
        for n in space {
            let ahead = crest + step * n as f32;
            let tissue = match ahead.abs() {
                d if d >= lung => Tissue::Muscle,
                d if d >= below && ahead < front => Tissue::Gas,
                _ => Tissue::VisceralFat,
            };
            row.voxels[n].tissue = filled(tissue, roughness[n]);
        }
        return;
    }
    let tissue = if level < LUNG.end { Tissue::VisceralFat } else { Tissue::Muscle };
    paint(row.voxels, roughness, space, |rough| filled(tissue, rough));
}
