//! Posterior elements: pedicles, laminae, transverse and articular processes; `processes` has the spinous ones.
//!
//! All are simple solids in the frame of their vertebra, drawn once for each side; left is +w.

use crate::atlas;
use crate::canvas::Canvas;
use crate::capsule::{Capsule, Solid};
use crate::field::Field;
use crate::random::Random;
use crate::ribs::rib;
use crate::spine::{L5, Part, Spine, Vertebra};
use crate::spinous;
use crate::tissue::{Structure, Tissue};
use crate::variants::Plan;

/// Irregularity of the bone's surface, millimetres per unit of the field.
const ROUGHNESS_MM: f64 = 0.5;

/// The most that it moves the surface: 4 deviations of the field.
const SWING_MM: f64 = 4.0 * ROUGHNESS_MM;

/// How the posterior elements of one person sit; shares of the canal's depth and millimetres.
#[derive(Debug)]
struct Person {
    pedicle: f64,
    lamina: f64,
    /// Lumbar facets: depth of the joint behind the body as shares of the canal, its place beside it.
    inferior_back: f64,
    superior_back: f64,
    superior_side: f64,
    inferior_side: f64,
    inferior_low: f64,
    transverse_reach: f64,
}

impl Person {
    fn new(random: &mut Random) -> Person {
        let inferior_back = random.between(0.78, 1.0);
        Person {
            pedicle: 1.0 + 0.06 * random.normal(),
            lamina: 1.0 + 0.06 * random.normal(),
            inferior_back,
            superior_back: inferior_back - random.between(0.28, 0.38),
            superior_side: random.between(4.0, 6.0),
            inferior_side: random.between(0.5, 2.5),
            inferior_low: random.between(0.87, 0.98),
            transverse_reach: random.between(20.0, 28.0),
        }
    }
}

/// Measures of one vertebra that its posterior elements hang on, millimetres.
pub(crate) struct Base {
    part: Part,
    pub(crate) height: f64,
    /// Back wall of the body.
    pub(crate) wall: f64,
    canal: f64,
    half_canal: f64,
    /// Distance of the pedicle from the midline.
    pub(crate) pedicle: f64,
    lamina: f64,
    /// Where the laminae meet behind the canal.
    pub(crate) meet: f64,
    /// Size relative to a lumbar vertebra of 27 mm.
    pub(crate) scale: f64,
    /// Growth of the articular processes beside a worn disc: 1 is none.
    hypertrophy: f64,
}

impl Base {
    fn new(vertebra: &Vertebra, person: &Person, growth: f64) -> Base {
        let (size, part) = (&vertebra.size, vertebra.part);
        let lamina = person.lamina
            * match part {
                Part::Lumbar => 3.0,
                Part::Thoracic => 2.6,
                _ => 2.2,
            };
        let wall = size.depth / 2.0;
        Base {
            part,
            // A crushed body leaves its arch as it was.
            height: vertebra.whole_height(),
            wall,
            canal: size.canal_depth,
            half_canal: size.canal_width / 2.0,
            pedicle: size.canal_width / 2.0 + 2.5,
            lamina,
            meet: wall + size.canal_depth + lamina + 1.0,
            scale: if part == Part::Cervical { 0.62 } else { vertebra.whole_height() / 27.0 },
            hypertrophy: 1.0 + growth * vertebra.degeneration,
        }
    }

    /// Depth of a point that lies `share` of the canal behind the body.
    pub(crate) fn back(&self, share: f64) -> f64 {
        self.wall + self.canal * share
    }
}

