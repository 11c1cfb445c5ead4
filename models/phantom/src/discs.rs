//! The discs between the bodies: annulus, nucleus, and what wears them.
//!
//! (u, v, w) run back, up and left in millimetres from the centre of the vertebra below.

use crate::bodies::{Body, superellipse};
use crate::canvas::{Canvas, Reach};
use crate::pathology::{DiscFindings, Herniation};
use crate::random::Random;
use crate::spine::{L5, Spine, Vertebra};
use crate::tissue::{Structure, Tissue};

/// How far disc material rises or sinks behind the bodies where it has left the disc, millimetres.
const MIGRATION_MM: f64 = 3.0;

/// The disc meets the endplate sheets here.
const INTO_ENDPLATE_MM: f64 = 0.2;

/// What all discs of one person share.
struct Person {
    /// Edge of the annulus as a share of the bodies' half depth.
    annulus: f64,
    /// Share of the disc that is nucleus, as the superellipse radius.
    nucleus: f64,
}

/// The disc below one vertebra.
struct Disc<'a> {
    lower: &'a Vertebra,
    upper: &'a Vertebra,
    shapes: [&'a Body; 2],
    findings: &'a DiscFindings,
    /// Half depth and half width of the annulus.
    half: [f64; 2],
    nucleus: f64,
    flatness: f64,
}

/// Draws the discs from the sacrum to C2.
pub(crate) fn draw(canvas: &mut Canvas, random: &mut Random, spine: &Spine, bodies: &[Body]) {
    let person =
        Person { annulus: random.between(0.93, 1.01), nucleus: random.between(0.42, 0.65) };
    for upper in &spine.vertebrae[L5..] {
        let lower = &spine.vertebrae[upper.level - 1];
        let shapes = [&bodies[lower.level], &bodies[upper.level]];
        let findings = &upper.findings.disc;
        let mean = |of: fn(&Body) -> f64| (of(shapes[0]) + of(shapes[1])) / 4.0;
        let disc = Disc {
            lower,
            upper,
            shapes,
            findings,
            half: [mean(|b| b.depth), mean(|b| b.width)]
                .map(|half| half * person.annulus + findings.bulge),
            nucleus: person.nucleus * (1.0 - 0.3 * findings.wear),
            flatness: random.between(1.3, 2.0),
        };
        disc.draw(canvas);
    }
}

impl Disc<'_> {
    fn draw(&self, canvas: &mut Canvas) {
        let lower = self.lower;
        let reach = self.reach();
        canvas.visit(&lower.frame, &reach, |place, point, voxel| {
            if voxel.structure == Structure::Cord {
                return;
            }
            if let Some(tissue) = self.at(place, self.upper.frame.local(point)) {
                let structure = if self.findings.fused { Structure::Body } else { Structure::Disc };
                voxel.set(tissue, structure, self.upper.level);
            }
        });
    }

    /// A box in the frame of the vertebra below: between the lowest place of one endplate and the highest of the other.
    fn reach(&self) -> Reach {
        let [below, above] = self.shapes;
        // Bulges and bodies that lie askew move the disc to the side by no more than this.
        const MARGIN_MM: f64 = 8.0;
        let side = self.half.map(|half| half + MARGIN_MM);
        let far = |body: &Body| 2.0 * (side[0] / body.depth).max(side[1] / body.width);
        let low = below.lowest(far(below)) - MIGRATION_MM;
        let ceiling = MIGRATION_MM - above.lowest(far(above));
        let corner = |u: f64, w: f64| {
            self.lower.frame.local(self.upper.frame.world([u * side[0], ceiling, w * side[1]]))[1]
        };
        let high = [(-1.0, -1.0), (-1.0, 1.0), (1.0, -1.0), (1.0, 1.0)]
            .map(|(u, w)| corner(u, w))
            .into_iter()
            .fold(f64::NEG_INFINITY, f64::max);
        // An anterior slope of S1 or a tilt between two bodies moves the disc by up to the gap itself.
        let middle = self.lower.size.height / 2.0;
        Reach {
            low: [-side[0], low.max(middle - 9.0), -side[1]],
            high: [side[0] + 4.0, high.min(middle + self.upper.size.disc + 11.0), side[1]],
        }
    }

    /// The tissue at a place, given in the frames of the vertebra below and above; none outside the disc.
    fn at(&self, [u, v, w]: [f64; 3], [u_above, v_above, w_above]: [f64; 3]) -> Option<Tissue> {
        let (u_mean, w_mean) = ((u + u_above) / 2.0, (w + w_above) / 2.0);
        let [below, above] = self.shapes;
        // What lies outside even the furthest push of the disc needs no endplates.
        let pushed = match &self.findings.herniation {
            Some(herniation) if u_mean > 0.0 => herniation.depth,
            _ => 0.0,
        };
        let aside = superellipse(w_mean / self.half[1], below.squareness);
        if superellipse(u_mean / (self.half[0] + pushed), below.squareness) + aside >= 1.0 {
            return None;
        }
        let floor = v - below.endplates(u, w).0;
        let ceiling = above.endplates(u_above, w_above).1 - v_above;
        if floor.min(ceiling) < -MIGRATION_MM {
            return None;
        }
        let extruded = match &self.findings.herniation {
            Some(herniation) if u_mean > 0.0 => {
                extrusion(herniation, (floor - ceiling) / 2.0, w_mean)
            }
            _ => 0.0,
        };
        let radius = superellipse(u_mean / (self.half[0] + extruded), below.squareness) + aside;
        if radius >= 1.0 {
            return None;
        }
        let behind = extruded > 0.0 && u_mean > self.half[0];
        let beyond = if behind { MIGRATION_MM } else { INTO_ENDPLATE_MM };
        if floor < -beyond || ceiling < -beyond {
            return None;
        }
        if self.findings.fused {
            return Some(Tissue::BodyMarrow);
        }
        // The nucleus is a lens: highest in the middle, off the endplates everywhere.
        let half_gap = self.upper.size.disc / 2.0;
        let off_middle = 1.0 - floor.min(ceiling) / half_gap;
        let core = radius / self.nucleus + self.flatness * off_middle * off_middle < 1.0;
        let middle = (floor - ceiling).abs();
        if self.findings.vacuum && radius < 0.6 && middle < 1.4 {
            Some(Tissue::Gas)
        } else if self.findings.cleft && middle < 1.3 && radius < 0.7 * self.nucleus {
            Some(Tissue::Annulus)
        } else if core {
            Some(Tissue::Nucleus)
        } else {
            Some(Tissue::Annulus)
        }
    }
}

/// How far the disc reaches beyond its edge, `up` above its middle and at `w`.
fn extrusion(herniation: &Herniation, up: f64, w: f64) -> f64 {
    let aside = (w - herniation.side) / herniation.half_width;
    let height = (up - herniation.up) / (MIGRATION_MM * 2.0);
    herniation.depth * (1.0 - aside * aside).max(0.0) * (1.0 - height * height).max(0.0)
}
