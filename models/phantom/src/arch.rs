//! Posterior elements: pedicles, laminae, spinous, transverse and articular processes, and the ribs beside them.
//!
//! All are capsules (a segment with three radii) in the frame of their vertebra, drawn once for each side; left is +w.

use crate::angle::sin_cos;
use crate::canvas::{Canvas, Reach};
use crate::field::Field;
use crate::random::Random;
use crate::spine::{C2, C7, L5, Part, Spine, T12, Vertebra};
use crate::tissue::{Structure, Tissue};

/// A segment from `a` to `b` with a radius along each axis (back, up, left), in millimetres.
#[derive(Debug, Clone, Copy)]
struct Capsule {
    a: [f64; 3],
    b: [f64; 3],
    radii: [f64; 3],
}

impl Capsule {
    fn new(a: [f64; 3], b: [f64; 3], radii: [f64; 3]) -> Capsule {
        Capsule { a, b, radii }
    }

    /// The same on the right: `w` changes its sign.
    fn mirrored(self) -> Capsule {
        let turn = |[u, v, w]: [f64; 3]| [u, v, -w];
        Capsule { a: turn(self.a), b: turn(self.b), radii: self.radii }
    }

    fn holds(&self, point: [f64; 3]) -> bool {
        let d: [f64; 3] = std::array::from_fn(|n| self.b[n] - self.a[n]);
        let p: [f64; 3] = std::array::from_fn(|n| point[n] - self.a[n]);
        let length: f64 = d.iter().map(|x| x * x).sum();
        let along = (0..3).map(|n| p[n] * d[n]).sum::<f64>() / length.max(1e-6);
        let along = along.clamp(0.0, 1.0);
        let distance = |n: usize| (p[n] - along * d[n]) / self.radii[n];
        (0..3).map(|n| distance(n) * distance(n)).sum::<f64>() < 1.0
    }
}

/// Irregularity of the bone's surface, millimetres per unit of the field.
const ROUGHNESS_MM: f64 = 0.5;

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
    spinous_height: f64,
    spinous_width: f64,
    transverse_reach: f64,
}

impl Person {
    fn new(random: &mut Random) -> Person {
        let inferior_back = random.between(0.85, 1.0);
        Person {
            pedicle: 1.0 + 0.06 * random.normal(),
            lamina: 1.0 + 0.06 * random.normal(),
            inferior_back,
            superior_back: inferior_back - random.between(0.28, 0.38),
            superior_side: random.between(4.0, 6.0),
            inferior_side: random.between(0.5, 2.5),
            inferior_low: random.between(0.87, 0.98),
            spinous_height: random.between(0.38, 0.52),
            spinous_width: random.between(3.4, 5.0),
            transverse_reach: random.between(20.0, 28.0),
        }
    }
}

/// Measures of one vertebra that its posterior elements hang on, millimetres.
struct Base {
    part: Part,
    height: f64,
    /// Back wall of the body.
    wall: f64,
    canal: f64,
    half_canal: f64,
    /// Distance of the pedicle from the midline.
    pedicle: f64,
    lamina: f64,
    /// Where the laminae meet behind the canal.
    meet: f64,
    /// Size relative to a lumbar vertebra of 27 mm.
    scale: f64,
}

impl Base {
    fn new(vertebra: &Vertebra, person: &Person) -> Base {
        let (size, part) = (&vertebra.size, vertebra.part());
        let lamina = person.lamina
            * match part {
                Part::Lumbar => 3.0,
                Part::Thoracic => 2.6,
                _ => 2.2,
            };
        let wall = size.depth / 2.0;
        Base {
            part,
            height: size.height,
            wall,
            canal: size.canal_depth,
            half_canal: size.canal_width / 2.0,
            pedicle: size.canal_width / 2.0 + 2.5,
            lamina,
            meet: wall + size.canal_depth + lamina + 1.0,
            scale: if part == Part::Cervical { 0.62 } else { size.height / 27.0 },
        }
    }

    /// Depth of a point that lies `share` of the canal behind the body.
    fn back(&self, share: f64) -> f64 {
        self.wall + self.canal * share
    }
}

/// Draws the posterior elements of L5..C2 and the ribs. Bodies, discs, endplates and the sac keep their voxels.
pub(crate) fn draw(canvas: &mut Canvas, random: &mut Random, spine: &Spine, roughness: &Field) {
    let person = Person::new(random);
    for vertebra in &spine.vertebrae[L5..] {
        let base = Base::new(vertebra, &person);
        let mut paint = |capsule: Capsule, structure: Structure| {
            bone(canvas, vertebra, capsule, structure, roughness);
        };
        for (left, structures) in [(true, LEFT), (false, RIGHT)] {
            let side = |capsule: Capsule| if left { capsule } else { capsule.mirrored() };
            let [transverse, superior, inferior] = structures;
            paint(side(pedicle(&base, &person)), Structure::Arch);
            paint(side(lamina(&base)), Structure::Arch);
            if left {
                paint(spinous(&base, &person, vertebra.level, random), Structure::Spinous);
            }
            paint(side(self::transverse(&base, &person)), transverse);
            let [upper, lower] = articular(&base, &person);
            paint(side(upper), superior);
            paint(side(lower), inferior);
        }
        for mirror in [false, true] {
            let turn = |c: Capsule| if mirror { c.mirrored() } else { c };
            soft(canvas, vertebra, turn(exiting_root(&base)), Tissue::Root);
            if base.part == Part::Thoracic {
                soft(canvas, vertebra, turn(rib(&base, vertebra)), Tissue::OtherMarrow);
            }
        }
    }
}

