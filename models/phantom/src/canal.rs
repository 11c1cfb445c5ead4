//! The spinal canal: dural sac, cord with conus, roots, epidural fat and the ligaments around them.
//!
//! Drawn row by row as a tube behind the bodies; `ahead` and `aside` are millimetres from its centre to posterior and
//! to the left. A horizontal row cuts a tilted tube longer than it is deep: depths are divided by the tilt's cosine.

use crate::angle::sin_cos;
use crate::bodies::superellipse;
use crate::canvas::Canvas;
use crate::field::{Field, Profile};
use crate::random::Random;
use crate::spine::{C2, L5, LEVELS, Spine, T12};
use crate::tissue::{Structure, Tissue, Voxel};

/// Course and size of the bony canal over z.
#[derive(Debug)]
pub(crate) struct Canal {
    x: Profile,
    y: Profile,
    half_depth: Profile,
    half_width: Profile,
}

/// The canal is drawn up to here above C2: the foramen magnum lies 40 mm above.
const ABOVE_C2_MM: f64 = 60.0;

/// Squareness of the canal's cross section: close to an ellipse.
const SQUARENESS: f64 = 0.15;

/// The sac tapers to its end over this length.
const SAC_TAPER_MM: f64 = 18.0;

impl Canal {
    pub(crate) fn new(random: &mut Random, spine: &Spine) -> Canal {
        let knots = |extra: f64, value: &dyn Fn(usize) -> f64| {
            let mut knots: Vec<_> = (0..LEVELS).map(|n| (centre(spine, n)[2], value(n))).collect();
            knots.sort_by(|a, b| a.0.total_cmp(&b.0));
            knots.dedup_by(|a, b| a.0 - b.0 < 0.5);
            let top = knots[knots.len() - 1];
            knots.push((top.0 + ABOVE_C2_MM, top.1 + extra));
            Profile::through(&knots)
        };
        let y = knots(2.0, &|n| centre(spine, n)[1]).smoothed(4.0);
        let x = knots(0.0, &|n| centre(spine, n)[0]).smoothed(4.0);
        let narrowing = Profile::waves(&y, random, 18.0, 0.05);
        let half_depth = knots(2.0, &|n| {
            let place = centre(spine, n)[2];
            spine.vertebrae[n].size.canal_depth / 2.0 * (1.0 - narrowing.at(place).max(0.0))
        });
        let half_width = knots(2.0, &|n| spine.vertebrae[n].size.canal_width / 2.0);
        Canal { x, y, half_depth: half_depth.smoothed(3.0), half_width: half_width.smoothed(3.0) }
    }
}

/// Middle of the canal behind the body of `level`.
fn centre(spine: &Spine, level: usize) -> [f64; 3] {
    let vertebra = &spine.vertebrae[level];
    // The posterior ligament keeps the sac half a millimetre off the bodies.
    let gap = if level >= L5 { 0.5 } else { 0.0 };
    let behind = vertebra.size.depth / 2.0 + vertebra.size.canal_depth / 2.0 + gap;
    vertebra.frame.world([behind, 0.0, 0.0])
}

/// Where things end and how full the canal is, for one person.
struct Person {
    sac_end: f64,
    sac_share: f64,
    conus: f64,
    conus_taper: f64,
    cord_scale: f64,
    cord_back: f64,
    trefoil: f64,
    foramen: f64,
    fat: f64,
    roots: Vec<CaudaRoot>,
    waves: Profile,
    sway: Profile,
}

/// One strand of the cauda equina: its place as shares of the canal's half sizes, with a slow sway.
struct CaudaRoot {
    back: f64,
    side: f64,
    radius: f64,
    sway: Profile,
}

