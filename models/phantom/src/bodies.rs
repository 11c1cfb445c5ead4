//! Vertebral bodies with their endplates, and the discs between them.
//!
//! In the frame of a vertebra, (u, v, w) run back, up and left in millimetres from the centre of its body.

use crate::canvas::{Canvas, Reach};
use crate::field::Field;
use crate::random::Random;
use crate::spine::{C2, L5, S1, Spine, Vertebra};
use crate::tissue::{Structure, Tissue};

/// Thickness of the labelled endplate inside the body; with what reaches into the disc it makes about 1 mm.
const ENDPLATE_INSIDE_MM: f64 = 0.7;
const ENDPLATE_OUTSIDE_MM: f64 = 0.4;

/// Room around a body in which its voxels and those of its disc are looked for.
const MARGIN_MM: f64 = 8.0;

/// x^2 blended with x^4: a superellipse whose corners sharpen with `squareness` from 0 to 1, without a power function.
pub(crate) fn superellipse(x: f64, squareness: f64) -> f64 {
    let square = x * x;
    square * (1.0 - squareness + squareness * square)
}

/// Shape of one body around its frame.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    depth: f64,
    width: f64,
    height: f64,
    squareness: f64,
    concavity: f64,
    waist: f64,
    wedge: f64,
    osteophyte: f64,
}

impl Body {
    pub(crate) fn new(random: &mut Random, vertebra: &Vertebra, person: &Person) -> Body {
        let size = &vertebra.size;
        let spur = if random.chance(0.3) { random.between(0.5, 2.5) } else { 0.0 };
        Body {
            depth: size.depth,
            width: size.width,
            height: size.height,
            squareness: person.squareness,
            concavity: person.concavity * random.between(0.7, 1.3),
            waist: person.waist,
            wedge: random.normal() * 0.025,
            osteophyte: spur * vertebra.degeneration,
        }
    }

    /// Heights of the upper and the lower endplate above the centre, at (u, w).
    pub(crate) fn endplates(&self, u: f64, w: f64) -> (f64, f64) {
        let (a, b) = (self.depth / 2.0, self.width / 2.0);
        let radius = (u * u / (a * a) + w * w / (b * b)).min(1.3);
        let top = self.height / 2.0 * (1.0 + self.wedge * u / a) - self.concavity * (1.0 - radius);
        (top, -top)
    }

    /// Below 1 inside the side wall: waisted, flatter at the back, with a lip at the front corners.
    fn wall(&self, u: f64, v: f64, w: f64) -> f64 {
        let (a, b) = (self.depth / 2.0, self.width / 2.0);
        let along = (2.0 * v / self.height).clamp(-1.0, 1.0);
        let lip = ((along.abs() - 0.75) / 0.25).clamp(0.0, 1.0) * (-u / a).clamp(0.0, 1.0);
        let narrow = 1.0 - self.waist * (1.0 - along * along);
        let (u_reach, squareness) = if u > 0.0 {
            // The back wall is flat, a little hollow in the midline where the canal lies.
            let hollow = (1.0 - w * w / (b * b * 0.25)).max(0.0) * 0.8;
            (a * narrow - hollow, (self.squareness + 0.4).min(1.0))
        } else {
            (a * narrow + self.osteophyte * lip, self.squareness)
        };
        superellipse(u / u_reach, squareness) + superellipse(w / (b * narrow), self.squareness)
    }
}

/// What all bodies of one person share.
#[derive(Debug)]
pub(crate) struct Person {
    squareness: f64,
    concavity: f64,
    waist: f64,
    /// Share of the disc that is nucleus, as the superellipse radius.
    nucleus: f64,
}

impl Person {
    pub(crate) fn new(random: &mut Random) -> Person {
        Person {
            squareness: random.between(0.15, 0.5),
            concavity: random.between(0.5, 1.4),
            waist: random.between(0.04, 0.1),
            nucleus: random.between(0.45, 0.65),
        }
    }
}

/// Draws every disc, then every body and its endplates. The cord keeps its voxels.
pub(crate) fn draw(
    canvas: &mut Canvas,
    random: &mut Random,
    spine: &Spine,
    roughness: &Field,
) -> Vec<Body> {
    let person = Person::new(random);
    let bodies: Vec<_> =
        spine.vertebrae.iter().map(|vertebra| Body::new(random, vertebra, &person)).collect();
    for upper in L5..=C2 {
        disc(
            canvas,
            random,
            [&spine.vertebrae[upper - 1], &spine.vertebrae[upper]],
            &bodies,
            &person,
        );
    }
    for vertebra in &spine.vertebrae[L5..] {
        body(canvas, random, vertebra, &bodies[vertebra.level], roughness);
    }
    bodies
}

