//! The dural sac with cord, conus and cauda equina: its size is its own, not the bony canal's.
//!
//! The label `Canal` is the sac without the cord. Behind the sac lies a pad of fat, thick at each disc and none at each
//! lamina; in front veins at each body, and a growing cushion of fat from L5 down. The label `Cord` ends at the tip of
//! the conus: the strands below it are part of the sac, as in SPINEPS' masks.

use crate::Population;
use crate::bodies::superellipse;
use crate::canal::{Canal, Section};
use crate::field::Profile;
use crate::random::Random;
use crate::spine::{L5, Spine};
use crate::tissue::{Structure, Tissue};

/// The sac tapers to its end over this length.
const SAC_TAPER_MM: f64 = 18.0;

/// However narrow the level, this share of the canal's depth stays open.
const LEAST_DEPTH: f64 = 0.24;

/// Share of the sac's half depth that the cord can take: flattened before it touches the dura on both sides.
const CORD_SHARE: f64 = 0.9;

/// Where the sac of one person ends, how much room it leaves, and what it holds.
pub(crate) struct Person {
    sac_end: f64,
    squareness: f64,
    /// Half width as a share of the canal's.
    width: f64,
    /// Millimetres of veins at each body and of fat at the sacrum in front.
    veins: f64,
    front_fat: f64,
    /// Millimetres of fat behind: everywhere, and at each disc for lumbar, thoracic and cervical levels.
    back: f64,
    pad: [f64; 3],
    /// Place of the pad's middle relative to the disc, in levels.
    pad_lower: f64,
    trefoil: f64,
    conus: f64,
    conus_taper: f64,
    cord_depth: f64,
    cord_width: f64,
    cord_back: f64,
    roots: Vec<Strand>,
    sway: [Profile; 2],
}

/// One strand of the cauda equina: its place as shares of the canal's half sizes, with a slow sway: it
/// runs straighter than the sac's wall.
struct Strand {
    back: f64,
    side: f64,
    radius: f64,
    sway: Profile,
}

impl Person {
    pub(crate) fn new(
        random: &mut Random,
        spine: &Spine,
        canal: &Canal,
        population: Population,
    ) -> Person {
        let training = population == Population::Training;
        let between = |random: &mut Random, usual: [f64; 2], wide: [f64; 2]| {
            let [low, high] = if training { wide } else { usual };
            random.between(low, high)
        };
        // Sac end at S2, conus between T12 and L2.
        let sac_end = between(random, [2.2, 3.4], [1.6, 4.4]);
        let conus = between(random, [7.9, 10.2], [7.5, 10.6]);
        let clumped = training && random.chance(0.15);
        let (spread, waves) = if clumped { (0.3, 1.2) } else { (0.8, 0.7) };
        let roots = (0..random.count(10, 22))
            .map(|_| Strand {
                back: random.between(if clumped { 0.2 } else { -0.2 }, 0.85),
                side: random.between(-spread, spread),
                radius: random.between(0.4, 0.8),
                sway: Profile::waves(&canal.y, random, 35.0, waves),
            })
            .collect();
        let no_pad = random.chance(0.12);
        let wide_pad = if training { random.unit() } else { 0.0 };
        // Most people have a few millimetres, few have much.
        let pad = between(random, [1.0, 4.0], [0.5, 4.5]) + 4.0 * wide_pad * wide_pad * wide_pad;
        Person {
            sac_end: spine.z_of(sac_end),
            squareness: random.between(0.0, 0.25),
            width: between(random, [0.84, 0.96], [0.72, 0.97]),
            veins: random.between(0.0, 1.8),
            front_fat: between(random, [0.0, 5.0], [0.0, 8.0]),
            back: between(random, [0.2, 1.0], [0.0, 2.0]),
            pad: if no_pad {
                [0.0; 3]
            } else {
                [pad, random.between(0.0, 0.45) * pad, random.between(0.0, 0.15) * pad]
            },
            pad_lower: random.between(-0.05, 0.3),
            trefoil: random.between(0.0, 0.45),
            conus: spine.z_of(conus),
            conus_taper: between(random, [20.0, 34.0], [16.0, 42.0]),
            cord_depth: between(random, [0.97, 1.12], [0.86, 1.2]),
            cord_width: between(random, [0.97, 1.12], [0.88, 1.2]),
            cord_back: between(random, [0.1, 0.6], [-0.1, 0.8]),
            roots,
            sway: [
                Profile::waves(&canal.y, random, 50.0, if training { 1.1 } else { 0.6 }),
                Profile::waves(&canal.y, random, 60.0, if training { 1.0 } else { 0.4 }),
            ],
        }
    }