/// Transverse, superior articular and inferior articular process of each side of the patient.
const LEFT: [Structure; 3] =
    [Structure::TransverseLeft, Structure::SuperiorLeft, Structure::InferiorLeft];
const RIGHT: [Structure; 3] =
    [Structure::TransverseRight, Structure::SuperiorRight, Structure::InferiorRight];

fn bone(
    canvas: &mut Canvas,
    vertebra: &Vertebra,
    capsule: Capsule,
    structure: Structure,
    roughness: &Field,
) {
    let reach = Reach::around(capsule.a, capsule.b, capsule.radii.map(|r| r + 4.0 * ROUGHNESS_MM));
    canvas.visit(&vertebra.frame, &reach, |place, point, voxel| {
        // Articular and spinous processes grow out of the arch and take its voxels, the transverse ones begin where
        // it ends; between processes the first one drawn stays.
        let grows = !matches!(
            structure,
            Structure::Arch | Structure::TransverseLeft | Structure::TransverseRight
        );
        let onto_arch = grows && voxel.structure == Structure::Arch;
        // No bone outside the patient.
        if voxel.tissue == Tissue::Air {
            return;
        }
        if !(voxel.is_free() || onto_arch && usize::from(voxel.level) == vertebra.level) {
            return;
        }
        let shift = ROUGHNESS_MM * roughness.at(point);
        if capsule.holds([place[0] + shift, place[1] - shift, place[2]]) {
            voxel.set(Tissue::ArchMarrow, structure, vertebra.level);
        }
    });
}

/// A capsule of unlabelled tissue.
fn soft(canvas: &mut Canvas, vertebra: &Vertebra, capsule: Capsule, tissue: Tissue) {
    let reach = Reach::around(capsule.a, capsule.b, capsule.radii);
    canvas.visit(&vertebra.frame, &reach, |place, _, voxel| {
        if voxel.is_free() && voxel.tissue != Tissue::Air && capsule.holds(place) {
            voxel.tissue = tissue;
        }
    });
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

fn spinous(base: &Base, person: &Person, level: usize, random: &mut Random) -> Capsule {
    let h = base.height;
    match base.part {
        Part::Lumbar => {
            // L5 has the shortest lumbar process.
            let share = [0.75, 0.92, 1.0, 1.0, 1.0][level - L5];
            let length = random.between(24.0, 29.0) * base.scale * share;
            let drop = random.between(0.45, 0.58);
            Capsule::new(
                [base.meet + 5.0, -h * 0.38, 0.0],
                [base.meet + length, -h * drop, 0.0],
                [5.0, h * person.spinous_height, person.spinous_width],
            )
        }
        Part::Thoracic => {
            // Thoracic processes overlap like tiles, steepest at T6-T8.
            let from_middle = (level as f64 - 16.0).abs();
            let (sine, cosine) = sin_cos(58.0 - 5.5 * from_middle + random.normal() * 4.0);
            let length = random.between(30.0, 38.0) * base.scale.sqrt();
            Capsule::new(
                [base.meet + 3.0, -h * 0.35, 0.0],
                [base.meet + 3.0 + length * cosine, -h * 0.35 - length * sine, 0.0],
                [4.4, if level < T12 + 3 { 5.6 } else { 4.4 }, random.between(2.8, 3.8)],
            )
        }
        _ => {
            // C7 is the prominent one, C2 the stout one.
            const LENGTH: [f64; 6] = [30.0, 23.0, 18.0, 15.0, 15.0, 16.0];
            let length = LENGTH[level - C7] * random.between(0.88, 1.08);
            Capsule::new(
                [base.meet + 1.0, -h * 0.2, 0.0],
                [base.meet + 1.0 + length, -h * random.between(0.5, 0.75), 0.0],
                [4.0, if level == C2 { 6.0 } else { 4.6 }, random.between(2.9, 3.8)],
            )
        }
    }
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
                    [4.9 * base.scale, 5.0, 4.4],
                ),
                Capsule::new(
                    [base.back(lower), -h * 0.36, inward],
                    [base.back(lower + 0.03), -h * person.inferior_low, inward + 0.5],
                    [4.9 * base.scale, 6.0, 4.6],
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
            let radii = [4.2, 4.0, 4.8];
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

fn rib(base: &Base, vertebra: &Vertebra) -> Capsule {
    Capsule::new(
        [base.wall * 0.55, base.height * 0.42, vertebra.size.width / 2.0 + 1.0],
        [base.back(1.0) + 6.0, base.height * 0.1, base.pedicle + 28.0],
        [4.0, 5.0, 4.0],
    )
}