fn disc(
    canvas: &mut Canvas,
    random: &mut Random,
    [lower, upper]: [&Vertebra; 2],
    bodies: &[Body],
    person: &Person,
) {
    let (below, above) = (&bodies[lower.level], &bodies[upper.level]);
    let (a, b) = ((below.depth + above.depth) / 4.0, (below.width + above.width) / 4.0);
    let wear = upper.degeneration;
    let bulge = 1.02 + wear * random.between(0.0, 0.08);
    let nucleus = person.nucleus * (1.0 - 0.3 * wear);
    let half_gap = upper.size.disc / 2.0;
    let flatness = random.between(1.3, 2.0);
    let frame = lower.frame;
    // An anterior slope of S1 or a tilt between two bodies moves the disc by up to the gap itself.
    let side = [a + MARGIN_MM, 0.0, b + MARGIN_MM];
    let reach = Reach {
        low: [-side[0], lower.size.height / 2.0 - 5.0, -side[2]],
        high: [side[0], lower.size.height / 2.0 + upper.size.disc + 9.0, side[2]],
    };
    canvas.visit(&frame, &reach, |[u, v, w], point, voxel| {
        let [u_above, v_above, w_above] = upper.frame.local(point);
        let (u_mean, w_mean) = ((u + u_above) / 2.0, (w + w_above) / 2.0);
        let radius = superellipse(u_mean / (a * bulge), below.squareness)
            + superellipse(w_mean / (b * bulge), below.squareness);
        if radius >= 1.0 || voxel.structure == Structure::Cord {
            return;
        }
        let floor = v - below.endplates(u, w).0;
        let ceiling = above.endplates(u_above, w_above).1 - v_above;
        if floor < -0.2 || ceiling < -0.2 {
            return;
        }
        // The nucleus is a lens: highest in the middle, off the endplates everywhere.
        let off_middle = 1.0 - floor.min(ceiling) / half_gap;
        let core = radius / nucleus + flatness * off_middle * off_middle < 1.0;
        let tissue = if core { Tissue::Nucleus } else { Tissue::Annulus };
        voxel.set(tissue, Structure::Disc, upper.level);
    });
}

fn body(
    canvas: &mut Canvas,
    random: &mut Random,
    vertebra: &Vertebra,
    body: &Body,
    roughness: &Field,
) {
    let (level, half) = (vertebra.level, body.height / 2.0);
    let (a, b) = (body.depth / 2.0, body.width / 2.0);
    // The dens rises from C2 to the height of the atlas.
    let dens = if level == C2 { random.between(12.0, 16.0) } else { 0.0 };
    // Cortex of about one millimetre, as a change of the superellipse radius.
    let cortex = 1.0 - 2.0 * random.between(0.8, 1.1) / a;
    // The basivertebral vein: a wedge that opens towards the middle of the back wall.
    let vein = [random.normal() * 0.6, random.between(1.0, 2.2), random.between(2.0, 5.0)];
    let reach = Reach {
        low: [-a - MARGIN_MM, -half - 3.0, -b - MARGIN_MM],
        high: [a + MARGIN_MM, half + 3.0 + dens, b + MARGIN_MM],
    };
    canvas.visit(&vertebra.frame, &reach, |[u, v, w], point, voxel| {
        if voxel.structure == Structure::Cord {
            return;
        }
        let in_dens = {
            let (x, y) = ((u + body.depth * 0.12) / 5.2, w / 5.2);
            dens > 0.0 && v > 0.0 && v < half + dens && x * x + y * y < 1.0
        };
        let mut radius = body.wall(u, v, w);
        if radius > 1.15 && !in_dens {
            return;
        }
        radius += 0.03 * roughness.at(point);
        let (top, bottom) = body.endplates(u, w);
        let inside = radius < 1.0 && v > bottom && v < top;
        if inside || in_dens {
            let opening = vein[1] * (u / a - 0.4) / 0.6;
            let in_vein = (v - vein[0]).abs() < opening && w.abs() < vein[2];
            let tissue = match (radius > cortex && !in_dens, in_vein && level != C2) {
                (true, _) => Tissue::Cortex,
                (_, true) => Tissue::BasivertebralVein,
                _ => Tissue::BodyMarrow,
            };
            voxel.set(tissue, Structure::Body, level);
        }
        let sheet = |distance: f64| (-ENDPLATE_OUTSIDE_MM..ENDPLATE_INSIDE_MM).contains(&distance);
        if radius < 1.0 && sheet(v - bottom) {
            voxel.set(Tissue::Endplate, Structure::Endplate, level);
        } else if radius < 1.0 && level != C2 && sheet(top - v) {
            voxel.set(Tissue::Endplate, Structure::Endplate, level + 1);
        }
    });
}

/// The ligaments along the front and the back of the column: one to two millimetres of free voxels beside it.
pub(crate) fn longitudinal_ligaments(canvas: &mut Canvas, spine: &Spine, in_plane_mm: f64) {
    // Width of the anterior ligament to each side of the midline, and its thickness.
    const HALF_WIDTH_MM: f64 = 14.0;
    const THICKNESS_MM: f64 = 1.3;
    let layers = (THICKNESS_MM / in_plane_mm).round().max(1.0) as usize;
    let bottom = spine.z_of(S1 as f64 + 0.4);
    canvas.rows_between(bottom, f64::INFINITY, |row| {
        let middle = spine.x.at(row.z());
        let column =
            |s: Structure| matches!(s, Structure::Body | Structure::Disc | Structure::Endplate);
        let Some(first) = row.voxels.iter().position(|v| column(v.structure)) else { return };
        let Some(last) = row.voxels.iter().rposition(|v| column(v.structure)) else { return };
        if (row.x_at(first) - middle).abs() > HALF_WIDTH_MM {
            return;
        }
        let behind = (last + 1)..(last + 1 + layers).min(row.voxels.len());
        for n in (first.saturating_sub(layers)..first).chain(behind) {
            if row.voxels[n].is_free() {
                row.voxels[n].tissue = Tissue::Ligament;
            }
        }
    });
}
