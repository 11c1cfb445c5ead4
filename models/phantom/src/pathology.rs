//! What is worn, slipped, broken or replaced in one person's spine: drawn before the shapes, so that they agree.
//!
//! Every vertebra has its [`Findings`]; those of a disc belong to the vertebra above it, as everywhere in this crate.

use crate::Population;
use crate::random::Random;
use crate::spine::{L5, Part};
use crate::tissue::Tissue;
use crate::variants::{Link, Plan};

/// A focal push of disc material to posterior, millimetres.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Herniation {
    pub(crate) depth: f64,
    pub(crate) half_width: f64,
    /// To the left of the midline.
    pub(crate) side: f64,
    /// Below (negative) or above the middle of the disc.
    pub(crate) up: f64,
}

/// The disc below a vertebra.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct DiscFindings {
    /// 0 young to 1 collapsed.
    pub(crate) wear: f64,
    /// Height left, as a share.
    pub(crate) height: f64,
    /// Annulus beyond the bodies' edge all around, millimetres.
    pub(crate) bulge: f64,
    pub(crate) herniation: Option<Herniation>,
    /// Gas in the worn disc.
    pub(crate) vacuum: bool,
    /// A dark cleft across the bright nucleus.
    pub(crate) cleft: bool,
    /// Share of the sac's depth lost at this disc.
    pub(crate) narrowing: f64,
    /// Marrow beside both endplates (Modic types) and its height in millimetres.
    pub(crate) modic: Option<(Tissue, f64)>,
    /// No disc: both bodies are one bone.
    pub(crate) fused: bool,
}

/// Disc material in an endplate: centre as shares of the half sizes, depth and radius in millimetres.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    pub(crate) upper: bool,
    pub(crate) back: f64,
    pub(crate) left: f64,
    pub(crate) depth: f64,
    pub(crate) radius: f64,
}

/// Height lost by a compression fracture, as shares of the height at the front, in the middle and at the back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fracture {
    pub(crate) front: f64,
    pub(crate) middle: f64,
    pub(crate) back: f64,
    pub(crate) acute: bool,
}

impl Fracture {
    /// Mean of the heights at the front and the back, as a share of the height before.
    pub(crate) fn height_left(&self) -> f64 {
        1.0 - (self.front + self.back) / 2.0
    }
}

/// A round change of the marrow: centre as shares of the half sizes (back, up, left), radii in millimetres.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Focus {
    pub(crate) tissue: Tissue,
    pub(crate) centre: [f64; 3],
    pub(crate) radii: [f64; 3],
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Findings {
    pub(crate) disc: DiscFindings,
    pub(crate) node: Option<Node>,
    pub(crate) fracture: Option<Fracture>,
    pub(crate) foci: Vec<Focus>,
    /// Forwards over the vertebra below, millimetres; negative backwards.
    pub(crate) slip: f64,
    /// The arch stays behind when the body slips: a gap in the pars.
    pub(crate) lysis: bool,
}

/// What one person tends to; all findings of a spine follow from it.
struct Person {
    training: bool,
    /// Age of the discs, 0 to 1.
    age: f64,
    /// Shares of vertebrae with a fracture and with a metastasis.
    fractured: f64,
    metastatic: f64,
}

/// The findings of every vertebra of `plan`.
pub(crate) fn findings(random: &mut Random, plan: &Plan, population: Population) -> Vec<Findings> {
    let training = population == Population::Training;
    let person = Person {
        training,
        age: if training { random.between(0.0, 1.0) } else { random.between(0.1, 0.65) },
        fractured: if training && random.chance(0.25) { 0.2 } else { 0.0 },
        metastatic: if training && random.chance(0.08) { 0.35 } else { 0.0 },
    };
    let mut all: Vec<_> = (plan.links.iter()).map(|link| person.findings(random, link)).collect();
    let lowest = &mut all[L5];
    if plan.fused != [false; 2] {
        lowest.disc.height = random.between(0.3, 0.6);
        lowest.disc.wear = lowest.disc.wear.min(0.5);
        (lowest.slip, lowest.disc.bulge, lowest.disc.herniation) = (0.0, 0.0, None);
    }
    if let Some(upper) = plan.block {
        all[upper].slip = 0.0;
        all[upper].disc = DiscFindings { height: 0.25, fused: true, ..DiscFindings::default() };
    }
    all
}

impl Person {
    fn findings(&self, random: &mut Random, link: &Link) -> Findings {
        if link.part == Part::Sacral {
            return Findings {
                disc: DiscFindings { height: 1.0, ..DiscFindings::default() },
                ..Findings::default()
            };
        }
        let disc = self.disc(random, link);
        let fracture = self.fracture(random, link);
        let mut foci = self.foci(random, link);
        if fracture.is_some_and(|f| f.acute) {
            let centre = [random.between(-0.3, 0.3), random.between(-0.2, 0.8), 0.0];
            foci.push(Focus { tissue: Tissue::Oedema, centre, radii: [22.0, 8.0, 30.0] });
        }
        let (slip, lysis) = self.slip(random, link, &disc);
        Findings { disc, node: self.node(random, link), fracture, foci, slip, lysis }
    }