impl Person {
    fn new(random: &mut Random, spine: &Spine, canal: &Canal) -> Person {
        // Sac end at S2, conus between T12 and L2.
        let (sac_end, conus) = (random.between(2.2, 3.4), random.between(7.9, 10.2));
        let roots = (0..random.count(10, 18))
            .map(|_| CaudaRoot {
                back: random.between(-0.1, 0.75),
                side: random.between(-0.65, 0.65),
                radius: random.between(0.45, 0.85),
                sway: Profile::waves(&canal.y, random, 35.0, 0.8),
            })
            .collect();
        Person {
            sac_end: spine.z_of(sac_end),
            sac_share: random.between(0.82, 0.98),
            conus: spine.z_of(conus),
            conus_taper: random.between(20.0, 34.0),
            cord_scale: random.between(0.98, 1.15),
            cord_back: random.between(0.1, 0.6),
            trefoil: random.between(0.15, 0.6),
            foramen: random.between(4.0, 8.0),
            fat: random.between(0.35, 0.6),
            roots,
            waves: Profile::waves(&canal.y, random, 14.0, 0.25),
            sway: Profile::waves(&canal.y, random, 50.0, 0.6),
        }
    }
}

/// The cross section of the canal at one height.
struct Section {
    z: f64,
    centre: [f64; 2],
    half_depth: f64,
    half_width: f64,
    trefoil: f64,
    /// Limit of the canal radius inside which the sac lies; 0 below its end.
    sac: f64,
    cord: Option<Cord>,
    level: f64,
    has_foramina: bool,
    /// 0 at the middle of a body, 1 at the disc: where the posterior fat is thick.
    at_disc: f64,
}

struct Cord {
    shift: f64,
    half_depth: f64,
    half_width: f64,
}

impl Section {
    fn at(z: f64, spine: &Spine, canal: &Canal, person: &Person) -> Section {
        let level = spine.level.at(z);
        let cosine = sin_cos(spine.tilt.at(z)).1;
        let half_depth = canal.half_depth.at(z) / cosine;
        let half_width = canal.half_width.at(z);
        let lumbar = ((12.0 - level) / 5.0).clamp(0.0, 1.0);
        let fade = ((z - person.sac_end) / SAC_TAPER_MM).clamp(0.0, 1.0);
        Section {
            z,
            centre: [canal.x.at(z), canal.y.at(z)],
            half_depth,
            half_width,
            trefoil: person.trefoil * lumbar,
            sac: person.sac_share * fade,
            cord: cord(z, level, half_depth * cosine, cosine, spine, person),
            level,
            has_foramina: level > 4.6 && level < 24.0,
            at_disc: 2.0 * (level - level.round()).abs(),
        }
    }

    /// Below 1 inside the bony canal; the lumbar canal is narrower behind (trefoil).
    fn radius(&self, ahead: f64, aside: f64) -> f64 {
        let pinch = self.trefoil * (ahead / self.half_depth + 0.35).clamp(0.0, 1.0);
        superellipse(ahead / self.half_depth, SQUARENESS)
            + superellipse(aside / (self.half_width * (1.0 - pinch)), SQUARENESS)
    }
}

/// The cord at height z; none below the conus.
fn cord(
    z: f64,
    level: f64,
    canal_half_depth: f64,
    cosine: f64,
    spine: &Spine,
    person: &Person,
) -> Option<Cord> {
    let above = ((z - person.conus) / person.conus_taper).clamp(0.0, 1.0);
    let below = (level as usize).clamp(L5, C2 - 1);
    let part = (level - below as f64).clamp(0.0, 1.0);
    let size = |of: &dyn Fn(usize) -> f64| of(below) + (of(below + 1) - of(below)) * part;
    let depth = size(&|n| spine.vertebrae[n].size.cord_depth) / 2.0;
    let width = size(&|n| spine.vertebrae[n].size.cord_width) / 2.0;
    // The lumbar enlargement keeps its size down to where the conus tapers.
    let enlarged = if level < 12.0 { (3.6, 4.4) } else { (0.0, 0.0) };
    let taper = person.cord_scale * above.sqrt();
    let half_depth = (depth.max(enlarged.0) * taper).min(canal_half_depth * 0.86);
    if half_depth < 0.4 {
        return None;
    }
    let room = (canal_half_depth - half_depth).max(0.0);
    // The conus lies towards the back of the sac when the patient is supine.
    let low = ((T12 as f64 + 3.5 - level) / 3.0).clamp(0.0, 1.0);
    let shift = (person.sway.at(z) + person.cord_back * low * room.min(6.0)).clamp(-room, room);
    Some(Cord { shift, half_depth: half_depth / cosine, half_width: width.max(enlarged.1) * taper })
}

