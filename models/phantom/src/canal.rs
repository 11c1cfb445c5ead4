//! The bony spinal canal: its course, the fat and ligaments in it and in the foramina; what the dura holds is `sac`'s.
//!
//! Drawn row by row as a tube behind the bodies; `ahead` and `aside` are millimetres from its centre to posterior and
//! to the left. A horizontal row cuts a tilted tube longer than it is deep: depths are divided by the tilt's cosine.

use crate::Population;
use crate::angle::sin_cos;
use crate::bodies::superellipse;
use crate::canvas::Canvas;
use crate::field::{Field, Profile};
use crate::random::Random;
use crate::sac::{self, Sac};
use crate::spine::{L5, Spine, Vertebra};
use crate::tissue::{Structure, Tissue, Voxel};

/// Course and size of the bony canal over z.
#[derive(Debug)]
pub(crate) struct Canal {
    x: Profile,
    pub(crate) y: Profile,
    half_depth: Profile,
    half_width: Profile,
}

/// The canal is drawn up to here above C2: the foramen magnum lies 40 mm above.
const ABOVE_C2_MM: f64 = 60.0;

/// A row is turned by at most three degrees: over the depth of the canal and what surrounds it, it moves less to the side.
const TURNED_MM: f64 = 3.0;

/// Squareness of the canal's cross section: close to an ellipse.
const SQUARENESS: f64 = 0.15;

impl Canal {
    fn new(random: &mut Random, spine: &Spine) -> Canal {
        let knots = |extra: f64, value: &dyn Fn(&Vertebra) -> f64| {
            let mut knots: Vec<_> =
                spine.vertebrae.iter().map(|v| (centre(v)[2], value(v))).collect();
            knots.sort_by(|a, b| a.0.total_cmp(&b.0));
            knots.dedup_by(|a, b| a.0 - b.0 < 0.5);
            let top = knots[knots.len() - 1];
            knots.push((top.0 + ABOVE_C2_MM, top.1 + extra));
            Profile::through(&knots)
        };
        let y = knots(2.0, &|v| centre(v)[1]).smoothed(4.0);
        let x = knots(0.0, &|v| centre(v)[0]).smoothed(4.0);
        let waves = Profile::waves(&y, random, 18.0, 0.05);
        let half_depth =
            knots(2.0, &|v| v.size.canal_depth / 2.0 * (1.0 - waves.at(centre(v)[2]).max(0.0)));
        let half_width = knots(2.0, &|v| v.size.canal_width / 2.0);
        Canal { x, y, half_depth: half_depth.smoothed(3.0), half_width: half_width.smoothed(3.0) }
    }
}

/// Middle of the canal behind the body of a vertebra.
fn centre(vertebra: &Vertebra) -> [f64; 3] {
    // The posterior ligament keeps the sac half a millimetre off the bodies.
    let gap = if vertebra.level >= L5 { 0.5 } else { 0.0 };
    let behind = vertebra.size.depth / 2.0 + vertebra.size.canal_depth / 2.0 + gap;
    vertebra.frame.world([behind, 0.0, 0.0])
}

/// What fills one person's canal around the sac.
struct Person {
    trefoil: f64,
    foramen: f64,
    /// How far the fat reaches back between the laminae, as a share of the canal's half depth; 0 is none.
    triangle: f64,
    /// Which part of the interlaminar window it fills: higher is less.
    window: f64,
    waves: Profile,
}

impl Person {
    fn new(random: &mut Random, canal: &Canal) -> Person {
        let none = random.chance(0.12);
        let triangle = random.between(0.15, 0.75);
        Person {
            trefoil: random.between(0.15, 0.6),
            foramen: random.between(4.0, 9.0),
            triangle: if none { 0.0 } else { triangle },
            window: random.between(0.4, 0.8),
            waves: Profile::waves(&canal.y, random, 14.0, 0.25),
        }
    }
}

/// The cross section of the canal at one height.
pub(crate) struct Section {
    pub(crate) z: f64,
    centre: [f64; 2],
    /// Of the slanted cut.
    pub(crate) half_depth: f64,
    pub(crate) half_width: f64,
    /// Of the tilt.
    pub(crate) cosine: f64,
    trefoil: f64,
    /// In the usual chain, and along this person's chain.
    pub(crate) place: f64,
    pub(crate) level: f64,
    has_foramina: bool,
}

impl Section {
    fn at(z: f64, spine: &Spine, canal: &Canal, person: &Person) -> Section {
        let place = spine.place.at(z);
        let cosine = sin_cos(spine.tilt.at(z)).1;
        let lumbar = ((12.0 - place) / 5.0).clamp(0.0, 1.0);
        Section {
            z,
            centre: [canal.x.at(z), canal.y.at(z)],
            half_depth: canal.half_depth.at(z) / cosine,
            half_width: canal.half_width.at(z),
            cosine,
            trefoil: person.trefoil * lumbar,
            place,
            level: spine.level.at(z),
            has_foramina: place > 4.6 && place < 24.0,
        }
    }

    /// 0 at the middle of a body, 1 at the disc; `lower` moves it down the chain by a share of a level.
    pub(crate) fn at_disc(&self, lower: f64) -> f64 {
        let level = self.level + lower;
        2.0 * (level - level.round()).abs()
    }