/// Draws the posterior elements up to C2 and the ribs. Bodies, discs, endplates and the sac keep their voxels.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    plan: &Plan,
    roughness: &Field,
) {
    let person = Person::new(random);
    let blades = spinous::Person::new(random);
    for vertebra in &spine.vertebrae[L5..] {
        let base = Base::new(vertebra, &person, random.between(0.0, 0.5));
        let mut pen = Pen { canvas, vertebra, level: vertebra.level, roughness };
        // With a gap in the pars, all behind it stays where the vertebra was before it slipped.
        let behind = if vertebra.findings.lysis { vertebra.findings.slip } else { 0.0 };
        for (left, structures) in [(true, LEFT), (false, RIGHT)] {
            let side = |capsule: Capsule| if left { capsule } else { capsule.mirrored() };
            let [transverse, superior, inferior] = structures;
            pen.bone(side(pedicle(&base, &person)), Structure::Arch);
            pen.bone(side(lamina(&base).moved(behind)), Structure::Arch);
            if left {
                for blade in spinous::blades(&base, &blades, spine, vertebra, random) {
                    pen.bone(blade.moved(behind), Structure::Spinous);
                }
            }
            let fused = vertebra.level == L5 && plan.fused[usize::from(!left)];
            let wide = if fused { Some(fused_transverse(&base)) } else { None };
            pen.bone(side(wide.unwrap_or_else(|| self::transverse(&base, &person))), transverse);
            let [upper, lower] = articular(&base, &person);
            if base.part == Part::Lumbar && !vertebra.findings.lysis {
                pen.bone(side(pars(&base, &upper, &lower)), Structure::Arch);
            }
            pen.bone(side(upper), superior);
            pen.bone(side(lower.moved(behind)), inferior);
        }
        for (left, last_rib) in [(true, plan.last_rib[0]), (false, plan.last_rib[1])] {
            let turn = |c: Capsule| if left { c } else { c.mirrored() };
            pen.soft(turn(exiting_root(&base)), Tissue::Root);
            let lowest = spine.vertebrae[vertebra.level - 1].part == Part::Lumbar;
            let length = if lowest { last_rib } else { 1.0 };
            if base.part == Part::Thoracic && length > 0.0 {
                pen.soft(turn(rib(&base, vertebra, length)), Tissue::OtherMarrow);
            }
        }
    }
    spinous::ligament(canvas, spine, &blades);
    let axis = spine.top();
    let mut pen = Pen { canvas, vertebra: axis, level: axis.level + 1, roughness };
    atlas::draw(&mut pen, random, axis);
}

/// Transverse, superior articular and inferior articular process of each side of the patient.
const LEFT: [Structure; 3] =
    [Structure::TransverseLeft, Structure::SuperiorLeft, Structure::InferiorLeft];
const RIGHT: [Structure; 3] =
    [Structure::TransverseRight, Structure::SuperiorRight, Structure::InferiorRight];

/// Draws solids of one vertebra.
pub(crate) struct Pen<'a> {
    canvas: &'a mut Canvas,
    /// Whose frame the solids are in, and the level they belong to.
    vertebra: &'a Vertebra,
    level: usize,
    roughness: &'a Field,
}

impl Pen<'_> {
    pub(crate) fn bone(&mut self, solid: impl Solid, structure: Structure) {
        let (level, roughness) = (self.level, self.roughness);
        // Articular and spinous processes grow out of the arch and take its voxels, the transverse ones begin where
        // it ends; between processes the first one drawn stays.
        let grows = !matches!(
            structure,
            Structure::Arch | Structure::TransverseLeft | Structure::TransverseRight
        );
        // Noise is asked for only near the solid.
        let (reach, near) = (solid.reach(SWING_MM), solid.grown(SWING_MM));
        self.canvas.visit(&self.vertebra.frame, &reach, |place, point, voxel| {
            let onto_arch = grows && voxel.structure == Structure::Arch;
            // No bone outside the patient.
            if voxel.tissue == Tissue::Air {
                return;
            }
            if !(voxel.is_free() || onto_arch && usize::from(voxel.level) == level) {
                return;
            }
            if !near.holds(place) {
                return;
            }
            let shift = ROUGHNESS_MM * roughness.at(point);
            if solid.holds([place[0] + shift, place[1] - shift, place[2]]) {
                voxel.set(Tissue::ArchMarrow, structure, level);
            }
        });
    }

    /// Unlabelled tissue.
    fn soft(&mut self, solid: impl Solid, tissue: Tissue) {
        self.canvas.visit(&self.vertebra.frame, &solid.reach(0.0), |place, _, voxel| {
            if voxel.is_free() && voxel.tissue != Tissue::Air && solid.holds(place) {
                voxel.tissue = tissue;
            }
        });
    }
}

fn pedicle(base: &Base, person: &Person) -> Capsule {
    let (radius, tall) = match base.part {
        Part::Lumbar => (3.6, 1.35),
        Part::Thoracic => (2.7, 1.35),
        _ => (2.5, 1.0),
    };
    let radius = radius * person.pedicle;
    Capsule::new(
        [base.wall * 0.75, base.height * 0.17, base.pedicle],
        [base.back(0.8), base.height * 0.12, base.pedicle + 0.5],
        [radius * 1.1, radius * tall, radius],
    )
}