    /// The thickest fat behind the sac at a place of the chain, millimetres.
    fn pad_at(&self, place: f64) -> f64 {
        let thoracic = ((place - 10.0) / 3.0).clamp(0.0, 1.0);
        let cervical = ((place - 20.0) / 3.0).clamp(0.0, 1.0);
        let trunk = self.pad[0] + (self.pad[1] - self.pad[0]) * thoracic;
        trunk + (self.pad[2] - trunk) * cervical
    }
}

/// The sac at one height; all lengths are those of the horizontal cut.
pub(crate) struct Sac<'a> {
    centre: f64,
    half_depth: f64,
    half_width: f64,
    trefoil: f64,
    narrowed: bool,
    veins: bool,
    cord: Option<Cord>,
    /// Of each root: place ahead and aside, squared radius.
    roots: Vec<[f64; 3]>,
    person: &'a Person,
}

struct Cord {
    back: f64,
    left: f64,
    half_depth: f64,
    half_width: f64,
}

impl<'a> Sac<'a> {
    pub(crate) fn at(section: &Section, spine: &Spine, person: &'a Person) -> Sac<'a> {
        let whole = 2.0 * section.half_depth;
        // Smooth from 0 at a body to 1 at a disc.
        let at_disc = |lower: f64| {
            let share = section.at_disc(lower);
            share * share * (3.0 - 2.0 * share)
        };
        let (narrowing, pushed) = narrowing(section, spine);
        let sacral = ((6.0 - section.place) / 2.5).clamp(0.0, 1.0);
        let veins = person.veins * (1.0 - at_disc(0.0));
        let front = veins + person.front_fat * sacral + pushed;
        let pad = person.pad_at(section.place) * at_disc(person.pad_lower);
        let mut depth = whole - (front + person.back + pad) / section.cosine;
        // Wide fat cannot take more than half of the canal, a narrowed level can.
        depth = depth.max(0.5 * whole) * (1.0 - narrowing);
        depth = depth.max(LEAST_DEPTH * whole);
        let free = whole - depth;
        let before = (front / section.cosine).min(0.8 * free) + 0.5 * narrowing * free;
        let fade = ((section.z - person.sac_end) / SAC_TAPER_MM).clamp(0.0, 1.0).sqrt();
        let lumbar = ((12.0 - section.place) / 5.0).clamp(0.0, 1.0);
        let half_depth = depth / 2.0 * fade;
        let centre = before.min(free) + depth / 2.0 - section.half_depth;
        Sac {
            centre,
            half_depth,
            half_width: section.half_width * person.width * fade * (1.0 - 0.3 * narrowing),
            trefoil: person.trefoil * lumbar,
            narrowed: narrowing > 0.1,
            veins: veins > 0.6,
            cord: cord(section, half_depth, centre, spine, person),
            roots: roots(section, person),
            person,
        }
    }

    /// What lies at a place inside the sac; none outside it.
    pub(crate) fn at_place(&self, [ahead, aside]: [f64; 2]) -> Option<(Tissue, Structure)> {
        let (u, side) = (ahead - self.centre, self.half_width);
        if u.abs() >= self.half_depth || aside.abs() >= side {
            return None;
        }
        let pinch = self.trefoil * (u / self.half_depth + 0.35).clamp(0.0, 1.0);
        let radius = superellipse(u / self.half_depth, self.person.squareness)
            + superellipse(aside / (side * (1.0 - pinch)), self.person.squareness);
        if radius >= 1.0 {
            return None;
        }
        if let Some(cord) = &self.cord {
            let (x, y) = ((u - cord.back) / cord.half_depth, (aside - cord.left) / cord.half_width);
            if x * x + y * y < 1.0 && radius < 0.97 {
                return Some((Tissue::Cord, Structure::Cord));
            }
        }
        let in_root = |root: &[f64; 3]| {
            let (x, y) = (ahead - root[0], aside - root[1]);
            x * x + y * y < root[2]
        };
        let tissue = if radius < 0.92 && self.roots.iter().any(in_root) {
            Tissue::Root
        } else {
            Tissue::Csf
        };
        Some((tissue, Structure::Canal))
    }

    /// What fills the canal beside the sac.
    pub(crate) fn around(&self, ahead: f64, rough: impl Fn() -> f64) -> Tissue {
        let behind = ahead > self.centre;
        if behind && self.narrowed && rough() < 0.6 {
            // A thick ligamentum flavum, not fat, narrows the canal from behind.
            Tissue::Ligament
        } else if !behind && self.veins && rough() > -0.3 {
            Tissue::BasivertebralVein
        } else {
            Tissue::EpiduralFat
        }
    }
}

/// Share of the depth lost at the disc nearby, and millimetres taken by its herniation.
fn narrowing(section: &Section, spine: &Spine) -> (f64, f64) {
    // Half the length of a narrow place, in levels.
    const REACH: f64 = 0.42;
    // The disc below level n lies half a level below its middle.
    let upper = (section.level + 0.5).round();
    let far = (section.level + 0.5 - upper) / REACH;
    let near = (1.0 - far * far).max(0.0);
    let upper = (upper.max(0.0) as usize).min(spine.vertebrae.len() - 1);
    if upper < L5 {
        return (0.0, 0.0);
    }
    let disc = &spine.vertebrae[upper].findings.disc;
    // A herniation in the midline moves the sac, one at the side only dents it.
    let pushed = disc.herniation.map_or(0.0, |h| h.depth * (1.0 - h.side.abs() / 10.0).max(0.0));
    (disc.narrowing * near, (disc.bulge * 0.7 + pushed * 0.7) * near)
}

/// The roots of the cauda equina in the sac; they leave the cord from the lumbar enlargement down.
fn roots(section: &Section, person: &Person) -> Vec<[f64; 3]> {
    if section.z >= person.conus + 25.0 {
        return Vec::new();
    }
    let place = |root: &Strand| {
        let sway = root.sway.at(section.z);
        let (ahead, aside) = (root.back * section.half_depth, root.side * section.half_width);
        [ahead + sway, aside + sway, root.radius * root.radius]
    };
    person.roots.iter().map(place).collect()
}

/// The cord in the sac; none below the conus.
fn cord(
    section: &Section,
    sac_half_depth: f64,
    sac_centre: f64,
    spine: &Spine,
    person: &Person,
) -> Option<Cord> {
    let above = ((section.z - person.conus) / person.conus_taper).clamp(0.0, 1.0);
    let last = spine.vertebrae.len() - 1;
    let below = (section.level.max(0.0) as usize).clamp(L5, last - 1);
    let part = (section.level - below as f64).clamp(0.0, 1.0);
    let size = |of: &dyn Fn(usize) -> f64| of(below) + (of(below + 1) - of(below)) * part;
    let depth = size(&|n| spine.vertebrae[n].size.cord_depth) / 2.0;
    let width = size(&|n| spine.vertebrae[n].size.cord_width) / 2.0;
    // The lumbar enlargement keeps its size down to where the conus tapers.
    let enlarged = if section.place < 12.0 { (3.6, 4.4) } else { (0.0, 0.0) };
    let taper = above.sqrt();
    let own = depth.max(enlarged.0) * person.cord_depth * taper / section.cosine;
    let half_depth = own.min(sac_half_depth * CORD_SHARE);
    if half_depth < 0.4 {
        return None;
    }
    let room = (sac_half_depth - half_depth).max(0.0);
    // The conus lies towards the back of the sac when the patient is supine.
    let low = ((13.5 - section.place) / 3.0).clamp(0.0, 1.0);
    // The cord keeps its own course where the sac is pushed aside.
    let straight = -0.8 * sac_centre;
    let back = person.sway[0].at(section.z) + person.cord_back * low * room.min(6.0) + straight;
    // A cord pressed flat is wider.
    let half_width =
        width.max(enlarged.1) * person.cord_width * taper * (own / half_depth).min(1.2);
    Some(Cord {
        back: back.clamp(-0.9 * room, 0.9 * room),
        left: person.sway[1].at(section.z),
        half_depth,
        half_width,
    })
}