/// Draws the canal and all it holds; bodies and discs drawn later take what they need except the cord.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    roughness: &Field,
) -> Canal {
    let canal = Canal::new(random, spine);
    let person = Person::new(random, spine, &canal);
    // The sacral canal opens below S4 (sacral hiatus).
    let bottom = spine.z_of(0.6);
    canvas.rows_between(bottom, f64::INFINITY, |mut row| {
        let section = Section::at(row.z(), spine, &canal, &person);
        let (reach, middle) = (section.half_depth * 1.9, section.centre[1]);
        row.between(middle - reach, middle + reach, |point, voxel| {
            let (aside, ahead) = (point[0] - section.centre[0], point[1] - section.centre[1]);
            if aside.abs() < section.half_width + person.foramen {
                fill(&section, &person, [ahead, aside], roughness.at(point), voxel);
            }
        });
    });
    canal
}

fn fill(
    section: &Section,
    person: &Person,
    [ahead, aside]: [f64; 2],
    rough: f64,
    voxel: &mut Voxel,
) {
    let radius = section.radius(ahead, aside);
    if radius >= 1.0 {
        surround(section, person, [ahead, aside], radius, rough, voxel);
        return;
    }
    // Posterior fat fills the angle between the laminae, level by level; it is not part of the sac.
    let fat_edge = section.half_depth * (1.0 - person.fat * section.at_disc * 0.6);
    let in_fat = section.has_foramina && ahead > fat_edge;
    if radius >= section.sac || in_fat {
        voxel.tissue = Tissue::EpiduralFat;
    } else {
        voxel.set(Tissue::Csf, Structure::Canal, 0);
        draw_roots(section, person, [ahead, aside], voxel);
    }
    if let Some(cord) = &section.cord {
        let (u, w) = ((ahead - cord.shift) / cord.half_depth, aside / cord.half_width);
        if u * u + w * w < 1.0 && radius < 0.96 {
            voxel.set(Tissue::Cord, Structure::Cord, 0);
        }
    }
}

fn draw_roots(section: &Section, person: &Person, [ahead, aside]: [f64; 2], voxel: &mut Voxel) {
    // Roots leave the cord from the lumbar enlargement down.
    if section.z > person.conus + 25.0 {
        return;
    }
    for root in &person.roots {
        let sway = root.sway.at(section.z);
        let u = ahead - root.back * section.half_depth - sway;
        let w = aside - root.side * section.half_width - sway;
        if u * u + w * w < root.radius * root.radius {
            voxel.tissue = Tissue::Root;
        }
    }
}

/// What lies outside the canal's wall: ligaments, and the fat of the foramina at its sides.
fn surround(
    section: &Section,
    person: &Person,
    [ahead, aside]: [f64; 2],
    radius: f64,
    rough: f64,
    voxel: &mut Voxel,
) {
    let beside = aside.abs() - section.half_width;
    // The last foramen ends on the slanted sacrum, not in a horizontal cut.
    let in_foramen = section.has_foramina
        && section.level + 0.3 * rough > 4.8
        && beside > -0.1 * section.half_width
        && ahead > -section.half_depth - 2.0
        && ahead < section.half_depth * 1.05;
    let triangle = section.has_foramina
        && ahead > 0.0
        && ahead < section.half_depth * 1.5
        && aside.abs() < section.half_width * 0.45
        && section.at_disc + person.waves.at(section.z) > 0.6;
    if triangle || (in_foramen && rough > -0.8) {
        voxel.tissue = Tissue::EpiduralFat;
    } else if radius < 1.9 {
        voxel.tissue = Tissue::Ligament;
    }
}