    /// Below 1 inside the bony canal; the lumbar canal is narrower behind (trefoil).
    fn radius(&self, ahead: f64, aside: f64) -> f64 {
        let pinch = self.trefoil * (ahead / self.half_depth + 0.35).clamp(0.0, 1.0);
        superellipse(ahead / self.half_depth, SQUARENESS)
            + superellipse(aside / (self.half_width * (1.0 - pinch)), SQUARENESS)
    }
}

/// The canal and sac that [`draw`] draws from the same stream.
pub(crate) struct Drawn {
    canal: Canal,
    person: Person,
    dura: sac::Person,
}

impl Drawn {
    pub(crate) fn new(random: &mut Random, spine: &Spine, population: Population) -> Drawn {
        let canal = Canal::new(random, spine);
        let person = Person::new(random, &canal);
        let dura = sac::Person::new(random, spine, &canal, population);
        Drawn { canal, person, dura }
    }

    /// Area and depth of the sac and area of the cord at height `z`, perpendicular to the canal: mm2, mm, mm2.
    pub(crate) fn sac_at(&self, spine: &Spine, z: f64) -> [f64; 3] {
        /// Fine enough for a thousandth of the area.
        const STEP_MM: f64 = 0.1;
        let section = Section::at(z, spine, &self.canal, &self.person);
        let sac = Sac::at(&section, spine, &self.dura);
        let steps = |half: f64| (half / STEP_MM) as i32;
        let (ahead, aside) = (steps(1.5 * section.half_depth), steps(section.half_width));
        let (mut sac_count, mut cord_count, mut depth) = (0, 0, 0);
        for side in -aside..=aside {
            let mut line = 0;
            for front in -ahead..=ahead {
                let place = [front, side].map(|n| f64::from(n) * STEP_MM);
                let Some((_, structure)) = sac.at_place(place) else { continue };
                line += 1;
                cord_count += i32::from(structure == Structure::Cord);
            }
            sac_count += line;
            depth = line.max(depth);
        }
        let area = STEP_MM * STEP_MM * section.cosine;
        [
            f64::from(sac_count) * area,
            f64::from(depth) * STEP_MM * section.cosine,
            f64::from(cord_count) * area,
        ]
    }
}

/// Draws the canal and all it holds; bodies and discs drawn later take what they need except the cord.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    population: Population,
    roughness: &Field,
) {
    let Drawn { canal, person, dura } = Drawn::new(random, spine, population);
    // The sacral canal opens below S4 (sacral hiatus).
    let bottom = spine.z_of(0.6);
    canvas.rows_between(bottom, f64::INFINITY, |mut row| {
        let z = row.z();
        // Half of the rows pass beside the canal and all around it.
        let width = canal.half_width.at(z) + person.foramen + TURNED_MM;
        if (row.x_near(canal.y.at(z)) - canal.x.at(z)).abs() > width {
            return;
        }
        let section = Section::at(z, spine, &canal, &person);
        let sac = Sac::at(&section, spine, &dura);
        let (reach, middle) = (section.half_depth * 1.9, section.centre[1]);
        row.between(middle - reach, middle + reach, |point, voxel| {
            let (aside, ahead) = (point[0] - section.centre[0], point[1] - section.centre[1]);
            if aside.abs() < section.half_width + person.foramen {
                fill(&section, &sac, &person, [ahead, aside], || roughness.at(point), voxel);
            }
        });
    });
}

fn fill(
    section: &Section,
    sac: &Sac<'_>,
    person: &Person,
    place: [f64; 2],
    rough: impl Fn() -> f64,
    voxel: &mut Voxel,
) {
    if let Some((tissue, structure)) = sac.at_place(place) {
        voxel.set(tissue, structure, 0);
        return;
    }
    let [ahead, aside] = place;
    let radius = section.radius(ahead, aside);
    if radius < 1.0 {
        voxel.tissue = sac.around(ahead, rough);
    } else {
        surround(section, person, place, radius, rough, voxel);
    }
    voxel.structure = Structure::None;
}

/// What lies outside the canal's wall: ligaments, the fat between the laminae and that of the foramina at its sides.
fn surround(
    section: &Section,
    person: &Person,
    [ahead, aside]: [f64; 2],
    radius: f64,
    rough: impl Fn() -> f64,
    voxel: &mut Voxel,
) {
    let beside = aside.abs() - section.half_width;
    // The last foramen ends on the slanted sacrum, not in a horizontal cut.
    let near_foramen = section.has_foramina
        && beside > -0.1 * section.half_width
        && ahead > -section.half_depth - 2.0
        && ahead < section.half_depth * 1.05;
    let rough = if near_foramen { rough() } else { 0.0 };
    let in_foramen = near_foramen && section.place + 0.3 * rough > 4.8;
    // A triangle with its tip behind, where the ligamenta flava meet.
    let tip = section.half_depth * (1.0 + person.triangle);
    let share = ((tip - ahead) / section.half_depth).clamp(0.0, 1.0);
    let triangle = person.triangle > 0.0
        && section.has_foramina
        && ahead > 0.0
        && aside.abs() < section.half_width * 0.7 * share
        && section.at_disc(0.0) + person.waves.at(section.z) > person.window;
    // Foramina hold small vessels in their fat.
    if in_foramen && rough > 1.3 {
        voxel.tissue = Tissue::Vessel;
    } else if triangle || (in_foramen && rough > -0.8) {
        voxel.tissue = Tissue::EpiduralFat;
    } else if radius < 1.9 {
        voxel.tissue = Tissue::Ligament;
    }
}