    /// Discs wear from the bottom up; the thoracic ones last.
    fn disc(&self, random: &mut Random, link: &Link) -> DiscFindings {
        let exposure = match (link.part, link.place) {
            (Part::Lumbar, place) if place < 7.0 => 1.25,
            (Part::Lumbar, _) => 0.85,
            (Part::Cervical, place) if place < 26.0 => 0.95,
            _ => 0.55,
        };
        let wear = (self.age * exposure * random.between(0.2, 1.25)).clamp(0.0, 1.0);
        let (loss, most) = (random.between(0.0, 0.75), if self.training { 0.7 } else { 0.45 });
        let lumbar = link.part == Part::Lumbar;
        let reach = if lumbar { 1.0 } else { 0.55 };
        let often = if self.training { 0.22 } else { 0.05 };
        let herniated = random.chance(often * wear) && link.part != Part::Thoracic;
        let herniation = Herniation {
            depth: reach * random.between(3.0, if self.training { 8.0 } else { 5.0 }),
            half_width: random.between(4.0, 9.0) * reach,
            side: random.normal() * 4.0 * reach,
            up: random.normal() * 1.5,
        };
        let narrowing = random.between(0.1, 0.6);
        let narrowed = self.training && random.chance(0.25 * wear + 0.02);
        let modic = match random.count(0, 2) {
            0 => Tissue::ModicOne,
            1 => Tissue::ModicTwo,
            _ => Tissue::ModicThree,
        };
        let modic_height = random.between(2.0, 9.0);
        let has_modic = self.training && wear > 0.4 && random.chance(0.3);
        DiscFindings {
            wear,
            height: 1.0 - (loss * wear).min(most),
            bulge: (wear - 0.2).max(0.0)
                * random.between(0.0, if self.training { 4.5 } else { 2.0 }),
            herniation: herniated.then_some(herniation),
            vacuum: wear > 0.7 && random.chance(0.4),
            cleft: lumbar && wear < 0.45 && random.chance(0.4),
            narrowing: if narrowed { narrowing } else { 0.0 },
            modic: has_modic.then_some((modic, modic_height)),
            fused: false,
        }
    }

    fn node(&self, random: &mut Random, link: &Link) -> Option<Node> {
        let node = Node {
            upper: random.chance(0.5),
            back: random.between(-0.4, 0.4),
            left: random.between(-0.4, 0.4),
            depth: random.between(2.0, 6.0),
            radius: random.between(3.0, 7.0),
        };
        let often = if self.training { 0.1 } else { 0.02 };
        (random.chance(often) && link.part != Part::Cervical).then_some(node)
    }

    /// Wedge, biconcave and crush fractures (Genant), to a loss of 70 of 100.
    fn fracture(&self, random: &mut Random, link: &Link) -> Option<Fracture> {
        let (loss, kind) = (random.between(0.15, 0.7), random.unit());
        let (front, middle, back) = match kind {
            k if k < 0.5 => (loss, loss * 0.6, loss * 0.15),
            k if k < 0.8 => (loss * 0.3, loss, loss * 0.2),
            _ => (loss, loss, loss * 0.8),
        };
        let fracture = Fracture { front, middle, back, acute: random.chance(0.5) };
        (random.chance(self.fractured) && link.part != Part::Cervical).then_some(fracture)
    }

    fn foci(&self, random: &mut Random, link: &Link) -> Vec<Focus> {
        let kinds = match self.training {
            true => [
                (Tissue::Haemangioma, 0.04, 4.0, 13.0),
                (Tissue::FattyMarrow, 0.06, 2.0, 8.0),
                (Tissue::Lesion, self.metastatic, 4.0, 22.0),
                (Tissue::Cement, 0.004, 5.0, 11.0),
            ],
            false => [
                (Tissue::Haemangioma, 0.02, 3.0, 8.0),
                (Tissue::FattyMarrow, 0.02, 2.0, 5.0),
                (Tissue::Lesion, 0.0, 4.0, 5.0),
                (Tissue::Cement, 0.0, 4.0, 5.0),
            ],
        };
        let size = if link.part == Part::Cervical { 0.5 } else { 1.0 };
        let mut foci = Vec::new();
        for (tissue, often, least, most) in kinds {
            let centre = std::array::from_fn(|_| random.between(-0.7, 0.7));
            let radii = std::array::from_fn(|_| size * random.between(least, most));
            if random.chance(often) {
                foci.push(Focus { tissue, centre, radii });
            }
        }
        foci
    }

    fn slip(&self, random: &mut Random, link: &Link, disc: &DiscFindings) -> (f64, bool) {
        let (forwards, backwards, far) = match (link.part, link.place) {
            (Part::Lumbar, place) if place < 6.6 => (0.08, 0.04, 12.0),
            (Part::Lumbar, _) => (0.03, 0.04, 6.0),
            (Part::Cervical, place) if place < 27.0 => (0.04, 0.02, 3.0),
            _ => (0.0, 0.0, 0.0),
        };
        let (kind, size) = (random.unit(), random.between(0.15, 1.0));
        let lysis = random.chance(0.45) && link.part == Part::Lumbar;
        if !self.training || disc.wear < 0.15 {
            (0.0, false)
        } else if kind < forwards {
            (size * far, lysis)
        } else if kind < forwards + backwards {
            (-size * far.min(4.0), false)
        } else {
            (0.0, false)
        }
    }
}