fn lamina(base: &Base) -> Capsule {
    let (share, inset, tall) = match base.part {
        Part::Lumbar => (0.72, 2.0, 0.38),
        Part::Thoracic => (0.85, 1.0, 0.5),
        _ => (0.85, 1.0, 0.45),
    };
    Capsule::new(
        [base.back(share) + base.lamina * 0.8, -base.height * 0.12, base.pedicle - inset],
        [base.meet + 1.5, -base.height * 0.26, 0.0],
        [base.lamina, base.height * tall, base.lamina * 1.2],
    )
}

/// The isthmus between the upper and the lower articular process.
fn pars(base: &Base, upper: &Capsule, lower: &Capsule) -> Capsule {
    let radius = base.lamina;
    Capsule::new(upper.a, lower.a, [radius, radius * 1.2, radius * 1.1])
}

/// The broad process of a lowest lumbar vertebra that is one bone with the ala of the sacrum.
fn fused_transverse(base: &Base) -> Capsule {
    let h = base.height;
    Capsule::new(
        [base.back(0.3), h * 0.0, base.pedicle + 5.0],
        [base.back(0.25), -h * 0.62, base.pedicle + 23.0],
        [8.0, 9.0, 7.0],
    )
}

fn transverse(base: &Base, person: &Person) -> Capsule {
    let (h, out) = (base.height, base.pedicle);
    let reach = person.transverse_reach;
    match base.part {
        Part::Lumbar => Capsule::new(
            [base.back(0.55), h * 0.02, out + 4.0],
            [base.back(0.75), h * 0.04, out + reach],
            [3.0, 4.6, 3.6],
        ),
        Part::Thoracic => Capsule::new(
            [base.back(0.9), h * 0.05, out + 4.0],
            [base.back(1.0) + 8.0, h * 0.15, out + reach * 0.8],
            [4.0, 4.8, 4.0],
        ),
        _ => Capsule::new(
            [base.wall * 0.4, 0.0, out + 2.5],
            [base.wall * 0.7, -1.0, out + reach * 0.38],
            [3.4, 2.8, 3.0],
        ),
    }
}

/// Superior and inferior articular process. The inferior one of a vertebra lies behind the superior one of the next.
fn articular(base: &Base, person: &Person) -> [Capsule; 2] {
    let h = base.height;
    match base.part {
        Part::Lumbar => {
            let out = base.half_canal + person.superior_side;
            let inward = base.half_canal + person.inferior_side;
            let (upper, lower) = (person.superior_back, person.inferior_back);
            [
                Capsule::new(
                    [base.back(upper), h * 0.22, out],
                    [base.back(upper + 0.12), h * 0.72, out + 0.6],
                    [4.9 * base.scale * base.hypertrophy, 5.0, 4.4 * base.hypertrophy],
                ),
                Capsule::new(
                    [base.back(lower), -h * 0.36, inward],
                    [base.back(lower + 0.03), -h * person.inferior_low, inward + 0.5],
                    [4.9 * base.scale * base.hypertrophy, 6.0, 4.6 * base.hypertrophy],
                ),
            ]
        }
        Part::Thoracic => {
            let out = base.pedicle + 0.3;
            [
                Capsule::new(
                    [base.back(0.75), h * 0.3, out],
                    [base.back(0.82), h * 0.72, out],
                    [2.6, 4.0, 4.2],
                ),
                Capsule::new(
                    [base.back(1.0) + 2.5, -h * 0.4, out - 1.0],
                    [base.back(1.0) + 2.6, -h * 0.78, out - 1.0],
                    [2.6, 4.0, 4.2],
                ),
            ]
        }
        _ => {
            let out = base.pedicle + 4.5;
            let radii = [4.2 * base.hypertrophy, 4.0, 4.8 * base.hypertrophy];
            [
                Capsule::new(
                    [base.back(0.35), h * 0.05, out],
                    [base.back(0.2), h * 0.5, out],
                    radii,
                ),
                Capsule::new(
                    [base.back(0.55), -h * 0.1, out],
                    [base.back(0.75), -h * 0.62, out],
                    radii,
                ),
            ]
        }
    }
}

/// The root that leaves below the pedicle.
fn exiting_root(base: &Base) -> Capsule {
    Capsule::new(
        [base.back(0.45), -base.height * 0.38, base.half_canal * 0.8],
        [base.back(0.3), -base.height * 0.62, base.half_canal + 14.0],
        [2.1, 2.3, 2.3],
    )
}
